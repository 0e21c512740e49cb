"""A transfer study (the paper's Figure 3): the runs that are missing made, with progress, and kept one by one. Imports torch.

The folder (`emodef.transfers`) is RESULTS/transfer/<backbone, and a hash of what all its runs share>: more splits, sizes, starts, corpora
or policies of the same study join those that are there. A run counts once its line is written; one that is stopped is made again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from emodef.atomic import write_text
from emodef.errors import TrainingError
from emodef.runs import DataChoice, read_json
from emodef.train.processes import Interrupted, caught_signals, locked
from emodef.train.resume import writing
from emodef.train.transfer_plan import Study, plan_transfer
from emodef.train.transfer_processes import AGAIN, run_here, run_in_processes
from emodef.train.transfer_settings import TransferSettings
from emodef.train.versions import as_json, note_versions
from emodef.transfers import Row, TransferFolder

__all__ = ["OutOfTime", "Study", "plan_transfer", "run_study", "run_transfer"]


class OutOfTime(Interrupted):
    """The time that was given is up before all runs are made: nothing went wrong."""

    exit_code = 0


def run_transfer(
    settings: TransferSettings,
    results: str | os.PathLike[str],
    starts: Mapping[str, str | os.PathLike[str]] | None = None,
    *,
    jobs: int = 1,
    cpu: bool = False,
    data: DataChoice | None = None,
    stop_after: float | None = None,
    console: Console | None = None,
) -> TransferFolder:
    """Make the runs of a study that `results` does not hold yet, and return the study's folder.

    starts: name -> a run's or model's folder, for starts that are not to be looked for in `results`, and further ones. jobs: processes,
    each with a start and a corpus at a time, or a share of their runs. data: how corpora are read. stop_after: minutes, after which no run
    begins.
    Raises SettingsError and DataError for what does not fit, before anything is run; Interrupted after Ctrl-C or SIGTERM, OutOfTime
    after `stop_after`; TrainingError at the end where runs failed, the others having been made.
    """
    deadline = None if stop_after is None else time.monotonic() + 60 * stop_after
    study = plan_transfer(settings, results, starts, cpu=cpu, data=data)
    run_study(study, jobs=jobs, deadline=deadline, console=console)
    return study.folder


def run_study(
    study: Study, *, jobs: int = 1, deadline: float | None = None, console: Console | None = None
) -> None:
    """Make the runs of a plan. deadline: on the clock of `time.monotonic`, after which no new run begins. Else as `run_transfer`."""
    folder = study.folder
    with ExitStack() as stack:
        stack.enter_context(locked(folder.path))
        with writing(folder.path, AGAIN):
            folder.cut_unfinished()
            _write_about(study)
            for drawn in study.splits.values():
                folder.save_splits(drawn)
        told = stack.enter_context(_Told(study, console))
        caught = stack.enter_context(caught_signals())
        if (jobs := min(jobs, study.pending)) > 1:
            run_in_processes(study, jobs, told, caught, deadline)
        else:
            run_here(study, told, caught, deadline)
    if told.failures:
        raise TrainingError(
            f"{len(told.failures)} failed, the others are made; run the same command again to try these: "
            + "; ".join(told.failures)
        )
    if told.made < study.pending:
        raise (Interrupted if caught else OutOfTime)(
            f"stopped with {study.done + told.made} of {study.done + study.pending} runs made, which are kept: go on with the same command"
        )


class _Told:
    """Progress, on the terminal where there is one, and what failed."""

    def __init__(self, study: Study, console: Console | None) -> None:
        self.study, self.made, self.failures = study, 0, list[str]()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}"),
            console=console or Console(quiet=True),
            disable=console is None,
            speed_estimate_period=600,
        )
        self.task = self.bar.add_task(self._words(), total=study.total, last="")

    def __enter__(self) -> _Told:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def row(self, row: Row) -> None:
        """A run is done."""
        self.made += 1
        last = f"{row.corpus}, {row.size:g} texts, {row.start}: macro-F1 {100 * row.macro_f1:.1f}"
        cost = self.study.cost(row.corpus, row.size)
        self.bar.update(self.task, advance=cost, description=self._words(), last=last)

    def failed(self, message: str) -> None:
        """A run failed, or a process."""
        self.failures.append(message)
        self.bar.console.print(f"failed: {message}")

    def _words(self) -> str:
        return f"run {self.study.done + self.made} of {self.study.done + self.study.pending}"


def _write_about(study: Study) -> None:
    """settings.json, with all that was ever asked for, and versions.json, what was made with others before under "earlier"."""
    path, settings = study.folder.path, study.settings
    asked: dict[str, Any] = {
        "corpora": list(study.corpora),
        "starts": list(study.starts),
        "sizes": list(settings.sizes),
        "policies": list(settings.policies),
    }
    splits = settings.splits
    if (path / "settings.json").exists():
        before = read_json(path / "settings.json")
        asked = {name: list(dict.fromkeys((*before.get(name, ()), *new))) for name, new in asked.items()}
        splits = max(splits, before.get("splits", 0))
    shared = {**settings.protocol(study.precision), "hash": settings.digest(study.precision)}
    write_text(path / "settings.json", as_json({**shared, **asked, "splits": splits}))
    note_versions(path, study.device, study.precision)
