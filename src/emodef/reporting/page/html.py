"""The report as one HTML file that loads nothing: style, script and data are in it; other pages share its frame.

Imports atomic, content, render.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from string import Template
from typing import Any

import emodef
from emodef import atomic
from emodef.reporting.page.content import sound
from emodef.reporting.render import Column, Table, format_cell

STYLES = ("page.css", "charts.css")
CHARTS = (
    "core.js",
    "shares.js",
    "heat.js",
    "together.js",
    "timeline.js",
    "examples.js",
    "whole.js",
)  # and charts.html, their places
SCRIPTS = (*CHARTS, "start.js")
_DATA = (
    b'<script type="application/json" id="data">{"about":{'  # what every page has and no other is likely to
)


def render_page(
    content: Mapping[str, Any],
    *,
    title: str,
    facts: Sequence[str] = (),
    notes: Sequence[str] = (),
    made: datetime | None = None,
) -> str:
    """The page as text.

    content: what `page_content` gives. facts: said under the title, such as the file's name. notes: said at the end.
    made: the date it carries; by default now.
    """
    made = made or datetime.now().astimezone()
    return one_file(
        asset(["page.html"]),
        content,
        {
            "title": sound(title),
            "facts": [sound(fact) for fact in facts],
            "notes": [sound(note) for note in notes],
            "made": made.strftime("%Y-%m-%dT%H:%M"),
        },
        styles=asset(STYLES),
        script=asset(SCRIPTS),
        charts=asset(["charts.html"]),
        table=_plain_table(content),
    )


def one_file(
    body: str,
    content: Mapping[str, Any],
    about: Mapping[str, Any],
    *,
    styles: str,
    script: str,
    **places: str,
) -> str:
    """A page that loads nothing: `body` in the frame that all pages share, with style, script and `content` in it.

    about: what the script says of the page, its "title" among it. places: HTML for the places of `body`, which may have $title too.
    """
    # nothing may be loaded, sent or framed; only this very style and script may run
    policy = (
        f"default-src 'none'; style-src '{_digest(styles)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = html.escape(about["title"])
    return Template(asset(["frame.html"])).substitute(
        title=title,
        policy=policy,
        style=styles,
        script=script,
        body=Template(body).substitute(title=title, **places),
        data=_json_for_html({"about": {**about, "version": emodef.__version__}, **content}),
    )


def write_page(path: str | os.PathLike[str], content: Mapping[str, Any], **about: Any) -> None:
    """Write `render_page` to `path`, atomically."""
    atomic.write_text(path, render_page(content, **about))


def is_page(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a page that `one_file` made, of this version or an earlier one."""
    with open(path, "rb") as file:
        return any(_DATA in line for line in file)


def asset(names: Sequence[str], package: str = "emodef.reporting.page") -> str:
    """A page's own files of these names, one after the other."""
    folder = resources.files(package).joinpath("assets")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8").strip() for name in names)


def _digest(text: str) -> str:
    """As a content security policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json_for_html(value: Any) -> str:
    """JSON that no text can break out of: a data block ends at </script>, and <!-- changes how it is read."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain_table(content: Mapping[str, Any]) -> str:
    """The shares as an HTML table, for readers that run no script."""
    columns = (Column("label"), Column("texts", "count"), Column("share", "percent", 1))
    rows = tuple(
        (label["name"], label["count"], label["count"] / content["texts"] if content["texts"] else None)
        for label in content["levels"][0]["labels"]
    )
    return to_html(Table("", columns, rows))


def to_html(table: Table) -> str:
    """A table as HTML, its cells escaped."""
    head = "".join(f'<th scope="col">{html.escape(column.title)}</th>' for column in table.columns)
    body = []
    for row in table.rows:
        first, *rest = (
            html.escape(format_cell(c, column)) for c, column in zip(row, table.columns, strict=True)
        )
        body.append(
            f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
