"""A server's processes: one, or several that share a socket under a supervisor. Imports uvicorn, and the application only where it runs.

The model is read in a thread while the web framework is being imported, so that the first answer comes sooner.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from emodef.errors import SettingsError, require
from emodef.server import logs
from emodef.server.settings import ServerSettings

if TYPE_CHECKING:
    import uvicorn

    from emodef.predictor import Predictor

BACKLOG = 1024  # connections that wait to be taken
KEEP_ALIVE = 30  # seconds a connection may wait for its next request


def serve(settings: ServerSettings, told: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT; what is being answered then is finished. told: gets a line when it listens.

    Raises SettingsError where the address cannot be had, MissingExtraError without the extra `[serve]`, and what loading
    the model raises.
    """
    loading = Loading(settings) if settings.workers == 1 else None
    require("uvicorn", extra="serve")
    require("fastapi", extra="serve")
    sockets = [listen(settings)]
    address, port = sockets[0].getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    told(f"emodef serves http://{shown}:{port}/ (Ctrl-C ends it)")
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn sends itself those it has answered once more
        signal.signal(number, _end)
    if loading is not None:
        predictor = loading.result()
        _server(_config(settings, lambda: predictor)).run(sockets)
        return
    from uvicorn.supervisors import Multiprocess

    Multiprocess(_config(settings, None), sockets=sockets).run()


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
    """The server's socket. Raises SettingsError where the address cannot be had."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}); give another --host or --port"
        ) from None
    made.set_inheritable(True)
    return made


def _config(settings: ServerSettings, load: Callable[[], Predictor] | None) -> uvicorn.Config:
    import uvicorn

    return uvicorn.Config(
        partial(application, settings, load),
        factory=True,
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


def _server(config: uvicorn.Config) -> uvicorn.Server:
    import uvicorn

    return uvicorn.Server(config)


def application(settings: ServerSettings, load: Callable[[], Predictor] | None) -> Any:
    """The application of this process; of a worker, which ends when its supervisor does."""
    logs.set_up(requests=settings.log_requests)
    if load is None:
        follow_parent()
    from emodef.server.app import create_app

    return create_app(settings, load=load)


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
