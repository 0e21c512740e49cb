"""TSV is read as it stands, as GoEmotions' is; one that was written with quotes is told, with the way to read it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from commands import emodef_command
from emodef.corpora.files import read_file
from emodef.corpora.quoted import is_quoted
from emodef.errors import DataError
from tiny_files import rows_of

TEXTS = ["so happy", 'she said "why" to me', "this is\tawful", "two\nlines", "", "so lovely"]
MINIMAL, ALL = csv.QUOTE_MINIMAL, csv.QUOTE_ALL


def written(quoting: Any) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter="\t", quoting=quoting, lineterminator="\n")
    writer.writerow(["text", "label"])
    writer.writerows([text, "joy"] for text in TEXTS)
    return file.getvalue()


@pytest.mark.parametrize("quoting", [MINIMAL, ALL])
def test_quotes_hold_fields_together_where_that_is_said(predict: Any, quoting: Any) -> None:
    out, summary = predict("in.tsv", written(quoting), "out.jsonl", format="csv")
    assert [row["text"] for row in rows_of(out)] == TEXTS
    assert [problem.reason for problem in summary.shown] == ["the text is empty"]
    assert summary.in_quotes == 0


def test_rows_that_quotes_would_hold_together_say_so(predict: Any) -> None:
    _, summary = predict("in.tsv", written(MINIMAL), "out.jsonl")
    assert summary.in_quotes == 3
    assert [problem.row for problem in summary.shown] == [4, 5, 7]
    for problem in summary.shown[:2]:
        assert problem.reason.endswith("if they hold fields together: --input-format csv")
    _, summary = predict(
        "in.tsv", 'text\tlabel\nso "happy"\tjoy\n"why" is it\tjoy\na\tb\tc\nd\n', "out.jsonl"
    )
    assert summary.in_quotes == 0
    assert all(
        problem.reason.endswith("no field may contain a tab or a line break") for problem in summary.shown
    )


def test_names_in_quotes_are_refused(predict: Any, tmp_path: Path) -> None:
    message = 'in.tsv:1: the name "text" stands in quotes'
    with pytest.raises(DataError, match=f"{message}.*--input-format csv"):
        predict("in.tsv", written(ALL), "out.jsonl")
    with pytest.raises(DataError, match=f"{message}.*ends in .csv"):
        read_file(tmp_path / "in.tsv")


def test_a_corpus_says_so_too_and_the_remedy_helps(tmp_path: Path) -> None:
    kept = [text for text in TEXTS if text]
    path = tmp_path / "in.tsv"
    path.write_text(written(MINIMAL).replace("\tjoy\n\tjoy\n", "\tjoy\n"), encoding="utf-8")
    with pytest.raises(DataError, match=r"in\.tsv:4: .*give the file a name that ends in \.csv"):
        read_file(path)
    (corpus,) = read_file(path, on_error="skip").values()
    assert [note.partition(": ")[2] for note in corpus.notes] == [
        "1 text stands in double quotes, which are read as part of it; if they hold fields together: give the file a name that ends "
        "in .csv"
    ]
    assert corpus.take([0]).notes == corpus.notes
    (corpus,) = read_file(path.rename(tmp_path / "in.csv")).values()
    assert (corpus.texts, corpus.notes) == (kept, [])


def test_commands_say_so(tmp_path: Path) -> None:
    path = tmp_path / "in.tsv"
    path.write_text('text\tlabel\n"she said ""why"" to me"\tjoy\nso happy\tjoy\n', encoding="utf-8")
    run = emodef_command("predict", "--file", path)
    assert f"note: {path}:2: a field stands in double quotes" in run.stderr
    run = emodef_command("data", "show", path)
    assert f"note: {path}: 1 text stands in double quotes" in run.stderr


def test_what_polars_writes_is_taken_for_quoted() -> None:
    frame = pl.DataFrame({"text": ['"Great", she said', "", 'only "within"', "plain"]})
    lines = frame.write_csv(separator="\t").splitlines()[1:]
    assert [is_quoted(line) for line in lines] == [True, True, True, False]
    assert not any(map(is_quoted, ['"why" is it', '"yes"', '"yes", "no"', '"', ""]))
