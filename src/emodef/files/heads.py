"""What the head of an input tells: columns, how the header stands, where the texts are. Imports corpora, errors, files.records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from emodef.corpora.cells import listed
from emodef.errors import DataError, SettingsError
from emodef.files.records import AS_CSV, Lines, Record, decoded, delimited_records

LOOKED_AT = 2**25  # bytes at most in which the first objects are looked for
_BOM = "\ufeff"
CONVERT = "convert the file, say from Latin-1: iconv -f LATIN1 -t UTF-8 old > new"


@dataclass(frozen=True)
class Table:
    """What the rows of a source have in common; enough to write rows that were read elsewhere.

    header: the header as it stands, with a byte order mark if there is one, without its line end, which is `end`.
    """

    name: str  # of the source, for messages
    format: str
    columns: tuple[str, ...]
    text_column: str
    separator: str = ""
    header: str = ""
    end: str = "\n"

    def text(self, record: Record) -> Any:
        """The value of the text column; None where a JSON object lacks it."""
        if isinstance(record.values, dict):
            return record.values.get(self.text_column)
        assert record.values is not None
        return record.values[self.text_index]

    @cached_property
    def text_index(self) -> int:
        """Where the text stands among the columns."""
        return self.columns.index(self.text_column)

    def cells(self, record: Record) -> Sequence[Any]:
        """The values by column; None where a JSON object lacks the column."""
        if isinstance(record.values, dict):
            return [record.values.get(column) for column in self.columns]
        return record.values or ()


def find_text_column(table: Table, wanted: str | None) -> str:
    """The column that was asked for, or the first that is named like one. Raises DataError, SettingsError."""
    from emodef.corpora.files import TEXT_COLUMNS

    if table.format == "txt":
        if wanted is not None:
            raise SettingsError(
                "--text-column is for rows with columns (csv, tsv, jsonl, parquet); for a pipe of these say --input-format"
            )
        return "text"
    written = {column.casefold(): column for column in reversed(table.columns)}
    # "" is a name as well: that of a column without one
    column = (
        next((written[name] for name in TEXT_COLUMNS if name in written), None) if wanted is None else wanted
    )
    if column is None or column not in table.columns:
        problem = "no column looks like the text" if column is None else f"has no column {column!r}"
        raise DataError(
            f"{problem}, it has: {listed(table.columns)}; say which with --text-column", table.name
        )
    return column


def read_head(lines: Lines, table: Table) -> Table:
    """Columns (of JSONL: the first object's keys) and header; `lines` then stands before the first row."""
    from emodef.corpora.tables import check_not_utf16

    first = lines.take()
    check_not_utf16(first, table.name)
    has_mark = first.startswith(_BOM.encode())
    if first:
        lines.put_back([first[3:] if has_mark else first])
    if table.format == "txt":
        return replace(table, columns=("text",))
    if table.format == "jsonl":
        objects, _ = _first_objects(lines, 1)
        if not objects:
            raise DataError('has no row; each line should be an object such as {"text": "..."}', table.name)
        return replace(table, columns=objects[0])
    return _delimited_head(lines, table, _BOM if has_mark else "")


def _first_objects(lines: Lines, most: int) -> tuple[list[tuple[str, ...]], bool]:
    """(the keys of each of the first objects, whether they are all there are); the lines looked at are put back."""
    looked: list[bytes] = []
    objects: list[tuple[str, ...]] = []
    start = lines.offset
    is_whole = True
    for line in iter(lines.take, b""):
        looked.append(line)
        try:
            value = json.loads(decoded(line)[0])
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and value:
            objects.append(tuple(value))
        if objects and (len(objects) == most or lines.offset - start >= LOOKED_AT):
            is_whole = False
            break
    lines.put_back(looked)
    return objects, is_whole


def find_text_key(lines: Lines, table: Table, wanted: str | None, *, can_read_ahead: bool) -> str:
    """As `find_text_column`, among the keys of the first objects; what was asked for may also come behind these.

    can_read_ahead: of what is piped in only the first object is looked at, so as not to wait for more.
    """
    from emodef.corpora.tables import KEYS_OF

    objects, is_whole = _first_objects(lines, KEYS_OF if can_read_ahead else 1)
    if wanted is not None and not is_whole:
        return wanted
    keys = tuple(dict.fromkeys(chain.from_iterable(objects)))
    return find_text_column(replace(table, columns=keys), wanted)


def _delimited_head(lines: Lines, table: Table, mark: str) -> Table:
    from emodef.corpora.tables import separator_of

    separator = "\t"
    if table.format == "csv":
        line, _ = _filled(lines)  # blank lines before the header say nothing of what parts its names
        row, looked = _filled(lines)
        separator = separator_of(decoded(line)[0], decoded(row)[0])
        lines.put_back([line, *looked] if line else [])
    record = next(delimited_records(lines, separator, table.format == "csv", None), None)
    if record is None:
        raise DataError("is empty; it needs a header row that names the columns, and rows", table.name)
    if not isinstance(record.values, list) or record.problem:
        raise DataError(f"the header cannot be read: {_remedied(record.problem)}", table.name, record.row)
    names = [name.strip() for name in record.values]
    if table.format == "tsv":
        from emodef.corpora.quoted import check_header

        check_header(names, table.name, record.row, AS_CSV)
    return replace(
        table,
        columns=_told_apart(names),
        separator=separator,
        header=mark + record.raw,
        end=record.end or "\n",
    )


def _filled(lines: Lines) -> tuple[bytes, list[bytes]]:
    """The next line that is not blank (at the end of the stream none), and all that were taken for it."""
    looked = []
    for line in iter(lines.take, b""):
        looked.append(line)
        if line.rstrip(b"\r\n"):
            return line, looked
    return b"", looked


def _told_apart(names: list[str]) -> tuple[str, ...]:
    """The names, where several are empty, as behind the last column of Excel, with a name by its number for each of these.

    Columns are keys, of JSONL and Parquet as well. One empty name alone is a key too, and stays.
    """
    if names.count("") < 2:
        return tuple(names)
    columns, taken = [], set(names)
    for number, name in enumerate(names, start=1):
        column = name or f"column_{number}"
        while not name and column in taken:
            column += "_"
        columns.append(column)
    return tuple(columns)


def _remedied(problem: str) -> str:
    if "carriage return" in problem:
        return "lines end with carriage returns alone; convert it: tr '\\r' '\\n' < old > new"
    if "not UTF-8" in problem:
        return f"it {problem}; {CONVERT}"
    return problem
