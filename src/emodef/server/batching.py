"""Requests that arrive together share passes of the model: a bounded queue, and one thread that empties it. Imports Predictor.

Nothing is waited for: a pass takes what is there when the model is free, so a request that comes alone is answered at once,
and the busier the server the larger its passes. A request of many texts takes part in several passes, beside others, so that
none waits for the whole of another.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from emodef.predictor import Prediction
from emodef.server.faults import Fault

PASS_CHARACTERS = 16_000  # of a pass, but for a single longer text: so that a pass is short
TURN = 8  # texts a request puts into a pass before the next request's turn comes
SMOOTHING = 0.1  # of the mean rate


class How(Protocol):
    """What is done with texts; requests of equal ones share a call."""

    def __call__(self, texts: Sequence[str]) -> Sequence[Prediction]: ...

    def __hash__(self) -> int: ...


@dataclass(eq=False)
class Work:
    """A request's texts, on their way through the model."""

    texts: Sequence[str]
    how: How
    sizes: Sequence[int]  # of the texts, in characters
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[list[Prediction]]
    taken: int = 0
    found: list[Prediction] = field(default_factory=list)
    dropped: bool = False  # nobody waits for it any more

    def settle(self, error: BaseException | None = None) -> None:
        """Hand over the answer; called in the loop's thread."""
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(self.found)


Share = tuple[Work, Sequence[str]]


class Batcher:
    """The queue before the model.

    pass_texts: most texts of a pass. queue_texts: most that wait; past it `submit` raises Fault("busy"). told: called after
    each pass with (texts, requests, seconds), in the model's thread.
    """

    def __init__(
        self,
        *,
        pass_texts: int = 32,
        queue_texts: int = 4000,
        told: Callable[[int, int, float], None] | None = None,
    ) -> None:
        self.pass_texts, self.queue_texts, self.told = pass_texts, queue_texts, told
        self.waiting = 0  # texts
        self.seconds_a_text = 0.003  # smoothed; only for Retry-After
        self._queue: deque[Work] = deque()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    async def submit(
        self, texts: Sequence[str], how: How, sizes: Sequence[int] | None = None
    ) -> list[Prediction]:
        """The predictions of texts, in order. Cancelled, the texts not yet begun are dropped.

        sizes: characters of each as the model reads it, by default as it stands.
        Raises Fault: "busy" where too many texts wait, "stopping" after `close`; and what the model raises.
        """
        if not texts:
            return []
        loop = asyncio.get_running_loop()
        sizes = [len(text) for text in texts] if sizes is None else sizes
        work = Work(texts, how, sizes, loop, loop.create_future())
        with self._change:
            if self._closed:
                raise Fault("stopping", "the server is shutting down; ask another one, or again in a moment")
            if self.waiting and self.waiting + len(texts) > self.queue_texts:
                raise Fault(
                    "busy",
                    f"{self.waiting} texts are waiting already; come again after the seconds that Retry-After says",
                    retry_after=self.wait,
                )
            self.waiting += len(texts)
            self._queue.append(work)
            self._change.notify()
        try:
            return await work.answer
        finally:
            if not work.answer.done() or work.answer.cancelled():
                self._drop(work)

    @property
    def wait(self) -> float:
        """Seconds until what waits now will be done, about."""
        return min(30.0, self.waiting * self.seconds_a_text)

    @property
    def full(self) -> bool:
        """Whether the next text would be refused."""
        return self.waiting >= self.queue_texts

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def _drop(self, work: Work) -> None:
        with self._change:
            if not work.dropped:
                work.dropped = True
                self.waiting -= len(work.texts) - work.taken

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._queue and not self._closed:
                    self._change.wait()
                shares = self._take()
            if shares:
                self._pass(shares)
            elif self._closed:
                return

    def _take(self) -> list[Share]:
        """What goes into the next pass: a turn of each request, round and round, as long as there is room."""
        shares: dict[Work, list[str]] = {}
        room, characters = self.pass_texts, PASS_CHARACTERS
        while self._queue and room > 0:
            work = self._queue.popleft()
            if work.dropped:
                continue
            turn = work.texts[work.taken : work.taken + min(TURN, room)]
            end = 0
            while end < len(turn):
                size = work.sizes[work.taken + end]
                if size > characters and (shares or end):
                    break
                characters -= size
                end += 1
            if not end:  # the next text is too long for what is left of this pass
                self._queue.appendleft(work)
                break
            work.taken += end
            room -= end
            self.waiting -= end
            shares.setdefault(work, []).extend(turn[:end])
            if work.taken < len(work.texts):
                self._queue.append(work)
        return list(shares.items())

    def _pass(self, shares: list[Share]) -> None:
        began = time.perf_counter()
        groups: dict[How, list[Share]] = {}
        for work, texts in shares:
            groups.setdefault(work.how, []).append((work, texts))
        settled: list[tuple[Work, BaseException | None]] = []
        for how, group in groups.items():
            settled += self._answer(how, group)
        if settled:
            settled[0][0].loop.call_soon_threadsafe(_settle, settled)
        seconds, count = time.perf_counter() - began, sum(len(texts) for _, texts in shares)
        self.seconds_a_text += SMOOTHING * (seconds / count - self.seconds_a_text)
        if self.told is not None:
            self.told(count, len(shares), seconds)

    def _answer(self, how: How, group: list[Share]) -> list[tuple[Work, BaseException | None]]:
        """Do a group; those whose answers are whole. What goes wrong with one request's texts is not another's fault."""
        try:
            found = list(how([text for _, texts in group for text in texts]))
        except Exception as error:
            if len(group) > 1:
                return [one for share in group for one in self._answer(how, [share])]
            self._drop(group[0][0])
            return [(group[0][0], error)]
        done: list[tuple[Work, BaseException | None]] = []
        start = 0
        for work, texts in group:
            work.found += found[start : start + len(texts)]
            start += len(texts)
            if len(work.found) == len(work.texts):
                done.append((work, None))
        return done


def _settle(settled: list[tuple[Work, BaseException | None]]) -> None:
    for work, error in settled:
        work.settle(error)
