"""A real `emodef serve` in processes of its own, on a port of this machine: started, asked, stopped, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

START = 60.0  # seconds; much more than it takes
KEY = "0123456789abcdef0123"


class Running:
    """A server's process. `lines` has its log so far."""

    def __init__(
        self, model: Path | None, *options: str, jobs: Path, port: int = 0, **environment: str
    ) -> None:
        given = [] if model is None else ["--model", str(model)]
        command = [
            sys.executable, "-m", "emodef", "serve", "--port", str(port), "--threads", "1", "--jobs-folder", str(jobs)
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [*command, *given, *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.lines: list[str] = []
        self.port = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: self.port or self.process.poll() is not None)
        if not self.port:
            self._reader.join()
            raise AssertionError("\n".join(self.lines))
        until(lambda: self.answers("/ready") or self.process.poll() is not None)
        assert self.process.poll() is None, "\n".join(self.lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def answers(self, path: str) -> bool:
        try:
            return self.ask("GET", path)[0] == 200
        except OSError:
            return False

    def ask(
        self, method: str, path: str, content: Any = None, *, raw: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers in lower case, and the body, read as JSON where it is."""
        body = raw if raw is not None else None if content is None else json.dumps(content).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if content is not None:
            given.setdefault("Content-Type", "application/json")
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, given)
            return told(connection.getresponse())
        finally:
            connection.close()

    def send(self, data: bytes, *, wait: float = 10.0) -> bytes:
        """What comes back for bytes that are no request a client would make."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(data)
            found = b""
            try:
                while piece := connection.recv(2**16):
                    found += piece
                    if b"\r\n\r\n" in found and not _more_to_come(found):
                        break
            except OSError:
                pass
            return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's objects of an event."""
        found = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [one for one in found if one["event"] == name]

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        code = self.process.wait(30)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.match(r"emodef serves http://[^:]+:(\d+)/", line):
                self.port = int(found[1])


def told(response: HTTPResponse) -> tuple[int, dict[str, str], Any]:
    body = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    is_json = headers.get("content-type", "").startswith("application/json")
    return response.status, headers, json.loads(body) if is_json and body else body


@contextmanager
def running(
    model: Path | None, *options: str, jobs: Path, port: int = 0, **environment: str
) -> Iterator[Running]:
    """A server as long as the block runs."""
    server = Running(model, *options, jobs=jobs, port=port, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.wait()


@contextmanager
def in_this_process(model: Path, jobs: Path, **patience: float) -> Iterator[Any]:
    """uvicorn's server in a thread and its port, with another `Patient`: of a class attribute what is given."""
    import uvicorn

    from emodef.server import ServerSettings, create_app
    from emodef.server.patience import Patient

    settings = ServerSettings(model=str(model), threads=1, jobs_folder=str(jobs))
    hasty = type("Hasty", (Patient,), patience)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, http=hasty, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


def until(done: Callable[[], Any], seconds: float = START) -> Any:
    """What `done` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, f"not within {seconds} seconds"
        time.sleep(0.02)
    return found


def memory(process: int) -> int:
    """Bytes a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children(process: int) -> list[int]:
    """The processes that a process started."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended
            found += map(int, path.read_text().split())
    return found


def gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has asked for its exit code counts as such."""
    try:
        return not Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return True


def _more_to_come(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return length is None or len(body) < int(length[1])
