"""Error analysis: where the model most confidently disagrees with the annotators, by pair of labels. Imports numpy, metrics, corpora.

The paper's Table V shows such texts: many predictions that count as errors are another reading of the text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.corpora import Corpus
from emodef.metrics import Bools, Floats, as_labels, as_probabilities, decide


@dataclass(frozen=True)
class Disagreement:
    """A text whose predicted labels are not the annotated ones.

    annotated, predicted: the pair of labels it shows, a missed one and a wrongly predicted one; None where the text has no such.
    confidence: -1 to 1, the wrong label's probability less the missed label's, a side that is None counting as 0: a label
        that was only missed says little of what the model is sure of, and comes last.
    probabilities: of every label that was annotated or predicted.
    """

    id: str
    text: str
    labels: tuple[str, ...]
    predictions: tuple[str, ...]
    annotated: str | None
    predicted: str | None
    confidence: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Pair:
    """How many texts miss `annotated` and are wrongly given `predicted`; None: nothing missed, nothing wrongly given."""

    annotated: str | None
    predicted: str | None
    texts: int


@dataclass(frozen=True)
class ErrorAnalysis:
    """Disagreements, most confident first; pairs, most frequent first; and counts of labels occurring together.

    names: the K labels. confusion: (K, K) texts that miss the row's label and are wrongly given the column's, and on
    the diagonal the label's true positives. annotated_together, predicted_together: (K, K) texts with both labels.
    """

    names: tuple[str, ...]
    disagreements: tuple[Disagreement, ...]
    pairs: tuple[Pair, ...]
    confusion: NDArray[np.int64]
    annotated_together: NDArray[np.int64]
    predicted_together: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """The whole analysis, JSON-able."""
        return {key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in asdict(self).items()}


def error_analysis(
    probabilities: ArrayLike,
    corpus: Corpus,
    *,
    thresholds: ArrayLike = 0.3,
    top: int = 20,
    each_pair: int = 1,
) -> ErrorAnalysis:
    """The `top` most confident disagreements with the annotators, each text once, at most `each_pair` of one label pair.

    probabilities: (n, K); thresholds: a number or (K,). A label set with one label a text takes the likeliest label.
    Raises DataError where shapes or values do not fit.
    """
    truth = as_labels(corpus.labels)
    values = as_probabilities(probabilities, truth.shape)
    predicted = decide(values, thresholds, exclusive=corpus.label_set.exclusive)
    missed, wrong = truth & ~predicted, predicted & ~truth
    number: Counter[tuple[int, int]] = Counter()
    candidates = []  # (confidence, text, (missed label, wrong label)); -1 is none
    for row in np.flatnonzero((missed | wrong).any(axis=1)):
        for pair in _pairs(missed[row], wrong[row]):
            number[pair] += 1
            candidates.append((_confidence(values[row], pair), int(row), pair))
    names = corpus.label_set.names
    lists = corpus.label_lists()

    def name(k: int) -> str | None:
        return None if k < 0 else names[k]

    chosen = [
        Disagreement(
            id=corpus.ids[row],
            text=corpus.texts[row],
            labels=tuple(lists[row]),
            predictions=tuple(names[k] for k in np.flatnonzero(predicted[row])),
            annotated=name(pair[0]),
            predicted=name(pair[1]),
            confidence=confidence,
            probabilities={
                names[k]: float(values[row, k]) for k in np.flatnonzero(truth[row] | predicted[row])
            },
        )
        for confidence, row, pair in _spread(candidates, top, each_pair)
    ]
    ranked = sorted(number.items(), key=lambda item: (-item[1], item[0]))
    confusion = _together(missed, wrong)
    np.fill_diagonal(confusion, (truth & predicted).sum(axis=0))
    return ErrorAnalysis(
        names=names,
        disagreements=tuple(chosen),
        pairs=tuple(Pair(name(a), name(b), texts) for (a, b), texts in ranked),
        confusion=confusion,
        annotated_together=_together(truth, truth),
        predicted_together=_together(predicted, predicted),
    )


def _pairs(missed: Bools, wrong: Bools) -> list[tuple[int, int]]:
    """Every (missed, wrong) pair of one text's labels (K,), with -1 where there is none of the one kind."""
    first = [int(k) for k in np.flatnonzero(missed)] or [-1]
    second = [int(k) for k in np.flatnonzero(wrong)] or [-1]
    return [(a, b) for a in first for b in second]


def _confidence(probabilities: Floats, pair: tuple[int, int]) -> float:
    missed, wrong = (float(probabilities[k]) if k >= 0 else 0.0 for k in pair)
    return wrong - missed


def _spread(
    candidates: list[tuple[float, int, tuple[int, int]]], top: int, each_pair: int
) -> list[tuple[float, int, tuple[int, int]]]:
    """The most confident candidates, each text once and each pair at most `each_pair` times."""
    texts: set[int] = set()
    shown: defaultdict[tuple[int, int], int] = defaultdict(int)
    chosen: list[tuple[float, int, tuple[int, int]]] = []
    for candidate in sorted(candidates, key=lambda c: (-c[0], c[1], c[2])):
        _, row, pair = candidate
        if len(chosen) == top:
            break
        if row not in texts and shown[pair] < each_pair:
            texts.add(row)
            shown[pair] += 1
            chosen.append(candidate)
    return chosen


def _together(first: Bools, second: Bools) -> NDArray[np.int64]:
    return first.astype(np.int64).T @ second.astype(np.int64)
