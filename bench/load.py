"""A load generator: closed (so many clients, each waits for its answer) or open (so many requests a second). Imports numpy.

It writes and reads bytes itself, so that it costs little of the cores it shares with the server; what it does cost is measured.
An open load counts from the moment a request was due, so that a server which stalls cannot hide the requests that wait.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Load:
    """connections: of the clients. rate: requests a second; None: as fast as they are answered. bodies: JSON, taken in turn."""

    port: int
    bodies: Sequence[bytes]
    path: str = "/v1/predict"
    connections: int = 32
    seconds: float = 10.0
    rate: float | None = None


@dataclass
class Loaded:
    """What came of it. waits: seconds of each answer. cpu: seconds of a core that the generator itself took."""

    seconds: float
    errors: int
    cpu: float
    waits: list[float] = field(repr=False)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.waits) / self.seconds

    def wait(self, percent: float) -> float:
        """Within how many milliseconds so many of a hundred were answered."""
        return 1000 * float(np.percentile(self.waits, percent)) if self.waits else float("nan")

    def cores(self) -> float:
        """How many cores the generator took, on average."""
        return self.cpu / self.seconds


def run(load: Load) -> Loaded:
    """Load a server from a process of its own."""
    context = mp.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, load), daemon=True)
    process.start()
    there.close()
    try:
        found: Loaded = here.recv()
    except EOFError:
        raise RuntimeError("the load generator ended early; its error stands above") from None
    process.join()
    return found


def _serve(pipe: mp.connection.Connection, load: Load) -> None:
    pipe.send(asyncio.run(_Clients(load).run()))


class _Clients:
    """All connections of a load, and what waits for one."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = [_request(load, body) for body in load.bodies]
        self.sent = self.errors = 0
        self.waits: list[float] = []
        self.due: deque[float] = deque()
        self.free: deque[_Client] = deque()
        self.end = 0.0

    async def run(self) -> Loaded:
        loop = asyncio.get_running_loop()
        clients = [
            (await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.load.port))[1]
            for _ in range(self.load.connections)
        ]
        began, cpu = time.perf_counter(), time.process_time()
        self.end = began + self.load.seconds
        if self.load.rate is None:
            for client in clients:
                client.ask(time.perf_counter())
        else:
            self.free.extend(clients)
            draw = random.Random(0)
            at = began
            while at < self.end:
                at += draw.expovariate(self.load.rate)
                await asyncio.sleep(at - time.perf_counter())
                self.arrived(at)
        while any(client.waiting for client in clients) or (
            self.due and not all(client.lost for client in clients)
        ):
            await asyncio.sleep(0.01)
        self.errors += len(self.due)  # nobody is left to ask
        seconds = max(time.perf_counter(), self.end) - began
        for client in clients:
            client.close()
        return Loaded(seconds, self.errors, time.process_time() - cpu, self.waits)

    def arrived(self, at: float) -> None:
        """A request is due."""
        if self.free:
            self.free.popleft().ask(at)
        else:
            self.due.append(at)

    def answered(self, client: _Client, due: float, status: int) -> None:
        """What a client does next."""
        now = time.perf_counter()
        if status == 200:
            self.waits.append(now - due)
        else:
            self.errors += 1
        if self.load.rate is None:
            if now < self.end:
                client.ask(now)
        elif self.due:
            client.ask(self.due.popleft())
        else:
            self.free.append(client)

    def next(self) -> bytes:
        """The next request's bytes."""
        self.sent += 1
        return self.requests[self.sent % len(self.requests)]


class _Client(asyncio.Protocol):
    """One connection, kept open."""

    def __init__(self, clients: _Clients) -> None:
        self.clients, self.waiting, self.due, self.lost = clients, False, 0.0, False
        self.held = b""
        self.close: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.write, self.close = transport.write, transport.close

    def ask(self, due: float) -> None:
        if self.lost:  # nobody would answer
            self.clients.errors += 1
            return
        self.due, self.waiting = due, True
        self.write(self.clients.next())

    def data_received(self, data: bytes) -> None:
        self.held += data
        head, found, body = self.held.partition(b"\r\n\r\n")
        if not found:
            return
        place = head.lower().find(b"content-length: ")
        length = int(head[place + 16 :].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.held, self.waiting = body[length:], False
        self.clients.answered(self, self.due, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self.waiting:
            self.waiting = False
            self.clients.errors += 1


def _request(load: Load, body: bytes) -> bytes:
    head = f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
