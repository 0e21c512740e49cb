"""The page in a real browser: it draws, answers to keys and clicks, runs nothing that is in a text, and asks for nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from browsing import CONTRAST, Open
from emodef.labels import LabelSet
from emodef.reporting.page import Prediction, Summary, page_content, shipped_sets, write_page

GOEMOTIONS = LabelSet.load("goemotions")
HOSTILE = "<img src=x onerror=\"window.hit = 1\"><script>window.hit = 1</script></script> & 'so' \\u003cb>"
DAYS = 70


def predictions() -> list[Prediction]:
    """Two texts of each label a day, alone and beside the next label; a week without texts; a hostile text."""
    names = GOEMOTIONS.names
    start = datetime(2024, 1, 1, 12, tzinfo=UTC)
    found = [Prediction({"joy": 0.999, "love": 0.5}, HOSTILE, start)]
    for day in range(DAYS):
        if 28 <= day < 35:
            continue
        for k, name in enumerate(names):
            scores = {name: 0.5 + ((k * 7 + day * 3) % 40) / 100}
            found.append(Prediction(scores, f"{name} number {day}", start + timedelta(days=day)))
            both = scores | {names[(k + 1) % len(names)]: 0.45}
            found.append(Prediction(both, f"{name} and more, number {day}", start + timedelta(days=day)))
    return found


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    summary = Summary(label_sets=shipped_sets(), examples=6)
    for row in predictions():
        summary.add(row)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(
        path, page_content(summary), title="<b>Comments</b>", facts=["a&b.csv"], notes=["Left out: <i>1</i>."]
    )
    return path


@pytest.fixture
def open_page(open_file: Open, page_file: Path) -> Open:
    """Open the page, or another file."""
    return lambda path=page_file, **options: open_file(path, **options)


def write(path: Path, rows: list[Prediction], **options: Any) -> Path:
    summary = Summary(label_sets=shipped_sets(), **options)
    for row in rows:
        summary.add(row)
    write_page(path, page_content(summary), title="t")
    return path


def test_it_draws_what_was_counted(open_page: Open) -> None:
    page = open_page()
    number = len(GOEMOTIONS)
    assert page.inner_text("h1") == "<b>Comments</b>"
    assert page.inner_text("#facts span >> nth=0") == "a&b.csv"
    assert page.locator("#shares-chart .share").count() == number
    assert page.locator(".heat tbody td").count() == number**2
    assert page.locator(".heat tbody td.more").count() == 2 * number
    assert page.locator(".lines .line").count() == 5
    assert page.locator("#timeline-labels .chip").count() == number
    assert page.locator("#examples-list .label").count() == number
    assert "Left out: <i>1</i>." in page.inner_text("#footer")
    total = 1 + 2 * number * (DAYS - 7)
    assert f"{total:,}" in page.inner_text("#figures")
    widths = page.eval_on_selector_all(".fill", "bars => bars.map(bar => bar.getBoundingClientRect().width)")
    assert len(widths) == number
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 300


def test_levels(open_page: Open) -> None:
    page = open_page()
    for name in ("ekman", "sentiment"):
        coarse = LabelSet.load(name)
        page.click(f"#levels button:has-text('{name}')")
        assert set(page.locator(".share .name").all_inner_texts()) == set(coarse.names)
        assert page.locator(".heat tbody td").count() == len(coarse) ** 2
        assert page.locator("#examples-list .label").count() == len(coarse)
        assert page.locator(".chip").count() == len(coarse)
    positive = GOEMOTIONS.mappings["sentiment"]
    share = next(text for text in page.locator(".share").all_inner_texts() if text.startswith("positive"))
    counted = sum(any(positive[name] == "positive" for name in row.scores) for row in predictions())
    assert f"{counted:,}" in share
    assert page.locator("#levels button[aria-pressed=true]").count() == 1


GRID_PLACE = """() => document.querySelector(".heat").getBoundingClientRect().top
    - document.querySelector("#together").getBoundingClientRect().top"""


def test_heat_map_by_pointer_and_keys(open_page: Open) -> None:
    page = open_page()
    page.locator(".heat tbody td[tabindex='0']").focus()
    readout = page.locator(".readout")
    first = readout.inner_text()
    page.keyboard.press("ArrowRight")
    assert readout.inner_text() != first
    assert " and " in readout.inner_text() or "both" in readout.inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")  # at the edge: stays
    assert readout.inner_text() == first
    assert page.locator(".heat td[tabindex='0']").count() == 1
    places = []
    for square in (page.locator(".heat td.more").first, page.locator(".heat td.more").last):
        square.hover()
        places.append(page.evaluate(GRID_PLACE))
    assert places[0] == places[1]  # what is said of a square must not move the squares
    assert re.search(r"\d+ texts, \d+% of \w+ and \d+% of \w+, [\d.]+× chance", readout.inner_text())
    page.click("#together-modes button:has-text('chance')")
    assert page.locator(".heat td.more, .heat td.less").count() == len(GOEMOTIONS) * (len(GOEMOTIONS) - 1)
    assert page.locator(".pairs li").count() == 12
    page.locator(".pairs li button").first.click()
    assert page.locator(".example").count() > 0
    assert " and " in page.locator("#filter-label option:checked").inner_text()


def test_timeline_toggles_steps_and_gaps(open_page: Open) -> None:
    page = open_page()
    pressed = page.locator(".chip[aria-pressed=true]")
    assert pressed.count() == 5
    pressed.first.click()
    assert page.locator(".lines .line").count() == 4
    off = page.locator(".chip[aria-pressed=false]")
    for _ in range(4):
        off.first.click()
    assert page.locator(".lines .line").count() == 8
    off.first.click(force=True)  # all colours are in use
    assert page.locator(".lines .line").count() == 8

    page.click("#timeline-units button:has-text('day')")
    assert page.locator(".volume").count() == DAYS - 7
    assert all(
        path.count("M") == 2
        for path in page.eval_on_selector_all(".line path", "p => p.map(x => x.getAttribute('d'))")
    )
    page.locator(".lines").focus()
    page.keyboard.press("ArrowRight")
    tip = page.locator(".tip")
    assert "1 Jan 2024" in tip.inner_text()
    assert tip.locator("li").count() == 8
    page.keyboard.press("End")
    assert "10 Mar 2024" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()

    page.click("#timeline-views button:has-text('One each')")
    assert page.locator(".each figure").count() == len(GOEMOTIONS)
    page.click("#timeline summary")
    page.locator("#timeline-table tbody tr").last.wait_for()  # made when it opens, a moment later
    assert page.locator("#timeline-table tbody tr").count() == DAYS
    assert page.locator("#timeline-table thead th").count() == len(GOEMOTIONS) + 2


def test_examples_and_search(open_page: Open) -> None:
    page = open_page()
    joy = page.locator("#examples-list .label").filter(has=page.locator("h3", has_text=re.compile("^joy$")))
    assert joy.locator(".example").count() == 3
    assert joy.locator(".example p").first.inner_text() == HOSTILE
    assert "0.999"[:4] in joy.locator(".example footer").first.inner_text() or "1.00" in joy.inner_text()
    page.fill("#filter input", "<SCRIPT>")
    assert page.locator(".example").count() == 1
    assert page.locator(".example mark").all_inner_texts() == ["<script>"]
    page.fill("#filter input", "nothing says this")
    assert page.locator(".example").count() == 0
    assert "No example" in page.inner_text("#examples-list")
    page.fill("#filter input", "")
    page.select_option("#filter select", label="joy")
    assert page.locator(".example").count() == 6
    scores = [float(text) for text in page.locator(".example .tag:first-child b").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    page.locator(".share", has_text="grief").click()
    assert page.locator("#filter-label option:checked").inner_text() == "grief"
    assert page.evaluate("document.activeElement.id") == "examples-title"
    assert page.locator("#filter-count").inner_text() == "6 texts"


def test_examples_of_a_coarser_level_are_its_fine_ones(open_page: Open) -> None:
    page = open_page()
    page.click("#levels button:has-text('sentiment')")
    page.select_option("#filter select", label="negative")
    mapping = GOEMOTIONS.mappings["sentiment"]
    best = {
        str(row.text): max(score for name, score in row.scores.items() if mapping[name] == "negative")
        for row in predictions()
        if any(mapping[name] == "negative" for name in row.scores)
    }
    shown = page.locator(".example p").all_inner_texts()
    assert [best[text] for text in shown] == sorted(best.values(), reverse=True)[:6]


def test_tables_for_those_who_read_them(open_page: Open) -> None:
    page = open_page()
    assert page.locator("#shares-table tr").count() == 0
    page.click("#shares summary")
    page.locator("#shares-table tbody tr").last.wait_for()
    assert page.locator("#shares-table tbody tr").count() == len(GOEMOTIONS)
    counts = Counts.of(predictions())
    for row in page.locator("#shares-table tbody tr").all():
        cells = [row.locator("th").inner_text(), *row.locator("td").all_inner_texts()]
        assert int(cells[1].replace(",", "")) == counts[cells[0]]


class Counts(dict[str, int]):
    @classmethod
    def of(cls, rows: list[Prediction]) -> Counts:
        found = cls()
        for row in rows:
            for name in row.scores:
                found[name] = found.get(name, 0) + 1
        return found


@pytest.mark.parametrize("width", [320, 390, 768, 1600])
def test_no_width_makes_the_page_scroll_sideways(open_page: Open, width: int) -> None:
    page = open_page(width=width)
    for view in ("lines", "each"):
        page.click(f"#timeline-views button:has-text('{'One chart' if view == 'lines' else 'One each'}')")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name(open_page: Open) -> None:
    """What axe's rules on names, roles and ids ask, for the elements there are."""
    page = open_page()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, summary, [tabindex='0']")]
            .filter(node => node.checkVisibility())
            .filter(node => !(node.getAttribute("aria-label") || node.textContent.trim() || node.closest("label")
                || node.matches(".heat td")))
            .map(node => node.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    ids = page.eval_on_selector_all("[id]", "nodes => nodes.map(node => node.id)")
    assert len(ids) == len(set(ids))
    levels = page.eval_on_selector_all("h1, h2, h3", "nodes => nodes.map(node => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.get_attribute("html", "lang") == "en"
    broken = page.evaluate(
        """() => [...document.querySelectorAll("[aria-labelledby], a[href^='#']")]
            .map(node => node.getAttribute("aria-labelledby") ?? node.getAttribute("href").slice(1))
            .filter(id => !document.getElementById(id))"""
    )
    assert broken == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(open_page: Open, scheme: str) -> None:
    """WCAG 2 AA: 4.5 to 1, for all text that shows, at the coarse level too, where squares hold numbers."""
    page = open_page(color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    page.click("#levels button:has-text('ekman')")
    assert page.evaluate(CONTRAST) == []
    page.click("#together-modes button:has-text('chance')")
    assert page.evaluate(CONTRAST) == []


def test_hardly_anything_to_draw(open_page: Open, tmp_path: Path) -> None:
    nothing = open_page(write(tmp_path / "nothing.html", []))
    assert "There are no texts" in nothing.inner_text("main")
    assert nothing.locator("main > section:visible").count() == 0

    unlabelled = open_page(write(tmp_path / "unlabelled.html", [Prediction({}, "x")] * 3))
    assert "There are no texts" not in unlabelled.inner_text("main")

    one = open_page(write(tmp_path / "one.html", [Prediction({"saudade": 0.5}, "é")]))
    assert one.locator(".share").count() == 1
    assert one.locator("main > section:visible").count() == 2
    assert one.is_hidden("#levels")

    bare = open_page(write(tmp_path / "bare.html", predictions()[:50], examples=0))
    assert bare.locator("#examples").is_hidden()
    assert bare.locator("button.share").count() == 0


def test_without_scripts_there_is_a_table(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    assert page.locator("noscript table tbody tr").count() == len(GOEMOTIONS)
    assert page.is_visible("noscript table")
