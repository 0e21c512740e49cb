"""Rows of CSV, TSV, JSONL and plain text, read from bytes, each with where it stands and as it stands. Imports corpora for quotes alone.

A row's number is its line's, counted from 1, header included; a row over several lines has the number of its first.
A row keeps its raw text beside its values, so that what was read can be written again to the letter.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emodef.corpora.quoted import QuotedRows

AS_CSV = "--input-format csv"  # reads quotes as quotes
DEEPEST = 200  # levels of a JSON row: Python goes down some hundreds, and it has gone down some already
_BRACKETS = re.compile(rb"[\[\]{}]")
# possessive: a string that is never closed is looked through once, not once for each quote in it
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


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
    rows: QuotedRows | None = None
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
            rows = rows or _quoted_rows(separator)
            fields, body, end, problem = _quoted(rows, lines, line)
        if isinstance(fields, str):
            yield Record(row, body, None, end, problem or fields)
        elif width is not None and len(fields) != width:
            yield Record(row, body, None, end, problem or _ragged(fields, width, quoting))
        else:
            yield Record(row, body, list(fields), end, problem)


def _quoted_rows(separator: str) -> QuotedRows:
    from emodef.corpora.quoted import QuotedRows  # imports csv, which few inputs need

    return QuotedRows(separator)


def _quoted(rows: QuotedRows, lines: Lines, first: bytes) -> tuple[list[str] | str, str, str, str]:
    """(fields or what is wrong, raw text, line end, problem) of the row that starts with the line `first`."""
    more: list[bytes] = []
    text, problem = decoded(first)

    def following() -> Iterator[str]:
        nonlocal problem
        while line := lines.take():
            more.append(line)
            text, fault = decoded(line)
            problem = problem or fault
            yield text

    found = rows.fields(lines.row, text, following())
    if isinstance(found, str):
        lines.put_back(more)
        return found, *parted(text), decoded(first)[1]
    body, end = parted(decoded(b"".join([first, *more]))[0])
    return found, body, end, problem


def _ragged(fields: Sequence[str], width: int, quoting: bool) -> str:
    from emodef.corpora.quoted import ragged

    return ragged(fields, width, quoting, AS_CSV)
