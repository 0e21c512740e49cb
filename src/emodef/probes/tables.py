"""Probe results as tables. Imports reporting and its siblings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from emodef.probes.changes import EMOJI
from emodef.probes.swaps import Contrast
from emodef.reporting import Cell, Column, Table, format_cell

if TYPE_CHECKING:
    from emodef.probes import ProbeReport

Rows = list[tuple[Cell, ...]]


def probe_tables(report: ProbeReport) -> list[Table]:
    """Everything measured: a table for each kind of probe that has results."""
    groups: dict[str, list[Contrast]] = {}
    for contrast in report.contrasts:
        groups.setdefault(contrast.probe, []).append(contrast)
    tables = [contrast_table(name[:1].upper() + name[1:], found) for name, found in groups.items()]
    tables += [change_table(report)]
    tables += [language_table(report)] if report.languages else []
    tables += [domain_table(report)] if report.domains else []
    tables += [corpus_table(report)] if report.corpora else []
    return tables


def contrast_table(title: str, contrasts: Sequence[Contrast]) -> Table:
    """Contrasts: the label that moves most, whether that is clear, and how many decisions change."""
    columns = [
        Column("words"),
        Column("in place of"),
        Column("decisions changed, %", "percent", 1),
        Column("by a like word, %", "percent", 1),
        Column("most moved"),
        Column("by, points", "gain"),
        Column("floor, points", "percent", 1),
        Column("clear shifts"),
    ]
    rows: Rows = [
        (
            each.first,
            each.second,
            each.changed,
            each.changed_alike,
            each.largest.label,
            each.largest.probability,
            each.floor,
            clear_shifts(each),
        )
        for each in contrasts
    ]
    return _table(title, columns, rows)


def clear_shifts(contrast: Contrast) -> str:
    """The labels that clearly move, largest first, with a sign: "sadness +, neutral -"."""
    clear = sorted(
        (shift for shift in contrast.shifts if shift.clear), key=lambda shift: -abs(shift.probability.value)
    )
    return ", ".join(f"{shift.label} {'+' if shift.probability.value > 0 else '−'}" for shift in clear)


def change_table(report: ProbeReport) -> Table:
    """Small changes, and negation in the last row."""
    columns = [
        Column("change"),
        Column("texts", "count"),
        Column("decisions changed, %", "percent", 1),
        Column("likeliest label changed, %", "percent", 1),
        Column("label lost, %", "percent", 1),
        Column("largest move, points", "percent", 1),
    ]
    rows: Rows = [
        (each.change, each.texts, each.changed, each.likeliest, each.lost, each.moved)
        for each in report.changes
    ]
    notes = []
    emoji = [each for each in report.changes if each.change.startswith(EMOJI)]
    if len({(each.moved, each.changed, each.likeliest) for each in emoji}) == 1:
        notes.append("Every emoji does exactly the same: the model cannot tell them apart.")
    if (negation := report.negation) is not None:
        gain = negation.denied.value - negation.said.value
        moves = "falls" if gain < 0 else "rises" if gain > 0 else "goes"
        lost = f"{percent(negation.found.value)} before, {percent(negation.kept.value)} after"
        notes.append(
            f"Negated ({negation.pairs} pairs of sentences): the label of the plain sentence is decided in {lost}; its mean "
            f"probability {moves} from {percent(negation.said.value)} to {percent(negation.denied.value)}."
        )
    return _table("Small changes to the sentences", columns, rows, notes)


def language_table(report: ProbeReport) -> Table:
    """The same sentences in other languages."""
    columns = [
        Column("language"),
        Column("sentences", "count"),
        Column("label found, %", "percent", 1),
        Column("likeliest as in English, %", "percent", 1),
        Column("neutral, %", "percent", 1),
        Column("no label, %", "percent", 1),
    ]
    rows: Rows = [
        (each.language, each.sentences, each.found, each.same, each.neutral, each.nothing)
        for each in report.languages
    ]
    return _table("Other languages", columns, rows)


def domain_table(report: ProbeReport) -> Table:
    """Texts of other kinds."""
    columns = [
        Column("texts"),
        Column("number", "count"),
        Column("given an emotion, %", "percent", 1),
        Column("no label, %", "percent", 1),
        Column("most often"),
        Column("a reader finds one in"),
    ]
    rows: Rows = [
        (
            each.domain,
            each.texts,
            each.emotion,
            each.nothing,
            ", ".join(f"{label} {number}" for label, number in each.emotions),
            each.expected,
        )
        for each in report.domains
    ]
    return _table("Other kinds of text", columns, rows)


def corpus_table(report: ProbeReport) -> Table:
    """Other corpora, zero-shot."""
    columns = [
        Column("corpus"),
        Column("texts", "count"),
        Column("labels", "count"),
        Column("accuracy, %", "percent", 1),
        Column("commonest label, %", "percent", 1),
        Column("macro F1, %", "percent", 1),
        Column("lowest F1"),
    ]
    rows: Rows = []
    for each in report.corpora:
        label, worst = min(each.f1, key=lambda pair: pair[1].value)
        name = f"{each.corpus} {each.split}"
        lowest = f"{label} {percent(worst.value)}"
        rows.append((name, each.texts, each.labels, each.accuracy, each.commonest, each.macro_f1, lowest))
    note = "the likeliest label, read as one of the corpus's by a mapping written by hand; nothing was trained on them"
    return _table("Other corpora", columns, rows, [note])


def _table(title: str, columns: Sequence[Column], rows: Rows, notes: Iterable[str] = ()) -> Table:
    return Table(title, tuple(columns), tuple(rows), tuple(notes))


def percent(value: float) -> str:
    """A share in whole percent, for sentences."""
    return format_cell(value, Column("", "percent", 0)) + "%"
