"""What comes from the server, read: answers, refusals, lines of a stream, when to come again. Imports client.types."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar

from emodef.client.types import (
    Explanation,
    Job,
    KnownLabel,
    Label,
    Prediction,
    Problem,
    ServerError,
    ServerLimits,
    Word,
)

Made = TypeVar("Made")
LONGEST_WAIT = 30.0  # seconds, whatever Retry-After says
# what reading JSON of another shape raises
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)


def why(error: BaseException) -> str:
    """What an error says; some timeouts say nothing."""
    return str(error) or type(error).__name__


def answer(
    response: HTTPResponse, made: Callable[[Any], Made], read: Callable[[bytes], Any] = json.loads
) -> Made:
    """What `made` makes of an answer's JSON, read by `read`. Raises ServerError where it breaks off, or is none of `emodef serve`."""
    try:
        body = response.read()
    except (OSError, HTTPException) as error:
        raise ServerError(f"the answer broke off: {why(error)}", status=response.status) from error
    try:
        return made(read(body))
    except _UNREADABLE as error:
        kind = response.headers.get("Content-Type", "of no type")
        message = f"what answered ({response.status}, {kind}) is no `emodef serve`, or another version: {body[:80]!r}"
        raise ServerError(message, status=response.status) from error


def refusal(response: HTTPResponse) -> ServerError:
    """Why a request was refused; without a code where that cannot be read."""
    try:
        return _error(json.loads(response.read())["error"], response.status)
    except (OSError, HTTPException, *_UNREADABLE):
        return ServerError(f"the server answered {response.status} {response.reason}", status=response.status)


def streamed(line: bytes) -> Prediction | ServerError:
    """A line of a stream: what became of a text. Raises ServerError where it is about the stream: that ends with it."""
    try:
        found = json.loads(line)
        if "error" not in found:
            return prediction(found)
        error = _error(found["error"])
    except _UNREADABLE as cause:
        raise ServerError(f"the stream broke off: this is no answer to a text: {line[:80]!r}") from cause
    if not str(error.field).startswith("line "):
        raise error
    return error


def pause(response: HTTPResponse) -> float:
    """Seconds until a refused request may come again: Retry-After, which is seconds or a date; 1 where it is neither."""
    said = response.headers.get("Retry-After", "")
    try:
        seconds = (
            float(said) if said.strip().isdecimal() else parsedate_to_datetime(said).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        seconds = 1.0
    return min(LONGEST_WAIT, max(0.0, seconds))


def known_labels(found: Any) -> tuple[KnownLabel, ...]:
    """Of /v1/labels."""
    return tuple(_fields_of(KnownLabel, one) for one in found["labels"])


def limits(found: Any) -> ServerLimits:
    """Of /v1/limits."""
    return _fields_of(ServerLimits, found)


def predictions(found: Any) -> list[Prediction]:
    """Of /v1/predict and /v1/score."""
    return [prediction(one) for one in found["predictions"]]


def prediction(found: Any) -> Prediction:
    """Of one text."""
    return Prediction(_labels(found), found.get("scores") or {}, found["tokens"], found["windows"])


def explanation(found: Any) -> Explanation:
    """Of /v1/explain."""
    shifts = found["shifts"]
    words = (
        Word(**word, shifts={name: values[k] for name, values in shifts.items()})
        for k, word in enumerate(found["words"])
    )
    return Explanation(_labels(found), tuple(words), found["together"])


def job(found: Any) -> Job:
    """Of /v1/jobs."""
    return _fields_of(Job, found)


def summary(found: Any) -> dict[str, Any]:
    """Of /v1/jobs/ID/summary."""
    return {**found}  # raises TypeError for what is no object


def lines(body: bytes) -> list[Any]:
    """JSON, a line each."""
    return [json.loads(line) for line in body.splitlines()]


def problems(found: Any) -> list[Problem]:
    """Of /v1/jobs/ID/problems."""
    return [_fields_of(Problem, one) for one in found]


def _labels(found: Mapping[str, Any]) -> tuple[Label, ...]:
    return tuple(Label(one["name"], one["probability"]) for one in found["labels"])


def _error(found: Mapping[str, Any], status: int = 0) -> ServerError:
    return ServerError(found["message"], status=status, code=found["code"], field=found.get("field"))


def _fields_of(kind: type[Made], found: Mapping[str, Any]) -> Made:
    """A dataclass of an answer's fields; those that a newer server adds are passed over."""
    return kind(**{one.name: found[one.name] for one in fields(kind)})  # type: ignore[arg-type]
