"""The page's files: what is served, under which policy, how it is kept; and that nothing in them breaks that policy."""

from __future__ import annotations

import json
import re

import pytest

from emodef.definitions import read_labels
from emodef.reporting.page.html import asset
from emodef.server.page import ASSETS, OWN, answer, pages
from test_page_html import Parts

SCRIPTS = [path for path in pages() if path.endswith(".js")]


@pytest.mark.parametrize("path", pages())
def test_every_file_has_its_type_policy_and_tag(path: str) -> None:
    found = answer(path)
    assert found is not None
    assert found.status == 200
    assert found.body
    policy = dict(part.split(" ", 1) for part in found.headers["Content-Security-Policy"].split("; "))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("img-src") == "'self' data:"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert all(value in ("'self'", "'none'") for value in policy.values())
    assert {"base-uri", "form-action", "frame-ancestors"} <= policy.keys()
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    ending = path.rpartition(".")[2]
    kind = {"js": "text/javascript", "css": "text/css", "json": "application/json", "svg": "image/svg+xml"}
    assert found.headers["Content-Type"].split(";")[0] == kind.get(ending, "text/html")

    tag = found.headers["ETag"]
    assert found.headers["Cache-Control"] == "no-cache"
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = answer(path, held)
        assert again is not None
        assert (again.status, again.body) == (304, b"")
        assert again.headers["ETag"] == tag
    for other in ('"other"', "", tag[:-2] + '"'):
        assert answer(path, other) == found


def test_tags_differ_and_nothing_else_is_served() -> None:
    assert len({answer(path).headers["ETag"] for path in pages()}) == len(pages())  # type: ignore[union-attr]
    for path in (
        "",
        "/index.html",
        "/assets",
        ASSETS,
        "/assets/../__init__.py",
        "/assets/%2e%2e/app.py",
        "/assets/app.js/",
    ):
        assert answer(path) is None


def test_the_document_asks_only_for_what_there_is_and_has_nothing_inline() -> None:
    parts = Parts(pages()["/"][1].decode())
    asked = [attrs[name] for _, attrs in parts.tags for name in ("src", "href") if name in attrs]
    assert {path for path in asked if path and path.startswith(ASSETS)} <= pages().keys()
    assert all(path and path.startswith((ASSETS, "#", "/openapi.json")) for path in asked)
    assert not [
        attrs for _, attrs in parts.tags if "style" in attrs or any(name.startswith("on") for name in attrs)
    ]
    assert all("src" in attrs for tag, attrs in parts.tags if tag == "script")
    assert not [tag for tag, _ in parts.tags if tag == "style"]
    ids = [attrs["id"] for _, attrs in parts.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_scripts_import_what_there_is_and_make_no_html_of_texts() -> None:
    for path in SCRIPTS:
        script = pages()[path][1].decode()
        for name in re.findall(r'^import .* from "\./(.+)";$', script, re.MULTILINE):
            assert ASSETS + name in pages(), f"{path} imports {name}"
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script
        ), path
        assert not re.search(r'setAttribute\("(style|on\w+)"', script), path
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", script), path


def test_elements_that_scripts_ask_for_are_in_the_document() -> None:
    page = pages()["/"][1].decode()
    made_by_scripts = {
        "file-stop",
        "job-name",
        "job-bar",
        "job-detail",
        "main",
        "footer",
        "title",
    }  # the last three: in reports only
    wanted = {name for path in SCRIPTS for name in re.findall(r'\$\("([\w-]+)"\)', pages()[path][1].decode())}
    assert wanted
    there = set(re.findall(r'id="([\w-]+)"', page))
    assert wanted - there <= made_by_scripts


def test_the_examples_are_labels_that_can_be_read() -> None:
    presets = json.loads(asset(["presets.json"], OWN))
    assert len({preset["title"] for preset in presets}) == len(presets) >= 2
    for preset in presets:
        assert len(read_labels(preset["labels"]).names) >= 3
        assert preset["text"].strip()
