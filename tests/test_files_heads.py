"""Heads of inputs that are a little odd: blank lines, names that are empty, late keys, another encoding in a pipe, very many columns."""

from __future__ import annotations

import io
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from emodef.corpora.files import read_file
from emodef.corpora.tables import open_table
from emodef.errors import DataError
from emodef.files import job
from emodef.files.job import Watch, predict_file
from emodef.files.predictions import Options
from emodef.files.sources import TextSource, open_source
from emodef.predictor import Predictor
from emodef.reporting.page import open_predictions
from test_files import MOODS, all_rows
from tiny_files import OUTPUTS, Stop, finished_parts, predicted, rows_of, stopping


def piped(content: bytes, format: str, column: str | None = None) -> TextSource:
    return TextSource(format, column, stream=io.BytesIO(content))


# blank lines


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("name", ["in.csv", "in.tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_blank_line_of_one_column_is_a_row(predict: Any, name: str, out: str, end: str) -> None:
    lines = ["", "text", "so happy", "", '""' if name == "in.csv" else "", "why", ""]
    path, summary = predict(name, end.join([*lines, ""]), f"out.{out}")
    assert [row["text"] for row in rows_of(path)] == ["so happy", "", "", "why", ""]
    assert [problem.row for problem in summary.shown] == [4, 5, 7]
    _, summary = predict(name, end.join(["text", "so happy", ""]), f"out.{out}", on_error="fail")
    assert summary.rows == 1
    with pytest.raises(DataError, match=rf"{name}:4: the text is empty"):
        predict(name, end.join(lines), f"out.{out}", on_error="fail")


@pytest.mark.parametrize(
    "row", ["1;so happy, really;x;y", '1;"so happy; really";x;"y, z"', '1;"so happy, really, I\nam, too";x;y']
)
def test_names_with_commas_between_semicolons(predict: Any, tmp_path: Path, row: str) -> None:
    header = "id;text;calm, at ease;sad, low, down"
    path, _ = predict("in.csv", f"\n{header}\n\n{row}\n", "out.csv")
    (found,) = rows_of(path, ";")
    assert found["id"] == "1"
    assert found["text"].startswith("so happy")
    assert open_table(tmp_path / "in.csv").columns == header.split(";")


def test_a_blank_line_of_two_columns_is_no_row(predict: Any) -> None:
    _, summary = predict("in.csv", "id,text\n1,why\n\n2,why\n\n", "out.csv", on_error="fail")
    assert summary.rows == 2


def test_blank_rows_are_gone_on_with(predictor: Predictor, tmp_path: Path) -> None:
    given, whole, out = (tmp_path / name for name in ("in.csv", "whole.csv", "out.csv"))
    given.write_text("\ntext\n" + "so happy\n\n\nwhy\n" * 25)
    run = partial(predict_file, predictor=predictor, options=Options(), part_size=7)
    assert run(open_source(str(given)), whole).rows == 100
    for parts in (1, 4, 9):
        engine = stopping(lambda plan: job.local(predictor, plan, Watch()), parts - finished_parts(out))
        with pytest.raises(Stop):
            run(open_source(str(given)), out, engine=engine)
    summary = run(open_source(str(given)), out)
    assert (summary.earlier, summary.rows, summary.problems) == (63, 100, 50)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
def test_a_corpus_has_the_same_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\ntext\r\na\r\n\r\nb\r\n")
    with pytest.raises(DataError, match=rf"{name}:4: the text is empty"):
        all_rows(path, label_set=MOODS, allow_unlabelled=True)
    found = all_rows(path, label_set=MOODS, allow_unlabelled=True, on_error="skip")
    assert (found.texts, [problem.row for problem in found.problems]) == (["a", "b"], [4])


@pytest.mark.parametrize("content", ["\nid;text\n1;hi, you\n", "\ufeff\r\n\r\nid;text\r\n1;hi, you\r\n"])
def test_blank_lines_before_the_header(predict: Any, tmp_path: Path, content: str) -> None:
    path, _ = predict("in.csv", content, "out.csv")
    assert [(row["id"], row["text"]) for row in rows_of(path, ";")] == [("1", "hi, you")]
    (tmp_path / "m.csv").write_text(content, newline="")
    assert all_rows(tmp_path / "m.csv", label_set=MOODS, allow_unlabelled=True).texts == ["hi, you"]


# columns without a name


@pytest.mark.parametrize("out", OUTPUTS)
def test_columns_without_a_name(predict: Any, out: str) -> None:
    """As Excel writes them behind, and here also before the text; where columns are keys each has one."""
    rows = b"\xef\xbb\xbf;;column_4;;text\r\n1;2;3;4;so happy\r\n5;6;7;8;why\r\n"
    path, _ = predict("in.csv", rows, f"out.{out}")
    if out == "csv":
        assert path.read_bytes().startswith(
            b"\xef\xbb\xbf;;column_4;;text;predicted;probabilities\r\n1;2;3;4;so happy;joy;"
        )
        return
    first, second = rows_of(path)
    assert list(first)[:5] == ["column_1", "column_2", "column_4", "column_4_", "text"]
    assert list(first.values())[:5] == ["1", "2", "3", "4", "so happy"]
    assert predicted(second) == ["curiosity"]


def test_one_empty_name_stays(predict: Any) -> None:
    path, _ = predict("in.csv", ",text\n0,why\n", "out.jsonl")
    assert list(rows_of(path)[0])[:2] == ["", "text"]


# keys that come late


LATE = '{"id": 1}\n{"id": 2, "text": "so happy"}\n'


@pytest.mark.parametrize("column", [None, "text"])
@pytest.mark.parametrize("out", OUTPUTS)
def test_a_text_that_the_first_object_lacks(predict: Any, column: str | None, out: str) -> None:
    path, summary = predict("in.jsonl", LATE, f"out.{out}", column=column)
    assert [problem.reason for problem in summary.shown] == ["the column 'text' is missing from this row"]
    assert summary.shown[0].kept
    first, second = rows_of(path)
    assert not first["predicted"]
    assert (str(second["id"]), second["text"], predicted(second)) == ("2", "so happy", ["joy"])


def test_a_text_that_comes_very_late(predict: Any) -> None:
    """Behind the objects that are looked at it must be named, and is then taken at its word."""
    rows = '{"id": 1}\n' * 1_500 + '{"body": "why"}\n'
    path, summary = predict("in.jsonl", rows, "out.jsonl", column="body", part_size=1_000)
    assert (summary.rows, summary.problems) == (1_501, 1_500)
    assert predicted(rows_of(path)[-1]) == ["curiosity"]
    with pytest.raises(DataError, match="no column looks like the text, it has: 'id'; say which"):
        predict("in.jsonl", rows, "out.jsonl")


def test_a_text_that_no_object_has(predict: Any) -> None:
    with pytest.raises(DataError, match="has no column 'txt', it has: 'id', 'text'"):
        predict("in.jsonl", LATE, "out.jsonl", column="txt")


def test_a_late_text_in_a_pipe(predictor: Predictor) -> None:
    """Only the first object is there to look at; the text that is named has its column all the same."""
    with pytest.raises(DataError, match="no column looks like the text"):
        piped(LATE.encode(), "jsonl")
    written: list[bytes] = []
    source = piped(LATE.encode(), "jsonl", "text")
    summary = job.predict_stream(source, written.append, "csv", predictor, Options(), part_size=2)
    lines = b"".join(written).decode().splitlines()
    assert lines[:2] == ["id,text,predicted,probabilities", "1,,,"]
    assert lines[2].startswith("2,so happy,joy,")
    assert (summary.problems, summary.left_out) == (1, {})


@pytest.mark.parametrize("out", OUTPUTS)
def test_a_text_that_no_row_has_at_the_end(
    predict: Any, predictor: Predictor, tmp_path: Path, out: str
) -> None:
    """A misspelt column that was taken at its word: an earlier output stays as it is, and no parts are left."""
    path, _ = predict("in.jsonl", '{"text": "so happy"}\n{"text": ""}\n', f"out.{out}")
    before = {one: one.read_bytes() for one in (path, tmp_path / f"out.{out}.problems.jsonl")}
    rows = '{"id": 1, "body": "why"}\nnonsense\n' * 1_200
    said = r"in\.jsonl: has no column 'bdoy' in any of its rows, the first has: 'id', 'body'; say which with --text-column"
    with pytest.raises(DataError, match=said):
        predict("in.jsonl", rows, path.name, column="bdoy", part_size=500)
    assert {one: one.read_bytes() for one in before} == before
    assert not path.with_name(f"{path.name}.parts").exists()
    with pytest.raises(DataError, match=said.replace(r"in\.jsonl", "standard input")):
        predict_file(piped(rows.encode(), "jsonl", "bdoy"), path, predictor, Options())
    assert {one: one.read_bytes() for one in before} == before
    written: list[bytes] = []
    if out != "parquet":
        with pytest.raises(DataError, match="has no column 'bdoy' in any of its rows"):
            job.predict_stream(
                piped(rows.encode(), "jsonl", "bdoy"),
                written.append,
                out,
                predictor,
                Options(),
                part_size=500,
            )


def test_a_text_that_only_the_parts_of_an_earlier_run_have(predictor: Predictor, tmp_path: Path) -> None:
    given, out = tmp_path / "in.jsonl", tmp_path / "out.csv"
    given.write_text('{"body": "why"}\n' + '{"id": 1}\n' * 1_500)

    def run(**options: Any) -> Any:
        source = open_source(str(given), "body")
        return predict_file(source, out, predictor, Options(), part_size=500, **options)

    with pytest.raises(Stop):
        run(engine=stopping(lambda plan: job.local(predictor, plan, Watch()), 1))
    assert finished_parts(out) == 1
    assert run().problems == 1_500


def test_looking_ahead_changes_no_row_and_no_column(predict: Any) -> None:
    """A key of later objects is no column of all rows: where predictions go it is the fault of its own row."""
    rows = "".join(json.dumps({"n": n, "text": "why"}) + "\n" for n in range(1_200))
    late = '{"n": 0, "text": "why", "probabilities": 1}\n'
    path, summary = predict("in.jsonl", "\n" + rows + late, "out.jsonl", part_size=500)
    assert [row["n"] for row in rows_of(path)] == list(range(1_200))
    assert [problem.row for problem in summary.shown] == [1_202]


# another encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("format", ["txt", "csv", "tsv", "jsonl"])
def test_utf_16_in_a_pipe(format: str, encoding: str) -> None:
    with pytest.raises(DataError, match=r"standard input: is UTF-16.*iconv -f UTF-16 -t UTF-8"):
        piped("\ufefftext\nwhy\n".encode(encoding), format)
    unmarked = f"UTF-16{encoding[-2:].upper()}"
    with pytest.raises(DataError, match=rf"standard input: is UTF-16.*iconv -f {unmarked} "):
        piped("text\nwhy\n".encode(encoding), format)


# very many columns


@pytest.mark.parametrize("names", [[f"c{n}" for n in range(30_000)], [""] * 30_000], ids=["named", "empty"])
def test_very_many_columns_take_no_time(tmp_path: Path, names: list[str]) -> None:
    """Comparing each with each took half a minute here, and ten minutes for a header of a megabyte."""
    (tmp_path / "in.csv").write_text(",".join([*names, "text"]) + "\n" + "," * len(names) + "why\n")
    began = time.process_time()
    source = open_source(str(tmp_path / "in.csv"))
    assert len(source.table.columns) == 30_001
    assert len(set(source.table.columns)) == 30_001
    assert len(open_table(tmp_path / "in.csv").columns) == 30_001
    assert time.process_time() - began < 5


def test_a_column_twice(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("b,text,a,a,b\n")
    with pytest.raises(DataError, match=r"in\.csv:1: two columns are named 'b'; rename one"):
        open_source(str(tmp_path / "in.csv"))
    with pytest.raises(DataError, match=r"in\.csv:1: two columns are named 'a'; rename one"):
        open_table(tmp_path / "in.csv")


# bytes that are no text


def test_ids_and_splits_are_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    path.write_bytes(b"id,text,label,split\nr\xe9f,hello,joy,train\nr2,hi,joy,d\xe9v\nr3,ho,joy,dev\n")
    with pytest.raises(DataError, match=r"b\.csv:2: the id"):
        read_file(path, label_set=MOODS)
    found = read_file(path, label_set=MOODS, on_error="skip", split_column="split")
    assert [part.ids for part in found.values()] == [["r3"]]
    assert [(problem.row, "the split" in problem.reason) for problem in found["dev"].problems] == [
        (2, False),
        (3, True),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.csv", ",text,label\nso happy,1,joy\n"),
        ("in.tsv", "\ttext\tlabel\nso happy\t1\tjoy\n"),
        ("in.jsonl", '{"": "so happy", "text": "1", "label": "joy"}\n'),
    ],
)
def test_a_column_without_a_name_is_taken_where_it_is_asked_for(
    predict: Any, tmp_path: Path, name: str, content: str
) -> None:
    path, _ = predict(name, content, "out.jsonl", column="")
    assert rows_of(path)[0]["predicted"] == ["joy"]
    assert all_rows(tmp_path / name, text_column="").texts == ["so happy"]
    assert all_rows(tmp_path / name, id_column="").ids == ["so happy"]
    assert [row.text for row in open_predictions(path, text_column="").rows()] == ["so happy"]


def test_a_column_without_a_name_that_is_not_there_or_not_alone(predict: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column ''"):
        predict("in.csv", "id,text\n1,so happy\n", "out.csv", column="")
    for option in ("text_column", "label_column", "id_column"):
        with pytest.raises(DataError, match="has no column ''"):
            all_rows(tmp_path / "in.csv", **{option: ""})
    with pytest.raises(DataError, match="has no column '', it has: 'column_1', 'text', 'column_3'"):
        predict("in.csv", ",text,\na,so happy,joy\n", "out.csv", column="")
    with pytest.raises(DataError, match="has 2 columns without a name; name the one that is meant"):
        all_rows(tmp_path / "in.csv", label_column="")
