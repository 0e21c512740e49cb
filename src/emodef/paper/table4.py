"""Table IV: F1 of every label, setup by setup, beside the paper's columns. Imports statistics, study, cells, published."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emodef import published
from emodef.bootstrap import Mean, holm
from emodef.labels import LabelSet
from emodef.paper.cells import NOT_RUN, Parts, fraction, heading, notes, number_of, precisions_note, shown
from emodef.paper.known import KNOWN
from emodef.paper.statistics import POLICIES, Study
from emodef.paper.study import Block, Group, row_title
from emodef.paper.table2 import other_heads
from emodef.reporting import Cell, Column, Marked, Table
from emodef.reporting.tables import FEW_EXAMPLES, MARK

SURE = 0.05  # a corrected p-value below it is named in the note


def table4(study: Study, policies: Sequence[str] = POLICIES) -> Parts:
    """For each encoder with runs (the paper's own always): F1 by label in the paper's setups and ours.

    Beside it, what they gain over the encoder alone, label by label.
    """
    parts: Parts = {}
    for block, backbone in study.encoders:
        start = f"{block.name}-{backbone}".lower()
        run = any(group for _, group in columns_of(study, block, backbone))
        for policy in shown(policies, run=run):
            parts[f"{start}-{policy}"] = _table(study, block, backbone, policy)
            gains = _gains(study, block, backbone, policy)
            if gains is not None:
                parts[f"{start}-gains-{policy}"] = gains
    return parts


def columns_of(study: Study, block: Block, backbone: str) -> list[tuple[str, Group | None]]:
    """The setups of one encoder as columns, in the paper's order, ours, then others that were run; a run's other head after its own."""
    found: list[tuple[str, Group | None]] = []
    if block.paper and backbone == KNOWN.baseline["backbone"]:
        found.append(("Baseline", study.baseline))
    for setup in KNOWN.setups:
        group = block.find(backbone, setup.name)
        found += [(row_title(backbone, setup), group), *other_heads(group)]
    for setup in block.further(backbone):
        if (group := block.find(backbone, setup.name)) is not None:
            found += [(row_title(backbone, setup), group), *other_heads(group)]
    return found


def _names(study: Study) -> list[str]:
    """The labels, in the order of the probabilities."""
    if study.corpus is not None:
        return list(study.corpus["test"].label_set.names)
    if study.runs:
        return [label.name for label in study.runs[0].reports["test fixed"].labels]
    return list(LabelSet.load(study.corpus_name).names)


def _table(study: Study, block: Block, backbone: str, policy: str) -> Table:
    paper = published.table(4)
    names = _names(study)
    printed = list(paper.columns) if set(names) == set(paper.rows) else []
    ours = columns_of(study, block, backbone)
    train, test = study.train_support, _test_support(study)
    columns = (
        Column("label"),
        *number_of(("train", "test"), "count"),
        *number_of(title for title, _ in ours),
        *number_of(f"paper: {title}" for title in printed),
    )
    found = [None if group is None else study.scored(group, "test", policy) for _, group in ours]
    by_column = [None if scored is None else scored.labels() for scored in found]
    rows: list[tuple[Cell, ...]] = []
    for k, name in enumerate(names):
        few = train is not None and train[k] < FEW_EXAMPLES
        values: list[Cell] = [None if labels is None else labels[k] for labels in by_column]
        published_row = map(fraction, paper.rows[name]) if printed else ()
        support = (None if train is None else train[k], None if test is None else test[k])
        rows.append((Marked(name, MARK) if few else name, *support, *values, *published_row))
    macro: list[Cell] = [
        NOT_RUN if group is None else None if scored is None else scored.summary("macro_f1")
        for (_, group), scored in zip(ours, found, strict=True)
    ]
    spread: list[Cell] = [None if labels is None else over_labels(labels) for labels in by_column]
    rows.append(
        ("macro average", None, None, *macro, *(map(fraction, paper.macro_average) if printed else ()))
    )
    rows.append(("std over labels", None, None, *spread, *(map(fraction, paper.std) if printed else ())))
    seeds = "; ".join(
        f"{title}: {', '.join(map(str, group.seeds))}" for title, group in ours if group is not None
    )
    told = [
        f"seeds: {seeds}" if seeds else NOT_RUN,
        f"{MARK.strip()} fewer than {FEW_EXAMPLES} training texts",
    ]
    told.append("std over labels: sample standard deviation (ddof 1) of the labels' mean F1")
    if printed:
        told.append(
            f"paper: F1 at {KNOWN.settings['threshold']:g} with its own settings and BERT-base, {published.source()}"
        )
    title = heading(f"Table IV: F1 by label on GoEmotions test, {backbone}", block, policy)
    return Table(title, columns, tuple(rows), (*told, *precisions_note(dict(ours)), *notes(study)), footer=2)


def over_labels(labels: Sequence[Mean]) -> float | None:
    """The sample standard deviation (ddof 1) of the labels' F1."""
    return float(np.std([label.value for label in labels], ddof=1)) if len(labels) > 1 else None


def _test_support(study: Study) -> list[int] | None:
    if study.corpus is not None:
        return [int(number) for number in study.corpus["test"].labels.sum(axis=0)]
    return [label.support for label in study.runs[0].reports["test fixed"].labels] if study.runs else None


def _gains(study: Study, block: Block, backbone: str, policy: str) -> Table | None:
    """What each setup gains over the encoder alone, label by label, corrected for all of these comparisons."""
    alone = block.find(backbone, "none")
    pairs = [
        (title, group)
        for title, group in columns_of(study, block, backbone)
        if group is not None and group is not alone
    ]
    compared = [] if alone is None else [(title, study.gain(alone, group, policy)) for title, group in pairs]
    found = [(title, each.label_f1) for title, each in compared if each is not None]
    if not found:
        return None
    names = _names(study)
    p_values = np.array([[gain.p_value for gain in gains] for _, gains in found])
    corrected = holm(p_values.ravel()).reshape(p_values.shape)
    columns = [Column("label")]
    for title, _ in found:
        columns += [Column(title, "gain"), Column(f"{title}: p, Holm", "p")]
    rows: list[tuple[Cell, ...]] = []
    for k, name in enumerate(names):
        cells: list[Cell] = [name]
        for (_, gains), p in zip(found, corrected, strict=True):
            cells += [gains[k].gain, float(p[k])]
        rows.append(tuple(cells))
    sure = [
        f"{title} {name} {100 * gains[k].gain.value:+.1f}"
        for (title, gains), p in zip(found, corrected, strict=True)
        for k, name in enumerate(names)
        if p[k] < SURE
    ]
    note = f"p below {SURE:g} after correction (Holm) for these {corrected.size} comparisons: {', '.join(sure) or 'none'}"
    needed = _needed(corrected.size)
    if not sure and study.resamples < needed:
        note = (
            f"{study.resamples:,} resamples are too few to tell of these {corrected.size} comparisons whether any has a p below {SURE:g} "
            f"after correction (Holm); take {needed:,} or more"
        )
    title = heading(f"Table IV: gain in F1 over {backbone} alone, by label", block, policy)
    return Table(title, tuple(columns), tuple(rows), (note,))


def _needed(comparisons: int) -> int:
    """The fewest resamples R whose smallest p-value, 2 / (R + 1), is below SURE when multiplied by the comparisons."""
    return math.floor(round(2 * comparisons / SURE, 6))
