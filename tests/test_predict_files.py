"""Files in, files out: every format to every other, other columns as they were, the three forms."""

from __future__ import annotations

import csv
import datetime
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.corpora.quoted import MAX_QUOTED
from emodef.errors import DataError, SettingsError
from emodef.files.job import PART_SIZE, predict_file
from emodef.files.predictions import Options
from emodef.files.sources import open_source
from emodef.predictor import Predictor
from tiny_files import OUTPUTS, TEXTS, predicted, rows_of

# other columns, to the letter


def test_csv_rows_stay_as_they_stand(predict: Any) -> None:
    head = b'\xef\xbb\xbfid;"body";note'
    rows = [
        b'007;"say ""why""\r\n\r\nand how";"1,0"',
        b"1e3;so happy;",
        b'"x";caf\xc3\xa9 is lovely; blank first',
        b'"";"awful; really";last',
    ]
    out, summary = predict("in.csv", b"\r\n".join([head, *rows]), "out.csv", column="body")
    content = out.read_bytes()
    assert content.startswith(head + b";predicted;probabilities\r\n")
    place = len(head)
    for row in rows:
        place = content.index(b"\r\n" + row + b";", place) + 2
    assert content.endswith(b"\r\n")
    assert (summary.rows, summary.problems) == (4, 0)
    found = rows_of(out, ";")
    assert [row["id"] for row in found] == ["007", "1e3", "x", ""]
    assert found[0]["body"] == 'say "why"\r\n\r\nand how'


def test_tsv_takes_quotes_as_text(predict: Any) -> None:
    out, _ = predict("in.tsv", 'id\ttext\n007\tso "happy\n08\t"why" is it\n', "out.tsv")
    lines = out.read_text().splitlines()
    assert lines[0] == "id\ttext\tpredicted\tprobabilities"
    assert [line.split("\t")[:2] for line in lines[1:]] == [["007", 'so "happy'], ["08", '"why" is it']]


def test_jsonl_objects_keep_keys_types_and_nesting(predict: Any) -> None:
    lines = [
        '{"n": 1.10, "text": "so happy", "big": 123456789012345678901234567890, "deep": {"a": [1, {"b": null}]}}',
        '  {"text":"why \\u00e9 \\ud83d\\ude00","n":1e400, "later": true }  ',
        '{"text": "awful", "n": "007"}',
    ]
    out, _ = predict("in.jsonl", "\r\n".join(lines) + "\r\n\r\n", "out.jsonl")
    written = out.read_bytes().decode().split("\r\n")
    for line, found in zip(lines, written, strict=False):
        assert found.startswith(line.strip()[:-1].rstrip() + ', "predicted": [')
        assert json.loads(found)["predicted"] is not None
    assert written[3:] == [""]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(st.tuples(cells, cells.map(lambda text: "happy " + text), cells), min_size=1, max_size=6),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    part_size=st.integers(1, 4),
    form=st.sampled_from(["labels", "probabilities"]),
)
def test_any_csv_comes_back(
    predictor: Predictor, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], quoting: int,
    end: str, part_size: int, form: str,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("any")
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([("a", "text", "b"), *rows])
    (folder / "in.csv").write_bytes(file.getvalue().encode())
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        source = open_source(str(folder / "in.csv"))
        predict_file(source, folder / name, predictor, Options(form=form), part_size=part_size)
        found = rows_of(folder / name)
        assert [(row["a"], row["text"], row["b"]) for row in found] == rows
        assert all(predicted(row) is not None for row in found)


def test_long_fields_and_unclosed_quotes(predict: Any) -> None:
    long = "happy " * 60_000
    lines = [
        "text,b",
        f'"{long}",1',
        'so "happy,2',
        '"open,3',
        '"glad"x,4',
        *["why,5"] * 3,
        '"two\nlines",6',
        '"open to the end,7',
    ]
    out, summary = predict("in.csv", "\n".join(lines) + "\n", "out.csv")
    assert [row["b"] for row in rows_of(out)] == ["1", "2", "5", "5", "5", "6"]
    assert [(problem.row, problem.raw) for problem in summary.shown] == [
        (4, '"open,3'),
        (5, '"glad"x,4'),
        (11, '"open to the end,7'),
    ]
    assert f"{MAX_QUOTED:,}" in summary.shown[2].reason
    assert summary.long_texts == 1


# from every format to every other


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("given", ["txt", *OUTPUTS])
def test_every_format_to_every_other(predict: Any, predictor: Predictor, given: str, out: str) -> None:
    ids = [f"{n:03d}" for n in range(len(TEXTS))]
    content: Any = {
        "txt": "\n".join(TEXTS),
        "csv": "id,text\n" + "".join(f"{i},{t}\n" for i, t in zip(ids, TEXTS, strict=True)),
        "tsv": "id\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in zip(ids, TEXTS, strict=True)),
        "jsonl": "".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in zip(ids, TEXTS, strict=True)),
        "parquet": pl.DataFrame({"id": ids, "text": TEXTS}),
    }[given]
    answers = predictor.predict(TEXTS)
    path, summary = predict(f"in.{given}", content, f"out.{out}")
    rows = rows_of(path)
    assert [row["text"] for row in rows] == TEXTS
    assert [predicted(row) for row in rows] == [[label.name for label in a.labels] for a in answers]
    if given != "txt":
        assert [row["id"] for row in rows] == ids
    assert (summary.rows, summary.problems) == (5, 0)
    path, _ = predict(f"in.{given}", content, f"out.{out}", form="probabilities")
    for row, answer in zip(rows_of(path), answers, strict=True):
        found = (
            row["probabilities"]
            if out == "jsonl"
            else {name: float(row[f"p_{name}"]) for name in answer.names}
        )
        assert found == pytest.approx(answer.scores, rel=1e-3)
    path, _ = predict(f"in.{given}", content, f"out.{out}", form="long")
    long = [(a.text, label.name, label.score) for a in answers for label in a.labels or [None] if label] + [
        (a.text, None, None) for a in answers if not a.labels
    ]
    found = {(row["text"], row["label"] or None) for row in rows_of(path)}
    assert found == {(text, name) for text, name, _ in long}
    assert len(rows_of(path)) == len(long)


def test_parquet_keeps_types(predict: Any) -> None:
    frame = pl.DataFrame(
        {
            "n": pl.Series([1, None, 3], dtype=pl.UInt16),
            "when": [datetime.datetime(2026, 1, day) for day in (1, 2, 3)],
            "text": pl.Series(["so happy", "why", None], dtype=pl.Categorical),
            "list": [[1, 2], [], None],
            "struct": [{"a": 1.5}, {"a": None}, None],
            "raw": [b"\xff", b"", None],
            "money": pl.Series(["1.50", "2.00", "3.25"]).cast(pl.Decimal(10, 2)),
            "ratio": [0.1, float("nan"), float("inf")],
        }
    )
    out, summary = predict("in.parquet", frame, "out.parquet")
    written = pl.read_parquet(out)
    assert written.select(frame.columns).schema == frame.schema
    assert written.select(frame.columns).equals(frame)
    assert written["predicted"].to_list() == [["joy"], ["curiosity"], None]
    assert [(p.row, p.kept) for p in summary.shown] == [(3, True)]
    out, _ = predict("in.parquet", frame, "out.jsonl")
    first = rows_of(out)[0]
    assert (first["n"], first["list"], first["struct"], first["money"]) == (1, [1, 2], {"a": 1.5}, "1.50")
    assert (first["when"], first["raw"]) == ("2026-01-01 00:00:00", "/w==")
    assert [row["ratio"] for row in rows_of(out)] == [0.1, None, None]
    out, _ = predict("in.parquet", frame, "out.csv")
    assert rows_of(out)[0]["struct"] == '{"a": 1.5}'
    assert [row["n"] for row in rows_of(out)] == ["1", "", "3"]


def test_jsonl_into_columns(predict: Any) -> None:
    """A key that comes late is a column, too, and a column's type holds all its values."""
    lines = '{"text": "so happy", "n": 1, "f": 1}\n{"text": "why", "f": 2.5, "late": {"a": 1}, "yes": true}\n{"text": "awful", "n": "x"}\n'
    out, _ = predict("in.jsonl", lines, "out.csv")
    assert list(rows_of(out)[0]) == ["text", "n", "f", "late", "yes", "predicted", "probabilities"]
    assert [row["n"] for row in rows_of(out)] == ["1", "", "x"]
    out, _ = predict("in.jsonl", lines, "out.parquet")
    schema = pl.read_parquet(out).schema
    assert [schema[c] for c in ("n", "f", "late", "yes")] == [pl.String, pl.Float64, pl.String, pl.Boolean]
    assert pl.read_parquet(out)["late"].to_list() == [None, '{"a": 1}', None]


def test_parquet_from_an_address(predictor: Predictor, tmp_path: Path) -> None:
    pl.DataFrame({"text": TEXTS}).write_parquet(tmp_path / "in.parquet")
    source = open_source(f"file://{tmp_path / 'in.parquet'}")
    summary = predict_file(source, tmp_path / "out.csv", predictor, Options())
    assert summary.rows == len(TEXTS)
    with pytest.raises(SettingsError, match="only Parquet is read from an address"):
        open_source("s3://bucket/in.csv")


def test_empty_inputs(predict: Any) -> None:
    empty = pl.DataFrame({"text": []}, {"text": pl.String})
    for name, content in {"in.csv": "text\n", "in.txt": "", "in.parquet": empty}.items():
        for out in OUTPUTS:
            path, summary = predict(name, content, f"out.{out}")
            assert (rows_of(path), summary.rows) == ([], 0)


# options


def test_options_of_predict(predict: Any, predictor: Predictor) -> None:
    for options in (
        {"threshold": 0.0},
        {"threshold": "0.99", "at_least_one": True},
        {"level": "sentiment"},
        {"calibrated": True},
    ):
        out, _ = predict("in.txt", "\n".join(TEXTS), "out.parquet", **options)
        given = options | ({"threshold": 0.99} if "at_least_one" in options else {})
        for row, answer in zip(rows_of(out), predictor.predict(TEXTS, **given), strict=True):
            assert row["predicted"] == [label.name for label in answer.labels]
            assert row["probabilities"] == pytest.approx([label.score for label in answer.labels], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "high"}, "give tuned, fixed"),
        ({"form": "wide"}, "labels, probabilities, long"),
        ({"on_error": "weep"}, "keep, skip, fail"),
    ],
)
def test_options_that_do_not_fit(predict: Any, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        predict("in.txt", "so happy", "out.csv", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt"]


def test_columns_that_clash(predict: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"column 'predicted' already.*--prefix"):
        predict("in.csv", "text,predicted\nwhy,x\n", "out.csv")
    with pytest.raises(SettingsError, match="column 'label' already"):
        predict("in.csv", "text,label\nwhy,x\n", "out.csv", form="long")
    assert not (tmp_path / "out.csv.parts").exists()
    out, _ = predict("in.csv", "text,predicted\nwhy,x\n", "out.csv", prefix="my_")
    assert list(rows_of(out)[0]) == ["text", "predicted", "my_predicted", "my_probabilities"]
    out, summary = predict(
        "in.jsonl", '{"text": "why"}\n{"text": "why", "probabilities": 1}\n', "out.jsonl", on_error="keep"
    )
    assert "has a column 'probabilities'" in summary.shown[0].reason
    with pytest.raises(DataError, match="two columns are named 'text'"):
        predict("in.csv", "text,text\nwhy,x\n", "out.csv")


def test_outputs_that_cannot_be(predict: Any, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for out, message in {
        "folder.csv": "is not a file",
        "in.csv": "is the input itself",
        "out.xls": ".csv, .tsv, .jsonl or .parquet",
    }.items():
        with pytest.raises(SettingsError, match=message):
            predict("in.csv", "text\nwhy\n", out)
    assert (tmp_path / "in.csv").read_text() == "text\nwhy\n"


def test_probabilities_are_those_of_the_whole(predictor: Predictor, predict: Any) -> None:
    """Parts do not change what a text gets."""
    texts = [f"{TEXTS[n % 5]} {n}" for n in range(40)]
    out, _ = predict("in.txt", "\n".join(texts), "out.parquet", part_size=7, form="probabilities")
    found = pl.read_parquet(out).select(f"p_{name}" for name in predictor.label_set.names).to_numpy()
    assert np.allclose(found, predictor.predict_proba(texts), atol=1e-6)
    assert PART_SIZE > 40


def test_numbers_of_thousands_of_digits(predict: Any) -> None:
    rows = '{"text": "so happy"}\n{"text": "why", "n": ' + "1" * 5_000 + "}\n"
    out, summary = predict("in.jsonl", rows, "out.jsonl")
    assert [(problem.row, problem.reason) for problem in summary.shown] == [
        (2, "holds a number of thousands of digits")
    ]
    assert len(rows_of(out)) == 1


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("name", ["q.csv.problems.jsonl", "q.csv.parts/part-00000.jsonl"])
def test_an_input_where_the_output_s_own_files_go(
    predictor: Predictor, tmp_path: Path, name: str, link: bool
) -> None:
    """Both would be written over, or removed."""
    rows = '{"raw": "so happy"}\n{"raw": ""}\n'
    given = tmp_path / name
    given.parent.mkdir(exist_ok=True)
    given.write_text(rows)
    if link:
        (tmp_path / "link.jsonl").symlink_to(given)
    source = open_source(str(tmp_path / "link.jsonl" if link else given), "raw")
    with pytest.raises(SettingsError, match=r"--out .*q\.csv: .*the input.*; name another file"):
        predict_file(source, tmp_path / "q.csv", predictor, Options())
    assert given.read_text() == rows
    assert predict_file(source, tmp_path / "other.csv", predictor, Options()).rows == 2
    assert given.read_text() == rows


@pytest.mark.parametrize("out", OUTPUTS)
def test_names_that_no_utf_8_holds(predict: Any, out: str) -> None:
    """Of a file, whose bytes are in another encoding, and of keys: halves of characters."""
    rows = '{"text": "so happy", "\\ud800": 1, "\\udfff": 2}\n{"text": "why", "\\ud800": "\\ud801"}\n'
    path, summary = predict("caf\udce9.jsonl", rows, f"out.{out}", part_size=1)
    assert (summary.rows, summary.problems) == (2, 0)
    if out in ("jsonl", "parquet"):
        names = ["\ud800", "\udfff"] if out == "jsonl" else ["\ufffd", "\ufffd_1"]
        assert list(rows_of(path)[0])[:3] == ["text", *names]
        return
    assert path.read_text(encoding="utf-8").splitlines()[0][5:8] in ("\ufffd,\ufffd", "\ufffd\t\ufffd")
