"""create_app: routes, errors, the guard before them, what is opened at the start and closed at the end. Imports FastAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.exceptions import HTTPException

import emodef
from emodef.predictor import Predictor
from emodef.server import predicting
from emodef.server.answers import Answers
from emodef.server.batching import Batcher
from emodef.server.bodies import add_bodies, place
from emodef.server.faults import Fault, status_code
from emodef.server.models import load_model
from emodef.server.predicting import SlowLane
from emodef.server.settings import ServerSettings

ABOUT = "Fine-grained emotions in English text. Errors have one shape: an error with a code, a message and, where one is meant, a field."


@dataclass
class State:
    """What a worker holds, from its start to its end."""

    settings: ServerSettings
    answers: Answers
    batcher: Batcher
    slow: SlowLane


def create_app(settings: ServerSettings, *, load: Callable[[], Predictor] | None = None) -> FastAPI:
    """The application; it loads its model when it is started. load: how, for those who have one already."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        predictor = (load or (lambda: load_model(settings)))()
        limits = settings.limits
        batcher = Batcher(pass_texts=settings.pass_texts, queue_texts=limits.queue_texts)
        state = app.state.emodef = State(settings, Answers(predictor), batcher, SlowLane())
        try:
            yield
        finally:
            state.slow.close()
            state.batcher.close()

    app = FastAPI(
        title="emodef",
        version=emodef.__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    app.include_router(predicting.router)
    if settings.page and getattr(find_spec("emodef.server.page"), "origin", None):
        from emodef.server.page import add_page

        add_page(app)
    app.add_exception_handler(Fault, _told)
    app.add_exception_handler(HTTPException, _of_status)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(Exception, _unexpected)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        app.openapi_schema = add_bodies(made)
    return app.openapi_schema


async def _told(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, Fault)
    return Response(
        fault.body(), status_code=fault.status, headers=fault.headers, media_type="application/json"
    )


async def _of_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    remedy = {404: "; /openapi.json lists what there is", 405: f": {request.method} is not for this address"}
    fault = Fault(status_code(error.status_code), str(error.detail) + remedy.get(error.status_code, ""))
    response = await _told(request, fault)
    response.headers.update(error.headers or {})
    return response


async def _of_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return await _told(request, Fault("invalid", first["msg"], field=place(tuple(first["loc"][1:]))))


async def _unexpected(request: Request, error: Exception) -> Response:
    return await _told(
        request, Fault("internal", "a fault of this server; its log has more under this request's id")
    )
