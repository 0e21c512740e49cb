"""Files held by one process at a time. Imports only the standard library.

A lock is the operating system's: it goes with the process, however that ends. Where there are none (Windows, some network
disks) every process gets it.
"""

from __future__ import annotations

import os
from typing import IO, Any


def hold(file: IO[Any] | int, *, wait: bool = False) -> bool:
    """Lock an open file, or its descriptor, for this process until it is closed; False if another one has it.

    wait: until it is free.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_still(file: IO[Any] | int, path: str | os.PathLike[str]) -> bool:
    """Whether an open file is the one at `path` now: its last holder may have removed it between our opening and our locking it."""
    try:
        descriptor = file if isinstance(file, int) else file.fileno()
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
