"""/v1/jobs: files to predict, how far they are, what came of them. Imports FastAPI.

Of a file's name only its ending is looked at, and it is told back to who sent it; no path is ever made of what a client says.
Compressed files are not taken, nor Parquet, which is compressed inside.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from emodef.errors import DataError, EmodefError
from emodef.server import schemas
from emodef.server.bodies import fault_of as fault_of_fields
from emodef.server.bodies import responses
from emodef.server.faults import Fault, Gone
from emodef.server.jobs import KINDS, Kept, Order, no_room
from emodef.server.predicting import as_tables, own, threshold_of
from emodef.server.waiting import Streamed, answered, as_json, facts_of, state_of

if TYPE_CHECKING:
    from emodef.predictor import Predictor
    from emodef.server.app import State

FIELDS = 16
FIELD_BYTES = 2**16
PIECE = 2**18
LINE_BYTES = 2**20  # of a JSON line that is taken apart here, where it keeps requests waiting
TYPES = {"csv": "text/csv; charset=utf-8", "tsv": "text/tab-separated-values; charset=utf-8"}
LINES = "application/x-ndjson"
router = APIRouter(prefix="/v1/jobs", tags=["files"])
_OWN = TypeAdapter(schemas.OwnLabels)
Identifier = Annotated[str, InPath(alias="id", description="As the job's creation told it", max_length=64)]


@router.post(
    "",
    status_code=202,
    responses=responses(schemas.Job, 400, 413, 415, 422, 429, status=202),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": schemas.FileRequest.model_json_schema()}},
        }
    },
)
async def create(request: Request) -> Response:
    """Predict a file; the answer comes at once, and tells where to look how far it is."""
    state = state_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Fault(
            "unsupported_type",
            f"the content type is {kind[:80]!r}; send a form, as in curl -F file=@comments.csv",
        )
    length = request.headers.get("content-length", "")
    await run_in_threadpool(state.jobs.check_room, int(length) if length.isdecimal() else 0)
    try:
        return await _create(request, state)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise no_room() from None


@asynccontextmanager
async def _form(request: Request, state: State) -> AsyncGenerator[FormData]:
    # own labels may have as many as in JSON
    field_bytes = max(FIELD_BYTES, state.settings.limits.body_bytes)
    try:
        form = await request.form(max_files=1, max_fields=FIELDS, max_part_size=field_bytes)
    except UnicodeError:
        raise Fault("bad_request", "the form's charset is not known; leave it out, or say utf-8") from None
    try:
        yield form
    finally:
        await form.close()


async def _create(request: Request, state: State) -> Response:
    async with _form(request, state) as form:
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise Fault("invalid", "there is no file; send one in the field file", field="file")
        fields = {name: value for name, value in form.multi_items() if name != "file"}
        asked = _checked(fields)
        name, kind = _kind(upload.filename or "", asked.format)
        labels = _labels(asked.labels)
        predictor = None if labels is None else await answered(request, own(state, labels, False))
        state.answers.asked(
            threshold=asked.threshold,
            at_least_one=asked.at_least_one,
            level=asked.level,
            calibrated=asked.calibrated,
            predictor=predictor,
        )
        size = upload.size or 0
        facts_of(request).update(file_bytes=size)
        order = {
            "file": name,
            "kind": kind,
            "output": asked.output or ("csv" if kind == "txt" else kind),
            "bytes": size,
            "column": None if kind == "txt" else asked.column,
            "time_column": asked.time_column,
            "options": {
                **asked.model_dump(
                    include={"threshold", "at_least_one", "level", "calibrated", "form", "on_error", "prefix"}
                ),
                "most_characters": state.settings.limits.file_text_characters,
            },
            "labels": None if labels is None else as_tables(labels),
            "owner": facts_of(request).get("client_key"),
        }
        kept = await run_in_threadpool(_keep, state, upload.file, order, predictor or state.answers.predictor)
    if await request.is_disconnected():  # nobody will ever ask for it
        await run_in_threadpool(state.jobs.cancel, kept)
        raise Gone
    state.keeper.wake()
    return as_json(kept.to_dict(), 202)


@router.get("/{id}", responses=responses(schemas.Job, 404, 422))
def look(request: Request, identifier: Identifier) -> Response:
    """How far a job is."""
    return as_json(_job(request, identifier).to_dict())


@router.delete("/{id}", responses=responses(schemas.Job, 404, 422))
def cancel(request: Request, identifier: Identifier) -> Response:
    """Stop a job where it is, and remove it with all its files."""
    kept = _job(request, identifier)
    told = kept.to_dict()
    state_of(request).jobs.cancel(kept)
    return as_json(told if told["state"] in ("finished", "failed") else {**told, "state": "cancelled"})


@router.get(
    "/{id}/result",
    responses={
        **responses(schemas.Job, 404, 409, 422),
        200: {
            "description": "The file with its predictions",
            "content": {kind.partition(";")[0]: {} for kind in (*TYPES.values(), LINES)},
        },
    },
    response_class=Response,
)
def result(request: Request, identifier: Identifier) -> Response:
    """The file with its predictions."""
    kept = _finished(request, identifier)
    return _sent(kept, kept.result, "." + kept.order.output, TYPES.get(kept.order.output, LINES))


@router.get(
    "/{id}/problems",
    responses={
        **responses(schemas.Job, 404, 409, 422),
        200: {
            "description": "A line of JSON for each such row, in the file's order: the line it begins on (row), why (reason), "
            "whether it is in the result (kept), and the row as it stands in the file (raw) where it stands nowhere else",
            "content": {LINES: {"schema": {"type": "string"}}},
        },
    },
    response_class=Response,
)
def problems(request: Request, identifier: Identifier) -> Response:
    """The rows without a prediction, and why; empty where there are none."""
    from emodef.files.folder import problems_path

    kept = _finished(request, identifier)
    if not kept.to_dict()["problems"]:  # then there is no such file
        return Response(b"", media_type=LINES)
    return _sent(kept, problems_path(kept.result), f".{kept.order.output}.problems.jsonl", LINES)


@router.get("/{id}/summary", responses=responses(schemas.FileSummary, 404, 409, 422))
def summary(request: Request, identifier: Identifier) -> Response:
    """What charts of it need: shares of the labels, those that come together, change over time, strongest examples."""
    kept = _finished(request, identifier)
    try:
        return Response(kept.summary.read_bytes(), media_type="application/json")
    except FileNotFoundError:
        raise Fault("not_found", "the job has just been removed") from None


def _sent(kept: Kept, path: Path, suffix: str, kind: str) -> Response:
    """One of a job's files, under a name made of the upload's."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise Fault("not_found", "the job has just been removed") from None
    name = PurePosixPath(kept.order.file).stem + "-emotions" + suffix
    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
    }
    return Streamed(_pieces(file), kind, headers)


def _job(request: Request, identifier: str) -> Kept:
    return state_of(request).jobs.get(identifier, facts_of(request).get("client_key"))


def _finished(request: Request, identifier: str) -> Kept:
    kept = _job(request, identifier)
    told = kept.to_dict()
    if told["state"] == "failed":
        raise Fault("not_finished", f"the job failed: {told['error']}")
    if told["state"] != "finished":
        raise Fault("not_finished", f"the job is {told['state']}; ask for it until it is finished")
    return kept


def _checked(fields: dict[str, Any]) -> schemas.JobRequest:
    given = {name: value for name, value in fields.items() if value != ""}
    for name, value in given.items():
        if not isinstance(value, str):
            raise Fault("invalid", "a file where a field is expected", field=name[:100])
    if "threshold" in given:
        given["threshold"] = threshold_of(given["threshold"])
    try:
        return schemas.JobRequest.model_validate(given)
    except ValidationError as error:
        raise fault_of_fields(error, schemas.JobRequest.model_fields) from None


def _kind(filename: str, given: str | None) -> tuple[str, str]:
    """A file's name as it may be told back, and what kind of file it is."""
    plain = PurePosixPath(filename.replace("\\", "/")).name
    name = "".join(c for c in plain if c.isprintable()).encode("utf-8", "replace").decode()[-120:] or "file"
    kind = given or KINDS.get(PurePosixPath(name).suffix.lower())
    if kind is None:
        raise Fault(
            "unsupported_type",
            f"{name!r}: files are taken as .csv, .tsv, .jsonl or .txt, not compressed; convert it, or say what it is in the "
            "field format",
            field="file",
        )
    return name, kind


def _labels(given: str | None) -> schemas.OwnLabels | None:
    if given is None:
        return None
    try:
        found = _OWN.validate_json(given, strict=True)
    except ValidationError as error:
        fault = fault_of_fields(error)
        raise Fault("invalid", fault.message, field="labels") from None
    if not found:
        raise Fault("invalid", "there is no label in it; leave the field out, or give one", field="labels")
    return found


def _keep(state: State, file: IO[bytes], order: dict[str, Any], predictor: Predictor) -> Kept:
    """Put an upload by and look at its head: what is wrong with it as a whole is told now, not when the job runs."""
    from emodef.server.runner import in_a_form

    state.jobs.check_room(order["bytes"])
    with state.jobs.upload() as (identifier, folder):
        kept = Kept(folder, Order(id=identifier, created=time.time(), **order))
        with open(kept.input, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as target:
            file.seek(0)
            shutil.copyfileobj(file, target, PIECE)
            target.flush()
            os.fsync(target.fileno())
        try:
            check(kept, predictor)
        except EmodefError as error:
            raise Fault("invalid", in_a_form(str(error), kept), field="file") from None
        return state.jobs.add(folder, kept.order)


def check(kept: Kept, predictor: Predictor) -> None:
    """Raise EmodefError where the file has no such column, or a column where predictions go, and so on.

    Of JSON with very long lines nothing is looked at: the process that predicts it does, and the job tells.
    """
    from emodef.files.job import names_of
    from emodef.files.predictions import Options, Plan
    from emodef.files.sources import open_source

    if kept.order.kind == "jsonl" and _has_long_lines(kept.input):
        return
    options = Options(**kept.order.options)
    source = open_source(str(kept.input), kept.order.column, kept.order.kind)
    times, columns = kept.order.time_column, source.table.columns
    further_on = kept.order.kind == "jsonl"  # objects may have keys that the first lacks
    if times is not None and times not in columns and not further_on:
        held = ", ".join(map(repr, columns))[:500]
        raise DataError(f"has no column {times!r} for times (--time-column), it has: {held}", kept.input)
    Plan(source.table, kept.order.output, options, names_of(predictor, options))


def _has_long_lines(path: Path) -> bool:
    """Whether one of the lines that a file's keys are looked for in is very long."""
    from emodef.corpora.tables import KEYS_OF

    with open(path, "rb") as file:
        return any(len(file.readline(LINE_BYTES + 1)) > LINE_BYTES for _ in range(KEYS_OF))


async def _pieces(file: IO[bytes]) -> AsyncGenerator[bytes]:
    try:
        while piece := await run_in_threadpool(file.read, PIECE):
            yield piece
    finally:
        file.close()
