"""The server's socket."""

from __future__ import annotations

import asyncio
import socket

import pytest

pytest.importorskip("uvicorn")

from emodef.server import ServerSettings
from emodef.server.run import listen


def test_answers_are_sent_without_delay() -> None:
    """An answer's head and body are two packets: held back, the second would wait for the first's receipt, 40 ms."""

    async def delay_of_an_accepted_connection(listening: socket.socket) -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            its = writer.get_extra_info("socket")
            found.set_result(its.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(accepted, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        writer.close()
        async with server:
            return await found

    listening = listen(ServerSettings(port=0))
    assert asyncio.run(delay_of_an_accepted_connection(listening)) == 1
