"""Table V: where a model most confidently disagrees with the annotators. Imports statistics, study, disagreements, table1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emodef.disagreements import ErrorAnalysis, error_analysis
from emodef.metrics import decide
from emodef.paper.cells import Parts
from emodef.paper.known import KNOWN
from emodef.paper.results import Run
from emodef.paper.statistics import POLICIES, Study
from emodef.paper.study import Block, Group
from emodef.paper.table1 import credit
from emodef.paper.table2 import table2_rows
from emodef.reporting import Cell, Column, Table, disagreement_table, pairs_table


@dataclass(frozen=True)
class Errors:
    """A run's disagreements with the annotators on test, and why this run: the first seed of the setup best on dev."""

    block: Block
    group: Group
    run: Run
    policy: str
    analysis: ErrorAnalysis

    @property
    def about(self) -> str:
        """Whose disagreements these are, in words."""
        return (
            f"{self.group.title}, seed {self.run.seed}; {self.block.title}; {self.block.words(self.policy)}"
        )


def chosen(study: Study, policy: str = "fixed") -> tuple[Block, Group] | None:
    """The setup best on dev: with the paper's settings where any was run with them, else with the recipe that has the most rows."""
    held = [
        (block, [group for _, group in table2_rows(study, block) if group is not None])
        for block in study.tabled
    ]
    held = [(block, groups) for block, groups in held if groups]
    if not held:
        return None
    block, groups = next(((b, g) for b, g in held if b.paper), max(held, key=lambda each: len(each[1])))
    scored = [
        (value.value, -place)
        for place, group in enumerate(groups)
        if (value := study.value(group, "dev", policy))
    ]
    return (block, groups[-max(scored)[1]]) if scored else None


def errors(
    study: Study, policy: str = "fixed", *, group: Group | None = None, top: int = 20, each_pair: int = 1
) -> Errors | None:
    """The disagreements of a group's first run, by default the group that `chosen` picks; None without runs.

    Raises DataError without the corpus.
    """
    corpus = study.need()
    best = chosen(study, policy)
    if best is None:
        return None
    block, picked = best
    if group is not None:
        picked = group
        block = next(each for each in study.blocks if any(group.runs == held.runs for held in each.groups))
    run = picked.runs[0]
    analysis = error_analysis(
        run.probabilities("test", picked.scores),
        corpus["test"],
        thresholds=study.thresholds(run, picked.scores, policy),
        top=top,
        each_pair=each_pair,
    )
    return Errors(block, picked, run, policy, analysis)


def table5(study: Study, policies: Sequence[str] = POLICIES) -> Parts:
    """The paper's own texts with our predictions; the most confident disagreements, each label pair once; the most frequent label pairs."""
    policy = policies[0]
    found = errors(study, policy) if study.corpus is not None else None
    if found is None:
        why = study.lacking or "no run to show errors of: not run here"
        return {
            "disagreements": Table(
                "Table V: disagreements with the annotators", (Column("text"),), (), (why,)
            )
        }
    note = "the setup best on dev, its first seed" if len(study.groups) > 1 else "the only setup run"
    about = (f"{found.about} ({note})", *credit(study.corpus_name))
    shown = disagreement_table(found.analysis)
    counted = pairs_table(found.analysis)
    reading = "confidence: the wrong label's probability less the missed label's; many such predictions are another reading of the text"
    parts = {
        "disagreements": replace(shown, title=f"Table V: {shown.title.lower()}", notes=(reading, *about)),
        "pairs": replace(
            counted, title=f"Table V: {counted.title.lower()}", notes=(*counted.notes, about[0])
        ),
    }
    printed = _printed(study, found)
    return {**({} if printed is None else {"paper": printed}), **parts}


def _printed(study: Study, found: Errors) -> Table | None:
    """The texts the paper's Table V prints: annotators, the paper's model, ours."""
    corpus = study.need()["test"]
    places = {identifier: row for row, identifier in enumerate(corpus.ids)}
    if not set(KNOWN.table5) <= set(places):
        return None
    chosen_rows = [places[identifier] for identifier in KNOWN.table5]
    values = found.run.probabilities("test", found.group.scores)[chosen_rows]
    predicted = decide(values, study.thresholds(found.run, found.group.scores, found.policy))
    names = corpus.label_set.names
    lists = corpus.take(chosen_rows).label_lists()
    rows: list[tuple[Cell, ...]] = [
        (
            corpus.texts[row],
            ", ".join(lists[i]),
            ", ".join(theirs),
            ", ".join(names[k] for k in np.flatnonzero(predicted[i])) or "none",
        )
        for i, (row, theirs) in enumerate(zip(chosen_rows, KNOWN.table5.values(), strict=True))
    ]
    columns = (Column("text"), Column("label(s)"), Column("paper: prediction(s)"), Column("prediction(s)"))
    return Table(
        "Table V: the paper's texts", columns, tuple(rows), (found.about, *credit(study.corpus_name))
    )
