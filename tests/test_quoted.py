"""Quotes that never close: what they cost, and that rows are told apart as by one who reads on from each of them anew."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.corpora import quoted, tables
from emodef.corpora.tables import open_table
from emodef.files.records import Lines, Position, delimited_records
from emodef.files.sources import open_source

STRAY = b'x","\n'  # closes the quote of the line before, and opens one


class Counted(Lines):
    """Lines that count how often one is taken."""

    taken = 0

    def take(self) -> bytes:
        self.taken += 1
        return super().take()


def read_anew(lines: list[str]) -> list[tuple[int, list[str] | None]]:
    """(row, fields or None) of each row, read on to the end from every line that begins one."""
    rows: list[tuple[int, list[str] | None]] = []
    start = 0
    while start < len(lines):
        reader = csv.reader(iter(lines[start:]), strict=True)
        try:
            rows.append((start + 1, next(reader)))
            start += reader.line_num
        except csv.Error:
            rows.append((start + 1, None))
            start += 1
    return rows


@settings(deadline=None, max_examples=300)
@given(
    lines=st.lists(st.text(st.sampled_from('"",x\r'), min_size=1, max_size=6), min_size=1, max_size=14),
)
def test_rows_are_those_of_who_reads_on_anew(lines: list[str]) -> None:
    ended = [f"{line}\n" for line in lines]
    records = delimited_records(Lines(io.BytesIO("".join(ended).encode())), ",", True, None)
    found = [(record.row, record.values) for record in records if record.values != []]
    expected = [(row, fields) for row, fields in read_anew(ended) if fields != []]  # blank lines are no rows
    assert found == expected


def test_stray_quotes_take_time_by_the_line() -> None:
    lines = Counted(io.BytesIO(b"text,b\n" + STRAY * 2_000))
    records = list(delimited_records(lines, ",", True, 2))
    assert len(records) == 2_001
    assert all("never closed" in record.problem for record in records[1:])
    assert lines.taken < 5 * 2_000


def test_stray_quotes_take_time_by_the_line_in_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    def counted(*given: Any) -> Iterator[str]:
        nonlocal taken
        for line in taking(*given):
            taken += 1
            yield line

    taking = tables._taking
    monkeypatch.setattr(tables, "_taking", counted)
    path = tmp_path / "in.csv"
    path.write_bytes(b"text,b\nfine,1\n" + STRAY * 500 + b"late,2\n")
    bad: list[int] = []
    rows = list(open_table(path).rows(["text"], lambda row, _: bad.append(row)))
    assert [row["text"] for _, row in rows] == ["fine", "late"]
    assert bad == list(range(3, 503))
    assert taken < 5 * 500


def test_a_row_is_followed_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quoted, "MAX_QUOTED", 40)
    text = 'text,b\n"' + "one line\n" * 3 + '",1\nfine,2\n"' + "one line\n" * 9 + '",3\n'
    records = list(delimited_records(Lines(io.BytesIO(text.encode())), ",", True, 2))
    assert [record.row for record in records if not record.problem] == [1, 2, 6]
    assert records[3].problem == "a quote that opens in this row is never closed, or not within 40 characters"


@pytest.mark.parametrize("most", [30, 2**24])
def test_parts_are_the_same_whatever_was_read_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(quoted, "MAX_QUOTED", most)
    path = tmp_path / "in.csv"
    path.write_bytes(b"text,b\n" + (STRAY * 7 + b'"two\nlines",1\nfine,2\n') * 9)
    source = open_source(str(path))
    whole = list(source.parts(5, {}))
    ends: dict[int, Position] = {part.number: part.end for part in whole}
    for part in whole:
        others = {number: end for number, end in ends.items() if number != part.number}
        assert list(source.parts(5, others)) == [part]


def test_long_fields_are_read_whatever_else_is_read_meanwhile(tmp_path: Path) -> None:
    csv.field_size_limit(2**17)  # as Python has it, whatever was read before
    text = "word " * 40_000
    (tmp_path / "in.csv").write_text(f'text,b\n"{text}",1\n"{text}",2\n', encoding="utf-8")
    one, other = (
        open_table(tmp_path / "in.csv").rows(["text"], lambda row, reason: pytest.fail(f"{row}: {reason}"))
        for _ in range(2)
    )
    firsts = [next(one), next(other)]
    assert [row["text"] for _, row in [*firsts, *one, *other]] == [text] * 4
