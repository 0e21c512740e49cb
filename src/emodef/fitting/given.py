"""Texts and their labels as users give them to `fit`: names, lists of names, or 0 and 1, checked. Imports labels, predictor.inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.errors import DataError
from emodef.labels import LabelSet
from emodef.predictor.inputs import listed

Labels = NDArray[Any] | Iterable[str] | Iterable[Sequence[str]] | Iterable[Sequence[int]]
_NUMBER = (int, float, np.number, np.bool_)


def checked(
    texts: Iterable[str], labels: Labels, label_set: LabelSet, what: str
) -> tuple[list[str], NDArray[np.uint8]]:
    """The texts as a list, and their labels as 0/1 (n, K). what: what a text is called. Raises DataError naming the first that is wrong."""
    given = _texts(texts, what)
    hot = _hot(labels, label_set, what)
    if hot.shape != (len(given), len(label_set)):
        raise DataError(
            f"labels are {hot.shape}, for {len(given)} texts and {len(label_set)} labels; give 0 or 1 for each text and label, or a "
            "list of names for each text"
        )
    if (odd := np.argwhere(~np.isin(hot, (0, 1)))).size:
        row, label = odd[0]
        raise DataError(
            f"{what} {row + 1} has {hot[row, label]} for {label_set.names[label]!r}; give 1 where it has the label, else 0"
        )
    numbers = hot.sum(axis=1)
    if label_set.exclusive and (bad := np.flatnonzero(numbers != 1)).size:
        raise DataError(
            f"{what} {bad[0] + 1} has {int(numbers[bad[0]])} labels, and of {label_set.name!r} a text has one; correct it, or set "
            "exclusive = false in the label set's file"
        )
    if not hot.any():
        raise DataError(f"no {what} has a label; label some")
    return given, hot.astype(np.uint8)


def _texts(texts: Iterable[str], what: str) -> list[str]:
    if isinstance(texts, str):
        raise DataError("one text where a list of them is expected; nothing is fitted to a single text")
    try:
        given = listed(texts)
    except DataError as error:
        raise DataError(f"{what}s: {error}") from None
    for row, text in enumerate(given, start=1):
        if not text.strip():
            raise DataError(f"{what} {row} is empty; give it words, or leave it out with its labels")
    return given


def _hot(labels: Labels, label_set: LabelSet, what: str) -> NDArray[Any]:
    """As they are where they are numbers, in an array or in lists; names as 0/1."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "biuf":
        return labels
    if isinstance(labels, (str, bytes, Mapping)) or not isinstance(labels, Iterable):
        raise DataError(
            f"labels are {labels!r:.40}; give a list with the label, or a list of labels, of each {what}"
        )
    rows = [_of_one(each, f"{what} {row}") for row, each in enumerate(labels, start=1)]
    items = [(row, item) for row, own in enumerate(rows, start=1) for item in own]
    if items and all(isinstance(item, _NUMBER) for _, item in items):
        for row, own in enumerate(rows, start=1):
            if len(own) != len(label_set):
                raise DataError(
                    f"{what} {row} has {len(own)} numbers, and there are {len(label_set)} labels; give 0 or 1 for each label, or names"
                )
        return np.array(rows)
    for row, item in items:
        if not isinstance(item, str):
            raise DataError(f"{what} {row} has {item!r:.40} among its labels; give the label's name")
    return label_set.multi_hot(rows)


def _of_one(given: Any, what: str) -> list[Any]:
    """What is given for one text, as a list."""
    if isinstance(given, str):
        return [given]
    try:
        if not isinstance(given, (bytes, Mapping)):
            return list(given)
    except TypeError:
        pass
    raise DataError(
        f"{what} has the label {given!r:.40}, neither a name nor a list of names; give the label's name, or [] where it has none"
    )
