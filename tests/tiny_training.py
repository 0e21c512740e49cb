"""Training runs in processes of their own, to be killed, interrupted, or joined: forked from a server that has torch loaded already.

`start(Job(...))` returns the process; its exit code is what the command line would return, `error_of` reads its error.
A `Blow` makes a process send itself a real signal just before the nth call of some function.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodef.corpora import Corpus

if TYPE_CHECKING:
    from emodef.train.settings import TrainSettings

TIMEOUT = 300.0  # seconds; a process that has not ended by then is killed, and the test fails
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["emodef.train.run", "tiny_training"])

# where to strike: just before a call of
STEP = "emodef.train.batches.StepBatches.make"
SAVE = "emodef.train.resume.save_file"  # two calls a state: the weights, then the moments
RENAME = "emodef.train.resume.replaced_directory.__exit__"  # a state's files are written, not yet in place
SAVED = "emodef.train.resume._remove_others"  # a state has been put in place, the one before not yet removed
EVALUATION = "emodef.train.checkpoint.TrainedModel.predict_proba"
OPTIMIZER = "torch.optim.AdamW.step"


@dataclass(frozen=True)
class Blow:
    """Send `signal` to this process before call number `call` (from 1) of `at`."""

    at: str
    call: int
    signal: int = signal.SIGKILL
    rank: int = 0


@dataclass(frozen=True)
class Job:
    """One call of `run_training` (or, with `whole=False`, of `train`) and what befalls it."""

    settings: Any
    corpus: dict[str, Corpus]
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    blows: tuple[Blow, ...] = ()
    whole: bool = False
    file_limit: int | None = None  # bytes; a file that grows beyond fails as on a full disk
    environment: dict[str, str] = field(default_factory=dict)


def short_run(backbone: Path, **changes: Any) -> TrainSettings:
    """Settings of a run of 16 steps with matching, saved every third."""
    from emodef.train.settings import TrainSettings

    base: dict[str, Any] = {
        "backbone": str(backbone),
        "setup": "match",
        "corpus": "tiny",
        "epochs": 2,
        "learning_rate": 1e-2,
        "precision": "fp32",
        "save_every": 3,
    }
    return TrainSettings(**base | changes)


def start(job: Job) -> BaseProcess:
    """Start the job in a process of its own."""
    process = _CONTEXT.Process(target=_do, args=(job,), daemon=True)
    process.start()
    return process


def finish(processes: Sequence[BaseProcess]) -> list[int | None]:
    """Wait for the processes; their exit codes (a negative number: the signal that killed it)."""
    try:
        for process in processes:
            process.join(TIMEOUT)
    finally:
        alive = [process for process in processes if process.is_alive()]
        for process in alive:
            process.kill()
            process.join()
    assert not alive, f"{len(alive)} processes had not ended after {TIMEOUT:.0f} s"
    return [process.exitcode for process in processes]


def run(job: Job) -> int | None:
    """Do the job in a process of its own; its exit code."""
    return finish([start(job)])[0]


def world(job: Job, size: int) -> list[BaseProcess]:
    """Start `size` processes of one run, that find each other through a file; rank 0 first."""
    meeting = str(job.folder.parent / f"{job.folder.name}.meeting")
    common = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "EMODEF_TEST_MEETING": meeting}
    processes = []
    for rank in range(size):
        environment = {**job.environment, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        blows = tuple(blow for blow in job.blows if blow.rank == rank)
        processes.append(start(replace(job, environment=environment, blows=blows)))
    return processes


def error_of(job: Job) -> str:
    """What the job's (main) process ended with: "TypeOfError: message"; empty if it did not end with an error of ours."""
    path = _error_file(job)
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _error_file(job: Job) -> Path:
    """Beside the run's folder: in it, another process that is about to begin there would take it for something foreign."""
    return job.folder.parent / f"{job.folder.name}.error.txt"


def _do(job: Job) -> None:
    from emodef.errors import EmodefError

    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started from
    os.environ.update(job.environment)
    if meeting := os.environ.get("EMODEF_TEST_MEETING"):
        _meet(meeting)
    if job.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_limit, resource.RLIM_INFINITY))
    for blow in job.blows:
        _arm(blow)
    job.folder.mkdir(parents=True, exist_ok=True)
    try:
        if job.whole:
            from emodef.train.run import run_training

            run_training(job.settings, job.corpus, job.folder, cpu=True, **job.options)
        else:
            train_and_save(job.settings, job.corpus, job.folder, **job.options)
    except EmodefError as error:
        if os.environ.get("RANK", "0") == "0":
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            _error_file(job).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        sys.exit(error.exit_code)


def train_and_save(
    settings: Any, corpus: dict[str, Corpus], folder: Path, every: int = 1, **options: Any
) -> Any:
    """`train` on one CPU thread with a line logged every so many steps, its final weights saved as FOLDER/final-RANK.safetensors."""
    import torch
    from safetensors.torch import save_file

    from emodef.train.logs import TrainingLog
    from emodef.train.loop import train
    from emodef.train.resume import weights

    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    log = TrainingLog(folder / "log.jsonl" if rank == 0 else None, every=every)
    trained = train(settings, corpus, folder, cpu=True, log=log, **options)
    save_file(weights(trained.model.model), folder / f"final-{rank}.safetensors")
    return trained


def _meet(meeting: str) -> None:
    """Join the others through a file: no port to be free, no name to be resolved."""
    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)


def _arm(blow: Blow) -> None:
    """Put a counter around the function (this process is the test's own, and ends with it)."""
    module, names = _split(blow.at)
    owner: Any = module
    for name in names[:-1]:
        owner = getattr(owner, name)
    original, calls = getattr(owner, names[-1]), 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == blow.call:
            os.kill(os.getpid(), blow.signal)
        return original(*args, **options)

    setattr(owner, names[-1], counted)


def _split(dotted: str) -> tuple[Any, list[str]]:
    parts = dotted.split(".")
    for at in range(len(parts) - 1, 0, -1):
        try:
            return importlib.import_module(".".join(parts[:at])), parts[at:]
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(dotted)
