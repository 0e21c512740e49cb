"""The regression behind `emodef fit`: optimum, prior, agreement with scikit-learn; and its folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.fitting.folds import stratified_folds, text_groups
from emodef.fitting.regression import Linear, Texts, probabilities, surprise

SIZES = [(40, 12), (12, 40), (60, 60)]


def unit(rows: int, width: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, width)) + 0.3
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def several(rows: int, labels: int, seed: int = 1) -> np.ndarray:
    truth = (np.random.default_rng(seed).random((rows, labels)) < 0.35).astype(float)
    truth[range(labels), range(labels)] = 1
    return truth


def one(rows: int, labels: int, seed: int = 1) -> np.ndarray:
    return np.eye(labels)[
        np.r_[np.arange(labels), np.random.default_rng(seed).integers(0, labels, rows - labels)]
    ]


def head(labels: int, width: int, size: float = 3.0, seed: int = 2) -> Linear:
    draw = np.random.default_rng(seed)
    return Linear(size * draw.normal(size=(labels, width)), draw.normal(size=labels))


ZERO = Linear(np.zeros((3, 12)), np.zeros(3))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(("rows", "width"), SIZES)
@pytest.mark.parametrize("strength", [0.03, 1.0])
def test_the_gradient_at_the_optimum_is_nil(rows: int, width: int, exclusive: bool, strength: float) -> None:
    x, start = unit(rows, width), head(4, width)
    truth = one(rows, 4) if exclusive else several(rows, 4)
    texts = Texts.of(x, truth, start, exclusive=exclusive)
    found = texts.head(texts.added(strength, 0.25))
    wrong = probabilities(found.logits(x), exclusive) - truth
    # of the whole objective, in the vectors' own coordinates: nothing of the optimum lies outside the directions searched
    np.testing.assert_allclose(wrong.T @ x + strength * (found.weight - start.weight), 0, atol=2e-6)
    np.testing.assert_allclose(wrong.sum(0) + 0.25 * (found.bias - start.bias), 0, atol=2e-6)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(("rows", "width"), SIZES)
def test_around_zero_it_is_scikit_learns_regression(rows: int, width: int, exclusive: bool) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = unit(rows, width)
    truth = one(rows, 3) if exclusive else several(rows, 3)
    texts = Texts.of(x, truth, Linear(np.zeros((3, width)), np.zeros(3)), exclusive=exclusive)
    found = texts.head(texts.added(0.5, 1e-9))
    theirs = linear_model.LogisticRegression(C=2.0, tol=1e-10, max_iter=10_000)
    if exclusive:
        theirs.fit(x, truth.argmax(1))
        expected = theirs.predict_proba(x)
        np.testing.assert_allclose(found.weight, theirs.coef_, atol=1e-4)
    else:
        expected = np.stack([theirs.fit(x, column).predict_proba(x)[:, 1] for column in truth.T], axis=1)
    np.testing.assert_allclose(probabilities(found.logits(x), exclusive), expected, atol=1e-5)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_strong_prior_keeps_the_start(exclusive: bool) -> None:
    x, start = unit(30, 12), head(3, 12)
    truth = one(30, 3) if exclusive else several(30, 3)
    texts = Texts.of(x, truth, start, exclusive=exclusive)
    kept = texts.head(texts.added(np.inf, np.inf))
    np.testing.assert_array_equal(kept.weight, start.weight)
    np.testing.assert_array_equal(kept.bias, start.bias)
    near = texts.head(texts.added(1e8, 1e8))
    np.testing.assert_allclose(near.weight, start.weight, atol=1e-6)
    biases = texts.head(texts.added(np.inf, 1e-6))
    np.testing.assert_array_equal(biases.weight, start.weight)
    if not exclusive:  # the biases alone make each label as frequent as it is
        np.testing.assert_allclose(probabilities(biases.logits(x), False).mean(0), truth.mean(0), atol=1e-4)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_label_no_text_has_stays_as_it_starts(exclusive: bool) -> None:
    x, start = unit(30, 12), head(4, 12)
    truth = (one if exclusive else several)(30, 3)
    truth = np.insert(truth, 2, 0.0, axis=1)
    texts = Texts.of(x, truth, start, exclusive=exclusive)
    found = texts.head(texts.added(0.1, 0.25))
    np.testing.assert_array_equal(found.weight[2], start.weight[2])
    assert found.bias[2] == start.bias[2]
    assert np.abs(found.weight[[0, 1, 3]] - start.weight[[0, 1, 3]]).max() > 0.1
    moved = texts.head(texts.added(0.1, 0.25, fixed=np.zeros(4, dtype=bool)))
    assert (
        probabilities(moved.logits(x), exclusive)[:, 2].mean()
        < probabilities(found.logits(x), exclusive)[:, 2].mean()
    )


def test_a_nearer_start_is_found_again_from_anywhere() -> None:
    texts = Texts.of(unit(40, 12), several(40, 3), head(3, 12), exclusive=False)
    cold = texts.added(0.3, 0.25)
    warm = texts.added(0.3, 0.25, begin=texts.added(3.0, 0.25))
    np.testing.assert_allclose(warm, cold, atol=1e-6)


def test_some_rows_are_fitted_as_if_alone() -> None:
    x, truth, start = unit(40, 60), several(40, 3), head(3, 60)
    rows = np.arange(5, 25)
    some = Texts.of(x, truth, start, exclusive=False).take(rows)
    alone = Texts.of(x[rows], truth[rows], start, exclusive=False)
    first, second = some.head(some.added(0.2, 0.25)), alone.head(alone.added(0.2, 0.25))
    np.testing.assert_allclose(first.weight, second.weight, atol=1e-6)
    np.testing.assert_allclose(some.logits(some.added(0.2, 0.25)), first.logits(x[rows]), atol=1e-10)


def test_surprise_is_the_negative_log_likelihood() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [800.0, 0.0, -800.0]])
    hot = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    p = probabilities(logits[:1], False)
    expected = -np.log(np.where(hot[:1] > 0, p, 1 - p)).sum()
    assert surprise(logits, hot, False)[0] == pytest.approx(expected)
    single = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert surprise(logits, single, True)[0] == pytest.approx(-np.log(probabilities(logits, True)[0, 2]))
    assert surprise(logits, single, True)[1] == pytest.approx(0)


# Folds


def test_copies_stay_together_and_labels_are_spread() -> None:
    texts = [f"text number {row}" for row in range(50)]
    texts[10], texts[20] = "Text  NUMBER 0!", "text number 1."
    labels = np.zeros((50, 3), dtype=np.uint8)
    labels[range(50), np.arange(50) % 2] = 1
    labels[[3, 30, 40, 41, 49], 2] = 1
    groups = text_groups(texts)
    fold = stratified_folds(labels, groups)
    assert fold[10] == fold[0]
    assert fold[20] == fold[1]
    counts = np.array([labels[fold == held].sum(0) for held in range(5)])
    assert (counts[:, 2] == 1).all()
    assert counts.max(0)[0] - counts.min(0)[0] <= 2
    assert set(np.bincount(fold)) <= {9, 10, 11}
    np.testing.assert_array_equal(fold, stratified_folds(labels, groups))
    assert (stratified_folds(labels, groups, seed=1) != fold).any()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sets(st.integers(0, 3))), min_size=1, max_size=30),
    st.integers(1, 6),
)
def test_any_labels_and_groups_are_dealt(rows: list[tuple[int, set[int]]], wanted: int) -> None:
    groups = np.unique([group for group, _ in rows], return_inverse=True)[1]
    labels = np.array([[k in have for k in range(4)] for _, have in rows], dtype=np.uint8)
    fold = stratified_folds(labels, groups, folds=wanted)
    assert len({(g, f) for g, f in zip(groups, fold, strict=True)}) == groups.max() + 1
    assert fold.max() < max(1, min(wanted, groups.max() + 1))
    for k in range(4):  # a label of two groups is in two folds
        with_it = {int(g) for g in groups[labels[:, k] == 1]}
        if len(with_it) == 2 and wanted > 1 and labels[:, :k].sum() == 0 and labels[:, k + 1 :].sum() == 0:
            assert len(set(fold[labels[:, k] == 1])) == 2
