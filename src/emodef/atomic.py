"""Atomic writes: a reader sees the old file or the new one, never half of one. Imports only the standard library."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@contextmanager
def open_atomic(path: str | os.PathLike[str], mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path`; on success it replaces `path`, on any error it is removed.

    Of a link, the file it points to is replaced. What is no file, such as a terminal or a named pipe, is written as it is opened, and
    standard output by its names goes on where it stands, in a file too.
    Raises OSError that names `path` when the folder cannot be written or the disk is full; `path` is then as it was.
    """
    if "b" not in mode:
        options.setdefault("encoding", "utf-8")
        options.setdefault("newline", "")
    if os.fspath(path) in _STANDARD_OUTPUT:
        with os.fdopen(os.dup(1), mode, **options) as handle:
            yield handle
        return
    target = behind_links(path)
    with named_as(path):
        target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, mode, **options) as handle:
            yield handle
        return
    with named_as(path):
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(descriptor, mode, **options) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        put_in_place(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def named_as(path: str | os.PathLike[str]) -> Iterator[None]:
    """OSErrors name `path`, which somebody gave, and not the folder or the temporary file that they came from."""
    try:
        yield
    except FileExistsError:  # of a folder that is a file
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def put_in_place(finished: str | os.PathLike[str], target: Path) -> None:
    """Let a finished file of ours replace `target`, with the permissions of the file that was there, else those of any new file."""
    try:
        mode = os.stat(target).st_mode & 0o777
    except OSError:
        mode = 0o666 & ~_umask()
    os.chmod(finished, mode)
    os.replace(finished, target)


def behind_links(path: str | os.PathLike[str]) -> Path:
    """The file that a link points to, by way of other links too; any other path as it is given."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    with open_atomic(path, "w") as handle:
        handle.write(text)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with open_atomic(path, "wb") as handle:
        handle.write(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
