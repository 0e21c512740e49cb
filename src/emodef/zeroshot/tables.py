"""Zero-shot results as tables: a corpus a table, a method a row. Imports rows, reporting."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence

from emodef.bootstrap import Mean
from emodef.reporting import Cell, Column, Table
from emodef.zeroshot.rows import METRICS, Row

COLUMNS = (
    Column("model"),
    Column("scored by"),
    Column("bias and threshold"),
    Column("macro F1", "percent", 1),
    Column("macro AUC", "percent", 1),
    Column("macro AP", "percent", 1),
    Column("micro F1", "percent", 1),
)
_DRAW = re.compile(r", draw \d+")  # in the name of a run that held labels out
NOTE = "95% intervals: percentile bootstrap over texts, 1,000 resamples, seed 0."
POLICIES = {
    "mean": "mean of the trained biases, fixed threshold",
    "mean_tuned": "mean of the trained biases, mean tuned threshold",
    "neighbours": "those of the nearest trained labels",
    "centred": "mean of the trained biases, less half of the nearness to ordinary sentences",
    "background": "from background texts",
    "moments": "from the background's mean and covariance",
    "plain": "none",
    "levelled": "equally frequent in background texts",
    "0.5": "none, 0.5",
    "by hand": "–",
    "tuned": "trained, tuned on dev",
    "fixed": "trained, fixed threshold",
}


def zero_shot_tables(rows: Sequence[Row]) -> list[Table]:
    """A table for each task, in the order of the rows. All policies are shown: choosing one on these texts would be tuning on them.

    Tasks of runs that are named "NAME, draw 1", "NAME, draw 2" and so on are averaged in tables before them.
    """
    tasks = dict.fromkeys((row.task, row.data) for row in rows)
    return [
        *_draws_tables(rows),
        *(
            task_table(task, [row for row in rows if (row.task, row.data) == (task, data)])
            for task, data in tasks
        ),
    ]


def _draws_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """For labels held out, and for those trained: what each method scored, mean over the draws."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        if drawn := _DRAW.search(row.task):
            kinds.setdefault(row.task[drawn.end() :].lstrip(", "), []).append(row)
    for kind, of_kind in kinds.items():
        found: dict[tuple[str, str, str], dict[str, Row]] = {}
        for row in of_kind:
            # by data: what was not trained is the same whichever run held these labels out
            found.setdefault((_DRAW.sub("", row.model), row.method, row.policy), {})[row.data] = row
        cells: list[tuple[Cell, ...]] = []
        for (model, method, policy), draws in found.items():
            means = [_mean([row.measures[metric].value for row in draws.values()]) for metric in METRICS]
            cells.append((model, method, POLICIES.get(policy, policy), *means))
        count = len({row.data for row in of_kind})
        note = f"Mean over {count} draws of labels ± their standard deviation; each draw, with intervals, is a table below."
        yield Table(f"{kind}, mean over {count} draws", COLUMNS, tuple(cells), (note,))


def _mean(values: Sequence[float]) -> Mean:
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Mean(statistics.fmean(values), None, None, std=spread, n=len(values))


def task_table(task: str, rows: Sequence[Row]) -> Table:
    """One task: what each method of each model scored."""
    first = rows[0]
    labels = ", ".join(first.labels)
    cells: list[tuple[Cell, ...]] = [
        (
            row.model,
            row.method,
            POLICIES.get(row.policy, row.policy),
            *(row.measures[metric] for metric in METRICS),
        )
        for row in rows
    ]
    return Table(f"{task}, {first.texts:,} texts: {labels}", COLUMNS, tuple(cells), (NOTE,))
