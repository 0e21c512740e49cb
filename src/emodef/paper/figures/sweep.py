"""Table III as a plot: macro F1 by the sampling probability p, the paper's beside ours. Imports table3, statistics, published, canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emodef import published
from emodef.bootstrap import Mean
from emodef.paper.cells import HELD, NOT_RUN
from emodef.paper.figures.canvas import BLUE, GREEN, INK, ORANGE, SOFT, VERMILION, Drawing, new_figure, style
from emodef.paper.known import KNOWN, Setup
from emodef.paper.statistics import Study
from emodef.paper.study import Block, Group
from emodef.paper.table3 import Point, sweep

SPLITS = ("dev", "test")
PAPER, TOTAL, PRIMARY, ALONE, SMALL = "paper", "total", "primary", "alone", "small"
_LOOKS: dict[str, dict[str, Any]] = {
    PAPER: {"color": "#8a8d93", "marker": "o", "linestyle": (0, (4, 2)), "markerfacecolor": "white"},
    TOTAL: {"color": BLUE, "marker": "o", "linestyle": "-"},
    PRIMARY: {"color": VERMILION, "marker": "s", "linestyle": (0, (1, 1))},
    ALONE: {"color": GREEN, "marker": "^", "linestyle": (0, (3, 1))},
    SMALL: {"color": ORANGE, "marker": "D", "linestyle": "-"},
}


@dataclass(frozen=True)
class Curve:
    """Macro F1 by p for one setup on one split. kind: PAPER; TOTAL, ours with the paper's rule; PRIMARY, ours with equal primary steps;
    ALONE, the emotion task alone with as many steps as are primary at p; SMALL, as TOTAL with auxiliary steps' gradients held to `clip`.

    points: (p, F1 as a fraction, over our seeds a Mean). steps: primary steps each p made, on average over the seeds; empty for
    the paper's, which does not say.
    """

    setup: Setup
    split: str
    kind: str
    points: tuple[tuple[float, Mean], ...]
    steps: tuple[float, ...] = ()
    clip: float | None = None


@dataclass(frozen=True)
class Sweep:
    """All the curves of one block's encoder, and the emotion task alone: (split, PAPER or TOTAL) -> F1."""

    name: str
    about: str
    backbone: str
    curves: tuple[Curve, ...]
    alone: dict[tuple[str, str], Mean]
    seeds: tuple[int, ...]


def paper_curves() -> list[Curve]:
    """The paper's own, as it prints them."""
    printed = published.table(3)
    curves = []
    for setup in KNOWN.setups:
        if setup.column is None:
            continue
        for split in SPLITS:
            column = printed.columns.index(f"{setup.column}_{split}")
            points = [(float(p), values[column]) for p, values in printed.rows.items()]
            known = tuple((p, Mean(value / 100)) for p, value in points if value is not None)
            curves.append(Curve(setup, split, PAPER, known))
    return curves


def sweeps(study: Study, policy: str = "fixed") -> list[Sweep]:
    """A sweep for each block and encoder in which more than one p was run; the paper's alone where there is none."""
    found = [
        made
        for block in study.blocks
        for backbone in block.backbones
        if (made := _sweep(study, block, backbone, policy)) is not None
    ]
    return found or [Sweep("sweep", f"ours: {NOT_RUN}", "", tuple(paper_curves()), _paper_alone(), ())]


def _sweep(study: Study, block: Block, backbone: str, policy: str) -> Sweep | None:
    points = sweep(block, backbone)
    curves = []
    groups: list[Group] = []
    for setup, clip in dict.fromkeys((point.setup, point.clip) for point in points):
        for kind in (TOTAL, PRIMARY, ALONE) if clip is None else (SMALL,):
            run = [
                (point.p, group)
                for point in points
                if (point.setup, point.clip) == (setup, clip)
                and (group := _group(block, backbone, point, kind)) is not None
            ]
            groups += [group for _, group in run]
            steps = tuple(_primary_steps(group) for _, group in run)
            for split in SPLITS:
                values = [(p, study.value(group, split, policy)) for p, group in run]
                known = tuple((p, value) for p, value in values if isinstance(value, Mean))
                if known:
                    curves.append(Curve(setup, split, kind, known, steps, clip))
    if len({p for curve in curves for p, _ in curve.points}) < 2:
        return None
    alone = block.find(backbone, "none")
    ours = {} if alone is None else {(split, TOTAL): study.value(alone, split, policy) for split in SPLITS}
    return Sweep(
        f"sweep-{block.name}-{backbone}".lower(),
        f"{backbone}, {block.title}; {block.words(policy)}",
        backbone,
        (*paper_curves(), *curves),
        _paper_alone() | {key: value for key, value in ours.items() if isinstance(value, Mean)},
        tuple(sorted({seed for group in groups for seed in group.seeds})),
    )


def _group(block: Block, backbone: str, point: Point, kind: str) -> Group | None:
    if kind == ALONE:  # only beside what it is the control of
        primary = KNOWN.setup(point.setup.primary).name
        return block.find(backbone, primary, steps_as_p=point.p) if point.total is not None else None
    return point.primary if kind == PRIMARY else point.total


def _primary_steps(group: Group) -> float:
    return sum(run.steps["primary"] for run in group.runs) / len(group.runs)


def _paper_alone() -> dict[tuple[str, str], Mean]:
    printed = published.table(2)
    backbone = KNOWN.baseline["backbone"]
    values = {split: printed.value(backbone, f"{split}_f1") for split in SPLITS}
    return {(split, PAPER): Mean(value / 100) for split, value in values.items() if value is not None}


def draw_sweep(found: Sweep) -> Drawing:
    """A panel for each setup and split: the paper's curve dashed, ours with a band of one standard deviation over seeds."""
    setups = list(dict.fromkeys(curve.setup for curve in found.curves))
    with style():
        figure = new_figure(620, 400)
        panels = figure.subplots(len(SPLITS), len(setups), sharex=True, sharey=True, squeeze=False)
        for i, split in enumerate(SPLITS):
            for j, setup in enumerate(setups):
                shown = [c for c in found.curves if (c.setup, c.split) == (setup, split)]
                _panel(panels[i][j], shown, found, split, top=i == 0)
            panels[i][0].set_ylabel(f"macro F1 on {split}, %")
        for j, setup in enumerate(setups):
            panels[0][j].set_title(setup.title, fontweight="bold", loc="left")
            panels[-1][j].set_xlabel("p, probability of a primary step")
        handles: dict[str, Any] = {}
        for panel in panels.flat:
            handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3, fontsize=8)
    return Drawing(
        found.name, "F1 by the sampling probability p", _alt(found, setups), _caption(found), figure
    )


def _panel(axes: Any, curves: Sequence[Curve], found: Sweep, split: str, *, top: bool) -> None:
    names = {
        PAPER: f"{_whose(PAPER, found)}, {KNOWN.settings['epochs']} epochs",
        TOTAL: f"{found.backbone}, same steps in all",
        SMALL: f"{found.backbone}, same steps in all",
        PRIMARY: f"{found.backbone}, same primary steps",
        ALONE: f"{found.backbone}, emotion task alone, as many primary steps",
    }
    for curve in curves:
        looks = _LOOKS[curve.kind]
        ps = [p for p, _ in curve.points]
        means = [100 * value.value for _, value in curve.points]
        name = _named(names[curve.kind], curve.clip)
        axes.plot(ps, means, label=name, markersize=4, linewidth=1.5, **looks)
        if all(value.std is not None for _, value in curve.points):
            deviations = [100 * (value.std or 0.0) for _, value in curve.points]
            low, high = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
            axes.fill_between(ps, low, high, color=looks["color"], alpha=0.18, linewidth=0)
    for (at, kind), value in found.alone.items():
        if at == split:
            label = f"{_whose(kind, found)}, emotion task alone"
            axes.axhline(
                100 * value.value,
                label=label,
                color=_LOOKS[kind]["color"],
                linewidth=1,
                linestyle=(0, (1, 2)),
            )
    axes.set_xticks(KNOWN.sweep)
    ours = next((curve for curve in curves if curve.kind == TOTAL), None)
    if top and ours is not None:
        above = axes.secondary_xaxis("top")
        places = dict(zip([p for p, _ in ours.points], ours.steps, strict=True))
        shown = [p for k, p in enumerate(places) if len(places) <= 5 or k % 2 == 0]
        above.set_xticks(shown, [f"{places[p]:,.0f}" for p in shown], fontsize=7)
        above.tick_params(length=2)
        above.set_xlabel("primary steps made", fontsize=7, color=SOFT)
        above.spines["top"].set_visible(False)
    if all(curve.kind == PAPER for curve in curves):
        axes.text(
            0.97,
            0.05,
            f"ours: {NOT_RUN}",
            transform=axes.transAxes,
            ha="right",
            color=INK,
            fontsize=8,
            style="italic",
        )


def _named(whose: str, clip: float | None) -> str:
    return whose if clip is None else f"{whose}, auxiliary {HELD} {clip:g}"


def _whose(kind: str, found: Sweep) -> str:
    return f"paper ({KNOWN.baseline['backbone']})" if kind == PAPER else found.backbone


def _alt(found: Sweep, setups: Sequence[Setup]) -> str:
    told = []
    for setup in setups:
        for kind, whose in (
            (PAPER, "the paper"),
            (TOTAL, "ours"),
            (PRIMARY, "ours with equal primary steps"),
            (ALONE, "the emotion task alone with as many primary steps"),
            (SMALL, "ours"),
        ):
            for curve in found.curves:
                if (curve.setup, curve.split, curve.kind) == (setup, "test", kind):
                    listed = ", ".join(f"{100 * value.value:.2f} at {p:g}" for p, value in curve.points)
                    told.append(f"{setup.title}, {_named(whose, curve.clip)}: {listed}")
    missing = "" if found.seeds else f" Ours: {NOT_RUN}."
    return f"Macro F1 on test in percent by p. {'; '.join(told)}.{missing}"


def _caption(found: Sweep) -> str:
    if not found.seeds:
        alone = f"its {KNOWN.baseline['backbone']} without definitions (Table II)"
        return f"Macro F1 by p as the paper prints it (Table III), and {alone}. Ours: {NOT_RUN}."
    band = (
        "one seed, so without a band"
        if len(found.seeds) == 1
        else f"mean and band of one standard deviation over seeds {', '.join(map(str, found.seeds))}"
    )
    other = f", with its own settings ({KNOWN.settings['epochs']} epochs of batches of {KNOWN.settings['batch_size']})"
    if found.backbone != KNOWN.baseline["backbone"]:
        other += f" and {KNOWN.baseline['backbone']}, so that only the curves’ shapes compare"
    return (
        f"{found.about}: {band}. Dashed: the paper’s (Table III){other}. All steps are as many whatever p is, so that a "
        "small p also makes fewer primary steps, as the upper scale tells; the dotted curve, where it was run, makes as many primary "
        "steps at every p, and that with triangles is the emotion task alone with as many steps as are primary at p. Diamonds, "
        "where they were run: the norm of an auxiliary step's gradient is limited to a smaller value than a primary step's."
    )
