"""Calibration: scikit-learn's logistic regression where there is much data, the pooled curve where there is little."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from emodef.calibration import FLATTEST, Calibration, fit, log_odds
from emodef.errors import DataError
from emodef.metrics import calibration_error


def drawn(
    texts: int, slopes: list[float], intercepts: list[float], seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Labels (n, K) and probabilities that are off by these curves: the true log-odds are slope * logit(p) + intercept."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.5, 1.5, (texts, len(slopes)))
    true = 1 / (1 + np.exp(-(np.array(slopes) * odds + np.array(intercepts))))
    return (rng.random(true.shape) < true).astype(np.uint8), 1 / (1 + np.exp(-odds))


def test_with_many_texts_it_is_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    labels, probabilities = drawn(20_000, [0.6, 1.0, 1.7], [-0.5, 0.0, 1.0])
    made = fit(labels, probabilities, strength=1e-9)
    for k in range(3):
        reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000)
        reference.fit(log_odds(probabilities[:, [k]]), labels[:, k])
        assert made.slope[k] == pytest.approx(reference.coef_[0, 0], abs=1e-4)
        assert made.intercept[k] == pytest.approx(reference.intercept_[0], abs=1e-4)
        expected = reference.predict_proba(log_odds(probabilities[:, [k]]))[:, 1]
        np.testing.assert_allclose(made.apply(probabilities)[:, k], expected, atol=1e-4)
    # the strength that cross-validation chooses leaves so much data alone
    chosen = fit(labels, probabilities)
    np.testing.assert_allclose(chosen.slope, [0.6, 1.0, 1.7], atol=0.06)
    np.testing.assert_allclose(chosen.intercept, [-0.5, 0.0, 1.0], atol=0.1)


def test_what_it_is_worth_is_measured_on_texts_not_fitted_on() -> None:
    labels, probabilities = drawn(3000, [0.5] * 4, [-1.0, -1.0, 0.0, 1.0])
    made = fit(labels, probabilities)
    assert made.texts == 3000
    assert made.error_before == pytest.approx(calibration_error(labels, probabilities).mean())
    assert made.error_after < made.error_before / 3
    # and on new texts the same is found
    new_labels, new = drawn(3000, [0.5] * 4, [-1.0, -1.0, 0.0, 1.0], seed=1)
    assert calibration_error(new_labels, made.apply(new)).mean() == pytest.approx(made.error_after, abs=0.01)


def test_where_nothing_is_wrong_nothing_is_gained() -> None:
    labels, probabilities = drawn(300, [1.0] * 5, [0.0] * 5)
    made = fit(labels, probabilities)
    assert abs(made.error_after - made.error_before) < 0.03
    assert np.abs(made.apply(probabilities) - probabilities).max() < 0.15


def test_a_rare_label_follows_the_others() -> None:
    labels, probabilities = drawn(2000, [0.6] * 6, [0.0] * 6)
    labels[:, 5] = 0
    labels[[3, 700, 1500], 5] = 1
    probabilities[:, 5] = np.random.default_rng(3).uniform(1e-6, 0.01, 2000)
    probabilities[[3, 700, 1500], 5] = [0.4, 0.6, 0.002]
    made, free = fit(labels, probabilities), fit(labels, probabilities, strength=1e-9)
    assert abs(made.slope[5] - 0.6) < abs(free.slope[5] - 0.6)
    assert abs(made.intercept[5]) < abs(free.intercept[5])
    assert np.isfinite([*made.slope, *made.intercept]).all()
    rare = made.apply(probabilities)[:, 5]
    assert rare.max() < 0.95
    assert np.median(rare) < 0.05


def test_a_label_without_examples_and_one_that_all_texts_have() -> None:
    labels, probabilities = drawn(400, [1.0] * 4, [0.0] * 4)
    labels[:, 0], labels[:, 1] = 0, 1
    made = fit(labels, probabilities)
    found = made.apply(probabilities)
    assert np.isfinite(found).all()
    assert found[:, 0].mean() < probabilities[:, 0].mean()
    assert found[:, 1].mean() > probabilities[:, 1].mean()


def test_no_ranking_is_turned_round() -> None:
    labels, probabilities = drawn(2000, [-1.0, 1.0, 1.0, 1.0], [0.0] * 4)
    made = fit(labels, probabilities)
    assert min(made.slope) > FLATTEST
    order = np.argsort(probabilities, axis=0)
    ranked = np.take_along_axis(made.apply(probabilities).astype(np.float64), order, axis=0)
    assert (np.diff(ranked, axis=0) >= 0).all()


def test_probabilities_of_0_and_1_are_taken() -> None:
    labels, probabilities = drawn(200, [1.0, 1.0], [0.0, 0.0])
    probabilities[:10], probabilities[10:20] = 0, 1
    found = fit(labels, probabilities).apply(probabilities)
    assert np.isfinite(found).all()
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_the_same_texts_give_the_same_curves() -> None:
    labels, probabilities = drawn(300, [0.7, 1.2], [0.3, -0.4])
    assert fit(labels, probabilities) == fit(labels, probabilities)


def test_the_stored_curve_is_the_formula_of_the_file() -> None:
    made = Calibration((0.5,), (-1.0,), 10, 0.1, 0.05)
    expected = 1 / (1 + np.exp(-(0.5 * np.log(0.8 / 0.2) - 1.0)))
    assert made.apply([[0.8]])[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([[1], [0], [1]], [[0.5], [0.2], [0.7]], "too few"),
        ([[1]] * 6, [[0.5, 0.1]] * 6, "shape"),
        ([[1], [0]] * 3, [[0.5], [1.5]] * 3, "between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(labels: object, probabilities: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(labels, probabilities)  # type: ignore[arg-type]


def test_scores_that_say_the_opposite_keep_their_ranking() -> None:
    labels, probabilities = drawn(500, [-1.0, -0.8, -1.2], [0.0, 0.0, 0.0])
    made = fit(labels, probabilities)
    assert all(slope > 0 for slope in made.slope)
    before, after = probabilities.argsort(axis=0), made.apply(probabilities).argsort(axis=0)
    np.testing.assert_array_equal(before, after)
