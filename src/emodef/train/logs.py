"""What a run tells while it runs: a progress bar with losses, rate and time left; JSON lines; TensorBoard. Imports rich."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from emodef.errors import require
from emodef.train.batches import Step


class TrainingLog:
    """Writes to `path` (JSON lines, appended), to the terminal where `console` is given, and to TensorBoard where `tensorboard` is.

    Every `every` steps one line holds the mean loss of each task since the last one, the learning rate and examples per second.
    """

    def __init__(
        self, path: Path | None, *, console: Console | None = None, tensorboard: Path | None = None, every: int = 50
    ) -> None:
        self.path, self.console, self.every = path, console, every
        self.writer = None
        if tensorboard is not None:
            require("tensorboard", extra="tensorboard")
            self.writer = require("torch.utils.tensorboard", extra="train").SummaryWriter(str(tensorboard))

    @contextmanager
    def progress(self, steps: int, start: int) -> Iterator[_Bar]:
        """The bar of one run of the loop, from step `start` of `steps`."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console or Console(quiet=True), disable=self.console is None) as bar:
            try:
                yield _Bar(self, bar, steps, start)
            finally:
                if self.writer is not None:
                    self.writer.close()

    def write(self, line: dict[str, Any]) -> None:
        """Append one JSON line."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")


class _Bar:
    def __init__(self, log: TrainingLog, bar: Progress, steps: int, start: int) -> None:
        self.log, self.bar = log, bar
        self.task = bar.add_task("training", total=steps, completed=start, losses="", rate="")
        self._clear()

    def _clear(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.examples, self.since = 0, time.monotonic()

    def step(self, done: int, losses: dict[str, float], made: Step, rate: float) -> None:
        """Note the losses of step `done` (counted from 1)."""
        for task, loss in losses.items():
            self.sums[task] = self.sums.get(task, 0.0) + loss
            self.counts[task] = self.counts.get(task, 0) + 1
        self.examples += made.examples
        self.bar.update(self.task, completed=done)
        if done % self.log.every:
            return
        means = {task: self.sums[task] / self.counts[task] for task in sorted(self.sums)}
        speed = self.examples / max(1e-9, time.monotonic() - self.since)
        self.bar.update(
            self.task, losses=" ".join(f"{task} {loss:.4f}" for task, loss in means.items()), rate=f"{speed:.0f} ex/s"
        )
        self.log.write({"step": done, "losses": means, "learning_rate": rate, "examples_per_second": round(speed, 1)})
        if self.log.writer is not None:
            for task, loss in means.items():
                self.log.writer.add_scalar(f"loss/{task}", loss, done)
            self.log.writer.add_scalar("learning_rate", rate, done)
            self.log.writer.add_scalar("examples_per_second", speed, done)
        self._clear()

    def epoch(self, result: dict[str, Any]) -> None:
        """Note an epoch's dev metrics."""
        self.log.write(result)
        if "dev_macro_f1" in result:
            self.bar.console.print(
                f"epoch {result['epoch']}: dev macro-F1 {100 * result['dev_macro_f1']:.1f}, micro-F1 {100 * result['dev_micro_f1']:.1f}"
            )
        if self.log.writer is not None:
            for name, value in result.items():
                if name != "epoch":
                    self.log.writer.add_scalar(name.replace("dev_", "dev/", 1), value, result["epoch"])
        self.since = time.monotonic()  # evaluating is not training
