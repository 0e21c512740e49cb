"""Metrics and the bootstrap against scikit-learn, against definitions worked by hand, and as properties."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from emodef import metrics
from emodef.bootstrap import bootstrap, estimate, holm, interval, paired_bootstrap, resample_weights
from emodef.errors import DataError, SettingsError
from emodef.metrics import (
    Measurement,
    Measures,
    averages,
    calibration_error,
    coarsen_labels,
    coarsen_probabilities,
    count,
    decide,
    reliability,
    scores,
)


@st.composite
def evaluated(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of some texts: labels may be absent or everywhere, probabilities tie and reach 0 and 1."""
    n, k = draw(st.integers(1, 30)), draw(st.integers(1, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = random.random((n, k)) < draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    steps = draw(st.sampled_from((1, 2, 5, 1000)))
    return labels.astype(np.uint8), random.integers(0, steps + 1, (n, k)) / steps


def whole(labels: np.ndarray, probabilities: np.ndarray, threshold: float = 0.3) -> Measures:
    return Measurement(labels, decide(probabilities, threshold), probabilities).measure()


def reference_f1(average: str | None, labels: Any, predicted: Any) -> tuple[Any, Any, Any]:
    if average != "micro" and labels.shape[1] == 1:  # scikit-learn reads one column as one binary problem
        labels, predicted = np.hstack([labels, labels]), np.hstack([predicted, predicted])
    found = reference.precision_recall_fscore_support(labels, predicted, average=average, zero_division=0)
    return found[0], found[1], found[2]


@settings(max_examples=60, deadline=None)
@given(evaluated())
def test_precision_recall_f1_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = case
    predicted = decide(probabilities, 0.3)
    measures = whole(labels, probabilities)
    for average in ("macro", "micro", "weighted"):
        if labels.shape[1] == 1 and average == "micro":
            continue
        for name, expected in zip(
            ("precision", "recall", "f1"), reference_f1(average, labels, predicted), strict=True
        ):
            assert_allclose(measures.summary[f"{average}_{name}"][0], expected, atol=1e-12)
    k = labels.shape[1]
    for name, expected in zip(
        ("precision", "recall", "f1"), reference_f1(None, labels, predicted), strict=True
    ):
        assert_allclose(measures.labels[name][0], expected[:k], atol=1e-12)
    exact = (labels == predicted).all(axis=1).mean()
    assert_allclose(measures.summary["subset_accuracy"][0], exact)
    if k > 1:
        assert_allclose(exact, reference.accuracy_score(labels, predicted))


@settings(max_examples=60, deadline=None)
@given(evaluated())
def test_ranking_metrics_equal_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = case
    measures = whole(labels, probabilities)
    pairs = [*zip(labels.T, probabilities.T, strict=True), (labels.ravel(), probabilities.ravel())]
    precision = [*measures.labels["average_precision"][0], measures.summary["micro_average_precision"][0]]
    area = [*measures.labels["roc_auc"][0], measures.summary["micro_roc_auc"][0]]
    for (truth, ranked), ap, auc in zip(pairs, precision, area, strict=True):
        if truth.any():
            assert_allclose(ap, reference.average_precision_score(truth, ranked), atol=1e-12)
        else:
            assert np.isnan(ap)
        if truth.any() and not truth.all():
            assert_allclose(auc, reference.roc_auc_score(truth, ranked), atol=1e-12)
        else:
            assert np.isnan(auc)
    for metric in ("average_precision", "roc_auc"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mean of nothing
            expected = np.nanmean(measures.labels[metric][0])
        assert_allclose(measures.summary[f"macro_{metric}"][0], expected)


@settings(max_examples=30, deadline=None)
@given(evaluated(), st.integers(0, 2**16))
def test_a_weight_is_a_repeated_text(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    labels, probabilities = case
    weights = np.random.default_rng(seed).integers(0, 4, (len(labels), 5)).astype(np.float32)
    weights[0] += 1  # at least one text in each sample
    weighted = Measurement(labels, decide(probabilities, 0.3), probabilities).measure(weights)
    for r in range(weights.shape[1]):
        rows = np.repeat(np.arange(len(labels)), weights[:, r].astype(int))
        repeated = whole(labels[rows], probabilities[rows])
        for name, values in repeated.summary.items():
            assert_allclose(weighted.summary[name][r], values[0], atol=1e-12, err_msg=name)
        for name, values in repeated.labels.items():
            assert_allclose(weighted.labels[name][r], values[0], atol=1e-12, err_msg=name)


def test_weightings_a_few_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(4)
    truth, scores = draw.random((40, 3)) < 0.3, draw.random((40, 3)).round(1)
    measurement = Measurement(truth, scores > 0.5, scores)
    weights = draw.integers(0, 4, (40, 7)).astype(np.uint8)
    whole = measurement.measure(weights)
    monkeypatch.setattr(metrics, "_LARGEST", 250)  # two of 120 entries at a time
    parts = measurement.measure(weights)
    for name, values in whole.summary.items():
        assert_allclose(values, parts.summary[name], rtol=1e-12)


def test_counts_worked_by_hand() -> None:
    labels = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
    predicted = [[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]]
    counts = count(labels, predicted)
    assert_array_equal(counts.tp, [1, 2, 0])
    assert_array_equal(counts.fp, [1, 0, 1])
    assert_array_equal(counts.fn, [1, 0, 0])
    assert_array_equal(counts.support, [2, 2, 0])
    assert_allclose(scores(counts).f1, [0.5, 1, 0])
    found = averages(counts)
    assert_allclose(found["macro_f1"], 0.5)
    assert_allclose(found["micro_f1"], 2 * 3 / (2 * 3 + 2 + 1))
    assert_allclose(found["weighted_f1"], 0.75)
    assert_allclose(Measurement(labels, predicted).measure().summary["subset_accuracy"], [0.5])


def test_one_label_a_text_takes_the_likeliest() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 4, 200)
    probabilities = 0.6 * np.eye(4)[truth] + random.random((200, 4)) * 0.4 * random.integers(1, 4, (200, 1))
    probabilities /= probabilities.max()
    predicted = decide(probabilities, 0.3, exclusive=True)
    assert (predicted.sum(axis=1) == 1).all()
    measures = Measurement(np.eye(4, dtype=np.uint8)[truth], predicted).measure()
    accuracy = reference.accuracy_score(truth, probabilities.argmax(axis=1))
    assert_allclose(measures.summary["subset_accuracy"][0], accuracy)
    assert_allclose(measures.summary["micro_f1"][0], accuracy)
    macro = reference.f1_score(truth, probabilities.argmax(axis=1), average="macro")
    assert_allclose(measures.summary["macro_f1"][0], macro)


def test_a_probability_equal_to_the_threshold_is_not_above_it() -> None:
    assert_array_equal(decide([[0.3, 0.31], [0.5, 0.0]], [0.3, 0.3]), [[False, True], [True, False]])
    assert_array_equal(decide([[0.5, 0.5]], 0.3, exclusive=True), [[True, False]])


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([[1, 0]], [[0.5]], "shape"),
        ([[1, 0]], [[0.5, np.nan]], "label 2 for text 1 is nan"),
        ([[1, 0], [0, 1]], [[0.5, 0.5], [1.5, 0.5]], r"label 1 for text 2 is 1\.5.*sigmoid"),
        ([[2, 0]], [[0.5, 0.5]], "other than 0 and 1"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "one row a text"),
    ],
)
def test_what_does_not_fit_is_refused(labels: Any, probabilities: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Measurement(labels, np.zeros(np.shape(labels)), probabilities)
    with pytest.raises(DataError, match="predictions"):
        Measurement([[1, 0]], [[True]])


def test_calibration_worked_by_hand() -> None:
    labels = [[1], [0], [1], [1]]
    probabilities = [[0.05], [0.08], [0.92], [1.0]]
    bins = reliability(labels, probabilities, bins=10)
    assert_array_equal(bins.texts[0, [0, 9]], [2, 2])
    assert_allclose(bins.predicted[0, [0, 9]], [0.065, 0.96])
    assert_allclose(bins.observed[0, [0, 9]], [0.5, 1.0])
    assert np.isnan(bins.observed[0, 5])
    assert_allclose(calibration_error(labels, probabilities), [0.5 * 0.435 + 0.5 * 0.04])


def test_calibrated_probabilities_have_a_small_calibration_error() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((20_000, 3))
    labels = random.random(probabilities.shape) < probabilities
    assert calibration_error(labels, probabilities).max() < 0.02
    assert calibration_error(labels, probabilities**3).min() > 0.1
    for k in range(3):
        observed, predicted = calibration_curve(labels[:, k], probabilities[:, k], n_bins=10)
        assert_allclose(reliability(labels, probabilities).observed[k], observed)
        assert_allclose(reliability(labels, probabilities).predicted[k], predicted)


def test_a_coarse_label_is_as_likely_as_its_likeliest_child() -> None:
    groups = [1, 0, 1]
    assert_allclose(
        coarsen_probabilities([[0.2, 0.5, 0.4], [0.9, 0.1, 0.3]], groups, 3), [[0.5, 0.4, 0], [0.1, 0.9, 0]]
    )
    coarse = coarsen_labels([[1, 0, 1], [0, 0, 0], [0, 1, 0]], groups, 3)
    assert coarse.dtype == np.uint8
    assert_array_equal(coarse, [[0, 1, 0], [0, 0, 0], [1, 0, 0]])


def some_predictions(n: int = 400, k: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = (random.random((n, k)) < (0.02, 0.1, 0.2, 0.3, 0.5)[:k]).astype(np.uint8)
    return labels, np.clip(0.5 * labels + random.random((n, k)) * 0.6 - 0.05, 0, 1)


def test_resamples_draw_n_texts_and_repeat_with_the_seed() -> None:
    first = np.hstack(list(resample_weights(50, 100, seed=1)))
    again = np.hstack(list(resample_weights(50, 100, seed=1)))
    other = np.hstack(list(resample_weights(50, 100, seed=2)))
    assert first.shape == (50, 100)
    assert (first.sum(axis=0) == 50).all()
    assert_array_equal(first, again)
    assert (first != other).any()
    # how often a text is drawn is binomial(n, 1/n)
    drawn = np.bincount(np.hstack(list(resample_weights(200, 500, seed=0))).ravel().astype(int), minlength=6)
    expected = stats.binom.pmf(np.arange(6), 200, 1 / 200)
    assert_allclose(drawn[:6] / drawn.sum(), expected, atol=0.005)


def test_intervals_agree_with_scipy() -> None:
    labels, probabilities = some_predictions()
    measurement = Measurement(labels, decide(probabilities, 0.5), probabilities)
    summary, _ = estimate(measurement, resamples=2000, seed=0)

    def macro_f1(rows: np.ndarray) -> float:
        return float(averages(count(labels[rows], probabilities[rows] > 0.5))["macro_f1"])

    found = stats.bootstrap(
        (np.arange(len(labels)),), macro_f1, n_resamples=2000, method="percentile", vectorized=False, rng=1
    )
    estimated = summary["macro_f1"]
    assert estimated.low is not None
    assert estimated.high is not None
    width = estimated.high - estimated.low
    assert abs(estimated.low - found.confidence_interval.low) < 0.1 * width
    assert abs(estimated.high - found.confidence_interval.high) < 0.1 * width
    assert estimated.low < estimated.value < estimated.high


def test_intervals_cover_the_truth() -> None:
    # precision of a predictor that is right 70% of the time: the interval holds 0.7 in about 95 of 100 samples
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        labels = (random.random((150, 1)) < 0.7).astype(np.uint8)
        measurement = Measurement(labels, np.ones((150, 1), dtype=bool))
        low, high = interval(bootstrap(measurement, 400, seed).summary["macro_precision"])
        covered += bool(low <= 0.7 <= high)
    assert 180 <= covered <= 199


def test_interval_leaves_undefined_resamples_out() -> None:
    samples = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan], [3.0, np.nan]])
    low, high = interval(samples, confidence=0.5)
    assert_allclose(low, [1.5, np.nan])
    assert_allclose(high, [2.5, np.nan])
    with pytest.raises(SettingsError, match="between 0 and 1"):
        interval(samples, confidence=95)
    with pytest.raises(SettingsError, match="0 resamples"):
        list(resample_weights(10, 0, seed=0))


def test_a_measure_without_resamples_has_no_interval() -> None:
    labels, probabilities = some_predictions()
    summary, each = estimate(Measurement(labels, decide(probabilities, 0.5)), resamples=0)
    assert summary["macro_f1"].low is None
    assert len(each["f1"]) == labels.shape[1]
    assert "macro_roc_auc" not in summary


def test_paired_comparison_finds_a_gain_and_no_gain() -> None:
    labels, probabilities = some_predictions(1000)
    noise = np.random.default_rng(5).random(probabilities.shape)
    good = Measurement(labels, probabilities > 0.5)
    worse = Measurement(labels, np.where(noise < 0.15, probabilities < 0.5, probabilities > 0.5))
    same = paired_bootstrap(good, good, resamples=300).summary["macro_f1"]
    assert same.gain.value == same.gain.low == same.gain.high == 0
    assert same.p_value == 1
    found = paired_bootstrap(worse, good, resamples=300)
    gain = found.summary["macro_f1"]
    assert gain.gain.low is not None
    assert gain.gain.low > 0
    assert_allclose(gain.gain.value, gain.second - gain.first)
    assert gain.p_value == pytest.approx(2 / 301)
    assert len(found.label_f1) == labels.shape[1]
    back = paired_bootstrap(good, worse, resamples=300).summary["macro_f1"]
    assert_allclose([back.gain.value, back.gain.low], [-gain.gain.value, -(gain.gain.high or 0)], atol=1e-12)
    assert back.p_value == gain.p_value


def test_paired_comparison_rarely_claims_a_gain_that_is_not_there() -> None:
    random = np.random.default_rng(1)
    claimed = 0
    for seed in range(120):
        labels = (random.random((200, 3)) < 0.3).astype(np.uint8)
        predictions = [np.where(random.random(labels.shape) < 0.2, 1 - labels, labels) for _ in range(2)]
        first, second = (Measurement(labels, p.astype(bool)) for p in predictions)
        difference = paired_bootstrap(first, second, resamples=200, seed=seed).summary["macro_f1"]
        claimed += difference.p_value < 0.05
        if difference.p_value < 0.04:  # the interval and the p-value say the same
            assert (difference.gain.low or 0) * (difference.gain.high or 0) > 0
    assert claimed <= 14  # binomial(120, 0.05): more has a chance of 1 in 1,000


def test_comparison_needs_the_same_texts() -> None:
    labels, probabilities = some_predictions()
    with pytest.raises(SettingsError, match="same texts"):
        paired_bootstrap(
            Measurement(labels, probabilities > 0.5), Measurement(1 - labels, probabilities > 0.5)
        )


def test_holm_worked_by_hand() -> None:
    assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert_allclose(holm([0.02]), [0.02])
    assert holm([]).shape == (0,)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    corrected, given_values = holm(p_values), np.array(p_values)
    assert (corrected >= given_values).all()
    assert (corrected <= np.minimum(1, given_values * len(p_values))).all()
    order = np.argsort(given_values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
