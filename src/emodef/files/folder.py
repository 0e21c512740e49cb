"""The folder of finished parts beside an output: what they belong to, who writes them, how they are joined. Imports atomic, errors, files.

OUT.parts/manifest.json       the input, the settings, the model, the part size: what a continuation must agree with
OUT.parts/part-00000.csv      a finished part, without a header
OUT.parts/part-00000.json     its rows, its problems, and where it ends in the input; a part with this file is finished
OUT.parts/lock                held, as long as it lives, by the process that writes here
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import IO, Any

from emodef import locks
from emodef.atomic import behind_links, named_as, open_atomic, put_in_place, write_bytes, write_text
from emodef.errors import DataError, SettingsError
from emodef.files.predictions import Finished
from emodef.files.records import Position

MANIFEST, LOCK = "manifest.json", "lock"
_HALF_WRITTEN = (".part-*", f".{MANIFEST}.*", "joined.*")
_NAMED = ("part-*.*", "joined.*")  # as a user's files may be too: ours are there only beside a manifest


class PartsFolder:
    """The parts of one output; `locked` opens it."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = parts_path(out)
        self.suffix = out.suffix.lower()
        self.finished: dict[int, Position] = {}
        self.removed = self.keeps_lock = False

    @classmethod
    @contextmanager
    def locked(cls, out: Path) -> Iterator[PartsFolder]:
        """The folder of `out`, for this process alone. Raises SettingsError where another one is at work on it, OSError for a place
        that cannot be written.

        A process that dies, however it dies, holds the lock no longer. A folder in which nothing was begun is removed.
        """
        folder = cls(out)
        handle = folder._lock()
        try:
            yield folder
        finally:
            if not folder.removed and not folder._begun():
                folder.remove()
            handle.close()
            if folder.keeps_lock:
                folder._remove_lock()

    def _lock(self) -> IO[str]:
        lock = self.path / LOCK
        while True:
            with self._named_as_given():
                self.path.mkdir(parents=True, exist_ok=True)
            try:
                with self._named_as_given():
                    handle = open(lock, "a+", encoding="utf-8")  # noqa: SIM115
            except FileNotFoundError:  # another process, done, has just removed the folder
                continue
            if not locks.hold(handle):
                handle.seek(0)
                owner = handle.read().strip()
                handle.close()
                raise SettingsError(
                    f"{self.out} is being written by another 'emodef predict' (process {owner or 'unknown'}); wait for "
                    "it, or name another --out"
                )
            if locks.is_still(handle, lock):
                handle.truncate(0)
                handle.write(str(os.getpid()))
                handle.flush()
                return handle
            handle.close()

    @contextmanager
    def _named_as_given(self) -> Iterator[None]:
        """Errors name the output: what was given is what can be mended."""
        with named_as(self.out):
            try:
                yield
            except FileExistsError:
                raise SettingsError(
                    f"{self.path} is where finished parts are kept, and is a file; move it away, or name another --out"
                ) from None

    def begin(self, manifest: Mapping[str, Any], *, restart: bool, resumable: bool = True) -> None:
        """Make `manifest` the folder's. Parts of the same manifest stay; with `restart` none does, nor of what is not resumable.

        Raises SettingsError, saying what differs, where there are parts of another one, and where files by our names are the user's.
        """
        if not self._begun() and (strange := sorted(chain(*map(self.path.glob, _NAMED)))):
            raise SettingsError(
                f"{self.path} is where finished parts are kept, and holds files that 'emodef predict' has not written, such as "
                f"{strange[0].name}; move them away, or name another --out"
            )
        manifest = json.loads(json.dumps(manifest))
        for pattern in _HALF_WRITTEN:  # by a process that was killed
            for path in self.path.glob(pattern):
                path.unlink()
        earlier = None if restart else self._manifest()
        if not resumable and "hash" not in (earlier or {}).get(
            "input", {}
        ):  # parts of another pipe serve nobody
            earlier = None
        if not any(self._found()):  # nothing would be lost
            earlier = None
        if earlier is not None and (changes := differences(earlier, manifest)):
            raise SettingsError(
                f"{self.path} holds finished parts, but since they were made {'; '.join(changes)}. "
                "Give what was given then to go on with them, or begin anew with --restart"
            )
        if earlier is None:
            self._clear()
        if earlier != manifest:
            # paths and columns may hold what no UTF-8 does: as escapes
            write_text(self.path / MANIFEST, json.dumps(manifest, indent=1, default=str) + "\n")
        self.finished = dict(self._found())

    def _begun(self) -> bool:
        return (self.path / MANIFEST).exists()

    def _manifest(self) -> dict[str, Any] | None:
        try:
            content = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raise DataError("cannot be read; begin anew with --restart", self.path / MANIFEST) from None
        return content if isinstance(content, dict) else {}

    def _found(self) -> Iterator[tuple[int, Position]]:
        for path in sorted(self.path.glob("part-*.json")):
            facts = self._facts(path)
            data = self._data(facts["number"])
            if data.exists() and data.stat().st_size == facts["bytes"]:
                yield facts["number"], Position(**facts["end"])

    def _facts(self, path: Path) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise DataError("cannot be read; begin anew with --restart", path) from None
        return content

    def _data(self, number: int) -> Path:
        # a JSONL part beside its facts needs another name than theirs
        return self.path / f"part-{number:05d}{self.suffix}"

    def add(self, part: Finished) -> None:
        """Put a finished part in its place; it is safe when this returns."""
        write_bytes(self._data(part.number), part.data)
        facts = {
            "number": part.number,
            "bytes": len(part.data),
            "end": asdict(part.end),
            "rows": part.rows,
            "long_texts": part.long_texts,
            "has_text": part.has_text,
            "problems": [asdict(problem) for problem in part.problems],
        }
        # problems may quote bytes that no UTF-8 holds: as escapes
        write_text(self.path / f"part-{part.number:05d}.json", json.dumps(facts))
        self.finished[part.number] = part.end

    def facts(self) -> Iterator[dict[str, Any]]:
        """What is known of each finished part, in order."""
        for number in sorted(self.finished):
            yield self._facts(self.path / f"part-{number:05d}.json")

    def join(self, header: bytes) -> None:
        """All parts, in order, as the output, which appears whole or not at all."""
        joined = self.path / f"joined{self.suffix}"
        numbers = sorted(self.finished)
        if self.suffix == ".parquet":
            from emodef.files.parquet import join_parquet

            join_parquet([self._data(number) for number in numbers], joined)
            with open(joined, "rb+") as file:
                os.fsync(file.fileno())
        else:
            with open(joined, "wb") as file:
                file.write(header)
                for number in numbers:
                    with open(self._data(number), "rb") as part:
                        shutil.copyfileobj(part, file, 2**20)
                file.flush()
                os.fsync(file.fileno())
        self._write_problems()
        put_in_place(joined, behind_links(self.out))

    def _write_problems(self) -> None:
        target = problems_path(self.out)
        if not any(facts["problems"] for facts in self.facts()):
            target.unlink(missing_ok=True)  # those of an earlier output of this name
            return
        with open_atomic(target) as file:
            for facts in self.facts():
                for problem in facts["problems"]:
                    file.write(json.dumps(problem) + "\n")

    def remove(self) -> None:
        """Remove what is ours in the folder, its manifest last, and the folder if nothing else is in it."""
        self._clear()
        self.removed = True
        try:
            self._remove_lock()  # while it is held: a lock that is free may be another's already
        except (
            PermissionError
        ):  # Windows removes no open file, and has no locks; `locked` does it when the file is closed
            self.keeps_lock = True

    def _remove_lock(self) -> None:
        (self.path / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: something of the user's, or the next process is there already
            self.path.rmdir()

    def _clear(self) -> None:
        if not self._begun():  # what is there is the user's
            return
        for pattern in (*_HALF_WRITTEN, "part-*.*", MANIFEST):
            for path in self.path.glob(pattern):
                path.unlink(missing_ok=True)


def parts_path(out: Path) -> Path:
    """The folder of an output's parts: beside the file itself, so that it can take their place, where the output is a link."""
    out = behind_links(out)
    return out.with_name(out.name + ".parts")


def problems_path(out: Path) -> Path:
    """The file that lists the rows without predictions."""
    return out.with_name(out.name + ".problems.jsonl")


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """What differs between two manifests, in words."""
    found: list[str] = []
    for key in dict.fromkeys([*earlier, *now]):
        old, new = earlier.get(key), now.get(key)
        place = f"{path} {key}".strip()
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, place)
        elif place == "settings on_error" and old == "fail":
            continue  # finished parts had no bad row, so they are what they would have been
        elif old != new and place == "input path" and "hash" in earlier and "hash" in now:
            continue  # the same bytes in another place are the same input; of an address nothing but its name is known
        elif old != new and place in ("input hash", "input files", "model hash", "labels hash"):
            found.append(f"the content of the {place.split()[0]} changed")
        elif old != new:
            found.append(f"the {place.replace('_', ' ')} changed from {_shown(old)} to {_shown(new)}")
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 80 else text[:77] + "..."
