"""Connections that starve: closed when a request's head does not come whole in time, or when nobody reads the answers. Imports uvicorn.

The body's time is the guard's business. uvicorn itself waits for a head, and for an answer to be read, as long as it takes, and so
lets anyone hold all its connections for nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_BYTES = 2**16


class Patient(AutoHTTPProtocol):  # type: ignore[misc,valid-type]  # one of two, by what is installed
    """uvicorn's protocol with an end to its patience; `cycle`, `transport` and `loop` are there in each of its versions."""

    seconds = 15.0
    unread_seconds = 60.0  # as long as the guard gives a piece of a stream
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: Any) -> None:
        """A client has come."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop()
        self._read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """More is unread than is kept for a client."""
        super().pause_writing()
        self._read()
        self._unread = self.loop.call_later(self.unread_seconds, self._abort)

    def resume_writing(self) -> None:
        """It reads on."""
        self._read()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """A piece of a request: of its head where none is being answered then."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
            return
        self._head += len(data)
        if self._head > HEAD_BYTES:
            self.transport.close()
        elif self._timer is None:
            self._wait()

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._abort)

    def _stop(self) -> None:
        self._head = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()  # close() would wait until what is unread was read
