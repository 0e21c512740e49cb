"""Any number of texts through the graph: blocks, windows, length-sorted batches, worker threads. Imports numpy, encoding, errors.

A block of texts is tokenised, cut into windows and sorted by length when a worker asks for the next batch, so that only the
blocks being worked on are held, however many texts there are. The calling thread is one of the workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from emodef.encoding import Indices, Padded, budget_batches
from emodef.predictor.windows import Windows

TOKEN_BUDGET = 256  # of a batch, padding included: near the fastest (bench/graph_choices.py)
SHARES = 4  # batches that a little work is cut into, whatever the threads: so scores are the same to the bit
LEAST_BUDGET = 64  # a smaller batch is not worth a thread of its own
BLOCK_TEXTS = 4096
BLOCK_CHARACTERS = 1 << 20

Arrays = list[NDArray[np.float32]]


@dataclass
class Block:
    """Some texts, from number `first` on, as windows; `pad` makes a batch of chosen windows."""

    first: int
    windows: Windows
    pad: Callable[[Indices], Padded]
    overhead: int | Indices  # tokens that each window gets beside its own: special ones, a definition
    values: Arrays = field(default_factory=list)  # outputs of the windows, (m, ...) each
    left: int = 0  # batches still to compute

    @property
    def lengths(self) -> Indices:
        """Tokens of each window as the graph sees it."""
        return self.windows.tokens.lengths + self.overhead


def block_slices(texts: Sequence[str]) -> Iterator[slice]:
    """Consecutive texts that are tokenised together: bounded in number and, but for a single longer text, in characters."""
    start = size = 0
    for end, text in enumerate(texts):
        if end > start and (end - start == BLOCK_TEXTS or size + len(text) > BLOCK_CHARACTERS):
            yield slice(start, end)
            start, size = end, 0
        size += len(text)
    if start < len(texts):
        yield slice(start, len(texts))


def compute(
    blocks: Iterable[Block],
    run: Callable[[Padded, bool], Arrays],
    *,
    workers: int,
    done: Callable[[Block], None],
    progress: Callable[[Indices], None] | None = None,
) -> None:
    """Run every window of every block; `done` is called with each block when its `values` are whole, one at a time.

    `run` is told whether the batch is the only one. `progress`, too, is called by one thread at a time, with the positions
    among all texts of those that were begun. What a worker raises stops the others and is raised here.
    """
    _Work(iter(blocks), run, workers, done, progress).all()


class _Work:
    """The batches still to do, and the threads that do them."""

    def __init__(
        self,
        blocks: Iterator[Block],
        run: Callable[[Padded, bool], Arrays],
        workers: int,
        done: Callable[[Block], None],
        progress: Callable[[Indices], None] | None,
    ) -> None:
        self.run, self.workers, self.done, self.progress = run, workers, done, progress
        self.batches = self._batches(blocks)
        self.lock = threading.Lock()
        self.error: BaseException | None = None

    def _batches(self, blocks: Iterator[Block]) -> Iterator[tuple[Block, Indices]]:
        for block in blocks:
            share = int(block.lengths.sum()) // SHARES
            budget = min(TOKEN_BUDGET, max(LEAST_BUDGET, share))
            batches = list(budget_batches(block.lengths, budget))
            block.left = len(batches)
            yield from ((block, chosen) for chosen in batches)

    def all(self) -> None:
        """Do them; the calling thread is one of the workers."""
        first = list(islice(self.batches, 2))
        if len(first) == 1:
            self._compute(*first[0], alone=True)
            return
        self.batches = chain(first, self.batches)
        others = [threading.Thread(target=self._work, daemon=True) for _ in range(self.workers - 1)]
        for thread in others:
            thread.start()
        try:
            self._work()
        except BaseException as error:  # an interrupt between two batches
            self.error = self.error or error
        for thread in others:
            thread.join()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            while self.error is None:
                with self.lock:
                    batch = next(self.batches, None)
                if batch is None:
                    return
                self._compute(*batch, alone=False)
        except BaseException as error:  # raised again where `all` was called
            self.error = self.error or error

    def _compute(self, block: Block, chosen: Indices, *, alone: bool) -> None:
        values = self.run(block.pad(chosen), alone)
        with self.lock:
            if not block.values:
                total = len(block.windows.tokens)
                block.values = [np.empty((total, *v.shape[1:]), dtype=np.float32) for v in values]
            for whole, part in zip(block.values, values, strict=True):
                whole[chosen] = part
            block.left -= 1
            if not block.left:
                self.done(block)
            if self.progress is not None:
                self.progress(block.first + block.windows.texts_begun(chosen))
