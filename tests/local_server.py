"""A real HTTP server on this machine that can cut connections, refuse, ignore ranges and change its files; for the fetch tests."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from emodef.corpora.sources import RemoteFile, Source


@dataclass
class Served:
    """What the server has and how it behaves; `asked` gathers (path, Range header) of every request."""

    base: str
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    ranges: bool = True
    etag: str | None = '"v1"'
    cut_at: list[int] = field(
        default_factory=list
    )  # bytes of the body after which the next answers break off
    answers: list[int] = field(default_factory=list)  # codes of the next answers, before it serves again
    before: Callable[[], None] | None = None


class Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self) -> None:
        served = self.served
        wanted = self.headers.get("Range")
        served.asked.append((self.path, wanted))
        if served.before:
            served.before()
        if served.answers and (code := served.answers.pop(0)) != 200:
            self.send_error(code)
            return
        if self.path not in served.files:
            self.send_error(404)
            return
        body, start = served.files[self.path], 0
        if wanted and served.ranges and self.headers.get("If-Range") in (None, served.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if served.etag:
            self.send_header("ETag", served.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = min(start + served.cut_at.pop(0), len(body)) if served.cut_at else len(body)
        self.wfile.write(body[start:end])

    def log_message(self, *_: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is part of some tests."""


@contextmanager
def serving() -> Iterator[Served]:
    """A server on a free port, down again at the end."""
    server = QuietServer(("127.0.0.1", 0), type("H", (Handler,), {}))
    what = Served(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass.served = what  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield what
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def source(*files: RemoteFile, archive: RemoteFile | None = None) -> Source:
    return Source("tiny", "Tiny", "http://tiny.invalid", "for tests", "us", files, archive)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".fetch.lock"}
