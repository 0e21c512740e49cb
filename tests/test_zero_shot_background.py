"""A background by its moments, in place of its texts: the same biases, and what is written is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emodef.errors import DataError
from emodef.predictor.head import unit
from emodef.predictor.unseen import Trained
from emodef.zeroshot.background import Background


def test_moments_stand_for_the_texts(tmp_path: Path) -> None:
    """With many texts that are normal, the bias from their moments is the one from themselves."""
    from emodef.predictor.unseen import background

    draw = np.random.default_rng(0)
    texts = unit(
        (draw.normal(size=(4000, 6)) * [1, 1, 1, 0.5, 0.5, 2] + [2, 0, 1, 0, 0, 0]).astype(np.float32)
    )
    vectors = unit(draw.normal(size=(3, 6)).astype(np.float32))
    known = unit(draw.normal(size=(5, 6)).astype(np.float32))
    trained = Trained(8.0, np.linspace(-4, -2, 5).astype(np.float32), 0.3, None, lambda: known, texts)
    held = Background.of(texts)
    mean, deviation = held.cosines(vectors)
    np.testing.assert_allclose(mean, (texts @ vectors.T).mean(0), atol=1e-4)
    np.testing.assert_allclose(deviation, (texts @ vectors.T).std(0), atol=1e-3)
    exact, close = background(vectors, trained), held.policy(vectors, trained)
    np.testing.assert_allclose(close.bias, exact.bias, atol=0.3)
    assert close.threshold.tolist() == [0.3] * 3
    held.write(tmp_path / "background.npz")
    read = Background.read(tmp_path / "background.npz")
    np.testing.assert_allclose(read.policy(vectors, trained).bias, close.bias, atol=0.02)
    assert read.texts == 4000
    (tmp_path / "background.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="write it again"):
        Background.read(tmp_path / "background.npz")
    with pytest.raises(DataError, match="few hundred"):
        Background.of(texts[:1])
