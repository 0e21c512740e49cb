"""What zero-shot is measured on: whole corpora a model never saw, and labels held out of its own. Imports methods, rows, evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emodef.corpora import Corpus
from emodef.corpora.held_out import only_labels
from emodef.errors import SettingsError
from emodef.evaluation import evaluate_probabilities
from emodef.predictor.head import sigmoid, softmax
from emodef.runs import fingerprint
from emodef.zeroshot.methods import NEED_BACKGROUND, Scorer, Scores, Task, log_odds
from emodef.zeroshot.rows import METRICS, Row, RowFile
from emodef.zeroshot.sources import Source

BACKGROUND = 2000  # training texts, without their labels, for policies that need some
RESAMPLES = 1000
SEEN, UNSEEN = "labels trained", "labels held out"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Data:
    """What a task is: its name, the texts with the labels to be scored, and unlabelled texts of another corpus."""

    task: str
    corpus: Corpus
    background: Sequence[str] = ()
    rate: float = 0.1


def background_texts(train: Corpus, count: int = BACKGROUND, seed: int = 0) -> list[str]:
    """Some training texts, the same ones every time."""
    chosen = np.random.default_rng(seed).permutation(len(train))[:count]
    return [train.texts[i] for i in np.sort(chosen)]


def held_out_data(
    source: Source, splits: Mapping[str, Corpus], run: str, split: str = "test"
) -> tuple[Data, Data]:
    """The labels that a source was trained on, and those held out of its training, each on all texts of a split.

    The expected share of a held-out label is the median of the trained ones'. Raises SettingsError where none was held out.
    """
    if missing := [name for name in ("train", split) if name not in splits]:
        raise SettingsError(
            f"{run}: its corpus has no split {missing[0]!r}, and held-out labels are scored on {split}"
        )
    test, train = splits[split], splits["train"]
    seen = source.label_set
    if seen is None or not set(seen.names) < set(test.label_set.names):
        raise SettingsError(
            f"{source.name} held no label of {test.name} out; train with held_out or held_out_draw"
        )
    unseen = [name for name in test.label_set.names if name not in seen.names]
    shares = only_labels(train, seen.names).labels.mean(axis=0)
    texts = background_texts(train)
    rate = float(np.median(shares))
    return (
        Data(f"{run}, {split}: {SEEN}", only_labels(test, seen.names), texts, rate),
        Data(f"{run}, {split}: {UNSEEN}", only_labels(test, unseen), texts, rate),
    )


def measure(source: Source, data: Data, file: RowFile, *, tell: Tell = lambda message: None) -> list[Row]:
    """Everything a source can do on a task that is not in the file yet, put there method by method."""
    corpus = data.corpus
    print_of = fingerprint({corpus.split: corpus}, (corpus.split,))
    file.asks(data.task, print_of)
    scorer = Scorer(source, Task(corpus.texts, corpus.label_set, data.background, data.rate))
    made: list[Row] = []
    methods = scorer.methods()
    if not methods:
        tell(
            f"{data.task}: left out for {source.name}, which cannot score it: it was trained with neither match nor cdp, and no table maps "
            "its labels to these"
        )
    for method, scoring in methods.items():
        needing = (
            NEED_BACKGROUND.get(method) if data.background else None
        )  # which was left out where there was none
        if file.has((data.task, print_of, source.weights, method), needing):
            continue
        began = time.monotonic()
        tell(f"{data.task}: {source.name}, {method}")
        scored = list(scoring())
        seconds = (time.monotonic() - began) / len(scored)
        rows = [measured(scores, source, data, print_of, seconds) for scores in scored]
        file.add(rows)
        made += rows
    return made


def measured(scores: Scores, source: Source, data: Data, print_of: str, seconds: float) -> Row:
    """One method's row. Where texts have one label, the likeliest is taken; else thresholds decide."""
    corpus = data.corpus
    exclusive = corpus.label_set.exclusive
    probabilities = softmax(scores.logits) if exclusive else sigmoid(scores.logits)
    thresholds: Any = 0.5 if scores.thresholds is None else scores.thresholds
    report = evaluate_probabilities(
        probabilities,
        corpus,
        thresholds=thresholds,
        levels=(),
        policy=None if exclusive else scores.policy,
        bootstrap=RESAMPLES,
    )
    each = {
        label.name: {
            "f1": _number(label.f1.value),
            "roc_auc": _number(label.roc_auc.value),
            "support": label.support,
        }
        for label in report.labels
    }
    return Row(
        task=data.task,
        data=print_of,
        model=source.name,
        weights=source.weights,
        method=scores.method,
        policy=scores.policy,
        texts=len(corpus),
        labels=list(corpus.label_set.names),
        measures={name: report.summary[name] for name in METRICS},
        each=each,
        seconds=round(seconds, 2),
    )


def own_labels(source: Source, data: Data, file: RowFile) -> list[Row]:
    """How a source does on labels it was trained on, with its own thresholds: what zero-shot is compared with."""
    corpus = data.corpus
    print_of = fingerprint({corpus.split: corpus}, (corpus.split,))
    file.asks(data.task, print_of)
    if file.has((data.task, print_of, source.weights, "trained")):
        return []
    assert source.label_set is not None
    began = time.monotonic()
    columns = [source.label_set.index(name) for name in corpus.label_set.names]
    found = source.probabilities(corpus.texts)[:, columns]
    thresholds = np.full(len(columns), source.fixed) if source.tuned is None else source.tuned[columns]
    scores = Scores("trained", "fixed" if source.tuned is None else "tuned", log_odds(found), thresholds)
    rows = [measured(scores, source, data, print_of, time.monotonic() - began)]
    file.add(rows)
    return rows


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)
