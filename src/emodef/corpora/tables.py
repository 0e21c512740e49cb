"""Rows of a user's CSV, TSV, JSONL or Parquet file, each with its row number. Imports quoted, errors.

Row numbers are the file's own lines, counted from 1, header included; a row over several lines has the number of its
first. Parquet has no lines: its rows count from 1. A row that cannot be taken apart goes to `bad`, never away unseen.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from emodef.corpora.quoted import QuotedRows, check_header, ragged
from emodef.errors import DataError, require

BadRow = Callable[[int, str], None]  # (row, what is wrong with it)
Rows = Iterator[tuple[int, dict[str, Any]]]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_SEPARATORS = (",", ";", "\t")
AS_CSV = (
    "give the file a name that ends in .csv"  # where tabs part fields, too, and quotes are read as quotes
)
KEYS_OF = 1_000  # so many objects of a JSONL file are looked at for its columns


@dataclass(frozen=True)
class Table:
    """A file's column names, and `rows(columns, bad)` to go through it, as often as wanted.

    Values are text in CSV and TSV; in JSONL and Parquet also numbers, booleans, lists and None. A row lacks the key of
    a column that it does not have.
    """

    columns: list[str]
    rows: Callable[[Sequence[str], BadRow], Rows]


def open_table(path: str | os.PathLike[str], *, quoting: bool | None = None) -> Table:
    """Look at the head of a file and say what columns it has. The suffix tells the format.

    .csv: the header's most frequent of comma, semicolon and tab parts the fields; fields may be quoted. .tsv: tabs, and
    quotes are part of the text. `quoting` true or false overrides that in both. .jsonl, .ndjson: an object a line; the
    columns are the keys of the first KEYS_OF objects. .parquet: needs polars.

    Raises DataError for a file that cannot be read, is not UTF-8 text, has no rows or no sound header.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"the format of {path.suffix or 'this file'} is not known; give one of {', '.join(SUFFIXES)}",
            path,
        )
    if suffix == ".parquet":
        return _parquet(path)
    check_text_file(path)
    if suffix in (".jsonl", ".ndjson"):
        return _jsonl(path)
    return _delimited(path, suffix == ".csv" if quoting is None else quoting)


def _delimited(path: Path, quoting: bool) -> Table:
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(path)

    def parse() -> Iterator[tuple[int, list[str] | str]]:
        return _quoted_rows(path, separator) if quoting else _literal_rows(path, separator)

    first = next(((row, fields) for row, fields in parse() if fields), None)
    if first is None:
        raise DataError("is empty; it needs a header row that names the columns, and rows", path)
    head, header = first
    if isinstance(header, str):
        raise DataError(f"the header cannot be read: {header}", path, head)
    header = [name.strip() for name in header]
    if not quoting:
        check_header(header, path, head, AS_CSV)
    if doubled := sorted(name for name, times in Counter(header).items() if name and times > 1):
        raise DataError(f"two columns are named {doubled[0]!r}; rename one", path, head)

    def rows(columns: Sequence[str], bad: BadRow) -> Rows:
        for row, fields in parse():
            if row <= head:
                continue
            if not fields:  # a blank line: with one column an empty cell, as Excel writes it, else no row
                if len(header) > 1:
                    continue
                fields = [""]
            if isinstance(fields, str):
                bad(row, fields)
            elif len(fields) != len(header):
                bad(row, ragged(fields, len(header), quoting, AS_CSV))
            else:
                yield row, dict(zip(header, fields, strict=True))

    return Table(header, rows)


def _quoted_rows(path: Path, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """(row, fields) or (row, what is wrong). After a fault it goes on with the very next line, so that a quote that is
    never closed costs its own line and not the rest of the file."""
    quoted = QuotedRows(separator)
    with _text_lines(path) as lines:
        waiting: deque[str] = deque()
        row = 1
        while line := waiting.popleft() if waiting else next(lines, ""):
            taken: list[str] = []
            fields = quoted.fields(row, line, _taking(waiting, lines, taken))
            if isinstance(fields, str):
                waiting.extendleft(reversed(taken))
                taken = []
            yield row, fields
            row += 1 + len(taken)


def _taking(waiting: deque[str], lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    """Lines put back, then the file's; `taken` gets each one."""
    while line := waiting.popleft() if waiting else next(lines, ""):
        taken.append(line)
        yield line


def _literal_rows(path: Path, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    with _text_lines(path) as lines:
        for row, line in enumerate(lines, start=1):
            line = line.removesuffix("\n").removesuffix("\r")
            yield row, line.split(separator) if line else []


def _separator(path: Path) -> str:
    with _text_lines(path) as lines:
        filled = (line for line in lines if line.rstrip("\r\n"))  # blank lines are no header
        return separator_of(next(filled, ""), next(filled, ""))


def separator_of(header: str, row: str) -> str:
    """What parts the names of a CSV file's header and the cells of its first row, its first line if it has several.

    The one that both hold as often, since by the header alone commas within names may outvote the semicolons between them; else one
    that both hold; else the one that the header holds most. Of equals the comma.
    """
    # what is in quotes, be it to the end of a row of several lines, parts nothing
    header, row = (re.sub(r'"[^"]*(?:"|$)', "", line) for line in (header, row))

    def rank(mark: str) -> tuple[bool, bool, int]:
        names, cells = header.count(mark), row.count(mark)
        return 0 < names == cells, names > 0 and cells > 0, names

    return max(_SEPARATORS, key=rank)


def _jsonl(path: Path) -> Table:
    found = (value for _, value in _json_lines(path) if isinstance(value, dict))
    keys = list(dict.fromkeys(key for value in islice(found, KEYS_OF) for key in value))
    if not keys:
        raise DataError(
            'has no row; each line should be an object such as {"text": "...", "labels": ["..."]}', path
        )

    def rows(columns: Sequence[str], bad: BadRow) -> Rows:
        for row, value in _json_lines(path):
            if isinstance(value, dict):
                yield row, value
            else:
                bad(row, value)

    return Table(keys, rows)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(row, object) or (row, what is wrong)."""
    with _text_lines(path) as lines:
        for row, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                yield row, f"is not valid JSON: {error.msg} at character {error.pos + 1}"
            except ValueError:
                yield row, "holds a number of thousands of digits"
            except RecursionError:
                yield row, "is nested too deep"
            else:
                yield (
                    row,
                    value if isinstance(value, dict) else 'is not a JSON object such as {"text": "..."}',
                )


def _parquet(path: Path) -> Table:
    polars = require("polars", extra="data")

    def sound(step: Callable[[], Any]) -> Any:
        return read_parquet(step, path)

    scan = polars.scan_parquet(path, glob=False)  # a path is a path, [brackets] and all
    columns: list[str] = sound(lambda: scan.collect_schema().names())

    def rows(columns: Sequence[str], bad: BadRow) -> Rows:
        frame = sound(lambda: scan.select(list(dict.fromkeys(columns))).collect())
        yield from enumerate(frame.iter_rows(named=True), start=1)

    return Table(columns, rows)


def read_parquet(step: Callable[[], Any], path: str | Path) -> Any:
    """What `step` reads with polars. Raises DataError naming `path` where it cannot."""
    polars = require("polars", extra="data")
    try:
        return step()
    except (polars.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot be read as Parquet: {str(error).splitlines()[0]}", path) from None


def check_text_file(path: Path) -> None:
    """Raise DataError for a file that cannot be read, and for UTF-16, saying what to do."""
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}; check the path and its permissions", path
        ) from None
    check_not_utf16(head, path)


def check_not_utf16(head: bytes, name: str | os.PathLike[str]) -> None:
    """Raise DataError where a text that begins with the bytes `head` is UTF-16, saying what to do."""
    empty = [byte == 0 for byte in head[:4]]
    coding = None
    if empty == [False, True, False, True]:  # without a mark: two letters, each with an empty byte behind it
        coding = "UTF-16LE"
    elif empty == [True, False, True, False]:
        coding = "UTF-16BE"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        coding = "UTF-16"
    if coding is not None:
        raise DataError(f"is UTF-16; save it as UTF-8, or: iconv -f {coding} -t UTF-8 old > new", name)


def _text_lines(path: Path) -> Any:
    """The file as lines that end at LF. Bytes that are not UTF-8 become lone surrogates, which the reader of the row
    finds; so one bad byte spoils one row."""
    return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
