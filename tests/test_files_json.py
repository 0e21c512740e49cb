"""Users' files: labels that are numbers, numbers without end, and what a JSON object may lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodef.errors import DataError
from emodef.labels import LabelSet
from test_files import MOODS, all_rows, fault


def test_a_label_s_name_goes_before_its_number(tmp_path: Path) -> None:
    """Labels that are called by numbers, in formats that have numbers."""
    stars = LabelSet("stars", ("1", "2", "3"), ("bad", "so so", "good"))
    path = tmp_path / "st.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "b", "label": [3]}\n{"text": "c", "label": 2.0}\n')
    found = all_rows(path, label_set=stars).labels.tolist()
    assert found == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    table = tmp_path / "st.csv"
    table.write_text("text,label\na,1\nb,3\nc,2\nd,0\n")
    assert all_rows(table, label_set=stars).labels.tolist() == [*found, [1, 0, 0]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{{"text": "a", "label": "joy", "n": 1}}\n{{"text": "b", "label": "joy", "n": {0}}}\n'),
        ("a.csv", "text,label\na,joy\nb,{0}\n"),
        ("b.csv", 'text,label\na,joy\nb,"[{0}]"\n'),
    ],
)
def test_numbers_of_thousands_of_digits(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content.format("1" * 5_000))
    with pytest.raises(DataError, match=rf"{name}:\d: ") as told:
        all_rows(path, label_set=MOODS)
    assert len(str(told.value)) < 400 + len(str(path))


def test_columns_of_a_jsonl_file_are_those_of_its_first_thousand_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "label": "joy"}\n')
    found = all_rows(path, label_set=MOODS, allow_unlabelled=True)
    assert found.labels.sum() == 1


def test_numbers_as_table_programs_write_them(tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    table.write_text("text,label\na,0.0\nb,1.0\nc,1\n")
    first, second = MOODS.names[:2]
    assert all_rows(table, label_set=MOODS).label_lists() == [[first], [second], [second]]
    assert "the label 0 is a number" in fault(table)
    blank = tmp_path / "m.jsonl"
    blank.write_text('{"text": "a", "labels": ["joy", " "]}\n')
    assert ":1: the label ' ' is neither a name nor a number" in fault(blank, label_set=MOODS)


def test_a_label_may_begin_as_a_list_does(tmp_path: Path) -> None:
    labels = LabelSet("odd", ("[1]", "[2]", "[other]"), ("one", "two", "more"))
    path = tmp_path / "m.csv"
    path.write_text('text,label\na,[1]\nb,[other]\nc,"[""[2]""]"\n')
    for delimiter in (None, "|"):
        found = all_rows(path, label_set=labels, delimiter=delimiter).labels.tolist()
        assert found == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_lines_that_end_with_carriage_returns(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"text,label\ra,joy\r")
    assert "save the file with line ends LF or CRLF" in fault(path, label_set=MOODS)


def test_jsonl_without_an_object(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("nothing\n")
    assert "has no row" in fault(path, label_set=MOODS)
