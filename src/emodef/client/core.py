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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from emodef.atomic import open_atomic
from emodef.client import answers
from emodef.client.answers import Made, why
from emodef.client.sending import Sender, form, hang_up
from emodef.client.types import Explanation, Job, KnownLabel, Prediction, Problem, ServerError, ServerLimits
from emodef.errors import SettingsError

Threshold = Literal["tuned", "fixed"] | float
OwnLabel = str | Sequence[str] | Mapping[str, Any]
PIECE = 2**18
LINES = "application/x-ndjson"
NOT_AGAIN = frozenset(
    {"timed_out", "no_room"}
)  # of what a 503 says: it would cost the server as much again, or help nothing


class Client:
    """A server's client. Each thread that uses it has a connection of its own, kept open.

    timeout: seconds without a byte. retries: how often a request is sent again that was refused because the server is busy,
    starting or stopping (when it says) or whose connection was closed before an answer; one that timed out is not, nor what
    `stream` and `submit` send. Every method raises ServerError, and OSError only for files of this machine; an address, a key
    or labels of one's own that cannot be used raise SettingsError at once.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # brackets that are not closed, a port that is no number or too large
            host = port = None
        if not host or parts.scheme not in ("http", "https"):
            raise SettingsError(f"{url!r} is no address of a server; give one such as http://127.0.0.1:8000")
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._address, self._base = (host, port), parts.path.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {_checked(key)}"}
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
        return self._json(answers.known_labels, "GET", f"/v1/labels{query}")

    def limits(self) -> ServerLimits:
        """How many texts, characters and bytes the server takes at once."""
        return self._json(answers.limits, "GET", "/v1/limits")

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
        return self._json(answers.predictions, "POST", "/v1/predict", asked)

    def score(
        self,
        texts: Sequence[str],
        labels: Mapping[str, OwnLabel],
        *,
        known: bool | Sequence[str] = False,
        threshold: Threshold | None = None,
        all_scores: bool = True,
    ) -> list[Prediction]:
        """Predictions over labels of your own, name -> definition, several, or an object with definitions, examples, threshold."""
        asked = {
            "texts": _listed(texts),
            "labels": _own(labels),
            "known": known if isinstance(known, bool) else _listed(known),
            "threshold": threshold,
            "all_scores": all_scores,
        }
        return self._json(answers.predictions, "POST", "/v1/score", asked)

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
            "own": None if own is None else _own(own),
        }
        return self._json(answers.explanation, "POST", "/v1/explain", asked)

    def stream(
        self,
        texts: Iterable[str],
        *,
        threshold: Threshold | None = None,
        level: str | None = None,
        all_scores: bool = False,
    ) -> Iterator[Prediction | ServerError]:
        """Predictions of any number of texts, in order, while they are being sent; a text that is refused gives a ServerError.

        Raises ServerError where the stream ends before every text has its answer.
        """
        texts = [texts] if isinstance(texts, str) else texts
        given = {"threshold": threshold, "level": level, "all_scores": str(all_scores).lower()}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        connection = self._kind(*self._address, timeout=self.timeout)
        sender: Sender | None = None
        answered = 0
        try:
            self._head(connection, "POST", f"/v1/predict/stream?{query}", {"Content-Type": LINES})
            sender = Sender(connection.sock, texts)
            sender.start()
            with connection.getresponse() as response:
                if response.status >= 300:
                    raise answers.refusal(response)
                for line in response:
                    yield answers.streamed(line)
                    answered += 1
            # to `response`, a connection that closes between two chunks has come to its end
            if not sender.complete or answered < sender.sent:
                raise ConnectionError(f"{sender.sent} texts had been sent")
        except (OSError, HTTPException) as error:
            cause = (sender and sender.failed) or error
            raise ServerError(f"the stream broke off after {answered} answers: {why(cause)}") from cause
        finally:
            if sender:
                hang_up(sender.connection)
            connection.close()

    def submit(self, path: str | os.PathLike[str], **options: str | float | bool) -> Job:
        """Upload a file to predict. options: the form's fields column, format, output, threshold, level, form, on_error, prefix, …"""
        path = Path(path)
        boundary = secrets.token_hex(16)
        head, tail = form(path.name, options, boundary)
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        connection = self._kind(*self._address, timeout=self.timeout)
        with open(path, "rb") as file:
            size = len(head) + os.fstat(file.fileno()).st_size + len(tail)
            try:
                self._head(connection, "POST", "/v1/jobs", {**kind, "Content-Length": str(size)})
                try:
                    connection.send(head)
                    while piece := file.read(PIECE):
                        connection.send(piece)
                    connection.send(tail)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # it was refused before all was sent; the answer says why
                response = connection.getresponse()
                if response.status >= 300:
                    raise answers.refusal(response)
                return answers.answer(response, answers.job)
            except (OSError, HTTPException) as error:
                raise ServerError(self._silent(error)) from error
            finally:
                connection.close()

    def job(self, identifier: str) -> Job:
        """How far a job is."""
        return self._json(answers.job, "GET", f"/v1/jobs/{quote(identifier, safe='')}")

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
        try:
            with open_atomic(path, "wb") as file:
                for piece in self._pieces(response):
                    file.write(piece)
        except BaseException:
            self.close()  # what is unread of it would be in the way of the next answer
            raise
        return Path(path)

    def _pieces(self, response: HTTPResponse) -> Iterator[bytes]:
        """An answer's body, all of it. Raises ServerError where it ends before."""
        try:
            while piece := response.read(PIECE):
                yield piece
            broken = "its end is missing" if response.length else ""  # which `read` does not tell
        except (OSError, HTTPException) as error:
            broken = why(error)
        if broken:
            self.close()
            raise ServerError(f"the result broke off ({broken}); download it again")

    def summary(self, job: Job | str) -> dict[str, Any]:
        """What charts of a finished job need."""
        identifier = job if isinstance(job, str) else job.id
        return self._json(answers.summary, "GET", f"/v1/jobs/{quote(identifier, safe='')}/summary")

    def problems(self, job: Job | str) -> list[Problem]:
        """The rows of a finished job's file that have no prediction, and why."""
        identifier = job if isinstance(job, str) else job.id
        path = f"/v1/jobs/{quote(identifier, safe='')}/problems"
        return self._json(answers.problems, "GET", path, read=answers.lines)

    def cancel(self, job: Job | str) -> Job:
        """Stop a job, and remove it with all its files."""
        identifier = job if isinstance(job, str) else job.id
        return self._json(answers.job, "DELETE", f"/v1/jobs/{quote(identifier, safe='')}")

    def _json(
        self,
        made: Callable[[Any], Made],
        method: str,
        path: str,
        content: object = None,
        read: Callable[[bytes], Any] = json.loads,
    ) -> Made:
        """What `made` makes of the answer to a request, which `read` reads. Raises ServerError."""
        body = None if content is None else json.dumps(content).encode()
        response = self._ask(method, path, body)
        try:
            return answers.answer(response, made, read)
        except ServerError:
            self.close()  # the rest of a broken answer would be taken for the next one
            raise

    def _ask(self, method: str, path: str, body: bytes | None = None) -> HTTPResponse:
        """Send a request, and again where that may help. Raises ServerError where it is refused or no answer comes."""
        kind = {} if body is None else {"Content-Type": "application/json"}
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            connection = self._connection()
            try:
                connection.request(method, self._base + path, body, {**self._headers, **kind})
                response = connection.getresponse()
            except (OSError, HTTPException) as error:
                self.close()
                if last or isinstance(error, TimeoutError):
                    raise ServerError(self._silent(error)) from error
                time.sleep(0.1 * 2**attempt)
                continue
            if response.status < 300:
                return response
            refused = answers.refusal(response)
            if not refused.code:
                self.close()  # its body may have broken off
            if response.status != 503 or refused.code in NOT_AGAIN or last:
                raise refused
            time.sleep(answers.pause(response))
        raise AssertionError("unreachable")

    def _silent(self, error: BaseException) -> str:
        """That no answer came, why, and what to look at."""
        host, port = self._address
        where = f"; is 'emodef serve' running at {host}{f':{port}' if port else ''}?"
        return f"no answer came: {why(error)}{where if isinstance(error, ConnectionRefusedError) else ''}"

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


def _checked(key: str) -> str:
    """A key as a header may have it. Raises SettingsError, which does not tell it."""
    key = key.strip()  # the end of a file's line
    if not key or not key.isascii() or not key.isprintable():
        raise SettingsError(
            "the API key is empty, or holds a character that cannot be sent, perhaps a long dash; copy it again"
        )
    return key


def _own(labels: object) -> dict[str, Any]:
    """Labels of one's own as JSON has them. Raises SettingsError for what is no mapping, such as the path of a label file."""
    if not isinstance(labels, Mapping):
        raise SettingsError(
            f"labels of your own are a mapping of names to definitions, not {labels!r:.60}; tomllib.load reads one from a label file"
        )
    return dict(labels)


def _listed(given: str | Iterable[str]) -> list[str]:
    """Texts or names as a list; one of them as a list of one, as `Predictor` takes it."""
    return [given] if isinstance(given, str) else list(given)
