"""Decisions as exact scores make them, from rough scores that cost less: only those that are close are asked about again. Uses numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]

TRUSTED = 2.0  # a decision stands if it is so many times as far away as the largest error seen would reach
_FIRST = 64  # closest rows, asked about whatever the errors are: they show how large errors are


def distances(logits: Scores, threshold: float | None) -> NDArray[np.float64]:
    """How large an error of a row's logits, (rows, K), may be without a change of what they decide, (rows,).

    threshold: of a probability, with a label above it predicted; None where the largest logit decides.
    """
    wide = logits.astype(np.float64)
    if threshold is not None:
        return np.abs(wide - np.log(threshold / (1 - threshold))).min(axis=1)
    if wide.shape[1] == 1:
        return np.full(len(wide), np.inf)
    second, first = np.sort(wide, axis=1)[:, -2:].T
    return (first - second) / 2  # both may err, one up and one down


def settled(rough: Scores, threshold: float | None, exactly: Callable[[NDArray[np.intp]], Scores]) -> Scores:
    """Logits (rows, K) that decide as exact ones do: the rough ones, and exact ones for rows with a close decision.

    `exactly` gives the exact logits of some rows. How close is close is seen from the errors of those asked about: the closest ones, then
    all that are no more than `TRUSTED` times the largest error so far from deciding otherwise, until there are none left. So a rough
    decision stands that is wrong only if its row errs at least twice as much as every row that was looked at.
    """
    logits, distance = rough.copy(), distances(rough, threshold)
    order = np.argsort(distance, kind="stable")
    distance = distance[order]
    asked, wanted, error = 0, min(_FIRST, len(order)), 0.0
    while asked < wanted:
        rows = order[asked:wanted]
        logits[rows] = exactly(rows)
        error = max(error, float(np.abs(logits[rows].astype(np.float64) - rough[rows]).max()))
        asked = wanted
        wanted = max(asked, int(np.searchsorted(distance, TRUSTED * error, side="right")))
    return logits
