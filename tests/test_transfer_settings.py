"""Settings of transfer studies: strict, of what is run and how apart; the recipes that come with emodef."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from emodef.train.settings import load_experiment
from emodef.train.transfer_settings import TransferSettings


def test_settings_are_strict(study: Callable[..., TransferSettings]) -> None:
    for wrong, words in (
        ({"epoch": 3}, "epoch"),
        ({"sizes": [11]}, "11 is below smallest = 12"),
        ({"sizes": [1.5]}, "1.5 is no share"),
        ({"sizes": [12, 12]}, "each once"),
        ({"starts": ["none", "none"]}, "each once"),
        ({"policies": ["argmax"]}, "softmax"),
        ({"splits": "3"}, "splits"),
    ):
        with pytest.raises(ValueError, match=words):
            study(**wrong)
    assert study(max_eval="none").max_eval is None


def test_what_is_run_is_not_how(study: Callable[..., TransferSettings]) -> None:
    base = study()
    for same in (
        {"splits": 5},
        {"sizes": [40]},
        {"starts": ["none"]},
        {"policies": ["sigmoid"]},
        {"description": "x"},
    ):
        assert study(**same).digest("fp32") == base.digest("fp32")
    for other in ({"epochs": 3}, {"seed": 1}, {"max_eval": 40}, {"smallest": 11}, {"learning_rate": 1e-3}):
        assert study(**other).digest("fp32") != base.digest("fp32")
    assert base.digest("bf16") != base.digest("fp32")


@pytest.mark.parametrize("recipe", ["figure3", "figure3_minilm"])
def test_the_shipped_recipes_are_the_papers_study(recipe: str) -> None:
    study = load_experiment(recipe).transfer
    assert isinstance(study, TransferSettings)
    assert study.corpora == ("isear", "emoint", "emotion_stimulus")
    assert study.starts == ("untuned", "none", "cdp", "mlm", "cdp+mlm", "match")
    assert (study.epochs, study.batch_size, study.learning_rate, study.warmup) == (10, 16, 5e-5, 0.1)
