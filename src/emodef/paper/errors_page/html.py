"""The disagreements as one HTML file that loads nothing: style, script and data are in it. Imports atomic, reporting.page.html, sources."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

from emodef import atomic
from emodef.corpora.sources import SOURCES
from emodef.reporting import Column, Table
from emodef.reporting.page.html import asset, one_file, to_html

# of the page of `emodef report`
SHARED_STYLES, SHARED_SCRIPTS = ("page.css", "charts.css"), ("core.js", "heat.js")
STYLES, SCRIPTS = ("errors.css",), ("map.js", "labels.js", "texts.js", "start.js")
IN_PLAIN_TABLE = 200  # texts for readers that run no script


def render_errors_page(
    content: Mapping[str, Any],
    *,
    title: str,
    corpus: str,
    facts: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """The page as text: the same for the same content, it carries no date.

    content: what `errors_content` gives. corpus: its name; a published one's texts are credited. facts: said under the title. notes: at
    the end.
    """
    about = {"title": title, "facts": list(facts), "notes": list(notes), "credit": _credit(corpus)}
    return one_file(
        _own(["errors.html"]),
        content,
        about,
        styles="\n".join((asset(SHARED_STYLES), _own(STYLES))),
        script="\n".join((asset(SHARED_SCRIPTS), _own(SCRIPTS))),
        credit=_credit_html(corpus),
        table=to_html(_plain_table(content)),
    )


def write_errors_page(path: str | os.PathLike[str], content: Mapping[str, Any], **about: Any) -> None:
    """Write `render_errors_page` to `path`, atomically."""
    atomic.write_text(path, render_errors_page(content, **about))


def _own(names: Sequence[str]) -> str:
    return asset(names, "emodef.paper.errors_page")


def _credit(corpus: str) -> dict[str, str] | None:
    if corpus not in SOURCES:
        return None
    source = SOURCES[corpus]
    return {"title": source.title, "homepage": source.homepage, "cite": source.cite, "terms": source.terms}


def _credit_html(corpus: str) -> str:
    credit = {key: html.escape(value) for key, value in (_credit(corpus) or {}).items()}
    if not credit:
        return ""
    link = f'<a href="{credit["homepage"]}" rel="noreferrer">{credit["title"]}</a>'
    return f"<p>Texts: {link}, {credit['cite']}. {credit['terms']}</p>"


def _plain_table(content: Mapping[str, Any]) -> Table:
    """The first texts as a table, for readers that run no script."""
    names = [label["name"] for label in content["labels"]]
    rows = tuple(
        (
            each["text"],
            ", ".join(names[k] for k in each["labels"]) or "none",
            ", ".join(names[k] for k in each["predicted"]) or "none",
        )
        for each in content["found"][:IN_PLAIN_TABLE]
    )
    return Table("", (Column("text"), Column("annotators"), Column("model")), rows)
