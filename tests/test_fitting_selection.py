"""How strongly a head is held to its start, and its thresholds: what data of different sizes and kinds choose."""

from __future__ import annotations

import numpy as np
import pytest

from emodef.fitting.folds import text_groups
from emodef.fitting.regression import Linear, probabilities
from emodef.fitting.selection import (
    DEFAULT_STRENGTH,
    STRENGTHS,
    Chosen,
    Dev,
    macro_f1,
    select,
    shrunk_thresholds,
)

WIDTH, LABELS = 24, 4


def world(
    rows: int, *, exclusive: bool = False, noise: float = 0.4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Linear]:
    """Unit vectors around the directions of their labels, and the head those directions make."""
    draw = np.random.default_rng([seed, 9])
    directions = np.linalg.qr(draw.normal(size=(WIDTH, LABELS)))[0].T
    truth = np.eye(LABELS)[np.arange(rows) % LABELS]
    if not exclusive:
        truth = np.maximum(truth, draw.random((rows, LABELS)) < 0.1)
    x = truth @ directions + noise * draw.normal(size=(rows, WIDTH))
    return x / np.linalg.norm(x, axis=1, keepdims=True), truth, Linear(8 * directions, np.full(LABELS, -4.0))


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def chosen(
    rows: int, start: Linear | None = None, **options: object
) -> tuple[Chosen, np.ndarray, np.ndarray]:
    exclusive = bool(options.pop("exclusive", False))
    x, truth, good = world(rows, exclusive=exclusive)
    return select(x, truth, alone(rows), start or good, exclusive=exclusive, **options), x, truth  # type: ignore[arg-type]


def test_a_good_start_is_kept_and_a_bad_one_left() -> None:
    draw = np.random.default_rng(5)
    x, truth, _ = world(200)
    good = world(200)[2]
    bad = Linear(8 * draw.normal(size=(LABELS, WIDTH)) / WIDTH**0.5, np.full(LABELS, -4.0))
    kept = select(x, truth, alone(200), good, exclusive=False)
    left = select(x, truth, alone(200), bad, exclusive=False)
    assert kept.strength > left.strength
    few, many = (select(*world(rows)[:2], alone(rows), good, exclusive=False) for rows in (12, 400))
    assert few.strength >= many.strength
    assert kept.judged == "cross-validation"
    assert set(kept.surprises) == set(STRENGTHS)
    assert kept.surprises[kept.strength] == min(kept.surprises.values())


def test_what_is_held_out_was_not_seen() -> None:
    found, x, truth = chosen(40, seed=3)
    assert [deal.probabilities.shape for deal in found.deals] == [
        (40, LABELS)
    ] * 3  # few texts: dealt three times
    good = world(40)[2]
    for deal in found.deals:
        np.testing.assert_array_equal(np.sort(deal.rows), np.arange(40))
        inside, outside = deal.rows[deal.fold != 2], deal.rows[deal.fold == 2]
        again = select(
            x[inside], truth[inside], alone(len(inside)), good, exclusive=False, strengths=[found.strength],
            dev=Dev(x[outside], truth[outside]),
        )  # fmt: skip
        np.testing.assert_allclose(
            deal.probabilities[deal.fold == 2], again.deals[0].probabilities, atol=1e-4
        )


def test_copies_are_held_out_together() -> None:
    x, truth, start = world(20)
    texts = [f"text {row % 10}" + "!" * (row // 10) for row in range(20)]
    found = select(x, truth, text_groups(texts), start, exclusive=False)
    for deal in found.deals:
        fold = dict(zip(deal.rows.tolist(), deal.fold.tolist(), strict=True))
        assert all(fold[row] == fold[row + 10] for row in range(10))


def test_texts_that_are_all_the_same_leave_the_default() -> None:
    x, truth, start = world(8)
    found = select(x, truth, np.zeros(8, dtype=int), start, exclusive=False)
    assert (found.strength, found.judged, found.deals) == (DEFAULT_STRENGTH, "", ())
    np.testing.assert_array_equal(found.thresholds(0.3), [0.3] * LABELS)
    assert found.macro_f1(0.3) is None


def test_a_dev_split_is_used_where_there_is_one() -> None:
    x, truth, start = world(60)
    dev = Dev(*world(80, seed=1)[:2])
    found = select(x, truth, alone(60), start, exclusive=False, dev=dev)
    assert found.judged == "dev"
    assert found.truth.shape == (80, LABELS)
    expected = probabilities(found.head.logits(dev.vectors), False)
    np.testing.assert_allclose(found.deals[0].probabilities, expected, atol=1e-4)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_same_data_give_the_same_head(exclusive: bool) -> None:
    first, second = (chosen(30, exclusive=exclusive)[0] for _ in range(2))
    np.testing.assert_array_equal(first.head.weight, second.head.weight)
    assert (first.macro_f1(0.3) or 0) > 0.8
    if not exclusive:
        np.testing.assert_array_equal(first.thresholds(0.3), second.thresholds(0.3))


def test_many_texts_hold_one_fold_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emodef.fitting.selection.MANY", 100)
    found, _, _ = chosen(500)
    assert len(found.deals) == 1
    assert 90 <= len(found.deals[0].rows) <= 110
    assert found.thresholds(0.3).shape == (LABELS,)
    deal, given = found.deals[0], np.full(LABELS, 0.3)
    np.testing.assert_array_equal(np.sort(deal.rows), found.rows)
    assert (
        len(np.unique(deal.fold)) == 5
    )  # dealt again, so that thresholds are not tuned on what they are judged on
    truth = found.truth[deal.rows]
    predicted = np.zeros_like(truth)
    for fold in range(5):
        inside = deal.fold == fold
        tuned = shrunk_thresholds(truth[~inside], deal.probabilities[~inside], given)
        predicted[inside] = deal.probabilities[inside] > tuned
    assert found.macro_f1(0.3) == pytest.approx(macro_f1(truth, predicted))


def test_progress_reaches_its_end() -> None:
    told: list[tuple[int, int]] = []
    chosen(20, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1][0] == told[-1][1] == 3 * 5 * len(STRENGTHS) + 1


# Thresholds


def test_few_texts_hardly_move_thresholds_and_many_do() -> None:
    draw = np.random.default_rng(0)
    unlabelled = np.array([0.3, 0.6])

    def held_out(rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = draw.random((rows, 2)) < 0.3
        return truth, np.clip(
            0.05 + 0.1 * truth + 0.03 * draw.normal(size=(rows, 2)), 1e-3, 1
        )  # best parted at 0.1

    few, many = (shrunk_thresholds(*held_out(rows), unlabelled) for rows in (6, 2000))
    np.testing.assert_allclose(many, 0.1, atol=0.03)
    assert (few > many).all()
    assert (few < unlabelled).all()


def test_a_label_without_a_text_has_the_unlabelled_threshold() -> None:
    truth = np.zeros((50, 2), dtype=bool)
    truth[::3, 0] = True
    values = np.random.default_rng(0).random((50, 2))
    found = shrunk_thresholds(truth, values, np.array([0.3, 0.42]))
    assert found[1] == 0.42
    assert found[0] != 0.3
    np.testing.assert_array_equal(
        shrunk_thresholds(truth[1:2], values[1:2], np.array([0.3, 0.42])), [0.3, 0.42]
    )


def test_macro_f1_is_over_the_labels_that_occur() -> None:
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    draw = np.random.default_rng(1)
    truth, predicted = draw.random((30, 3)) < 0.4, draw.random((30, 3)) < 0.4
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="macro"))
    truth[:, 1] = False
    assert macro_f1(truth, predicted) == pytest.approx(
        f1_score(truth[:, [0, 2]], predicted[:, [0, 2]], average="macro")
    )
