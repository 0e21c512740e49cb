"""A results folder as one file, and back: finished runs and what lies beside them, by default without weights. Imports results.

Unpacking merges. What is finished stays as it is, and nothing is written outside the folder.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from emodef import locks
from emodef.atomic import open_atomic
from emodef.errors import DataError, SettingsError
from emodef.runs import DESCRIBES

ENDINGS = (".tar.gz", ".tgz")
_NEVER = {".lock", "output.txt", "best.safetensors"}
_NOT_ENTERED = {"state", "tensorboard"}
_LIGHT = ("README.md", "model.json")  # of a light model, what says what it is
_OF_STUDIES = ("rows.jsonl", "splits")  # what a study has, be it merely begun, and a run of training has not
_CHUNK = 1 << 20


@dataclass
class Packed:
    """What was packed or unpacked: folders of runs, other files, and what was left alone, with the reason."""

    runs: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def pack(results: str | os.PathLike[str], out: str | os.PathLike[str], *, weights: bool = False) -> Packed:
    """Write the finished runs under `results`, and the other files there, to one `.tar.gz`; the same content gives the same bytes.

    Without `weights`, a model's folder keeps what describes it. Raises DataError for a folder that is missing or has nothing
    finished, SettingsError for another kind of file.
    """
    source, target = Path(results), Path(out)
    if not target.name.endswith(ENDINGS):
        raise SettingsError(f"{target}: results are packed as .tar.gz; give a name that ends so")
    if not source.is_dir():
        raise DataError("no such folder", source)
    packed = Packed()
    paths = list(_to_pack(source, packed, weights, {target.resolve()}))
    if not paths:
        raise DataError("holds nothing that is finished", source)
    with (
        open_atomic(target, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in paths:
            info = tarfile.TarInfo(path.relative_to(source).as_posix())
            info.size, info.mode = path.stat().st_size, 0o644
            with path.open("rb") as handle:
                archive.addfile(info, handle)
    return packed


def unpack(archive: str | os.PathLike[str], results: str | os.PathLike[str]) -> Packed:
    """Merge a packed file into `results`: a run goes there whole or not at all, other files where there is none of that name.

    A finished run that is there already is never touched; an unfinished one is replaced, unless a process is at it. Raises
    DataError for a file that is damaged, or has anything in it but plain files below the folder.
    """
    source, target = Path(archive), Path(results)
    target.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target))
    try:
        try:
            with tarfile.open(source, "r:gz") as found:
                for member in found:
                    _extract(found, member, staged, source)
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"cannot be unpacked ({error}); copy it again", source) from None
        except OSError as error:  # it is not there, or there is no room for what is in it
            where = "" if error.filename == str(source) else f" into {target}"
            raise DataError(f"cannot be unpacked{where}: {error.strerror or error}", source) from None
        return _merge(staged, target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _to_pack(source: Path, packed: Packed, weights: bool, never: set[Path]) -> Iterator[Path]:
    for path, folders, files in os.walk(source):
        here = Path(path)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _NOT_ENTERED)
        if "settings.json" in files and _is_training_run(here):
            name = here.relative_to(source).as_posix()
            if "metrics.json" not in files:
                packed.left[name] = "is not finished"
                folders.clear()
                continue
            if name == ".":
                raise SettingsError(f"{source} is a run; pack the folder that it is in")
            packed.runs.append(name)
        inside = any(here.is_relative_to(source / run) for run in packed.runs)
        model, light = "emodef.json" in files, "model.onnx" in files
        for file in sorted(files):
            own = here / file
            if file in _NEVER or file.startswith(".") or own.is_symlink() or own.resolve() in never:
                continue
            if not weights and ((model and file not in DESCRIBES) or (light and file not in _LIGHT)):
                continue
            if not inside and not model and "settings.json" not in files:
                packed.files.append(own.relative_to(source).as_posix())
            yield own


def _is_training_run(folder: Path) -> bool:
    """Whether it is a run of training, finished or not: other studies keep their rows as they come, and are packed as they are."""
    return not any((folder / name).exists() for name in _OF_STUDIES)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, source: Path) -> None:
    """Write one member below `target`; read here, so that nothing of it but name and content counts."""
    name = PurePosixPath(member.name)
    tricky = name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name
    if member.isdir() and not tricky:
        return
    if tricky or not member.isreg() or not name.parts:
        raise DataError(f"has {member.name!r} in it, which is no plain file of a results folder", source)
    path = target.joinpath(*name.parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None
    with content, path.open("xb") as handle:
        shutil.copyfileobj(content, handle, _CHUNK)


def _merge(staged: Path, target: Path) -> Packed:
    done = Packed()
    for path, folders, files in os.walk(staged):
        here = Path(path)
        folders.sort()
        name = here.relative_to(staged).as_posix()
        if "settings.json" in files and "metrics.json" in files:
            folders.clear()
            if here == staged:
                raise DataError("is a run itself, not a folder of runs", target)
            reason = _place_run(here, target / name)
            if reason:
                done.left[name] = reason
            else:
                done.runs.append(name)
            continue
        for file in sorted(files):
            own, there = here / file, target / here.relative_to(staged) / file
            label = there.relative_to(target).as_posix()
            if _is_of_a_finished_run(there, target):
                done.left[label] = "is a run's own file, and came without the run"
            elif not there.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                os.replace(own, there)
                done.files.append(label)
            elif _digest(own) != _digest(there):
                done.left[label] = "is there already, with other content"
    return done


def _place_run(staged: Path, there: Path) -> str:
    """Move a finished run to its place; the reason why not, if it stays out."""
    if (there / "metrics.json").exists():
        same = _digest(there / "metrics.json") == _digest(staged / "metrics.json")
        return "is there already" if same else "is there already, with another result"
    if _is_in_use(there):
        return "is being trained here"
    if there.exists() and not (there / "settings.json").exists() and any(there.iterdir()):
        return "something else is there"
    there.parent.mkdir(parents=True, exist_ok=True)
    if there.exists():
        os.replace(there, staged.parent / f".{there.name}.old")  # goes with the staging folder
    os.replace(staged, there)
    return ""


def _is_in_use(folder: Path) -> bool:
    """Whether a process trains in it: the lock that it leaves when it is killed is held by nobody."""
    try:
        with (folder / ".lock").open("rb") as handle:
            return not locks.hold(handle)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _is_of_a_finished_run(path: Path, results: Path) -> bool:
    """Whether the file's place is in a finished run's folder, or in that of one that is being trained."""
    above = [folder for folder in path.parents if folder != results and results in folder.parents]
    return any((folder / "settings.json").exists() and _is_training_run(folder) for folder in above)


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
