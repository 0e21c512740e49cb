"""Swaps of names, pronouns, identity terms and placeholders in the same sentences. Imports its siblings, metrics, bootstrap.

A contrast sets one group of words against another: for every template the mean over the group's words, then the difference, then
the mean over templates; its interval resamples the templates. What an exchange that means nothing does is measured with the same
templates, in two ways. The *floor* of a contrast: words of one kind (names of one gender and origin, neutral modifiers) are dealt at
random into groups as large as the contrast's, again and again; 95% of the largest shifts over all labels lie below it. The share of
decisions that change is given beside that of exchanging two words of one kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emodef.bootstrap import Estimate
from emodef.metrics import Floats
from emodef.probes.material import Material, Person, Template
from emodef.probes.measures import Judge, decided_sets

DEALS = 500  # random deals behind a floor
FLOOR = 0.95
ROUNDING = 1e-6  # what float32 may add to a probability
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Shift:
    """How much likelier, and how much more often decided, a label is with the first words than with the second."""

    label: str
    probability: Estimate
    decisions: Estimate
    clear: bool


@dataclass(frozen=True)
class Contrast:
    """One group of words against another in the same sentences.

    shifts: of each label; `clear` where it exceeds `floor` and its interval leaves out 0. coarse: of the coarsest level's labels,
    by `coarse_floor`. changed: share of exchanges of a first for a second word that change the decided labels; changed_alike: of
    exchanges of two words of one kind.
    """

    probe: str
    first: str
    second: str
    templates: int
    shifts: tuple[Shift, ...]
    coarse: tuple[Shift, ...]
    floor: float
    coarse_floor: float
    changed: Estimate
    changed_alike: float

    @property
    def largest(self) -> Shift:
        """The label whose probability moves most."""
        return max(self.shifts, key=lambda shift: abs(shift.probability.value))


class Wording(NamedTuple):
    """Sentences with each of N words: probabilities and decisions (T, N, K), the coarse ones (T, N, C), decided sets (T, N)."""

    probabilities: Floats
    decisions: Floats
    coarse_names: tuple[str, ...]
    coarse_probabilities: Floats
    coarse_decisions: Floats
    sets: NDArray[np.intp]


class Alike(NamedTuple):
    """What exchanging words of one kind does: deviations of each word from the others (N, K), coarse (N, C), share of decisions changed."""

    deviations: Floats
    coarse: Floats
    changed: float


def swap_probes(judge: Judge, material: Material) -> list[Contrast]:
    """Every swap of `material`; about 10,000 short texts are predicted."""
    names = [Person.called(each.name) for each in material.names]
    terms = [(category, t, p) for category, found in material.identity.items() for t, p in found.items()]
    neutral = [Person.called(phrase) for phrase in material.neutral_phrases]
    shown = {mark: _placeholder(mark, kind, material) for mark, kind in material.placeholders.items()}
    people = [
        *names,
        *material.pronouns.values(),
        *neutral,
        *(Person.called(p) for _, _, p in terms),
        *shown.values(),
    ]
    wording = ask(judge, material.templates, people)
    place = _places(len(names), len(material.pronouns), len(neutral), len(terms), len(shown))
    at_names, at_pronouns, at_neutral, at_terms, at_shown = place
    kinds = [(name.origin, name.gender) for name in material.names]
    name_alike = alike(wording, at_names, kinds)
    neutral_alike = alike(wording, at_neutral, [""] * len(neutral))
    found = []
    for probe, first, second, a, b in _name_contrasts(material, at_names):
        found.append(_contrast(judge, wording, (probe, first, second), a, b, name_alike))
    pronouns = dict(zip(material.pronouns, at_pronouns, strict=True))
    against = material.pronouns_against
    for pronoun in pronouns:
        if pronoun != against:
            pair = np.array([pronouns[pronoun]]), np.array([pronouns[against]])
            found.append(_contrast(judge, wording, ("pronouns", pronoun, against), *pair, name_alike))
    for position, (category, term, _) in zip(at_terms, terms, strict=True):
        title = (f"identity: {category}", term, "neutral words")
        found.append(_contrast(judge, wording, title, np.array([position]), at_neutral, neutral_alike))
    for position, (mark, kind) in zip(at_shown, material.placeholders.items(), strict=True):
        hidden = at_names if kind == "names" else at_terms[[c == kind for c, _, _ in terms]]
        like = name_alike if kind == "names" else alike(wording, hidden, [kind] * len(hidden))
        title = ("placeholders", mark, f"real {kind}" if kind == "names" else f"{kind} terms")
        found.append(_contrast(judge, wording, title, np.array([position]), hidden, like))
    return found


def ask(judge: Judge, templates: Sequence[Template], people: Sequence[Person]) -> Wording:
    """Every template (T) with every person (N)."""
    texts = [template.fill(person) for template in templates for person in people]
    shape = (len(templates), len(people), -1)
    values = judge.probabilities(texts)
    predicted = judge.decide(values)
    names, coarse, coarse_decided = judge.coarse(values, predicted)
    width = (len(templates), len(people), len(names))
    return Wording(
        values.reshape(shape),
        predicted.astype(np.float64).reshape(shape),
        names,
        coarse.reshape(width),
        coarse_decided.reshape(width),
        decided_sets(predicted.reshape(shape)),
    )


def alike(wording: Wording, words: Indices, kinds: Sequence[object]) -> Alike:
    """What exchanging words does that differ in nothing probed: those of the same entry in `kinds`, one entry a word."""
    changed, pairs = 0.0, 0
    members = [np.flatnonzero([each == kind for each in kinds]) for kind in dict.fromkeys(kinds)]
    for own in members:
        sets = wording.sets[:, words[own]]
        differ = (sets[:, :, None] != sets[:, None, :]).mean(axis=0).sum()  # the diagonal adds nothing
        changed, pairs = changed + differ, pairs + len(own) * (len(own) - 1)
    fine, coarse = (
        _deviations(values[:, words].mean(axis=0), members)  # linear, so templates can be averaged first
        for values in (wording.probabilities, wording.coarse_probabilities)
    )
    return Alike(fine, coarse, float(changed / pairs) if pairs else np.nan)


def _deviations(means: Floats, members: Sequence[Indices]) -> Floats:
    """Each word's (N, K) from the mean of the other words of its kind."""
    found = np.empty_like(means)
    for own in members:
        others = max(len(own) - 1, 1)
        found[own] = (means[own] - means[own].mean(axis=0)) * len(own) / others
    return found


def floor(deviations: Floats, first: int, second: int, seed: int) -> float:
    """The 95% quantile, over random deals of like words into groups of `first` and `second`, of the largest shift; 0 without labels."""
    words = len(deviations)
    second = min(second, words - first)
    draw = np.random.default_rng(seed)
    order = draw.permuted(np.tile(np.arange(words), (DEALS, 1)), axis=1)
    shifts = deviations[order[:, :first]].mean(axis=1) - deviations[order[:, first : first + second]].mean(
        axis=1
    )
    return float(np.quantile(np.abs(shifts).max(axis=1, initial=0.0), FLOOR))


def _contrast(
    judge: Judge, wording: Wording, title: tuple[str, str, str], a: Indices, b: Indices, like: Alike
) -> Contrast:
    limit, coarse_limit = (floor(each, len(a), len(b), judge.seed) for each in (like.deviations, like.coarse))
    differ = wording.sets[:, a][:, :, None] != wording.sets[:, b][:, None, :]

    def shifts(
        names: Sequence[str], probabilities: Floats, decisions: Floats, limit: float
    ) -> tuple[Shift, ...]:
        moved = judge.means(probabilities[:, a].mean(axis=1) - probabilities[:, b].mean(axis=1))
        decided = judge.means(decisions[:, a].mean(axis=1) - decisions[:, b].mean(axis=1))
        return tuple(
            Shift(name, p, d, _clear(p, limit)) for name, p, d in zip(names, moved, decided, strict=True)
        )

    return Contrast(
        *title,
        templates=len(wording.sets),
        shifts=shifts(judge.labels.names, wording.probabilities, wording.decisions, limit),
        coarse=shifts(
            wording.coarse_names, wording.coarse_probabilities, wording.coarse_decisions, coarse_limit
        ),
        floor=limit,
        coarse_floor=coarse_limit,
        changed=judge.share(differ.mean(axis=(1, 2))),
        changed_alike=like.changed,
    )


def _clear(shift: Estimate, limit: float) -> bool:
    sure = shift.low is None or shift.high is None or shift.low > 0 or shift.high < 0
    return abs(shift.value) > limit + ROUNDING and sure


def _name_contrasts(material: Material, at: Indices) -> Iterator[tuple[str, str, str, Indices, Indices]]:
    """Gender, balanced over origins; then each origin against all others, balanced over gender."""
    for attribute in ("gender", "origin"):
        values = np.array([getattr(name, attribute) for name in material.names])
        groups = list(dict.fromkeys(values.tolist()))
        for group in groups[:1] if len(groups) == 2 else groups:
            rest = groups[1] if len(groups) == 2 else "all other names"
            yield f"names by {attribute}", group, rest, at[values == group], at[values != group]


def _placeholder(mark: str, kind: str, material: Material) -> Person:
    return Person.called(mark if kind == "names" else material.placeholder_frame.format(term=mark))


def _places(*sizes: int) -> list[Indices]:
    ends = np.cumsum(sizes)
    return [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
