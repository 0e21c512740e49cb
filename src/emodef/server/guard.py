"""Every request passes here: who may ask, how much and how long; what the answer's headers are; what is logged and counted.

A plain ASGI application around another. Nothing of a body is read before the request is allowed.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

from emodef.server import logs
from emodef.server.access import Access
from emodef.server.faults import Fault, Gone
from emodef.server.metrics import OTHER, Metrics
from emodef.server.settings import ServerSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ALWAYS = frozenset({"/health", "/ready", "/metrics"})  # however busy the server is
UPLOADS = "/v1/jobs"
STREAMS = "/v1/predict/stream"
SPARE = (
    2**20
)  # bytes beyond a limit that are read and thrown away, so that the client reads why it is refused
FORM = 2**16  # bytes of an upload beside its file
GONE = 499  # nobody is there to be told; only in logs and counts
OWN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """Around the application. paths: addresses there are, as they stand: of requests that reach no route."""

    def __init__(
        self,
        app: Application,
        *,
        settings: ServerSettings,
        metrics: Metrics,
        paths: frozenset[str] = frozenset(),
    ) -> None:
        self.app, self.settings, self.metrics, self.paths = app, settings, metrics, paths
        self.access = Access(settings)
        self.active = 0
        sharing = b"cross-origin" if settings.origins else b"same-origin"
        self.headers = [*HEADERS, (b"cross-origin-resource-policy", sharing)]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; all else goes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(self, scope, receive, send)
        self.active += 1
        self.metrics.active.inc()
        try:
            await request.answer()
        finally:
            self.active -= 1
            self.metrics.active.dec()


class _Request:
    """One request on its way through."""

    def __init__(self, guard: Guard, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        self.began = time.perf_counter()
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # the first of a name counts
        given = self.headers.get(b"x-request-id", b"")
        self.id = given if OWN_ID.fullmatch(given) else secrets.token_hex(8).encode()
        self.facts: dict[str, Any] = {}
        scope["emodef"] = self.facts
        self.status = 0
        self.code: str | None = None
        self.read = self.sent = 0
        self.whole = not {b"content-length", b"transfer-encoding"} & self.headers.keys()  # the body
        self.ended = False  # the answer
        limits = guard.settings.limits
        path = scope["path"]
        self.endless = path == STREAMS
        self.most = limits.upload_bytes + FORM if path == UPLOADS else limits.body_bytes
        self.idle = self.endless or path == UPLOADS  # how long it may be silent, not how long it may take

    async def answer(self) -> None:
        guard, scope = self.guard, self.scope
        try:
            try:
                self.facts["client_key"] = guard.access.check(scope["method"], scope["path"], self.headers)
                self._check_room()
                self._check_length()
                await guard.app(scope, self.receive, self.send)
            except Fault as fault:
                await self._refuse(fault)
        except (Gone, ClientDisconnect):
            self.status, self.code = GONE, "gone"
        except asyncio.CancelledError:
            self.code = self.code or "cancelled"
            raise
        except Exception as error:
            logs.fault(
                "fault", error, with_message=guard.settings.log_texts, id=self.id.decode(), path=self.path
            )
            if self.status:  # half an answer: the connection is closed, so that nobody takes it for whole
                raise _Broken from None
            await self._refuse(
                Fault("internal", "a fault of this server; its log says more, under this request's id")
            )
        finally:
            self._tell()

    @property
    def path(self) -> str:
        """The address as the routes know it, or as it was asked for where it is one of theirs; any other is "other"."""
        found = getattr(self.scope.get("route"), "path", None)
        asked = self.scope["path"]
        return found or (asked if asked in self.guard.paths else OTHER)

    def _check_room(self) -> None:
        guard = self.guard
        if guard.active > guard.settings.limits.requests and self.scope["path"] not in ALWAYS:
            raise Fault(
                "busy", f"{guard.active - 1} requests are being answered already; come again in a moment"
            )

    def _check_length(self) -> None:
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > self.most and not self.endless:
            raise self._too_large()
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Fault("unsupported_type", "compressed bodies are not taken; send it as it is")

    def _too_large(self) -> Fault:
        remedy = "" if self.scope["path"] == UPLOADS else "; send less at once, or upload a file to /v1/jobs"
        return Fault("too_large", f"the body has more than the {self.most:,} bytes this server takes{remedy}")

    async def receive(self) -> Message:
        """The next piece of the body, in time and within its limit."""
        if self.whole:
            return await self._receive()
        limits = self.guard.settings.limits
        spent = 0.0 if self.idle else time.perf_counter() - self.began
        try:
            async with asyncio.timeout(max(0.0, limits.body_seconds - spent)):
                message = await self._receive()
        except TimeoutError:
            raise Fault(
                "too_slow", f"the body did not arrive within {limits.body_seconds:g} seconds"
            ) from None
        if message["type"] == "http.request":
            self.read += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.read > self.most and not self.endless:
                raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, with the headers that all have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = message.setdefault("headers", [])
            there = {name for name, _ in own}
            own += [header for header in self.guard.headers if header[0] not in there]
            own.append((b"x-request-id", self.id))
            await self._send(message)
            return
        self.sent += len(message.get("body", b""))
        if not message.get("more_body", False):
            self.ended = True
            await self._send(message)
            return
        try:
            async with asyncio.timeout(self.guard.settings.limits.body_seconds * 3):
                await self._send(message)
        except TimeoutError:
            raise _Broken from None

    async def _refuse(self, fault: Fault) -> None:
        if self.status:
            raise _Broken from None
        self.code = fault.code
        await self._drain(fault)
        body = fault.body()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
        if not self.whole:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": fault.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _drain(self, fault: Fault) -> None:
        """Read on a little: a client that is cut off while it sends never reads why."""
        if fault.code == "too_slow":
            return
        room = self.read + SPARE
        with_body = self.scope["method"] not in ("GET", "HEAD")
        try:
            async with asyncio.timeout(1.0):
                while with_body and not self.whole and self.read < room:
                    message = await self._receive()
                    self.read += len(message.get("body", b""))
                    self.whole = not message.get("more_body", False)
        except TimeoutError:
            pass

    def _tell(self) -> None:
        guard, seconds = self.guard, time.perf_counter() - self.began
        path, method = self.path, self.scope["method"]
        guard.metrics.request(
            path, method if method.isalpha() and len(method) < 8 else OTHER, self.status, seconds
        )
        if self.code:
            guard.metrics.error(self.code)
        if path in ALWAYS and self.status < 400:
            return
        client = self.scope.get("client")
        logs.event(
            "request",
            id=self.id.decode(),
            method=method,
            path=path,
            status=self.status,
            seconds=round(seconds, 4),
            bytes_in=self.read,
            bytes_out=self.sent,
            client=client[0] if client else None,
            whole=self.ended,
            code=self.code,
            **{name: value for name, value in self.facts.items() if value is not None},
        )


class _Broken(Exception):
    """An answer that cannot be finished; what stands around closes the connection."""
