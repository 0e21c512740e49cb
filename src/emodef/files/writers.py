"""Rows with their predictions as CSV, TSV and JSONL. Imports the standard library, numpy and files; Parquet's writer when it is wanted.

Where input and output have one format, a row is written as it stands, quotes, number forms and line end included, and
the predictions are put behind it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from emodef.files.predictions import Plan, Predictions
from emodef.files.sources import Part

_BLANKS = str.maketrans("\t\r\n", "   ")
_HALVES = re.compile("[\ud800-\udfff]")  # what stands for bytes that are not UTF-8, and halves of characters


def encode(part: Part, found: Predictions, plan: Plan) -> bytes:
    """The part in the plan's format, without a header."""
    if plan.output == "parquet":
        from emodef.files.parquet import encode_parquet

        return encode_parquet(part, found, plan)
    lines = _json_lines if plan.output == "jsonl" else _delimited_lines
    return to_bytes("".join(lines(part, found, plan)))


def header(plan: Plan) -> bytes:
    """What stands before the parts."""
    if plan.output not in ("csv", "tsv"):
        return b""
    separator, cell = _dialect(plan)
    ours = separator.join(map(cell, plan.added))
    if _is_kept(plan):
        theirs, end = plan.table.header, plan.table.end
    else:
        theirs, end = separator.join(map(cell, plan.table.columns)), "\n"
    pair = (ours, theirs) if plan.ours_first else (theirs, ours)
    return to_bytes(separator.join(pair) + end)


def to_bytes(text: str) -> bytes:
    """UTF-8; what no UTF-8 can hold becomes U+FFFD."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _HALVES.sub("\ufffd", text).encode("utf-8")


def _is_kept(plan: Plan) -> bool:
    """Are the input's rows written as they stand?"""
    return plan.table.format == plan.output and not plan.ours_first


def _dialect(plan: Plan) -> tuple[str, Callable[[str], str]]:
    """What parts the cells of a delimited output, and how a cell is written."""
    if plan.output == "tsv":
        return "\t", lambda text: text.translate(_BLANKS)
    separator = plan.table.separator if plan.table.format == "csv" else ","
    needs_quotes = re.compile(f'[{re.escape(separator)}"\r\n]').search

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if needs_quotes(text) else text

    return separator, cell


def _delimited_lines(part: Part, found: Predictions, plan: Plan) -> Iterator[str]:
    separator, cell = _dialect(plan)
    is_kept, table = _is_kept(plan), plan.table
    as_lists = any("|" in name or name.startswith("[") for name in plan.names)
    is_plain = not as_lists and all(cell(name) == name for name in plan.names)
    for place, index in enumerate(found.rows):
        record = part.records[index]
        if is_kept:
            theirs, end = record.raw, record.end or table.end
        else:
            theirs, end = separator.join(cell(as_text(value)) for value in table.cells(record)), "\n"
        for cells in _cells(found, place, plan, as_lists):
            ours = separator.join(cells if is_plain else map(cell, cells))
            yield (ours + separator + theirs if plan.ours_first else theirs + separator + ours) + end


def _cells(found: Predictions, place: int, plan: Plan, as_lists: bool) -> Iterator[list[str]]:
    """The added cells of a row: one list, in the long form one for each predicted label.

    as_lists: labels and probabilities as JSON lists, where a | between them, or a [ at their beginning, would be misread.
    """
    names = plan.names
    values, chosen = found.probabilities[place], found.chosen[place] or []
    numbers = [f"{values[k]:.4g}" for k in chosen]
    if plan.options.form == "long":
        yield from ([names[k], number] for k, number in zip(chosen, numbers, strict=True))
        if not chosen:
            yield ["", ""]
        return
    cells = ["|".join(names[k] for k in chosen), "|".join(numbers)]
    if as_lists and chosen:
        cells = [json.dumps([names[k] for k in chosen], ensure_ascii=False), f"[{', '.join(numbers)}]"]
    if plan.options.form == "probabilities":
        is_empty = found.chosen[place] is None
        cells += ["" if is_empty else f"{value:.4g}" for value in values.tolist()]
    yield cells


def _json_lines(part: Part, found: Predictions, plan: Plan) -> Iterator[str]:
    is_kept, table = _is_kept(plan), plan.table
    for place, index in enumerate(found.rows):
        record = part.records[index]
        if is_kept:
            start = record.raw.strip()[:-1].rstrip()
            end = record.end or "\n"
        else:
            cells = table.cells(record)
            theirs = {column: plain(value) for column, value in zip(table.columns, cells, strict=True)}
            start, end = json.dumps(theirs, ensure_ascii=False)[:-1], "\n"
        joint = "" if start.endswith("{") else ", "
        for added in _members(found, place, plan):
            yield start + joint + json.dumps(added, ensure_ascii=False)[1:] + end


def _members(found: Predictions, place: int, plan: Plan) -> Iterator[dict[str, Any]]:
    """The added members of an object: one dict, in the long form one for each predicted label."""
    values, chosen, names = found.probabilities[place].tolist(), found.chosen[place], plan.names
    first, second = plan.added[:2]
    if plan.options.form == "long":
        yield from ({first: names[k], second: round(values[k], 6)} for k in chosen or ())
        if not chosen:
            yield {first: None, second: None}
        return
    if chosen is None:
        yield {first: None, second: None}
        return
    shown: Sequence[int] = chosen
    if plan.options.form == "probabilities":
        shown = sorted(range(len(names)), key=lambda k: -values[k])
    added: dict[str, Any] = {
        first: [names[k] for k in chosen],
        second: {names[k]: round(values[k], 6) for k in shown},
    }
    if found.windows[place] > 1:
        added[plan.options.prefix + "windows"] = found.windows[place]
    yield added


def as_text(value: Any) -> str:
    """A cell as text: nothing for None, JSON for lists and objects."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(plain(value), ensure_ascii=False)
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(plain(value))


def plain(value: Any) -> Any:
    """A value of Parquet, as JSON can hold it: times, decimals and bytes as text, NaN and infinities as null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode("ascii")
    return str(value)
