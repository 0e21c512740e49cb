"""/health, /ready, /metrics: for those who look after a server. Imports FastAPI."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from emodef.server import schemas
from emodef.server.bodies import responses
from emodef.server.faults import Fault
from emodef.server.waiting import as_json, state_of

router = APIRouter(tags=["health"])


@router.head("/health", include_in_schema=False)  # as some that look after servers ask
@router.get("/health", responses=responses(schemas.Health))
async def health() -> Response:
    """Whether the process answers; start it anew if it does not."""
    return as_json({"status": "ok"})


@router.head("/ready", include_in_schema=False)
@router.get("/ready", responses=responses(schemas.Health))
async def ready(request: Request) -> Response:
    """Whether requests should be sent here: the model is loaded, and not too much is waiting for it."""
    state = state_of(request)
    if state.stopping or state.batcher.full:
        raise Fault("not_ready", "too much is waiting, or the server is shutting down", retry_after=1)
    return as_json({"status": "ok"})


@router.get(
    "/metrics",
    responses={
        **responses(schemas.Health),
        200: {"content": {"text/plain": {}}, "description": "For Prometheus"},
    },
    response_class=Response,
)
def metrics(request: Request) -> Response:
    """Counts, in Prometheus's text format; of all workers."""
    state = state_of(request)
    content, kind = state.metrics.page(state.jobs.counts())
    return Response(content, media_type=kind)
