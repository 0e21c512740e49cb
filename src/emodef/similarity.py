"""How similar labels are: pairs, a map in two dimensions, and whether it is a wheel. Imports numpy, errors.

Methods: classical scaling, Torgerson (1952); a match of two sets of distances by permuting labels, Mantel (1967).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.errors import DataError

WHEELS = Path(__file__).parent / "wheels"
LEAST_ON_WHEEL = 5  # labels of a wheel from which on comparing says anything
PERMUTATIONS = 10_000

Floats = NDArray[np.float64]


class Pair(NamedTuple):
    """Two labels and the cosine of what they mean."""

    first: str
    second: str
    cosine: float


@dataclass(frozen=True)
class Wheel:
    """Labels around a circle: name -> degrees. title: whose it is, and how labels were placed."""

    name: str
    title: str
    degrees: Mapping[str, float]


@dataclass(frozen=True)
class OnWheel:
    """Labels against a wheel.

    title: the wheel's. names: of those labels that are on it. distances: Spearman's correlation of their distances on the wheel with
    how dissimilar they are.
    angles: how well the directions in the map agree with the wheel's, turned and mirrored to fit best: 1 to the degree, 0 not at all.
    Each with the share of random placements on the wheel that do as well (p).
    """

    wheel: str
    title: str
    names: tuple[str, ...]
    distances: float
    distances_p: float
    angles: float
    angles_p: float


def cosines(vectors: ArrayLike) -> Floats:
    """(K, H) of any length -> cosines (K, K)."""
    given = np.asarray(vectors, dtype=np.float64)
    units = given / np.maximum(np.linalg.norm(given, axis=1, keepdims=True), 1e-12)
    return np.clip(units @ units.T, -1.0, 1.0)


def pairs(names: Sequence[str], cosine: Floats) -> list[Pair]:
    """All pairs of labels, the most similar first."""
    found = [Pair(names[i], names[j], float(cosine[i, j])) for i, j in combinations(range(len(names)), 2)]
    return sorted(found, key=lambda pair: -pair.cosine)


def layout(cosine: Floats) -> tuple[Floats, float]:
    """Places (K, 2) whose distances are nearest those of the unit vectors, and the share of their spread that two dimensions hold."""
    count = len(cosine)
    centring = np.eye(count) - 1 / max(count, 1)
    values, vectors = np.linalg.eigh(
        centring @ cosine @ centring
    )  # squared distances are 2 - 2 cos: scalar products
    order = np.argsort(-values)
    values, vectors = np.clip(values[order], 0, None), vectors[:, order]
    places = np.zeros((count, 2))
    places[:, : min(2, count)] = (vectors * np.sqrt(values))[:, :2]
    for axis in range(
        min(2, count)
    ):  # eigenvectors have no sign of their own: the largest coordinate is positive
        if count and places[np.abs(places[:, axis]).argmax(), axis] < 0:
            places[:, axis] *= -1
    total = float(values.sum())
    return places, float(values[:2].sum() / total) if total > 0 else 0.0


def load_wheel(name: str) -> Wheel:
    """A wheel that emodef brings. Raises DataError for an unknown one."""
    path = WHEELS / f"{name}.toml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in WHEELS.glob("*.toml")))
        raise DataError(f"no wheel {name!r}; there are: {known}")
    d = tomllib.loads(path.read_text(encoding="utf-8"))
    return Wheel(name, d["title"], {str(k): float(v) for k, v in d["degrees"].items()})


def on_wheel(names: Sequence[str], cosine: Floats, wheel: Wheel, seed: int = 0) -> OnWheel | None:
    """Labels against a wheel; None where it has fewer than five of them."""
    rows = [k for k, name in enumerate(names) if name in wheel.degrees]
    if len(rows) < LEAST_ON_WHEEL:
        return None
    angles = np.radians([wheel.degrees[names[k]] for k in rows])
    few = cosine[np.ix_(rows, rows)]
    places = layout(few)[0]
    here = np.arctan2(places[:, 1], places[:, 0])
    upper = np.triu_indices(len(rows), 1)
    apart = _ranks(1 - few[upper])
    distance = np.abs(np.angle(np.exp(1j * (angles[:, None] - angles[None, :]))))

    def by_distance(order: NDArray[np.intp]) -> float:
        return _correlation(_ranks(distance[np.ix_(order, order)][upper]), apart)

    def by_angle(order: NDArray[np.intp]) -> float:
        turned = angles[order]
        return float(max(abs(np.exp(1j * (here - s * turned)).mean()) for s in (1, -1)))

    draw, same = np.random.default_rng(seed), np.arange(len(rows))
    orders = [draw.permutation(len(rows)) for _ in range(PERMUTATIONS)]
    found = []
    for measure in (by_distance, by_angle):
        value = measure(same)
        as_good = sum(measure(order) >= value - 1e-12 for order in orders)
        found += [value, (1 + as_good) / (1 + PERMUTATIONS)]
    return OnWheel(wheel.name, wheel.title, tuple(names[k] for k in rows), *found)


def _ranks(values: Floats) -> Floats:
    """Ranks, equal values sharing theirs."""
    _, inverse, counts = np.unique(np.round(values, 12), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2.0)[inverse]
    return ranks


def _correlation(first: Floats, second: Floats) -> float:
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0
