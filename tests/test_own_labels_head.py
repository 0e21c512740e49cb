"""Heads over a text's embedding: what they compute, and the folder of a fitted one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from emodef.errors import DataError
from emodef.labels import LabelSet
from emodef.predictor.head import HEAD, WEIGHTS, HeadInfo, LabelHead, hash_of, sigmoid, unit

LABELS = LabelSet("pets", ("cat", "dog"), ("A small animal that purrs", "An animal that barks"))


def made() -> LabelHead:
    draw = np.random.default_rng(3)
    return LabelHead(draw.normal(size=(2, 6)).astype(np.float32), np.array([-1.0, 0.5], dtype=np.float32))


def test_probabilities_are_of_normalised_embeddings() -> None:
    head, texts = made(), np.random.default_rng(4).normal(size=(5, 6)).astype(np.float32)
    cosine = (texts / np.linalg.norm(texts, axis=1, keepdims=True)) @ head.weight.T.astype(np.float64)
    expected = 1 / (1 + np.exp(-(cosine + head.bias)))
    found = head.probabilities(texts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(head.probabilities(texts * 7), found, atol=1e-6)
    assert head.probabilities(texts[:0]).shape == (0, 2)


def test_nothing_overflows_and_small_probabilities_stay_apart() -> None:
    with np.errstate(all="raise"):
        found = sigmoid(np.array([-1000, -20, -19, 0, 1000], dtype=np.float32))
        assert np.isfinite(unit(np.zeros((1, 3), dtype=np.float32))).all()
    assert found[0] < found[1] < found[2] < found[3] == 0.5 < found[4] == 1


def test_a_folder_holds_all_of_a_head(tmp_path: Path) -> None:
    info = HeadInfo(
        LABELS,
        base_hash="ab" * 32,
        thresholds={"fixed": 0.3, "tuned": {"pets": [0.2, 0.4]}},
        about={"rows": 100},
    )
    made().write(tmp_path, info)
    head, read = LabelHead.read(tmp_path)
    assert read == info
    assert (head.weight == made().weight).all()
    assert (head.bias == made().bias).all()
    first = {name: (tmp_path / name).read_bytes() for name in (HEAD, WEIGHTS)}
    made().write(tmp_path, info)
    assert first == {name: (tmp_path / name).read_bytes() for name in (HEAD, WEIGHTS)}


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    info = HeadInfo(LABELS, base_hash="ab" * 32)
    with pytest.raises(DataError, match=r"head\.json: not found; copy the whole folder"):
        LabelHead.read(tmp_path)
    made().write(tmp_path, info)
    whole = json.loads((tmp_path / HEAD).read_text())
    for change, said in (
        ({"format": 9}, "format 9, this emodef reads 1; install"),
        ({"base": "elsewhere"}, "base is 'elsewhere'"),
        ({"label_set": 3}, "label_set is needed"),
        ({"thresholds": {"fixed": 2}}, r"thresholds\.fixed is 2"),
        ({"thresholds": {"fixed": 0.3, "tuned": {"pets": [0.1]}}}, "expected 2 numbers"),
        ({"colour": 1}, "colour"),
    ):
        (tmp_path / HEAD).write_text(json.dumps(whole | change))
        with pytest.raises(DataError, match=said) as raised:
            LabelHead.read(tmp_path)
        assert str(tmp_path / HEAD) in str(raised.value)
    (tmp_path / HEAD).write_text("{")
    with pytest.raises(DataError, match="not readable as JSON"):
        LabelHead.read(tmp_path)
    (tmp_path / HEAD).write_text(json.dumps(whole))
    (tmp_path / WEIGHTS).write_bytes(b"PK half of it")
    with pytest.raises(DataError, match=r"is not the file that head\.json was written with"):
        LabelHead.read(tmp_path)


def test_shapes_and_numbers_are_checked() -> None:
    with pytest.raises(DataError, match=r"not \(2, 3\) and \(3,\)"):
        LabelHead(np.zeros((2, 3), np.float32), np.zeros(3, np.float32))
    with pytest.raises(DataError, match="finite"):
        LabelHead(np.full((1, 3), np.nan, np.float32), np.zeros(1, np.float32))
    with pytest.raises(DataError, match="1 labels in the head and 2"):
        LabelHead(np.zeros((1, 3), np.float32), np.zeros(1, np.float32)).write(".", HeadInfo(LABELS, "ab"))


def test_hash_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
