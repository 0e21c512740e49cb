"""Recorded steps (CUDA graphs on a GPU) do what plain ones do. Here, without one, a recording is replayed by running it again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.train import loop
from emodef.train.architectures import is_recorded, load_network
from emodef.train.batches import word_places
from emodef.train.graphs import CudaGraphs, Recorded, copied, shape_of, tensors
from emodef.train.logs import TrainingLog
from emodef.train.settings import TrainSettings
from emodef.train.steps import RecordedSteps, Scaled, recordable, scales_of
from replays import Replays, kept

GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
SETUPS = ("none", "cdp", "mlm", "cdp+mlm", "match", "match+cdp+mlm")


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))


@pytest.fixture
def begun(tiny_backbone: Callable[..., Path], tiny_corpus: dict[str, Corpus]) -> Callable[..., Any]:
    """`begun("cpu", Replays(), setup="cdp")`: a run on a tiny BERT, plain where nothing records its steps."""

    def begin(device: str, replays: Replays | None, **changes: Any) -> Any:
        from bench.recorded_steps import plain, recorded, side

        settings = TrainSettings(
            **{"backbone": str(tiny_backbone("bert")), "pooling": "mean", "precision": "fp32"} | changes
        )
        place = torch.device(device)
        take = plain(place) if replays is None else recorded(place, replays)
        return side(settings, tiny_corpus["train"], place, take)

    return begin


def taken(side: Any) -> list[list[float]]:
    """What each step of a run said."""
    for step in range(len(side.batches)):
        side.take(step)
    said: list[list[float]] = side.said
    return said


@pytest.mark.long
@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("setup", SETUPS)
def test_they_do_what_plain_steps_do(begun: Callable[..., Any], setup: str, device: str) -> None:
    given: dict[str, Any] = {
        "setup": setup, "epochs": 6, "batch_size": 8, "learning_rate": 1e-3, "auxiliary_clip": 0.1
    }  # fmt: skip
    if setup == "match":
        given["match_vary"] = 0.5
    replays = Replays(kept if device == "cpu" else CudaGraphs().record)
    recorded, plain = begun(device, replays, **given), begun(device, None, **given)
    said, expected = taken(recorded), taken(plain)
    assert replays.recorded >= 1
    assert replays.replayed > len(said) / 3  # most of the others are a shape's first
    for one, other in zip(said, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for (name, one), (_, other) in zip(
        recorded.steps.model.named_parameters(), plain.steps.model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.long
def test_a_loss_that_is_not_finite_is_told(begun: Callable[..., Any]) -> None:
    said = taken(begun("cpu", Replays(), learning_rate=1e30))
    assert not all(np.isfinite(each).all() for each in said)


def test_only_what_was_seen_on_a_gpu_is_recorded(tiny_backbone: Callable[..., Path]) -> None:
    """MPNet's position biases were once made on the CPU: what is copied from there while recording ends the run."""
    for kind, wanted in (("bert", True), ("mpnet", False)):
        network = load_network(str(tiny_backbone(kind)), 3, "mean")
        assert is_recorded(network, torch.device("cuda")) is wanted
        assert not is_recorded(network, torch.device("cpu"))


def doubled(recorded: Recorded[list[torch.Tensor]], given: torch.Tensor, calls: list[str]) -> float:
    def work(batch: list[torch.Tensor]) -> torch.Tensor:
        calls.append("work")
        return batch[0].sum().reshape(1) * 2

    def rehearse(batch: list[torch.Tensor]) -> None:
        calls.append("rehearse")

    return float(recorded([given], 1, work=work, rehearse=rehearse, forget=lambda: None))


def test_a_shape_is_recorded_when_it_comes_again() -> None:
    calls: list[str] = []
    replays = Replays()
    recorded = Recorded[list[torch.Tensor]](replays)
    for number, length in enumerate((3, 4, 3, 3, 4)):
        assert doubled(recorded, torch.full((length,), float(number)), calls) == 2 * number * length
    assert (len(recorded), replays.recorded, replays.replayed) == (2, 2, 3)
    assert calls == ["work", "work", "rehearse", "work", "work", "rehearse", "work"]
    assert doubled(recorded, torch.ones(3, dtype=torch.float64), calls) == 6  # another type, not a third time
    assert replays.replayed == 3


def test_what_cannot_be_recorded_is_told_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(rehearsal: Callable[[], None], work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    recorded, calls = Recorded[list[torch.Tensor]](fails), list[str]()
    assert doubled(recorded, torch.ones(3), calls) == 6
    with pytest.raises(
        SettingsError, match=r"not permitted when stream is capturing\).*EMODEF_PLAIN_STEPS=1"
    ):
        doubled(recorded, torch.ones(3), calls)


def test_nothing_of_steps_outlives_them(begun: Callable[..., Any]) -> None:
    """No cycle: a model, and a GPU's memory of recordings, would stay until some later collection."""
    side = begun("cpu", Replays())
    groups = side.steps.optimizer.param_groups
    rates = [group["lr"].data_ptr() for group in groups]
    side.take(0)
    assert [group["lr"].data_ptr() for group in groups] == rates  # where replays read them
    gone = weakref.ref(side.steps)
    gc.collect()
    gc.disable()
    try:
        del side
        assert gone() is None
    finally:
        gc.enable()


def test_an_optimizer_that_has_begun_goes_on_as_it_was(tiny_corpus: dict[str, Corpus]) -> None:
    """Of a resumed run: some parameters have moments, others none yet."""
    torch.manual_seed(0)
    one, two = torch.nn.Parameter(torch.randn(4)), torch.nn.Parameter(torch.randn(3))
    optimizer = torch.optim.AdamW([{"params": [one, two], "lr": 0.25, "weight_decay": 0.1}], fused=True)
    one.grad = torch.randn(4)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    weights = [one.detach().clone(), two.detach().clone()]
    moments = {name: value.clone() for name, value in optimizer.state[one].items()}
    recordable(optimizer, torch.device("cpu"))
    assert torch.equal(one, weights[0])
    assert torch.equal(two, weights[1])
    assert all(torch.equal(optimizer.state[one][name], value) for name, value in moments.items())
    assert all(not value.any() for value in optimizer.state[two].values())
    assert float(optimizer.param_groups[0]["lr"]) == 0.25


class NoQuestions(TorchDispatchMode):
    """Refuses operations that wait for the device's answer, which cannot be recorded."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        asked = str(func)
        assert not any(name in asked for name in ("_local_scalar_dense", "is_nonzero", "nonzero")), asked
        return func(*args, **(kwargs or {}))


@pytest.mark.long
@pytest.mark.parametrize("setup", SETUPS)
def test_a_step_asks_the_device_for_nothing(
    begun: Callable[..., Any], setup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = begun("cpu", Replays(), setup=setup, epochs=2)
    monkeypatch.setattr("transformers.utils.import_utils.is_cuda_stream_capturing", lambda: True)
    for step in range(8):
        made = side.batches.make(step)
        scales = scales_of(made)
        given = Scaled(made.batch, tuple(scales), torch.tensor(list(scales.values())))
        with NoQuestions():
            side.steps.gradients(given)


@pytest.mark.long
def test_a_run_of_recorded_steps_goes_on_where_it_was(
    tiny_backbone: Callable[..., Path],
    tiny_corpus: dict[str, Corpus],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = TrainSettings(
        backbone=str(tiny_backbone("bert")), setup="match+cdp+mlm", pooling="mean", precision="fp32", epochs=3, keep="last"
    )  # fmt: skip
    replays = Replays()
    monkeypatch.setattr(loop, "is_recorded", lambda *given: True)
    monkeypatch.setattr(loop, "RecordedSteps", partial(RecordedSteps, record=replays))
    whole = loop.train(settings, tiny_corpus, tmp_path / "whole", cpu=True)
    with pytest.raises(loop.Interrupted):
        loop.train(settings, tiny_corpus, tmp_path / "cut", cpu=True, stop_after=9)
    cut = loop.train(settings, tiny_corpus, tmp_path / "cut", cpu=True, resume=True)
    assert replays.replayed > 10
    for (name, one), (_, other) in zip(
        whole.model.model.named_parameters(), cut.model.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name

    with pytest.raises(loop.Interrupted):
        loop.train(settings, tiny_corpus, tmp_path / "moved", cpu=True, stop_after=9)
    monkeypatch.setattr(loop, "is_recorded", lambda *given: False)
    log = TrainingLog(tmp_path / "log.jsonl")
    loop.train(settings, tiny_corpus, tmp_path / "moved", cpu=True, resume=True, log=log)
    assert "with other padding" in (tmp_path / "log.jsonl").read_text(encoding="utf-8")


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
