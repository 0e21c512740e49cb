"""Rows and inputs that cannot be predicted: kept, left out or stopped at, and what is said of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emodef.errors import DataError, SettingsError
from emodef.files.predictions import Options
from emodef.files.records import DEEPEST
from emodef.files.sources import GivenTexts, open_source
from emodef.predictor import Predictor
from tiny_files import OUTPUTS, predicted, rows_of

BAD = {
    "in.csv": (
        b'id,text\n1,so happy\n2, \n3,why,x\n4,caf\xe9\n5,"gl\xc3\xa9d\n6,happy\n',
        {3: True, 4: False, 5: True, 6: False},
    ),
    "in.jsonl": (
        b'{"text": "so happy"}\n{"text": null}\n{"text": 7}\n{"txt": "x"}\nnonsense\n{"text": "\\ud800"}\n[1]\n{"text": "glad"}\n',
        {2: True, 3: True, 4: True, 5: False, 6: True, 7: False},
    ),
    "in.txt": (b"so happy\n\n \xc3\xa9 \xff\n\x01\nglad\n", {2: True, 3: True, 4: True}),
}


@pytest.mark.parametrize("name", list(BAD))
@pytest.mark.parametrize("out", OUTPUTS)
def test_bad_rows_are_kept_skipped_or_stopped_at(predict: Any, name: str, out: str, tmp_path: Path) -> None:
    content, bad = BAD[name]
    path, summary = predict(name, content, f"out.{out}", on_error="keep")
    listed = [json.loads(line) for line in (tmp_path / f"out.{out}.problems.jsonl").read_text().splitlines()]
    assert {problem["row"]: problem["kept"] for problem in listed} == bad
    assert all(problem["raw"] is not None for problem in listed if not problem["kept"])
    assert summary.problems == len(bad)
    assert summary.dropped == list(bad.values()).count(False)
    rows = rows_of(path)
    assert len(rows) == summary.rows - summary.dropped
    empty = [row for row in rows if not row["predicted"] and not row["probabilities"]]
    assert len(empty) == list(bad.values()).count(True)
    path, summary = predict(name, content, f"out.{out}", on_error="skip")
    assert [predicted(row) for row in rows_of(path)] == [["joy"], ["joy"]]
    assert summary.dropped == len(bad)
    path.unlink()
    with pytest.raises(DataError, match=f"{name}:{min(bad)}: .*--on-error keep"):
        predict(name, content, f"out.{out}", on_error="fail")
    assert not path.exists()


def test_what_was_broken_can_be_had_back(predict: Any, tmp_path: Path) -> None:
    """An output is UTF-8 whatever the input was; the problems' file holds the bytes that are not."""
    out, _ = predict("in.csv", b"text,who\nwhy \xc3\xa9,ok\nhappy,Ren\xe9\n", "out.csv")
    assert "happy,Ren\ufffd,," in out.read_bytes().decode("utf-8")
    problem = json.loads((tmp_path / "out.csv.problems.jsonl").read_text())
    assert problem["raw"].encode("utf-8", "surrogateescape") == b"happy,Ren\xe9"
    assert "byte 0xe9 at character 10 of the line" in problem["reason"]
    predict("in.csv", "text,who\nwhy,ok\n", "out.csv")
    assert not (tmp_path / "out.csv.problems.jsonl").exists()


@pytest.mark.parametrize("filler", [10, 150_000])
def test_another_encoding_is_said_at_once(predict: Any, tmp_path: Path, filler: int) -> None:
    text = "text\n" + "so happy\n" * filler + "tr\u00e8s lovely\n"
    for on_error in ("keep", "skip", "fail"):
        with pytest.raises(DataError, match=rf"in\.csv:{filler + 2}: is not UTF-8: byte 0xe8.*iconv"):
            predict("in.csv", text.encode("latin-1"), "out.csv", on_error=on_error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]
    with pytest.raises(DataError, match=r"UTF-16.*iconv"):
        predict("in.csv", text.encode("utf-16"), "out.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "no column looks like the text"),
        ("text\rwhy\r", "carriage returns"),
        ('"text\nwhy\n', "header cannot be read"),
    ],
)
def test_headers_that_cannot_be(predict: Any, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        predict("in.csv", content, "out.csv")


def test_inputs_that_cannot_be(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        open_source(str(tmp_path / "none.csv"))
    (tmp_path / "bad.parquet").write_text("nonsense")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_source(str(tmp_path / "bad.parquet"))
    with pytest.raises(DataError, match=r"format of \.xls is not known"):
        open_source("some.xls")
    pl.DataFrame({"text": [1]}).write_parquet(tmp_path / "number.parquet")
    with pytest.raises(DataError, match="holds Int64, not text"):
        open_source(str(tmp_path / "number.parquet"))
    with pytest.raises(DataError, match="text 2 is empty"):
        GivenTexts(["fine", " "])


@pytest.mark.parametrize(
    ("name", "format", "remedy"),
    [
        ("in.csv.gz", None, "zcat {} | emodef predict --input-format csv"),
        ("in.csv.gz", "csv", "zcat {} | emodef predict --input-format csv"),
        ("in.jsonl.zst", None, "zstdcat {} | emodef predict --input-format jsonl"),
        ("in.txt.xz", None, "xzcat {} | emodef predict"),
        ("in.gz", None, "zcat {} | emodef predict --input-format csv"),
        ("in.parquet.gz", None, "unpack it first: Parquet is not read from a pipe"),
    ],
)
def test_compressed_files_are_told(tmp_path: Path, name: str, format: str | None, remedy: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError) as told:
        open_source(str(path), format=format)
    assert str(told.value).startswith(f"{path}: is compressed; ")
    assert str(told.value).endswith(remedy.format(path))


def test_a_folder_of_parquet_files_is_told_with_the_way_to_read_it(tmp_path: Path) -> None:
    """As Spark writes them."""
    folder = tmp_path / "in it.parquet"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    for number in range(2):
        pl.DataFrame({"text": ["so happy"]}).write_parquet(folder / f"part-{number}.parquet")
    with pytest.raises(DataError, match="is a folder; to read the files in it as one: --file ") as told:
        open_source(str(folder))
    (address,) = shlex.split(str(told.value).partition("--file ")[2])
    assert open_source(address).rows == 2


@pytest.mark.parametrize("name", list(BAD))
def test_texts_that_are_too_long(predict: Any, name: str) -> None:
    """As where a quote is missing and a text goes on to the next quote of the file; what counts is characters, not bytes."""
    texts = ["so happy", "é" * 20, "why " * 5 + "!"]
    rows = {
        "in.csv": "id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)),
        "in.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in texts),
        "in.txt": "".join(f"{text}\n" for text in texts),
    }[name]
    path, summary = predict(name, rows, "out.jsonl", most_characters=20)
    (problem,) = summary.shown
    assert problem.reason == (
        "the text has 21 characters, and a text may have at most 20 here; is a quote missing, or part it"
    )
    assert problem.kept
    assert [row["predicted"] is None for row in rows_of(path)] == [False, False, True]
    with pytest.raises(DataError, match=f"{name}:{problem.row}: the text has 21 characters"):
        predict(name, rows, "other.jsonl", most_characters=20, on_error="fail")
    _, summary = predict(name, rows, "all.jsonl")
    assert summary.problems == 0


def test_how_long_a_text_may_be_is_a_number() -> None:
    with pytest.raises(SettingsError, match="most_characters is 0; it must be 1 or more"):
        Options(most_characters=0)


@pytest.mark.parametrize("out", OUTPUTS)
def test_times_that_python_cannot_hold_are_kept(predict: Any, out: str) -> None:
    days = pl.Series([-719_530, 19_844], dtype=pl.Int32).cast(pl.Date)  # as Spark moves them: before year 1
    nanoseconds = pl.Series([1_714_555_800_123_456_789, None], dtype=pl.Int64).cast(pl.Datetime("ns"))
    frame = pl.DataFrame({"text": ["so happy", "why"], "day": days, "at": nanoseconds})
    path, summary = predict("in.parquet", frame, f"out.{out}")
    assert summary.rows == 2
    if out == "parquet":
        found = pl.read_parquet(path)
        assert found["day"].equals(days)
        assert found["at"].equals(nanoseconds)
    else:
        first, second = rows_of(path)
        assert "123456789" in first["at"]
        assert first["day"].startswith("0000") or first["day"].startswith("-")
        assert second["day"] == "2024-05-01"


def test_times_within_lists_that_python_cannot_hold_are_told(predict: Any) -> None:
    days = pl.Series([[-719_530]], dtype=pl.List(pl.Int32)).cast(pl.List(pl.Date))
    with pytest.raises(DataError, match=r"in\.parquet: rows 1 to 1: a time is beyond what Python can hold"):
        predict("in.parquet", pl.DataFrame({"text": ["so happy"], "days": days}), "out.csv")


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_row_nested_very_deep_costs_itself_alone(predict: Any, out: str) -> None:
    depths = [1, DEEPEST - 1, DEEPEST, 500, 960, 5_000]
    rows = [f'{{"text": "so happy", "more": {"[" * depth}1{"]" * depth}}}' for depth in depths]
    never_closed = '{"text": "' + '[\\"' * 50_000  # as a line cut off, and looked through in no time
    brackets = json.dumps({"text": "why", "more": "\\" + "[" * 1_000 + '"' + "[" * 1_000})
    path, summary = predict("in.jsonl", "\n".join([*rows, brackets, never_closed]), f"out.{out}")
    assert [(problem.row, problem.reason) for problem in summary.shown[:4]] == [
        (row, f"is nested more than {DEEPEST} levels deep") for row in (3, 4, 5, 6)
    ]
    assert "is not valid JSON" in summary.shown[4].reason
    if out != "jsonl":  # there such rows stand as they came
        assert [row["text"] for row in rows_of(path)][:2] == ["so happy"] * 2


def test_no_object_gets_a_key_twice(predict: Any) -> None:
    rows = [b'{"text": "so happy"}', b'{"text": "caf\xe9", "predicted": "mine"}', '{"text": "é"}'.encode()]
    path, summary = predict("in.jsonl", b"\n".join(rows) + b"\n", "out.jsonl")
    assert [(problem.row, problem.kept) for problem in summary.shown] == [(2, False)]
    assert "has a column 'predicted', where predictions go" in summary.shown[0].reason
    for line in path.read_text(encoding="utf-8").splitlines():
        names = json.loads(line, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "0.5"], pl.Float64),
        ([str(2**53), "0.5"], pl.Float64),
        ([str(2**53 + 1), "0.5"], pl.String),
        ([str(-(2**53) - 1), "null", "1", "2.5"], pl.String),
        ([str(2**53 + 1), "1"], pl.Int64),
        ([str(2**63 - 1)], pl.Int64),
        ([str(2**63), "1"], pl.String),
    ],
)
def test_whole_numbers_stay_themselves_in_parquet(predict: Any, values: list[str], kind: Any) -> None:
    rows = "".join(f'{{"text": "so happy", "n": {value}}}\n' for value in values)
    path, _ = predict("in.jsonl", rows, "out.parquet")
    column = pl.read_parquet(path)["n"]
    assert column.dtype == kind
    for value, found in zip(values, column, strict=True):
        assert found == (value if kind == pl.String and value != "null" else json.loads(value))
