"""Whether a folder is a server's, for its jobs: it holds a mark, and only then anything in it is removed. Imports errors."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from emodef.errors import SettingsError

MARK = "emodef-jobs"
SLOTS = "slots"
COUNTS = "counts"  # of several workers, for /metrics
IDENTIFIER = re.compile(r"[0-9a-f]{32}")
_TOLD = "emodef serve keeps uploaded files in this folder, and removes them: keep nothing of your own here.\n"
# what earlier versions, which left no mark, have put into such a folder: name -> what stands in it
_OURS = (
    (re.compile(SLOTS), re.compile(r"\d+")),
    (re.compile(COUNTS), re.compile(r".+\.db")),
    (
        re.compile(rf"(?:\.new-\d+-)?{IDENTIFIER.pattern}"),
        re.compile(r"lock|cancelled|\.?(?:job|progress|predicted|summary|done|input|result)\..+"),
    ),
)


def is_marked(path: Path) -> bool:
    """Whether a folder is a server's."""
    return (path / MARK).is_file()


def mark(path: Path) -> None:
    """Mark a folder that is empty, or an earlier version's. Raises SettingsError for one that holds something else."""
    if is_marked(path):
        return
    try:
        other = next((one.name for one in sorted(path.iterdir()) if not _is_ours(one)), None)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be looked into ({error.strerror}); name another with --jobs-folder"
        ) from None
    if other is not None:
        raise SettingsError(
            f"{path}: holds {other!r}, which is no job's, and jobs are removed from their folder; name one with --jobs-folder that is "
            "empty or not there yet"
        )
    with suppress(FileExistsError), open(path / MARK, "x", encoding="utf-8") as file:  # another worker's
        file.write(_TOLD)


def unmark(path: Path) -> None:
    """Remove a folder that holds nothing but its mark."""
    if os.listdir(path) == [MARK]:
        (path / MARK).unlink()
        path.rmdir()


def _is_ours(path: Path) -> bool:
    if path.name == MARK:
        return True
    within = next((its for name, its in _OURS if name.fullmatch(path.name)), None)
    if within is None or path.is_symlink() or not path.is_dir():
        return False
    return all(within.fullmatch(name) for name in os.listdir(path))
