"""Settings of a process that make training fast: the same results, and memory that goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch import nn

from emodef.corpora import Corpus
from emodef.train import loop
from emodef.train.performance import multiply_in, quick_linear, tuned_process
from emodef.train.settings import TrainSettings


def test_a_tuned_process_rounds_products_afterwards_as_before() -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    with tuned_process():
        multiply_in("tf32")
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("bias", [True, False])
def test_quick_linear_multiplies_alike_and_leaves_nothing(bias: bool) -> None:
    model = nn.Sequential(nn.Linear(40, 70, bias=bias), nn.GELU(), nn.Linear(70, 3, bias=bias))
    inputs = torch.randn(5, 9, 40)
    with torch.no_grad():
        plain = model(inputs)
        with quick_linear(model):
            quick = model(inputs)
            assert "forward" in vars(model[0]) or not torch.backends.mkldnn.is_available()
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)
    assert not any("forward" in vars(layer) for layer in model)
    half = model.to(torch.bfloat16)
    with torch.no_grad(), quick_linear(half):
        assert not any("forward" in vars(layer) for layer in half)


FRAGMENTS = """
import os
from pathlib import Path
from emodef.train.performance import trim_memory, tune_process

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

tune_process()
pieces = [bytearray([n % 256]) * 60_000 for n in range(4_000)]
kept = pieces[::20]  # no long stretch is free
del pieces
before = resident()
trim_memory()
assert all(piece == bytearray([20 * n % 256]) * 60_000 for n, piece in enumerate(kept))
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries go without")
def test_memory_between_pieces_in_use_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 150e6  # of 240 MB, a twentieth of which is in use


def test_training_trims_with_every_state_and_learns_the_same(
    tiny_backbone: Callable[..., Path],
    tiny_corpus: dict[str, Corpus],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = TrainSettings(
        backbone=str(tiny_backbone("roberta")), epochs=2, batch_size=16, precision="fp32", keep="last", save_every=5
    )  # fmt: skip
    trim, saved = loop.trim_memory, loop.save_state
    calls: list[str] = []
    monkeypatch.setattr(loop, "trim_memory", lambda: (calls.append("trim"), trim()))
    monkeypatch.setattr(loop, "save_state", lambda *given: (calls.append("save"), saved(*given)))

    def trained(place: str) -> dict[str, Any]:
        model = loop.train(settings, tiny_corpus, tmp_path / place, cpu=True).model.model
        return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    weights = trained("with")
    assert calls == ["save", "trim"] * 5  # 16 steps: after 5, 8, 10, 15, and the last
    monkeypatch.setattr(loop, "trim_memory", lambda: None)
    without = trained("without")
    assert all(torch.equal(weight, without[name]) for name, weight in weights.items())
