"""One file over HTTP into a `.part` file that a later call goes on from. Imports the standard library and errors."""

from __future__ import annotations

import errno
import http.client
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from emodef import __version__
from emodef.errors import EmodefError

Progress = Callable[[int, int | None], None]  # (bytes here, bytes in all or None while unknown)

CHUNK = 1 << 16
MAX_WAIT = 60.0  # seconds; no server makes us wait longer between two tries
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # answers that a second try may turn into the file
_NO_NETWORK = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ECONNREFUSED})


class FetchError(EmodefError):
    """A file could not be fetched; what arrived is kept and used by the next try."""

    exit_code = 6


class UnreachableError(FetchError):
    """No answer at all: no network, no such host, or nobody listening."""


class RefusedError(FetchError):
    """An answer, but not the file: trying again brings the same."""


class _PassingError(Exception):
    """A fault that may be gone at the next try. `wait`: seconds the server asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def download(
    url: str,
    part: Path,
    *,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
    backoff: float = 0.5,
) -> bool:
    """Bring the whole body of `url` into the file `part`. True if it was joined from more than one answer.

    Bytes a former call left in `part` are gone on from with a Range request, tied by If-Range to the version they
    came from; a server that does not do ranges, or has a newer version, sends the whole file and it is taken from the
    start. `attempts` tries in a row may bring nothing new, `backoff` seconds apart and doubling; `timeout` is the
    longest silence in seconds.

    Raises UnreachableError when nobody answers, RefusedError when the server does not give the file, FetchError for too
    many failures and for a full or unwritable disk. `part` then stays, for the next call.
    """
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError as error:
        raise RefusedError(f"{url!r} is no address ({error}); give one that starts with https://") from None
    if scheme not in ("http", "https"):
        raise RefusedError(f"{url!r} is not an http or https address; give one that starts with https://")
    report = progress or (lambda done, total: None)
    most, failures = _size(part), 0
    while True:
        have, validator = _usable(part, url)
        try:
            return _receive(url, part, have, validator, report, timeout)
        except _PassingError as error:
            size = _size(part)
            failures = 1 if size > most else failures + 1  # bytes that no try had before count as progress
            most = max(most, size)
            if failures >= attempts:
                raise FetchError(
                    f"{url}: {error}, {failures} times in a row; {size:,} bytes are kept: "
                    "run the same command again later to go on from there"
                ) from None
            time.sleep(min(max(error.wait, backoff * 2 ** (failures - 1)), MAX_WAIT))


def discard(part: Path) -> None:
    """Remove a partial download and its notes."""
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _receive(url: str, part: Path, have: int, validator: str, report: Progress, timeout: float) -> bool:
    """One request: append to the `have` bytes, or start over. True if they were kept."""
    headers = {"User-Agent": f"emodef/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                    report(have, have)
                    return True  # everything was here already
                discard(part)
                raise _PassingError("the server has no such range") from None
            raise _refusal(url, error) from None
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(url, error) from None
    with response:
        if response.status == 206:
            start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if not start or int(start.group(1)) != have:
                discard(part)
                raise _PassingError("the server sent another range than asked for")
        else:
            have = 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        try:
            if have == 0:
                _note_version(part, url, response.headers)
            with open(part, "ab" if have else "wb", buffering=0) as file:
                done = _copy(response, file, have, total, report)
        except OSError as error:
            raise FetchError(
                f"{part}: cannot be written: {error.strerror or error}; free some space or make the folder writable "
                "and run the same command again, or choose another folder with --data-dir or EMODEF_DATA"
            ) from None
    if total is not None and done < total:
        raise _PassingError(f"the connection closed after {done:,} of {total:,} bytes")
    return have > 0


def _copy(response: Any, file: IO[bytes], done: int, total: int | None, report: Progress) -> int:
    """Network faults leave here as _PassingError, so that the caller knows every OSError for the disk's."""
    report(done, total)
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _PassingError(f"the connection broke ({error})") from None
        if not chunk:
            return done
        view = memoryview(chunk)
        while view:
            view = view[file.write(view) :]
        done += len(chunk)
        report(done, total)


def _refusal(url: str, error: urllib.error.HTTPError) -> Exception:
    if error.code in _PASSING:
        asked = error.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdecimal() else 0.0
        return _PassingError(f"the server answered {error.code} {error.reason}", wait)
    gone = error.code in (404, 410)
    what = "the file is not at this address" if gone else "the server does not give the file out"
    return RefusedError(f"{url}: {what} ({error.code} {error.reason})")


def _no_answer(url: str, error: Exception) -> Exception:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return RefusedError(
            f"{url}: the server's certificate is not trusted ({reason.verify_message}); check date and proxy"
        )
    if isinstance(reason, socket.gaierror) or (isinstance(reason, OSError) and reason.errno in _NO_NETWORK):
        return UnreachableError(f"{urllib.parse.urlsplit(url).netloc} cannot be reached ({reason.strerror})")
    return _PassingError(f"no answer ({reason})")


def _usable(part: Path, url: str) -> tuple[int, str]:
    """(bytes to go on from, the version they belong to); (0, "") where that cannot be told, so nothing is mixed up."""
    try:
        notes = json.loads(_notes(part).read_text(encoding="utf-8"))
        same = notes["url"] == url and bool(notes["validator"])
        return (_size(part), str(notes["validator"])) if same else (0, "")
    except (OSError, ValueError, LookupError, TypeError):
        return 0, ""


def _note_version(part: Path, url: str, headers: Any) -> None:
    etag = headers.get("ETag", "")
    # If-Range wants a strong validator
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    part.unlink(missing_ok=True)  # never old bytes beside a new version's notes
    _notes(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0
