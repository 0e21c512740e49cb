"""Definitions that a model may take for each other, or learn nothing from; and with labelled texts, labels it confuses. Imports predictor.

Nothing here changes a label: findings say what to look at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emodef.corpora import Corpus
from emodef.corpora.held_out import only_labels
from emodef.definitions import Definitions
from emodef.errors import DataError
from emodef.metrics import Measurement, decide
from emodef.predictor import Predictor
from emodef.predictor.decisions import resolve_thresholds
from emodef.predictor.own import encode
from emodef.similarity import Pair, cosines, pairs

LEAST_WORDS = 3  # of a definition
SHOWN = 5  # pairs
CONFUSED = 0.25  # of a label's texts, from which on a label that stands before it is worth a finding
LEAST_TEXTS = 3  # of a label, for a finding about it
STEM = 4  # letters that two words must share to be forms of one
# pieces that a model's tokenizer makes of a word: 1.0 to 1.2 in English definitions, 2 or more in languages that it was not made for
PIECES, LETTERS, UNKNOWN = 1.6, 3.0, 0.2
_UNKNOWN_TOKENS = ("[UNK]", "<unk>")
# a letter of Japanese, Chinese or Thai, which are written without blanks, counts as a word
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\d_]+(?:['’][^\W\d_]+)?")
_LETTERS = re.compile(r"[^\W\d_]+")
_NOTHING = """
a an the of or and to in on for with by at from as is are be being been was were am it its this that one someone something somebody who
which what when where feel feels feeling feelings felt emotion emotions emotional state mood sense sensation experience experiencing
having has have very strong express expresses expressing show shows showing
"""
_EMPTY = frozenset(_NOTHING.split())  # words that say nothing of a label


@dataclass(frozen=True)
class Finding:
    """One thing to look at. labels: whose; message: in words.

    kind: "empty", "short", "circular", "long", "language", "similar", "confused".
    """

    kind: str
    labels: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Confusion:
    """Of `texts` texts with the label `label` and without `instead`, `share` have a higher score for `instead`."""

    label: str
    instead: str
    share: float
    texts: int


@dataclass(frozen=True)
class OnData:
    """Labels against labelled texts. auc: of each label, None where texts with it or without it are missing; macro_f1 at `thresholds`."""

    texts: int
    support: dict[str, int]
    auc: dict[str, float | None]
    macro_f1: float
    confusions: tuple[Confusion, ...]


@dataclass(frozen=True)
class Check:
    """All that was found. similar: pairs of the labels, the most similar first; known: the same of the labels the model was trained on."""

    findings: tuple[Finding, ...]
    similar: tuple[Pair, ...] = ()
    known: tuple[Pair, ...] = ()
    data: OnData | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "similar": [pair._asdict() for pair in self.similar],
            "known_similar": [pair._asdict() for pair in self.known],
            "data": None if self.data is None else asdict(self.data),
        }


def check(
    definitions: Definitions, predictor: Predictor | None = None, corpus: Corpus | None = None
) -> Check:
    """What is to be said of labels: of their words alone, and with a matching model of what these mean to it.

    corpus: texts labelled with these labels, for `OnData`; needs a predictor. Raises what `Predictor.with_labels` raises.
    """
    findings = of_words(definitions)
    if predictor is None:
        return Check(tuple(findings))
    root = predictor.root
    own = predictor.with_labels(definitions)
    findings += _too_long(definitions, root) + _foreign(definitions, root)
    known = Definitions.of(root.label_set)
    similar = pairs(definitions.names, cosines(encode(root, definitions)))
    similar_known = pairs(known.names, cosines(encode(root, known)))
    findings += _near_duplicates(similar, similar_known, definitions.label_set == root.label_set)
    data = None
    if corpus is not None:
        data = on_data(own, corpus)
        findings += _confused(data)
    return Check(tuple(findings), tuple(similar[:SHOWN]), tuple(similar_known[:SHOWN]), data)


def of_words(definitions: Definitions) -> list[Finding]:
    """Definitions of too few words, or that say nothing but their label's name."""
    found = []
    for name, written in zip(definitions.names, definitions.definitions, strict=True):
        for text in written:
            words = _WORD.findall(text)
            if _is_empty(words):
                found.append(
                    Finding("empty", (name,), f"{name}: {text!r} says nothing of what it is; say what it is like, or when one feels it")
                )  # fmt: skip
            elif _only_repeats(name, words):
                found.append(
                    Finding(
                        "circular", (name,), f"{name}: {text!r} only repeats the name; say what it is like, or when one feels it"
                    )
                )  # fmt: skip
            elif len(words) < LEAST_WORDS and any(len(_WORD.findall(t)) < LEAST_WORDS for t in written):
                found.append(
                    Finding(
                        "short", (name,), f"{name}: {text!r} is short; a line of {LEAST_WORDS} words or more says more to the model"
                    )
                )  # fmt: skip
    return found


def on_data(predictor: Predictor, corpus: Corpus) -> OnData:
    """Scores of a predictor on texts labelled with its labels. Raises DataError where the labels differ."""
    names = predictor.label_set.names
    if set(corpus.label_set.names) != set(names):
        raise DataError(
            f"{corpus.name} is labelled with {', '.join(corpus.label_set.names)}, not with {', '.join(names)}"
        )
    truth = only_labels(corpus, names).labels.astype(bool)  # a published corpus has an order of its own
    values = predictor.predict_proba(corpus.texts)
    thresholds = resolve_thresholds(None, None, predictor.info)
    chosen = decide(values, 0.0 if thresholds is None else thresholds, exclusive=thresholds is None)
    measured = Measurement(truth, chosen, values).measure()
    confusions = []
    for a, b in np.ndindex(len(names), len(names)):
        rows = truth[:, a] & ~truth[:, b]
        if a != b and rows.any():
            above = float((values[rows, b] > values[rows, a]).mean())
            confusions.append(Confusion(names[a], names[b], above, int(rows.sum())))
    areas = measured.labels["roc_auc"][0].tolist()
    return OnData(
        len(corpus.texts),
        {name: int(n) for name, n in zip(names, truth.sum(axis=0), strict=True)},
        {name: None if np.isnan(area) else area for name, area in zip(names, areas, strict=True)},
        float(measured.summary["macro_f1"][0]),
        tuple(sorted(confusions, key=lambda c: (-c.share * c.texts, c.label, c.instead))),
    )


def _only_repeats(name: str, words: Sequence[str]) -> bool:
    own = [word.casefold() for word in _WORD.findall(name)]
    told = [word.casefold() for word in words if word.casefold() not in _EMPTY]
    return bool(told) and all(any(_same_stem(word, each) for each in own) for word in told)


def _is_empty(words: Sequence[str]) -> bool:
    return all(word.casefold() in _EMPTY for word in words)


def _same_stem(first: str, second: str) -> bool:
    """Whether one word begins with the other (sad, sadness), or both with the same letters but for their ends (weary, weariness)."""
    short, long = sorted((first, second), key=len)
    if long.startswith(short):
        return len(short) >= STEM - 1 or short == long
    shared = next(i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b)
    return shared >= max(STEM, len(short) - 2)


def _too_long(definitions: Definitions, root: Predictor) -> list[Finding]:
    found = []
    for k, name in enumerate(definitions.names):
        texts = [*definitions.definitions[k], *definitions.examples[k]]
        longest = int(root.encoder.tokenize(texts).lengths.max())
        if longest > root.room:
            message = f"{name}: a definition or example has {longest} tokens, and is read in windows of {root.room}; make it shorter"
            found.append(Finding("long", (name,), message))
    return found


def _foreign(definitions: Definitions, root: Predictor) -> list[Finding]:
    found = {
        name: text
        for name, written in zip(definitions.names, definitions.definitions, strict=True)
        for text in written
        if _is_foreign(text, root)
    }
    if not found:
        return []
    name, text = next(iter(found.items()))
    others = "" if len(found) == 1 else f", and {len(found) - 1} more"
    message = (
        f"{name}{others}: the model hardly knows the words of {text!r}; definitions, and texts, are read in the language that a model "
        "learned, which for the one that emodef brings is English"
    )
    return [Finding("language", tuple(found), message)]


def _is_foreign(text: str, root: Predictor) -> bool:
    """Whether the tokenizer finds few of its words in a text: many short pieces, or many that it does not have at all."""
    words = _LETTERS.findall(text)
    if len(_WORD.findall(text)) < LEAST_WORDS:  # one rare word is not a language
        return False
    tokenizer = root.encoder.tokenizer
    ids = root.encoder.tokenize([" ".join(words)])[0].tolist()
    unknown = sum(ids.count(tokenizer.token_to_id(token)) for token in _UNKNOWN_TOKENS)
    letters = sum(map(len, words))
    return (len(ids) > PIECES * len(words) and letters < LETTERS * len(ids)) or unknown > UNKNOWN * len(ids)


def _near_duplicates(similar: Sequence[Pair], known: Sequence[Pair], same: bool) -> list[Finding]:
    if same or not known:
        return []
    most = known[0]
    return [
        Finding(
            "similar",
            (pair.first, pair.second),
            f"{pair.first} and {pair.second} mean much the same to the model: similarity {pair.cosine:.2f}; of the labels it was trained "
            f"on the most similar, {most.first} and {most.second}, have {most.cosine:.2f}. Say what tells them apart, or make them one",
        )
        for pair in similar
        if pair.cosine > most.cosine
    ]


def _confused(data: OnData) -> list[Finding]:
    return [
        Finding(
            "confused",
            (each.label, each.instead),
            f"{each.label}: in {each.share:.0%} of its {each.texts} texts {each.instead} scores higher; say what tells them apart, or add "
            "examples",
        )
        for each in data.confusions
        if each.share >= CONFUSED and each.texts >= LEAST_TEXTS
    ]
