"""Per-label calibration: a logistic curve on the log-odds of each probability, from a dev split. Imports numpy, metrics, errors.

Method: Platt (1999), p' = sigmoid(slope * logit(p) + intercept) for each label. A label with three examples has no curve
of its own to speak of, so each label's fit is drawn towards the one curve that is best for all labels together (a Gaussian
prior around it, in slope and intercept); how strongly is chosen by cross-validation inside the dev split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.errors import DataError
from emodef.metrics import Bools, Floats, as_labels, as_probabilities, calibration_error

STRENGTHS = (
    1.0,
    3.0,
    10.0,
    30.0,
    100.0,
    300.0,
    1000.0,
)  # of the prior around the pooled curve, to choose among
FOLDS = 5
CLOSEST = 1e-6  # to 0 and 1: log-odds of exactly 0 or 1 would be infinite
STEPS = 100  # of Newton's method at most
FLATTEST = (
    0.05  # a smaller slope, or one that turns the ranking round, is noise: such a label gets the pooled curve
)


@dataclass(frozen=True)
class Calibration:
    """A curve for each label, and what it is worth: mean calibration error over the labels, on texts not fitted on.

    slope, intercept: one number a label. texts: of the dev split. error_before, error_after: without and with the curves,
    the latter cross-validated.
    """

    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    texts: int
    error_before: float
    error_after: float

    def apply(self, probabilities: ArrayLike) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 (n, K), of raw ones (n, K); each label's ranking stays as it was."""
        return _curve(np.array([self.slope, self.intercept]), log_odds(probabilities)).astype(np.float32)


def fit(
    labels: ArrayLike, probabilities: ArrayLike, *, strength: float | None = None, seed: int = 0
) -> Calibration:
    """Fit a curve for each label; see the module's text. The same input and seed give the same curves.

    labels: 0/1 (n, K) of a dev split; probabilities: (n, K). strength: of the prior; by default chosen among `STRENGTHS`
    by the likelihood of held-out texts. Raises DataError for input that does not fit, or fewer texts than folds.
    """
    truth = as_labels(labels)
    values = as_probabilities(probabilities, truth.shape)
    if len(truth) < FOLDS:
        raise DataError(f"{len(truth)} texts are too few to calibrate on; give at least {FOLDS}")
    odds = log_odds(values)
    fold = np.random.default_rng(seed).permutation(len(truth)) % FOLDS
    candidates = STRENGTHS if strength is None else (strength,)
    held_out = np.stack([_held_out(truth, odds, fold, each) for each in candidates])
    best = int(np.argmin([_surprise(truth, each) for each in held_out]))
    slope, intercept = _fit(truth, odds, candidates[best])
    return Calibration(
        tuple(slope.tolist()),
        tuple(intercept.tolist()),
        len(truth),
        float(calibration_error(truth, values).mean()),
        float(calibration_error(truth, held_out[best]).mean()),
    )


def log_odds(probabilities: ArrayLike) -> Floats:
    """Log-odds of probabilities, float64 of their shape; those within 1e-6 of 0 or 1 count as that far from it."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), CLOSEST, 1 - CLOSEST)
    return np.log(p) - np.log1p(-p)


def _held_out(truth: Bools, odds: Floats, fold: NDArray, strength: float) -> Floats:
    """Calibrated probabilities (n, K), each text's by curves fitted without its fold."""
    found = np.empty(odds.shape)
    for held in range(FOLDS):
        out = fold == held
        found[out] = _curve(_fit(truth[~out], odds[~out], strength), odds[out])
    return found


def _fit(truth: Bools, odds: Floats, strength: float) -> Floats:
    """Slopes and intercepts, (2, K)."""
    # the pooled curve's own prior, around no change at all, only matters where nothing else decides
    pooled = _newton(truth.reshape(-1, 1), odds.reshape(-1, 1), np.array([[1.0], [0.0]]), 0.1)
    pooled = np.where(pooled[0] > 0, pooled, [[1.0], [0.0]])  # one that turns rankings round is no curve
    start = np.repeat(pooled, truth.shape[1], axis=1)
    curves = _newton(truth, odds, start, strength)
    return np.where(curves[0] < FLATTEST, start, curves)


def _newton(truth: Bools, odds: Floats, prior: Floats, strength: float) -> Floats:
    """The most probable (slope, intercept) of each column, (2, K), under a Gaussian prior around `prior`."""
    curves = prior.copy()
    for _ in range(STEPS):
        p = _curve(curves, odds)
        wrong, weight = p - truth, p * (1 - p)
        gradient = np.stack([(wrong * odds).sum(0), wrong.sum(0)]) + strength * (curves - prior)
        # the 2 × 2 second derivatives [[a, b], [b, c]] of each column
        a, b, c = (weight * odds**2).sum(0) + strength, (weight * odds).sum(0), weight.sum(0) + strength
        step = np.stack([c * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / (
            a * c - b * b
        )
        curves = curves - np.clip(step, -1, 1)  # Newton's method may overshoot far from the end
        if np.abs(step).max() < 1e-10:
            break
    return curves


def _curve(curves: Floats, odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(curves[0] * odds + curves[1], -700, 700)))


def _surprise(truth: Bools, probabilities: Floats) -> float:
    """Mean negative log-likelihood."""
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-np.log(np.where(truth, p, 1 - p)).mean())
