"""`fetch`: the published files of a corpus, brought to the data folder and checked. Imports corpora.core and what fetching needs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from emodef import atomic, locks
from emodef.corpora.archive import read_archive
from emodef.corpora.core import data_root
from emodef.corpora.download import FetchError, Progress, RefusedError, UnreachableError, discard, download
from emodef.corpora.sources import SOURCES, RemoteFile, Source, find_source

__all__ = ["SOURCES", "FetchError", "Source", "fetch", "fetch_with_progress", "terms"]


def terms(name: str) -> str:
    """What a user should read before fetching: where the corpus comes from, its terms, the paper to cite."""
    source = find_source(name)
    return f"{source.title}, from {source.homepage}\nTerms: {source.terms}\nCite: {source.cite}"


def fetch(
    name: str | Source,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    force: bool = False,
    accept_changed: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
    timeout: float = 30.0,
    backoff: float = 0.5,
) -> Path:
    """Bring the files of a corpus to the data folder and return the corpus's folder there.

    Files that are there and right are left alone. A cut download is gone on from, at once or by the next call. Every
    file whose hash is known is checked before it takes its place, and takes it in one step. A second fetch of the same
    corpus waits for the first.

    data_dir: the data folder; by default $EMODEF_DATA, else the user's cache.
    base_url: a mirror, by default $EMODEF_DATA_URL: a web server that serves a data folder, `base_url/goemotions/train.tsv`.
    force: fetch again and replace what is there. accept_changed: take files whose hash is not the known one.
    progress: called with (bytes here, bytes in all, or None while unknown). note: called with things worth telling.
    timeout, backoff: seconds of silence before a retry; seconds before the first retry, doubling.

    Raises SettingsError for an unknown corpus; FetchError for everything that keeps a file from its place.
    """
    source = name if isinstance(name, Source) else find_source(name)
    root = data_root(data_dir)
    folder = root / source.name
    if force or any(_wanted(root, file, accept_changed) for file in source.files):
        with _alone(folder, note):
            # asked again: another fetch may have ended while this one waited
            files = [file for file in source.files if force or _wanted(root, file, accept_changed)]
            mirror = base_url or os.environ.get("EMODEF_DATA_URL")
            _Fetch(source, root, mirror, accept_changed, progress, note, timeout, backoff).run(files)
    return folder


def fetch_with_progress(name: str, **options: object) -> Path:
    """`fetch` in a terminal: the terms, then a bar of bytes, speed and time left on standard error. Options as `fetch`."""
    from rich import progress as rich_progress
    from rich.console import Console

    console = Console(stderr=True)
    console.print(terms(name), markup=False, highlight=False)
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        def say(message: str) -> None:
            console.print(message, markup=False, highlight=False)

        return fetch(name, progress=show, note=say, **options)  # type: ignore[arg-type]


@dataclass
class _Fetch:
    """One run of `fetch`: the options every step needs, and the count of bytes over all files."""

    source: Source
    root: Path
    mirror: str | None
    accept_changed: bool
    progress: Progress | None
    note: Callable[[str], None] | None
    timeout: float
    backoff: float
    done: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int | None] = field(default_factory=dict)

    def run(self, files: Sequence[RemoteFile]) -> None:
        archive = None if self.mirror else self.source.archive
        direct = [file for file in files if self.mirror or file.urls]
        packed = [file for file in files if not (self.mirror or file.urls)]
        queue = direct + ([archive] if archive and packed else [])
        self.done = {file.path: 0 for file in queue}
        self.sizes = {file.path: file.bytes for file in queue}
        for file in direct:
            self.install(self.obtain(file), file)
        if archive and packed:
            self.unpack(self.obtain(archive), archive, packed)

    def obtain(self, file: RemoteFile) -> Path:
        """The checked download of `file`, still under its `.part` name."""
        part = _beside(self.root / file.path, ".part")
        urls = [f"{self.mirror.rstrip('/')}/{quote(file.path)}"] if self.mirror else list(file.urls)
        faults: list[FetchError] = []
        for url in urls:
            try:
                self.download_checked(url, part, file)
                return part
            except FetchError as error:
                faults.append(error)
        raise self.failure(file, faults)

    def download_checked(self, url: str, part: Path, file: RemoteFile) -> None:
        def report(done: int, total: int | None) -> None:
            self.done[file.path], self.sizes[file.path] = done, total or file.bytes
            sizes = [size for size in self.sizes.values() if size is not None]
            if self.progress:
                known = len(sizes) == len(self.sizes)
                self.progress(sum(self.done.values()), sum(sizes) if known else None)

        kept = download(url, part, progress=report, timeout=self.timeout, backoff=self.backoff)
        got = _sha256(part)
        if kept and file.sha256 not in (None, got):
            discard(part)  # joined from two versions, or damaged on disk: once more, whole
            download(url, part, progress=report, timeout=self.timeout, backoff=self.backoff)
            got = _sha256(part)
        if file.sha256 in (None, got):
            return
        if self.accept_changed:
            self.say(f"{file.path}: taken although its sha256 is {got}, not {file.sha256}")
            return
        aside = self.put_aside(part, file)
        raise FetchError(
            f"{url}: not the published file: expected sha256 {file.sha256}, got {got}; it lies aside as {aside}. Try again, "
            "name a mirror with --base-url, or, if the source has changed and you trust it, pass --accept-changed"
        )

    def failure(self, file: RemoteFile, faults: Sequence[FetchError]) -> FetchError:
        """One error for a file that no address gave."""
        why = "; ".join(str(fault) for fault in faults)
        name = self.source.name
        if all(isinstance(fault, UnreachableError) for fault in faults):
            return UnreachableError(
                f"{file.path}: {why}. Are you offline? Either run `emodef data fetch {name}` again with a network (what is "
                f"here already is kept), or put the corpus's files in a folder, as {self.source.files[0].path} and so on, "
                "and name that folder with --data-dir or the variable EMODEF_DATA"
            )
        if len(faults) == 1 and not isinstance(faults[0], RefusedError):
            return FetchError(f"{file.path}: {why}")
        return FetchError(
            f"{file.path}: {why}. Name a mirror with --base-url or the variable EMODEF_DATA_URL, or get the file from "
            f"{self.source.homepage} and name the folder that holds {file.path} with --data-dir or EMODEF_DATA"
        )

    def unpack(self, part: Path, archive: RemoteFile, files: Sequence[RemoteFile]) -> None:
        """Put the archive's members, and what is built from them, in their places; then remove the archive."""
        try:
            contents = read_archive(part, files, self.say, accept_changed=self.accept_changed)
        except ValueError as error:
            aside = self.put_aside(part, archive)
            raise FetchError(
                f"the archive of {self.source.title} cannot be used: {error}; it lies aside as {aside}. "
                f"Try again later, or get the files from {self.source.homepage} and name their folder with --data-dir"
            ) from None
        for file in files:
            try:
                atomic.write_bytes(self.root / file.path, contents[file.path])
            except OSError as error:
                raise _unwritable(self.root / file.path, error) from None
        discard(part)

    def install(self, part: Path, file: RemoteFile) -> None:
        """From `.part` to its place, in one step and on the disk."""
        target = self.root / file.path
        try:
            with open(part, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(part, target)
        except OSError as error:
            raise _unwritable(target, error) from None
        discard(part)

    def put_aside(self, part: Path, file: RemoteFile) -> Path:
        """Keep a download that is not what it should be for the user to look at, where nothing takes it for the file."""
        aside = _beside(self.root / file.path, ".rejected")
        os.replace(part, aside)
        discard(part)
        return aside

    def say(self, message: str) -> None:
        if self.note:
            self.note(message)


def _wanted(root: Path, file: RemoteFile, accept_changed: bool) -> bool:
    """Is `file` missing? Raises FetchError if another file has its name: it may be the user's, so it is not replaced unasked."""
    path = root / file.path
    if not path.exists():
        return True
    if accept_changed or file.sha256 is None or file.built_from or _sha256(path) == file.sha256:
        return False
    raise FetchError(
        f"{path}: is there, but is not the published file: expected sha256 {file.sha256}, got {_sha256(path)}; "
        "pass --force to replace it, --accept-changed to keep it, or name another folder with --data-dir"
    )


@contextmanager
def _alone(folder: Path, note: Callable[[str], None] | None) -> Iterator[None]:
    """Hold the corpus's lock, so that two fetches do not write one `.part`. The system frees it when the process ends.

    Without locks (Windows, some network disks) two fetches at once may spoil each other's `.part`; the hash finds that.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".fetch.lock", "a")  # noqa: SIM115 (closed below: the body's errors are its own)
    except OSError as error:
        raise _unwritable(folder, error) from None
    with lock:
        if not locks.hold(lock):
            if note:
                note(f"another fetch of {folder.name} is under way; waiting for it")
            locks.hold(lock, wait=True)
        yield


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FetchError(
            f"{path}: cannot be read: {error.strerror}; make it readable, or name another folder"
        ) from None


def _unwritable(path: Path, error: OSError) -> FetchError:
    return FetchError(
        f"{path}: cannot be written: {error.strerror}; free some space or make the folder writable, "
        "or choose another folder with --data-dir or EMODEF_DATA"
    )
