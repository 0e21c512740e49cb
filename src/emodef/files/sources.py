"""Where rows come from: arguments, a file, a pipe; in numbered parts of fixed size. Imports corpora, errors, files.records.

A part ends after so many rows, or after PART_BYTES where rows are long, so memory stays flat and parts fall the same way
every time. A source that can be read again goes on behind the parts that are finished.
"""

from __future__ import annotations

import os
import re
import shlex
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from emodef.corpora.cells import UnusableRow, check_characters
from emodef.errors import DataError, SettingsError
from emodef.files.heads import Table, find_text_column, find_text_key, read_head
from emodef.files.records import (
    Lines,
    Position,
    Record,
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
COMPRESSED = {  # ending -> what writes out the content
    ".gz": "zcat",
    ".bz2": "bzcat",
    ".xz": "xzcat",
    ".zst": "zstdcat",
    ".zip": "unzip -p",
}
PART_BYTES = 2**25


@dataclass
class Part:
    """Rows that are predicted and written together. `frame`: of Parquet, the rows as a polars DataFrame."""

    number: int
    records: list[Record]
    end: Position
    frame: Any = None


def state_of(path: Path) -> tuple[str, int, int]:
    """What tells, without reading a file, that it changed."""
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns


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

    def state(self) -> list[tuple[str, int, int]]:
        """(path, size, time of the last change in ns) of each file on this machine that the rows are read from."""
        return [] if self.path is None else [state_of(self.path)]

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
        table = read_head(lines, Table(name, format, (), ""))
        self._start = lines.position
        if doubled := [column for column, times in Counter(table.columns).items() if times > 1]:
            raise DataError(f"two columns are named {doubled[0]!r}; rename one", name, self._start.row)
        if format != "jsonl":
            self.table = replace(table, text_column=find_text_column(table, text_column))
            return
        text = find_text_key(lines, table, text_column, can_read_ahead=self.resumable)
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
    suffix = Path(given).suffix.lower()
    if suffix in COMPRESSED and Path(given).is_file():
        raise DataError(f"is compressed; {_unpacking(given, format)}", given)
    if format is None:
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
        if not is_address and Path(given).is_dir():
            pattern = f"file://{os.path.abspath(given)}/*.parquet"
            raise DataError(
                f"is a folder; to read the files in it as one: --file {shlex.quote(pattern)}", given
            )
        from emodef.files.parquet import ParquetSource

        return ParquetSource(given, text_column)
    if is_address:
        raise SettingsError(
            f"{given}: only Parquet is read from an address; copy the file here first, or pipe it in"
        )
    return TextSource(format, text_column, path=Path(given))


def _unpacking(given: str, format: str | None) -> str:
    """How to give what is in a compressed file."""
    name = Path(given)
    within = format or SUFFIXES.get(name.with_suffix("").suffix.lower(), "csv")
    if within == "parquet":
        return "unpack it first: Parquet is not read from a pipe"
    option = "" if within == "txt" else f" --input-format {within}"
    return (
        f"give what is in it: {COMPRESSED[name.suffix.lower()]} {shlex.quote(given)} | emodef predict{option}"
    )


def _path_of(given: str) -> str:
    """The path of a file:// address of one file, so that it is known by its content; anything else as it is."""
    if not given.startswith("file://") or any(letter in given for letter in "*?["):
        return given
    from urllib.parse import urlsplit
    from urllib.request import url2pathname  # slow to import, and seldom needed

    path = url2pathname(urlsplit(given).path)
    return path if Path(path).is_file() else given
