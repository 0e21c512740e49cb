"""auxiliary_clip: gradients of the definition tasks' steps have a limit of their own, those of the emotion task keep theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from emodef.corpora import Corpus
from emodef.train.loop import train
from emodef.train.sampling import draw_tasks
from emodef.train.settings import TrainSettings
from tiny_training import train_and_save

Splits = dict[str, Corpus]
LIMIT = 0.05


@pytest.fixture(scope="module")
def make(tiny_bert_dir: Path) -> Callable[..., TrainSettings]:
    def settings(**changes: Any) -> TrainSettings:
        base: dict[str, Any] = {"backbone": str(tiny_bert_dir), "epochs": 3, "precision": "fp32"}
        return TrainSettings(**base | {"learning_rate": 1e-3, "setup": "cdp"} | changes)

    return settings


@contextmanager
def norms_of_updates() -> Iterator[list[float]]:
    """The gradient norm that the optimiser was given at each step."""
    found: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        found.append(float(torch.nn.utils.get_total_norm(gradients)))

    handle = register_optimizer_step_pre_hook(note)
    try:
        yield found
    finally:
        handle.remove()


@pytest.mark.parametrize("setup", ["cdp", "mlm", "cdp+mlm"])
def test_auxiliary_steps_alone_are_held_to_it(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, setup: str
) -> None:
    settings = make(setup=setup, auxiliary_clip=LIMIT)
    with norms_of_updates() as norms:
        train(settings, tiny_corpus, tmp_path, cpu=True)
    primary = draw_tasks(settings.seed, len(norms), settings.p)
    sizes = np.array(norms)
    assert sizes[~primary].max() <= LIMIT * 1.001
    assert np.isclose(sizes[~primary], LIMIT, rtol=0.01).any(), "it is a limit that they reach"
    assert sizes[primary].max() > 2 * LIMIT
    assert sizes[primary].max() <= settings.gradient_clip * 1.001


def test_it_changes_a_run_only_where_there_are_auxiliary_steps(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    for setup in ("none", "match"):
        assert make(setup=setup, auxiliary_clip=LIMIT).canonical() == make(setup=setup).canonical()
    assert make(auxiliary_clip="none") == make()
    bounded, plain = make(auxiliary_clip=LIMIT), make()
    assert bounded.canonical() == plain.canonical() | {"auxiliary_clip": LIMIT}
    assert (plain.clip(primary=False), bounded.clip(primary=False), bounded.clip(primary=True)) == (
        1,
        LIMIT,
        1,
    )
    weights = []
    for name, settings in (("bounded", bounded), ("plain", plain), ("as-all", make(auxiliary_clip=1.0))):
        train_and_save(settings, tiny_corpus, tmp_path / name)
        weights.append((tmp_path / name / "final-0.safetensors").read_bytes())
    assert weights[1] == weights[2] != weights[0]
