"""What a server is told: where it listens, what it serves, its limits. Standard library and errors only: it goes to every worker."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, fields
from pathlib import Path

from emodef.errors import SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Limits:
    """How much a client may ask for; each has its own error (see `emodef.server.faults`).

    body_bytes: of a JSON body. texts: in a request. text_characters: of one text, and of a line of a stream.
    explain_characters: of a text to explain, which costs a pass for every word. labels: of a client's own, with at most
    `definitions` texts each. requests: answered at once by a worker. queue_texts: waiting for the model in a worker.
    seconds: until a request must have its answer. body_seconds: until its body must be there; of an upload, or a stream,
    how long it may be silent. upload_bytes: of a file; file_text_characters: of a text in it, longer ones have no prediction.
    jobs: kept at once, finished or not.
    """

    body_bytes: int = 2**20
    texts: int = 1000
    text_characters: int = 50_000
    explain_characters: int = 5_000
    labels: int = 200
    definitions: int = 20
    definition_characters: int = 2_000
    requests: int = 512
    queue_texts: int = 4_000
    seconds: float = 30.0
    body_seconds: float = 20.0
    upload_bytes: int = 100 * 2**20
    file_text_characters: int = 1_000_000
    jobs: int = 100

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:  # nor NaN
                raise SettingsError(f"the limit {one.name} is {getattr(self, one.name)}; it must be above 0")
        if self.queue_texts < self.texts:
            raise SettingsError(
                f"the limit queue_texts ({self.queue_texts}) is below texts ({self.texts}): a request of as many texts as are "
                "allowed must fit into the queue"
            )


@dataclass(frozen=True)
class ServerSettings:
    """A server's settings.

    model: a light model's folder; None is the shipped one. threads: CPU cores for each worker's model; None shares the
    cores among the workers. pass_texts: most texts that go through the model together; 1 is no batching. keys: those a
    client must give one of; none are needed where there are none. origins: other sites whose pages may call. hosts: names
    the server answers to beside its own address; "*" for any. jobs_folder: where uploads and results lie, by default a
    private folder in the system's temporary one, the same for the same port. job_hours: how long a finished job is kept.
    jobs_at_once: files that are predicted side by side. log_texts: also log what clients send. page: serve it at /.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    model: str | None = None
    threads: int | None = None
    pass_texts: int = 32
    limits: Limits = field(default_factory=Limits)
    keys: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    jobs_folder: str | None = None
    job_hours: float = 24.0
    jobs_at_once: int = 1
    stop_seconds: float = 30.0
    log_texts: bool = False
    log_requests: bool = True
    page: bool = True

    def __post_init__(self) -> None:
        for name in ("workers", "pass_texts", "jobs_at_once", "job_hours", "stop_seconds"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.port < 2**16:
            raise SettingsError(f"port {self.port}: give one from 0 (any that is free) to 65535")
        if any(len(key) < 16 for key in self.keys):
            raise SettingsError(
                "an API key has fewer than 16 characters; make one with: openssl rand -hex 24"
            )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK or self.host.startswith("127.")

    @property
    def jobs_path(self) -> Path:
        """Where jobs lie."""
        if self.jobs_folder is not None:
            return Path(self.jobs_folder)
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        return Path(tempfile.gettempdir()) / f"emodef-{user}-{self.port}"
