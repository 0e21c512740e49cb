"""A transfer study's runs made in this process, or in several, each with a start and a corpus, or a share of their runs, at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import wait
from signal import SIG_IGN, SIGINT, signal
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from emodef.errors import EmodefError, TrainingError
from emodef.metrics import averages, count
from emodef.train.performance import tuned_process
from emodef.train.processes import Interrupted
from emodef.train.resume import writing
from emodef.train.transfer_plan import Study, Unit
from emodef.train.transfer_runs import Workbench
from emodef.transfers import Row

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext


_PATIENCE = 60.0  # seconds for a process to end that has nothing more to do
AGAIN = "give the same command again"  # what to do once there is room on the disk


class Told(Protocol):
    """Who is told of what happens."""

    def row(self, row: Row) -> None:
        """A run is done."""

    def failed(self, message: str) -> None:
        """A run failed."""


def make_unit(
    study: Study,
    unit: Unit,
    stop: Callable[[], bool],
    late: Callable[[], bool],
    failed: Callable[[str], None],
) -> Iterator[Row]:
    """Make the runs of a unit, in order of their splits; each is saved before it is told of."""
    settings, texts, splits = study.settings, study.corpora[unit.corpus], study.splits[unit.corpus]
    bench = Workbench(unit.start, texts, settings, device=study.device, precision=study.precision)
    for size, split, policy in unit.runs:
        if late():
            return
        train, test, seed = (
            splits.train(split, size),
            splits.test(split, size, settings.max_eval),
            settings.seed + split - 1,
        )
        try:
            outcome = bench.run(train, test, policy, seed, stop=stop)
        except Interrupted:
            raise
        except TrainingError as error:
            failed(f"{unit.start.name} on {unit.corpus}, size {size:g}, split {split}, {policy}: {error}")
            continue
        truth = texts.corpus.labels[test]
        row = Row(
            start=unit.start.name,
            corpus=unit.corpus,
            size=size,
            split=split,
            policy=policy,
            seed=seed,
            macro_f1=round(float(averages(count(truth, outcome.predicted))["macro_f1"]), 6),
            accuracy=round(float((outcome.predicted == truth.astype(bool)).all(1).mean()), 6),
            texts=len(test),
            train_texts=len(train),
            cut_texts=outcome.cut_texts,
            steps=outcome.steps,
            seconds=round(outcome.seconds, 2),
            train_ids_hash=splits.digest(train),
            test_ids_hash=splits.digest(test),
            settings_hash=settings.digest(study.precision),
            start_hash=unit.start.weights,
            start_run=unit.start.run_name,
            start_dev_macro_f1=unit.start.dev_macro_f1,
        )
        with writing(study.folder.path, AGAIN):
            study.folder.append(row, outcome.predicted)
        yield row


@tuned_process()
def run_here(study: Study, told: Told, caught: Sequence[int], deadline: float | None) -> None:
    """Make all runs one after another. Raises Interrupted in the middle of a run, once a signal is in `caught`."""

    def late() -> bool:
        return bool(caught) or (deadline is not None and time.monotonic() > deadline)

    for unit in study.units:
        if late():
            return
        for row in make_unit(study, unit, lambda: bool(caught), late, told.failed):
            told.row(row)


def shared_out(units: Sequence[Unit], jobs: int) -> list[Unit]:
    """The same runs in more units, where there are fewer units than `jobs`: each is cut into equally many parts, if it has so many runs."""
    parts = -(-jobs // max(1, len(units)))
    return [
        replace(unit, runs=unit.runs[part::parts])
        for unit in units
        for part in range(min(parts, len(unit.runs)))
    ]


def fresh_processes() -> ForkServerContext | SpawnContext:
    """How to start processes without this one's CUDA and threads, which survive no fork: from one that only imported what they need."""
    if "forkserver" not in get_all_start_methods():  # Windows
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def run_in_processes(
    study: Study, jobs: int, told: Told, caught: Sequence[int], deadline: float | None
) -> None:
    """Hand out the units, the largest of what is left first, to processes that ask for one when they have none."""
    context = fresh_processes()
    stop = context.Event()
    threads = max(1, torch.get_num_threads() // jobs)
    waiting = sorted(
        shared_out(study.units, jobs),
        key=lambda unit: -sum(study.cost(unit.corpus, size) for size, _, _ in unit.runs),
    )
    pipes: dict[Any, Any] = {}
    try:
        for _ in range(jobs):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, study, threads, stop, deadline), daemon=True
            )
            process.start()
            there.close()
            pipes[here] = process
        while pipes:
            if caught or (deadline is not None and time.monotonic() > deadline):
                waiting.clear()
            if caught:
                stop.set()
            # Windows' pipes are of a class of their own, which answers in the same way
            for pipe in cast("list[Connection]", wait(list(pipes), timeout=0.5)):
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError):
                    pipes.pop(pipe).join()
                    if not caught:
                        told.failed("a process ended before its work was done; its error stands above")
                    continue
                if kind == "row":
                    told.row(content)
                elif kind == "failed":
                    told.failed(content)
                elif kind == "error":
                    raise content
                elif waiting:
                    pipe.send(waiting.pop(0))
                else:
                    pipe.send(None)
                    pipes.pop(pipe).join()
    finally:
        stop.set()
        for pipe in pipes:  # nobody reads them any more: a process that waits for an answer is told so
            pipe.close()
        for process in pipes.values():
            process.join(timeout=_PATIENCE)
            if process.is_alive():
                process.terminate()


def _serve(pipe: Connection, study: Study, threads: int, stop: Any, deadline: float | None) -> None:
    """A process's work: ask for a unit, make its runs, tell of each."""
    signal(SIGINT, SIG_IGN)  # the parent, which gets it too, says when to stop
    torch.set_num_threads(threads)

    def late() -> bool:
        return stop.is_set() or (deadline is not None and time.monotonic() > deadline)

    with tuned_process():
        try:
            while True:
                pipe.send(("ask", None))
                unit = pipe.recv()
                if unit is None:
                    return
                for row in make_unit(
                    study, unit, stop.is_set, late, lambda message: pipe.send(("failed", message))
                ):
                    pipe.send(("row", row))
        except Interrupted:
            with suppress(OSError, EOFError):  # the parent may be at its end
                pipe.send(("ask", None))
                pipe.recv()
        except EmodefError as error:
            with suppress(OSError):
                pipe.send(("error", error))
        except (BrokenPipeError, ConnectionResetError, EOFError):  # the parent is gone
            return
