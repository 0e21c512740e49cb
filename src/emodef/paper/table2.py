"""Table II: backbones and setups, P, R, F1 on dev and test, beside the paper's. Imports statistics, study, cells, published."""

from __future__ import annotations

from collections.abc import Sequence

from emodef import published
from emodef.paper.cells import (
    F1_ON_TEST,
    Parts,
    fraction,
    gains_table,
    heading,
    notes,
    number_of,
    precisions_note,
    score,
    seeds_cell,
    shown,
)
from emodef.paper.known import KNOWN
from emodef.paper.statistics import POLICIES, Study
from emodef.paper.study import Block, Group, row_title
from emodef.reporting import Cell, Column, Table

Row = tuple[str, Group | None]  # title -> what was run
_METRICS = ("macro_precision", "macro_recall", "macro_f1")
_OURS = ("dev P", "dev R", "dev F1", "test P", "test R", F1_ON_TEST)


def table2(study: Study, policies: Sequence[str] = POLICIES) -> Parts:
    """The paper's settings, with the paper's figures; every other recipe apart; what each setup gains; and the figures without the test
    texts that occur in train too."""
    parts: Parts = {}
    for block in study.tabled:
        rows = table2_rows(study, block)
        for policy in shown(policies, run=bool(block.groups)):
            parts[f"{block.name}-{policy}"] = _scores(study, block, rows, policy)
        for policy in policies:
            title = heading("Gain in macro F1 on test", block, policy)
            gains = gains_table(study, comparisons(block), policy, title)
            if gains is not None:
                parts[f"{block.name}-gains-{policy}"] = gains
        if study.corpus is not None and any(group for _, group in rows):
            parts[f"{block.name}-unseen"] = _unseen(study, block, rows, policies)
    return parts


def table2_rows(study: Study, block: Block) -> list[Row]:
    """The rows of a block, in the paper's order: encoders alone, then with definitions, then in setups it lacks.

    In the paper's block also those not run.
    """
    held = block.backbones
    plain = [each.title for each in KNOWN.backbones] if block.paper else []
    plain += [title for title in held if title not in plain]
    defined = [each.title for each in KNOWN.backbones if each.definitions] if block.paper else []
    expected = set(defined)
    defined += [title for title in held if title not in defined]
    rows: list[Row] = []
    if block.paper:
        rows.append((KNOWN.baseline["row"], study.baseline))
    rows += [(title, block.find(title, "none")) for title in plain]
    for title in defined:
        further = block.further(title)
        for setup in (*KNOWN.setups[1:], *further):
            group = block.find(title, setup.name)
            if group is None and (setup in further or (block.paper and title not in expected)):
                continue
            rows.append((row_title(title, setup), group))
            rows += other_heads(group)
    return rows


def other_heads(group: Group | None) -> list[Row]:
    """The same runs by the heads they do not answer with."""
    if group is None:
        return []
    found = [group.head(scores) for scores in group.runs[0].heads() if scores != group.scores]
    return [(each.title, each) for each in found if each is not None]


def comparisons(block: Block) -> dict[str, tuple[Group | None, Group | None]]:
    """What is tested: other encoders over the first, and each setup over its encoder alone."""
    pairs: dict[str, tuple[Group | None, Group | None]] = {}
    held = block.backbones
    for title in held[1:]:
        pairs[f"{title} over {held[0]}"] = (block.find(held[0], "none"), block.find(title, "none"))
    for title in held:
        for setup in (*KNOWN.setups[1:], *block.further(title)):
            group = block.find(title, setup.name)
            for name, second in [(row_title(title, setup), group), *other_heads(group)]:
                pairs[f"{name} over {title}"] = (block.find(title, "none"), second)
    return pairs


def _short(column: str) -> str:
    split, metric = column.split("_")
    return f"{split} {metric[0].upper()}{metric[1:] if metric == 'f1' else ''}"


def _scores(study: Study, block: Block, rows: Sequence[Row], policy: str) -> Table:
    paper = published.table(2)
    beside = block.paper and policy == "fixed"
    columns = (
        Column("model"),
        Column("seeds"),
        *number_of(_OURS),
        *number_of(f"paper: {_short(name)}" for name in paper.columns if beside),
    )
    cells: list[tuple[Cell, ...]] = []
    for title, group in rows:
        ours = [
            score(study, group, split, policy, metric) for split in ("dev", "test") for metric in _METRICS
        ]
        printed = paper.rows.get(title, (None,) * len(paper.columns)) if beside else ()
        cells.append((title, seeds_cell(group), *ours, *map(fraction, printed)))
    told = [*precisions_note(dict(rows)), *notes(study, dev=policy)]
    if beside:
        told.append(f"paper: {published.source()}; printed there without a spread")
    if not block.paper:
        told.append("not the paper's settings: its figures are not beside these")
    return Table(
        heading("Table II: macro P, R, F1 on GoEmotions", block, policy), columns, tuple(cells), tuple(told)
    )


def _unseen(study: Study, block: Block, rows: Sequence[Row], policies: Sequence[str]) -> Table:
    texts, different = study.seen
    columns = [Column("model"), Column("seeds")]
    for policy in policies:
        columns += number_of((f"{block.words(policy)}: all texts", f"{block.words(policy)}: without them"))
    cells: list[tuple[Cell, ...]] = []
    for title, group in rows:
        if group is not None:
            values = [
                study.value(group, "test", policy, unseen=unseen)
                for policy in policies
                for unseen in (False, True)
            ]
            cells.append((title, seeds_cell(group), *values))
    told = (
        f"without the {texts:,} of {len(study.unseen):,} test texts ({different:,} different ones) that are in train too, "
        "case, blanks and punctuation aside",
        *notes(study),
    )
    return Table(
        f"Macro F1 on test without texts that occur in train; {block.title}",
        tuple(columns),
        tuple(cells),
        told,
    )
