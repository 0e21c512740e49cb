"""Runs that are killed, stopped and resumed end with the weights, bit for bit, and the log of a run that was never stopped."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError, TrainingError
from emodef.train.loop import Interrupted
from emodef.train.processes import caught_signals
from emodef.train.settings import TrainSettings
from tiny_training import (
    EVALUATION,
    OPTIMIZER,
    RENAME,
    SAVE,
    SAVED,
    STEP,
    Blow,
    Job,
    error_of,
    run,
    train_and_save,
)

Splits = dict[str, Corpus]
STEPS = 24  # three epochs of eight
SAVE_EVERY = 3

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system that can kill a process"),
]


@pytest.fixture(scope="module")
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    """`make(setup="cdp")`: settings of a run of `STEPS` steps, saved every `SAVE_EVERY` and at each epoch's end."""

    def settings(**changes: Any) -> TrainSettings:
        base: dict[str, Any] = {
            "backbone": str(tiny_backbone("bert", initializer_range=0.15)),
            "epochs": 3,
            "batch_size": 16,
            "learning_rate": 1e-2,
            "precision": "fp32",
            "keep": "best",
            "save_every": SAVE_EVERY,
        }
        return TrainSettings(**base | changes)

    return settings


@pytest.fixture(scope="module")
def whole(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """`whole(setup="cdp")`: folder of such a run that was never stopped."""
    done: dict[TrainSettings, Path] = {}

    def get(**changes: Any) -> Path:
        settings = make(**changes)
        if settings not in done:
            done[settings] = tmp_path_factory.mktemp("whole")
            train_and_save(settings, tiny_corpus, done[settings])
        return done[settings]

    return get


def assert_same_run(folder: Path, reference: Path) -> None:
    """The same final weights, byte for byte, and the same log but for the clock."""
    assert (folder / "final-0.safetensors").read_bytes() == (reference / "final-0.safetensors").read_bytes()
    assert log_of(folder) == log_of(reference)
    assert [line["step"] for line in log_of(folder) if "step" in line] == list(range(1, STEPS + 1))


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "examples_per_second"} for line in lines]


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("state/*step-*"))


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("setup", ["none", "cdp+mlm", "match"])
def test_killed_at_any_step(
    make: Callable[..., TrainSettings],
    whole: Callable[..., Path],
    tiny_corpus: Splits,
    tmp_path: Path,
    setup: str,
    keep: str,
) -> None:
    """Killed twice, at steps drawn at random, and resumed each time."""
    settings = make(setup=setup, keep=keep)
    first, second = sorted(random.Random(f"{setup} {keep}").sample(range(2, STEPS + 1), 2))
    job = Job(settings, tiny_corpus, tmp_path, blows=(Blow(STEP, first),))
    assert run(job) == -signal.SIGKILL
    saved = SAVE_EVERY * ((first - 1) // SAVE_EVERY)
    resumed = max(saved, 8 * ((first - 1) // 8))
    assert states(tmp_path) == ([f"step-{resumed:08d}"] if resumed else [])
    blow = Blow(STEP, second - resumed)  # it makes steps from there on
    assert run(replace(job, options={"resume": True}, blows=(blow,))) == -signal.SIGKILL
    assert not (tmp_path / "final-0.safetensors").exists()
    train_and_save(settings, tiny_corpus, tmp_path, resume=True)
    assert_same_run(tmp_path, whole(setup=setup, keep=keep))


@pytest.mark.parametrize(
    ("blow", "left"),
    [
        (Blow(SAVE, 3), ["step-00000003", ".part"]),  # a state without even its weights
        (Blow(SAVE, 4), ["step-00000003", ".part"]),  # one without its moments
        (Blow(RENAME, 2), ["step-00000003", ".part"]),  # one without its progress
        (Blow(SAVED, 2), ["step-00000003", "step-00000006"]),  # in place; the one before not yet removed
        (Blow(EVALUATION, 1), ["step-00000006"]),  # an epoch is made, not yet judged
        (Blow(EVALUATION, 3), ["step-00000021"]),  # the last
        (Blow("emodef.train.resume.save", 1), ["step-00000006"]),  # judged the best, its weights not yet kept
        (Blow(OPTIMIZER, 17), ["step-00000016"]),  # between the gradients and the step
    ],
    ids=lambda value: f"{value.at.split('.')[-1]}-{value.call}" if isinstance(value, Blow) else "",
)
def test_killed_at_the_worst_moments(
    make: Callable[..., TrainSettings],
    whole: Callable[..., Path],
    tiny_corpus: Splits,
    tmp_path: Path,
    blow: Blow,
    left: list[str],
) -> None:
    settings = make(setup="cdp+mlm")
    assert run(Job(settings, tiny_corpus, tmp_path, blows=(blow,))) == -signal.SIGKILL
    found = states(tmp_path)
    assert [name for name in found if name.startswith("step-")] == [n for n in left if n != ".part"]
    assert any(name.endswith(".part") for name in found) == (".part" in left)
    train_and_save(settings, tiny_corpus, tmp_path, resume=True)
    assert_same_run(tmp_path, whole(setup="cdp+mlm"))


def test_killed_before_anything_was_saved(
    make: Callable[..., TrainSettings], whole: Callable[..., Path], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make(setup="match")
    assert run(Job(settings, tiny_corpus, tmp_path, blows=(Blow(STEP, 3),))) == -signal.SIGKILL
    assert len(log_of(tmp_path)) == 2
    train_and_save(settings, tiny_corpus, tmp_path, resume=True)
    assert_same_run(tmp_path, whole(setup="match"))


@pytest.mark.parametrize("stop", [1, 8, 13])
def test_stop_after(
    make: Callable[..., TrainSettings],
    whole: Callable[..., Path],
    tiny_corpus: Splits,
    tmp_path: Path,
    stop: int,
) -> None:
    settings = make(setup="cdp+mlm")
    with pytest.raises(Interrupted, match=f"step {stop} of {STEPS}.*--resume") as caught:
        train_and_save(settings, tiny_corpus, tmp_path, stop_after=stop)
    assert caught.value.exit_code == 130
    train_and_save(
        settings, tiny_corpus, tmp_path, resume=True, stop_after=STEPS
    )  # the last: nothing to stop
    assert_same_run(tmp_path, whole(setup="cdp+mlm"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("at", "call", "stopped"), [(STEP, 5, 5), (OPTIMIZER, 5, 5), (EVALUATION, 1, 8), (SAVE, 2, 4)]
)
def test_a_signal_saves_and_ends_the_run(
    make: Callable[..., TrainSettings],
    whole: Callable[..., Path],
    tiny_corpus: Splits,
    tmp_path: Path,
    number: int,
    at: str,
    call: int,
    stopped: int,
) -> None:
    settings = make(setup="cdp+mlm")
    job = Job(settings, tiny_corpus, tmp_path, blows=(Blow(at, call, number),))
    assert run(job) == 130
    assert error_of(job).startswith(f"Interrupted: stopped after step {stopped} of {STEPS}")
    assert states(tmp_path) == [f"step-{stopped:08d}"]
    if number == signal.SIGINT:
        train_and_save(settings, tiny_corpus, tmp_path, resume=True)
        assert_same_run(tmp_path, whole(setup="cdp+mlm"))


def test_a_signal_in_the_last_evaluation_ends_the_run_too(
    make: Callable[..., TrainSettings], whole: Callable[..., Path], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make()
    job = Job(settings, tiny_corpus, tmp_path, blows=(Blow(EVALUATION, 3, signal.SIGINT),))
    assert run(job) == 130
    assert "after the last step" in error_of(job)
    train_and_save(settings, tiny_corpus, tmp_path, resume=True)
    assert_same_run(tmp_path, whole())


def test_a_second_ctrl_c_at_once_is_the_same_one(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    """Launchers pass a terminal's Ctrl-C on to processes that had it already."""
    blows = (Blow(STEP, 5, signal.SIGINT), Blow(STEP, 5, signal.SIGINT))
    job = Job(make(), tiny_corpus, tmp_path, blows=blows)
    assert run(job) == 130
    assert "stopped after step 5" in error_of(job)


def test_bf16_resumes_bit_for_bit(
    make: Callable[..., TrainSettings], whole: Callable[..., Path], tiny_corpus: Splits, tmp_path: Path
) -> None:
    changes = {"setup": "match", "precision": "bf16"}
    with pytest.raises(Interrupted):
        train_and_save(make(**changes), tiny_corpus, tmp_path, stop_after=10)
    train_and_save(make(**changes), tiny_corpus, tmp_path, resume=True)
    assert_same_run(tmp_path, whole(**changes))


@pytest.fixture(scope="module")
def stopped(make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:  # fmt: skip
    """A folder to copy: `two_states` of setup match."""
    folder = tmp_path_factory.mktemp("stopped")
    two_states(make(setup="match"), tiny_corpus, folder)
    return folder


def two_states(settings: TrainSettings, corpus: Splits, folder: Path) -> tuple[Path, Path]:
    """A run stopped after 6 steps whose state of 4 steps stands beside that of 6."""
    with pytest.raises(Interrupted):
        train_and_save(settings, corpus, folder, stop_after=4)
    older, newer = folder / "state" / "step-00000004", folder / "state" / "step-00000006"
    shutil.copytree(older, folder / "kept")
    with pytest.raises(Interrupted):
        train_and_save(settings, corpus, folder, resume=True, stop_after=6)
    (folder / "kept").rename(older)
    return older, newer


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "progress.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_an_older_state_stands_in_for_a_damaged_one(
    make: Callable[..., TrainSettings],
    whole: Callable[..., Path],
    tiny_corpus: Splits,
    stopped: Path,
    tmp_path: Path,
    name: str,
    damage: str,
) -> None:
    settings = make(setup="match")
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "state" / "step-00000006" / name
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    train_and_save(settings, tiny_corpus, tmp_path, resume=True)
    notes = [line["note"] for line in log_of(tmp_path) if "note" in line]
    assert len(notes) == 1
    assert "step-00000006 cannot be read" in notes[0]
    without = [line for line in log_of(tmp_path) if "note" not in line]
    reference = whole(setup="match")
    assert without == log_of(reference)
    assert (tmp_path / "final-0.safetensors").read_bytes() == (reference / "final-0.safetensors").read_bytes()
    assert states(tmp_path) == [f"step-{STEPS:08d}"]  # the damaged one has gone with the older


def test_no_state_that_can_be_read_is_an_error(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    for state in two_states(make(), tiny_corpus, tmp_path):
        (state / "progress.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"state: no resume state in it can be read; remove it to start anew"):
        train_and_save(make(), tiny_corpus, tmp_path, resume=True)
    assert len(states(tmp_path)) == 2


def test_a_state_of_another_run_is_refused(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train_and_save(make(), tiny_corpus, tmp_path, stop_after=2)
    with pytest.raises(SettingsError, match="holds a run's states already"):
        train_and_save(make(), tiny_corpus, tmp_path)
    other = tiny_corpus | {"train": tiny_corpus["train"].take(np.arange(120)[::-1])}
    with pytest.raises(SettingsError, match="other texts"):
        train_and_save(make(), other, tmp_path, resume=True)
    with pytest.raises(SettingsError, match=r"started in fp32.*precision=fp32"):
        train_and_save(make(precision="bf16"), tiny_corpus, tmp_path, resume=True)
    with pytest.raises(DataError, match="no resume state in it can be read"):
        train_and_save(make(setup="match"), tiny_corpus, tmp_path, resume=True)
    assert states(tmp_path) == ["step-00000002"]


def test_another_number_of_threads_is_told(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train_and_save(make(), tiny_corpus, tmp_path, stop_after=2)
    progress = tmp_path / "state" / "step-00000002" / "progress.json"
    content = json.loads(progress.read_text(encoding="utf-8"))
    assert content["threads"] == torch.get_num_threads() == 1
    progress.write_text(json.dumps(content | {"threads": 64}), encoding="utf-8")
    with pytest.raises(Interrupted):
        train_and_save(make(), tiny_corpus, tmp_path, resume=True, stop_after=3)
    notes = [line["note"] for line in log_of(tmp_path) if "note" in line]
    assert notes == [
        "started with 64 threads, going on with 1: the result may differ from an uninterrupted run's in its last digits"
    ]


@pytest.mark.parametrize("room_for", ["some lines", "half the weights", "the weights"])
def test_a_full_disk_loses_nothing_saved(
    make: Callable[..., TrainSettings],
    whole: Callable[..., Path],
    tiny_corpus: Splits,
    tmp_path: Path,
    room_for: str,
) -> None:
    """Files that would grow beyond a limit fail as on a full disk: in a real write, half-way through."""
    settings = make(setup="match")
    with pytest.raises(Interrupted):
        train_and_save(settings, tiny_corpus, tmp_path, stop_after=4)
    state = tmp_path / "state" / "step-00000004"
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    weights, moments = (len(before[f"{name}.safetensors"]) for name in ("weights", "optimizer"))
    limits = {"some lines": 1_000, "half the weights": weights // 2, "the weights": (weights + moments) // 2}
    job = Job(settings, tiny_corpus, tmp_path, {"resume": True}, file_limit=limits[room_for])
    assert run(job) == TrainingError.exit_code
    error = error_of(job)
    assert error.startswith("TrainingError: could not write to"), error
    assert "what was saved before stands" in error
    assert "--resume" in error
    assert states(tmp_path) == ["step-00000004"]
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before
    train_and_save(settings, tiny_corpus, tmp_path, resume=True)
    assert_same_run(tmp_path, whole(setup="match"))


def test_a_later_ctrl_c_interrupts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emodef.train.processes._HURRY", -1.0)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with caught_signals() as caught:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert caught == [signal.SIGINT, signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_ignored_signals_stay_ignored() -> None:
    """A job in the background of a shell does not get its Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with caught_signals() as caught:
            os.kill(os.getpid(), signal.SIGINT)
            assert not caught
    finally:
        signal.signal(signal.SIGINT, before)
