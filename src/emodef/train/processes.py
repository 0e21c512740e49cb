"""Where a run touches the system: signals, several processes that must agree, one run at a time in a folder. Imports torch, accelerate."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list

from emodef import locks
from emodef.errors import EmodefError, SettingsError, TrainingError

_HURRY = (
    1.0  # seconds; launchers pass a terminal's Ctrl-C on, so a second signal within these is the same one
)


class Interrupted(TrainingError):
    """Training was stopped by a signal; its state is saved."""

    exit_code = 130


def use_cpu(wanted: bool) -> bool:
    """Whether to train on the CPU: asked for, or nothing else is there (several CPU processes find each other only if told so)."""
    return wanted or not torch.accelerator.is_available()


def on_main(check: Callable[[], None], *, cpu: bool) -> None:
    """Run `check` on the main process; what it raises is raised on all, so that none waits for another that has gone."""
    problem: list[EmodefError | None] = [None]
    if PartialState(cpu=use_cpu(cpu)).is_main_process:
        try:
            check()
        except EmodefError as error:
            problem = [error]
    broadcast_object_list(problem)
    if problem[0] is not None:
        raise problem[0]


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether `flag` is true on any process: all stop at the same step, or none does."""
    if accelerator.num_processes == 1:
        return flag
    flags = accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum")
    return bool(flags > 0)


def global_losses(accelerator: Accelerator, losses: dict[str, torch.Tensor]) -> dict[str, float]:
    """The batch's mean losses over all processes; each process holds its share times their number."""
    values = torch.stack([value.detach() for value in losses.values()])
    if accelerator.num_processes > 1:
        values = accelerator.reduce(values, "mean")
    return dict(zip(losses, values.tolist(), strict=True))


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying in the middle of a step; a second Ctrl-C, later, interrupts at once."""
    caught: list[int] = []
    first = 0.0

    def note(number: int, frame: object) -> None:
        nonlocal first
        if caught and number == signal.SIGINT and time.monotonic() - first > _HURRY:
            raise KeyboardInterrupt
        first = first or time.monotonic()
        caught.append(number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if handler in (
            signal.SIG_IGN,
            None,
        ):  # started in the background, or under another program's handlers
            continue
        try:
            before[number] = signal.signal(number, note)
        except ValueError:  # not in the main thread: the caller handles signals
            break
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of `folder` (created if missing) while the block runs; SettingsError if one is in it already.

    The lock goes with the process, however that ends (`emodef.locks`). Windows has none here.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder} cannot hold a run: {error.strerror}; give another folder") from error
    if sys.platform == "win32":
        yield
        return
    path = folder / ".lock"
    descriptor = _lock(path)
    try:
        with suppress(OSError):  # a full disk: only the message to others is poorer
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not locks.hold(descriptor):
            holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise SettingsError(
                f"{path.parent} is in use by {holder}; wait for it, stop it, or give another folder"
            )
        if locks.is_still(descriptor, path):
            return descriptor
        os.close(descriptor)
