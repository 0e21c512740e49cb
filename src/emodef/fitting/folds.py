"""Folds for cross-validation of few labelled texts: every label spread evenly, copies of a text together. Imports numpy, corpora.describe.

Iterative stratification (Sechidis, Tsoumakas & Vlahavas 2011) over groups of equal texts: the rarest label is dealt first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.corpora.describe import normalise

FOLDS = 5


def text_groups(texts: Sequence[str]) -> NDArray[np.int64]:
    """A number a text, (n,), from 0 in order of first occurrence; equal where texts are the same but for case, blanks and punctuation."""
    numbered: dict[str, int] = {}
    return np.fromiter(
        (numbered.setdefault(normalise(text), len(numbered)) for text in texts), np.int64, len(texts)
    )


def stratified_folds(
    labels: ArrayLike, groups: ArrayLike, *, folds: int = FOLDS, seed: int = 0
) -> NDArray[np.int64]:
    """The fold of each text, (n,): as many as `folds`, fewer where there are fewer groups.

    labels: 0/1 (n, K); groups: (n,) from 0 without gaps, never parted. Each label goes to the fold that lacks it most, the rarest label
    first, so that a label with two texts has them in two folds. The same input and seed give the same folds.
    """
    truth, group = np.asarray(labels, dtype=bool), np.asarray(groups, dtype=np.int64)
    number = int(group.max()) + 1 if len(group) else 0
    folds = max(1, min(folds, number))
    held = np.zeros((number, truth.shape[1]), dtype=np.int64)  # texts of each group with each label
    np.add.at(held, group, truth)
    sizes = np.bincount(group, minlength=number)
    draw = np.random.default_rng(seed)
    order = draw.permutation(number)
    lacking = np.repeat(held.sum(axis=0, keepdims=True) / folds, folds, axis=0)  # (folds, K)
    room = np.full(folds, len(group) / folds)
    place = np.full(number, -1, dtype=np.int64)
    left = held.sum(axis=0)
    while (place < 0).any():
        if left.any():
            label = int(np.flatnonzero(left)[left[left > 0].argmin()])
            waiting = [g for g in order if place[g] < 0 and held[g, label]]
            waiting.sort(key=lambda g: -held[g, label])  # many copies first: the rest evens them out
        else:
            label, waiting = -1, [g for g in order if place[g] < 0]
        for g in waiting:
            wish = lacking[:, label] if label >= 0 else room
            fullest = np.lexsort((draw.random(folds), -room, -wish))  # by wish, then by room, then by chance
            place[g] = fold = int(fullest[0])
            lacking[fold] -= held[g]
            room[fold] -= sizes[g]
            left -= held[g]
    return np.asarray(place[group])
