"""A running server with a tiny model, in a thread of the tests, that can go and come back; for the tests of its page."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

from emodef.server import ServerSettings, create_app


class PageServer:
    """Serves on a port of its own from `start` to `stop`, as often as one likes."""

    def __init__(self, model: Path, jobs: Path, **settings: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.settings = ServerSettings(
            port=self.port, model=str(model), threads=1, jobs_folder=str(jobs), log_requests=False, **settings
        )

    def start(self) -> PageServer:
        import uvicorn

        config = uvicorn.Config(
            create_app(self.settings), port=self.port, log_config=None, timeout_graceful_shutdown=2
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "the server ended as it began"
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()


def typed(page: Any, text: str, tab: str = "text") -> None:
    """Put a text where texts are typed."""
    page.fill(f"#{tab}-reader textarea", text)
