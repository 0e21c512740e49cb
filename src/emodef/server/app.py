"""create_app: routes, errors, the guard before them, what is opened at the start and closed at the end. Imports FastAPI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Match

import emodef
from emodef.predictor import Predictor
from emodef.server import health, logs, predicting, streaming, uploads
from emodef.server.answers import Answers
from emodef.server.batching import Batcher
from emodef.server.bodies import add_bodies, place
from emodef.server.faults import Fault, status_code
from emodef.server.guard import Guard
from emodef.server.jobs import Store
from emodef.server.keeper import Keeper
from emodef.server.metrics import Metrics
from emodef.server.models import load_model
from emodef.server.settings import ServerSettings
from emodef.server.waiting import SlowLane

ABOUT = "Fine-grained emotions in English text. Errors have one shape: an error with a code, a message and, where one is meant, a field."


@dataclass
class State:
    """What a worker holds, from its start to its end."""

    settings: ServerSettings
    answers: Answers
    batcher: Batcher
    slow: SlowLane
    metrics: Metrics
    jobs: Store
    keeper: Keeper
    stopping: bool = False


def create_app(settings: ServerSettings, predictor: Predictor | None = None) -> FastAPI:
    """The application, as any ASGI server runs it. It loads its model when it is started, unless it is given one."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs = Store(settings.jobs_path, hours=settings.job_hours, most=settings.limits.jobs)
        jobs.prepare()
        answers = Answers(predictor or load_model(settings))
        limits = settings.limits

        def told(texts: int, requests: int, seconds: float) -> None:
            metrics.passed(texts, requests, seconds)
            metrics.waiting.set(batcher.waiting)

        batcher = Batcher(pass_texts=settings.pass_texts, queue_texts=limits.queue_texts, told=told)
        keeper = Keeper(settings, jobs)
        state = State(settings, answers, batcher, SlowLane(), metrics, jobs, keeper)
        app.state.emodef = state
        logs.event("ready", model=answers.model["name"], threads=answers.predictor.threads)
        try:
            yield
        finally:
            state.stopping = True
            await keeper.close()
            state.slow.close()
            await asyncio.to_thread(state.batcher.close)

    metrics = Metrics()
    app = FastAPI(
        title="emodef",
        version=emodef.__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    found: list[BaseRoute] = []
    for router in (predicting.router, streaming.router, uploads.router, health.router):
        app.include_router(router)
        found += router.routes
    if settings.page:
        from emodef.server.page import routes

        found += (pages := routes())
        app.router.routes.extend(pages)
    app.add_exception_handler(HTTPException, partial(_of_status, found))
    app.add_exception_handler(RequestValidationError, _of_parameters)
    paths = frozenset(path for route in found if "{" not in (path := getattr(route, "path", "{")))
    app.add_middleware(Guard, settings=settings, metrics=metrics, paths=paths)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.rstrip("/") for origin in settings.origins],  # as browsers send it
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            expose_headers=["Content-Disposition", "Retry-After", "X-Request-ID"],
            max_age=600,
        )
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        app.openapi_schema = add_bodies(made)
    return app.openapi_schema


async def _of_status(routes: Iterable[BaseRoute], request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:  # the first route of several with this path named only its own
        methods = set(headers.get("Allow", "").split(", ")) - {""}
        for route in routes:
            if route.matches(request.scope)[0] is not Match.NONE:
                methods |= getattr(route, "methods", None) or set()
        headers["Allow"] = ", ".join(sorted(methods))
    remedy = {404: "; /openapi.json lists what there is", 405: f": {request.method} is not for this address"}
    message = str(error.detail) + remedy.get(error.status_code, "")
    raise Fault(status_code(error.status_code), message, headers=headers)


async def _of_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    raise Fault("invalid", first["msg"], field=place(tuple(first["loc"][1:])))
