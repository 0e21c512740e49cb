"""How the runs of an experiment are getting on: a live table on a terminal, else lines, now and then. Imports rich, supervisor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from emodef.experiments.supervisor import FAILED, FINISHED, RUNNING, STOPPED, WAITING, Job

EVERY = 60.0  # seconds between lines that only say how far things are
_ORDER = (RUNNING, FAILED, STOPPED, WAITING, FINISHED)  # the most interesting first, where not all fit
_COLOURS = {RUNNING: "cyan", FINISHED: "green", FAILED: "red", STOPPED: "yellow", WAITING: "dim"}


class Display:
    """Shows jobs on `console`; `use` it around the supervisor, which calls the rest."""

    def __init__(self, console: Console, *, every: float = EVERY) -> None:
        self.console, self.every = console, every
        self._live: Live | None = None
        self._told = time.monotonic()

    @contextmanager
    def use(self) -> Iterator[Display]:
        """The table is there while the block runs."""
        if not self.console.is_terminal:
            yield self
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as self._live:
            yield self
        self._live = None

    def watch(self, jobs: Sequence[Job]) -> None:
        """Show how far they are."""
        if self._live is not None:
            self._live.update(job_table(jobs, room=max(3, self.console.height - 4)))
        elif time.monotonic() - self._told >= self.every:
            self._told = time.monotonic()
            for job in jobs:
                if job.state == RUNNING:
                    self._say(f"{job.name}: {_progress(job)}")

    def started(self, job: Job) -> None:
        """Say so, where there is no table."""
        if self._live is None:
            self._say(f"{job.name}: started" + (f" again at step {job.step:,}" if job.step else ""))

    def ended(self, job: Job) -> None:
        """Say how."""
        if job.state == FAILED:
            self._say(f"{job.name}: failed: {job.error}; see {job.folder}")
        elif job.state == STOPPED:
            self._say(f"{job.name}: stopped at step {job.step:,} of {job.steps:,}")
        else:
            score = "" if job.macro_f1 is None else f", dev macro-F1 {100 * job.macro_f1:.1f}"
            self._say(f"{job.name}: finished in {duration(job.seconds)}{score}")

    def _say(self, message: str) -> None:
        self.console.print(Text(message), soft_wrap=True)


def job_table(jobs: Sequence[Job], room: int = 1000) -> Table:
    """A row for each job, the most interesting ones where there is room for `room` only, in order; and how many there are of each kind."""
    shown = sorted(range(len(jobs)), key=lambda i: _ORDER.index(jobs[i].state))[:room]
    numbers = {"justify": "right", "no_wrap": True}
    table = Table(
        "run",
        "state",
        Column("step", **numbers),  # type: ignore[arg-type]
        Column("steps/s", **numbers),  # type: ignore[arg-type]
        Column("left", **numbers),  # type: ignore[arg-type]
        Column("dev F1", **numbers),  # type: ignore[arg-type]
        box=None,
        pad_edge=False,
    )
    for index in sorted(shown):
        job = jobs[index]
        running = job.state == RUNNING
        table.add_row(
            Text(job.name, overflow="ellipsis", no_wrap=True),
            Text(job.state, style=_COLOURS[job.state]),
            f"{job.step:,}/{job.steps:,}",
            f"{1 / job.pace:.2f}" if running and job.pace else "",
            duration(job.left) if running and job.left is not None else "",
            "" if job.macro_f1 is None else f"{100 * job.macro_f1:.1f}",
        )
    counts = Counter(job.state for job in jobs)
    table.caption = ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])
    return table


def duration(seconds: float) -> str:
    """As people say it: 45 s, 12 min, 3 h 05 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _progress(job: Job) -> str:
    parts = [f"step {job.step:,} of {job.steps:,}"]
    if job.pace:
        parts.append(f"{1 / job.pace:.2f} steps/s, {duration(job.left or 0)} left")
    if job.macro_f1 is not None:
        parts.append(f"dev macro-F1 {100 * job.macro_f1:.1f} after epoch {job.epoch}")
    return "; ".join(parts)
