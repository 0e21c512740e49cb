"""Where rows come from: arguments, a file, a pipe; in numbered parts of fixed size. Imports corpora, errors, files.records.

A part ends after so many rows, or after PART_BYTES where rows are long, so memory stays flat and parts fall the same way
every time. A source that can be read again goes on behind the parts that are finished.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, Any

from emodef.corpora.cells import UnusableRow, check_characters, listed
from emodef.errors import DataError, SettingsError
from emodef.files.records import (
    Lines,
    Position,
    Record,
    decoded,
    delimited_records,
    json_records,
    plain_records,
)

FORMATS = ("txt", "csv", "tsv", "jsonl", "parquet")
SUFFIXES = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
PART_BYTES = 2**25
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


@dataclass
class Part:
    """Rows that are predicted and written together. `frame`: of Parquet, the rows as a polars DataFrame."""

    number: int
    records: list[Record]
    end: Position
    frame: Any = None


class Source(ABC):
    """Rows in numbered parts.

    path: of a file on this machine. resumable: whether the rows can be read again from any part on. rows: how many there
    are, where that is known.
    """

    table: Table
    path: Path | None = None
    resumable: bool = False
    rows: int | None = None

    @abstractmethod
    def parts(self, size: int, finished: Mapping[int, Position]) -> Iterator[Part]:
        """The parts that are not finished, in order; there is always a part 0. `finished`: number -> its end."""

    @abstractmethod
    def share(self, position: Position) -> float | None:
        """How much of the input lies before `position`, 0 to 1; None if nobody can know."""


class GivenTexts(Source):
    """Texts from the command line or a program. Raises DataError for an empty one."""

    def __init__(self, texts: Sequence[str]) -> None:
        for number, text in enumerate(texts, start=1):
            try:
                check_characters(text, f"text {number}")
            except UnusableRow as error:
                raise DataError(str(error)) from None
            if not text.strip():
                raise DataError(f"text {number} is empty; leave it out")
        self.texts, self.rows = texts, len(texts)
        self.table = Table("the texts given", "txt", ("text",), "text")

    def parts(self, size: int, finished: Mapping[int, Position]) -> Iterator[Part]:
        for number, start in enumerate(range(0, len(self.texts), size)):
            some = self.texts[start : start + size]
            records = [Record(start + i, text, [text]) for i, text in enumerate(some, start=1)]
            yield Part(number, records, Position(start + len(some)))

    def share(self, position: Position) -> float | None:
        return position.row / len(self.texts)


class TextSource(Source):
    """A file, or a stream read once, of plain lines, CSV, TSV or JSONL."""

    def __init__(
        self,
        format: str,
        text_column: str | None,
        *,
        path: Path | None = None,
        stream: IO[bytes] | None = None,
        name: str = "standard input",
    ) -> None:
        self.path, self.resumable = path, path is not None
        self._lines = None if stream is None else Lines(stream)
        if self._lines is not None:
            self._look(self._lines, name, format, text_column)
        else:
            from emodef.corpora.tables import check_text_file

            path = Path(path or "")
            check_text_file(path)
            self._bytes = max(1, path.stat().st_size)
            with closing(self._file()) as file:
                self._look(Lines(file), str(path), format, text_column)

    def _look(self, lines: Lines, name: str, format: str, text_column: str | None) -> None:
        table = _head(lines, Table(name, format, (), ""))
        self._start = lines.position
        if doubled := [column for column, times in Counter(table.columns).items() if times > 1]:
            raise DataError(f"two columns are named {doubled[0]!r}; rename one", name, self._start.row)
        if format != "jsonl":
            self.table = replace(table, text_column=find_text_column(table, text_column))
            return
        text = _find_text_key(lines, table, text_column, can_read_ahead=self.resumable)
        columns = table.columns if text in table.columns else (*table.columns, text)
        self.table = replace(table, columns=columns, text_column=text)

    def _file(self) -> IO[bytes]:
        assert self.path is not None
        return open(self.path, "rb", buffering=2**18)

    def records(self, lines: Lines) -> Iterator[Record]:
        """The rows from where `lines` stands."""
        table = self.table
        if table.format == "txt":
            return plain_records(lines)
        if table.format == "jsonl":
            return json_records(lines)
        return delimited_records(lines, table.separator, table.format == "csv", len(table.columns))

    def parts(self, size: int, finished: Mapping[int, Position]) -> Iterator[Part]:
        if self._lines is not None:
            yield from self._parts(self._lines, size, finished)
            return
        with closing(self._file()) as file:
            lines = Lines(file)
            lines.seek(self._start)
            yield from self._parts(lines, size, finished)

    def _parts(self, lines: Lines, size: int, finished: Mapping[int, Position]) -> Iterator[Part]:
        number, more = 0, True
        while more:
            if number in finished:
                lines.seek(finished[number])
            else:
                records: list[Record] = []
                start = lines.offset
                more = False
                for record in self.records(lines):
                    records.append(record)
                    if len(records) == size or lines.offset - start >= PART_BYTES:
                        more = True
                        break
                if records or number == 0:
                    yield Part(number, records, lines.position)
            number += 1

    def share(self, position: Position) -> float | None:
        return None if self.path is None else min(1.0, position.offset / self._bytes)


def open_source(given: str, text_column: str | None = None, format: str | None = None) -> Source:
    """The rows of a file or a pipe; of Parquet also at an address such as s3://… Raises DataError, SettingsError, MissingExtraError."""
    if given == "-":
        raise SettingsError(
            "--file names a file; what is piped in is read without it: ... | emodef predict --input-format csv"
        )
    given = _path_of(given)
    is_address = re.match(r"[a-z][a-z0-9+.-]+://", given) is not None
    if format is None:
        suffix = Path(given).suffix.lower()
        if suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES)
            raise DataError(
                f"the format of {suffix or 'this file'} is not known; name it with --input-format, or give one of {known}",
                given,
            )
        format = SUFFIXES[suffix]
    is_pipe = (
        not is_address and Path(given).exists() and not Path(given).is_file() and not Path(given).is_dir()
    )
    if is_pipe and format == "parquet":
        raise SettingsError(f"{given}: Parquet is not read from a pipe; write it to a file first")
    if is_pipe:
        try:
            stream = open(given, "rb")  # noqa: SIM115 (read to its end, part by part)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", given) from None
        return TextSource(format, text_column, stream=stream, name=given)
    if format == "parquet":
        from emodef.files.parquet import ParquetSource

        return ParquetSource(given, text_column)
    if is_address:
        raise SettingsError(
            f"{given}: only Parquet is read from an address; copy the file here first, or pipe it in"
        )
    return TextSource(format, text_column, path=Path(given))


def _path_of(given: str) -> str:
    """The path of a file:// address of one file, so that it is known by its content; anything else as it is."""
    if not given.startswith("file://") or any(letter in given for letter in "*?["):
        return given
    from urllib.parse import urlsplit
    from urllib.request import url2pathname  # slow to import, and seldom needed

    path = url2pathname(urlsplit(given).path)
    return path if Path(path).is_file() else given


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
    column = wanted or next((written[name] for name in TEXT_COLUMNS if name in written), None)
    if column is None or column not in table.columns:
        problem = "no column looks like the text" if column is None else f"has no column {column!r}"
        raise DataError(
            f"{problem}, it has: {listed(table.columns)}; say which with --text-column", table.name
        )
    return column


def _head(lines: Lines, table: Table) -> Table:
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
        if objects and (len(objects) == most or lines.offset - start >= PART_BYTES):
            is_whole = False
            break
    lines.put_back(looked)
    return objects, is_whole


def _find_text_key(lines: Lines, table: Table, wanted: str | None, *, can_read_ahead: bool) -> str:
    """As `find_text_column`, among the keys of the first objects; what was asked for may also come behind these.

    can_read_ahead: of what is piped in only the first object is looked at, so as not to wait for more.
    """
    from emodef.corpora.tables import KEYS_OF

    objects, is_whole = _first_objects(lines, KEYS_OF if can_read_ahead else 1)
    if wanted and not is_whole:
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
    return replace(
        table,
        columns=_told_apart([name.strip() for name in record.values]),
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
