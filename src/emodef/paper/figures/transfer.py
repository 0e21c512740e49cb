"""Figure 3: macro F1 on other corpora by training texts, a curve for each start. Imports transfers, known, canvas, numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emodef.bootstrap import Mean
from emodef.corpora.sources import SOURCES
from emodef.paper.cells import NOT_RUN
from emodef.paper.figures.canvas import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    Drawing,
    new_figure,
    style,
)
from emodef.paper.known import KNOWN
from emodef.paper.statistics import mean_of
from emodef.paper.study import row_title
from emodef.transfers import Row, Size

UNTUNED = "untuned"
CORPORA = ("isear", "emoint", "emotion_stimulus")  # the paper's
# colours, marks and dashes by start; others take what is left in turn
_LOOKS: dict[str, tuple[str, str, Any]] = {
    UNTUNED: (SOFT, "x", (0, (1, 1.5))),
    "none": (INK, "o", (0, (4, 2))),
    "cdp": (BLUE, "s", "-"),
    "mlm": (ORANGE, "^", "-"),
    "cdp+mlm": (GREEN, "D", "-"),
    "match": (VERMILION, "v", "-"),
}
_OTHERS: tuple[tuple[str, str, Any], ...] = (
    (PURPLE, "P", "-"),
    (SKY, "*", "-"),
    (PURPLE, "<", (0, (2, 1))),
    (SKY, ">", (0, (2, 1))),
)


@dataclass(frozen=True)
class Curve:
    """One start on one corpus. points: (size, training texts on average, macro F1 over the splits), by training texts."""

    corpus: str
    start: str
    points: tuple[tuple[Size, float, Mean], ...]


def transfer_curves(rows: Iterable[Row], policy: str = "softmax") -> list[Curve]:
    """Curves from the rows of one study, by corpus and start in the order the paper, then the rows, name them."""
    held: dict[tuple[str, str], dict[Size, list[Row]]] = {}
    for row in rows:
        if row.policy == policy:
            held.setdefault((row.corpus, row.start), {}).setdefault(row.size, []).append(row)
    curves = []
    for (corpus, start), by_size in held.items():
        points = [
            (size, float(np.mean([row.train_texts for row in found])), mean_of(row.macro_f1 for row in found))
            for size, found in by_size.items()
        ]
        curves.append(Curve(corpus, start, tuple(sorted(points, key=lambda point: point[1]))))
    return sorted(
        curves, key=lambda curve: (_place(CORPORA, curve.corpus), _place(tuple(_LOOKS), curve.start))
    )


def draw_transfer(
    curves: Sequence[Curve],
    settings: Mapping[str, Any] | None = None,
    *,
    policy: str = "softmax",
    name: str = "figure3",
    corpora: Sequence[str] = CORPORA,
) -> Drawing:
    """A panel for each corpus, training texts on a logarithmic scale: the mean over splits in a band of one standard deviation.

    settings: the study's own; without curves the panels say that nothing was run.
    """
    shown = list(dict.fromkeys((*corpora, *(curve.corpus for curve in curves))))
    starts = list(dict.fromkeys(curve.start for curve in curves))
    looks = _looks(starts)
    titles = {start: start_title(start, settings) for start in starts}
    with style():
        figure = new_figure(620, 265)
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, corpus in zip(panels, shown, strict=True):
            _panel(axes, [curve for curve in curves if curve.corpus == corpus], looks, titles)
            axes.set_title(_corpus_title(corpus), fontweight="bold", loc="left")
            axes.set_xlabel("training texts")
        panels[0].set_ylabel("macro F1, %")
        handles: dict[str, Any] = {}
        for panel in panels:
            handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        if handles:
            named = [title for title in titles.values() if title in handles]
            figure.legend(
                [handles[title] for title in named], named, loc="outside upper left", ncols=3, fontsize=8
            )
    missing = _missing(curves, shown, settings)
    title = "Learning other corpora from few texts"
    return Drawing(
        name, title, _alt(curves, titles, missing), _caption(curves, settings, policy, missing), figure
    )


def start_title(start: str, settings: Mapping[str, Any] | None = None) -> str:
    """A start as a reader knows it: "MiniLM, untuned", "MiniLM, emotion task", "MiniLM+CDP"."""
    backbone = KNOWN.backbone((settings or {}).get("backbone", KNOWN.settings["backbone"])).title
    if start in (UNTUNED, "none"):
        return f"{backbone}, {'untuned' if start == UNTUNED else 'emotion task'}"
    return (
        row_title(backbone, KNOWN.setup(start)) if start in {setup.name for setup in KNOWN.setups} else start
    )


def _place(known: Sequence[str], name: str) -> int:
    return known.index(name) if name in known else len(known)


def _looks(starts: Sequence[str]) -> dict[str, tuple[str, str, Any]]:
    others = [start for start in starts if start not in _LOOKS]
    return _LOOKS | {start: _OTHERS[k % len(_OTHERS)] for k, start in enumerate(others)}


def _panel(
    axes: Any, curves: Sequence[Curve], looks: Mapping[str, tuple[str, str, Any]], titles: Mapping[str, str]
) -> None:
    if not curves:
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5, 0.5, NOT_RUN, transform=axes.transAxes, ha="center", va="center", color=INK, style="italic"
        )
        return
    axes.set_xscale("log")
    for curve in curves:
        colour, mark, dashes = looks[curve.start]
        texts = [number for _, number, _ in curve.points]
        means = np.array([100 * value.value for *_, value in curve.points])
        axes.plot(
            texts,
            means,
            label=titles[curve.start],
            color=colour,
            marker=mark,
            linestyle=dashes,
            markersize=4,
            linewidth=1.4,
        )
        if all(value.std is not None for *_, value in curve.points):
            deviations = np.array([100 * (value.std or 0.0) for *_, value in curve.points])
            axes.fill_between(
                texts, means - deviations, means + deviations, color=colour, alpha=0.12, linewidth=0
            )
    sizes = {size: texts for curve in curves for size, texts, _ in curve.points}
    axes.set_xticks(list(sizes.values()), [_size(size) for size in sizes], fontsize=7)
    axes.minorticks_off()


def _size(size: Size) -> str:
    return f"{size:,}" if size >= 1 else f"{size:.0%}"


def _corpus_title(corpus: str) -> str:
    return SOURCES[corpus].title.partition(" (")[0] if corpus in SOURCES else corpus


def _missing(curves: Sequence[Curve], corpora: Sequence[str], settings: Mapping[str, Any] | None) -> str:
    """What the study is to run and has not: in words, empty where all is there."""
    wanted = {
        (corpus, start, size)
        for corpus in (settings or {}).get("corpora", corpora)
        for start in (settings or {}).get("starts", _LOOKS)
        for size in (settings or {}).get("sizes", ())
    }
    made = {(curve.corpus, curve.start, size) for curve in curves for size, *_ in curve.points}
    if not curves:
        return f"Figure 3: {NOT_RUN}."
    return f"{len(wanted - made)} of {len(wanted)} points: {NOT_RUN}." if wanted - made else ""


def _alt(curves: Sequence[Curve], titles: Mapping[str, str], missing: str) -> str:
    told = []
    for corpus in dict.fromkeys(curve.corpus for curve in curves):
        listed = []
        for curve in curves:
            if curve.corpus == corpus:
                ends = dict.fromkeys((curve.points[0], curve.points[-1]))
                values = " and ".join(
                    f"{100 * value.value:.1f} with {_size(size)}" for size, _, value in ends
                )
                listed.append(f"{titles[curve.start]} {values}")
        told.append(f"{_corpus_title(corpus)}: {'; '.join(listed)}")
    return " ".join(
        [f"Macro F1 in percent by training texts. {'. '.join(told)}." if told else "", missing]
    ).strip()


def _caption(curves: Sequence[Curve], settings: Mapping[str, Any] | None, policy: str, missing: str) -> str:
    if not curves:
        return missing
    splits = sorted({value.n for curve in curves for *_, value in curve.points})
    number = str(splits[0]) if len(splits) == 1 else f"{splits[0]} to {splits[-1]}"
    spread = "" if splits == [1] else ", in a band of one standard deviation"
    words = f"Mean over {number} random split{'' if splits == [1] else 's'}{spread}; {policy}"
    if settings:
        known = [
            f"{key.replace('_', ' ')} {settings[key]}"
            for key in ("epochs", "batch_size", "learning_rate")
            if key in settings
        ]
        words += f", {', '.join(known)}"
    told = "All starts of a corpus, size and split are tuned and tested on the same texts."
    return " ".join(part for part in (f"{words}.", told, missing) if part)
