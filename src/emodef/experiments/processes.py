"""A process that makes one run, on this machine. Imports the standard library only.

It gets its order as one line on its standard input, which then stays open: when this process ends, however it ends, the pipe closes,
and the other saves what it has and ends too. What it prints goes to FOLDER/output.txt.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

WORKER = "emodef.train.worker"  # the module that is run
OUTPUT = "output.txt"


@dataclass(frozen=True)
class Call:
    """What a process is to be started with. environment: on top of what is there."""

    order: bytes
    folder: Path
    environment: Mapping[str, str]
    module: str = WORKER


class Process(Protocol):
    """A run's process, here or elsewhere."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    def terminate(self) -> None:
        """Ask it to save its state and end."""

    def kill(self) -> None:
        """End it at once."""

    def close(self) -> None:
        """Let go of it: if it still runs, it saves its state and ends."""

    def why(self) -> str:
        """Why it failed."""


Spawn = Callable[[Call], Process]


def environments(threads: int, gpus: int) -> Callable[[int], dict[str, str]]:
    """The environment of the process in each slot: so many threads, and one of the `gpus` that are seen here, where there are several."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name.strip() for name in given.split(",") if name.strip()]
    names = names[:gpus] or [str(number) for number in range(gpus)]

    def environment(slot: int) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        return own | ({"CUDA_VISIBLE_DEVICES": names[slot % len(names)]} if len(names) > 1 else {})

    return environment


class LocalProcess:
    """A process on this machine. Raises OSError where it cannot be started."""

    def __init__(self, call: Call) -> None:
        self.output = call.folder / OUTPUT
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                # -P: no module of the folder that this was started in, such as a csv.py, is taken for Python's
                [sys.executable, "-P", "-m", call.module],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **call.environment},
                start_new_session=True,  # a terminal's Ctrl-C comes to the supervisor, and is passed on once
            )
        with suppress(BrokenPipeError):  # it is gone already; its exit code will say why
            assert self._process.stdin is not None
            self._process.stdin.write(call.order + b"\n")
            self._process.stdin.flush()

    def poll(self) -> int | None:
        """See `Process`."""
        return self._process.poll()

    def terminate(self) -> None:
        """See `Process`."""
        self._process.terminate()

    def kill(self) -> None:
        """See `Process`."""
        self._process.kill()

    def close(self) -> None:
        """See `Process`."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()

    def why(self) -> str:
        """Its last words, else how it ended."""
        code = self._process.returncode
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"killed by {name}" + (" (was there too little memory?)" if name == "SIGKILL" else "")
        try:
            lines = [line.strip() for line in self.output.read_text("utf-8", errors="replace").splitlines()]
        except OSError:
            lines = []
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines
        return next((line for line in reversed(said) if line), f"ended with exit code {code}, without a word")
