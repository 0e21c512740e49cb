"""Small changes to a text that should not matter, and negation, which should. Imports its siblings, bootstrap."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from emodef.bootstrap import Estimate
from emodef.probes.material import Material, Person
from emodef.probes.measures import Judge, decided_sets

VOWELS = "aeiou"
EMOJI = ("🙂", "😂", "😭", "❤️")


def _longest(text: str) -> str:
    return max(re.findall(r"[A-Za-z]+", text) or [""], key=len)


def swap_letters(text: str) -> str:
    """The longest word with two letters in its middle exchanged: a typo."""
    word = _longest(text)
    at = max(len(word) // 2 - 1, 0)
    return text.replace(word, word[:at] + word[at : at + 2][::-1] + word[at + 2 :], 1)


def drop_letter(text: str) -> str:
    """The longest word without its middle letter."""
    word = _longest(text)
    return text.replace(word, word[: len(word) // 2] + word[len(word) // 2 + 1 :], 1)


def repeat_letter(text: str) -> str:
    """The longest word with its last vowel four times."""
    word = _longest(text)
    last = max((word.lower().rfind(vowel) for vowel in VOWELS), default=-1)
    return text if last < 0 else text.replace(word, word[:last] + word[last] * 4 + word[last + 1 :], 1)


def bare_end(text: str) -> str:
    """Without the punctuation at the end."""
    return text.rstrip(".!?")


def add(text: str, mark: str) -> str:
    """With a mark at the end."""
    return f"{text} {mark}"


CHANGES: dict[str, Callable[[str], str]] = {
    "all lower case": str.lower,
    "ALL CAPITALS": str.upper,
    "no final punctuation": bare_end,
    "! at the end": lambda text: bare_end(text) + "!",
    "... at the end": lambda text: bare_end(text) + "...",
    "two letters exchanged": swap_letters,
    "a letter left out": drop_letter,
    "a letter repeated": repeat_letter,
    **{f"{emoji} added": partial(add, mark=emoji) for emoji in EMOJI},
}


@dataclass(frozen=True)
class Change:
    """A small change to the templates' sentences. changed: share whose decided labels differ; likeliest: whose likeliest label
    differs; lost: of those where the sentence's own label was found, the share where it no longer is; moved: mean over texts of
    the largest move of a label's probability."""

    change: str
    texts: int
    changed: Estimate
    likeliest: Estimate
    lost: Estimate
    moved: Estimate


@dataclass(frozen=True)
class Negation:
    """Sentences and their negations. found, kept: share where the sentence's label is decided in it, in its negation;
    said, denied: the label's mean probability in the two."""

    pairs: int
    found: Estimate
    kept: Estimate
    said: Estimate
    denied: Estimate


def change_probes(judge: Judge, material: Material) -> list[Change]:
    """Every change of CHANGES to the templates' sentences, about somebody unmarked."""
    person = Person.called(material.plain)
    texts = [template.fill(person) for template in material.templates]
    before = judge.probabilities(texts)
    decided = judge.decide(before)
    own = [
        (row, judge.labels.names.index(template.label))
        for row, template in enumerate(material.templates)
        if template.label in judge.labels.names
    ]
    found = [(row, column) for row, column in own if decided[row, column]]
    results = []
    for name, change in CHANGES.items():
        after = judge.probabilities([change(text) for text in texts])
        now = judge.decide(after)
        sets = decided_sets(np.stack([decided, now]))
        results.append(
            Change(
                name,
                len(texts),
                changed=judge.share(sets[0] != sets[1]),
                likeliest=judge.share(before.argmax(axis=1) != after.argmax(axis=1)),
                lost=judge.share([not now[row, column] for row, column in found]),
                moved=judge.share(abs(after - before).max(axis=1)),
            )
        )
    return results


def negation_probe(judge: Judge, material: Material) -> Negation | None:
    """How a label reacts to negation; None for a label set that has none of the labels."""
    pairs = [pair for pair in material.negations if pair[0] in judge.labels.names]
    if not pairs:
        return None
    columns = [judge.labels.names.index(label) for label, _, _ in pairs]
    rows = range(len(pairs))
    said = judge.probabilities([text for _, text, _ in pairs])
    denied = judge.probabilities([text for _, _, text in pairs])
    return Negation(
        len(pairs),
        found=judge.share(judge.decide(said)[rows, columns]),
        kept=judge.share(judge.decide(denied)[rows, columns]),
        said=judge.share(said[rows, columns]),
        denied=judge.share(denied[rows, columns]),
    )
