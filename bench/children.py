"""A process of its own for one side of a measurement, asked through a pipe. Imports the standard library."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Callable
from typing import Any


class Child:
    """Runs `serve(pipe, *given)`, which answers what it receives until that is None. A fork would inherit tuning."""

    def __init__(self, name: str, serve: Callable[..., None], *given: object) -> None:
        self.name = name
        context = mp.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there, *given), daemon=True)
        self._process.start()
        there.close()

    def ask(self, request: object) -> None:
        """Send a request; `answer` waits for what comes of it."""
        self._here.send(request)

    def answer(self) -> Any:
        """The answer to the oldest request that has none. Raises RuntimeError where the process has ended."""
        try:
            return self._here.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self.name!r} ended early; its error stands above") from None

    def close(self) -> None:
        """End the process."""
        if self._process.is_alive():
            self._here.send(None)
        self._process.join(timeout=30)
