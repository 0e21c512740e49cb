"""Contenders that answer for texts, each in a process of its own: their threads cannot disturb each other. Imports nothing heavy."""

from __future__ import annotations

import multiprocessing as mp
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from bench.pipelines import Pipeline, Pipelined


class Answers(Protocol):
    """A classifier, loaded."""

    def answer(self, texts: list[str] | str, batch: int) -> Any:
        """All labels' scores of one text or several."""


@dataclass(frozen=True)
class Light:
    """A light model to time."""

    folder: Path


class Predicted:
    """A light model in this process. It makes its own batches."""

    def __init__(self, made: Light, threads: int) -> None:
        from emodef import Predictor

        self._predictor = Predictor.load(made.folder, threads=threads)

    def answer(self, texts: list[str] | str, batch: int = 0) -> Any:
        """Labels and every label's score for each text."""
        return self._predictor.predict(texts)


class Contender:
    """One classifier in its process; a context manager that ends it."""

    def __init__(self, made: Light | Pipeline, threads: int) -> None:
        context = mp.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, made, threads), daemon=True)
        self._process.start()
        there.close()

    def rate(self, texts: Sequence[str], batch: int = 0) -> float:
        """Texts per second."""
        return len(texts) / float(self._ask("all", list(texts), batch))

    def each(self, texts: Sequence[str]) -> list[float]:
        """Seconds for each text, given alone, one after the other."""
        found: list[float] = self._ask("each", list(texts), 1)
        return found

    def _ask(self, *request: object) -> Any:
        try:
            self._here.send(request)
            return self._here.recv()
        except (EOFError, BrokenPipeError):
            raise RuntimeError("a contender's process ended early; its error stands above") from None

    def __enter__(self) -> Contender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.is_alive():
            self._here.send(None)
        self._process.join(timeout=30)


def _serve(pipe: Connection, made: Light | Pipeline, threads: int) -> None:
    loaded: Answers = Predicted(made, threads) if isinstance(made, Light) else Pipelined(made, threads)
    while (request := pipe.recv()) is not None:
        what, texts, batch = request
        if what == "all":
            start = time.perf_counter()
            loaded.answer(texts, batch)
            pipe.send(time.perf_counter() - start)
        else:
            seconds = []
            for text in texts:
                start = time.perf_counter()
                loaded.answer(text, 1)
                seconds.append(time.perf_counter() - start)
            pipe.send(seconds)
