"""What a run tells: JSON lines that read as one run, a progress bar, TensorBoard."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from rich.console import Console

from emodef.corpora import Corpus
from emodef.errors import MissingExtraError, TrainingError
from emodef.train.batches import Step
from emodef.train.logs import TrainingLog
from emodef.train.loop import Interrupted, train
from emodef.train.sampling import Draw
from emodef.train.settings import TrainSettings
from tiny_training import train_and_save

Splits = dict[str, Corpus]
STEP: Any = Step(batch=None, counts={}, draw=Draw(True, 0, 0), examples=16)  # type: ignore[arg-type]
PAIRS: Any = Step(batch=None, counts={}, draw=Draw(False, 0, 0), examples=16)  # type: ignore[arg-type]


@pytest.fixture
def settings(tiny_bert_dir: Path) -> TrainSettings:
    return TrainSettings(
        backbone=str(tiny_bert_dir), setup="cdp+mlm", epochs=2, precision="fp32", learning_rate=1e-3
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_hold_means_since_the_line_before(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / "deep" / "log.jsonl", every=3)
    with log.progress(7) as bar:
        for done in range(1, 8):
            losses = {"emotion": float(done)} if done % 2 else {"cdp": 10.0 * done, "mlm": 0.5}
            bar.step(done, losses, 0.1 * done, STEP if done % 2 else PAIRS, 1e-3)
        bar.epoch({"epoch": 1, "dev_macro_f1": 0.25, "dev_micro_f1": 0.5}, 7)
    first, second, epoch = lines(tmp_path / "deep" / "log.jsonl")
    assert first["step"] == 3
    assert first["losses"] == {"cdp": 20.0, "emotion": 2.0, "mlm": 0.5}
    assert first["gradient_norms"] == pytest.approx({"primary": 0.2, "auxiliary": 0.2})
    assert first["learning_rate"] == 1e-3
    assert first["examples_per_second"] > 0
    assert second["step"] == 6
    assert second["losses"] == {"cdp": 50.0, "emotion": 5.0, "mlm": 0.5}
    assert second["gradient_norms"] == pytest.approx({"primary": 0.5, "auxiliary": 0.5})
    assert epoch == {"epoch": 1, "dev_macro_f1": 0.25, "dev_micro_f1": 0.5}


def test_a_resumed_runs_lines_are_those_of_one_run(
    settings: TrainSettings, tiny_corpus: Splits, tmp_path: Path
) -> None:
    """Also where it was stopped between two lines, and where lines were written after the last state."""
    train_and_save(settings, tiny_corpus, tmp_path / "whole", every=5)
    with pytest.raises(Interrupted):
        train_and_save(settings, tiny_corpus, tmp_path / "parts", every=5, stop_after=7)
    path = tmp_path / "parts" / "log.jsonl"
    with path.open("a", encoding="utf-8") as handle:
        handle.write(
            '{"step": 10, "losses": {"emotion": 9.0}}\n{"epoch": 1}\n{"note": "kept"}\n{"step": 15, "los'
        )
    train_and_save(settings, tiny_corpus, tmp_path / "parts", every=5, resume=True)
    found = lines(path)
    assert found.pop(1) == {"note": "kept"}
    expected = lines(tmp_path / "whole" / "log.jsonl")
    assert [line.get("step", line.get("epoch")) for line in found] == [5, 1, 10, 15, 2]
    for line in [*found, *expected]:
        line.pop("examples_per_second", None)
    assert found == expected


def test_a_fresh_run_adds_to_a_log_and_a_resumed_one_without_state_starts_it_anew(
    settings: TrainSettings, tiny_corpus: Splits, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 5}\n', encoding="utf-8")
    train_and_save(settings, tiny_corpus, tmp_path, every=5, resume=True)
    assert [line["step"] for line in lines(path) if "step" in line] == [5, 10, 15]
    assert "losses" in lines(path)[0]


def test_the_bar_shows_losses_by_task_rate_and_time_left(
    settings: TrainSettings, tiny_corpus: Splits, tmp_path: Path
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    log = TrainingLog(None, console=console, every=4)
    train(settings, tiny_corpus, tmp_path, cpu=True, log=log)
    shown = screen.getvalue()
    last = [line for line in shown.replace("\r", "\n").splitlines() if "training" in line][-1]
    assert "16/16" in last
    assert all(f"{task} " in last for task in ("cdp", "emotion", "mlm"))
    assert " ex/s" in last
    assert len(re.findall(r"\d:\d\d:\d\d", last)) == 2, "elapsed and left"
    assert "epoch 1: dev macro-F1 " in shown
    assert "epoch 2: dev macro-F1 " in shown


def test_a_first_loss_is_shown_at_the_first_step() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160, color_system=None)
    with TrainingLog(None, console=console, every=1000).progress(2000) as bar:
        bar.step(1, {"emotion": 0.6931}, 0.1, STEP, 0.0)
        bar.bar.refresh()
    assert "emotion 0.6931" in screen.getvalue()


def test_without_a_console_nothing_is_printed(
    settings: TrainSettings, tiny_corpus: Splits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train(settings, tiny_corpus, tmp_path, cpu=True)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_notes_are_printed_and_logged(tmp_path: Path) -> None:
    screen = io.StringIO()
    TrainingLog(tmp_path / "log.jsonl", console=Console(file=screen)).note("mind the step")
    assert screen.getvalue() == "mind the step\n"
    assert lines(tmp_path / "log.jsonl") == [{"note": "mind the step"}]


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"could not write to .*file.*what was saved before stands"):
        TrainingLog(tmp_path / "file" / "log.jsonl").write({"step": 1})


def test_tensorboard_gets_losses_and_dev_metrics_at_their_steps(
    settings: TrainSettings, tiny_corpus: Splits, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    folder = tmp_path / "tensorboard"

    def log() -> TrainingLog:
        return TrainingLog(None, tensorboard=folder, every=5)

    with pytest.raises(Interrupted):
        train(settings, tiny_corpus, tmp_path / "run", cpu=True, log=log(), stop_after=12)
    train(settings, tiny_corpus, tmp_path / "run", cpu=True, log=log(), resume=True)
    found = scalars(folder)
    assert {"loss/emotion", "loss/cdp", "loss/mlm", "learning_rate", "examples_per_second"} <= set(found)
    assert {"gradient_norm/primary", "gradient_norm/auxiliary"} <= set(found)
    assert [step for step, _ in found["learning_rate"]] == [5, 10, 15]
    assert [step for step, _ in found["dev/macro_f1"]] == [8, 16]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_missing_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)

    class Absent:
        """As on a machine where it is not installed."""

        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.split(".")[0] == "tensorboard":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"pip install 'emodef\[tensorboard\]'"):
        TrainingLog(None, tensorboard=tmp_path)
