"""What a label without data gets as bias and threshold: each policy against its definition."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest

from emodef.errors import SettingsError
from emodef.predictor.head import sigmoid, unit
from emodef.predictor.own import ordinary
from emodef.predictor.unseen import (
    POLICIES,
    Guess,
    Trained,
    biases_for,
    centred,
    combined,
    name_of,
    of_examples,
    policy_of,
)

DRAW = np.random.default_rng(0)
KNOWN = unit(DRAW.normal(size=(6, 8)).astype(np.float32))
TEXTS = unit(DRAW.normal(size=(50, 8)).astype(np.float32) + 0.3)
TRAINED = Trained(
    scale=9.0,
    biases=np.array([-4, -4.5, -3, -5, -4.2, -3.9], dtype=np.float32),
    fixed=0.3,
    tuned=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    encode=lambda: KNOWN,
    background=TEXTS,
)


def labels(count: int) -> np.ndarray:
    return unit(np.random.default_rng(1).normal(size=(count, 8)).astype(np.float32))


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_gives_a_bias_and_a_threshold_a_label(name: str) -> None:
    for count in (0, 1, 5):
        found = POLICIES[name](labels(count), TRAINED)
        assert isinstance(found, Guess)
        assert found.bias.shape == found.threshold.shape == (count,)
        assert found.bias.dtype == np.float32
        assert ((found.threshold > 0) & (found.threshold < 1)).all()


def test_mean() -> None:
    found = POLICIES["mean"](labels(3), TRAINED)
    np.testing.assert_allclose(found.bias, TRAINED.biases.mean())
    np.testing.assert_allclose(found.threshold, 0.3)
    np.testing.assert_allclose(POLICIES["mean_tuned"](labels(3), TRAINED).threshold, 0.35)


def test_a_label_that_is_a_known_one_is_nearest_to_it() -> None:
    apart = np.eye(6, 8, dtype=np.float32)
    found = POLICIES["neighbours"](apart, dataclasses.replace(TRAINED, encode=lambda: apart))
    np.testing.assert_allclose(found.bias, TRAINED.biases, atol=0.02)
    np.testing.assert_allclose(found.threshold, TRAINED.tuned, atol=0.02)


def test_background_gives_labels_what_known_ones_have_there() -> None:
    given = labels(5)
    found = POLICIES["background"](given, TRAINED)
    shares = sigmoid(9 * TEXTS @ given.T + found.bias).mean(axis=0)
    known = sigmoid(9 * TEXTS @ KNOWN.T + TRAINED.biases).mean(axis=0)
    np.testing.assert_allclose(shares, np.median(known), rtol=1e-3)
    with pytest.raises(SettingsError, match="needs texts"):
        POLICIES["background"](given, dataclasses.replace(TRAINED, background=None))
    extreme = biases_for(np.array([[1.0, 50.0], [1.0, -50.0]], dtype=np.float32), 0.0)
    assert np.isfinite(extreme).all()


def test_centred_takes_half_of_what_a_label_has_on_ordinary_texts_above_trained_ones() -> None:
    given = labels(5)
    near = unit(given + 4 * TEXTS.mean(axis=0))
    bias, plain = POLICIES["centred"](near, TRAINED).bias, POLICIES["mean"](near, TRAINED).bias
    over = 9 * (TEXTS @ near.T).mean(axis=0) - 9 * float((TEXTS @ KNOWN.T).mean())
    assert (over > 0).all()
    np.testing.assert_allclose(plain - bias, over / 2, rtol=1e-4)
    quarter = policy_of("centred:0.25")
    np.testing.assert_allclose(plain - quarter(near, TRAINED).bias, over / 4, rtol=1e-4)
    assert quarter.__name__ == "centred:0.25"
    for wrong in ("centred:2", "centred:half", "centred:"):
        with pytest.raises(SettingsError, match="a number from 0 to 1"):
            policy_of(wrong)
    without = dataclasses.replace(TRAINED, background=None)
    np.testing.assert_array_equal(POLICIES["centred"](near, without).bias, plain)


def test_examples_do_not_raise_a_label_everywhere() -> None:
    without = labels(5)
    vectors = unit(without + TEXTS[:5])
    shift = of_examples(vectors, without, 9.0, TEXTS)
    assert (shift > 0).all()
    np.testing.assert_allclose(
        (9 * TEXTS @ vectors.T - shift).mean(axis=0), (9 * TEXTS @ without.T).mean(axis=0), atol=1e-4
    )


def test_combined_is_the_mean_of_unit_vectors() -> None:
    given = np.array([[2.0, 0.0], [0.0, 5.0]], dtype=np.float32)
    np.testing.assert_allclose(combined(given), np.sqrt([0.5, 0.5]), atol=1e-6)
    np.testing.assert_allclose(combined(given[:1]), [1, 0])


def test_one_s_own_policy() -> None:
    def mine(given: np.ndarray, trained: Trained) -> Guess:
        return Guess(np.full(len(given), -1, np.float32), np.full(len(given), 0.5))

    assert policy_of(mine) is mine
    with pytest.raises(SettingsError, match="policy 'best'; there are mean"):
        policy_of("best")


def test_what_a_policy_is_known_by() -> None:
    assert name_of(policy_of("centred")) == "centred"
    assert name_of(policy_of("centred:0.25")) == "centred:0.25"
    assert name_of(partial(centred, part=0.25)) == "centred(part=0.25)"  # nothing of this process's memory


def test_ordinary_sentences() -> None:
    found = ordinary()
    assert len(found) == len(set(found)) >= 48
    assert all(text == text.strip() and text for text in found)
