"""Predictions on a terminal: each text, wrapped, with its labels beside it. Imports typer; emodef.files only when called."""

from __future__ import annotations

import shutil
import textwrap
import unicodedata
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from emodef.files.job import Summary
    from emodef.files.predictions import Options, Plan, Predictions
    from emodef.files.sources import Part, Source
    from emodef.predictor import Predictor

GAP = 2


def show(source: Source, predictor: Predictor, options: Options, part_size: int) -> Summary:
    """Predict every row of `source` and print it for people."""
    from emodef.files.job import Summary, names_of, no_text, noted
    from emodef.files.predictions import TERMINAL, Plan, has_text, predict_rows

    plan = Plan(source.table, TERMINAL, options, names_of(predictor, options))
    summary, is_there = Summary(), False
    for part in noted(source.parts(part_size, {}), plan, summary):
        is_there |= has_text(part, plan.table)
        found = predict_rows(part, predictor, plan)
        typer.echo("\n".join(lines(part, found, plan)))
        summary.count(len(part.records), 0, found.problems)
    if not is_there:
        raise no_text(source)
    if options.form == "probabilities":
        typer.echo("* predicted", err=True)
    return summary


def lines(part: Part, found: Predictions, plan: Plan) -> list[str]:
    """The rows of a part in two columns, as wide as the terminal."""
    pairs = []
    for place, index in enumerate(found.rows):
        text = plan.table.text(part.records[index]) if part.records[index].values is not None else ""
        pairs.append((printable(str(text or "")), _labels(found, place, plan)))
    room = shutil.get_terminal_size((100, 24)).columns
    widest = max((_width(text) for text, _ in pairs), default=0)
    left = max(20, min(widest, room * 3 // 5))
    right = max(20, room - left - GAP)
    rows = []
    for text, labels in pairs:
        texts = _wrapped(text, left)
        beside = textwrap.wrap(labels, right)
        for i in range(max(len(texts), len(beside))):
            start = texts[i] if i < len(texts) else ""
            rows.append((start + " " * (left + GAP - _width(start)) + "".join(beside[i : i + 1])).rstrip())
    return rows


def printable(text: str) -> str:
    """`text` as one line without what would move a terminal's cursor or change its colours."""
    text = " ".join(text.split())
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def _labels(found: Predictions, place: int, plan: Plan) -> str:
    """Such as `gratitude 0.98, joy 0.41`; with every label, those predicted have a star."""
    values, chosen = found.probabilities[place], found.chosen[place]
    if chosen is None:
        return "(no text)"
    if plan.options.form == "probabilities":
        shown = [(k, "*" if k in chosen else "") for k in (-values).argsort(kind="stable").tolist()]
    else:
        shown = [(k, "") for k in chosen]
    labels = ", ".join(f"{plan.names[k]} {values[k]:.2f}{star}" for k, star in shown) or "-"
    windows = found.windows[place]
    return f"{labels} (a long text, read in {windows} windows)" if windows > 1 else labels


def _width(text: str) -> int:
    """Columns of a terminal that `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _wrapped(text: str, width: int) -> list[str]:
    if text.isascii() or _width(text) == len(text):
        return textwrap.wrap(text, width) or [""]
    rows, row, taken = [], "", 0
    for character in text:
        more = _width(character)
        if taken + more > width:
            rows.append(row)
            row, taken = "", 0
        row, taken = row + character, taken + more
    return [*rows, row]
