"""A run that is resumed on another machine stays in the precision it began in, or says that it cannot."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.runs import read_json
from emodef.train.loop import Interrupted
from emodef.train.performance import resolve_precision
from emodef.train.resume import precision_of
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from tiny_training import STEP, Blow, Job, run, train_and_save

Splits = dict[str, Corpus]

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="needs a system that can kill a process"
)


@pytest.fixture
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    def settings(**changes: Any) -> TrainSettings:
        backbone = str(tiny_backbone("bert", initializer_range=0.15))
        return TrainSettings(
            backbone=backbone, epochs=2, batch_size=16, learning_rate=1e-2, save_every=3, **changes
        )

    return settings


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_goes_on_in_the_precision_it_began_in(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    """Where the settings leave the choice to the machine, and it is another machine now."""
    best = resolve_precision("auto", torch.device("cpu"))
    other = {"fp32": "bf16", "bf16": "fp32"}[best]
    settings = make(precision="auto")
    job = Job(
        settings.model_copy(update={"precision": other}),
        tiny_corpus,
        tmp_path,
        blows=(Blow(STEP, 5),),
        whole=True,
    )
    assert run(job) == -signal.SIGKILL
    (tmp_path / "settings.json").write_text(json.dumps(settings.model_dump(mode="json")), encoding="utf-8")
    done = run_training(settings, tiny_corpus, tmp_path, resume=True, cpu=True)
    assert f"goes on in {other}, which this run was started in" in [
        line.get("note") for line in log_of(tmp_path)
    ]
    assert read_json(tmp_path / "versions.json")["precision"] == other
    assert read_json(tmp_path / "metrics.json")["training"]["precision"] == other
    assert done.model.settings.precision == "auto"


def test_a_run_of_a_gpus_precision_needs_a_gpu(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train_and_save(make(precision="auto"), tiny_corpus, tmp_path, stop_after=2)
    progress = tmp_path / "state" / "step-00000002" / "progress.json"
    content = json.loads(progress.read_text(encoding="utf-8"))
    progress.write_text(json.dumps(content | {"precision": "tf32"}), encoding="utf-8")
    with pytest.raises(
        SettingsError, match="started in tf32, which is not to be had here; resume it on a GPU"
    ):
        train_and_save(make(precision="auto"), tiny_corpus, tmp_path, resume=True)


@pytest.mark.parametrize("wanted", ["auto", "bf16"])
def test_an_older_gpu_is_no_place_to_go_on(
    wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another precision, which a new run is told to take, would be refused."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    (tmp_path / "step-00000002").mkdir()
    (tmp_path / "step-00000002" / "progress.json").write_text('{"precision": "bf16"}', encoding="utf-8")
    with pytest.raises(SettingsError, match="started in bf16, which is not to be had here; resume it on"):
        precision_of(wanted, torch.device("cuda"), tmp_path)
    with pytest.raises(SettingsError, match="set precision = 'fp32'"):
        precision_of("bf16", torch.device("cuda"), None)
