"""Thresholds: what they promise on labels whose true F1 at any threshold is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn import metrics as reference

from emodef.errors import DataError, SettingsError
from emodef.metrics import averages, count, decide, scores
from emodef.thresholds import (
    CANDIDATES,
    LOG_ODDS,
    METHODS,
    cross_validate,
    fill_bins,
    tune_thresholds,
)


@dataclass(frozen=True)
class World:
    """Labels whose log-odds are normal: mean `offset` without the label, `offset + gap` with it, deviation 1.

    No test split is needed: precision and recall at a threshold are tail areas.
    """

    prevalence: np.ndarray
    gap: np.ndarray
    offset: np.ndarray

    def draw(self, texts: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = random.random((texts, len(self.gap))) < self.prevalence
        log_odds = random.standard_normal(labels.shape) + self.offset + self.gap * labels
        return labels.astype(np.uint8), 1 / (1 + np.exp(-log_odds))

    def f1(self, thresholds: np.ndarray) -> np.ndarray:
        """F1 on infinitely many texts, for thresholds (..., K)."""
        at = np.log(thresholds / (1 - thresholds)) - self.offset
        tp = self.prevalence * stats.norm.sf(at - self.gap)
        fp = (1 - self.prevalence) * stats.norm.sf(at)
        return 2 * tp / (tp + fp + self.prevalence)


def a_world(random: np.random.Generator) -> World:
    """Four labels with about 6 to 15 examples in 3,000 texts, and four with 90 to 600."""
    prevalence = np.array([0.002, 0.003, 0.004, 0.005, 0.03, 0.05, 0.1, 0.2])
    gap = random.uniform(1.8, 3.2, len(prevalence))
    # calibrated but for a shift of each label's own: the log-odds at which both classes are equally likely is 0
    offset = -gap / 2 + np.log(prevalence / (1 - prevalence)) / gap + random.normal(0, 0.4, len(prevalence))
    return World(prevalence, gap, offset)


RARE, FREQUENT = slice(0, 4), slice(4, 8)


@pytest.fixture(scope="module")
def trials() -> dict[str, np.ndarray]:
    """F1 of each method on dev and on unseen texts: "METHOD dev", "METHOD unseen" -> (60 trials, 8 labels)."""
    found: dict[str, list[np.ndarray]] = {}
    for seed in range(60):
        random = np.random.default_rng(seed)
        world = a_world(random)
        labels, probabilities = world.draw(3000, random)
        for method in METHODS:
            tuned = tune_thresholds(labels, probabilities, method=method)
            dev = scores(count(labels, decide(probabilities, tuned))).f1
            found.setdefault(f"{method} dev", []).append(dev)
            found.setdefault(f"{method} unseen", []).append(world.f1(tuned))
        best = world.f1(np.repeat(CANDIDATES[:, None], len(world.gap), axis=1)).max(axis=0)
        found.setdefault("best unseen", []).append(best)
    return {name: np.array(values) for name, values in found.items()}


def test_the_naive_threshold_overfits_rare_labels(trials: dict[str, np.ndarray]) -> None:
    # what the method is there for: were it not so, the tests below would show nothing
    optimism = (trials["argmax dev"] - trials["argmax unseen"])[:, RARE].mean()
    assert optimism > 0.05
    assert (trials["argmax dev"] - trials["argmax unseen"])[:, FREQUENT].mean() < 0.02


def test_shrunk_thresholds_promise_less_and_keep_more(trials: dict[str, np.ndarray]) -> None:
    gain = (trials["shrunk unseen"] - trials["argmax unseen"])[:, RARE].mean(axis=1)
    assert stats.ttest_1samp(gain, 0.005, alternative="greater").pvalue < 0.001  # over half a point of F1
    optimism = {m: (trials[f"{m} dev"] - trials[f"{m} unseen"])[:, RARE].mean() for m in ("shrunk", "argmax")}
    assert optimism["shrunk"] < optimism["argmax"] / 3


def test_shrunk_thresholds_cost_frequent_labels_nothing(trials: dict[str, np.ndarray]) -> None:
    gain = (trials["shrunk unseen"] - trials["argmax unseen"])[:, FREQUENT].mean(axis=1)
    assert stats.ttest_1samp(gain, -0.001, alternative="greater").pvalue < 0.001
    assert (trials["best unseen"] - trials["shrunk unseen"])[:, FREQUENT].mean() < 0.01


def test_shrunk_thresholds_lead_in_macro_f1(trials: dict[str, np.ndarray]) -> None:
    macro = {method: trials[f"{method} unseen"].mean(axis=1) for method in METHODS}
    for method in ("argmax", "global", "bagged"):
        gain = macro["shrunk"] - macro[method]
        assert stats.ttest_1samp(gain, 0, alternative="greater").pvalue < 0.001, method


def test_no_rare_label_collapses(trials: dict[str, np.ndarray]) -> None:
    # a label is lost when less than half of what is possible is left
    lost = {
        method: (trials[f"{method} unseen"] < 0.5 * trials["best unseen"])[:, RARE].sum()
        for method in ("shrunk", "argmax")
    }
    assert lost["argmax"] >= 6  # of 240
    assert lost["shrunk"] <= lost["argmax"] / 3


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_thresholds(method: str) -> None:
    labels, probabilities = a_world(np.random.default_rng(0)).draw(800, np.random.default_rng(1))
    first = tune_thresholds(labels, probabilities, method=method, seed=3)
    assert_array_equal(first, tune_thresholds(labels, probabilities, method=method, seed=3))
    assert first.dtype == np.float64
    assert ((first > 0) & (first < 1)).all()
    if method not in ("argmax", "global"):
        assert (first != tune_thresholds(labels, probabilities, method=method, seed=4)).any()
    # the order of the texts says nothing
    order = np.random.default_rng(2).permutation(len(labels))
    assert_array_equal(first, tune_thresholds(labels[order], probabilities[order], method=method, seed=3))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4))
def test_f1_curves_equal_scikit_learn(seed: int, n: int, k: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random((n, k)) < 0.3
    probabilities = random.choice(np.r_[CANDIDATES[60:100:4], 0, 1, random.random(5)], (n, k))
    curves = fill_bins(labels, probabilities).f1()
    for g in range(0, len(CANDIDATES), 13):
        predicted = probabilities > CANDIDATES[g]
        for label in range(k):
            expected = reference.f1_score(labels[:, label], predicted[:, label], zero_division=0)
            assert_allclose(curves[label, g], expected, atol=1e-12)


def test_the_argmax_is_the_best_candidate_and_in_the_middle_of_a_gap() -> None:
    # the label is there from 0.7 on and nowhere below 0.2: anything between is perfect, the middle the safest
    labels = np.array([[0]] * 50 + [[1]] * 50)
    probabilities = np.r_[np.linspace(0.01, 0.2, 50), np.linspace(0.7, 0.99, 50)][:, None]
    (tuned,) = tune_thresholds(labels, probabilities, method="argmax")
    middle = (np.log(0.2 / 0.8) + np.log(0.7 / 0.3)) / 2
    assert abs(np.log(tuned / (1 - tuned)) - middle) <= LOG_ODDS[1] - LOG_ODDS[0]
    for method in METHODS:
        (tuned,) = tune_thresholds(labels, probabilities, method=method)
        assert 0.2 < tuned < 0.7


def test_a_label_that_dev_lacks_gets_the_threshold_of_all() -> None:
    world = a_world(np.random.default_rng(0))
    labels, probabilities = world.draw(2000, np.random.default_rng(1))
    labels[:, 2] = 0
    everywhere = tune_thresholds(labels, probabilities, method="global")
    assert (everywhere == everywhere[0]).all()
    for method in ("shrunk", "bagged", "argmax"):
        assert_allclose(tune_thresholds(labels, probabilities, method=method)[2], everywhere[2])


def test_little_support_means_little_of_its_own() -> None:
    # two labels with the same scores apart from a shift; the one with few examples stays nearer to the common one
    random = np.random.default_rng(0)
    world = World(np.array([0.1, 0.1, 0.1]), np.full(3, 3.0), np.array([-4.0, -4.0, -1.5]))
    labels, probabilities = world.draw(4000, random)
    few = labels.copy()
    kept = np.flatnonzero(few[:, 2])[:3]
    few[:, 2] = 0
    few[kept, 2] = 1
    many_own, few_own = (tune_thresholds(y, probabilities, method="bagged") for y in (labels, few))
    many_shrunk, few_shrunk = (tune_thresholds(y, probabilities) for y in (labels, few))
    assert abs(many_shrunk - many_own)[2] < 0.02
    assert abs(few_shrunk - few_own)[2] > 0.05


def test_thresholds_beyond_the_usual_range_are_found() -> None:
    # scores far below a half, as an untrained matching head gives
    world = World(np.array([0.1, 0.2]), np.array([2.5, 2.5]), np.array([-6.5, -6.5]))
    labels, probabilities = world.draw(3000, np.random.default_rng(0))
    tuned = tune_thresholds(labels, probabilities)
    assert (tuned < 0.05).all()
    assert averages(count(labels, decide(probabilities, tuned)))["macro_f1"] > 0.5


def test_methods_are_compared_on_texts_they_were_not_tuned_on() -> None:
    random = np.random.default_rng(7)
    world = a_world(random)
    labels, probabilities = world.draw(1200, random)
    found = cross_validate(labels, probabilities, methods=("shrunk", "argmax"), repeats=3)
    assert list(found) == ["shrunk", "argmax"]
    assert found["argmax"].shape == (3,)
    tuned = tune_thresholds(labels, probabilities, method="argmax")
    seen = averages(count(labels, decide(probabilities, tuned)))["macro_f1"]
    assert found["argmax"].max() < seen  # tuned and measured on the same texts promises more
    again = cross_validate(labels, probabilities, methods=("argmax",), repeats=3)
    assert_array_equal(again["argmax"], found["argmax"])


def test_what_cannot_be_tuned_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"no method 'best'.*shrunk"):
        tune_thresholds([[1]], [[0.5]], method="best")
    with pytest.raises(DataError, match="no text of the dev split has a label"):
        tune_thresholds([[0, 0]], [[0.5, 0.5]])
    with pytest.raises(DataError, match="shape"):
        tune_thresholds([[1, 0]], [[0.5]])


def test_texts_without_a_label_to_tune_on_are_decided_as_having_none() -> None:
    labels = np.zeros((6, 2), dtype=np.uint8)
    labels[3, 1] = 1
    found = cross_validate(labels, np.full((6, 2), 0.5), methods=["shrunk"], repeats=3)
    assert found["shrunk"].shape == (3,)
    assert cross_validate(labels[3:4], np.full((1, 2), 0.5), methods=["shrunk"], repeats=1)["shrunk"] == 0
