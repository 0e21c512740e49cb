"""The page for all who use it: axe, contrast, keys, narrow screens, colours by switch, what is said aloud."""

from __future__ import annotations

import re
from typing import Any

from browsing import CONTRAST, Open, until, violations, wait_for
from page_server import typed

TEXT = "I am so happy and glad, the chairs is lovely!"


def test_tabs_by_keys_and_colours_by_switch(open_tab: Open) -> None:
    page = open_tab(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.locator("#tab-text").focus()
    for key, tab in (
        ("ArrowRight", "own"),
        ("ArrowRight", "file"),
        ("ArrowRight", "text"),
        ("End", "file"),
        ("Home", "text"),
        ("ArrowLeft", "file"),
    ):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        assert page.locator("[role=tabpanel]:visible").get_attribute("id") == f"panel-{tab}"
        assert page.locator("[role=tab][aria-selected=true]").get_attribute("id") == f"tab-{tab}"
    assert page.url.endswith("#file")
    page.click("#theme")
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    page.wait_for_selector("body.ready")
    assert page.evaluate(ground) == light  # kept
    page.click("#theme")
    assert page.evaluate(ground) == dark
    page.click("#theme")  # the system's again
    assert page.evaluate("localStorage.getItem('emodef.theme')") == "auto"
    assert page.is_visible("#panel-file")


def test_axe_and_contrast(open_tab: Open) -> None:
    page = open_tab(bypass_csp=True)  # axe is put into the page, which its policy forbids
    page.add_style_tag(content=".layers .under { color: var(--ink) }")  # as the letters that lie over it

    def check() -> None:
        assert violations(page) == []
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST) == []

    assert violations(page) == []
    typed(page, TEXT)
    page.wait_for_selector("#text-words li")
    page.click(".feel >> nth=1")
    check()
    page.click("#tab-own")
    page.select_option("#own-presets", index=1)
    page.click(".card summary >> nth=0")
    until(page, "/\\d/.test(document.querySelector('.card .value').textContent)")
    check()
    page.click("#tab-file")
    page.emulate_media(color_scheme="dark")
    check()


def test_no_width_makes_the_page_scroll_sideways(open_tab: Open) -> None:
    page = open_tab(width=320)
    typed(page, f"{TEXT} {'happy' * 40}")
    page.wait_for_selector("#text-words li")
    for tab in ("text", "own", "file"):
        page.click(f"#tab-{tab}")
        if tab == "own":
            page.select_option("#own-presets", index=1)
        for width in (320, 390, 900):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        page.set_viewport_size({"width": 320, "height": 800})
        heights = page.eval_on_selector_all(
            "button",
            "all => all.filter(one => one.checkVisibility()).map(one => one.getBoundingClientRect().height)",
        )
        assert min(heights) >= 24  # WCAG 2.2: large enough to touch


def test_it_says_aloud_what_was_found(open_tab: Open) -> None:
    page = open_tab()
    assert page.get_attribute("#text-said", "role") == "status"
    typed(page, "I am happy")
    until(page, "document.getElementById('text-said').textContent.includes('joy')")
    assert re.search(r"joy 0\.\d\d|joy >0\.99", page.inner_text("#text-said"))
    page.locator("#text-threshold input").fill("0.98")
    assert page.inner_text("#text-said") == "No label passes its threshold."
    page.click("#text-threshold button >> nth=0")
    assert "joy" in page.inner_text("#text-said")


def test_it_says_nothing_of_a_text_that_is_gone(open_tab: Open) -> None:
    """Nor does what is said wait for words: a long text has none, and here they come never."""
    page = open_tab(expected="422")
    page.route("**/v1/explain", lambda route: None)
    typed(page, "I am happy")
    until(page, "document.getElementById('text-said').textContent.includes('joy')")
    held: list[Any] = []
    page.route("**/v1/predict", lambda route: held.append(route))
    typed(page, "I am furious")
    assert page.inner_text("#text-said") == ""
    page.locator("#text-threshold input").fill("0.02")  # the bars are still those of the text before
    assert page.inner_text("#text-said") == ""
    until(page, "!document.querySelector('.feels').classList.contains('idle')")
    wait_for(page, lambda: held)
    held[0].fulfill(
        status=422, json={"error": {"code": "invalid", "message": "it is no text", "field": None}}
    )
    until(page, "document.getElementById('text-said').textContent === 'it is no text'")
