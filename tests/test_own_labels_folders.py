"""Folders of fitted heads, as the light predictor opens them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from emodef.definitions import read_labels
from emodef.errors import DataError
from emodef.predictor import Predictor
from emodef.predictor.head import HeadInfo, LabelHead, hash_of
from emodef.predictor.model_file import MatchInfo
from tiny_light import build_tiny_light

OWN = {
    "glee": "so happy and glad",
    "rage": "furious hate, angry hate",
    "platform": "the meeting is on a platform",
}
TEXTS = ["I am so happy", "so furious, angry!", "the meeting", "", "happy " * 100, "scared of it"]


@pytest.fixture
def light(tmp_path: Path) -> Path:
    bias = (-1.0, -2.0, -1.5, -0.5, -3.0)
    return build_tiny_light(tmp_path / "light", match=MatchInfo("{name}: {definition}", 6.0, bias))


@pytest.fixture
def predictor(light: Path) -> Predictor:
    return Predictor.load(light, threads=2)


def test_a_folder_of_a_fitted_head(light: Path, tmp_path: Path, predictor: Predictor) -> None:
    definitions = read_labels(OWN)
    head = LabelHead(
        np.random.default_rng(0).normal(size=(3, 13)).astype(np.float32), np.zeros(3, np.float32)
    )
    info = HeadInfo(
        definitions.label_set,
        hash_of(light / "model.onnx"),
        base="model.onnx",
        thresholds={"fixed": 0.3, "tuned": {"labels": [0.1, 0.2, 0.3]}},
        about={"name": "mine"},
    )
    folder = tmp_path / "fitted"
    shutil.copytree(light, folder)
    head.write(folder, info)
    fitted = Predictor.load(folder, threads=1)
    np.testing.assert_allclose(
        fitted.predict_proba(TEXTS[:4]), head.probabilities(predictor.embed(TEXTS[:4])), atol=1e-6
    )
    np.testing.assert_array_equal(
        fitted.predict_proba(TEXTS), predictor.with_head(head, info).predict_proba(TEXTS)
    )
    assert fitted.info.thresholds["tuned"] == {"labels": [0.1, 0.2, 0.3]}
    assert fitted.info.about["name"] == "mine"
    assert fitted.head is not None
    more = fitted.with_labels({"dread": "scared of it"}, known=True)
    np.testing.assert_array_equal(more.predict_proba(TEXTS)[:, 1:], fitted.predict_proba(TEXTS))
    head.write(folder, dataclasses.replace(info, base_hash="ab" * 32))
    with pytest.raises(DataError, match="was fitted on another model than"):
        Predictor.load(folder)
    with pytest.raises(DataError, match="a head for embeddings of 7 numbers, and this model's have 13"):
        predictor.with_head(LabelHead(np.zeros((3, 7), np.float32), np.zeros(3, np.float32)), info)


def test_a_folder_that_stands_on_the_shipped_model(
    light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emodef.predictor import core

    head = LabelHead(np.ones((1, 13), np.float32), np.zeros(1, np.float32))
    labels = read_labels({"glee": "so happy"}).label_set
    head.write(tmp_path, HeadInfo(labels, hash_of(light / "model.onnx"), about={"emodef": "0.0.9"}))
    monkeypatch.setattr(core, "SHIPPED", light)
    assert Predictor.load(tmp_path).predict_proba(["so happy"]).shape == (1, 1)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"than the model that emodef brings is now; install .*0\.0\.9"):
        Predictor.load(tmp_path)


# ---- models that cannot
