"""Several runs at once, each in a process of its own: started, watched, stopped. Imports processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emodef.experiments.processes import OUTPUT, WORKER, Call, LocalProcess, Process, Spawn

TICK = 0.2  # seconds between two looks at the processes
GRACE = 300.0  # seconds a process has to save its state and end
_HURRY = 1.0  # seconds after which a second Ctrl-C is another one

WAITING, RUNNING, FINISHED, FAILED, STOPPED = "waiting", "running", "finished", "failed", "stopped"


@dataclass
class Job:
    """A run to be made: what its process is told, and how it is getting on. step: of the state that it goes on from."""

    name: str
    folder: Path
    order: Mapping[str, Any]
    steps: int
    state: str = WAITING
    step: int = 0
    epoch: int = 0
    macro_f1: float | None = None  # of dev, last measured
    pace: float | None = None  # seconds a step, of this process
    began: float | None = None
    ended: float | None = None
    error: str = ""

    @property
    def seconds(self) -> float:
        """Since its process was started, as long as that runs."""
        return 0.0 if self.began is None else (self.ended or time.monotonic()) - self.began

    @property
    def left(self) -> float | None:
        """Seconds until its last step, if known."""
        return None if self.pace is None else max(0, self.steps - self.step) * self.pace


@dataclass
class _Active:
    job: Job
    process: Process
    slot: int
    log: LogTail


class LogTail:
    """What RUN/log.jsonl says, read as it grows. A resumed run writes it anew, without the steps it makes again."""

    def __init__(self, path: Path) -> None:
        self.path, self._inode, self._offset = path, 0, 0
        self._first: tuple[float, int] | None = None

    def read(self, job: Job) -> None:
        """Note in `job` what is new."""
        try:
            with self.path.open("rb") as handle:
                status = os.fstat(handle.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset = status.st_ino, 0
                handle.seek(self._offset)
                new = handle.read()
        except OSError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        before = job.step
        for line in whole.splitlines():
            with suppress(ValueError):
                self._note(job, json.loads(line))
        if job.step != before and job.state == RUNNING:
            now = time.monotonic()
            if self._first is None or job.step < self._first[1]:
                self._first = (now, job.step)
            elif job.step > self._first[1]:
                job.pace = (now - self._first[0]) / (job.step - self._first[1])

    @staticmethod
    def _note(job: Job, line: Any) -> None:
        job.step = int(line.get("step", job.step))
        if "epoch" in line:
            job.epoch, job.macro_f1 = int(line["epoch"]), line.get("dev_macro_f1", job.macro_f1)


@dataclass
class Supervisor:
    """Makes `jobs`, in order, `at_once` at a time; a job that fails does not stop the others.

    environment: of the process in a slot (0 to at_once - 1), on top of this one's. spawn: starts it. stop_after: seconds after
    which all save and end. watch: called at every look with the jobs; started, ended: when one was.
    """

    jobs: Sequence[Job]
    at_once: int = 1
    environment: Callable[[int], Mapping[str, str]] = lambda slot: {}
    stop_after: float | None = None
    module: str = WORKER
    spawn: Spawn = LocalProcess
    watch: Callable[[Sequence[Job]], None] = lambda jobs: None
    started: Callable[[Job], None] = lambda job: None
    ended: Callable[[Job], None] = lambda job: None
    stopped: str = ""  # why it was: "interrupted", "time is up"
    _active: list[_Active] = field(default_factory=list)
    _since: float = 0.0  # of the stop

    def run(self) -> None:
        """Until all jobs are made, or all processes have ended after a stop. A first Ctrl-C or SIGTERM stops, a second Ctrl-C kills."""
        deadline = None if self.stop_after is None else time.monotonic() + self.stop_after
        queue = iter(self.jobs)
        with _caught_signals() as caught:
            try:
                while True:
                    if caught and not self.stopped:
                        self._stop("interrupted")
                    elif deadline is not None and time.monotonic() >= deadline and not self.stopped:
                        self._stop("time is up")
                    if self.stopped and (len(caught) > 1 or time.monotonic() - self._since > GRACE):
                        self._kill()
                    self._look()
                    while not self.stopped and len(self._active) < self.at_once:
                        job = next(queue, None)
                        if job is None:
                            break
                        self._start(job)
                    self.watch(self.jobs)
                    if not self._active:
                        return
                    time.sleep(TICK)
            finally:
                for active in self._active:  # something went wrong here: they notice, save and end
                    active.process.close()

    def _start(self, job: Job) -> None:
        slot = min(set(range(self.at_once)) - {active.slot for active in self._active})
        log = LogTail(job.folder / "log.jsonl")
        saved = job.step
        log.read(job)  # what an earlier process did, and how much of it is lost
        job.step = saved
        job.state, job.began = RUNNING, time.monotonic()
        order = json.dumps({**job.order, "folder": os.path.abspath(job.folder)}).encode()
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            call = Call(order, job.folder.absolute(), self.environment(slot), self.module)
            process = self.spawn(call)
        except OSError as error:
            self._end(job, FAILED, f"{error.filename or job.folder}: {error.strerror}")
            return
        self._active.append(_Active(job, process, slot, log))
        self.started(job)

    def _look(self) -> None:
        for active in list(self._active):
            code = active.process.poll()
            active.log.read(active.job)
            if code is None:
                continue
            self._active.remove(active)
            active.process.close()
            job = active.job
            if code == 0:
                job.step = job.steps
                with suppress(OSError):
                    (job.folder / OUTPUT).unlink()
                self._end(job, FINISHED)
            elif self.stopped and code in (128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL):
                self._end(job, STOPPED)
            else:
                self._end(job, FAILED, active.process.why())

    def _end(self, job: Job, state: str, error: str = "") -> None:
        job.state, job.error, job.ended = state, error, time.monotonic()
        self.ended(job)

    def _stop(self, why: str) -> None:
        self.stopped, self._since = why, time.monotonic()
        for active in self._active:
            active.process.terminate()

    def _kill(self) -> None:
        for active in self._active:
            active.process.kill()


@contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM; several within `_HURRY` count as one."""
    caught: list[int] = []
    first = 0.0

    def note(number: int, frame: object) -> None:
        nonlocal first
        if not caught or (number == signal.SIGINT and time.monotonic() - first > _HURRY):
            first = first or time.monotonic()
            caught.append(number)

    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_IGN, None):
            continue
        with suppress(ValueError):  # not in the main thread: the caller handles signals
            before[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
