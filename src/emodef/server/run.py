"""A server's processes: one, or several that share a socket under a supervisor. Imports uvicorn, and the application only where it runs.

The model is read in a thread while the web framework is being imported, so that the first answer comes sooner.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from emodef.errors import EmodefError, SettingsError, require
from emodef.server import logs
from emodef.server.jobs import Store
from emodef.server.marks import COUNTS
from emodef.server.settings import ServerSettings

if TYPE_CHECKING:
    import uvicorn

    from emodef.predictor import Predictor

BACKLOG = 1024  # connections that wait to be taken
SHARED = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client looks there when it is imported
STARTUP_FAILURE = 3  # a worker's exit code: uvicorn's supervisor then starts no other
KEEP_ALIVE = 30  # seconds a connection may wait for its next request


def serve(settings: ServerSettings, told: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT; what is being answered then is finished. told: gets a line when it listens.

    Raises SettingsError where the address cannot be had, MissingExtraError without the extra `[serve]`, and what loading
    the model raises.
    """
    loading = Loading(settings) if settings.workers == 1 else None
    require("uvicorn", extra="serve")
    require("fastapi", extra="serve")
    listening = listen(settings)
    address, port = listening.getsockname()[:2]
    settings = replace(settings, port=port)
    shown = f"[{address}]" if ":" in address else address
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn sends itself those it has answered once more
        signal.signal(number, _end)
    line = f"emodef serves http://{shown}:{port}/ (Ctrl-C ends it)"
    store = Store(settings.jobs_path)
    store.prepare()
    try:
        if loading is not None:
            import uvicorn

            made = application(settings, loading)
            told(line)
            uvicorn.Server(_config(settings, lambda: made)).run([listening])
        else:
            told(line)
            _supervise(settings, listening, store.path / COUNTS)
    finally:
        store.leave()


def _supervise(settings: ServerSettings, listening: socket.socket, counts: Path) -> None:
    """Several workers, and their counts in files that all of them share."""
    from uvicorn.supervisors import Multiprocess

    logs.set_up(requests=settings.log_requests)
    shutil.rmtree(counts, ignore_errors=True)  # of a server that was killed
    counts.mkdir(mode=0o700)
    os.environ[SHARED] = str(counts)
    os.environ["PYTHONSAFEPATH"] = "1"  # else a worker begins with modules of the folder it is started in
    supervisor = Multiprocess(_config(settings, partial(worker, settings)), sockets=[listening])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise SettingsError("a worker could not start; what it said stands above")


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


class Loading:
    """The model, read in a thread."""

    def __init__(self, settings: ServerSettings) -> None:
        self._found: Predictor | BaseException | None = None
        self._thread = threading.Thread(target=self._load, args=(settings,), daemon=True)
        self._thread.start()

    def _load(self, settings: ServerSettings) -> None:
        from emodef.server.models import load_model

        try:
            self._found = load_model(settings)
        except BaseException as error:  # raised again where the model is wanted
            self._found = error

    def result(self) -> Predictor:
        """The model, or what reading it raised."""
        self._thread.join()
        if isinstance(self._found, BaseException):
            raise self._found
        assert self._found is not None
        return self._found


def listen(settings: ServerSettings) -> socket.socket:
    """The server's socket: who comes before a worker is there waits. Raises SettingsError where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named: asyncio sends without delay (TCP_NODELAY) only then, and answers go out in two pieces.
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}); give another --host or --port"
        ) from None
    made.set_inheritable(True)
    return made


def _config(settings: ServerSettings, made: Callable[[], Any]) -> uvicorn.Config:
    import uvicorn

    return uvicorn.Config(
        made,
        factory=True,
        http="emodef.server.patience:Patient",
        workers=settings.workers,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.stop_seconds),
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        log_config=None,
    )


def application(settings: ServerSettings, loading: Loading) -> Any:
    """The application of this process."""
    from emodef.server.app import create_app

    logs.set_up(requests=settings.log_requests)
    return create_app(settings, loading.result())


def worker(settings: ServerSettings) -> Any:
    """The application of one of several processes, which ends when its supervisor does."""
    follow_parent()
    try:
        return application(settings, Loading(settings))
    except EmodefError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(STARTUP_FAILURE)


def follow_parent() -> None:
    """End this process, as SIGTERM would, when the one that started it is gone."""
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        print("the supervisor is gone; this worker ends", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
