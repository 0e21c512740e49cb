"""The progress bar of a job, on standard error: rows done, rate, time left. Imports files.job; rich only inside."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from emodef.files.job import Watch

LOOK_FROM = 2**28  # bytes of an input from which on it is worth saying that it is looked at


class Pace(Watch):
    """How far a job is. How many rows there are is estimated from the share of the input that has been read."""

    def __init__(self) -> None:
        self.earlier = self.done = 0
        self.total: float | None = None
        self._began = time.monotonic()
        self._lock = (
            threading.Lock()
        )  # a predictor's threads tell in turns, but a bar's thread looks at any time

    def begin(self, rows: int) -> None:
        """The clock starts; rows of earlier runs do not count for the rate."""
        self.earlier, self._began = rows, time.monotonic()

    def estimate(self, rows: int, share: float | None) -> None:
        """The rows read so far make up a share of the input."""
        self.total = rows / share if share else None

    def advance(self, rows: int) -> None:
        """So many more rows are predicted."""
        with self._lock:
            self.done += rows

    @property
    def rate(self) -> float:
        """Rows per second, of this run."""
        return self.done / max(time.monotonic() - self._began, 1e-9)

    def __str__(self) -> str:
        """Such as `12,288 of about 100,000 rows, 812/s, 0:01:48 left`."""
        rows = self.earlier + self.done
        parts = [f"{rows:,} rows" if self.total is None else f"{rows:,} of about {self.total:,.0f} rows"]
        if self.done:
            parts.append(f"{self.rate:,.0f}/s")
            if self.total is not None:
                left = max(0.0, self.total - rows) / self.rate
                parts.append(f"{timedelta(seconds=round(left))} left")
        return ", ".join(parts)


@contextmanager
def shown(hidden: bool) -> Iterator[Watch]:
    """A bar on standard error while the block runs; gone afterwards."""
    if hidden:
        yield Watch()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("predicting"), BarColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as bar:
        yield _Bar(bar)


class _Bar(Pace):
    def __init__(self, bar: Any) -> None:
        super().__init__()
        self._bar, self._task = bar, bar.add_task("", total=None)

    def reading(self, done: int, total: int) -> None:
        if total >= LOOK_FROM:
            self._bar.update(self._task, description="looking at the input", completed=done, total=total)

    def begin(self, rows: int) -> None:
        super().begin(rows)
        self._show()

    def estimate(self, rows: int, share: float | None) -> None:
        super().estimate(rows, share)
        self._show()

    def advance(self, rows: int) -> None:
        super().advance(rows)
        self._show()

    def _show(self) -> None:
        done = self.earlier + self.done
        self._bar.update(self._task, description=str(self), completed=done, total=self.total)
