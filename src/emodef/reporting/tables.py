"""The tables this project reports: the paper's IV and V, runs side by side, levels, comparisons. Imports evaluation, published, render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from emodef import published as published_paper
from emodef.bootstrap import Comparison, Difference, holm
from emodef.disagreements import ErrorAnalysis
from emodef.errors import SettingsError
from emodef.evaluation import LevelResult, Report
from emodef.reporting.render import Cell, Column, Marked, Table

FEW_EXAMPLES = 500  # the paper highlights labels with fewer training examples
MARK = " *"

_SUMMARY = (
    ("macro P", "macro_precision"),
    ("macro R", "macro_recall"),
    ("macro F1", "macro_f1"),
    ("micro F1", "micro_f1"),
    ("weighted F1", "weighted_f1"),
    ("all labels right", "subset_accuracy"),
    ("macro AP", "macro_average_precision"),
    ("macro AUC", "macro_roc_auc"),
)
_WITH_INTERVAL = ("macro_f1", "micro_f1", "subset_accuracy")


def table4(
    report: Report,
    train_support: Mapping[str, int] | ArrayLike | None = None,
    paper: bool = True,
    *,
    level: str | None = None,
) -> Table:
    """The paper's Table IV: each label's training and test support, P, R, F1 with interval, beside the paper's F1.

    train_support: label -> training examples, or one number a label (K,); by default what the report holds.
    paper: set the paper's columns beside ours where the labels are those of its Table IV.
    The last rows are the macro average and the standard deviation over the labels (ddof 1), as in the paper.
    Raises SettingsError if `train_support` does not fit the labels.
    """
    result = report.level(level)
    train = None if report.split == "train" else _train_support(train_support, result)
    columns = [Column("label")]
    columns += [Column("train", "count")] if train else []
    columns += [Column(report.split, "count"), Column("P", "percent"), Column("R", "percent")]
    columns += [Column(f"F1 [{report.confidence:.0%} interval]" if report.bootstrap else "F1", "percent")]
    rows: list[list[Cell]] = []
    for label in result.labels:
        few = train and train[label.name] < FEW_EXAMPLES
        row: list[Cell] = [Marked(label.name, MARK) if few else label.name]
        row += [train[label.name]] if train else []
        rows.append([*row, label.support, label.precision.value, label.recall.value, label.f1])
    blank: list[Cell] = [None] * (2 if train else 1)
    macro = [result.summary[f"macro_{name}"] for name in ("precision", "recall", "f1")]
    rows.append(["macro average", *blank, macro[0].value, macro[1].value, macro[2]])
    spread = [
        _std([getattr(label, n).value for label in result.labels]) for n in ("precision", "recall", "f1")
    ]
    rows.append(["std over labels", *blank, *spread])
    notes = [_note(report)]
    if train and any(number < FEW_EXAMPLES for number in train.values()):
        notes.append(f"{MARK.strip()} fewer than {FEW_EXAMPLES} training examples")
    if paper and (found := _paper_columns([label.name for label in result.labels])):
        titles, values = found
        columns += [Column(f"paper: {title}", "percent") for title in titles]
        for row, published in zip(rows, values, strict=True):
            row += published
        notes.append("paper: F1 on the GoEmotions test split at 0.3, as published")
    return _table(_title(report, result), columns, rows, notes, footer=2)


def labels_table(report: Report, level: str | None = None) -> Table:
    """Each label's threshold, how often it is there and is predicted, average precision, AUC and calibration error."""
    result = report.level(level)
    columns = [
        Column("label"),
        Column("threshold", "number", 3),
        Column(report.split, "count"),
        Column("predicted", "count"),
        Column("F1", "percent"),
        Column("AP", "percent"),
        Column("AUC", "percent"),
        Column("calibration error", "number", 3),
    ]
    rows = [
        [
            r.name,
            r.threshold,
            r.support,
            r.predicted,
            r.f1,
            r.average_precision,
            r.roc_auc,
            r.calibration_error,
        ]
        for r in result.labels
    ]
    notes = [_note(report), *_undefined(result)]
    return _table(_title(report, result), columns, rows, notes)


def summary_table(
    reports: Mapping[str, Report], *, level: str | None = None, paper_rows: Sequence[str] = ()
) -> Table:
    """Several runs side by side: run name -> report. Policy first, since figures under different policies differ.

    paper_rows: rows of the paper's Table II to add, such as "BERT+CDP"; their place is GoEmotions test.
    Raises SettingsError for no reports, a level that one lacks, or a row the paper does not have.
    """
    if not reports:
        raise SettingsError("no reports to compare; give at least one run")
    columns = [Column("run"), Column("predicted"), *_summary_columns()]
    rows = [[name, report.policy, *_summary_cells(report.level(level))] for name, report in reports.items()]
    published = published_paper.table(2)
    for name in paper_rows:
        if name not in published.rows:
            raise SettingsError(
                f"the paper's Table II has no row {name!r}; it has {', '.join(published.rows)}"
            )
        figures = {f"macro_{m}": published.value(name, f"test_{m}") for m in ("precision", "recall", "f1")}
        rows.append(
            [f"paper: {name}", "fixed 0.3", *(_fraction(figures.get(metric)) for _, metric in _SUMMARY)]
        )
    first = next(iter(reports.values()))
    seen = {(r.corpus, r.split, r.texts) for r in reports.values()}
    what = _title(first, first.level(level)) if len(seen) == 1 else "several corpora"
    return _table(what, columns, rows, [_intervals(first)])


def levels_table(report: Report) -> Table:
    """One run at the corpus's own labels and at each coarser level."""
    columns = [Column("labels"), Column("number", "count"), *_summary_columns()]
    rows: list[list[Cell]] = [
        [level.name, len(level.labels), *_summary_cells(level)] for level in report.levels
    ]
    notes = [_note(report)]
    if len(report.levels) > 1:
        notes.append(
            "a coarse label is as likely as its likeliest child, and there where any of its children is"
        )
    return _table(_title(report), columns, rows, notes)


def comparison_table(comparisons: Mapping[str, Comparison], metric: str = "macro_f1") -> Table:
    """What is gained, comparison by comparison, in one metric; p-values corrected (Holm) for their number.

    comparisons: name, such as "cdp over none" -> `emodef.evaluation.compare`'s result.
    """
    try:
        differences = {name: comparison.summary[metric] for name, comparison in comparisons.items()}
    except KeyError:
        raise SettingsError(f"the comparisons do not have the metric {metric!r}") from None
    return _gains(f"Gain in {metric.replace('_', ' ')}", "comparison", differences)


def label_gains_table(comparison: Comparison, names: Sequence[str]) -> Table:
    """The gain in F1 of each of the K labels, p-values corrected (Holm) for there being K."""
    return _gains("Gain in F1", "label", dict(zip(names, comparison.label_f1, strict=True)))


def disagreement_table(analysis: ErrorAnalysis) -> Table:
    """The paper's Table V: texts where the model most confidently disagrees with the annotators."""
    columns = [Column("text"), Column("label(s)"), Column("prediction(s)"), Column("confidence", "number")]
    rows: list[list[Cell]] = [
        [d.text, ", ".join(d.labels), ", ".join(d.predictions), d.confidence] for d in analysis.disagreements
    ]
    return _table("Disagreements with the annotators, most confident first", columns, rows, [])


def pairs_table(analysis: ErrorAnalysis, top: int = 20) -> Table:
    """The pairs of a missed label and a wrongly predicted one that occur in most texts."""
    columns = [Column("missed"), Column("predicted instead"), Column("texts", "count")]
    rows: list[list[Cell]] = [[pair.annotated, pair.predicted, pair.texts] for pair in analysis.pairs[:top]]
    return _table(
        "Label pairs in disagreements", columns, rows, ["– nothing missed, or nothing predicted wrongly"]
    )


def _table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    notes: Sequence[str],
    footer: int = 0,
) -> Table:
    return Table(title, tuple(columns), tuple(tuple(row) for row in rows), tuple(notes), footer)


def _train_support(given: Mapping[str, int] | ArrayLike | None, result: LevelResult) -> dict[str, int] | None:
    names = [label.name for label in result.labels]
    if given is None:
        held = [label.train_support for label in result.labels]
        known = [number for number in held if number is not None]
        return dict(zip(names, known, strict=True)) if len(known) == len(names) else None
    if isinstance(given, Mapping):
        if missing := [name for name in names if name not in given]:
            raise SettingsError(
                f"no training support for {', '.join(missing)}; give a number for every label"
            )
        return {name: int(given[name]) for name in names}
    numbers = np.asarray(given)
    if numbers.shape != (len(names),):
        raise SettingsError(
            f"training support of shape {numbers.shape} for {len(names)} labels; give a number for every label"
        )
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}


def _paper_columns(names: Sequence[str]) -> tuple[tuple[str, ...], list[list[Cell]]] | None:
    """Titles and cells (labels, average, std) of the paper's Table IV, or None if these are not its labels."""
    published = published_paper.table(4)
    if set(names) != set(published.rows):
        return None
    lines = [*(published.rows[name] for name in names), published.macro_average, published.std]
    return published.columns, [[_fraction(v) for v in line] for line in lines]


def _summary_columns() -> list[Column]:
    return [Column(title, "percent") for title, _ in _SUMMARY]


def _summary_cells(result: LevelResult) -> list[Cell]:
    found = [(metric, result.summary[metric]) for _, metric in _SUMMARY]
    return [each if metric in _WITH_INTERVAL else each.value for metric, each in found]


def _gains(title: str, what: str, differences: Mapping[str, Difference]) -> Table:
    corrected = holm([difference.p_value for difference in differences.values()])
    columns = [
        Column(what),
        Column("first", "percent"),
        Column("second", "percent"),
        Column("gain", "gain"),
        Column("p", "p"),
        Column("p, Holm", "p"),
    ]
    rows: list[list[Cell]] = [
        [name, d.first, d.second, d.gain, d.p_value, float(p)]
        for (name, d), p in zip(differences.items(), corrected, strict=True)
    ]
    return _table(
        title, columns, rows, ["paired bootstrap over the same texts; gain of the second over the first"]
    )


def _title(report: Report, level: LevelResult | None = None) -> str:
    what = f"{report.corpus} {report.split}, {report.texts:,} texts"
    return what if level is None or level.name == report.corpus else f"{what}, {level.name} labels"


def _note(report: Report) -> str:
    thresholds = report.levels[0].labels[0].threshold is not None
    return f"{'Thresholds' if thresholds else 'Predicted'}: {report.policy}. {_intervals(report)}"


def _intervals(report: Report) -> str:
    if not report.bootstrap:
        return "No intervals."
    return (
        f"{report.confidence:.0%} intervals: percentile bootstrap over texts, "
        f"{report.bootstrap:,} resamples, seed {report.seed}."
    )


def _undefined(result: LevelResult) -> list[str]:
    return [
        f"{number} of {len(result.labels)} labels have no defined {metric.replace('_', ' ')} and are left out of its macro mean"
        for metric, number in result.undefined.items()
        if number
    ]


def _fraction(percentage: float | None) -> float | None:
    return None if percentage is None else percentage / 100


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
