"""The parts of a file predicted over Ray: by a process on each core of this machine, or of a cluster. Extra [ray]. Imports files.

The driver (this process) reads the parts, hands them out and passes on what comes back; `emodef.files` does with it what it
does without Ray. A worker is an actor on one core that has loaded the model, and has one part in hand. No more parts are
under way than there are workers, so memory stays flat.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emodef
from emodef.errors import DataError, EmodefError, SettingsError, require
from emodef.files.job import Engine, Watch, known_by
from emodef.files.predictions import Finished, Plan, predict_part
from emodef.files.sources import Part
from emodef.predictor import Predictor
from emodef.predictor.core import SHIPPED
from emodef.predictor.model_file import INFO, MODEL, TOKENIZER
from emodef.predictor.own import Layer
from emodef.predictor.session import usable_cores

TRIES = 3  # of a part, and of starting a worker
PATIENCE = 300  # seconds in which some worker must be there; a cluster may have to rent machines first
TOKEN = "RAY_AUTH_TOKEN"  # what a Ray's processes know each other by


@contextmanager
def ray_engine(
    predictor: Predictor,
    *,
    address: str | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
    tell: Callable[[str], Any] | None = None,
) -> Iterator[Callable[[Plan], Engine]]:
    """What `emodef.files.job.predict_file` takes as `engine`, as long as the block runs.

    address: of a running cluster, as `ray.init` takes it ("auto", "host:port", "ray://host:port"). Without one, the Ray that
    this process is connected to, or else one of its own on this machine; only that one is shut down at the end.
    workers: how many, of one core each; by default as many as there are cores. tell: called with a sentence when a part
    has to be tried again.

    Raises MissingExtraError without Ray, SettingsError where the cluster cannot be reached. The engine raises what a part
    raises without Ray, and EmodefError naming a part that failed several times; before that, the parts under way are
    finished.
    """
    ray = require("ray", extra="ray")
    with connected(ray, address, workers) as is_ours:
        model = _Model.of(predictor, None if is_ours else ray)
        size = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        crews: list[_Crew] = []

        def engine(plan: Plan) -> Engine:
            crews.append(_Crew(ray, model, plan, size, watch or Watch(), tell or (lambda _: None)))
            return crews[-1].map

        try:
            yield engine
        finally:
            for crew in crews:
                crew.dismiss()


@contextmanager
def connected(ray: Any, address: str | None, workers: int | None) -> Iterator[bool]:
    """Ray, ready to use; gives whether all of it is on this machine and was started here."""
    if ray.is_initialized():
        if address is not None:
            raise SettingsError(
                "this process is connected to Ray already; leave the address out, or call ray.shutdown() first"
            )
        yield False
        return
    quiet = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    # not the temporary folder: it may be deep, and Ray keeps sockets there, whose paths may have 107 characters
    root = os.environ.get("RAY_TMPDIR") or ("/tmp" if os.name == "posix" else None)
    folder = tempfile.mkdtemp(prefix="emodef-ray-", dir=root) if address is None else None
    has_token = folder is None or TOKEN in os.environ
    try:
        try:
            if address is not None:
                _knock(address)
                ray.init(address=address, **quiet)
            else:  # "local": never one that happens to run on this machine
                cores = workers or usable_cores()
                # or Ray would leave one in the home folder, and use it for all that is started later
                os.environ.setdefault(TOKEN, secrets.token_hex(32))
                ray.init(address="local", num_cpus=cores, include_dashboard=False, _temp_dir=folder, **quiet)
        except Exception as error:  # Ray raises whatever its parts raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            if folder is not None:
                raise EmodefError(
                    f"Ray does not start ({reason}); without --engine ray, the same command goes on without it"
                ) from error
            raise SettingsError(
                f"no Ray cluster answers at {address!r} ({reason}); give an address that 'ray status' knows (one with "
                "tokens needs RAY_AUTH_MODE=token in the environment), or leave --address out for the cores of this machine"
            ) from error
        yield folder is not None
    finally:
        ray.shutdown()
        if not has_token:
            os.environ.pop(TOKEN, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _knock(address: str) -> None:
    """Raise OSError where nothing listens; Ray itself tries for many minutes."""
    if found := re.fullmatch(r"(?:ray://)?\[?(.+?)\]?:(\d+)", address):
        socket.create_connection((found[1], int(found[2])), timeout=10).close()


@dataclass(frozen=True)
class _Model:
    """The driver's model for a worker: where it may lie, what it is known by, own labels, and a reference to its files, by name."""

    folder: Path
    hash: str
    layers: tuple[Layer, ...] = ()
    files: Any = None

    @classmethod
    def of(cls, predictor: Predictor, ray: Any) -> _Model:
        """With `ray` None, workers see the driver's folder; otherwise they may be without it, and the files are put there."""
        folder = predictor.graph.path.parent.resolve()
        files = None
        if ray is not None:
            files = ray.put({name: (folder / name).read_bytes() for name in (MODEL, TOKENIZER, INFO)})
        return cls(folder, known_by(predictor)["hash"], predictor.layers, files)

    def load(self) -> Predictor:
        """For a worker: the model, and the driver's own labels over it."""
        found = self._light()
        for layer in self.layers:
            found = layer.over(found)
        return found

    def _light(self) -> Predictor:
        """From disk where the same model is there, else from the files that were sent."""
        for folder in (self.folder, SHIPPED):
            with suppress(DataError):
                found = Predictor.load_light(folder, threads=1)
                if known_by(found)["hash"] == self.hash:
                    return found
        if self.files is None:
            raise DataError("the model changed meanwhile; start the command again", self.folder)
        files = require("ray", extra="ray").get(self.files)
        with tempfile.TemporaryDirectory(prefix="emodef-model-") as sent:
            for name, content in files.items():
                (Path(sent) / name).write_bytes(content)
            return Predictor.load_light(Path(sent), threads=1)  # with one thread it needs its files no more


class Worker:
    """What runs as an actor: loads the model once, then predicts one part after the other on one core."""

    def load(self, version: str, model: _Model, plan: Plan) -> None:
        """Make ready. Raises EmodefError naming this machine where something is missing or does not fit."""
        try:
            if version != emodef.__version__:
                raise SettingsError(
                    f"it has emodef {emodef.__version__}, the driver has {version}; install the same on all machines"
                )
            if "parquet" in (plan.output, plan.table.format):
                require("polars", extra="data")
            self.plan, self.predictor = plan, model.load()
        except EmodefError as error:
            error.args = (f"the Ray worker on {socket.gethostname()}: {error}",)
            raise

    def predict(self, part: Part) -> Finished:
        """Predict a part."""
        return predict_part(part, self.predictor, self.plan)


@dataclass
class _Task:
    """A part that was read: what it is called, and a reference to it."""

    number: int
    name: str
    part: Any
    tries: int = 0


class _Crew:
    """The workers of one job, each starting, idle or busy. A worker that is lost is replaced."""

    def __init__(
        self, ray: Any, model: _Model, plan: Plan, size: int, watch: Watch, tell: Callable[[str], Any]
    ) -> None:
        self.ray, self.size, self.watch, self.tell = ray, size, watch, tell
        self.source = plan.table.name
        self.arguments = (emodef.__version__, model, ray.put(plan))
        # what fails is tried again here, where it can be told which part it was
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        self.kind = ray.remote(**options)(Worker)
        self.waiting: deque[_Task] = deque()
        self.starting: dict[Any, Any] = {}  # reference to what it is doing -> worker
        self.idle: list[Any] = []
        self.busy: dict[Any, tuple[Any, _Task]] = {}
        self.failed: dict[int, EmodefError] = {}  # number of the part, -1 for none -> why the job stops
        self.lost_starting = 0

    def map(self, parts: Iterator[Part]) -> Iterator[Finished]:
        """The engine: parts to finished parts, in the order in which they are finished."""
        try:
            while self._hand_out(parts):
                done = self._next()
                self._hand_out(parts)  # before the caller writes, so that no worker waits for the disk
                if done is not None:
                    self.watch.advance(done.rows)
                    yield done
            if self.failed:
                raise self.failed[min(self.failed)]
        finally:
            self.dismiss()

    def dismiss(self) -> None:
        """Let all workers go; a second call does nothing."""
        for worker, _ in self.busy.values():
            self._discard(worker)
        # the others end by themselves when nothing refers to them; killed while it starts, one leaves its core taken
        self.starting, self.idle, self.busy = {}, [], {}

    def _discard(self, worker: Any) -> None:
        with suppress(Exception):  # it, or all of Ray, may be gone already
            self.ray.kill(worker)

    def _hand_out(self, parts: Iterator[Part]) -> bool:
        """Read parts, start workers and give them the parts, as many as there is room for. False: nothing is left to do."""
        if self.failed:
            return bool(self.busy)
        while len(self.waiting) + len(self.busy) < self.size:
            try:
                part = next(parts, None)
            except EmodefError as error:
                self.failed[sys.maxsize] = error  # that of a part before it goes first
                return bool(self.busy)
            if part is None:
                break
            self.waiting.append(self._task(part))
        wanted = min(self.size, len(self.waiting) + len(self.busy))
        for _ in range(wanted - len(self.starting) - len(self.idle) - len(self.busy)):
            worker = self.kind.remote()
            self.starting[worker.load.remote(*self.arguments)] = worker
        while self.waiting and self.idle:
            worker, task = self.idle.pop(), self.waiting.popleft()
            self.busy[worker.predict.remote(task.part)] = worker, task
        return bool(self.busy or self.waiting)

    def _task(self, part: Part) -> _Task:
        name = f"{self.source}: part {part.number}"
        if part.records:
            name += f" (rows {part.records[0].row:,} to {part.records[-1].row:,})"
        return _Task(part.number, name, self.ray.put(part))

    def _next(self) -> Finished | None:
        """Wait until something happens; the part if it is that one is finished."""
        ready, _ = self.ray.wait([*self.starting, *self.busy], timeout=None if self.busy else PATIENCE)
        if not ready:
            self.failed[-1] = EmodefError(
                f"Ray has had no core free for a worker for {PATIENCE / 60:.0f} minutes; see 'ray status', and start "
                "the same command again when there is one"
            )
            self.dismiss()
        elif ready[0] in self.starting:
            self._started(ready[0])
        else:
            return self._predicted(ready[0])
        return None

    def _started(self, ready: Any) -> None:
        worker = self.starting.pop(ready)
        try:
            self.ray.get(ready)
        except self.ray.exceptions.RayError as error:
            self._discard(worker)
            self.lost_starting += 1
            if isinstance(cause := getattr(error, "cause", None), EmodefError):
                self.failed[-1] = cause
            elif self.lost_starting == TRIES:
                self.failed[-1] = EmodefError(
                    f"{TRIES} Ray workers, one after the other, did not start: {_reason(error)}. Each machine needs "
                    f"pip install 'emodef[ray]=={emodef.__version__}'"
                )
        else:
            self.lost_starting = 0
            self.idle.append(worker)

    def _predicted(self, ready: Any) -> Finished | None:
        worker, task = self.busy.pop(ready)
        errors = self.ray.exceptions
        try:
            done: Finished = self.ray.get(ready)
        except errors.RayTaskError as error:  # raised by the part
            self.idle.append(worker)
            if isinstance(error.cause, EmodefError):  # and would be again
                self.failed[task.number] = error.cause
            else:
                self._try_again(task, error)
        except errors.RayError as error:  # of the worker, its machine, or the way there
            self._discard(worker)
            self._try_again(task, error)
        else:
            self.idle.append(worker)
            return done
        return None

    def _try_again(self, task: _Task, error: Exception) -> None:
        task.tries += 1
        said = f"{task.name}: {_reason(error)}"
        if task.tries < TRIES:
            self.tell(f"{said}; it is tried again")
            self.waiting.appendleft(task)
        else:
            self.failed[task.number] = EmodefError(
                f"{said}; that was the last of {TRIES} tries. What is finished is kept: the same command goes on from there"
            )


def _reason(error: Exception) -> str:
    """One line of what Ray says in many."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception) and type(cause).__module__.split(".")[0] != "ray":
        return f"{type(cause).__name__}: {cause}".partition("\n")[0]
    text = str(cause or error).strip()
    _, mark, detail = text.partition("Worker exit detail: ")
    if mark:  # what follows is a page of advice
        return f"its worker died ({detail.partition(' Some common causes')[0].strip()})"
    if getattr(error, "actor_init_failed", False):  # it could not be made, and the last line says why
        return text.rpartition("\n")[2]
    return text.partition("\n")[0]
