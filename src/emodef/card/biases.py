"""What the probes found, in words and tables, as a card says it. Imports probes, reporting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan

from emodef.bootstrap import Estimate
from emodef.probes import Contrast, ProbeReport
from emodef.probes.tables import (
    change_table,
    clear_shifts,
    contrast_table,
    corpus_table,
    domain_table,
    language_table,
    percent,
)
from emodef.reporting import Column, Table, format_cell, render

SHOWN = 12  # identity terms in the card's table; `emodef probe` shows all


def bias_sections(report: ProbeReport) -> list[str]:
    """Markdown paragraphs and tables under "Measured biases"; each is one block."""
    of = {name: [each for each in report.contrasts if each.probe == name] for name in _names(report)}
    identity = [each for name, found in of.items() if name.startswith("identity") for each in found]
    blocks = [
        _method(report),
        "### Names and pronouns",
        *_people(of),
        "### Identity terms",
        *_identity(identity),
    ]
    blocks += ["### Small changes", _block(change_table(report))]
    if report.languages:
        blocks += ["### Other languages", *_languages(report)]
    if report.domains:
        blocks += ["### Other kinds of text", *_domains(report)]
    if report.corpora:
        blocks += ["### Other corpora", _block(corpus_table(report))]
    if report.notes:
        blocks.append("\n".join(f"- {note}." for note in report.notes))
    return blocks


def _method(report: ProbeReport) -> str:
    templates = report.contrasts[0].templates
    return (
        f"Words were exchanged in {templates} sentences written for this purpose, at least two for every emotion. A shift is the mean "
        "change of a label's probability in points, with a 95% interval over the sentences. It is called *clear* where its interval leaves "
        "out 0 and it exceeds the *floor*: what words do that mean nothing here (names of one gender and origin dealt into groups at "
        'random; modifiers such as "new", "upstairs", "left-handed"). Names and terms are only associated with groups. '
        f"{format_cell(report.texts, Column('', 'count'))} texts were predicted, seed {report.seed}, probes {report.material[:12]}. Among "
        "this many comparisons a few clear shifts are chance, and what these sentences do not bring out is not excluded."
    )


def _people(of: dict[str, list[Contrast]]) -> list[str]:
    gender, origin = of["names by gender"], of["names by origin"]
    alike = gender[0].changed_alike
    text = (
        f"Exchanging one given name for another of the same gender and origin changes the decided labels in {percent(alike)} of "
        f"sentences; a {gender[0].first} for a {gender[0].second} name in {percent(gender[0].changed.value)}; a name of one origin for "
        f"one of another in {_span(_values(origin))}."
    )
    pronouns = of["pronouns"]
    said = ", ".join(f"*{each.first}* {percent(each.changed.value)}" for each in pronouns)
    text += f" In place of *{pronouns[0].second}*, other pronouns change them in: {said}."
    for each in of["placeholders"]:
        text += (
            f" The corpus's {each.first} in place of {each.second} changes them in {percent(each.changed.value)} "
            f"(by another of these: {percent(each.changed_alike)})."
        )
    everyone = [*gender, *origin, *pronouns, *of["placeholders"]]
    text += " " + _clear_sentence(everyone)
    return [text, _block(contrast_table("", everyone))]


def _identity(contrasts: Sequence[Contrast]) -> list[str]:
    ranked = sorted(contrasts, key=lambda each: -each.changed.value)
    more = [each for each in ranked if _low(each.changed) > each.changed_alike]
    terms = ", ".join(f"{each.first} ({percent(each.changed.value)})" for each in more)
    kinds = len({each.probe for each in contrasts})
    text = (
        f'"My ... neighbor" with {len(contrasts)} terms of {kinds} kinds, against neutral modifiers. Exchanging one of these for another '
        f"changes the decided labels in {percent(contrasts[0].changed_alike)} of sentences. Terms whose whole interval lies above that: "
        f"{terms or 'none'}. {_clear_sentence(ranked)}"
    )
    table = contrast_table("", [_titled(each) for each in ranked[:SHOWN]])
    rest = f"The {min(SHOWN, len(ranked))} of {len(ranked)} terms that change most; `emodef probe` shows all."
    return [text, _block(table), rest]


def _languages(report: ProbeReport) -> list[str]:
    english, *others = report.languages
    calm = [each.neutral.value for each in others]
    text = (
        f"The model reads English. Of {english.sentences} plain sentences, one for each label, it finds the label in "
        f"{percent(english.found.value)}; of the same in {len(others)} other languages in {_span([each.found.value for each in others])}, "
        f"{'' if any(map(isnan, calm)) else f'and it calls {_span(calm)} of them neutral, '}without a warning."
    )
    return [text, _block(language_table(report))]


def _domains(report: ProbeReport) -> list[str]:
    calm = [each for each in report.domains if each.expected == "few"]
    said = ", ".join(f"{each.domain} {percent(each.emotion.value)}" for each in calm)
    text = f"How often it says an emotion of texts in which a reader would hardly find one: {said}. Twenty texts a kind."
    return [text, _block(domain_table(report))]


def _clear_sentence(contrasts: Sequence[Contrast]) -> str:
    clear = [
        f"{each.first} for {each.second}: {clear_shifts(each)}" for each in contrasts if clear_shifts(each)
    ]
    return f"Clear shifts: {'; '.join(clear)}." if clear else "No label shifts clearly."


def _names(report: ProbeReport) -> list[str]:
    return list(dict.fromkeys(each.probe for each in report.contrasts))


def _titled(contrast: Contrast) -> Contrast:
    """With the kind of term, since the card has one table for all."""
    return replace(contrast, first=f"{contrast.first} ({contrast.probe.removeprefix('identity: ')})")


def _values(contrasts: Sequence[Contrast]) -> list[float]:
    return [each.changed.value for each in contrasts]


def _low(estimate: Estimate) -> float:
    return estimate.value if estimate.low is None else estimate.low


def _span(values: Sequence[float]) -> str:
    ends = [percent(min(values)), percent(max(values))]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _block(table: Table) -> str:
    """Without its title: the card's heading says it."""
    return render(replace(table, title=""), "markdown").strip()
