"""Bootstrap over texts: intervals of every metric, paired comparisons, Holm's correction. Imports numpy, metrics, errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.errors import SettingsError
from emodef.metrics import Floats, Measurement, Measures

_BLOCK = 64  # resamples at a time: bounds memory, and fixes what a seed draws


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval; None where it has none, nan where it is undefined."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mean(Estimate):
    """A mean over `n` seeds, with their standard deviation (ddof 1; None for one seed)."""

    std: float | None = None
    n: int = 1


@dataclass(frozen=True)
class Difference:
    """What the second of two predictions gains over the first on the same texts, with its two-sided p-value."""

    first: float
    second: float
    gain: Estimate
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Two predictions compared: each summary metric by name, and the F1 of each label."""

    summary: dict[str, Difference]
    label_f1: tuple[Difference, ...]


def resample_weights(texts: int, resamples: int, seed: int) -> Iterator[NDArray[np.unsignedinteger]]:
    """Draw `resamples` samples of n texts with replacement, as blocks (n, up to 64) of how often each text is drawn.

    The same (n, resamples, seed) gives the same draws, so that two predictions can be compared on them.
    Raises SettingsError if `resamples` is not positive.
    """
    if resamples < 1:
        raise SettingsError(f"{resamples} resamples give no interval; take 1000 or so, or none at all")
    draw = np.random.default_rng(seed)
    for start in range(0, resamples, _BLOCK):
        block = min(_BLOCK, resamples - start)
        drawn = draw.integers(texts, size=(block, texts)) * block + np.arange(block)[:, None]
        times = np.bincount(drawn.ravel(), minlength=texts * block).reshape(texts, block)
        yield times.astype(
            np.min_scalar_type(times.max())
        )  # a byte each: summing a ranking is bound by memory


def bootstrap(measurement: Measurement, resamples: int = 1000, seed: int = 0) -> Measures:
    """Every metric of `measurement` on each resample of its texts: `summary` (R,), `labels` (R, K).

    A label that a resample happens to miss has precision, recall and F1 of 0 in it, as on any data without the label.
    """
    parts = [measurement.measure(w) for w in resample_weights(measurement.texts, resamples, seed)]
    return Measures(
        {name: np.concatenate([part.summary[name] for part in parts]) for name in parts[0].summary},
        {name: np.concatenate([part.labels[name] for part in parts]) for name in parts[0].labels},
    )


def interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats]:
    """Percentile interval over the first axis of resampled values (R, ...), nan left out: (low, high), each (...).

    Method: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. nan where no value is defined.
    """
    if not 0 < confidence < 1:
        raise SettingsError(f"a confidence of {confidence} makes no interval; give one between 0 and 1")
    values = np.asarray(samples, dtype=np.float64)
    tail = (1 - confidence) / 2
    undefined = np.isnan(values).all(axis=0)
    if not undefined.size:  # of (R, 0) numpy's quantiles would be (0,), and not a pair of them
        return np.empty(undefined.shape), np.empty(undefined.shape)
    defined = np.where(undefined, 0.0, values)
    # nanquantile, which takes one column at a time, only where it must
    quantiles = np.nanquantile if np.isnan(defined).any() else np.quantile
    low, high = quantiles(defined, (tail, 1 - tail), axis=0)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)


def estimate(
    measurement: Measurement, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> tuple[dict[str, Estimate], dict[str, list[Estimate]]]:
    """Every metric with its interval: (summary name -> Estimate, label metric -> one Estimate a label).

    resamples: 0 for values without intervals.
    """
    whole = measurement.measure()
    drawn = bootstrap(measurement, resamples, seed) if resamples else None

    def estimates(values: Floats, samples: Floats | None) -> list[Estimate]:
        if samples is None:
            return [Estimate(float(value)) for value in values]
        low, high = interval(samples, confidence)
        return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]

    return (
        {
            name: estimates(values, drawn.summary[name][:, None] if drawn else None)[0]
            for name, values in whole.summary.items()
        },
        {
            name: estimates(values[0], drawn.labels[name] if drawn else None)
            for name, values in whole.labels.items()
        },
    )


def paired_bootstrap(
    first: Measurement, second: Measurement, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Comparison:
    """Compare two predictions of the same texts on the same resamples, metric by metric.

    The p-value is twice the smaller share of resamples in which the gain has one sign or is 0, counting the data itself
    as one more resample; it agrees with the percentile interval of the gain. Across labels or runs, correct it with `holm`.
    Raises SettingsError if the two do not have the same labels.
    """
    if not np.array_equal(first.truth, second.truth):
        raise SettingsError(
            "the two predictions are not of the same texts and labels; compare runs on one split"
        )
    whole = first.measure(), second.measure()
    drawn = bootstrap(first, resamples, seed), bootstrap(second, resamples, seed)
    return compare_measures(whole, drawn, confidence=confidence)


def compare_measures(
    whole: tuple[Measures, Measures], drawn: tuple[Measures, Measures], *, confidence: float = 0.95
) -> Comparison:
    """What `paired_bootstrap` finds, from two predictions measured already: `whole` on the data, `drawn` on the same resamples."""
    shared = [name for name in whole[0].summary if name in whole[1].summary]

    def difference(values: list[Floats], samples: list[Floats]) -> Difference:
        gains = samples[1] - samples[0]
        low, high = interval(gains, confidence)
        gain = Estimate(float(values[1] - values[0]), float(low), float(high))
        return Difference(float(values[0]), float(values[1]), gain, _p_value(gains))

    return Comparison(
        {
            name: difference([m.summary[name][0] for m in whole], [d.summary[name] for d in drawn])
            for name in shared
        },
        tuple(
            difference([m.labels["f1"][0, k] for m in whole], [d.labels["f1"][:, k] for d in drawn])
            for k in range(whole[0].labels["f1"].shape[1])
        ),
    )


def holm(p_values: ArrayLike) -> Floats:
    """p-values (m,) corrected for being m: controls the chance of any false claim.

    Method: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * (len(given) - np.arange(len(given)))
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def _p_value(gains: Floats) -> float:
    defined = gains[~np.isnan(gains)]
    fewer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (1 + fewer) / (1 + len(defined))))
