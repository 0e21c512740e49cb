"""Users' files: labels that are numbers, numbers without end, and what a JSON object may lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from emodef.errors import DataError
from emodef.labels import LabelSet
from test_files import MOODS, all_rows


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
