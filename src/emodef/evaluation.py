"""Evaluation: probabilities beside a corpus's labels -> Report. Imports numpy, metrics, bootstrap, thresholds, corpora, disagreements.

Anything with `predict_proba(texts) -> (n, K)` is measured by the same code: a checkpoint in training, an export, a pipeline of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.bootstrap import Comparison, Estimate, estimate, paired_bootstrap
from emodef.corpora import Corpus
from emodef.disagreements import error_analysis
from emodef.errors import DataError, SettingsError
from emodef.metrics import (
    Bools,
    Floats,
    Measurement,
    as_probabilities,
    calibration_error,
    coarsen_labels,
    coarsen_probabilities,
    decide,
)
from emodef.thresholds import tune_thresholds

__all__ = [
    "LabelResult",
    "LevelResult",
    "Report",
    "compare",
    "error_analysis",
    "evaluate",
    "evaluate_probabilities",
    "tune",
]

FORMAT = 1  # of the dictionaries that reports are stored as
FIXED_THRESHOLD = 0.3  # the paper's
Thresholds = float | ArrayLike | Mapping[str, ArrayLike]


@dataclass(frozen=True)
class LabelResult:
    """One label: counts, then metrics as fractions. `threshold` is None where the likeliest label is taken."""

    name: str
    support: int
    predicted: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    average_precision: Estimate
    roc_auc: Estimate
    calibration_error: float
    threshold: float | None = None
    train_support: int | None = None


@dataclass(frozen=True)
class LevelResult:
    """One label set's results. `undefined`: metric -> how many labels its macro mean leaves out, having only one class."""

    name: str
    summary: dict[str, Estimate]
    labels: tuple[LabelResult, ...]
    undefined: dict[str, int]


@dataclass(frozen=True)
class Report:
    """What was measured on one split: the corpus's own labels first in `levels`, then the coarser ones.

    policy: how predictions were made from probabilities, in words. bootstrap: resamples behind the intervals, 0 for none.
    """

    corpus: str
    split: str
    texts: int
    policy: str
    confidence: float
    bootstrap: int
    seed: int
    levels: tuple[LevelResult, ...]

    @property
    def summary(self) -> dict[str, Estimate]:
        """The summary metrics at the corpus's own level."""
        return self.levels[0].summary

    @property
    def labels(self) -> tuple[LabelResult, ...]:
        """The label results at the corpus's own level."""
        return self.levels[0].labels

    def level(self, name: str | None = None) -> LevelResult:
        """The results at a level; None is the corpus's own. Raises SettingsError if it was not measured."""
        for level in self.levels:
            if name in (None, level.name):
                return level
        measured = ", ".join(level.name for level in self.levels)
        raise SettingsError(f"the report has no level {name!r}; measured were {measured}")

    def to_dict(self) -> dict[str, Any]:
        """The whole report, for strict JSON: an undefined value (nan) becomes null."""
        return {"format": FORMAT, **without_nan(asdict(self))}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Report:
        """The report that `to_dict` wrote. Raises DataError for another format."""
        if d.get("format") != FORMAT:
            raise DataError(f"a report of format {d.get('format')!r}, not {FORMAT}; evaluate the run again")
        try:
            fields = {key: value for key, value in d.items() if key not in ("format", "levels")}
            return cls(**fields, levels=tuple(_level_from_dict(level) for level in d["levels"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"a report that is not whole ({error}); evaluate the run again") from None


def evaluate(predict_proba: Callable[[Sequence[str]], ArrayLike], corpus: Corpus, **options: Any) -> Report:
    """Predict the corpus's texts and measure; `options` and errors are those of `evaluate_probabilities`."""
    return evaluate_probabilities(predict_proba(corpus.texts), corpus, **options)


def evaluate_probabilities(
    probabilities: ArrayLike,
    corpus: Corpus,
    *,
    thresholds: Thresholds = FIXED_THRESHOLD,
    policy: str | None = None,
    levels: Sequence[str] | None = None,
    train_labels: ArrayLike | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Report:
    """Measure probabilities (n, K) against the corpus's labels, with bootstrap intervals over its texts.

    thresholds: one for all labels; (K,) for each of the corpus's labels; or a dict of level name (the label set's own
        among them) -> (K_level,), as `tune` gives. A label set with one label a text takes the likeliest label instead.
    policy: how the report calls that rule; by default "fixed 0.3" and the like.
    levels: coarser label sets the corpus's maps to; by default all it has thresholds for.
    train_labels: 0/1 (m, K) of the training split, for the training support of each label.
    bootstrap: resamples; 0 for no intervals.

    Raises DataError where probabilities or training labels do not fit, LabelSetError for a level the labels are not mapped to,
    SettingsError for a level without thresholds, thresholds of another shape or nan, and resamples that give no interval.
    """
    own = corpus.label_set
    values = as_probabilities(probabilities, corpus.labels.shape)
    by_level = _thresholds_by_level(thresholds, corpus)
    if levels is None:
        levels = [level for level in own.mappings if own.exclusive or level in by_level]
    results = []
    for level in (own.name, *levels):
        view = _view(corpus, values, level)
        train = None if train_labels is None else _coarse_labels(train_labels, corpus, level).sum(axis=0)
        chosen = _level_thresholds(by_level, corpus, level)
        results.append(_measure(view, chosen, train, bootstrap, seed, confidence))
    return Report(
        corpus=corpus.name,
        split=corpus.split,
        texts=len(corpus),
        policy=policy or _policy(thresholds, exclusive=own.exclusive),
        confidence=confidence,
        bootstrap=bootstrap,
        seed=seed,
        levels=tuple(results),
    )


def tune(
    probabilities: ArrayLike,
    corpus: Corpus,
    *,
    levels: Sequence[str] | None = None,
    method: str = "shrunk",
    seed: int = 0,
) -> dict[str, Floats]:
    """Thresholds from a dev split, at the corpus's own level and each coarser one: level -> (K_level,).

    Give the result as `thresholds` when evaluating test. Method: `emodef.thresholds.tune_thresholds`.
    """
    values = as_probabilities(probabilities, corpus.labels.shape)
    wanted = (corpus.label_set.name, *(corpus.label_set.mappings if levels is None else levels))
    views = {level: _view(corpus, values, level) for level in wanted}
    return {
        level: tune_thresholds(view.labels, view.probabilities, method=method, seed=seed)
        for level, view in views.items()
    }


def compare(
    first: ArrayLike,
    second: ArrayLike,
    corpus: Corpus,
    *,
    first_thresholds: Thresholds = FIXED_THRESHOLD,
    second_thresholds: Thresholds = FIXED_THRESHOLD,
    ranking: bool = False,
    bootstrap: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """What the second probabilities (n, K) gain over the first on the same texts: each metric, by paired bootstrap.

    ranking: average precision and AUC too, which take far longer than the rest.
    bootstrap: enough resamples for the p-value of a label to survive correction for the number of labels.
    """
    measured = []
    for probabilities, thresholds in ((first, first_thresholds), (second, second_thresholds)):
        values = as_probabilities(probabilities, corpus.labels.shape)
        chosen = _level_thresholds(_thresholds_by_level(thresholds, corpus), corpus, corpus.label_set.name)
        measured.append(Measurement(corpus.labels, _predict(values, chosen), values if ranking else None))
    return paired_bootstrap(*measured, resamples=bootstrap, seed=seed, confidence=confidence)


@dataclass(frozen=True)
class _View:
    """Labels and probabilities at one level."""

    name: str
    names: tuple[str, ...]
    labels: NDArray[np.uint8]
    probabilities: Floats


def _view(corpus: Corpus, probabilities: Floats, level: str) -> _View:
    own = corpus.label_set
    if level == own.name:
        return _View(level, own.names, corpus.labels, probabilities)
    coarse, groups = own.groups(level)
    values = coarsen_probabilities(probabilities, groups, len(coarse))
    return _View(level, coarse.names, coarsen_labels(corpus.labels, groups, len(coarse)), values)


def _coarse_labels(labels: ArrayLike, corpus: Corpus, level: str) -> NDArray:
    fine = np.asarray(labels)
    if fine.ndim != 2 or fine.shape[1] != len(corpus.label_set):
        raise DataError(
            f"the training labels have the shape {fine.shape}; expected a column for each of the "
            f"{len(corpus.label_set)} labels of {corpus.label_set.name!r}"
        )
    if level == corpus.label_set.name:
        return fine
    coarse, groups = corpus.label_set.groups(level)
    return coarsen_labels(fine, groups, len(coarse))


def _thresholds_by_level(thresholds: Thresholds, corpus: Corpus) -> dict[str, Floats]:
    own = corpus.label_set
    if isinstance(thresholds, Mapping):
        return {level: np.asarray(values, dtype=np.float64) for level, values in thresholds.items()}
    given = np.asarray(thresholds, dtype=np.float64)
    if given.ndim == 0:
        return dict.fromkeys((own.name, *own.mappings), given)
    return {own.name: given}


def _level_thresholds(by_level: Mapping[str, Floats], corpus: Corpus, level: str) -> Floats | None:
    """(K_level,) thresholds, or None where the likeliest label is taken."""
    own = corpus.label_set
    if own.exclusive:
        return None
    if level not in by_level:
        raise SettingsError(
            f"there are no thresholds for the level {level!r}; tune them on dev (emodef.evaluation.tune), "
            "or give one number for all"
        )
    width = len(own if level == own.name else own.groups(level)[0])
    given = by_level[level]
    if given.shape not in ((), (width,)) or np.isnan(given).any():
        raise SettingsError(
            f"the thresholds of {level!r} have the shape {given.shape} (nan: {bool(np.isnan(given).any())}); "
            f"expected a number, or one for each of its {width} labels"
        )
    return np.broadcast_to(given, (width,))


def _predict(probabilities: Floats, thresholds: Floats | None) -> Bools:
    return decide(probabilities, 0.0 if thresholds is None else thresholds, exclusive=thresholds is None)


def _policy(thresholds: Thresholds, *, exclusive: bool) -> str:
    if exclusive:
        return "likeliest label"
    if isinstance(thresholds, Mapping) or np.ndim(thresholds):
        return "per label"
    return f"fixed {thresholds:g}"


def _measure(
    view: _View,
    thresholds: Floats | None,
    train_support: NDArray | None,
    resamples: int,
    seed: int,
    confidence: float,
) -> LevelResult:
    predicted = _predict(view.probabilities, thresholds)
    measurement = Measurement(view.labels, predicted, view.probabilities)
    summary, each = estimate(measurement, resamples=resamples, seed=seed, confidence=confidence)
    errors = calibration_error(view.labels, view.probabilities)
    labels = tuple(
        LabelResult(
            name=name,
            support=int(view.labels[:, k].sum()),
            predicted=int(predicted[:, k].sum()),
            calibration_error=float(errors[k]),
            threshold=None if thresholds is None else float(thresholds[k]),
            train_support=None if train_support is None else int(train_support[k]),
            **{metric: values[k] for metric, values in each.items()},
        )
        for k, name in enumerate(view.names)
    )
    summary["macro_calibration_error"] = Estimate(float(errors.mean()))
    undefined = {
        metric: sum(bool(np.isnan(e.value)) for e in each[metric])
        for metric in ("average_precision", "roc_auc")
    }
    return LevelResult(view.name, summary, labels, undefined)


def without_nan(value: Any) -> Any:
    """The same dicts, lists and numbers, with None for nan, which JSON has not."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _level_from_dict(d: Mapping[str, Any]) -> LevelResult:
    labels = tuple(
        LabelResult(**{key: _value_from_dict(value) for key, value in row.items()}) for row in d["labels"]
    )
    summary = {metric: _value_from_dict(value) for metric, value in d["summary"].items()}
    return LevelResult(d["name"], summary, labels, dict(d["undefined"]))


def _value_from_dict(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    estimate = Estimate(**value)
    return Estimate(np.nan, estimate.low, estimate.high) if estimate.value is None else estimate
