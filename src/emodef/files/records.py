"""Rows of CSV, TSV, JSONL and plain text, read from bytes, each with where it stands and as it stands. Imports corpora for a bad row alone.

A row's number is its line's, counted from 1, header included; a row over several lines has the number of its first.
A row keeps its raw text beside its values, so that what was read can be written again to the letter.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

MAX_QUOTED = (
    2**24
)  # bytes over which a quoted field may run from line to line: else one stray quote takes the whole file
DEEPEST = 200  # levels of a JSON row: Python goes down some hundreds, and it has gone down some already
_BRACKETS = re.compile(rb"[\[\]{}]")
# possessive: a string that is never closed is looked through once, not once for each quote in it
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_MAX_FIELD = 2**31 - 1  # characters; csv's own limit of 131,072 is less than a long document has


@dataclass(frozen=True)
class Position:
    """A place between two rows of an input: how many lines (of Parquet: rows) and bytes come before it."""

    row: int = 0
    offset: int = 0


@dataclass(slots=True)
class Record:
    """One row. `values`: a list by column, of JSONL the object; None where the row could not be taken apart.

    raw: the row as it stands, without the end of its last line, which is `end`. problem: why it cannot be predicted,
    as far as its reading showed.
    """

    row: int
    raw: str
    values: list[Any] | dict[str, Any] | None
    end: str = "\n"
    problem: str = ""


class Lines:
    """The lines of a byte stream that end at LF, with a position, and lines may be put back."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.row, self.offset = 0, 0
        self._waiting: deque[bytes] = deque()

    def take(self) -> bytes:
        """The next line with its end; nothing at the end of the stream."""
        line = self._waiting.popleft() if self._waiting else self.file.readline()
        if line:
            self.row += 1
            self.offset += len(line)
        return line

    def put_back(self, lines: list[bytes]) -> None:
        """Give back the lines that were taken last, in their order."""
        self._waiting.extendleft(reversed(lines))
        self.row -= len(lines)
        self.offset -= sum(map(len, lines))

    @property
    def position(self) -> Position:
        """Where the next line starts."""
        return Position(self.row, self.offset)

    def seek(self, position: Position) -> None:
        """Go on from `position`."""
        self._waiting.clear()
        self.file.seek(position.offset)
        self.row, self.offset = position.row, position.offset


def decoded(line: bytes) -> tuple[str, str]:
    """(text, problem). Bytes that are not UTF-8 become lone surrogates, so that one bad byte spoils one row."""
    try:
        return line.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return line.decode("utf-8", "surrogateescape"), (
            f"is not UTF-8: byte 0x{line[error.start]:02x} at character "
            f"{len(line[: error.start].decode('utf-8')) + 1} of the line"
        )


def parted(text: str) -> tuple[str, str]:
    """(line, its end)."""
    body = text.removesuffix("\n")
    if body is text:
        return text, ""
    return (body[:-1], "\r\n") if body.endswith("\r") else (body, "\n")


def plain_records(lines: Lines) -> Iterator[Record]:
    """Every line is a row of one value, empty lines too."""
    while line := lines.take():
        text, problem = decoded(line)
        body, end = parted(text)
        yield Record(lines.row, body, [body], end, problem)


def json_records(lines: Lines) -> Iterator[Record]:
    """Every line is an object, at most DEEPEST levels deep; blank lines are no rows."""
    while line := lines.take():
        text, problem = decoded(line)
        body, end = parted(text)
        if not (body and not body.isspace()):
            continue
        value: Any = None
        try:
            if _is_deep(line):
                raise RecursionError
            value = json.loads(body)
        except json.JSONDecodeError as error:
            problem = problem or f"is not valid JSON: {error.msg} at character {error.pos + 1}"
        except ValueError:
            problem = problem or "holds a number of thousands of digits"
        except RecursionError:
            problem = problem or f"is nested more than {DEEPEST} levels deep"
        else:
            if not isinstance(value, dict):
                value, problem = None, problem or 'is not a JSON object such as {"text": "..."}'
        yield Record(lines.row, body, value, end, problem)


def _is_deep(line: bytes) -> bool:
    """Whether brackets outside strings are nested too deep to be written again, as a cell, by what goes down level by level."""
    if line.count(b"[") + line.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", line)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False


def delimited_records(lines: Lines, separator: str, quoting: bool, width: int | None) -> Iterator[Record]:
    """Rows of `width` fields (None: of any number). Blank lines are no rows, but where there is one column.

    There a blank line is an empty cell, as Excel writes it, at the end of the file too, like a line of plain text; what follows
    the last line end is no line.
    quoting: whether quotes hold a field together; a quote that is never closed then costs its own line alone.
    """
    while line := lines.take():
        text, problem = decoded(line)
        row = lines.row
        body, end = parted(text)
        if not body and width != 1:
            continue
        fields: list[str] | str
        if not quoting or ('"' not in body and "\r" not in body):
            fields = body.split(separator)
        else:
            fields, body, end, problem = _quoted(lines, text, separator, problem, len(line))
        if isinstance(fields, str):
            yield Record(row, body, None, end, problem or fields)
        elif width is not None and len(fields) != width:
            yield Record(row, body, None, end, problem or _ragged(len(fields), width, quoting))
        else:
            yield Record(row, body, list(fields), end, problem)


def _quoted(
    lines: Lines, first: str, separator: str, problem: str, size: int
) -> tuple[list[str] | str, str, str, str]:
    """(fields or what is wrong, raw text, line end, problem) of the row that starts with the line `first`."""
    import csv

    csv.field_size_limit(_MAX_FIELD)
    more: list[bytes] = []
    texts = [first]
    problems = [problem]

    def feed() -> Iterator[str]:
        nonlocal size
        yield first
        while size < MAX_QUOTED and (line := lines.take()):
            text, fault = decoded(line)
            size += len(line)
            more.append(line)
            texts.append(text)
            problems.append(fault)
            yield text

    try:
        fields: list[str] | str = next(csv.reader(feed(), delimiter=separator, strict=True))
    except csv.Error as error:
        lines.put_back(more)
        return _quote_fault(str(error)), *parted(first), problem
    body, end = parted("".join(texts))
    return fields, body, end, next(filter(None, problems), "")


def _ragged(found: int, width: int, quoting: bool) -> str:
    remedy = "quote a field that contains the separator" if quoting else "no field may contain a tab"
    return f"{found} field{'' if found == 1 else 's'}, but the header names {width} columns; {remedy}"


def _quote_fault(message: str) -> str:
    from emodef.corpora.tables import quote_fault

    if "unexpected end" in message:
        return f"a quote that opens in this row is not closed within {MAX_QUOTED:,} bytes"
    return quote_fault(message)
