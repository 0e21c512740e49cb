"""The page at `/`: its files, the policy it runs under, and how browsers may keep it. Standard library, and starlette for `routes`.

The page is written by hand and loads nothing from elsewhere. Its charts are those of `emodef report`: one script, served as a module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import PurePosixPath
from string import Template
from typing import TYPE_CHECKING, NamedTuple

import emodef
from emodef.reporting.page.html import CHARTS, STYLES, asset

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

OWN = "emodef.server.page"
ASSETS = "/assets/"
FILES = (
    "theme.js",
    "app.js",
    "api.js",
    "reader.js",
    "feels.js",
    "look.js",
    "own.js",
    "toml.js",
    "file.js",
    "rows.js",
    "style.css",
    "presets.json",
    "icon.svg",
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
# nothing inline, nothing from elsewhere, in no other page's frame; and no text can be made into HTML or a script at all
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # kept, but asked after each time: a new release's page is never mixed with an old one's
    "Cache-Control": "no-cache",
}


class Answer(NamedTuple):
    """What is answered: a status, headers, a body."""

    status: int
    headers: dict[str, str]
    body: bytes


@cache
def pages() -> Mapping[str, tuple[str, bytes, str]]:
    """Path -> media type, content and ETag, of all that there is; made once."""
    texts = {ASSETS + name: asset([name], OWN) for name in FILES}
    texts["/"] = Template(asset(["index.html"], OWN)).substitute(
        charts=asset(["charts.html"]), version=escape(emodef.__version__)
    )
    texts[ASSETS + "report.css"] = asset(STYLES)
    texts[ASSETS + "charts.js"] = "\n".join((asset(CHARTS), asset(["charts_end.js"], OWN)))
    found = {}
    for path, text in texts.items():
        content = text.encode()
        tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        found[path] = TYPES[PurePosixPath(path).suffix or ".html"], content, tag
    return found


def answer(path: str, if_none_match: str | None = None) -> Answer | None:
    """What a GET of `path` gets; 304 where the browser has it already. None: nothing of the page is there."""
    found = pages().get(path)
    if found is None:
        return None
    kind, content, tag = found
    headers = {**HEADERS, "ETag": tag}
    held = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    if tag in held or held == ["*"]:
        return Answer(304, headers, b"")
    return Answer(200, {**headers, "Content-Type": kind}, content)


def routes() -> list[BaseRoute]:
    """For a Starlette or FastAPI application, one for each file: no path a client names is ever looked up on disk."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def serve(request: Request) -> Response:
        found = answer(request.url.path, request.headers.get("if-none-match"))
        assert found is not None  # routes are made of what there is
        return Response(found.body, found.status, found.headers)

    return [Route(path, serve, methods=["GET"], include_in_schema=False) for path in pages()]
