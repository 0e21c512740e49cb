"""Waiting for an answer: no longer than is allowed, and only as long as somebody wants it. Imports FastAPI."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from emodef.server.faults import Fault, Gone

if TYPE_CHECKING:
    from emodef.server.app import State

SLOW = 16  # explanations and new label sets that may wait for their thread
LARGE = 2**14  # characters; what takes its time with each of so many would keep other requests waiting
PATIENCE = 0.1  # seconds until it is worth watching whether the client is still there
Answer = TypeVar("Answer")


def state_of(request: Request) -> State:
    """What the application holds."""
    found: State = request.app.state.emodef
    return found


def facts_of(request: Request) -> dict[str, Any]:
    """What is to be logged of a request."""
    found: dict[str, Any] = request.scope["emodef"]
    return found


def as_json(content: Any, status: int = 200) -> Response:
    """An answer of strict JSON."""
    return Response(dumped(content), status_code=status, media_type="application/json")


def dumped(content: Any) -> str:
    """Strict JSON; texts stand as they are, not as escapes."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Streamed(Response):
    """An answer in pieces. Starlette's own would read the request meanwhile, to see whether the client is still there."""

    def __init__(
        self, pieces: AsyncGenerator[bytes], media_type: str, headers: Mapping[str, str] | None = None
    ):
        self.pieces, self.status_code, self.background = pieces, 200, None
        self.media_type = media_type
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self.pieces):
            async for piece in self.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def aside(size: int, call: Callable[[], Answer]) -> Answer:
    """What `call` returns, which reads or writes about `size` characters: in a thread where they are many, else at once."""
    return await run_in_threadpool(call) if size > LARGE else call()


async def answered(request: Request, work: Coroutine[Any, Any, Answer]) -> Answer:
    """What `work` gives. It is dropped when the client hangs up (Gone) or the time is over (Fault "timed_out")."""
    seconds = state_of(request).settings.limits.seconds
    first = min(PATIENCE, seconds)
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=first)
        if not task.done():
            gone = asyncio.ensure_future(_hung_up(request))
            try:
                await asyncio.wait({task, gone}, timeout=seconds - first, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            if not task.done():
                if gone.done() and not gone.cancelled():
                    raise Gone
                raise Fault(
                    "timed_out",
                    f"no answer within {seconds:g} seconds: send less at once, or come again later",
                    retry_after=5,
                )
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class SlowLane:
    """One thread for what takes long, so that a short text never waits behind it; past `SLOW` waiting, Fault("busy")."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="slow")
        self._lock = threading.Lock()
        self._waiting = 0

    async def run(self, call: Callable[[], Answer]) -> Answer:
        """What `call` returns; while it waits for its turn, it can be cancelled."""
        with self._lock:
            if self._waiting >= SLOW:
                raise Fault(
                    "busy", f"{self._waiting} explanations or label sets are waiting already", retry_after=2
                )
            self._waiting += 1
        future = self._executor.submit(call)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[Any]) -> None:
        with self._lock:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what was begun."""
        self._executor.shutdown(cancel_futures=True)
