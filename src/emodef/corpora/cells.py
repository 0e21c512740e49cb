"""What a cell of a user's file says: its labels, its 0 or 1, or why its row cannot be used. Imports labels."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emodef.labels import LabelSet

DELIMITERS = ("|", ";", ",")
_WHOLE = re.compile(r"\d+\.0+")  # a whole number with its decimals


class UnusableRow(Exception):
    """Why a row cannot be used."""


@dataclass
class LabelCells:
    """Reads label cells, by a given label set or else gathering the labels it meets."""

    given: LabelSet | None
    delimiter: str | None
    known: dict[str, str] = field(default_factory=dict)  # name in lower case -> name as it is written

    def __post_init__(self) -> None:
        if self.given is not None:
            self.known = {name.casefold(): name for name in self.given.names}

    def names(self, cell: Any) -> list[str]:
        """The labels of one cell, each once. Raises UnusableRow."""
        return list(dict.fromkeys(self._name(item) for item in self._items(cell)))

    def hot_names(self, values: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
        """The labels whose 0/1 column holds 1. Raises UnusableRow."""
        return [self._name(column) for column in columns if _is_one(values, column)]

    def _items(self, cell: Any) -> list[Any]:
        if is_missing(cell):
            return []
        if not isinstance(cell, str):
            return cell if isinstance(cell, list) else [cell]
        cell = cell.strip()
        is_list = cell.startswith("[")
        if self.given is not None and cell.casefold() in self.known and (is_list or self.delimiter is None):
            return [cell]
        if is_list:
            try:
                items = json.loads(cell)
            except (ValueError, RecursionError):
                raise UnusableRow(
                    f'labels {cell[:60]!r} are not a valid JSON list such as ["joy", "love"]'
                ) from None
            return list(items)
        mark = self.delimiter or next((mark for mark in DELIMITERS if mark in cell), None)
        parts = cell.split(mark) if mark else [cell]
        return [part.strip() for part in parts if part.strip()]

    def _name(self, item: Any) -> str:
        if isinstance(item, float) and item.is_integer():
            item = int(item)  # a column of numbers with gaps is read as floats
        if (
            isinstance(item, str)
            and _WHOLE.fullmatch(item.strip())
            and item.strip().casefold() not in self.known
        ):
            item = item.strip().partition(".")[0]  # as a table program writes such a column
        if isinstance(item, bool) or not isinstance(item, int | str) or not str(item).strip():
            raise UnusableRow(f"the label {item!r} is neither a name nor a number")
        name = str(item).strip()
        if name.casefold() in self.known:  # a label may be called 1; its name goes before its number
            return self.known[name.casefold()]
        if isinstance(item, int) or name.isdecimal():
            return self._numbered(name)
        check_characters(name, "a label")
        if self.given is None:
            return self.known.setdefault(name.casefold(), name)
        near = difflib.get_close_matches(name.casefold(), self.known, n=3)
        hint = (
            f"did you mean {', '.join(self.known[n] for n in near)}?"
            if near
            else f"it has {listed(self.given.names)}"
        )
        raise UnusableRow(f"the label set {self.given.name!r} has no label {name!r}; {hint}")

    def _numbered(self, written: str) -> str:
        shown = written if len(written) <= 60 else f"{written[:20]}… of {len(written)} digits"
        if self.given is None:
            raise UnusableRow(
                f'the label {shown} is a number; say what each means in a label file, in lines such as 1 = "Very bad", and read the '
                "data with it (commands that train or predict: --labels)"
            )
        number = (
            int(written) if len(written) <= 60 else len(self.given)
        )  # Python reads no number of any length
        if not 0 <= number < len(self.given):
            raise UnusableRow(f"the label number {shown} is not between 0 and {len(self.given) - 1}")
        return self.given.names[number]


def cell(values: Mapping[str, Any], column: str) -> Any:
    """One value of a row. Raises UnusableRow if the row lacks the column."""
    if column not in values:
        raise UnusableRow(f"the column {column!r} is missing from this row")
    return values[column]


def _is_one(values: Mapping[str, Any], column: str) -> bool:
    value = cell(values, column)
    mark = str(value).strip().lower()
    if mark in ("1", "1.0", "true"):
        return True
    if mark in ("0", "0.0", "false"):
        return False
    raise UnusableRow(f"the column {column!r} holds {value!r}, not 0 or 1")


def check_characters(text: str, what: str) -> None:
    """Raise UnusableRow for text that no UTF-8 file can hold: a byte that was not UTF-8, or half a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = ord(text[error.start])
        is_byte = 0xDC80 <= found <= 0xDCFF  # how "surrogateescape" keeps a byte that it cannot decode
        kind = f"byte 0x{found - 0xDC00:02x}" if is_byte else f"half a character, U+{found:04X}"
        raise UnusableRow(
            f"{what} is not UTF-8: {kind} at character {error.start + 1}; save the file as UTF-8"
        ) from None


def is_missing(value: Any) -> bool:
    """Is there nothing in the cell: None, or the NaN that stands for it in columns of numbers?"""
    return value is None or (isinstance(value, float) and math.isnan(value))


def listed(names: Sequence[str]) -> str:
    """Names for a message, the first twenty."""
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
