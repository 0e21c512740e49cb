"""Decisions from rough scores are those of exact ones, and only close ones cost an exact score."""

from __future__ import annotations

import numpy as np
import pytest

from emodef.metrics import decide
from emodef.train.close_calls import distances, settled


def decided(logits: np.ndarray, threshold: float | None) -> np.ndarray:
    if threshold is None:
        return decide(logits, 0.0, exclusive=True)
    return decide(1 / (1 + np.exp(-logits.astype(np.float64))), threshold)


@pytest.mark.parametrize("threshold", [None, 0.3])
@pytest.mark.parametrize("error", [0.001, 0.02, 0.3])
def test_decisions_are_exact(threshold: float | None, error: float) -> None:
    draw = np.random.default_rng(4)
    exact = draw.normal(0, 2, (3000, 7)).astype(np.float32)
    rough = exact + draw.uniform(-error, error, exact.shape).astype(np.float32)
    asked: list[int] = []

    def exactly(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return exact[rows]

    found = settled(rough, threshold, exactly)
    np.testing.assert_array_equal(decided(found, threshold), decided(exact, threshold))
    assert len(asked) == len(set(asked))
    np.testing.assert_array_equal(found[asked], exact[asked])
    rest = np.setdiff1d(np.arange(len(exact)), asked)
    np.testing.assert_array_equal(found[rest], rough[rest])
    # all that could be otherwise were asked about, and not many more
    assert set(np.flatnonzero((decided(rough, threshold) != decided(exact, threshold)).any(1))) <= set(asked)
    assert len(asked) <= 64 + (distances(rough, threshold) <= 2 * error).sum()


def test_a_large_error_asks_for_rows_further_off() -> None:
    gaps = np.concatenate([np.full(64, 0.001), np.linspace(0.1, 5, 50)])
    exact = np.stack([gaps, -gaps], axis=1).astype(np.float32)
    rough = exact.copy()
    rough[5] += 0.6  # both alike: as close as before
    rough[70] = -rough[70]  # 0.6 off the other way, and decides otherwise
    asked: list[int] = []

    def exactly(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return exact[rows]

    found = settled(rough, None, exactly)
    assert 70 in asked
    assert set(range(64)) < set(asked) < set(range(len(gaps)))
    np.testing.assert_array_equal(decided(found, None), decided(exact, None))


def test_distances() -> None:
    logits = np.array([[1.0, 3.0, 2.5], [0.0, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(distances(logits, None), [0.25, 0.0])
    np.testing.assert_allclose(distances(logits, 0.5), [1.0, 0.0])
    assert distances(np.zeros((2, 1), dtype=np.float32), None).tolist() == [np.inf, np.inf]


def test_nothing_and_few() -> None:
    nothing = np.zeros((0, 3), dtype=np.float32)
    assert settled(nothing, None, lambda rows: nothing[rows]).shape == (0, 3)
    few = np.array([[0.0, 9.0]], dtype=np.float32)
    assert settled(few, None, lambda rows: np.array([[8.0, 7.0]], dtype=np.float32)[rows]).tolist() == [
        [8.0, 7.0]
    ]
