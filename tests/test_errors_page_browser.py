"""Table V's page in a real browser: it draws what was counted, and leads from numbers to texts."""

from __future__ import annotations

from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import CONTRAST, Open
from emodef.corpora import Corpus
from emodef.corpora.sources import SOURCES
from emodef.labels import LabelSet
from emodef.metrics import decide
from emodef.paper.errors_page import errors_content, write_errors_page
from tiny_errors import GOEMOTIONS, made


@pytest.fixture
def open_page(open_file: Open, tmp_path: Path) -> Open:
    """Open a page of these predictions."""
    numbers = count()

    def open_it(*given: Any, texts: int | None = None, name: str = "goemotions", **options: Any) -> Any:
        path = tmp_path / f"{next(numbers)}.html"
        values, corpus = given or made()
        content = errors_content(values, corpus, texts=texts)
        write_errors_page(
            path, content, title="<b>Errors</b>", corpus=name, facts=["a&b"], notes=["<i>1</i>"]
        )
        return open_file(path, **options)

    return open_it


def test_it_draws_what_was_counted(open_page: Open) -> None:
    values, corpus = made()
    content = errors_content(values, corpus)
    shown = open_page()
    number = len(GOEMOTIONS)
    assert shown.inner_text("h1") == "<b>Errors</b>"
    assert shown.inner_text("#facts") == "a&b"
    assert "<i>1</i>" in shown.inner_text("#footer")
    assert shown.get_attribute("#footer a", "href") == SOURCES["goemotions"].homepage
    assert shown.locator(".heat tbody td").count() == (number + 1) ** 2
    assert shown.locator(".one").count() == number
    assert shown.inner_text("#filter-count") == f"{len(content['found'])} texts"
    assert shown.locator(".example").count() == 40
    shown.click("#texts-list button")
    assert shown.locator(".example").count() == 240
    ranked = sorted((n for a, b, n in content["pairs"] if a >= 0 and b >= 0), reverse=True)[:12]
    assert [int(text) for text in shown.locator(".pairs li .count").all_inner_texts()] == ranked
    shown.click("#map-modes button:has-text('Texts')")
    squares = shown.locator(".heat tbody tr").nth(0).locator("td")
    pairs = {(a, b): n for a, b, n in content["pairs"]}
    for column in range(number + 1):
        wanted = (
            content["labels"][0]["both"]
            if column == 0
            else pairs.get((0, -1 if column == number else column), 0)
        )
        assert (squares.nth(column).text_content() or "0") == str(wanted)


def test_pairs_lead_to_their_texts(open_page: Open) -> None:
    values, corpus = made()
    content = errors_content(values, corpus)
    names = [label["name"] for label in content["labels"]]
    shown = open_page()
    missed, wrong, number = max((p for p in content["pairs"] if min(p[:2]) >= 0), key=lambda p: p[2])
    square = shown.locator(".heat tbody tr").nth(missed).locator("td").nth(wrong)
    square.hover()
    readout = shown.locator(".readout")
    assert readout.inner_text().startswith(f"{names[missed]} missed, {names[wrong]} given: {number} texts, ")
    square.click()
    assert shown.inner_text("#filter-count") == f"{number} texts"
    assert shown.evaluate("document.activeElement.id") == "texts-title"
    assert shown.locator("#filter-annotated option:checked").inner_text() == names[missed]
    for card in shown.locator(".example").all():
        sides = card.locator("dd").all_inner_texts()
        assert names[missed] in sides[0]
        assert names[missed] not in sides[1]
        assert names[wrong] in sides[1]
        assert names[wrong] not in sides[0]
    shown.mouse.move(0, 0)  # off the squares: the page has scrolled under it
    shown.locator(".heat td[tabindex='0']").focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowLeft"):
        shown.keyboard.press(key)
    assert names[0] in readout.inner_text()
    assert shown.locator(".heat td[tabindex='0']").count() == 1
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Enter")
    assert shown.locator("#filter-predicted option:checked").inner_text() == names[1]
    shown.click("#filter-clear")
    assert shown.inner_text("#filter-count") == f"{len(content['found'])} texts"


def test_search_sorting_and_the_sides_without_a_label(open_page: Open) -> None:
    values, corpus = made()
    shown = open_page()
    shown.fill("#filter-words", "<SCRIPT>")
    assert shown.inner_text("#filter-count") == "1 text"
    assert shown.locator(".example mark").all_inner_texts() == ["<script>"]
    shown.fill("#filter-words", "(of.many")
    assert "No text here fits" in shown.inner_text("#texts-list")
    shown.fill("#filter-words", "")
    truth, predicted = corpus.labels.astype(bool), decide(values, 0.3)
    missed, wrong = (truth & ~predicted).any(axis=1), (predicted & ~truth).any(axis=1)
    shown.select_option("#filter-annotated", label="nothing that the model missed")
    assert shown.inner_text("#filter-count") == f"{(~missed & wrong).sum()} texts"
    shown.select_option("#filter-annotated", label="any label")
    shown.select_option("#filter-predicted", label="nothing of its own")
    assert shown.inner_text("#filter-count") == f"{(missed & ~wrong).sum()} texts"
    shown.select_option("#filter-predicted", label="any label")
    first = shown.locator(".example p").first.inner_text()
    shown.select_option("#filter-order", "least")
    assert shown.locator(".example p").first.inner_text() != first


def test_labels_tell_what_stands_in_their_place(open_page: Open) -> None:
    values, corpus = made()
    content = errors_content(values, corpus)
    shown = open_page()
    label = max(content["labels"], key=lambda label: label["annotated"])
    shown.click("#labels-orders button:has-text('Most annotated')")
    one = shown.locator(".one").first
    assert label["name"] in one.locator("summary").inner_text()
    assert [int(text.split()[0]) for text in one.locator(".number").all_inner_texts()] == [
        label[key] for key in ("annotated", "predicted", "both")
    ]
    one.locator("summary").click()
    assert label["definition"] in one.locator(".inside p").inner_text()
    number = int(one.locator(".inside li span:last-child").first.inner_text())
    one.locator(".inside li button").first.click()
    assert shown.inner_text("#filter-count") == f"{number} texts"


def test_few_texts_say_so(open_page: Open) -> None:
    content = errors_content(*made())
    shown = open_page(texts=9)
    assert f"9 of {content['disagreements']} on this page" in shown.inner_text("#figures")
    shown.locator(".pairs li button").first.click()
    number = max(n for missed, wrong, n in content["pairs"] if min(missed, wrong) >= 0)
    assert number > 1
    assert f"There are {number} such texts; this page holds" in shown.inner_text("#texts-list")


def test_hardly_anything_to_draw(open_page: Open) -> None:
    labels = LabelSet("two", ("a", "b"), ("is a", "is b"))
    truth = np.eye(2, dtype=np.uint8)
    agreed = open_page(
        truth.astype(float), Corpus("own", "test", ["x", "y"], truth, labels, ["1", "2"]), name="own"
    )
    assert agreed.inner_text("#filter-count") == "0 texts"
    assert "No label was taken for another" in agreed.inner_text("#map")
    assert agreed.locator("#footer a").count() == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1600])
def test_no_width_makes_the_page_scroll_sideways(open_page: Open, width: int) -> None:
    shown = open_page(width=width)
    shown.locator(".one summary").first.click()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(open_page: Open, scheme: str) -> None:
    shown = open_page(color_scheme=scheme)
    shown.locator(".one summary").first.click()
    assert shown.evaluate(CONTRAST) == []
    coarse, groups = GOEMOTIONS.groups("sentiment")
    values, corpus = made()
    small = Corpus(
        "made",
        "test",
        corpus.texts,
        np.stack([corpus.labels[:, groups == k].max(1) for k in range(len(coarse))], 1),
        coarse,
        corpus.ids,
    )
    few = open_page(
        np.stack([values[:, groups == k].max(1) for k in range(len(coarse))], 1), small, color_scheme=scheme
    )
    assert few.locator(".heat.few").count() == 1
    assert few.evaluate(CONTRAST) == []


def test_every_control_has_a_name(open_page: Open) -> None:
    shown = open_page()
    shown.locator(".one summary").first.click()
    nameless = shown.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, summary, [tabindex='0']")]
            .filter(node => node.checkVisibility() && !node.getAttribute("aria-label") && !node.textContent.trim())
            .filter(node => !node.closest("label") && !node.matches(".heat td")).map(node => node.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    ids = shown.eval_on_selector_all("[id]", "nodes => nodes.map(node => node.id)")
    assert len(ids) == len(set(ids))
    levels = shown.eval_on_selector_all("h1, h2, h3", "nodes => nodes.map(node => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_without_scripts_there_is_a_table(open_page: Open) -> None:
    shown = open_page(java_script_enabled=False)
    content = errors_content(*made())
    assert shown.locator("noscript table tbody tr").count() == min(200, len(content["found"]))
    assert SOURCES["goemotions"].title in shown.inner_text("noscript")
