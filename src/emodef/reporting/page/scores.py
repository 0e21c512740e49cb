"""The cells of a predictions file that hold labels and their probabilities. Imports corpora.cells."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from emodef.corpora.cells import UnusableRow, cell, check_characters, is_missing


def wide_scores(values: Mapping[str, Any], predicted: str, probabilities: str) -> dict[str, float]:
    """Predicted label -> probability, NaN where there is none. Raises UnusableRow for cells that do not fit each other."""
    written, given = cell(values, predicted), values.get(probabilities)
    if isinstance(given, str):
        given = _json(given) if given[:1] in ("{", "[") else given.split("|") if given else []
    if isinstance(written, str) and isinstance(given, Mapping) and "|".join(given) == written:
        names = list(given)  # and a label may have a | in it
    else:
        names = _names(written, predicted)
    if is_missing(given) or (isinstance(given, list) and not given):
        return dict.fromkeys(names, math.nan)
    if isinstance(given, Mapping):
        return {name: _number(given.get(name), name) for name in names}
    if not isinstance(given, list):
        raise UnusableRow(f"{probabilities} is {given!r}, not the probabilities of labels")
    if len(given) != len(names):
        raise UnusableRow(f"{len(names)} labels are predicted, but there are {len(given)} probabilities")
    return {name: _number(value, name) for name, value in zip(names, given, strict=True)}


def long_score(values: Mapping[str, Any], label: str, probability: str) -> dict[str, float]:
    """The one label of a row -> its probability; nothing for a text without labels. Raises UnusableRow."""
    name = cell(values, label)
    if is_missing(name) or name == "":
        return {}
    if not isinstance(name, str):
        raise UnusableRow(f"the label is {name!r}")
    check_characters(name, "the label")
    return {name: _number(cell(values, probability), name)}


def _names(written: Any, column: str) -> list[str]:
    if is_missing(written):
        return []
    if isinstance(written, str):
        written = _json(written) if written.startswith("[") else written.split("|") if written else []
    if not isinstance(written, list) or not all(isinstance(name, str) and name for name in written):
        raise UnusableRow(f"{column} is {written!r}, not labels joined by | or a list of them")
    for name in written:
        if not name.isascii():
            check_characters(name, "a label")
    return written


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableRow(f"{text[:60]!r} is not valid JSON") from None


def _number(given: Any, label: str) -> float:
    if is_missing(given) or given == "":
        return math.nan
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise UnusableRow(f"the probability of {label!r} is {given!r}, not a number from 0 to 1")
    return number
