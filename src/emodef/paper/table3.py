"""Table III: the sweep over p, the primary steps each p really made, the control of equal ones. Imports statistics, study, published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emodef import published
from emodef.bootstrap import Mean
from emodef.paper.cells import (
    Parts,
    fraction,
    gains_table,
    heading,
    held,
    held_note,
    notes,
    number_of,
    score,
    seeds_cell,
    shown,
    steps_cells,
)
from emodef.paper.known import KNOWN, Setup
from emodef.paper.statistics import POLICIES, Study
from emodef.paper.study import Block, Group, row_title
from emodef.reporting import Cell, Column, Table


@dataclass(frozen=True)
class Point:
    """One p of one setup. total: the runs under the paper's rule; primary: those that make as many primary steps whatever p is.

    paper: its F1 on dev and test, as fractions. clip: what auxiliary steps' gradients are held to, None where to the limit of all.
    """

    backbone: str
    setup: Setup
    p: float
    total: Group | None
    primary: Group | None
    paper: tuple[float | None, float | None]
    clip: float | None = None

    @property
    def title(self) -> str:
        """The setup, such as "CDP+MLM, gradients held to 0.1"."""
        return held(self.setup.title, self.clip)


def sweep(block: Block, backbone: str) -> list[Point]:
    """Every p of Table III, and every other that was run, for its three setups; what was run for setups that it lacks, and where several p
    were run with auxiliary gradients held smaller.

    The paper's figures stand beside runs with its settings and encoder only.
    """
    printed = published.table(3)
    beside = block.paper and backbone == KNOWN.baseline["backbone"]
    points = []
    for setup in (*KNOWN.setups, *block.further(backbone)):
        if not setup.auxiliary:
            continue
        own = [group for group in block.groups if (group.backbone, group.setup) == (backbone, setup)]
        run = {group.settings["p"] for group in own if "auxiliary_clip" not in group.settings}
        for p in sorted(run if setup.column is None else {*KNOWN.sweep, *run}):
            row = printed.rows.get(f"{p:g}") if beside and setup.column is not None else None
            values = tuple(
                None if row is None else fraction(row[printed.columns.index(f"{setup.column}_{split}")])
                for split in ("dev", "test")
            )
            points.append(_point(block, backbone, setup, p, (values[0], values[1])))
        for clip in block.clips(backbone):
            tried = {group.settings["p"] for group in own if group.settings.get("auxiliary_clip") == clip}
            if len(tried) > 1:
                points += [_point(block, backbone, setup, p, (None, None), clip) for p in sorted(tried)]
    return points


def _point(
    block: Block,
    backbone: str,
    setup: Setup,
    p: float,
    paper: tuple[float | None, float | None],
    clip: float | None = None,
) -> Point:
    total, primary = (
        block.find(backbone, setup.name, p=p, budget=budget, auxiliary_clip=clip)
        for budget in ("total", "primary")
    )
    return Point(backbone, setup, p, total, primary, paper, clip)


def table3(study: Study, policies: Sequence[str] = POLICIES) -> Parts:
    """The sweep with the paper's settings, run or not; with another recipe where it has more than one p."""
    parts: Parts = {}
    for block, backbone in study.encoders:
        if not _is_swept(block, backbone):
            continue
        points = sweep(block, backbone)
        start = f"{block.name}-{backbone}".lower()
        for policy in shown(policies, run=any(point.total or point.primary for point in points)):
            parts[f"{start}-{policy}"] = _table(study, block, backbone, points, policy)
            title = heading(f"Table III: gain in macro F1 on test, {backbone}", block, policy)
            gains = gains_table(study, _comparisons(block, backbone, points), policy, title)
            if gains is not None:
                parts[f"{start}-gains-{policy}"] = gains
    return parts


def _is_swept(block: Block, backbone: str) -> bool:
    """Whether an encoder has a table: in the paper's block the paper's own always, others with more than one p."""
    run = [group.settings for group in block.groups if group.backbone == backbone and "p" in group.settings]
    own = block.paper and backbone == KNOWN.baseline["backbone"]
    return own or len({(s["p"], s.get("budget")) for s in run}) > 1


def _table(study: Study, block: Block, backbone: str, points: Sequence[Point], policy: str) -> Table:
    beside = policy == "fixed" and any(value is not None for point in points for value in point.paper)
    columns = (
        Column("setup"), Column("p", "number", 1), Column("seeds"), *number_of(("dev F1", "test F1 [95%]")),
        *number_of(("primary steps", "all steps"), "count"), *number_of(("paper: dev F1", "paper: test F1") if beside else ()),
        Column("equal primary steps: seeds"), *number_of(("equal: dev F1", "equal: test F1 [95%]")),
        *number_of(("equal: primary steps", "equal: all steps"), "count"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for point in points:
        rows.append(
            (
                held(row_title(backbone, point.setup), point.clip), point.p,
                *_half(study, point.total, policy), *(point.paper if beside else ()), *_half(study, point.primary, policy),
            )
        )  # fmt: skip
    alone = _alone(block, backbone)
    rows += [
        (title, None, *_half(study, group, policy), *((None, None) if beside else ()), *(None,) * 5)
        for title, group in alone.items()
    ]
    told = [
        "all steps are epochs × ⌈texts / batch⌉ whatever p is, as in the paper, so that a small p also trains the emotion task less; "
        "“equal primary steps”: the run goes on until every p has made that many primary ones",
        *held_note(point.clip for point in points),
        *_best(study, points, policy),
        *notes(study, dev=policy),
    ]
    title = heading(f"Table III: macro F1 by sampling probability p, {backbone}", block, policy)
    return Table(title, columns, tuple(rows), tuple(told), footer=len(alone))


def _alone(block: Block, backbone: str) -> dict[str, Group | None]:
    """The emotion task alone: with as many steps in all, and with as many as were primary at each p, where that was run."""
    found: dict[str, Group | None] = {f"{backbone}, every step primary": block.find(backbone, "none")}
    for p in KNOWN.sweep:
        if (group := block.find(backbone, "none", steps_as_p=p)) is not None:
            found[_fewer(backbone, p)] = group
    return found


def _fewer(backbone: str, p: float) -> str:
    return f"{backbone}, at the primary steps of p = {p:g}"


def _half(study: Study, group: Group | None, policy: str) -> tuple[Cell, ...]:
    return (
        seeds_cell(group),
        score(study, group, "dev", policy),
        score(study, group, "test", policy),
        *steps_cells(group),
    )


def _best(study: Study, points: Sequence[Point], policy: str) -> list[str]:
    """Which p is best on dev, setup by setup, where there is a choice."""
    told = []
    for title in dict.fromkeys(point.title for point in points):
        run = [(study.value(point.total, "dev", policy), point.p) for point in points if point.title == title]
        known = [(value.value, p) for value, p in run if isinstance(value, Mean)]
        if len(known) > 1:
            told.append(
                f"{title}: best on dev at p = {max(known)[1]:g}, of {len(known)} values of p that were run"
            )
    return told


def _comparisons(
    block: Block, backbone: str, points: Sequence[Point]
) -> dict[str, tuple[Group | None, Group | None]]:
    """Each p over the paper's, over its primary steps alone, and with equal primary steps over the emotion task alone; with smaller
    auxiliary gradients also over the same p without."""
    pairs: dict[str, tuple[Group | None, Group | None]] = {}
    for point in points:
        name = f"{point.title}, p = {point.p:g}"
        if point.p != KNOWN.p:
            usual = block.find(backbone, point.setup.name, auxiliary_clip=point.clip)
            pairs[f"{name} over p = {KNOWN.p:g}"] = (usual, point.total)
        if point.clip is not None:
            large = block.find(backbone, point.setup.name, p=point.p)
            pairs[f"{name}, over {point.setup.title} at the same p"] = (large, point.total)
        base = row_title(backbone, KNOWN.setup(point.setup.primary))
        pairs[f"{name}, over {_fewer(base, point.p)}"] = (
            block.find(backbone, KNOWN.setup(point.setup.primary).name, steps_as_p=point.p),
            point.total,
        )
        pairs[f"{name}, equal primary steps, over {backbone}"] = (block.find(backbone, "none"), point.primary)
    return pairs
