"""Resume states: everything a run needs to go on, bit for bit, as safetensors and JSON. Imports torch.

There is no generator state to save: tasks, batches, masks and dropout are functions of the seed and the step.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from emodef.errors import DataError, TrainingError
from emodef.train.checkpoint import replaced_directory


def save_state(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, progress: dict[str, Any]) -> None:
    """Save the state after `step` steps as `folder`/step-N, then remove older ones. A full disk leaves the older ones."""
    moments = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}/{key}"] = value.detach().contiguous()
    try:
        with replaced_directory(folder / f"step-{step:08d}") as new:
            save_file(weights(model), new / "weights.safetensors")
            save_file(moments, new / "optimizer.safetensors")
            (new / "progress.json").write_text(json.dumps({"step": step, **progress}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(
            f"could not save the state after step {step} in {folder}: {error.strerror}; what was saved before stands: "
            "make room and go on with --resume"
        ) from error
    for old in folder.glob("step-*"):
        if old.name < f"step-{step:08d}":
            shutil.rmtree(old, ignore_errors=True)


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Put the newest state of `folder` into `model` and `optimizer` and return its progress; None where there is none."""
    states = sorted(p for p in folder.glob("step-*") if (p / "progress.json").is_file())
    if not states:
        return None
    state = states[-1]
    try:
        progress: dict[str, Any] = json.loads((state / "progress.json").read_text(encoding="utf-8"))
        load_weights(model, state / "weights.safetensors")
        moments = load_file(state / "optimizer.safetensors")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"damaged resume state ({error}); remove this folder to start from the one before or anew", state) from error
    parameters = dict(model.named_parameters())
    for name, value in moments.items():
        name, key = name.rsplit("/", 1)
        parameter = parameters[name]
        optimizer.state[parameter][key] = value.to(parameter.device)
    return progress


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter once (tied ones under their first name)."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy saved `weights` into `model`; KeyError if they are another model's."""
    stored = load_file(path)
    parameters = dict(model.named_parameters())
    if set(stored) != set(parameters):
        raise KeyError(f"weights of another model: {sorted(set(stored) ^ set(parameters))[:3]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])
