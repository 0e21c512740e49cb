"""Metrics of multi-label and one-label predictions, batched over weightings of the texts. Imports numpy, errors.

Shapes: n texts, K labels, R weightings of the texts. `labels` are 0/1 (n, K), `probabilities` (n, K) in [0, 1],
`predicted` boolean (n, K), `weights` (n, R): how often each text counts in each of R samples (the bootstrap's
resamples; None is every text once). Definitions are scikit-learn's, a ratio over nothing being 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_LARGEST = 2**26  # weights of ranked entries held at a time, a byte or two each


class Counts(NamedTuple):
    """True positives, false positives and false negatives, each (..., K)."""

    tp: Floats
    fp: Floats
    fn: Floats

    @property
    def support(self) -> Floats:
        """Texts that have the label, (..., K)."""
        return self.tp + self.fn

    def pooled(self) -> Counts:
        """The same counts summed over the labels, each (...)."""
        return Counts(self.tp.sum(axis=-1), self.fp.sum(axis=-1), self.fn.sum(axis=-1))


class Scores(NamedTuple):
    """Precision, recall and F1, arrays of one shape."""

    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class Measures:
    """Every metric under R weightings: `summary` name -> (R,); `labels` name -> (R, K), nan where undefined."""

    summary: dict[str, Floats]
    labels: dict[str, Floats]


def as_labels(labels: ArrayLike) -> Bools:
    """0/1 labels as boolean (n, K). Raises DataError for no texts, another shape, or another value."""
    array = np.asarray(labels)
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"labels have the shape {array.shape}; expected one row a text, one column a label")
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        raise DataError("labels hold values other than 0 and 1; turn ratings into 0/1 labels first")
    return array.astype(bool)


def as_probabilities(probabilities: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Probabilities as float64 of `shape` (n, K). Raises DataError for another shape, nan, or values outside [0, 1]."""
    array = np.asarray(probabilities, dtype=np.float64)
    if array.shape != shape:
        raise DataError(
            f"probabilities have the shape {array.shape}, the labels {shape}; "
            "give a row for every text and a column for every label, in the label set's order"
        )
    bad = ~((array >= 0) & (array <= 1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"the probability of label {column + 1} for text {row + 1} is {array[row, column]}; "
            "probabilities lie between 0 and 1 (logits need a sigmoid first)"
        )
    return array


def decide(probabilities: ArrayLike, thresholds: ArrayLike, *, exclusive: bool = False) -> Bools:
    """Predicted labels, boolean (n, K): probability > threshold; with `exclusive` the likeliest label alone.

    thresholds: one number, or one a label (K,); not used when `exclusive`. Ties go to the first label.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    if not exclusive:
        return scores > np.asarray(thresholds, dtype=np.float64)
    predicted = np.zeros(scores.shape, dtype=bool)
    predicted[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return predicted


def count(labels: ArrayLike, predicted: ArrayLike, weights: NDArray | None = None) -> Counts:
    """Counts of each label: (K,) each, or (R, K) under `weights` (n, R), as one matrix product."""
    truth, said = np.asarray(labels, dtype=bool), np.asarray(predicted, dtype=bool)
    parts = (truth & said, ~truth & said, truth & ~said)
    if weights is None:
        tp, fp, fn = (part.sum(axis=0, dtype=np.float64) for part in parts)
        return Counts(tp, fp, fn)
    tp, fp, fn = np.split(_weighted_sums(np.hstack(parts), weights), 3, axis=1)
    return Counts(tp, fp, fn)


def scores(counts: Counts) -> Scores:
    """Precision, recall and F1 wherever counts are given, of their shape; 0 where there is nothing to divide by."""
    tp, fp, fn = counts
    return Scores(_ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn))


def averages(counts: Counts) -> dict[str, Floats]:
    """macro_, micro_ and weighted_ precision, recall and f1 of counts (..., K), each (...).

    macro: mean over the labels; micro: of the pooled counts; weighted: mean weighted by support.
    """
    each, pooled, support = scores(counts), scores(counts.pooled()), counts.support
    found = {}
    for name in Scores._fields:
        values = getattr(each, name)
        found[f"macro_{name}"] = values.mean(axis=-1)
        found[f"micro_{name}"] = getattr(pooled, name)
        found[f"weighted_{name}"] = _ratio((support * values).sum(axis=-1), support.sum(axis=-1))
    return found


class Ranking:
    """Texts ranked by one score, ready to be weighed: average precision and ROC AUC.

    Only the places where a positive stands matter, so the ranking is cut there once; a weighting then costs two
    sums over the cuts. Tied scores form one place, as in scikit-learn.

    labels, ranked: (m,) each; texts: (m,) which row of the weights each entry belongs to.
    """

    def __init__(self, labels: Bools, ranked: Floats, texts: NDArray[np.intp]) -> None:
        order = np.argsort(-ranked, kind="stable")
        truth, values = labels[order], ranked[order]
        new = np.r_[True, values[1:] != values[:-1]]
        tie = np.cumsum(new) - 1  # which group of equal scores an entry stands in
        holds = np.zeros(tie[-1] + 1, dtype=bool)
        holds[tie[truth]] = True
        firsts = np.flatnonzero(new)
        ends = np.r_[firsts[1:], len(values)]
        cuts = np.unique(np.r_[0, firsts[holds], ends[holds]])
        self._cuts = cuts[cuts < len(values)]
        self._places = np.searchsorted(self._cuts, firsts[holds])  # the segments that hold positives
        self._texts, self._positive_texts = texts[order], texts[order][truth]
        self._positive_cuts = np.searchsorted(np.flatnonzero(truth), firsts[holds])

    def scores(self, weights: NDArray) -> tuple[Floats, Floats]:
        """(average precision, ROC AUC), (R,) each under `weights` (n, R); nan where one is undefined."""
        if not len(self._positive_texts):
            return np.full(weights.shape[1], np.nan), np.full(weights.shape[1], np.nan)
        at_once = max(1, _LARGEST // len(self._texts))
        parts = [self._scores(weights[:, k : k + at_once]) for k in range(0, weights.shape[1], at_once)]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _scores(self, weights: NDArray) -> tuple[Floats, Floats]:
        everything = np.add.reduceat(weights[self._texts], self._cuts, axis=0, dtype=np.float64)
        positives = np.add.reduceat(
            weights[self._positive_texts], self._positive_cuts, axis=0, dtype=np.float64
        )
        reached = np.cumsum(everything, axis=0)  # (segments, R)
        true_reached = np.cumsum(positives, axis=0)
        total, negatives = true_reached[-1], reached[-1] - true_reached[-1]
        precision = _ratio(true_reached, reached[self._places])
        tied = everything[self._places] - positives
        below = negatives - (reached[self._places] - true_reached) + tied / 2
        with np.errstate(invalid="ignore"):
            return (
                (positives * precision).sum(axis=0) / total,
                (positives * below).sum(axis=0) / (total * negatives),
            )


class Measurement:
    """Labels beside predictions, ready to be measured under any weighting of the texts.

    labels: 0/1 (n, K); predicted: boolean (n, K); probabilities: (n, K), needed only for average precision and AUC.
    Raises DataError where the shapes or the values do not fit.
    """

    def __init__(
        self, labels: ArrayLike, predicted: ArrayLike, probabilities: ArrayLike | None = None
    ) -> None:
        self.truth = as_labels(labels)
        self.predicted = np.asarray(predicted, dtype=bool)
        if self.predicted.shape != self.truth.shape:
            raise DataError(
                f"predictions have the shape {self.predicted.shape}, the labels {self.truth.shape}"
            )
        self.texts = len(self.truth)
        self._exact = (self.truth == self.predicted).all(axis=1)
        self._rankings: list[Ranking] = []  # one a label, then all entries pooled
        if probabilities is not None:
            ranked = as_probabilities(probabilities, self.truth.shape)
            rows = np.arange(self.texts)
            self._rankings = [Ranking(t, r, rows) for t, r in zip(self.truth.T, ranked.T, strict=True)]
            pooled = np.repeat(rows, self.truth.shape[1])
            self._rankings.append(Ranking(self.truth.ravel(), ranked.ravel(), pooled))

    def measure(self, weights: NDArray | None = None) -> Measures:
        """Every metric under each of R weightings (n, R); None weighs every text once, R = 1.

        subset_accuracy is the share of texts with all labels right: plain accuracy where a text has one label.
        Average precision needs a positive, AUC both classes: nan otherwise, and such a label is left out of the macro mean.
        """
        if weights is None:
            weights = np.ones((self.texts, 1), dtype=np.uint8)
        counts = count(self.truth, self.predicted, weights)
        summary = averages(counts)
        exact = _weighted_sums(self._exact[:, None], weights)[:, 0]
        summary["subset_accuracy"] = exact / weights.sum(axis=0, dtype=np.float64)
        labels = dict(scores(counts)._asdict())
        if self._rankings:
            found = np.array([ranking.scores(weights) for ranking in self._rankings])  # (K + 1, 2, R)
            for metric, values in zip(
                ("average_precision", "roc_auc"), found.transpose(1, 2, 0), strict=True
            ):
                labels[metric] = values[:, :-1]
                summary[f"macro_{metric}"] = _defined_mean(values[:, :-1])
                summary[f"micro_{metric}"] = values[:, -1]
        return Measures(summary, labels)


class Reliability(NamedTuple):
    """Probabilities of each label in B equal bins of [0, 1]; each (K, B), the means nan in an empty bin."""

    texts: Floats  # how many fall into the bin
    predicted: Floats  # their mean probability
    observed: Floats  # the share that has the label


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> Reliability:
    """How often a label is there when the model says so with a given probability: the points of a reliability diagram."""
    truth = as_labels(labels)
    values = as_probabilities(probabilities, truth.shape)
    width = truth.shape[1]
    place = np.minimum((values * bins).astype(np.intp), bins - 1) + np.arange(width) * bins

    def total(weights: NDArray) -> Floats:
        sums = np.bincount(place.ravel(), weights.ravel().astype(np.float64), minlength=width * bins)
        return np.asarray(sums, dtype=np.float64).reshape(width, bins)

    texts: Floats = total(np.ones(truth.shape))
    with np.errstate(invalid="ignore"):
        return Reliability(texts, total(values) / texts, total(truth) / texts)


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> Floats:
    """Expected calibration error of each label, (K,): the mean gap between probability and observed share, bin by bin.

    Method: Naeini, Cooper, Hauskrecht, AAAI 2015, for each label as a binary problem.
    """
    texts, predicted, observed = reliability(labels, probabilities, bins)
    gap = np.where(texts > 0, np.abs(predicted - observed), 0.0)
    return (texts * gap).sum(axis=1) / texts.sum(axis=1)


def coarsen_probabilities(probabilities: ArrayLike, groups: ArrayLike, width: int) -> Floats:
    """Probabilities (n, K) -> (n, width): a coarse label is as likely as its likeliest child.

    groups: int (K,), the coarse position of each label (`LabelSet.groups`). A coarse label without children is at 0.
    """
    fine, columns = np.asarray(probabilities, dtype=np.float64), np.asarray(groups)
    coarse = np.zeros((len(fine), width))
    for position in range(width):
        if (children := columns == position).any():
            coarse[:, position] = fine[:, children].max(axis=1)
    return coarse


def coarsen_labels(labels: ArrayLike, groups: ArrayLike, width: int) -> NDArray[np.uint8]:
    """Labels (n, K) -> uint8 (n, width): a text has a coarse label where it has any of its children."""
    return coarsen_probabilities(labels, groups, width).astype(np.uint8)


def _weighted_sums(indicators: Bools, weights: NDArray) -> Floats:
    """(R, columns): indicators (n, columns) summed under each weighting. float32 counts exactly up to 2**24."""
    kind = np.float32 if len(indicators) < 2**24 else np.float64
    return (weights.astype(kind, copy=False).T @ indicators.astype(kind)).astype(np.float64)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def _defined_mean(values: Floats) -> Floats:
    """Mean over the last axis of what is not nan; nan where nothing is left."""
    defined = ~np.isnan(values)
    number = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)
