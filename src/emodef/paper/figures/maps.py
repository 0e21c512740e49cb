"""Maps of labels: which gold label is replaced by which prediction, and which labels come together. Imports disagreements, labels, canvas.

Scipy orders labels by how they are confused, where that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.disagreements import ErrorAnalysis
from emodef.errors import SettingsError, require
from emodef.labels import LabelSet
from emodef.metrics import Floats
from emodef.paper.figures.canvas import INK, LINE, SOFT, Drawing, new_figure, sound, style

ORDERS = ("groups", "clusters", "given")
BLUES, GREYS, ORANGES = (
    ("#f2f5f8", "#5c9ac4", "#0b3a63"),
    ("#f3f3f1", "#a5a7aa", "#45484d"),
    ("#fbf4ee", "#dd8a4e", "#7c3806"),
)
SHOWN = 0.02  # shares from here on are written into their cell
_CELL = 19.6


@dataclass(frozen=True)
class Order:
    """Labels in the order they are drawn, and where groups of them end. names: what the groups are called, none without groups."""

    places: tuple[int, ...]
    names: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shares:
    """A map as numbers. share: (rows, columns), nan where there is nothing to say."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    share: Floats


def ordered(
    analysis: ErrorAnalysis, label_set: LabelSet, by: str = "groups", level: str | None = None
) -> Order:
    """Labels by "groups" of a coarser set (by default the first the label set maps to: Ekman's, for GoEmotions), the most frequent
    first in each; by "clusters" of labels that are confused; or as "given". Raises SettingsError for another order or level.
    """
    number = len(analysis.names)
    support = np.diag(analysis.annotated_together)
    if by == "groups" and (level or label_set.mappings):
        coarse, group = label_set.groups(level or next(iter(label_set.mappings)))
        held = [k for k in range(len(coarse)) if (group == k).any()]
        inside = [sorted(np.flatnonzero(group == k).tolist(), key=lambda n: (-support[n], n)) for k in held]
        ends = np.cumsum([len(each) for each in inside]).tolist()
        return Order(
            tuple(n for each in inside for n in each), tuple(coarse.names[k] for k in held), tuple(ends)
        )
    if by == "clusters" and number > 2:
        return Order(tuple(_clustered(confusion_shares(analysis))))
    if by not in ORDERS:
        raise SettingsError(f"labels cannot be ordered by {by!r}; give one of {', '.join(ORDERS)}")
    return Order(tuple(range(number)))


def confusion_shares(analysis: ErrorAnalysis) -> Shares:
    """Of the texts with the row's label: those where it was missed and the column's wrongly given; on the diagonal those where it was
    found; in the last column those where it was missed and nothing wrong was given instead.
    """
    support = np.diag(analysis.annotated_together).astype(np.float64)
    alone = {pair.annotated: pair.texts for pair in analysis.pairs if pair.predicted is None}
    nothing = np.array([alone.get(name, 0) for name in analysis.names])
    counts = np.column_stack([analysis.confusion, nothing])
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(support[:, None] > 0, counts / support[:, None], np.nan)
    return Shares(analysis.names, (*analysis.names, "nothing"), share)


def togetherness(counts: NDArray[np.int64]) -> Floats:
    """(K, K): of the texts with either label, the share with both; nan on the diagonal and where no text has either."""
    each = np.diag(counts).astype(np.float64)
    either = each[:, None] + each[None, :] - counts
    share = np.divide(counts, either, out=np.full(counts.shape, np.nan), where=either > 0)
    np.fill_diagonal(share, np.nan)
    return share


def draw_confusion(analysis: ErrorAnalysis, order: Order, *, about: str) -> Drawing:
    """The map of `confusion_shares`; about: whose predictions these are, in words."""
    found = confusion_shares(analysis)
    places = list(order.places)
    share = found.share[np.ix_(places, [*places, len(places)])]
    names = [found.rows[k] for k in places]
    support = np.diag(analysis.annotated_together)[places]
    diagonal = np.eye(*share.shape) > 0
    with style():
        figure, axes = _grid(
            [f"{name}  {texts:,}" for name, texts in zip(names, support, strict=True)],
            [*names, "nothing"],
            order,
        )
        top = max(0.05, float(np.nanmax(np.where(diagonal, 0, share), initial=0)))
        _cells(axes, np.where(diagonal, np.nan, share), BLUES, top)
        _cells(axes, np.where(diagonal, share, np.nan), GREYS, 1.0)
        axes.axvline(len(names), color="white", linewidth=3)
        axes.set_xlabel("predicted instead", color=SOFT)
        axes.set_ylabel("annotated, with its texts", color=SOFT)
        axes.xaxis.set_label_position("top")
    caption = (
        f"{about}. Of the texts annotated with the label at the left, the percentage where it was missed and the label above was given "
        "though not annotated; a text with several such labels counts for each. Grey: where it was found. Last column: missed, and "
        f"nothing wrong given. Under {SHOWN:.0%} no number is written."
    )
    return Drawing(
        "confusion", "Which label is replaced by which", _confusion_alt(names, share), caption, figure
    )


def draw_together(analysis: ErrorAnalysis, order: Order, *, about: str) -> Drawing:
    """Labels that come together, above the diagonal as annotated and below it as predicted."""
    places = list(order.places)
    names = [analysis.names[k] for k in places]
    annotated, predicted = (
        togetherness(counts)[np.ix_(places, places)]
        for counts in (analysis.annotated_together, analysis.predicted_together)
    )
    above = np.triu(np.ones(annotated.shape, dtype=bool), 1)
    with style():
        figure, axes = _grid(names, names, order)
        top = max(
            0.05,
            float(np.nanmax(np.where(above, annotated, predicted.T), initial=0)),
            float(np.nanmax(predicted, initial=0)),
        )
        _cells(axes, np.where(above, annotated, np.nan), BLUES, top)
        _cells(axes, np.where(above.T, predicted, np.nan), ORANGES, top)
        axes.plot([0, len(names)], [0, len(names)], color=LINE, linewidth=0.8)
        axes.set_xlabel("above the diagonal, blue: as annotated", color=BLUES[2])
        axes.set_ylabel("below the diagonal, orange: as predicted", color=ORANGES[2])
        axes.xaxis.set_label_position("top")
    caption = (
        f"{about}. Of the texts with either of two labels, the percentage with both: above the diagonal by the annotators, below it by "
        f"the model, at the mirrored place. Under {SHOWN:.0%} no number is written."
    )
    alt = _together_alt(names, np.where(above, annotated, np.nan), np.where(above, predicted, np.nan))
    return Drawing("cooccurrence", "Which labels come together", alt, caption, figure)


def _grid(rows: Sequence[str], columns: Sequence[str], order: Order) -> tuple[Any, Any]:
    """An empty map with its labels and lines between the groups."""
    margin = 190.0
    figure = new_figure(
        margin + _CELL * len(columns) + 8, margin - 40 + _CELL * len(rows) + (16 if order.names else 0)
    )
    axes = figure.add_subplot()
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0), aspect="equal")
    axes.set_facecolor(BLUES[0])
    axes.grid(visible=False)
    axes.hlines(range(len(rows) + 1), 0, len(columns), colors="white", linewidth=0.8, zorder=2)
    axes.vlines(range(len(columns) + 1), 0, len(rows), colors="white", linewidth=0.8, zorder=2)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [sound(name) for name in columns], rotation=90)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [sound(name) for name in rows])
    axes.tick_params(
        length=0, top=True, bottom=False, labeltop=True, labelbottom=False, labelcolor=INK, pad=2
    )
    for end in order.ends[:-1]:
        axes.axhline(end, color=SOFT, linewidth=0.7, zorder=3)
        axes.axvline(end, color=SOFT, linewidth=0.7, zorder=3)
    starts = (0, *order.ends)
    for name, start, end in zip(order.names, starts, order.ends, strict=False):
        axes.text(
            (start + end) / 2, len(rows) + 0.35, sound(name), ha="center", va="top", color=SOFT, fontsize=8, style="italic",
            rotation=0 if end - start > 1 else 90,
        )  # fmt: skip
    return figure, axes


def _cells(axes: Any, share: Floats, colours: tuple[str, ...], top: float) -> None:
    """Coloured cells, nan and 0 left out; the colour rises faster at first, so that small shares still show."""
    colors = require("matplotlib.colors", extra="train")
    collections = require("matplotlib.collections", extra="train")
    scale = colors.LinearSegmentedColormap.from_list("", colours)
    held = [(i, j, float(share[i, j])) for i, j in zip(*np.nonzero(np.nan_to_num(share)), strict=True)]
    shades = [colors.to_hex(scale(min(1.0, value / top) ** 0.65)) for _, _, value in held]
    squares = [((j, i), (j + 1, i), (j + 1, i + 1), (j, i + 1)) for i, j, _ in held]
    axes.add_collection(collections.PolyCollection(squares, facecolors=shades, edgecolors="none"))
    for (i, j, value), shade in zip(held, shades, strict=True):
        if value >= SHOWN:
            dark = _luminance(colors.to_rgb(shade)) < 0.19
            axes.text(
                j + 0.5,
                i + 0.52,
                f"{100 * value:.0f}",
                ha="center",
                va="center_baseline",
                fontsize=6.5,
                color="white" if dark else INK,
            )


def _luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def _clustered(found: Shares) -> list[int]:
    """Labels so that those often taken for each other stand together: average linkage, leaves in the best order."""
    hierarchy = require("scipy.cluster.hierarchy", extra="train")
    distance = require("scipy.spatial.distance", extra="train")
    share = np.nan_to_num(found.share[:, :-1])
    alike = (share + share.T) / 2
    apart = 1 - alike / max(float(alike[~np.eye(len(alike), dtype=bool)].max()), 1e-9)
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(
        distance.squareform(apart.clip(0), checks=False), "average", optimal_ordering=True
    )
    return [int(k) for k in hierarchy.leaves_list(tree)]


def _confusion_alt(names: Sequence[str], share: Floats) -> str:
    off = np.where(np.eye(*share.shape) > 0, np.nan, share)[:, : len(names)]
    told = [f"{names[i]} by {names[j]} in {value:.0%}" for value, i, j in _largest(off)]
    found = np.diag(share)
    best = [f"{names[k]} {found[k]:.0%}" for k in np.argsort(-np.nan_to_num(found), kind="stable")[:3]]
    return f"Map of {len(names)} labels. Most often replaced: {', '.join(told)}. Most often found: {', '.join(best)}."


def _together_alt(names: Sequence[str], annotated: Floats, predicted: Floats) -> str:
    told = [
        f"{who}: {', '.join(f'{names[i]} and {names[j]} in {value:.0%}' for value, i, j in _largest(share))}"
        for who, share in (("as annotated", annotated), ("as predicted", predicted))
    ]
    return f"Map of {len(names)} labels. Most often together {'; '.join(told)}."


def _largest(share: Floats, number: int = 5) -> list[tuple[float, int, int]]:
    flat = np.nan_to_num(share, nan=-1.0).ravel()
    best = np.argsort(-flat, kind="stable")[:number]
    return [(float(flat[k]), int(k) // share.shape[1], int(k) % share.shape[1]) for k in best if flat[k] > 0]
