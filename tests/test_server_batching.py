"""The queue before the model: what shares a pass, whose turn it is, what is refused, dropped, and kept apart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from emodef import Prediction
from emodef.server.batching import PASS_CHARACTERS, Batcher
from emodef.server.faults import Fault


class Held:
    """Stands for a predictor with some options. Each pass waits until it is let go; what went into it is noted."""

    def __init__(self, name: str = "a") -> None:
        self.name = name
        self.passes: list[list[str]] = []
        self.free = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def __call__(self, texts: Sequence[str]) -> list[Prediction]:
        self.passes.append(list(texts))
        self.entered.release()
        assert self.free.acquire(timeout=10)
        if "bad" in texts:
            raise ValueError("bad")
        return [Prediction(text, (), np.zeros(1, np.float32), ("x",), len(text)) for text in texts]

    async def begun(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)


def run(test: Callable[[Batcher, Held], Any], **options: Any) -> Held:
    """`test` in a loop of its own, with a batcher; every pass is let go at its end."""
    held = Held()

    async def whole() -> None:
        batcher = Batcher(**options)
        try:
            await asyncio.wait_for(test(batcher, held), 20)
        finally:
            held.free.release(1000)
            await asyncio.to_thread(batcher.close)
        assert batcher.waiting == 0

    asyncio.run(whole())
    return held


def texts_of(found: list[Prediction]) -> list[str]:
    return [one.text for one in found]


async def submitted(batcher: Batcher, texts: Sequence[str], how: Any) -> asyncio.Task[list[Prediction]]:
    task = asyncio.create_task(batcher.submit(texts, how))
    await asyncio.sleep(0)
    return task


def test_what_waits_while_the_model_is_busy_shares_the_next_pass() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        first = await submitted(batcher, ["one"], held)
        await held.begun()
        others = [await submitted(batcher, [f"{i}", f"{i}+"], held) for i in range(5)]
        held.free.release(2)
        assert texts_of(await first) == ["one"]
        for i, task in enumerate(others):
            assert texts_of(await task) == [f"{i}", f"{i}+"]

    held = run(test)
    assert [len(one) for one in held.passes] == [1, 10]


def test_other_options_are_done_apart_within_a_pass() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        other = Held("b")
        other.free.release(100)
        first = await submitted(batcher, ["one"], held)
        await held.begun()
        tasks = [await submitted(batcher, [str(i)], (held, other)[i % 2]) for i in range(6)]
        held.free.release(2)
        assert [texts_of(await task) for task in (first, *tasks)] == [["one"], *([str(i)] for i in range(6))]
        assert (held.passes, other.passes) == ([["one"], ["0", "2", "4"]], [["1", "3", "5"]])

    run(test)


def test_a_long_request_does_not_hold_up_a_short_one() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        long = await submitted(batcher, [str(i) for i in range(100)], held)
        await held.begun()
        short = await submitted(batcher, ["short"], held)
        held.free.release(2)
        assert texts_of(await short) == ["short"]
        assert not long.done()
        held.free.release(100)
        assert texts_of(await long) == [str(i) for i in range(100)]

    held = run(test, pass_texts=16)
    assert "short" in held.passes[1]
    assert max(map(len, held.passes)) <= 16


def test_a_pass_is_bounded_in_characters_but_for_one_long_text() -> None:
    long = "x" * (PASS_CHARACTERS * 2)

    async def test(batcher: Batcher, held: Held) -> None:
        held.free.release(100)
        await batcher.submit(
            ["a" * (PASS_CHARACTERS // 2), "b" * (PASS_CHARACTERS // 2), "c", long, "d"], held
        )

    held = run(test)
    assert [[len(text) for text in one] for one in held.passes] == [
        [PASS_CHARACTERS // 2] * 2,
        [1],
        [len(long)],
        [1],
    ]


def test_a_pass_is_bounded_in_what_is_read() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        held.free.release(100)
        await batcher.submit(["a", "b", "c", "d"], held, [PASS_CHARACTERS // 2] * 3 + [1])

    assert run(test).passes == [["a", "b"], ["c", "d"]]


def test_past_the_bound_requests_are_refused_at_once() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        first = await submitted(batcher, ["one"], held)
        await held.begun()
        second = await submitted(batcher, ["a"] * 8, held)
        with pytest.raises(Fault) as refused:
            await batcher.submit(["b"] * 3, held)
        assert (refused.value.code, refused.value.status) == ("busy", 503)
        assert int(refused.value.headers["Retry-After"]) >= 1
        third = await submitted(batcher, ["c"] * 2, held)
        assert batcher.full
        held.free.release(100)
        assert [len(await task) for task in (first, second, third)] == [1, 8, 2]
        assert not batcher.full

    run(test, queue_texts=10)


def test_what_nobody_waits_for_is_not_computed() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        first = await submitted(batcher, ["one"], held)
        await held.begun()
        dropped = await submitted(batcher, ["dropped"] * 5, held)
        kept = await submitted(batcher, ["kept"], held)
        dropped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dropped
        assert batcher.waiting == 1
        first.cancel()  # is being computed
        held.free.release(100)
        assert texts_of(await kept) == ["kept"]

    assert run(test).passes == [["one"], ["kept"]]


def test_one_request_s_fault_is_not_another_s() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        first = await submitted(batcher, ["one"], held)
        await held.begun()
        good, bad = (
            await submitted(batcher, ["good"], held),
            await submitted(batcher, ["bad"] + ["x"] * 50, held),
        )
        held.free.release(100)
        assert texts_of(await good) == ["good"]
        with pytest.raises(ValueError, match="bad"):
            await bad
        assert texts_of(await first) == ["one"]

    run(test)


def test_closing_finishes_what_waits_and_takes_no_more() -> None:
    async def test(batcher: Batcher, held: Held) -> None:
        task = await submitted(batcher, ["one"], held)
        held.free.release(10)
        await asyncio.to_thread(batcher.close)
        assert texts_of(await task) == ["one"]
        with pytest.raises(Fault, match="shutting down"):
            await batcher.submit(["two"], held)

    run(test)
