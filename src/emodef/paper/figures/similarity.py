"""How similar labels are to a model: a map in two dimensions beside all cosines. Imports similarity, canvas, maps; scipy orders labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from emodef.errors import SettingsError, require
from emodef.paper.figures.canvas import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    Drawing,
    new_figure,
    sound,
    style,
    width_of,
)
from emodef.similarity import Floats, OnWheel, layout, pairs

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, SOFT)
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")  # groups differ in shape, too
SHADES = ("#b35c1e", "#fbfbfa", "#0b4f86")  # unlike, nothing in common, alike
LEAST, MOST = 3, 80  # labels of a map
_CELL, _MAP, _SIZE = 12.0, 330.0, 7.5  # points
_TOLD = 5


def draw_similarity(
    names: Sequence[str],
    cosine: Floats,
    *,
    groups: Sequence[str] | None = None,
    wheel: OnWheel | None = None,
    about: str,
) -> Drawing:
    """Labels as points whose distances are nearest to how unlike they are, beside their cosines (K, K).

    groups: of each label, told apart by colour and mark. wheel: how they agree with one, for the caption. about: whose they are.
    Raises SettingsError for fewer than three labels or more than eighty, MissingExtraError without matplotlib.
    """
    if not LEAST <= len(names) <= MOST:
        raise SettingsError(
            f"a map needs {LEAST} to {MOST} labels, and there are {len(names)}; give others, or --json"
        )
    places, share = layout(cosine)
    order = _clustered(cosine)
    side = _CELL * len(names)
    with style():
        height = max(_MAP, side + 95)
        figure = new_figure(_MAP + 110 + side + 60, height)
        left, right = figure.subplots(1, 2, width_ratios=(_MAP, side + 60))
        _draw_places(left, names, places, groups)
        _draw_cosines(right, [names[k] for k in order], cosine[np.ix_(order, order)])
    return Drawing(
        "similarity", "How similar the labels are", _alt(names, cosine), _caption(about, share, wheel), figure
    )


def _draw_places(axes: Any, names: Sequence[str], places: Floats, groups: Sequence[str] | None) -> None:
    of_group = ["" for _ in names] if groups is None else list(groups)
    for number, group in enumerate(dict.fromkeys(of_group)):
        rows = [k for k, each in enumerate(of_group) if each == group]
        axes.scatter(
            places[rows, 0], places[rows, 1], s=20, color=COLOURS[number % len(COLOURS)], marker=MARKS[number % len(MARKS)],
            label=sound(group), linewidths=0, zorder=3,
        )  # fmt: skip
    reach = 1.18 * max(float(np.abs(places).max(initial=0)), 1e-6)
    axes.set(xlim=(-reach * 1.15, reach * 1.15), ylim=(-reach, reach), aspect="equal")
    axes.axhline(0, color=LINE, linewidth=0.6, zorder=1)
    axes.axvline(0, color=LINE, linewidth=0.6, zorder=1)
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    per_point = 2 * reach * 1.15 / _MAP
    for (x, y), name, (dx, dy, align) in zip(places, names, _beside(places, names, per_point), strict=True):
        axes.text(x + dx, y + dy, sound(name), fontsize=_SIZE, color=INK, ha=align, va="center", zorder=4)
    if groups is not None:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, fontsize=_SIZE, handletextpad=0.1)


def _beside(places: Floats, names: Sequence[str], per_point: float) -> list[tuple[float, float, str]]:
    """Where each name stands beside its point (dx, dy, alignment) so that it covers as little as can be, one after the other."""
    gap, high = 6 * per_point, (_SIZE + 1.5) * per_point
    taken = [(x - gap / 2, y - gap / 2, x + gap / 2, y + gap / 2) for x, y in places]
    found = []
    for (x, y), name in zip(places, names, strict=True):
        wide = width_of(name, _SIZE) * per_point
        best: tuple[float, tuple[float, float, str], tuple[float, float, float, float]] | None = None
        for (align, dx), dy in product(
            (("left", gap), ("right", -gap), ("center", 0.0)), (0.0, 1.0, -1.0, 2.0, -2.0)
        ):
            if align == "center" and not dy:
                continue
            start = x + dx - (wide if align == "right" else wide / 2 if align == "center" else 0)
            middle = y + dy * high
            box = (start, middle - high / 2, start + wide, middle + high / 2)
            cost = sum(_overlap(box, other) for other in taken) + 0.02 * high * wide * (
                abs(dy) + (align != "left")
            )
            if best is None or cost < best[0]:
                best = cost, (dx, dy * high, align), box
        assert best is not None
        found.append(best[1])
        taken.append(best[2])
    return found


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _draw_cosines(axes: Any, names: Sequence[str], cosine: Floats) -> None:
    colors = require("matplotlib.colors", extra="train")
    scale = colors.LinearSegmentedColormap.from_list("", SHADES)
    shown = np.where(np.eye(len(names)) > 0, np.nan, cosine)
    top = max(0.1, float(np.nanmax(np.abs(shown))))
    image = axes.pcolormesh(shown, cmap=scale, vmin=-top, vmax=top, edgecolors="white", linewidth=0.4)
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0), aspect="equal")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    ticks = np.arange(len(names)) + 0.5
    axes.set_xticks(ticks, [sound(name) for name in names], rotation=90)
    axes.set_yticks(ticks, [sound(name) for name in names])
    axes.tick_params(
        length=0,
        labelcolor=INK,
        labelsize=_SIZE - 0.5,
        pad=2,
        top=True,
        bottom=False,
        labeltop=True,
        labelbottom=False,
    )
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.5, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.set_label("cosine", color=SOFT, fontsize=_SIZE)
    bar.ax.tick_params(length=0, labelsize=_SIZE - 0.5)


def _clustered(cosine: Floats) -> list[int]:
    """Labels so that similar ones stand together: average linkage, leaves in the best order."""
    hierarchy = require("scipy.cluster.hierarchy", extra="train")
    distance = require("scipy.spatial.distance", extra="train")
    apart = (1 - cosine).clip(0)
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(distance.squareform(apart, checks=False), "average", optimal_ordering=True)
    return [int(k) for k in hierarchy.leaves_list(tree)]


def _caption(about: str, share: float, wheel: OnWheel | None) -> str:
    found = (
        f"{about}. Left: the nearer, the more similar (classical scaling; two dimensions hold {share:.0%} of the spread). Right: cosines, "
        "similar labels beside each other."
    )
    if wheel is not None:
        found += (
            f" Against {wheel.title}, {len(wheel.names)} labels: their distances on it and how unlike they are correlate at "
            f"{wheel.distances:.2f} (p = {wheel.distances_p:.2g}); directions in the map agree with its directions at "
            f"{wheel.angles:.2f} of 1 (p = {wheel.angles_p:.2g})."
        )
    return found


def _alt(names: Sequence[str], cosine: Floats) -> str:
    found = pairs(names, cosine)
    alike = ", ".join(f"{p.first} and {p.second} {p.cosine:.2f}" for p in found[:_TOLD])
    unlike = ", ".join(f"{p.first} and {p.second} {p.cosine:.2f}" for p in reversed(found[-_TOLD:]))
    return f"Map of {len(names)} labels by what they mean to a model. Most similar: {alike}. Least: {unlike}."
