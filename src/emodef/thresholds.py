"""Per-label decision thresholds from a dev split, made so that a label with six examples is not overfitted. Imports numpy, metrics, errors.

The F1 curve of a rare label jumps with every example, and its highest point on dev is mostly luck. "shrunk", the default:

1. F1 of each label at 161 candidate thresholds, evenly spaced in log-odds, smoothed by a Gaussian along the log-odds;
2. the best candidate on each of 100 resamples of the dev texts, and their mean log-odds ("bagging");
3. that mean drawn towards the one threshold that is best for all labels together: a label with s examples on dev
   keeps s / (s + 5) of its own.

`cross_validate` compares the methods inside the dev split, so that choosing one never looks at test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.errors import DataError, SettingsError
from emodef.metrics import (
    Bools,
    Counts,
    Floats,
    as_labels,
    as_probabilities,
    averages,
    count,
    decide,
    scores,
)

LOG_ODDS = np.linspace(-8.0, 8.0, 161)  # the candidates; step 0.1
CANDIDATES = 1 / (1 + np.exp(-LOG_ODDS))
SMOOTHING = 0.3  # standard deviation of the Gaussian, in log-odds
RESAMPLES = 100
PRIOR = 5.0  # how many examples of its own outweigh what the other labels say


class Bins(NamedTuple):
    """How many texts without and with each label have a probability between two neighbouring candidates, (..., K, 162)."""

    negatives: Floats
    positives: Floats

    def f1(self) -> Floats:
        """F1 of each label at each candidate, (..., K, 161)."""
        found = self.positives.sum(axis=-1, keepdims=True)
        tp, fp = _above(self.positives), _above(self.negatives)
        return scores(Counts(tp, fp, found - tp)).f1

    def resampled(self, resamples: int, seed: int) -> Bins:
        """Bootstrap resamples (resamples, K, 162) of each label's texts, by independent Poisson counts."""
        draw = np.random.default_rng(seed)
        size = (resamples, *self.positives.shape)
        return Bins(
            draw.poisson(self.negatives, size).astype(float), draw.poisson(self.positives, size).astype(float)
        )


def tune_thresholds(
    labels: ArrayLike, probabilities: ArrayLike, *, method: str = "shrunk", seed: int = 0
) -> Floats:
    """A threshold for each label, float64 (K,), that makes macro-F1 high on texts like these; see the module's text.

    labels: 0/1 (n, K) of a dev split; probabilities: (n, K). The same input and seed give the same thresholds.
    method: "shrunk"; or, to compare with, "bagged" (step 1 and 2 only), "argmax" (highest point of each label's own
    F1 curve on dev) and "global" (one threshold for all). A label that dev does not have gets the global threshold.
    Raises SettingsError for an unknown method, DataError for input that does not fit.
    """
    if method not in METHODS:
        raise SettingsError(f"no method {method!r} of tuning thresholds; there are {', '.join(METHODS)}")
    truth = as_labels(labels)
    if not truth.any():
        raise DataError("no text of the dev split has a label; thresholds need labelled texts")
    bins = fill_bins(truth, as_probabilities(probabilities, truth.shape))
    return _sigmoid(METHODS[method](bins, seed))


def cross_validate(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    methods: Sequence[str] | None = None,
    folds: int = 5,
    repeats: int = 10,
    seed: int = 0,
) -> dict[str, Floats]:
    """Macro-F1 of each method on texts it was not tuned on: method -> (repeats,).

    Each repeat deals the texts into `folds`, tunes on all but one, decides in that one, and counts over all the texts.
    The folds of a repeat are the same for every method.
    """
    truth = as_labels(labels)
    values = as_probabilities(probabilities, truth.shape)
    draw = np.random.default_rng(seed)
    deals = [draw.permutation(len(truth)) % folds for _ in range(repeats)]

    def macro_f1(method: str, fold: NDArray[np.int64]) -> float:
        predicted = np.zeros(truth.shape, dtype=bool)
        for held in range(folds):
            out = fold == held
            if not truth[~out].any():  # nothing to tune on: nothing is predicted in this part
                continue
            tuned = tune_thresholds(truth[~out], values[~out], method=method, seed=seed)
            predicted[out] = decide(values[out], tuned)
        return float(averages(count(truth, predicted))["macro_f1"])

    return {
        method: np.array([macro_f1(method, fold) for fold in deals]) for method in (methods or list(METHODS))
    }


def fill_bins(labels: Bools, probabilities: Floats) -> Bins:
    """Sort the probabilities (n, K) into the bins between the candidates: all that tuning needs to know."""
    width, bins = labels.shape[1], len(CANDIDATES) + 1
    # a probability lies above (predicted at) every candidate that is smaller
    place = np.searchsorted(CANDIDATES, probabilities) + np.arange(width) * bins

    def tally(which: Bools) -> Floats:
        return np.bincount(place[which], minlength=width * bins).reshape(width, bins).astype(float)

    return Bins(tally(~labels), tally(labels))


def _argmax(bins: Bins, seed: int) -> Floats:
    best = LOG_ODDS[_middle_of_best(bins.f1())]
    return np.where(_support(bins) > 0, best, _global(bins, seed))


def _global(bins: Bins, seed: int) -> Floats:
    macro = _smooth(bins.resampled(RESAMPLES, seed).f1()[:, _support(bins) > 0].mean(axis=1))
    return np.full(len(bins.positives), LOG_ODDS[_middle_of_best(macro)].mean())


def _bagged(bins: Bins, seed: int) -> Floats:
    drawn = bins.resampled(RESAMPLES, seed)
    best = LOG_ODDS[_middle_of_best(_smooth(drawn.f1()))]
    # a resample without the label says nothing about it
    return np.where(_support(drawn) > 0, best, _global(bins, seed)).mean(axis=0)


def _shrunk(bins: Bins, seed: int) -> Floats:
    own = _support(bins) / (_support(bins) + PRIOR)
    return own * _bagged(bins, seed) + (1 - own) * _global(bins, seed)


# each takes the dev split's bins and a seed, and gives log-odds (K,)
METHODS: dict[str, Callable[[Bins, int], Floats]] = {
    "shrunk": _shrunk,
    "bagged": _bagged,
    "argmax": _argmax,
    "global": _global,
}


def _support(bins: Bins) -> Floats:
    return bins.positives.sum(axis=-1)


def _above(counts: Floats) -> Floats:
    """Counts in bins (..., B + 1) -> how many lie above each of the B candidates."""
    return np.flip(np.cumsum(np.flip(counts, axis=-1), axis=-1), axis=-1)[..., 1:]


def _smooth(curves: Floats) -> Floats:
    """Curves (..., candidates) under a Gaussian window, renormalised at the two ends."""
    window = np.exp(-0.5 * ((LOG_ODDS[:, None] - LOG_ODDS) / SMOOTHING) ** 2)
    return curves @ (window / window.sum(axis=1, keepdims=True)).T


def _middle_of_best(curves: Floats) -> NDArray[np.intp]:
    """Position of the highest value, (...); of several equal ones the middle, which is furthest from any step."""
    best = curves >= curves.max(axis=-1, keepdims=True) - 1e-12
    passed = np.cumsum(best, axis=-1)
    return np.asarray((passed >= (passed[..., -1:] + 1) // 2).argmax(axis=-1))


def _sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))
