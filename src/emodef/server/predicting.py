"""/v1/predict, /v1/score, /v1/explain, /v1/labels and /v1/limits. Imports FastAPI."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from emodef.server import schemas
from emodef.server.answers import check_sizes, told
from emodef.server.bodies import body_of, known_options, read, responses
from emodef.server.faults import Fault
from emodef.server.waiting import answered, as_json, aside, dumped, facts_of, state_of

if TYPE_CHECKING:
    from emodef.predictor import Predictor
    from emodef.server.app import State

A_SCORE = 30  # characters of a label and its probability, about
router = APIRouter(prefix="/v1", tags=["prediction"])


@router.get("/labels", dependencies=[Depends(known_options)], responses=responses(schemas.Labels, 422))
async def labels(
    request: Request,
    level: Annotated[str | None, Query(max_length=200, description="A coarser label set")] = None,
) -> Response:
    """The labels that are predicted, with their definitions."""
    return as_json(state_of(request).answers.labels(level))


@router.get("/limits", dependencies=[Depends(known_options)], responses=responses(schemas.Limits, 422))
async def limits(request: Request) -> Response:
    """How much a request or a file may hold here."""
    set_here = state_of(request).settings.limits
    return as_json({name: getattr(set_here, name) for name in schemas.Limits.model_fields})


@router.post(
    "/predict",
    responses=responses(schemas.Predictions, 400, 413, 415, 422),
    openapi_extra=body_of(schemas.PredictRequest),
)
async def predict(request: Request) -> Response:
    """The emotions of texts."""
    state = state_of(request)
    asked = await read(request, schemas.PredictRequest)
    sizes = await admit(request, asked.texts)
    how = state.answers.asked(
        threshold=asked.threshold,
        at_least_one=asked.at_least_one,
        level=asked.level,
        calibrated=asked.calibrated,
    )
    return await predicted(request, asked, state.batcher.submit(asked.texts, how, sizes))


@router.post(
    "/score",
    responses=responses(schemas.Predictions, 400, 413, 415, 422),
    openapi_extra=body_of(schemas.ScoreRequest),
)
async def score(request: Request) -> Response:
    """Texts against labels of your own, each told by a definition."""
    state = state_of(request)
    asked = await read(request, schemas.ScoreRequest)
    sizes = await admit(request, asked.texts)

    async def found() -> list[Any]:
        predictor = await own(state, asked.labels, asked.known)
        how = state.answers.asked(
            threshold=asked.threshold, at_least_one=asked.at_least_one, predictor=predictor
        )
        return await state.batcher.submit(asked.texts, how, sizes)

    return await predicted(request, asked, found())


@router.post(
    "/explain",
    responses=responses(schemas.Explanation, 400, 413, 415, 422),
    openapi_extra=body_of(schemas.ExplainRequest),
)
async def explain(request: Request) -> Response:
    """Which words of a text carry its emotions."""
    state = state_of(request)
    asked = await read(request, schemas.ExplainRequest)
    if asked.known and asked.own is None:
        raise Fault(
            "invalid", 'it adds to labels in "own"; name the model\'s own labels in "labels"', field="known"
        )
    check_sizes([asked.text], 1, state.settings.limits.explain_characters, "text", state.answers.length)
    note(request, [asked.text])

    async def found() -> dict[str, Any]:
        predictor = None if asked.own is None else await own(state, asked.own, asked.known)
        state.answers.asked(threshold=asked.threshold, level=asked.level, predictor=predictor)
        return await state.slow.run(
            lambda: state.answers.explain(asked.text, asked.labels, asked.level, asked.threshold, predictor)
        )

    return as_json(await answered(request, found()))


async def admit(request: Request, texts: Sequence[str]) -> list[int]:
    """The length of each text as it is read; note them for the log. Raises Fault for texts past a limit."""
    state = state_of(request)
    most, longest = state.settings.limits.texts, state.settings.limits.text_characters
    sizes = await aside(
        sum(map(len, texts)), lambda: check_sizes(texts, most, longest, length=state.answers.length)
    )
    note(request, texts)
    return sizes


async def predicted(
    request: Request,
    asked: schemas.PredictRequest | schemas.ScoreRequest,
    work: Coroutine[Any, Any, list[Any]],
) -> Response:
    """The answer to a request's texts, which `work` finds by way of the queue."""
    found = await answered(request, work)
    model = dumped(state_of(request).answers.model)

    def written() -> bytes:
        # one by one: whatever thread it is done in, a call of json's keeps all others waiting
        predictions = ",".join(dumped(told(one, asked.top_k, asked.all_scores)) for one in found)
        return f'{{"model":{model},"predictions":[{predictions}]}}'.encode()

    size = sum(len(one.names) for one in found) * A_SCORE
    return Response(await aside(size, written), media_type="application/json")


def note(request: Request, texts: Sequence[str]) -> None:
    """For the log: how many texts, of how many characters; the texts themselves only where they are asked for."""
    facts = facts_of(request)
    facts["texts"], facts["characters"] = len(texts), sum(map(len, texts))
    if state_of(request).settings.log_texts:
        facts["content"] = list(texts)


async def own(state: State, labels: Mapping[str, schemas.OwnLabel], known: bool | list[str]) -> Predictor:
    """A predictor over a client's own labels, within the limits."""
    tables = as_tables(labels)
    size = sum(len(text) for table in tables["labels"] for text in texts_of(table))
    await aside(size, lambda: check_own(state, tables["labels"]))
    return await state.slow.run(lambda: state.answers.own(tables, known))


def check_own(state: State, tables: Sequence[Mapping[str, Any]]) -> None:
    """Raise Fault for a client's own labels past a limit."""
    limits = state.settings.limits
    if len(tables) > limits.labels:
        raise Fault(
            "too_many_labels",
            f"{len(tables)} labels, and a request may have {limits.labels}",
            field="labels",
        )
    for table in tables:
        texts, field = texts_of(table), f"labels.{table['name']}"
        if len(texts) > limits.definitions:
            raise Fault(
                "too_many_labels",
                f"{len(texts)} definitions and examples, and a label may have {limits.definitions}",
                field=field,
            )
        check_sizes(texts, len(texts), limits.definition_characters, field, state.answers.length)


def texts_of(table: Mapping[str, Any]) -> list[str]:
    """What a model reads for a label of a client's own."""
    single = [table["definition"]] if "definition" in table else []
    return [*single, *table.get("definitions", ()), *table["examples"]]


def as_tables(labels: Mapping[str, schemas.OwnLabel]) -> dict[str, Any]:
    """A client's labels as `emodef.definitions` reads them: as tables, so that one may have any name, such as "exclusive"."""
    tables = []
    for name, label in labels.items():
        given = [label] if isinstance(label, str) else label
        one = schemas.Own(definitions=given) if isinstance(given, list) else given
        tables.append({"name": name, **one.model_dump(exclude_none=True)})
    return {"name": "own", "labels": tables}


def threshold_of(given: str | None) -> str | float | None:
    """A threshold as a form or an address has it: a text. Raises Fault."""
    if given is None or given in ("tuned", "fixed"):
        return given
    try:
        return float(given)
    except ValueError:
        raise Fault(
            "invalid", "give tuned, fixed, or a number from 0 to below 1", field="threshold"
        ) from None
