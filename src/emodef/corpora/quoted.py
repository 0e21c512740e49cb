"""Rows of fields that may stand in quotes, over several lines too, in time that no quote makes longer. Imports errors."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence

from emodef.errors import DataError

# characters over which a row may run from line to line: else one stray quote takes the whole file
MAX_QUOTED = 2**24
_MAX_FIELD = 2**31 - 1  # characters; csv's own limit of 131,072 is less than a long document has


class QuotedRows:
    """Takes the rows of one input apart, in their order.

    A row that is open at the end of a line is open in one way only: within quotes. So where one has gone wrong further on, every
    row that begins on its way and is open at the end of its own first line goes wrong at that same place, and is not followed there
    again. What is known of a row is thus known from those before it, as far as this object has seen them.
    """

    def __init__(self, separator: str) -> None:
        # for all of the process, and not put back: another thread may be reading, too
        csv.field_size_limit(_MAX_FIELD)
        self.separator = separator
        self._until = 0  # rows that begin before this line and stay open share `_fault`
        self._fault = ""

    def fields(self, row: int, first: str, following: Iterable[str]) -> list[str] | str:
        """The fields of the row that begins with the line `first`, numbered `row`; or what is wrong with it.

        following: the lines behind it, each with its end; as many are taken as the row goes on. A caller gives them again
        where the row is wrong, so that it costs its first line alone.
        """
        is_known = row < self._until
        taken = 0

        def lines() -> Iterator[str]:
            nonlocal taken
            yield first
            size = len(first)
            if is_known:
                return
            for line in following:
                taken += 1
                yield line
                size += len(line)
                if size >= MAX_QUOTED:
                    return

        try:
            return next(csv.reader(lines(), delimiter=self.separator, strict=True))
        except csv.Error as error:
            is_open = "unexpected end" in str(error)
            if is_known and is_open:
                return self._fault
            fault = _in_words(str(error))
            if taken:
                self._fault, self._until = fault, row + taken + is_open
            return fault


def is_quoted(cell: str) -> bool:
    """Whether a cell that was read as it stands looks as if it had been written in quotes: with those within it doubled, or empty."""
    within = cell[1:-1]
    is_around = len(cell) > 1 and cell.startswith('"') and cell.endswith('"')
    return is_around and '"' not in within.replace('""', "") and ('""' in within or not within)


def ragged(cells: Sequence[str], columns: int, quoting: bool, remedy: str) -> str:
    """What is wrong with a row of another number of cells than there are columns. remedy: how quotes are read as quotes."""
    told = f"{len(cells)} field{'' if len(cells) == 1 else 's'}, but the header names {columns} columns"
    if quoting:
        return f"{told}; quote a field that contains the separator"
    if any(cell.startswith('"') or cell.endswith('"') for cell in cells):
        return f"{told}; quotes are read as part of the text here, and if they hold fields together: {remedy}"
    return f"{told}; no field may contain a tab or a line break"


def check_header(names: Iterable[str], path: str | os.PathLike[str], row: int, remedy: str) -> None:
    """Raise DataError where quotes stand around a name that was read as it stands: the texts below would be read with theirs."""
    if name := next((name for name in names if len(name) > 1 and name[0] == name[-1] == '"'), None):
        raise DataError(
            f"the name {name} stands in quotes, which are read as part of the text here; if they hold fields together: {remedy}",
            path,
            row,
        )


def _in_words(message: str) -> str:
    """What csv says of a row that it cannot take apart, in words that a user can act on."""
    if "unexpected end" in message:
        return f"a quote that opens in this row is never closed, or not within {MAX_QUOTED:,} characters"
    if "expected after" in message:
        return 'a quote inside a quoted field is not doubled ("")'
    if "new-line character" in message:
        return "a carriage return stands outside quotes; save the file with line ends LF or CRLF, or quote that field"
    return message
