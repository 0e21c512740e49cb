"""Bodies: read straight from JSON into their types, and described in the OpenAPI document. Imports pydantic, FastAPI.

Parsed by pydantic's own parser rather than Python's: it is quicker, bounds the depth, and refuses half of a surrogate pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from emodef.server.faults import CODES, Fault
from emodef.server.schemas import ErrorBody, Own

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Body = TypeVar("Body", bound=BaseModel)
COMMON = (401, 403, 408, 503)
_REFERENCE = "#/components/schemas/{model}"
# how pydantic tells the kinds of a field apart in its places
_KINDS = frozenset(
    {"str", "bool", "Own", "Line", "constrained-float", "list[str]", "literal['tuned','fixed']", "[key]"}
)
_TOLD = 1000  # faults that are looked at: each takes time, and so many more are not one slip
described: dict[str, type[BaseModel]] = {}  # bodies that FastAPI does not know of


async def read(request: Request, kind: type[Body]) -> Body:
    """The request's body. Raises Fault: not JSON, another type, a field that does not fit."""
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise Fault(
            "unsupported_type",
            f"the content type is {given[:80]!r}; send JSON, with the header Content-Type: application/json",
        )
    body = await request.body()
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise fault_of(error, kind.model_fields) from None


def fault_of(error: ValidationError, known: Iterable[str] = ()) -> Fault:
    """The first thing that is wrong; of a field that may be one of several kinds, what is wrong with the one that fits best.

    known: the names that fields at the top may have, for who misspelt one.
    """
    if error.error_count() > _TOLD:
        return Fault(
            "invalid", f"{error.error_count():,} things in it do not fit. /openapi.json says what does"
        )
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Fault("bad_request", f"the body is not JSON as it should be: {found[0]['msg']}")
    places = [tuple(part for part in one["loc"] if part not in _KINDS) for one in found]
    of_first = [k for k, its in enumerate(places) if its[:1] == places[0][:1]]
    deepest = max((places[k] for k in of_first), key=len)
    told = dict.fromkeys(_said(found[k], known) for k in of_first if places[k] == deepest)
    return Fault("invalid", f"{'; or: '.join(told)}. /openapi.json says what fits", field=place(deepest))


def _said(error: ErrorDetails, known: Iterable[str]) -> str:
    if error["type"] != "extra_forbidden":
        return error["msg"]
    *within, name = error["loc"]
    names = list(Own.model_fields if within[-1:] == [Own.__name__] else known)
    near = get_close_matches(str(name), names, n=1)
    return (
        f"there is no such field; did you mean {near[0]!r}?"
        if near
        else f"there is no such field; there are: {', '.join(names)}"
    )


def known_options(request: Request) -> None:
    """Of an address that takes options in its query. Raises Fault for one it has not."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            raise Fault(
                "invalid", f"there is no such option; there are: {', '.join(known)}", field=name[:200]
            )


def place(location: tuple[int | str, ...]) -> str | None:
    """Where in a body: texts[3], labels.awe, labels["in awe"]."""
    found = ""
    for part in location:
        if isinstance(part, int):
            found += f"[{part}]"
        elif part.isidentifier():
            found += f".{part}" if found else part
        else:
            found += f"[{json.dumps(part, ensure_ascii=False)}]"
    return found[:200] or None


def responses(kind: type[BaseModel], *errors: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """What an address answers, for the OpenAPI document."""
    found: dict[int | str, dict[str, Any]] = {status: {"model": kind}}
    for code in sorted({*errors, *COMMON}):
        told = "; ".join(f"`{name}`: {what}" for name, (its, what) in CODES.items() if its == code)
        found[code] = {"model": ErrorBody, "description": told}
        if code == 503:
            found[code]["headers"] = {
                "Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}
            }
    return found


def body_of(kind: type[BaseModel]) -> dict[str, Any]:
    """The body an address takes, for the OpenAPI document."""
    described[kind.__name__] = kind
    reference = {"$ref": _REFERENCE.format(model=kind.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference}}}}


def add_bodies(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the bodies that `body_of` named."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, kind in described.items():
        schema = kind.model_json_schema(ref_template=_REFERENCE)
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    return document
