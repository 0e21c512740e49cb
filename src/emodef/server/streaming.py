"""/v1/predict/stream: lists of any length, a JSON line a text, in and out. Imports FastAPI.

A line is read when there is room for it: of a stream, two chunks are held, one that is predicted and one that is gathered. So
a stream never gets "busy" once it has begun; it gets slower. Answers come while lines are still being sent, and a client has
to read them meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from emodef.server import schemas
from emodef.server.answers import check_size, told
from emodef.server.bodies import known_options, responses
from emodef.server.faults import Fault
from emodef.server.predicting import threshold_of
from emodef.server.waiting import Streamed, aside, facts_of, state_of

if TYPE_CHECKING:
    from emodef.server.answers import Answers, Asked
    from emodef.server.app import State

CHUNK = 64  # lines that are predicted together
AGAIN = 0.2  # seconds until a full queue is tried again
KINDS = ("application/x-ndjson", "application/jsonl", "application/json-lines")
LINES = KINDS[0]
router = APIRouter(prefix="/v1", tags=["prediction"])
_LINE: TypeAdapter[str | schemas.Line] = TypeAdapter(str | schemas.Line)
_INPUT = {"requestBody": {"required": True, "content": {LINES: {"schema": {"type": "string"}}}}}


class Sized(NamedTuple):
    """A line's text, and its length as the model reads it."""

    text: str
    size: int


@router.post(
    "/predict/stream",
    dependencies=[Depends(known_options)],
    responses={
        **responses(schemas.StreamedPrediction, 415, 422),
        200: {
            "description": "A prediction a line, in the order of the lines; in place of one that cannot be predicted, an error",
            "content": {LINES: {"schema": {"type": "string"}}},
        },
    },
    response_class=Response,
    openapi_extra=_INPUT,
)
async def stream(
    request: Request,
    threshold: Annotated[str | None, Query(description="tuned, fixed, or a number", max_length=40)] = None,
    level: Annotated[str | None, Query(max_length=200)] = None,
    top_k: Annotated[int | None, Query(ge=1, le=10_000)] = None,
    at_least_one: bool = False,
    all_scores: bool = False,
    calibrated: bool = False,
) -> Response:
    """The emotions of many texts: a line a text, a JSON string or {"text": "…"}; a line each comes back, but for blank ones at the end."""
    state = state_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise Fault(
            "unsupported_type",
            f"the content type is {kind[:80]!r}; send lines of JSON, with Content-Type: {LINES}",
        )
    how = state.answers.asked(
        threshold=threshold_of(threshold), at_least_one=at_least_one, level=level, calibrated=calibrated
    )
    if state.batcher.full:
        raise Fault("busy", "too many texts are waiting already", retry_after=state.batcher.wait)
    facts = facts_of(request)
    facts.update(texts=0, characters=0)
    return Streamed(_answers(request, state, how, top_k, all_scores), LINES)


async def _answers(
    request: Request, state: State, how: Asked, top_k: int | None, all_scores: bool
) -> AsyncGenerator[bytes]:
    """Chunks of lines out, each as soon as it is predicted; meanwhile the next is read."""
    facts = facts_of(request)
    begun: asyncio.Queue[asyncio.Task[list[Any]] | Exception | None] = asyncio.Queue(1)
    reader = asyncio.create_task(_read(request, state, how, begun))
    task: asyncio.Task[list[Any]] | None = None
    try:
        while (found := await begun.get()) is not None:
            if isinstance(found, Exception):
                raise found
            task = found
            yield _lines(await task, top_k, all_scores)
    except Fault as fault:  # the answer has begun: it can only end with what is wrong
        facts["ended"] = fault.code
        yield fault.body() + b"\n"
    finally:
        reader.cancel()
        while task is not None:
            task.cancel()
            waiting = None if begun.empty() else begun.get_nowait()
            task = waiting if isinstance(waiting, asyncio.Task) else None


async def _read(
    request: Request,
    state: State,
    how: Asked,
    begun: asyncio.Queue[asyncio.Task[list[Any]] | Exception | None],
) -> None:
    """Begin a chunk after the other; what ends the reading, too, is put behind them."""
    facts = facts_of(request)
    try:
        async for chunk in _chunks(request, state):
            lines = [line for line in chunk if isinstance(line, Sized)]
            facts["texts"] += len(lines)
            facts["characters"] += sum(len(line.text) for line in lines)
            await begun.put(asyncio.create_task(_predict(state, chunk, how)))
    except Exception as error:  # whatever it is, or the answers would be waited for for ever
        await begun.put(error)
    await begun.put(None)


async def _chunks(request: Request, state: State) -> AsyncIterator[list[Sized | Fault]]:
    """Lines, some at a time: as many as have come, at most CHUNK."""
    chunk: list[Sized | Fault] = []
    async for line in _come(request, state):
        if line is not None:
            chunk.append(line)
        if chunk and (line is None or len(chunk) == CHUNK):
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _come(request: Request, state: State) -> AsyncIterator[Sized | Fault | None]:
    """Lines as they come; None where the next is yet to come. Blank ones are told of when another follows: at the end they are none."""
    longest = state.settings.limits.text_characters
    answered = 0  # the last line that was told
    # in bytes of a line every character may be an escape
    async for number, line in _numbered(request.stream(), 6 * longest + 100):
        if number is None:
            yield None
        elif line is None or line.strip():
            for blank in range(answered + 1, number):
                yield _blank(blank)
            answered = number
            if line is None:
                yield _too_long(number, longest)
            else:
                yield await _read_line(line, number, longest, state.answers)


async def _numbered(
    pieces: AsyncIterable[bytes], most: int
) -> AsyncIterator[tuple[int | None, bytes | None]]:
    """(its number, a line); instead of a line None, once, where it has more than `most` bytes; (None, None) after each piece."""
    rest, number, skipping = b"", 0, False
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            number += 1
            if not skipping:
                yield number, line
            skipping = False
        if len(rest) > most:  # its end is waited for, the rest of it thrown away
            if not skipping:
                yield number + 1, None
            rest, skipping = b"", True
        yield None, None
    if not skipping:
        yield number + 1, rest


async def _predict(state: State, chunk: list[Sized | Fault], how: Asked) -> list[Any]:
    """What becomes of each line: a prediction, or what is wrong with it."""
    lines = [line for line in chunk if isinstance(line, Sized)]
    texts, sizes = [line.text for line in lines], [line.size for line in lines]
    while True:
        try:
            found = iter(await state.batcher.submit(texts, how, sizes))
            break
        except Fault as fault:
            if fault.code != "busy":
                raise
            await asyncio.sleep(AGAIN)
    return [next(found) if isinstance(line, Sized) else line for line in chunk]


def _lines(found: list[Any], top_k: int | None, all_scores: bool) -> bytes:
    rows = [one.to_dict() if isinstance(one, Fault) else told(one, top_k, all_scores) for one in found]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "replace")


async def _read_line(line: bytes, number: int, longest: int, answers: Answers) -> Sized | Fault:
    return await aside(len(line), partial(_text, line, f"line {number}", longest, answers))


def _text(line: bytes, field: str, longest: int, answers: Answers) -> Sized | Fault:
    try:
        found = _LINE.validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            return Fault("bad_request", f"not a line of JSON: {first['msg']}", field=field)
        return Fault("invalid", 'a line is a JSON string, or an object with "text"', field=field)
    text = found if isinstance(found, str) else found.text
    try:
        return Sized(text, check_size(text, longest, field, answers.length))
    except Fault as fault:
        return fault


def _blank(number: int) -> Fault:
    return Fault("bad_request", "not a line of JSON: it is blank", field=f"line {number}")


def _too_long(number: int, longest: int) -> Fault:
    return Fault(
        "text_too_long", f"a text may have {longest} characters: cut it into parts", field=f"line {number}"
    )
