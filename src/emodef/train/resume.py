"""Resume states: everything a run needs to go on, bit for bit, as safetensors and JSON. Imports torch.

There is no generator state to save: tasks, batches, masks and dropout are functions of the seed and the step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import nn

from emodef.atomic import write_bytes
from emodef.errors import DataError, SettingsError, TrainingError
from emodef.train.checkpoint import replaced_directory
from emodef.train.performance import resolve_precision

EARLIER_BEST = (
    "best.safetensors"  # where an earlier emodef kept the best epoch's weights, beside the states' folder
)

_UNREADABLE = (OSError, ValueError, KeyError, SafetensorError)


def save_state(
    folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Save the state after `step` steps as `folder`/step-N, then remove the others, and what was best before. A full disk leaves them."""
    moments = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            moments[f"{name}/{key}"] = value.detach().contiguous()
    state = folder / f"step-{step:08d}"
    with writing(folder), replaced_directory(state) as new:
        save_file(weights(model), new / "weights.safetensors")
        save_file(moments, new / "optimizer.safetensors")
        (new / "progress.json").write_text(
            json.dumps({"step": step, **progress}, indent=1) + "\n", encoding="utf-8"
        )
    _remove_others(state, progress.get("best"))


def load_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    note: Callable[[str], None] = lambda message: None,
) -> dict[str, Any] | None:
    """Put the newest state of `folder` into `model` and `optimizer` and return its progress; None where there is none.

    A state that cannot be read is told to `note`, and the one before it is used. DataError if none can be read.
    """
    states = sorted(folder.glob("step-*"), reverse=True)
    for state in states:
        try:
            progress: dict[str, Any] = json.loads((state / "progress.json").read_text(encoding="utf-8"))
            load_weights(model, state / "weights.safetensors")
            _load_moments(model, optimizer, state / "optimizer.safetensors")
        except _UNREADABLE as error:
            note(f"the resume state {state} cannot be read ({error}); going on from the one before")
            continue
        return progress
    if states:
        raise DataError("no resume state in it can be read; remove it to start anew", folder)
    return None


def precision_of(wanted: str, device: torch.device, states: Path | None) -> str:
    """`resolve_precision`, but a run that goes on from `states` stays in the precision it began in, where "auto" leaves the choice.

    Raises SettingsError for a precision that the device has not.
    """
    began = None
    for state in sorted(states.glob("step-*"), reverse=True) if states is not None else ():
        try:
            began = json.loads((state / "progress.json").read_text(encoding="utf-8"))["precision"]
        except _UNREADABLE:  # `load_state` tells of it
            continue
        break
    if began is None or wanted not in ("auto", began):
        return resolve_precision(wanted, device)
    try:
        return resolve_precision(str(began), device)
    except SettingsError:  # whose remedy, another precision, is for runs that begin
        raise SettingsError(
            f"this run was started in {began}, which is not to be had here; resume it on a GPU that has it, or start it anew in another "
            "folder"
        ) from None


def save_best(folder: Path, epoch: int, model: nn.Module) -> None:
    """Keep the weights of the best epoch so far among the states in `folder`, beside those that the last of them calls the best."""
    with writing(folder):
        write_bytes(_named_best(folder, epoch), save(weights(model)))


def load_best(folder: Path, epoch: int, model: nn.Module) -> None:
    """Put the weights of the epoch that was the best into `model`; DataError if they are lost."""
    path = _kept_best(folder, epoch)
    try:
        load_weights(model, path)
    except _UNREADABLE as error:
        raise DataError(f"the best epoch's weights cannot be read ({error}); train again", path) from error


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter once (tied ones under their first name)."""
    return {name: parameter.detach().contiguous() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy saved `weights` into `model`; KeyError if they are another model's."""
    stored = load_file(path)
    parameters = dict(model.named_parameters())
    if {name: value.shape for name, value in stored.items()} != {n: p.shape for n, p in parameters.items()}:
        raise KeyError(f"weights of another model: {sorted(set(stored) ^ set(parameters))[:3]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written in a run's folder (call it where no other process writes there)."""
    for pattern in (".*.part", ".*.old"):
        for path in [*folder.glob(pattern), *(folder / "state").glob(pattern)]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def writing(place: Path, remedy: str = "go on with --resume") -> Iterator[None]:
    """Turn a write that fails (a full disk) into a TrainingError that says what stands and what to do: make room, and `remedy`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(
            f"could not write to {place}: {reason}; what was saved before stands: make room and {remedy}"
        ) from error


def _named_best(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch}.safetensors"


def _kept_best(folder: Path, epoch: int) -> Path:
    """Where that epoch's weights are; those of a run that an earlier emodef began are under one name, whatever the epoch."""
    named, earlier = _named_best(folder, epoch), folder.parent / EARLIER_BEST
    return earlier if earlier.exists() and not named.exists() else named


def _remove_others(state: Path, best: Mapping[str, Any] | None) -> None:
    for other in state.parent.glob("step-*"):
        if other != state:
            shutil.rmtree(other, ignore_errors=True)
    if best is not None:
        kept = _kept_best(state.parent, best["epoch"])
        for other in (*state.parent.glob("best-*.safetensors"), state.parent.parent / EARLIER_BEST):
            if other != kept:
                with suppress(OSError):
                    other.unlink(missing_ok=True)


def _load_moments(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    parameters = dict(model.named_parameters())
    moments: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in load_file(path).items():
        name, key = name.rsplit("/", 1)
        moments.setdefault(name, {})[key] = value
    if not set(moments) <= set(parameters):
        raise KeyError(f"moments of another model: {sorted(set(moments) - set(parameters))[:3]}")
    optimizer.state.clear()
    for name, values in moments.items():
        parameter = parameters[name]
        # Copied: `load_file` maps the file into memory, and this state is removed once the next one is saved.
        optimizer.state[parameter] = {k: v.to(parameter.device, copy=True) for k, v in values.items()}
