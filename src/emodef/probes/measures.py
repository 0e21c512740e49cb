"""What probes measure from probabilities: decisions, coarse labels, intervals. Imports metrics, bootstrap, labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.bootstrap import Estimate, interval, resample_weights
from emodef.labels import LabelSet
from emodef.metrics import Bools, Floats, as_probabilities, coarsen_labels, coarsen_probabilities, decide

PredictProba = Callable[[Sequence[str]], ArrayLike]
Thresholds = float | ArrayLike | None


class Judge:
    """A model as the probes see it: probabilities and decisions of texts, at its own labels and at its coarsest level.

    thresholds: a number, or one for each of the K labels; None takes the likeliest label (always so for an exclusive set).
    """

    def __init__(
        self, predict_proba: PredictProba, labels: LabelSet, thresholds: Thresholds, resamples: int, seed: int
    ) -> None:
        self.labels, self.resamples, self.seed = labels, resamples, seed
        self.texts = 0
        self._predict_proba = predict_proba
        self._thresholds = None if labels.exclusive else thresholds
        self.level = min(labels.coarse, key=lambda name: len(labels.coarse[name]), default=None)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities (n, K), checked."""
        self.texts += len(texts)
        return as_probabilities(self._predict_proba(texts), (len(texts), len(self.labels)))

    def decide(self, probabilities: Floats) -> Bools:
        """Predicted labels (n, K)."""
        given = self._thresholds
        return decide(probabilities, 0.0 if given is None else given, exclusive=given is None)

    def coarse(self, probabilities: Floats, predicted: Bools) -> tuple[tuple[str, ...], Floats, Floats]:
        """(names, probabilities (n, C), decisions 0/1 (n, C)) at the label set's coarsest level; C is 0 without one."""
        if self.level is None:
            return (), np.zeros((len(probabilities), 0)), np.zeros((len(probabilities), 0))
        coarse, groups = self.labels.groups(self.level)
        decided = coarsen_labels(predicted, groups, len(coarse)).astype(np.float64)
        return coarse.names, coarsen_probabilities(probabilities, groups, len(coarse)), decided

    def means(self, values: Floats) -> list[Estimate]:
        """Column means of (n, C) with percentile intervals: its rows are resampled."""
        return means(values, self.resamples, self.seed)

    def share(self, values: ArrayLike) -> Estimate:
        """The mean of one column of 0s and 1s, or of shares, with its interval; nan of nothing."""
        column = np.asarray(values, dtype=np.float64)
        return self.means(column[:, None])[0] if len(column) else Estimate(np.nan)


def means(values: Floats, resamples: int, seed: int, confidence: float = 0.95) -> list[Estimate]:
    """Mean of each column of (n, C) with the percentile interval of a bootstrap over rows; 0 resamples for none."""
    found = values.mean(axis=0)
    if not resamples:
        return [Estimate(float(value)) for value in found]
    drawn = [weights.T @ values for weights in _drawn(len(values), resamples, seed)]
    low, high = interval(np.concatenate(drawn) / len(values), confidence)
    return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(found, low, high, strict=True)]


@lru_cache(maxsize=8)
def _drawn(texts: int, resamples: int, seed: int) -> tuple[NDArray[np.unsignedinteger], ...]:
    """The samples of so many rows, drawn once for the hundreds of means of a card; a byte a row and sample."""
    return tuple(resample_weights(texts, resamples, seed))


def decided_sets(predicted: Bools) -> NDArray[np.intp]:
    """Decisions (..., K) -> a number (...) for each; the same where the same labels are decided."""
    rows = predicted.reshape(-1, predicted.shape[-1])
    numbers = np.unique(rows, axis=0, return_inverse=True)[1]
    return np.asarray(numbers).reshape(predicted.shape[:-1])


def plain(value: Any) -> Any:
    """Results as strict JSON: estimates become [value, low, high], numbers are rounded to five places, nan becomes null."""
    if isinstance(value, Estimate):
        return plain([value.value] if value.low is None else [value.value, value.low, value.high])
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {key: plain(getattr(value, key)) for key in value.__dataclass_fields__}
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, 5)
    return value
