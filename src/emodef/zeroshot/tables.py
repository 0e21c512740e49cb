"""Zero-shot results as tables: a corpus a table, a method a row. Imports rows, reporting."""

from __future__ import annotations

from collections.abc import Sequence

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
    """A table for each task, in the order of the rows. All policies are shown: choosing one on these texts would be tuning on them."""
    tasks = dict.fromkeys((row.task, row.data) for row in rows)
    return [
        task_table(task, [row for row in rows if (row.task, row.data) == (task, data)])
        for task, data in tasks
    ]


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
