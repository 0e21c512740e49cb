"""Experiments without training: finished runs as training leaves them, and jobs whose process is `tiny_worker`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emodef.corpora import Corpus
from emodef.experiments.results import RunSpec
from emodef.experiments.supervisor import Job

Splits = dict[str, Corpus]
HARDWARE = {"cpu": "a processor", "cores": 4, "threads": 2}


def canonical(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    """As TrainSettings has it, for the settings here."""
    return None if "setup" not in saved else {k: v for k, v in saved.items() if k != "description"}


def spec_of(data: str, **changes: Any) -> RunSpec:
    settings = {
        "description": "",
        "backbone": "org/tiny",
        "setup": "none",
        "seed": 42,
        "batch_size": 16,
        **changes,
    }
    known_by = canonical(settings)
    assert known_by is not None
    return RunSpec(settings, known_by, data, 100)


def put_run(
    folder: Path,
    spec: RunSpec,
    corpus: Splits | None = None,
    *,
    noted: str | None = None,
    seconds: float = 50.0,
    hardware: Mapping[str, Any] = HARDWARE,
) -> Path:
    """A finished run as training leaves one, with a file of weights."""
    (folder / "model").mkdir(parents=True)
    files = {
        "settings.json": spec.settings,
        "versions.json": {"hardware": hardware, "code": "abc"},
        "metrics.json": {
            "training": {"steps": {"primary": 60, "auxiliary": 40}, "seconds": seconds}
            | ({} if noted is None else {"corpus": noted}),
            "epochs": [],
            "reports": {},
        },
        "model/emodef.json": {},
        "model/labels.json": corpus["train"].label_set.to_dict() if corpus else {},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "model" / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "model" / "tokenizer.json").write_bytes(b"{}")
    ids = {f"{split}_ids": np.array(part.ids) for split, part in (corpus or {}).items() if split != "train"}
    np.savez_compressed(folder / "probabilities.npz", **ids)
    return folder


def job(folder: Path, name: str, steps: int = 4, **order: Any) -> Job:
    """For `tiny_worker`."""
    return Job(name, folder / name, {"steps": steps, "pause": 0.01, **order}, steps)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
