"""Contenders timed in turn, A B C, C B A, …, so that whatever else the machine does falls on all of them. Imports numpy.

A ratio is taken within a round; its median over the rounds is given with the lowest and the highest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

Name = TypeVar("Name", bound=Hashable)
Work = Callable[[int], float]  # number of the round -> what it took, or how much of it was done in a second


def interleaved(contenders: Mapping[Name, Work], rounds: int) -> dict[Name, list[float]]:
    """Each contender's measure in every round."""
    found: dict[Name, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            found[name].append(contenders[name](number))
    return found


def ratio(over: ArrayLike, under: ArrayLike) -> dict[str, float]:
    """`over` / `under`, round by round: median, lowest, highest."""
    ratios = np.array(over) / np.array(under)
    return {
        name: round(float(value), 3)
        for name, value in (
            ("median", np.median(ratios)),
            ("lowest", ratios.min()),
            ("highest", ratios.max()),
        )
    }


def shown(found: Mapping[str, float], digits: int = 2) -> str:
    """A ratio as a table's cell."""
    return f"**{found['median']:.{digits}f}** [{found['lowest']:.{digits}f}, {found['highest']:.{digits}f}]"


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile of some times, in milliseconds."""
    return {
        "median_ms": round(1000 * float(np.median(seconds)), 3),
        "p95_ms": round(1000 * float(np.percentile(seconds, 95)), 3),
    }


def median(values: list[float]) -> float:
    """Their median, as a plain number."""
    return float(np.median(values))
