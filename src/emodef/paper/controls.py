"""Controls that the paper lacks: equal steps in all, equal primary steps, smaller auxiliary gradients. Imports statistics, study, cells."""

from __future__ import annotations

from collections.abc import Sequence

from emodef.paper.cells import (
    Parts,
    gains_table,
    heading,
    held,
    held_note,
    notes,
    number_of,
    precisions_note,
    score,
    seeds_cell,
    shown,
    steps_cells,
)
from emodef.paper.known import KNOWN, Setup
from emodef.paper.statistics import POLICIES, Study, mean_of
from emodef.paper.study import Block, Group, row_title
from emodef.reporting import Cell, Column, Table

_FEWER = "at their primary steps"
_MORE = "equal primary steps"


def controls(study: Study, policies: Sequence[str] = POLICIES) -> Parts:
    """For each encoder with runs (the paper's own always): the setups with auxiliary steps, and the emotion task alone with as many steps
    in all, and with as many primary ones."""
    parts: Parts = {}
    for block, backbone in study.encoders:
        rows = control_rows(block, backbone)
        start = f"{block.name}-{backbone}".lower()
        for policy in shown(policies, run=backbone in block.backbones):
            parts[f"{start}-{policy}"] = _table(study, block, backbone, rows, policy)
            title = heading(f"Controls: gain in macro F1 on test, {backbone}", block, policy)
            gains = gains_table(study, _comparisons(block, backbone, rows), policy, title)
            if gains is not None:
                parts[f"{start}-gains-{policy}"] = gains
    return parts


def control_rows(block: Block, backbone: str) -> dict[str, Group | None]:
    """Title -> runs: alone, alone with fewer steps, then each setup under the paper's rule, with equal primary steps and with smaller
    gradients of auxiliary steps, then ours, then others that were run."""
    alone = row_title(backbone, KNOWN.setups[0])
    rows = {
        alone: block.find(backbone, "none"),
        f"{alone}, {_FEWER}": block.find(backbone, "none", steps_as_p=KNOWN.p),
    }
    for setup in KNOWN.setups[1:]:
        rows |= _setup_rows(block, backbone, setup)
    for setup in block.further(backbone):
        further = _setup_rows(block, backbone, setup)
        rows |= {title: group for title, group in further.items() if group is not None}
    return rows


def _setup_rows(block: Block, backbone: str, setup: Setup) -> dict[str, Group | None]:
    title = row_title(backbone, setup)
    rows = {title: block.find(backbone, setup.name)}
    if not setup.auxiliary:  # others have auxiliary steps beside its own, where its control was run
        if (fewer := block.find(backbone, setup.name, steps_as_p=KNOWN.p)) is not None:
            rows[f"{title}, {_FEWER}"] = fewer
    else:
        rows[f"{title}, {_MORE}"] = block.find(backbone, setup.name, budget="primary")
        for clip in block.clips(backbone):
            rows[held(title, clip)] = block.find(backbone, setup.name, auxiliary_clip=clip)
    return rows


def _table(study: Study, block: Block, backbone: str, rows: dict[str, Group | None], policy: str) -> Table:
    columns = (
        Column("model"), Column("seeds"), *number_of(("primary steps", "all steps", "minutes"), "count"),
        *number_of(("dev F1", "test F1 [95%]", "test micro F1 [95%]")),
    )  # fmt: skip
    cells: list[tuple[Cell, ...]] = []
    for title, group in rows.items():
        minutes = None if group is None else mean_of(run.seconds / 60 for run in group.runs)
        scores = (
            score(study, group, "dev", policy),
            score(study, group, "test", policy),
            score(study, group, "test", policy, "micro_f1"),
        )
        cells.append((title, seeds_cell(group), *steps_cells(group), minutes, *scores))
    told = (
        f"at p = {KNOWN.p:g} about half of the steps are auxiliary, and the steps in all do not grow; “{_FEWER}”: the emotion task alone, "
        f"with as many steps as the others make primary ones; “{_MORE}”: the others, until they have made as many primary "
        "steps as it makes in all",
        *held_note(block.clips(backbone)),
        "minutes: by the clock, on " + (_hardware(rows) or "nothing yet"),
        *precisions_note(rows),
        *notes(study, dev=policy),
    )
    return Table(
        heading(f"Controls for auxiliary steps, {backbone}", block, policy), columns, tuple(cells), told
    )


def _comparisons(
    block: Block, backbone: str, rows: dict[str, Group | None]
) -> dict[str, tuple[Group | None, Group | None]]:
    """What -> (first, second): a setup with auxiliary steps over the one that its primary steps are those of, others over the first row."""
    pairs: dict[str, tuple[Group | None, Group | None]] = {}
    for setup in (*KNOWN.setups[1:], *block.further(backbone)):
        title = row_title(backbone, setup)
        plain = rows.get(title)
        if not setup.auxiliary:
            pairs[f"{title} over {backbone}: equal steps"] = (rows[backbone], plain)
            continue
        base = row_title(backbone, KNOWN.setup(setup.primary))
        alone, fewer = rows.get(base), rows.get(f"{base}, {_FEWER}")
        pairs[f"{title} over {base}: equal steps in all"] = (alone, plain)
        pairs[f"{title} over {base} {_FEWER}"] = (fewer, plain)
        pairs[f"{title}, {_MORE}, over {base}"] = (alone, rows.get(f"{title}, {_MORE}"))
        for clip in block.clips(backbone):
            small = held(title, clip)
            pairs[f"{small}, over {title}"] = (plain, rows.get(small))
            pairs[f"{small}, over {base}: equal steps in all"] = (alone, rows.get(small))
            pairs[f"{small}, over {base} {_FEWER}"] = (fewer, rows.get(small))
    return pairs


def _hardware(rows: dict[str, Group | None]) -> str:
    found = {run.hardware for group in rows.values() if group is not None for run in group.runs}
    return "; ".join(sorted(found))
