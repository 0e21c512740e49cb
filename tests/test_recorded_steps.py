"""Recorded steps (CUDA graphs on a GPU) do what plain ones do. Here, without one, a recording is replayed by running it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from accelerate import Accelerator

from emodef.corpora import Corpus
from emodef.train.architectures import is_recorded, load_network
from emodef.train.batches import StepBatches, word_places
from emodef.train.checkpoint import TrainedModel
from emodef.train.graphs import CudaGraphs, Recorded, copied, shape_of, tensors
from emodef.train.loop import _optimizer, learning_rate_factor
from emodef.train.settings import TrainSettings
from emodef.train.steps import RecordedSteps, Steps
from replays import Replays

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
SETUPS = ("none", "cdp", "mlm", "cdp+mlm", "match", "match+cdp+mlm")


def run(
    settings: TrainSettings, corpus: Corpus, device: str, replays: Replays | None
) -> tuple[TrainedModel, list[tuple[float, dict[str, float]]]]:
    """All steps of a run, plain ones without `replays`: the model, and what each step said."""
    place = torch.device(device)
    torch.manual_seed(settings.seed)
    trained = TrainedModel.untrained(settings, corpus.label_set)
    batches = StepBatches(corpus, trained.tokenizer, settings, device=place, multiple=8)
    trained.model.to(place).train()
    optimizer = _optimizer(trained.model, settings, place)
    steps: Steps | RecordedSteps
    if replays is None:
        steps = Steps(Accelerator(cpu=device == "cpu"), trained.model, optimizer, settings, "fp32")
    else:
        graphs = replays if device == "cpu" else Replays(CudaGraphs().record)
        steps = RecordedSteps(trained.model, optimizer, settings, "fp32", place, record=graphs)
        replays = graphs
    said = []
    for step in range(len(batches)):
        rate = learning_rate_factor(step, len(batches), settings.warmup)
        said.append(steps.take(batches.make(step), rate, 1000 + step))
    if replays is not None:
        assert replays.recorded >= 1
        assert replays.replayed > len(said) / 3  # most of the others are a shape's first
    return trained, said


@pytest.mark.long
@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("setup", SETUPS)
def test_they_do_what_plain_steps_do(
    tiny_backbone: Callable[..., Path], tiny_corpus: dict[str, Corpus], setup: str, device: str
) -> None:
    settings = TrainSettings(
        backbone=str(tiny_backbone("bert")),
        setup=setup,
        pooling="mean",
        precision="fp32",
        epochs=6,
        batch_size=8,
        learning_rate=1e-3,
        auxiliary_clip=0.1,
        match_vary=0.5 if setup == "match" else 0.0,
    )
    plain, expected = run(settings, tiny_corpus["train"], device, None)
    kept, said = run(settings, tiny_corpus["train"], device, Replays())
    for (norm, losses), (other_norm, others) in zip(said, expected, strict=True):
        assert norm == pytest.approx(other_norm, rel=1e-4)
        assert losses == pytest.approx(others, rel=1e-4)
    for (name, one), (_, other) in zip(
        kept.model.named_parameters(), plain.model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.long
def test_a_loss_that_is_not_finite_is_told(
    tiny_backbone: Callable[..., Path], tiny_corpus: dict[str, Corpus]
) -> None:
    settings = TrainSettings(
        backbone=str(tiny_backbone("bert")), pooling="mean", precision="fp32", learning_rate=1e30, warmup=0.0
    )
    _, said = run(settings, tiny_corpus["train"], "cpu", Replays())
    assert any(not np.isfinite([norm, *losses.values()]).all() for norm, losses in said)


def test_only_what_was_seen_on_a_gpu_is_recorded(tiny_backbone: Callable[..., Path]) -> None:
    """MPNet's position biases were once made on the CPU: what is copied from there while recording ends the run."""
    for kind, wanted in (("bert", True), ("mpnet", False)):
        network = load_network(str(tiny_backbone(kind)), 3, "mean")
        assert is_recorded(network, torch.device("cuda")) is wanted
        assert not is_recorded(network, torch.device("cpu"))


def test_a_shape_is_recorded_when_it_comes_again() -> None:
    calls: list[tuple[str, tuple[int, ...]]] = []

    def work(batch: list[torch.Tensor]) -> torch.Tensor:
        calls.append(("work", tuple(batch[0].shape)))
        return batch[0].sum().reshape(1) * 2

    def rehearse(batch: list[torch.Tensor]) -> None:
        calls.append(("rehearse", tuple(batch[0].shape)))

    replays = Replays()
    recorded = Recorded(work, rehearse, forget=lambda: None, record=replays)
    for number, length in enumerate((3, 4, 3, 3, 4)):
        given = [torch.full((length,), float(number))]
        assert float(recorded(given, 1)) == 2 * number * length
    assert (len(recorded), replays.recorded, replays.replayed) == (2, 2, 3)
    kinds = [kind for kind, _ in calls]
    assert kinds == ["work", "work", "rehearse", "work", "work", "rehearse", "work"]


def test_batches_are_copied_and_told_apart() -> None:
    @dataclass
    class Pair:
        first: torch.Tensor
        others: list[torch.Tensor]
        none: torch.Tensor | None = None

    one = Pair(torch.zeros(2, 3), [torch.ones(4)])
    other = copied(one)
    assert shape_of(one) == shape_of(other) != shape_of(Pair(torch.zeros(2, 3), [torch.ones(5)]))
    assert shape_of(one) != shape_of(Pair(torch.zeros(2, 3), [], torch.ones(4)))
    other.first += 1
    other.others[0] += 1
    assert float(one.first.sum()) == 0
    assert [tuple(each.shape) for each in tensors(one)] == [(2, 3), (4,)]
    assert float(one.others[0].sum()) == 4


def test_places_of_words_are_as_many_as_usual() -> None:
    rng = np.random.default_rng(0)
    words = rng.random((16, 40)) < 0.15
    words[0, 0] = False
    places = word_places(words, 0.15)
    found = np.flatnonzero(words)
    assert (places[: len(found)] == found).all()
    assert (places[len(found) :] == 0).all()
    assert len(places) == len(word_places(np.zeros((16, 40), dtype=bool), 0.15)) > len(found)
    everything = np.ones((2, 4), dtype=bool)
    everything[1, 3] = False
    assert word_places(everything, 0.15).tolist() == list(range(7))
