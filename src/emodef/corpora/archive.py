"""Files of a corpus out of a published zip archive, or built from its members. Imports the standard library and corpora.sources."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from emodef.corpora.sources import RemoteFile

MAX_MEMBER = 64 << 20  # bytes; the real members are under half a megabyte
_TAGGED = re.compile(r"\s*<(\w+)>(.*)<\\\w+>\s*")  # the authors close tags with a backslash


def read_archive(
    path: Path, files: Sequence[RemoteFile], say: Callable[[str], None], *, accept_changed: bool = False
) -> dict[str, bytes]:
    """The contents of `files`, by their paths; `say` is told what a user should know of them.

    Raises ValueError for a damaged archive, a missing or far too big member, and, unless `accept_changed`, for a member
    whose hash is not the known one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {file.path: _content(archive, file, say, accept_changed) for file in files}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error, EOFError) as error:
        raise ValueError(f"it is not a sound zip file ({error})") from None


def tagged_to_csv(members: Mapping[str, bytes], say: Callable[[str], None]) -> bytes:
    r"""Emotion-Stimulus as one table Emotion,Text from its files of `<happy>text<\happy>` lines, cause tags taken off.

    Characters beyond ASCII are dropped: the table that published work used was made so.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["Emotion", "Text"])
    for name, member in members.items():
        for row, line in enumerate(member.decode("ascii", errors="ignore").split("\n"), start=1):
            if tagged := _TAGGED.fullmatch(line):
                writer.writerow([tagged.group(1), re.sub(r"<\\?cause>", "", tagged.group(2))])
            elif line.strip():
                say(f"{name}:{row}: left out, it has no emotion tag around it: {line[:60]!r}")
    return table.getvalue().removesuffix("\r\n").encode("ascii")


def _content(
    archive: zipfile.ZipFile, file: RemoteFile, say: Callable[[str], None], accept_changed: bool
) -> bytes:
    if file.built_from:
        content = tagged_to_csv({name: _member(archive, name) for name in file.built_from}, say)
    else:
        content = _member(archive, file.member or PurePosixPath(file.path).name)
    got = hashlib.sha256(content).hexdigest()
    if file.sha256 in (None, got):
        return content
    if (
        file.built_from
    ):  # its members were checked as far as their hashes are known; the rest the authors may have mended
        say(f"{file.path}: built from the published archive, but not byte for byte the copy our results used")
    elif accept_changed:
        say(f"{file.path}: taken although its sha256 is {got}, not {file.sha256}")
    else:
        raise ValueError(f"{file.path}: expected sha256 {file.sha256}, got {got} (--accept-changed takes it)")
    return content


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member by its file name, read into memory: an archive never chooses where on our disk something is written."""
    for info in archive.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.name != name or path.is_absolute() or ".." in path.parts or path.parts[0] == "__MACOSX":
            continue
        if info.file_size > MAX_MEMBER:
            raise ValueError(
                f"its member {name!r} unpacks to {info.file_size:,} bytes, far more than was published"
            )
        with archive.open(info) as file:
            return file.read(MAX_MEMBER)
    raise ValueError(f"it has no member {name!r}")
