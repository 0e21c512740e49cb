"""What a run tells while it runs: a progress bar with losses, rate and time left; JSON lines; TensorBoard. Imports rich."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from emodef.atomic import write_text
from emodef.errors import require
from emodef.train.batches import Step
from emodef.train.resume import writing


class TrainingLog:
    """Writes to `path` (JSON lines, appended), to the terminal where `console` is given, and to TensorBoard where `tensorboard` is.

    Every `every` steps one line holds the means since the last one of each task's loss and of the gradient norm of primary and auxiliary
    steps (before clipping), the learning rate and examples per second.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        console: Console | None = None,
        tensorboard: Path | None = None,
        every: int = 50,
    ) -> None:
        self.path, self.console, self.every, self.tensorboard = path, console, every, tensorboard
        if tensorboard is not None:  # fails now, not after an hour
            require("tensorboard", extra="tensorboard")

    @contextmanager
    def progress(
        self, steps: int, start: int = 0, window: Mapping[str, Any] | None = None
    ) -> Iterator[ProgressBar]:
        """The bar of one run of the loop, from step `start` of `steps`; `window` is a resumed bar's, saved at that step."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        writer = None
        if self.tensorboard is not None:
            with writing(self.tensorboard):
                summary = require("torch.utils.tensorboard", extra="tensorboard").SummaryWriter
                writer = summary(str(self.tensorboard), purge_step=start + 1)
        console = self.console or Console(quiet=True)
        with Progress(*columns, console=console, disable=self.console is None) as bar:
            try:
                yield ProgressBar(self, bar, writer, steps, start, window or {})
            finally:
                if writer is not None:
                    writer.close()

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one JSON line."""
        if self.path is not None:
            with writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps(line) + "\n")

    def note(self, message: str) -> None:
        """Tell the user something that is not part of the course of things."""
        self.write({"note": message})
        if self.console is not None:
            self.console.print(message)

    def rewind(self, step: int, epochs: int) -> None:
        """Drop the lines of steps after `step` and epochs after `epochs`, which a resumed run makes again, and a half-written one."""
        if self.path is None or not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8", errors="replace")
        kept = [line for line in text.splitlines(keepends=True) if _is_before(line, step, epochs)]
        if "".join(kept) != text:
            with writing(self.path):
                write_text(self.path, "".join(kept))


class ProgressBar:
    """What the loop tells its steps and epochs to. `window`: losses and gradient norms since the last line, for a resume state."""

    def __init__(
        self,
        log: TrainingLog,
        bar: Progress,
        writer: Any,
        steps: int,
        start: int,
        window: Mapping[str, Any],
    ) -> None:
        self.log, self.bar, self.writer, self.start = log, bar, writer, start
        self.task = bar.add_task("training", total=steps, completed=start, losses="", rate="")
        self.window: dict[str, Any] = {**_empty_window(), **window}
        self.examples, self.since = 0, time.monotonic()

    def step(self, done: int, losses: Mapping[str, float], norm: float, made: Step, rate: float) -> None:
        """Note the losses of step `done` (counted from 1) and the norm that its gradients had."""
        for task, loss in losses.items():
            _add(self.window["losses"], task, loss)
        _add(self.window["norms"], "primary" if made.draw.primary else "auxiliary", norm)
        self.examples += made.examples
        self.bar.update(self.task, completed=done)
        if done % self.log.every and done - self.start > self.log.every:
            return  # the first lines' worth is shown as it comes
        means = _means(self.window["losses"])
        speed = self.examples / max(1e-9, time.monotonic() - self.since)
        shown = " ".join(f"{task} {loss:.4f}" for task, loss in means.items())
        self.bar.update(self.task, losses=shown, rate=f"{speed:.0f} ex/s")
        if done % self.log.every:
            return
        line: dict[str, Any] = {
            "step": done,
            "losses": means,
            "gradient_norms": _means(self.window["norms"]),
            "learning_rate": rate,
            "examples_per_second": round(speed, 1),
        }
        self.log.write(line)
        self._scalars({f"loss/{task}": loss for task, loss in means.items()}, done)
        self._scalars({f"gradient_norm/{kind}": mean for kind, mean in line["gradient_norms"].items()}, done)
        self._scalars({"learning_rate": rate, "examples_per_second": speed}, done)
        self.window = _empty_window()
        self.examples, self.since = 0, time.monotonic()

    def epoch(self, result: Mapping[str, Any], done: int) -> None:
        """Note an epoch's dev metrics, after step `done`."""
        self.log.write(result)
        if "dev_macro_f1" in result:
            macro, micro = 100 * result["dev_macro_f1"], 100 * result["dev_micro_f1"]
            self.bar.console.print(f"epoch {result['epoch']}: dev macro-F1 {macro:.1f}, micro-F1 {micro:.1f}")
        dev = {name.replace("dev_", "dev/", 1): v for name, v in result.items() if name != "epoch"}
        self._scalars(dev, done)
        self.examples, self.since = 0, time.monotonic()  # evaluating is not training

    def _scalars(self, values: Mapping[str, float], done: int) -> None:
        if self.writer is not None:
            with writing(self.log.tensorboard or Path()):
                for name, value in values.items():
                    self.writer.add_scalar(name, value, done)


def _empty_window() -> dict[str, Any]:
    return {"losses": {}, "norms": {}}  # of a task, of a kind of step: [sum, number]


def _add(to: dict[str, list[float]], name: str, value: float) -> None:
    total, number = to.get(name, (0.0, 0))
    to[name] = [total + value, number + 1]


def _means(of: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: total / number for name, (total, number) in sorted(of.items())}


def _is_before(line: str, step: int, epochs: int) -> bool:
    if not line.endswith("\n"):
        return False
    try:
        content = json.loads(line)
    except ValueError:
        return False
    return bool(content.get("step", 0) <= step and content.get("epoch", 0) <= epochs)
