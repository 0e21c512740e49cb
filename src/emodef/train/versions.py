"""What a run was made with: package versions, code version, hardware. Imports torch."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import emodef
from emodef.atomic import write_text
from emodef.runs import read_json

if sys.platform != "win32":
    import resource


def versions() -> dict[str, str]:
    """Versions of Python and of every package a result depends on."""
    found = {"python": platform.python_version(), "emodef": emodef.__version__}
    for name in ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    """The processor, its cores in use, and the accelerator if any."""
    found: dict[str, Any] = {
        "cpu": _cpu_name(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def note_versions(folder: Path, device: torch.device, precision: str) -> dict[str, Any]:
    """Write `folder`/versions.json: what it is made with from now on, and under "earlier" what it was made with before, if that differs.

    Raises DataError where the earlier file cannot be read.
    """
    about: dict[str, Any] = {
        "versions": versions(),
        "code": code_version(),
        "hardware": hardware(device),
        "precision": precision,
    }
    path = folder / "versions.json"
    if path.exists():
        before = read_json(path)
        earlier = before.pop("earlier", [])
        if before != about:
            earlier.append(before)
        if earlier:
            about["earlier"] = earlier
    write_text(path, as_json(about))
    return about


def as_json(content: object) -> str:
    """As the files beside a result have it."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def this_hardware(*, cpu: bool = False) -> dict[str, Any]:
    """The hardware that a run started now would train on."""
    found = None if cpu or not torch.accelerator.is_available() else torch.accelerator.current_accelerator()
    return hardware(found or torch.device("cpu"))


def visible_gpus() -> int:
    """How many NVIDIA GPUs there are to train on."""
    return torch.cuda.device_count()


def peak_memory(device: torch.device) -> dict[str, int]:
    """MiB: the most that this process has held, and has reserved on its GPU. Empty where the system does not say."""
    found = {}
    if sys.platform != "win32":
        unit = 1 if sys.platform == "darwin" else 1024  # bytes; elsewhere KiB
        found["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20
    if device.type == "cuda":
        found["gpu"] = torch.cuda.max_memory_reserved(device) >> 20
    return found


def code_version() -> str | None:
    """The commit of a source checkout ("+" when the tree has changes), None for an installed release."""
    root = Path(emodef.__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + (
            "+" if _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    return f"{names.get('model name', platform.processor())}, family {names.get('cpu family', '?')} model {names.get('model', '?')}"
