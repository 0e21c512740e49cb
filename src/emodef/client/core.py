"""A client of `emodef serve`, typed, with nothing but the standard library and errors.

with Client("http://127.0.0.1:8000") as client:
    client.predict(["Thank you so much!"])[0].labels
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from emodef.atomic import open_atomic
from emodef.client.types import Explanation, Job, KnownLabel, Label, Prediction, ServerError, Word
from emodef.errors import SettingsError

Threshold = Literal["tuned", "fixed"] | float
OwnLabel = str | Mapping[str, Any]
Made = TypeVar("Made")
PIECE = 2**18
LONGEST_WAIT = 30.0  # seconds, whatever Retry-After says
LINES = "application/x-ndjson"


class Client:
    """A server's client. Each thread that uses it has a connection of its own, kept open.

    timeout: seconds without a byte. retries: how often a request is sent again that was refused because the server is busy
    (after the seconds it says) or whose connection was closed before an answer. Every method raises ServerError.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{url!r} is no address of a server; give one such as http://127.0.0.1:8000")
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._address, self._base = (parts.hostname, parts.port), parts.path.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.timeout, self.retries = timeout, retries
        self._local = threading.local()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def labels(self, level: str | None = None) -> tuple[KnownLabel, ...]:
        """The labels that the server's model predicts, or a coarser level's."""
        query = "" if level is None else "?" + urlencode({"level": level})
        return tuple(_made(KnownLabel, one) for one in self._json("GET", f"/v1/labels{query}")["labels"])

    def predict(
        self,
        texts: Sequence[str],
        *,
        threshold: Threshold | None = None,
        top_k: int | None = None,
        level: str | None = None,
        all_scores: bool = False,
        calibrated: bool = False,
        at_least_one: bool = False,
    ) -> list[Prediction]:
        """A prediction for each text. top_k: so many labels, the likeliest, instead of those above the threshold."""
        asked = {
            "texts": _listed(texts),
            "threshold": threshold,
            "top_k": top_k,
            "level": level,
            "all_scores": all_scores,
            "calibrated": calibrated,
            "at_least_one": at_least_one,
        }
        return [_prediction(one) for one in self._json("POST", "/v1/predict", asked)["predictions"]]

    def score(
        self,
        texts: Sequence[str],
        labels: Mapping[str, OwnLabel],
        *,
        known: bool | Sequence[str] = False,
        threshold: Threshold | None = None,
        all_scores: bool = True,
    ) -> list[Prediction]:
        """Predictions over labels of your own, name -> definition, or an object with definitions, examples, threshold."""
        asked = {
            "texts": _listed(texts),
            "labels": dict(labels),
            "known": known if isinstance(known, bool) else _listed(known),
            "threshold": threshold,
            "all_scores": all_scores,
        }
        return [_prediction(one) for one in self._json("POST", "/v1/score", asked)["predictions"]]

    def explain(
        self,
        text: str,
        *,
        labels: Sequence[str] | None = None,
        level: str | None = None,
        own: Mapping[str, OwnLabel] | None = None,
    ) -> Explanation:
        """Which words carry a text's labels; by default those predicted."""
        asked = {
            "text": text,
            "labels": None if labels is None else _listed(labels),
            "level": level,
            "own": None if own is None else dict(own),
        }
        found = self._json("POST", "/v1/explain", asked)
        shifts = found["shifts"]
        return Explanation(
            tuple(Label(one["name"], one["probability"]) for one in found["labels"]),
            tuple(
                Word(**word, shifts={name: values[k] for name, values in shifts.items()})
                for k, word in enumerate(found["words"])
            ),
            found["together"],
        )

    def stream(
        self,
        texts: Iterable[str],
        *,
        threshold: Threshold | None = None,
        level: str | None = None,
        all_scores: bool = False,
    ) -> Iterator[Prediction | ServerError]:
        """Predictions of any number of texts, in order, while they are being sent; a text that is refused gives a ServerError."""
        texts = [texts] if isinstance(texts, str) else texts
        given = {"threshold": threshold, "level": level, "all_scores": str(all_scores).lower()}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        connection = self._kind(*self._address, timeout=self.timeout)
        failed: list[BaseException] = []
        try:
            self._head(connection, "POST", f"/v1/predict/stream?{query}", {"Content-Type": LINES})
            sender = threading.Thread(target=_send_lines, args=(connection, texts, failed), daemon=True)
            sender.start()
            response = connection.getresponse()
            if response.status != 200:
                raise _refused(response, response.read())
            for line in response:
                found = json.loads(line)
                yield _error(found["error"]) if "error" in found else _prediction(found)
            sender.join(self.timeout)
            if failed:
                raise ServerError(f"the texts could not be sent: {failed[0]}") from failed[0]
        except (OSError, HTTPException, ValueError) as error:
            raise ServerError(f"the stream broke off: {error}") from error
        finally:
            connection.close()

    def submit(self, path: str | os.PathLike[str], **options: str | float | bool) -> Job:
        """Upload a file to predict. options: the form's fields column, format, output, threshold, level, form, on_error, prefix, …"""
        path = Path(path)
        boundary = secrets.token_hex(16)
        head, tail = _form(path.name, options, boundary)
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        size = len(head) + path.stat().st_size + len(tail)
        connection = self._kind(*self._address, timeout=self.timeout)
        try:
            self._head(connection, "POST", "/v1/jobs", {**kind, "Content-Length": str(size)})
            try:
                connection.send(head)
                with open(path, "rb") as file:
                    while piece := file.read(PIECE):
                        connection.send(piece)
                connection.send(tail)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was refused before all was sent; the answer says why
            return _made(Job, _answer(connection.getresponse()))
        except (OSError, HTTPException) as error:
            raise ServerError(f"no answer came: {error}") from error
        finally:
            connection.close()

    def job(self, identifier: str) -> Job:
        """How far a job is."""
        return _made(Job, self._json("GET", f"/v1/jobs/{quote(identifier, safe='')}"))

    def wait(self, job: Job | str, *, seconds: float | None = None, every: float = 0.5) -> Job:
        """Wait until a job is over. Raises ServerError when it failed, or is not over after so many seconds."""
        identifier = job if isinstance(job, str) else job.id
        end = None if seconds is None else time.monotonic() + seconds
        while not (found := self.job(identifier)).over:
            if end is not None and time.monotonic() > end:
                raise ServerError(f"the job {identifier} is not over after {seconds:g} seconds")
            time.sleep(every)
        if found.state != "finished":
            raise ServerError(f"the job {identifier} {found.state}: {found.error}")
        return found

    def download(self, job: Job | str, path: str | os.PathLike[str]) -> Path:
        """Write a finished job's result; `path` appears when it is whole. Raises ServerError where the answer breaks off."""
        identifier = job if isinstance(job, str) else job.id
        response = self._ask("GET", f"/v1/jobs/{quote(identifier, safe='')}/result")
        if response.status != 200:
            raise _refused(response, response.read())
        with open_atomic(path, "wb") as file:
            for piece in self._pieces(response):
                file.write(piece)
        return Path(path)

    def _pieces(self, response: HTTPResponse) -> Iterator[bytes]:
        """An answer's body, all of it. Raises ServerError where it ends before."""
        try:
            while piece := response.read(PIECE):
                yield piece
            broken = "its end is missing" if response.length else ""  # which `read` does not tell
        except (OSError, HTTPException) as error:
            broken = str(error) or type(error).__name__
        if broken:
            self.close()
            raise ServerError(f"the result broke off ({broken}); download it again")

    def summary(self, job: Job | str) -> dict[str, Any]:
        """What charts of a finished job need."""
        identifier = job if isinstance(job, str) else job.id
        return self._json("GET", f"/v1/jobs/{quote(identifier, safe='')}/summary")

    def cancel(self, job: Job | str) -> Job:
        """Stop a job, and remove it with all its files."""
        identifier = job if isinstance(job, str) else job.id
        return _made(Job, self._json("DELETE", f"/v1/jobs/{quote(identifier, safe='')}"))

    def _json(self, method: str, path: str, content: object = None) -> dict[str, Any]:
        body = None if content is None else json.dumps(content).encode()
        return _answer(self._ask(method, path, body))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> HTTPResponse:
        """Send a request, and again where that may help."""
        kind = {} if body is None else {"Content-Type": "application/json"}
        for attempt in range(self.retries + 1):
            connection = self._connection()
            try:
                connection.request(method, self._base + path, body, {**self._headers, **kind})
                response = connection.getresponse()
            except (OSError, HTTPException) as error:
                self.close()
                if attempt == self.retries or isinstance(error, TimeoutError):
                    raise ServerError(f"no answer came: {error or type(error).__name__}") from error
                time.sleep(0.1 * 2**attempt)
                continue
            if response.status != 503 or attempt == self.retries:
                return response
            response.read()
            time.sleep(min(LONGEST_WAIT, float(response.headers.get("Retry-After", 1))))
        raise AssertionError("unreachable")

    def _connection(self) -> HTTPConnection:
        connection: HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._kind(*self._address, timeout=self.timeout)
        return connection

    def _head(self, connection: HTTPConnection, method: str, path: str, headers: Mapping[str, str]) -> None:
        connection.putrequest(method, self._base + path)
        for name, value in {**self._headers, **headers}.items():
            connection.putheader(name, value)
        if "Content-Length" not in headers:
            connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()


def _listed(given: str | Iterable[str]) -> list[str]:
    """Texts or names as a list; one of them as a list of one, as `Predictor` takes it."""
    return [given] if isinstance(given, str) else list(given)


def _send_lines(connection: HTTPConnection, texts: Iterable[str], failed: list[BaseException]) -> None:
    try:
        for text in texts:
            line = json.dumps(text).encode() + b"\n"
            connection.send(b"%x\r\n%b\r\n" % (len(line), line))
        connection.send(b"0\r\n\r\n")
    except BaseException as error:  # told by who reads the answers
        failed.append(error)
        connection.close()


def _form(name: str, options: Mapping[str, object], boundary: str) -> tuple[bytes, bytes]:
    """What goes before a file and behind it."""
    parts = []
    for field_name, value in options.items():
        told = str(value).lower() if isinstance(value, bool) else str(value)
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{field_name}"\r\n\r\n{told}\r\n')
    quoted = name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode(), f"\r\n--{boundary}--\r\n".encode()


def _answer(response: HTTPResponse) -> dict[str, Any]:
    body = response.read()
    if response.status >= 400:
        raise _refused(response, body)
    found: dict[str, Any] = json.loads(body)
    return found


def _refused(response: HTTPResponse, body: bytes) -> ServerError:
    try:
        return _error(json.loads(body)["error"], response.status)
    except (ValueError, KeyError, TypeError):
        return ServerError(f"the server answered {response.status} {response.reason}", status=response.status)


def _error(found: Mapping[str, Any], status: int = 0) -> ServerError:
    return ServerError(found["message"], status=status, code=found["code"], field=found.get("field"))


def _made(kind: type[Made], found: Mapping[str, Any]) -> Made:
    """A dataclass of an answer's fields; those that a newer server adds are passed over."""
    return kind(**{one.name: found[one.name] for one in fields(kind)})  # type: ignore[arg-type]


def _prediction(found: Mapping[str, Any]) -> Prediction:
    return Prediction(
        tuple(Label(one["name"], one["probability"]) for one in found["labels"]),
        found.get("scores") or {},
        found["tokens"],
        found["windows"],
    )
