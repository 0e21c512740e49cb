"""Runs over Ray: each process on whatever machine of a cluster has room for it. Extra [ray]. Imports processes.

The supervisor stays as it is: an actor starts the process beside it, and passes on what it is asked. A stop saves all states; when the
driver is killed, Ray kills the actors and their processes, and the last saved states stand. All machines see one results folder.
"""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import emodef
from emodef.errors import EmodefError, SettingsError, require
from emodef.experiments.processes import OUTPUT, Call, LocalProcess, Process, Spawn


@contextmanager
def ray_processes(address: str | None, at_once: int) -> Iterator[tuple[Spawn, int]]:
    """What the supervisor takes as `spawn`, as long as the block runs, and the threads of each process.

    address: of a running cluster, as `ray.init` takes it; None for a Ray of its own on this machine. The cores, and GPUs if there
    are any, are shared out among `at_once` processes. Raises MissingExtraError without Ray, SettingsError where no cluster answers.
    """
    from emodef.cluster import connected

    ray = require("ray", extra="ray")
    with connected(ray, address, None):
        there = ray.cluster_resources()
        threads = _threads(
            [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]], at_once
        )
        gpus = there.get("GPU", 0)
        share = (
            1 / math.ceil(at_once / gpus) if gpus else 0
        )  # a process is on one GPU, beside others where there are fewer
        kind = ray.remote(num_cpus=threads, num_gpus=share, max_restarts=0, max_task_retries=0)(Runner)
        yield lambda call: _Remote(ray, kind.remote(), call), threads


def _threads(cores: Sequence[float], at_once: int) -> int:
    """Of each process, on machines with so many cores: the most with which all find room, each on one machine."""
    most = int(max(cores, default=0))
    return next((n for n in range(most, 0, -1) if sum(int(each) // n for each in cores) >= at_once), 1)


class Runner:
    """What runs as an actor: one process, beside it."""

    process: LocalProcess

    def start(self, version: str, call: Call, place: str) -> None:
        """Start it. Raises SettingsError where this machine has another emodef, or does not see the results."""
        here = socket.gethostname()
        if version != emodef.__version__:
            raise SettingsError(
                f"{here} has emodef {emodef.__version__}, the driver has {version}; install the same on all machines"
            )
        if not (call.folder / OUTPUT).is_file():
            raise SettingsError(
                f"{here} does not see {call.folder}; put the results where all machines see them under the same name"
            )
        with suppress(OSError):  # paths in settings are relative to it
            os.chdir(place)
        self.process = LocalProcess(call)

    def poll(self) -> tuple[int | None, str]:
        """Its exit code, None while it runs, and why it failed."""
        code = self.process.poll()
        return code, self.process.why() if code else ""

    def terminate(self) -> None:
        """Ask it to save its state and end."""
        self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()


class _Remote(Process):
    """A process beside an actor, which may still be waiting for room."""

    def __init__(self, ray: Any, actor: Any, call: Call) -> None:
        self.ray, self.actor = ray, actor
        (call.folder / OUTPUT).touch()
        place = Path.cwd()
        self._starting = actor.start.remote(emodef.__version__, call, str(place))
        self._code: int | None = None
        self._why = ""

    def poll(self) -> int | None:
        """See `Process`."""
        if self._code is not None:
            return self._code
        errors = self.ray.exceptions
        try:
            if self._starting is not None:
                if not self.ray.wait([self._starting], timeout=0)[0]:
                    return None
                self.ray.get(self._starting)
                self._starting = None
            self._code, self._why = self.ray.get(self.actor.poll.remote())
        except errors.RayError as error:
            cause = getattr(error, "cause", None)
            self._code = cause.exit_code if isinstance(cause, EmodefError) else EmodefError.exit_code
            said = str(cause or error).strip().partition("\n")[0]
            self._why = said if cause else f"the machine or Ray's process on it was lost ({said})"
        return self._code

    def terminate(self) -> None:
        """See `Process`."""
        if self._starting is None:
            self.actor.terminate.remote()
        else:
            self._drop()

    def kill(self) -> None:
        """See `Process`."""
        if self._starting is None:
            self.actor.kill.remote()
        else:
            self._drop()

    def close(self) -> None:
        """See `Process`."""
        with suppress(Exception):  # it, or all of Ray, may be gone already
            self.ray.kill(self.actor)

    def why(self) -> str:
        """See `Process`."""
        return self._why

    def _drop(self) -> None:
        self.close()
        self._code = -signal.SIGTERM
