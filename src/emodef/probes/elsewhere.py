"""Other languages, other kinds of text, other corpora than the training one. Imports its siblings, corpora, metrics, bootstrap."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

import numpy as np

from emodef.bootstrap import Estimate, estimate
from emodef.corpora import load_corpus
from emodef.errors import DataError
from emodef.metrics import Measurement, coarsen_probabilities, decide
from emodef.probes import material as files
from emodef.probes.material import Material
from emodef.probes.measures import Judge


@dataclass(frozen=True)
class Language:
    """The same sentences in one language. found: share where the meant label is decided; same: where the likeliest label is the
    English version's; nothing: where no label is decided; neutral: where the neutral one is."""

    language: str
    sentences: int
    found: Estimate
    same: Estimate
    nothing: Estimate
    neutral: Estimate


@dataclass(frozen=True)
class DomainResult:
    """Texts of one kind. emotion: share with a label decided other than the neutral one; nothing: share with none at all;
    emotions: the labels decided most often, with their numbers."""

    domain: str
    texts: int
    emotion: Estimate
    nothing: Estimate
    emotions: tuple[tuple[str, int], ...]
    expected: str


@dataclass(frozen=True)
class CorpusResult:
    """Another corpus, its labels read off the model's by a mapping written by hand; the likeliest is the answer.

    commonest: the accuracy of always answering with the corpus's most frequent label. f1: of each label.
    """

    corpus: str
    split: str
    texts: int
    labels: int
    accuracy: Estimate
    macro_f1: Estimate
    commonest: float
    f1: tuple[tuple[str, Estimate], ...]


def language_probes(judge: Judge, material: Material) -> list[Language]:
    """English first, then every other language; empty for a label set that has none of the labels."""
    names = judge.labels.names
    sentences = [(label, texts) for label, texts in material.sentences if label in names]
    if not sentences:
        return []
    rows, columns = range(len(sentences)), [names.index(label) for label, _ in sentences]
    neutral = names.index(material.neutral_label) if material.neutral_label in names else None
    english = judge.probabilities([texts["en"] for _, texts in sentences]).argmax(axis=1)
    results = []
    for code, language in {"en": "English", **material.languages}.items():
        values = judge.probabilities([texts[code] for _, texts in sentences])
        decided = judge.decide(values)
        results.append(
            Language(
                language,
                len(sentences),
                found=judge.share(decided[rows, columns]),
                same=judge.share(values.argmax(axis=1) == english),
                nothing=judge.share(~decided.any(axis=1)),
                neutral=judge.share([] if neutral is None else decided[:, neutral]),
            )
        )
    return results


def domain_probes(judge: Judge, material: Material) -> list[DomainResult]:
    """Texts of other kinds; empty for a label set without the neutral label."""
    names = judge.labels.names
    if material.neutral_label not in names:
        return []
    results = []
    for name, domain in material.domains.items():
        decided = judge.decide(judge.probabilities(domain.texts))
        emotions = decided.copy()
        emotions[:, names.index(material.neutral_label)] = False
        counts = Counter({label: int(n) for label, n in zip(names, emotions.sum(axis=0), strict=True) if n})
        results.append(
            DomainResult(
                name,
                len(domain.texts),
                emotion=judge.share(emotions.any(axis=1)),
                nothing=judge.share(~decided.any(axis=1)),
                emotions=tuple(counts.most_common(3)),
                expected=domain.expected,
            )
        )
    return results


def corpus_probes(
    judge: Judge, material: Material, data_dir: str | os.PathLike[str] | None
) -> tuple[list[CorpusResult], list[str]]:
    """The corpora that are at hand, and a note on each that is not."""
    results, notes = [], []
    for name, mapping in material.corpora.items():
        wanted = {label for own in mapping.labels.values() for label in own}
        if not wanted <= set(judge.labels.names):
            notes.append(f"{name}: not measured, the model's labels are not the mapping's")
            continue
        try:
            results.append(_measure(judge, name, mapping, data_dir))
        except DataError:  # its text has the path of some machine, which is no business of a card
            notes.append(
                f"{name}: not measured, its files are not to be had (emodef data show {name} says why)"
            )
    return results, notes


def _measure(
    judge: Judge, name: str, mapping: files.Corpus, data_dir: str | os.PathLike[str] | None
) -> CorpusResult:
    corpus = load_corpus(name, data_dir=data_dir, on_error="skip")[mapping.split]
    own = judge.labels.names
    columns = [own.index(label) for target in corpus.label_set.names for label in mapping.labels[target]]
    groups = [k for k, target in enumerate(corpus.label_set.names) for _ in mapping.labels[target]]
    values = coarsen_probabilities(
        judge.probabilities(corpus.texts)[:, columns], np.array(groups), len(corpus.label_set)
    )
    measurement = Measurement(corpus.labels, decide(values, 0.0, exclusive=True))
    summary, each = estimate(measurement, resamples=judge.resamples, seed=judge.seed)
    return CorpusResult(
        name,
        corpus.split,
        len(corpus),
        len(corpus.label_set),
        accuracy=summary["subset_accuracy"],
        macro_f1=summary["macro_f1"],
        commonest=float(corpus.labels.mean(axis=0).max()),
        f1=tuple(zip(corpus.label_set.names, each["f1"], strict=True)),
    )
