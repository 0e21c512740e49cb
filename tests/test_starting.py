"""What a run takes over from the model that it starts from, and what it may not set beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn

from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from emodef.train.starting import check_start, from_checkpoint, trained_start
from tiny_models import LABELS, tiny_model

Splits = dict[str, Corpus]
Saved = Callable[..., Path]


@pytest.fixture
def saved(tiny_backbone: Callable[..., Path], tmp_path: Path) -> Saved:
    """`saved(setup="match")`: folder of a saved model of mean pooling."""

    def make(**changes: Any) -> Path:
        folder = tmp_path / f"model-{changes['setup']}"
        tiny_model(tiny_backbone("bert", initializer_range=0.3), pooling="mean", **changes).save(folder)
        return folder

    return make


def settings(start: Path, **changes: Any) -> TrainSettings:
    base = {"epochs": 1, "learning_rate": 1e-3, "precision": "fp32"}
    return TrainSettings(**{**from_checkpoint(start), **base, **changes})


@pytest.mark.parametrize(("name", "value"), [("match_scale", 12.0), ("match_bias", -2.5)])
def test_what_a_trained_matching_head_has_is_not_set(
    saved: Saved, tiny_corpus: Splits, tmp_path: Path, name: str, value: float
) -> None:
    start = saved(setup="match")
    given = settings(start, **{name: value})
    for refused in (
        lambda: check_start(given),
        lambda: run_training(given, tiny_corpus, tmp_path / "run", cpu=True),
    ):
        with pytest.raises(
            SettingsError, match=rf"{name} = .* would not be used: .* leave it out \(--set {name}="
        ):
            refused()
    assert not (tmp_path / "run").exists()
    check_start(settings(start))
    check_start(settings(start, setup="none", **{name: value}))  # where it means nothing
    check_start(settings(saved(setup="none"), setup="match", **{name: value}))  # a new head begins with it


@pytest.mark.parametrize("pooling", ["own", "mean"])
def test_the_next_start_has_the_dropout_that_was_set(
    tiny_backbone: Callable[..., Path], tmp_path: Path, pooling: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    tiny_model(tiny_backbone("bert"), pooling=pooling, setup="match").save(first)
    trained_start(first, settings(first, dropout=0.25), LABELS).save(second)
    begun = trained_start(second, settings(second), LABELS)
    rates = {module.p for module in begun.model.modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.25}
