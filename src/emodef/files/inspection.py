"""A look at the whole of an input before its rows are predicted: its fingerprint, its encoding, its columns. Standard library only."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from emodef.errors import DataError
from emodef.files.heads import CONVERT

CHUNK = 2**18
EXACT = 2**53  # whole numbers beyond are not all among those that Float64 has
_WIDE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


@dataclass(frozen=True)
class Fingerprint:
    """What makes a file this file: its bytes."""

    size: int
    hash: str


def fingerprint(path: Path, *, is_text: bool, progress: Callable[[int], None] | None = None) -> Fingerprint:
    """Size and BLAKE2b of a file.

    is_text: also raise DataError, naming the row, where the file is in another encoding: it has bytes that are not UTF-8
    and none that are and not ASCII. (A file that is UTF-8 elsewhere has a damaged row, which is the row's own problem.)
    """
    digest, size, rows = blake2b(digest_size=32), 0, 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, broken = not is_text, ""
    bad_row = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if not is_utf8 and broken:
                is_utf8 = _WIDE.search(chunk) is not None
            elif not is_utf8:
                try:
                    is_utf8 = not decoder.decode(chunk, final=len(chunk) < CHUNK).isascii()
                except UnicodeDecodeError as error:
                    broken = f"byte 0x{error.object[error.start]:02x}"
                    bad_row = rows + error.object.count(b"\n", 0, error.start) + 1
                    is_utf8 = _WIDE.search(error.object) is not None
                rows += chunk.count(b"\n")
            if progress is not None:
                progress(len(chunk))
    if broken and not is_utf8:
        raise DataError(f"is not UTF-8: {broken}; {CONVERT}", path, bad_row)
    return Fingerprint(size, digest.hexdigest())


def json_columns(path: Path) -> dict[str, str]:
    """Every key of the objects of a JSONL file, in order of appearance -> a polars type that holds its values.

    Whole numbers are Int64, with fractions among them Float64 if it holds each of them, true and false Boolean; all else is String:
    text as it is, mixed and nested values as JSON.
    """
    found: dict[str, set[str]] = {}
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                for key, value in row.items():
                    found.setdefault(key, set()).add(_kind(value))
    return {key: _common(kinds - {"null"}) for key, kinds in found.items()}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, int):
        if -EXACT <= value <= EXACT:
            return "Int64"
        return "wide" if -(2**63) <= value < 2**63 else "String"
    return "Float64" if isinstance(value, float) else "String"


def _common(kinds: set[str]) -> str:
    if kinds and kinds <= {"Int64", "wide"}:
        return "Int64"
    if len(kinds) == 1:
        return next(iter(kinds))
    return "Float64" if kinds == {"Int64", "Float64"} else "String"
