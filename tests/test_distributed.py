"""Two processes on the CPU train as one does: the same losses, the same weights, one log, one folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file

from emodef.corpora import Corpus
from emodef.errors import SettingsError, TrainingError
from emodef.train.processes import locked
from emodef.train.settings import TrainSettings
from tiny_training import EVALUATION, STEP, TIMEOUT, Blow, Job, error_of, finish, train_and_save, world

Splits = dict[str, Corpus]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not torch.distributed.is_available() or sys.platform == "win32",
        reason="needs gloo and forked processes",
    ),
]


@pytest.fixture(scope="module")
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    """`make(setup="cdp")`: settings without dropout, whose random numbers differ from process to process."""

    def settings(**changes: Any) -> TrainSettings:
        base: dict[str, Any] = {
            "backbone": str(tiny_backbone("bert", initializer_range=0.3)),
            "epochs": 2,
            "batch_size": 15,
            "learning_rate": 1e-4,
            "dropout": 0.0,
            "precision": "fp32",
            "keep": "best",
        }
        return TrainSettings(**base | changes)

    return settings


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Splits) -> Splits:
    """46 texts in batches of 15: no batch is divisible by two, and the last holds one text, fewer than there are processes."""
    return tiny_corpus | {
        "train": tiny_corpus["train"].take(range(46)),
        "dev": tiny_corpus["dev"].take(range(9)),
    }


def logged(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines if "step" in line] == list(range(1, 9)), "one log, each step once"
    return [line["losses"] for line in lines if "step" in line]


@pytest.mark.parametrize(
    "changes",
    [
        {"setup": "none"},
        {"setup": "cdp+mlm", "p": 0.4},
        {"setup": "match", "pooling": "mean"},
        {"setup": "match", "pooling": "mean", "match_anchor": 20.0},
    ],
    ids=["none", "cdp+mlm", "match", "anchor"],
)
def test_two_processes_train_as_one(
    make: Callable[..., TrainSettings], corpus: Splits, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = make(**changes)
    one, two = tmp_path / "one", tmp_path / "two"
    trained = train_and_save(settings, corpus, one)
    job = Job(settings, corpus, two)
    assert finish(world(job, 2)) == [0, 0], error_of(job)

    for ours, theirs in zip(logged(two), logged(one), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    expected = load_file(one / "final-0.safetensors")
    for rank in range(2):
        found = load_file(two / f"final-{rank}.safetensors")
        assert set(found) == set(expected)
        for name, value in expected.items():
            if name.endswith(
                "key.bias"
            ):  # softmax does not see it: its gradient is rounding, which Adam blows up
                continue
            torch.testing.assert_close(
                found[name], value, atol=1e-5, rtol=0, msg=lambda text, n=name: f"{n}: {text}"
            )
    # what trained is far from where it started: agreeing is not standing still
    embeddings = next(value for name, value in expected.items() if "word_embeddings" in name)
    start = untrained_embeddings(Path(settings.backbone))
    assert (embeddings[: len(start)] - start).abs().max() > 2e-4
    dev = [epoch["dev_macro_f1"] for epoch in trained.epochs]
    lines = [json.loads(line) for line in (two / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["dev_macro_f1"] for line in lines if "epoch" in line] == pytest.approx(dev, abs=0.05)


def untrained_embeddings(folder: Path) -> torch.Tensor:
    stored = load_file(folder / "model.safetensors")
    return next(value for name, value in stored.items() if name.endswith("word_embeddings.weight"))


def test_only_one_process_writes_and_evaluates(
    make: Callable[..., TrainSettings], corpus: Splits, tmp_path: Path
) -> None:
    settings = make(setup="cdp+match", epochs=1)
    job = Job(settings, corpus, tmp_path / "run", whole=True)
    # The other process would kill itself at its first prediction.
    job = replace(job, blows=(Blow(EVALUATION, 1, rank=1),))
    assert finish(world(job, 2)) == [0, 0], error_of(job)
    names = sorted(path.name for path in job.folder.iterdir())
    assert names == [
        "log.jsonl",
        "metrics.json",
        "model",
        "probabilities.npz",
        "settings.json",
        "versions.json",
    ]
    metrics = json.loads((job.folder / "metrics.json").read_text(encoding="utf-8"))
    assert sum(metrics["training"]["steps"].values()) == 4
    assert set(metrics["reports"]) == {"dev fixed", "dev tuned", "test fixed", "test tuned"}


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_both_after_the_same_step(
    make: Callable[..., TrainSettings], corpus: Splits, tmp_path: Path, rank: int
) -> None:
    settings = make(setup="cdp+mlm")
    whole = Job(settings, corpus, tmp_path / "whole")
    assert finish(world(whole, 2)) == [0, 0], error_of(whole)
    job = Job(settings, corpus, tmp_path / "run", blows=(Blow(STEP, 3, signal.SIGTERM, rank),))
    assert finish(world(job, 2)) == [130, 130]
    assert "stopped after step 3 of 8" in error_of(job)
    assert [path.name for path in (job.folder / "state").iterdir()] == ["step-00000003"]
    (tmp_path / "run.meeting").unlink(missing_ok=True)
    assert finish(world(replace(job, options={"resume": True}, blows=()), 2)) == [0, 0]
    for rank_ in range(2):
        name = f"final-{rank_}.safetensors"
        assert (job.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert logged(job.folder) == logged(whole.folder)


def test_an_error_of_the_main_process_is_all_processes_error(
    make: Callable[..., TrainSettings], corpus: Splits, tmp_path: Path
) -> None:
    """None waits for another that has gone."""
    job = Job(make(), corpus, tmp_path / "run", whole=True)
    with locked(job.folder):
        assert finish(world(job, 2)) == [SettingsError.exit_code] * 2
    assert "in use by" in error_of(job)


def test_a_loss_that_is_not_finite_stops_all(
    make: Callable[..., TrainSettings], corpus: Splits, tmp_path: Path
) -> None:
    job = Job(make(setup="match", learning_rate=1e30, match_learning_rate=1e30), corpus, tmp_path / "run")
    assert finish(world(job, 2)) == [TrainingError.exit_code] * 2
    assert "the loss is not finite" in error_of(job)


SCRIPT = """
import pickle, sys
from pathlib import Path
from tiny_training import train_and_save
if __name__ == "__main__":
    with open(sys.argv[1], "rb") as handle:
        settings, corpus = pickle.load(handle)
    train_and_save(settings, corpus, Path(sys.argv[2]))
"""


def test_accelerate_launch(make: Callable[..., TrainSettings], corpus: Splits, tmp_path: Path) -> None:
    """The launcher itself, as for several GPUs (its --cpu starts several processes through MPI alone)."""
    import pickle

    settings = make(setup="cdp+mlm")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "input.pickle").write_bytes(pickle.dumps((settings, corpus)))
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    train_and_save(settings, corpus, tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(port), str(tmp_path / "script.py")]
    command += [str(tmp_path / "input.pickle"), str(tmp_path / "two")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "ACCELERATE_USE_CPU": "1",
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for ours, theirs in zip(logged(tmp_path / "two"), logged(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    found, expected = (load_file(tmp_path / name / "final-0.safetensors") for name in ("two", "one"))
    seen = [name for name in expected if not name.endswith("key.bias")]
    assert max(float((found[name] - expected[name]).abs().max()) for name in seen) <= 1e-5
    progress = next((tmp_path / "two" / "state").glob("step-*/progress.json")).read_text(encoding="utf-8")
    assert json.loads(progress)["processes"] == 2


def test_a_batch_is_shared_out_whole(make: Callable[..., TrainSettings], corpus: Splits) -> None:
    """Every row of a batch is some process's, once; a process without one gets a row without weight."""
    from emodef.train.batches import StepBatches
    from emodef.train.tokenization import TextTokenizer

    settings = make()
    tokenizer = TextTokenizer.load(settings.backbone, settings.placeholders)
    sizes = []
    for step in range(4):
        shares: list[Any] = []
        for rank in range(2):
            batches = StepBatches(
                corpus["train"], tokenizer, settings, device=torch.device("cpu"), rank=rank, world=2
            )
            shares.append(batches.make(step))
        assert shares[0].counts == shares[1].counts
        rows = sum(int(share.weight * len(share.batch.labels)) for share in shares)
        assert rows == shares[0].examples
        assert all(len(share.batch.labels) > 0 for share in shares)
        sizes.append(rows)
    assert sorted(sizes) == [1, 15, 15, 15]
    assert np.sum(sizes) == len(corpus["train"])
