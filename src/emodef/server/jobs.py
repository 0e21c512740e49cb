"""Files to predict, as folders on disk: any worker can tell their state, and a restart or a kill loses none. Imports atomic, errors.

JOBS/ID/job.json        what was asked, and by whom; a folder with this file is a job
JOBS/ID/input.csv       the upload; gone when the job is done
JOBS/ID/lock            held, as long as it lives, by the process that predicts it
JOBS/ID/progress.json   how far it is
JOBS/ID/result.csv      what predict_file makes, with its folder of parts until it is whole
JOBS/ID/predicted.json  the result is whole, and how many rows it has
JOBS/ID/summary.json    what charts need
JOBS/ID/done.json       finished or failed, and why; the last that is written
JOBS/ID/cancelled       to be removed by whoever has the lock
JOBS/.new-PROCESS-ID    being uploaded
JOBS/emodef-jobs        says that the folder is a server's (see `marks`)
JOBS/counts             what several workers count together
JOBS/slots/N            held by each process that predicts jobs: there are as many as may run at once
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from emodef import locks
from emodef.atomic import write_text
from emodef.errors import SettingsError
from emodef.server.faults import Fault
from emodef.server.marks import COUNTS, IDENTIFIER, SLOTS, is_marked, mark, unmark

KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "txt",
}
ROOM = 2**28  # bytes that must be free beside an upload
_JOB, _DONE, _PROGRESS, _CANCELLED, _LOCK, _SUMMARY, _PREDICTED = (
    "job.json",
    "done.json",
    "progress.json",
    "cancelled",
    "lock",
    "summary.json",
    "predicted.json",
)


@dataclass(frozen=True)
class Order:
    """What was asked. kind: of the input, csv and so on; output: of the result. options: of `emodef.files`' Options."""

    id: str
    file: str
    kind: str
    output: str
    bytes: int
    created: float
    column: str | None = None
    time_column: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] | None = None
    known: Any = False
    owner: str | None = None


@dataclass(frozen=True)
class Kept:
    """A job's folder."""

    path: Path
    order: Order

    @property
    def input(self) -> Path:
        """The upload."""
        return self.path / f"input.{self.order.kind}"

    @property
    def result(self) -> Path:
        """The predictions."""
        return self.path / f"result.{self.order.output}"

    @property
    def summary(self) -> Path:
        """What charts need, as JSON."""
        return self.path / _SUMMARY

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants it any more."""
        return (self.path / _CANCELLED).exists() or not (self.path / _JOB).exists()

    @property
    def done(self) -> dict[str, Any] | None:
        """How it ended; None as long as it has not."""
        return _read(self.path / _DONE)

    @property
    def progress(self) -> dict[str, Any]:
        """How far it is; empty where nothing was begun."""
        return _read(self.path / _PROGRESS) or {}

    @property
    def predicted(self) -> dict[str, Any] | None:
        """Rows and problems of a result that is whole; None where there is none yet."""
        return _read(self.path / _PREDICTED) if self.result.exists() else None

    def note_predicted(self, found: Mapping[str, int]) -> None:
        """The result is whole: whatever becomes of the summary, the file is not predicted again."""
        write_text(self.path / _PREDICTED, json.dumps(found))

    def tell(self, **progress: Any) -> None:
        """Say how far it is. (Not synchronised to disk: what a power cut loses is only told too late.)"""
        target = self.path / _PROGRESS
        beside = target.with_suffix(".new")
        beside.write_text(json.dumps(progress), encoding="utf-8")
        os.replace(beside, target)

    def end(self, state: str, **facts: Any) -> None:
        """It is finished or failed. The upload is removed."""
        write_text(self.path / _DONE, json.dumps({"state": state, "finished": time.time(), **facts}))
        self.input.unlink(missing_ok=True)
        if state == "failed":
            shutil.rmtree(self.path / f"result.{self.order.output}.parts", ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Whether this process alone is at work on it, as long as the block runs."""
        try:
            handle = open(self.path / _LOCK, "a+b")  # noqa: SIM115
        except OSError:  # it has just been removed
            yield False
            return
        with handle:
            yield locks.hold(handle) and locks.is_still(handle, self.path / _LOCK)

    def to_dict(self) -> dict[str, Any]:
        """As a client is told it."""
        order, done, progress = self.order, self.done, self.progress
        facts = {**progress, **(done or {})}
        state = done["state"] if done else "running" if progress else "queued"
        rows_done, rows = facts.get("rows_done", 0), facts.get("rows")
        finished = state == "finished"
        share = 1.0 if finished else min(1.0, rows_done / rows) if rows else 0.0
        return {
            "id": order.id,
            "state": state,
            "file": order.file,
            "rows_done": rows_done,
            "rows": rows,
            "bytes_done": int(share * order.bytes),
            "bytes": order.bytes,
            "problems": facts.get("problems", 0),
            "error": facts.get("error"),
            "created": _instant(order.created),
            "finished": _instant(facts["finished"]) if done else None,
        }


class Store:
    """The folder of all jobs. hours: how long one that is done is kept; most: how many are kept at once."""

    def __init__(self, path: Path, *, hours: float = 24.0, most: int = 100) -> None:
        self.path, self.hours, self.most = path, hours, most
        self._uploads: set[str] = set()  # of this process, under way

    def prepare(self) -> None:
        """Make the folder, for this user alone. Raises SettingsError where it is not theirs alone, or holds something else."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.lstat()
        except OSError as error:
            raise SettingsError(
                f"{self.path}: no folder for jobs can be made there ({error.strerror}); name another with --jobs-folder"
            ) from None
        if hasattr(os, "getuid") and (
            not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077
        ):
            raise SettingsError(
                f"{self.path}: uploads would lie where others can reach them; make it yours alone (chmod 700), or name another "
                "with --jobs-folder"
            )
        mark(self.path)
        (self.path / SLOTS).mkdir(mode=0o700, exist_ok=True)

    def leave(self) -> None:
        """Remove the folder where nothing is kept in it; called when no process uses it any more."""
        if is_marked(self.path) and not any(self._folders()):
            for name in (SLOTS, COUNTS):
                shutil.rmtree(self.path / name, ignore_errors=True)
            with suppress(OSError):
                unmark(self.path)

    @contextmanager
    def upload(self) -> Iterator[tuple[str, Path]]:
        """An identifier, and a folder for the upload that is removed if the block raises."""
        if sum(1 for _ in self._folders()) + len(list(self.path.glob(".new-*"))) >= self.most:
            raise Fault(
                "too_many_jobs",
                f"{self.most} jobs are kept already; remove one that is done (DELETE /v1/jobs/ID), or come again later",
            )
        identifier = secrets.token_hex(16)
        folder = self.path / f".new-{os.getpid()}-{identifier}"
        self._uploads.add(folder.name)
        try:
            folder.mkdir(mode=0o700)
            yield identifier, folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._uploads.discard(folder.name)

    def check_room(self, size: int) -> None:
        """Raise Fault where the disk has no room for an upload and its result."""
        if shutil.disk_usage(self.path).free < 4 * size + ROOM:
            raise no_room()

    def add(self, folder: Path, order: Order) -> Kept:
        """An upload that is whole becomes a job."""
        write_text(folder / _JOB, json.dumps(asdict(order)))
        path = self.path / order.id
        os.rename(folder, path)
        return Kept(path, order)

    def get(self, identifier: str, owner: str | None = None) -> Kept:
        """A job. Raises Fault("not_found"): unknown, removed, or another key's."""
        found = self._kept(self.path / identifier) if IDENTIFIER.fullmatch(identifier) else None
        if found is None or found.cancelled or found.order.owner != owner:
            raise Fault("not_found", "there is no such job; it may have been removed, or kept long enough")
        return found

    def cancel(self, job: Kept) -> None:
        """Stop a job and remove it with all its files; where a process is at work on it, that does it, soon."""
        with suppress(FileNotFoundError):
            (job.path / _CANCELLED).touch(mode=0o600)
        self.remove(job.path)

    def remove(self, path: Path) -> bool:
        """Remove a job's folder unless a process is at work in it."""
        with Kept(path, _NOBODYS).locked() as ours:
            if ours:
                shutil.rmtree(path, ignore_errors=True)
            return ours

    def all(self) -> list[Kept]:
        """All jobs, the oldest first; without those that cannot be read now."""
        found = []
        for path in self._folders():
            with suppress(OSError):
                if (kept := self._kept(path)) is not None:
                    found.append(kept)
        return sorted(found, key=lambda kept: kept.order.created)

    def waiting(self) -> list[Kept]:
        """Those not done, the oldest first."""
        return [kept for kept in self.all() if not kept.cancelled and not (kept.path / _DONE).exists()]

    def counts(self) -> dict[str, int]:
        """State -> number of jobs."""
        found = dict.fromkeys(("queued", "running", "finished", "failed"), 0)
        for kept in self.all():
            with suppress(OSError):
                if not kept.cancelled:
                    found[kept.to_dict()["state"]] += 1
        return found

    def sweep(self) -> None:
        """Remove what was kept long enough, what was cancelled, what is left of jobs and of uploads whose process is gone."""
        if not is_marked(self.path):
            return
        oldest = time.time() - self.hours * 3600
        for path in self._folders():
            with suppress(OSError):  # what cannot be read now is looked at again
                kept = self._kept(path)
                # one that is none was killed while it was being removed
                if kept is None or kept.cancelled or ((done := kept.done) and done["finished"] < oldest):
                    self.remove(path)
        for path in self.path.glob(".new-*"):
            process = path.name.split("-")[1]
            # in a container the next server has the same number
            is_own = process == str(os.getpid()) and path.name not in self._uploads
            if process.isdigit() and (is_own or not alive(int(process))):
                shutil.rmtree(path, ignore_errors=True)

    def slot(self, number: int) -> IO[bytes] | None:
        """Hold one of the places of processes that predict, as long as the file is open; None where it is taken."""
        handle = open(self.path / SLOTS / str(number), "a+b")  # noqa: SIM115
        if locks.hold(handle):
            return handle
        handle.close()
        return None

    def _folders(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from (path for path in self.path.iterdir() if IDENTIFIER.fullmatch(path.name))

    def _kept(self, path: Path) -> Kept | None:
        content = _read(path / _JOB)
        return None if content is None else Kept(path, Order(**content))


_NOBODYS = Order("", "", "", "", 0, 0.0)


def no_room() -> Fault:
    """What is told when the disk is full, or would be."""
    return Fault("no_room", "this server's disk is nearly full; come again later", retry_after=60)


def alive(process: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> dict[str, Any] | None:
    """None where it is not there, or not whole, as after a power cut. Raises OSError for one that is there and cannot be read now."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
