"""Table V's page: its numbers are those of the predictions, no text breaks out of it, nothing is loaded; and it works in a browser.

The browser tests need Debian's chromium and playwright. Without them they are skipped, except where CI=true or EMODEF_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.corpora.sources import SOURCES
from emodef.labels import LabelSet
from emodef.metrics import decide
from emodef.paper.errors_page import errors_content, render_errors_page, write_errors_page
from test_page_browser import CONTRAST, browser  # noqa: F401
from test_page_html import Parts
from tiny_results import write_corpus, write_run

GOEMOTIONS = LabelSet.load("goemotions")
HOSTILE = "<img src=x onerror=\"window.hit = 1\"></script><script>window.hit = 1</script><!-- & 'so' \\u003cb> ${x} half \ud83d \u2028"
Open = Callable[..., Any]


def made() -> tuple[np.ndarray, Corpus]:
    draw, texts, labels = np.random.default_rng(3), 400, GOEMOTIONS
    truth = (draw.random((texts, len(labels))) < 1.3 / len(labels)).astype(np.uint8)
    values = np.clip(0.3 * truth + 0.42 * draw.random(truth.shape) ** 3, 0, 1).astype(np.float32)
    for row in np.flatnonzero(truth.any(axis=1))[::3]:  # many a label is taken for the next
        k = int(truth[row].argmax())
        values[row, [k, (k + 1) % len(labels)]] = 0.05, 0.4 + row % 50 / 100
    lines = [f"text number {row} of many" for row in range(texts)]
    lines[1] = HOSTILE
    truth[1], values[1] = 0, 0
    truth[1, 0], values[1, 1] = 1, 0.99
    lines[2] = "a very long text " * 100
    return values, Corpus("made", "test", lines, truth, labels, [str(row) for row in range(texts)])


def page(
    values: np.ndarray,
    corpus: Corpus,
    *,
    texts: int | None = None,
    title: str = "A title",
    name: str = "made",
) -> str:
    return render_errors_page(
        errors_content(values, corpus, texts=texts), title=title, corpus=name, facts=["a fact"]
    )


# the numbers


def test_the_content_counts_every_text() -> None:
    values, corpus = made()
    content = errors_content(values, corpus)
    truth, predicted = corpus.labels.astype(bool), decide(values, 0.3)
    names = [label["name"] for label in content["labels"]]
    assert sorted(names) == sorted(GOEMOTIONS.names)
    place = [names.index(name) for name in GOEMOTIONS.names]
    for k, label in ((k, content["labels"][place[k]]) for k in range(len(GOEMOTIONS))):
        assert label["annotated"] == truth[:, k].sum()
        assert label["predicted"] == predicted[:, k].sum()
        assert label["both"] == (truth & predicted)[:, k].sum()
        assert label["definition"] == GOEMOTIONS.definitions[k]
    pairs: Counter[tuple[int, int]] = Counter()
    for mine, theirs in zip(truth, predicted, strict=True):
        if (mine == theirs).all():
            continue
        missed = [place[k] for k in np.flatnonzero(mine & ~theirs)] or [-1]
        wrong = [place[k] for k in np.flatnonzero(theirs & ~mine)] or [-1]
        pairs.update(product(missed, wrong))
    assert {(a, b): n for a, b, n in content["pairs"]} == pairs
    different = [row for row in range(len(corpus)) if (truth[row] != predicted[row]).any()]
    assert content["texts"] == len(corpus)
    assert content["disagreements"] == len(content["found"]) == len(different)
    shown = {each["text"]: each for each in content["found"]}
    for row in different:
        text = corpus.texts[row].replace("\ud83d", "?")
        each = shown[text[:1200]]
        assert each.get("cut", 0) == max(0, len(text) - 1200)
        assert sorted(each["labels"]) == sorted(place[k] for k in np.flatnonzero(truth[row]))
        assert sorted(each["predicted"]) == sorted(place[k] for k in np.flatnonzero(predicted[row]))
        for k, score in each["scores"].items():
            assert score == pytest.approx(values[row, place.index(int(k))], abs=1e-4)


def test_a_page_for_others_holds_few_texts() -> None:
    values, corpus = made()
    whole, few = errors_content(values, corpus), errors_content(values, corpus, texts=9)
    assert len(few["found"]) == 9
    assert {key: few[key] for key in few if key != "found"} == {
        key: whole[key] for key in whole if key != "found"
    }
    assert all(each in whole["found"] for each in few["found"])

    def most(each: dict[str, Any]) -> float:
        def scores(mine: str, other: str) -> list[float]:
            return [each["scores"][str(k)] for k in each[mine] if k not in each[other]] or [0.0]

        return max(scores("predicted", "labels")) - min(scores("labels", "predicted"))

    confidences = [most(each) for each in few["found"]]
    assert confidences == sorted(confidences, reverse=True)
    assert confidences[0] == pytest.approx(max(map(most, whole["found"])))


def test_one_label_a_text_and_a_set_without_groups() -> None:
    labels = LabelSet("three", ("a", "b", "c"), ("is a", "is b", "is c"), exclusive=True)
    truth = np.eye(3, dtype=np.uint8)[[0, 1, 2, 0]]
    values = np.eye(3)[[0, 2, 2, 1]] * 0.2
    corpus = Corpus("own", "test", list("wxyz"), truth, labels, list("wxyz"))
    content = errors_content(values, corpus)
    assert content["groups"] == content["ends"] == []
    assert content["pairs"] == [[0, 1, 1], [1, 2, 1]]
    assert {each["text"] for each in content["found"]} == {"x", "z"}


# the file


def test_hostile_texts_stay_texts() -> None:
    values, corpus = made()
    hostile = Parts(page(values, corpus, title=HOSTILE.replace("\ud83d", "")))
    corpus.texts[1] = "tame"
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in Parts(page(values, corpus)).tags]
    (data,) = hostile.texts("script", type="application/json")
    assert not set("<>&\u2028\u2029") & set(data)
    assert HOSTILE.replace("\ud83d", "?") in {each["text"] for each in json.loads(data)["found"]}


def test_only_its_own_style_and_script_may_run_and_nothing_is_loaded() -> None:
    parts = Parts(page(*made(), name="goemotions"))
    policy = next(str(found["content"]) for _, found in parts.tags if found.get("http-equiv"))
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    (style,), (script,) = parts.texts("style"), parts.texts("script", type="module")
    for rule, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    for tag, attributes in parts.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "video", "audio", "base"}
        assert not {"src", "srcset", "style", "background", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#map") in {
            "#map",
            "#labels",
            "#texts",
            SOURCES["goemotions"].homepage,
        }
    assert not re.search(r"url\(|@import|@font-face", style)
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|fetch\(|import\b|XMLHttp|localStorage"
    assert not re.search(forbidden, script)
    assert set(re.findall(r"https?://[^\"'\s]*", script)) == {"http://www.w3.org/2000/svg"}


def test_the_same_content_makes_the_same_file() -> None:
    assert page(*made()) == page(*made())


def test_published_texts_are_credited() -> None:
    source = SOURCES["goemotions"]
    own, published = page(*made()), page(*made(), name="goemotions")
    assert source.homepage not in own
    for text in (
        f'<a href="{source.homepage}" rel="noreferrer">{source.title}</a>',
        source.cite,
        "CC BY 4.0",
    ):
        assert text in published
    (data,) = Parts(published).texts("script", type="application/json")
    assert json.loads(data)["about"]["credit"]["terms"] == source.terms


def test_the_command(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data")
    for setup, skill in (("none", 0.1), ("match", 0.5)):
        write_run(tmp_path / "results" / setup, corpus, setup=setup, skill=skill)
    common = ("--results", tmp_path / "results", "--data-dir", tmp_path / "data")

    def content_of(path: Path) -> Any:
        return json.loads(Parts(path.read_text(encoding="utf-8")).texts("script", type="application/json")[0])

    out = tmp_path / "page.html"
    result = emodef_command("paper", "table5", *common, "--page", out)
    content = content_of(out)
    assert content["texts"] == len(corpus["test"])
    assert any("match, seed 42" in fact for fact in content["about"]["facts"])
    assert "at 0.3" in content["about"]["facts"]
    assert f"{len(content['found'])} of {content['disagreements']} disagreements" in " ".join(
        result.stderr.split()
    )
    few = tmp_path / "few.html"
    emodef_command(
        "paper",
        "table5",
        "--of",
        tmp_path / "results" / "none",
        *common,
        "--policy",
        "tuned",
        "--page",
        few,
        "--texts",
        5,
    )
    content = content_of(few)
    assert len(content["found"]) == 5
    assert "thresholds tuned on dev" in content["about"]["facts"]
    assert "table5 --page" in emodef_command("paper", "table4", *common, "--page", out, code=2).stderr


# in a browser


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:  # noqa: F811
    """Open a page of these predictions; at the end, nothing may have gone wrong in it or been asked for."""
    contexts, faults, requests = [], [], []

    def open_it(
        *given: Any, texts: int | None = None, name: str = "goemotions", width: int = 1280, **options: Any
    ) -> Any:
        path = tmp_path / f"{len(contexts)}.html"
        values, corpus = given or made()
        content = errors_content(values, corpus, texts=texts)
        write_errors_page(
            path, content, title="<b>Errors</b>", corpus=name, facts=["a&b"], notes=["<i>1</i>"]
        )
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        shown = context.new_page()
        shown.on(
            "console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None
        )
        shown.on("pageerror", lambda error: faults.append(str(error)))
        shown.on("request", lambda request: requests.append(request.url))
        shown.goto(path.as_uri())
        return shown

    yield open_it
    hits = [shown.evaluate("window.hit") for context in contexts for shown in context.pages]
    for context in contexts:
        context.close()
    assert not faults
    assert len(requests) == len(contexts)
    assert all(url.startswith("file://") for url in requests)
    assert hits == [None] * len(hits)


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
