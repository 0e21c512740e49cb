"""Own labels beside what a model brings: levels described twice, names of shipped sets, heads whose labels share their scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from commands import emodef_command
from emodef.definitions import read_labels
from emodef.errors import SettingsError
from emodef.labels import LabelSet
from emodef.predictor import Predictor
from emodef.predictor.head import HeadInfo, LabelHead, hash_of
from emodef.predictor.unseen import Policy, mean
from emodef.zeroshot.sources import LightSource

OWN = {"glee": "so happy and glad", "rage": "furious hate, angry hate"}
TEXTS = ["I am so happy", "so furious, angry!", "the meeting"]


def test_a_file_s_own_levels_are_kept_as_it_has_them(predictor: Predictor) -> None:
    """The model knows a level of that name too, with other labels in another order."""
    told = {
        "name": "mine",
        "labels": [{"name": name, "definition": meaning} for name, meaning in OWN.items()],
        "mappings": {"sentiment": {"glee": "positive", "rage": "negative"}},
        "coarse": {
            "sentiment": {"labels": [{"name": n, "definition": f"Being {n}"} for n in ("negative", "positive")]}
        },
    }  # fmt: skip
    own = predictor.with_labels(told)
    assert own.label_set.coarse["sentiment"].names == ("negative", "positive")
    np.testing.assert_array_equal(
        own.predict_proba(TEXTS, level="sentiment"), own.predict_proba(TEXTS)[:, ::-1]
    )
    assert predictor.label_set.coarse["sentiment"].names != ("negative", "positive")


def test_a_file_may_be_called_as_a_level_is(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "sentiment.toml"
    path.write_text('glad = "so happy"\ncross = "furious"\n[mappings.ekman]\nglad = "joy"\ncross = "anger"\n')
    own = predictor.with_labels(path)
    assert own.label_set.name == "sentiment"
    assert own.levels == ("ekman",)


def test_policies_of_one_name_are_told_apart_by_what_they_give(predictor: Predictor) -> None:
    def shifted(by: float) -> Policy:
        def policy(*given: object) -> tuple[np.ndarray, np.ndarray]:
            bias, thresholds = mean(*given)  # type: ignore[arg-type]
            return bias + by, thresholds

        return policy

    layers = [predictor.with_labels(OWN, policy=shifted(by)).layer for by in (0.0, 0.0, 1.0)]
    first, again, other = [layer.identity for layer in layers if layer is not None]
    assert first == again != other


@pytest.fixture
def fitted(tiny_light: Path, tmp_path: Path) -> Path:
    """A head with one label a text, in a folder of its own with its model."""
    folder = shutil.copytree(tiny_light, tmp_path / "fitted")
    width = Predictor.load(tiny_light).embed(["a"]).shape[1]
    pets = LabelSet("pets", ("cat", "dog"), ("It purrs", "It barks"), exclusive=True)
    head = LabelHead(np.zeros((2, width), np.float32), np.zeros(2, np.float32), exclusive=True)
    head.write(folder, HeadInfo(pets, base="model.onnx", base_hash=hash_of(folder / "model.onnx")))
    return folder


def test_labels_that_share_their_scores_are_not_ranked_against_own_ones(fitted: Path) -> None:
    model = Predictor.load(fitted)
    mine = read_labels({**OWN, "exclusive": True})
    with pytest.raises(SettingsError, match="fit all of them together"):
        model.with_labels(mine, known=["cat"])
    assert model.with_labels(mine).label_set.exclusive
    assert model.with_labels(known=["cat"]).label_set.names == ("cat",)


def test_a_fitted_head_is_no_source_of_zero_shot(fitted: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a fitted head, which scores its own labels only"):
        LightSource("mine", fitted)
    data = tmp_path / "train.jsonl"
    data.write_text('{"text": "so happy", "label": "glee"}\n')
    (tmp_path / "mine.toml").write_text('glee = "so happy"\n')
    given = ("--corpus", data, "--labels", tmp_path / "mine.toml", "--rows", tmp_path / "rows.jsonl")
    said = emodef_command("zero-shot", fitted, *given, code=2)
    assert "fitted head" in " ".join(said.stderr.split())


def test_values_that_a_text_or_two_do_not_define(tiny_light: Path, tmp_path: Path) -> None:
    """As the AUC of a label that every text has: none, in the table and in JSON, and kept as that."""
    data, rows = tmp_path / "train.jsonl", tmp_path / "rows.jsonl"
    data.write_text('{"text": "so happy", "label": "glee"}\n')
    (tmp_path / "mine.toml").write_text('glee = "so happy"\n')
    given = ("--corpus", data, "--labels", tmp_path / "mine.toml", "--rows", rows)
    for _ in range(2):
        said = emodef_command("zero-shot", tiny_light, *given, "--json")
        assert '"macro_roc_auc": {"value": null' in said.stdout
    emodef_command("zero-shot", tiny_light, *given)
    compared = emodef_command(
        "labels", "compare", tmp_path / "mine.toml", "--data", data, "--model", tiny_light, "--json"
    )
    assert "null" in compared.stdout


def test_the_split_is_that_of_the_corpus(tiny_light: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for split, text in {"train": "so happy", "dev": "furious hate"}.items():
        (folder / f"{split}.jsonl").write_text(f'{{"text": "{text}", "label": "glee"}}\n')
    (tmp_path / "mine.toml").write_text('glee = "so happy"\nrage = "furious"\n')
    given = ("--corpus", folder, "--labels", tmp_path / "mine.toml", "--rows", tmp_path / "rows.jsonl")
    refused = emodef_command("zero-shot", tiny_light, *given, code=2)
    assert "choose one of train, dev with --split" in " ".join(refused.stderr.split())
    said = emodef_command("zero-shot", tiny_light, *given, "--split", "dev", "--json")
    assert '"task": "' in said.stdout
    assert ' dev"' in said.stdout
