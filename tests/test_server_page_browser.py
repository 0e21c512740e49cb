"""The page in a real browser against a running server: a text, its bars and words; a server that is gone, busy or refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from browsing import Open, opening, until, wait_for
from emodef import Predictor
from emodef.server.page import POLICY, pages
from page_server import PageServer, typed

TEXT = "I am so happy and glad, the chairs is lovely!"


@pytest.fixture(scope="module")
def model(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=1)


def bars(page: Any) -> dict[str, str]:
    names, values = (page.locator(f".feel .{part}").all_inner_texts() for part in ("name", "value"))
    return dict(zip(names, values, strict=True))


def test_bars_follow_the_text(open_tab: Open, model: Predictor) -> None:
    page = open_tab(reduced_motion="no-preference")  # rows glide to their places
    assert page.locator(".idle .feel").count() == len(model.label_set)
    typed(page, TEXT)
    page.wait_for_selector(".feels:not(.idle)")
    scores = model.predict(TEXT).scores
    assert bars(page) == {name: f"{score:.2f}" for name, score in scores.items()}
    assert list(bars(page)) == list(scores)  # likeliest first
    widths = page.eval_on_selector_all(
        ".feel .fill",
        "all => all.map(one => parseFloat(one.parentElement.parentElement.style.getPropertyValue('--to')))",
    )
    assert widths == pytest.approx(list(scores.values()), abs=1e-3)
    definitions = page.locator(".feel .definition").all_inner_texts()
    assert definitions == [model.label_set.definitions[model.label_set.index(name)] for name in scores]
    assert page.locator(".feel.lit .name").all_inner_texts() == [
        name for name, _ in model.predict(TEXT).labels
    ]
    assert page.locator("#text-verdict strong").all_inner_texts() == [
        name for name, _ in model.predict(TEXT).labels
    ]

    page.keyboard.press("Control+a")
    page.keyboard.type("I am furious", delay=5)
    until(page, "document.querySelector('.feel .name').textContent === 'anger'")
    page.click("#text-reader .clear")
    page.wait_for_selector(".feels.idle")
    assert page.locator("#text-verdict strong").count() == 0


def test_words_that_carry_a_label_are_marked_where_they_stand(open_tab: Open, model: Predictor) -> None:
    page = open_tab()
    text = "🙂🙂 so\nhappy, not angry"  # places are counted otherwise in JavaScript
    typed(page, text)
    page.wait_for_selector("#text-words li")
    marks = page.locator("#text-reader .under .for").all_inner_texts()
    assert "happy" in marks
    assert page.locator("#text-reader .under").inner_text().rstrip("\u200b") == text
    explained = model.explain(text)
    strongest = explained.strongest(explained.labels[0].name, 1)[0]
    assert strongest.text in page.locator("#text-words li").first.inner_text()
    assert f"+{strongest.contributions[explained.labels[0].name]:.2f}" in page.inner_text("#text-words")

    page.click(".feel:has(.name:text-is('anger'))")
    page.wait_for_selector("#text-words b:text-is('anger')")
    assert page.locator("#text-words li").count() == 1
    assert "angry" in page.locator("#text-reader .under .for").all_inner_texts()
    assert page.get_attribute(".feel:has(.name:text-is('anger'))", "aria-pressed") == "true"
    boxes = page.evaluate("""() => [document.querySelector("#text-reader .under"), document.querySelector("#text-reader textarea")]
        .map(node => { const s = getComputedStyle(node); const r = node.getBoundingClientRect();
            return [r.x, r.y, r.width, r.height, s.font, s.letterSpacing, s.padding, s.whiteSpace, s.overflowWrap]; })""")
    assert boxes[0] == boxes[1]  # else colours would not lie under their words


def test_threshold_and_level(open_tab: Open, model: Predictor) -> None:
    page = open_tab()
    typed(page, TEXT)
    page.wait_for_selector(".feels:not(.idle)")
    scores = model.predict(TEXT).scores
    for bound in (0.02, 0.5, 0.98):
        page.locator("#text-threshold input").fill(str(bound))
        lit = page.locator(".feel.lit .name").all_inner_texts()
        assert lit == [name for name, score in scores.items() if score > bound]
        assert page.inner_text("#text-threshold output") == f"{bound:.2f}"
    assert "No label passes" in page.inner_text("#text-verdict")
    page.click("#text-threshold button >> nth=0")
    assert page.locator(".feel.lit .name").all_inner_texts() == [
        name for name, _ in model.predict(TEXT).labels
    ]

    page.click("#text-level button:has-text('sentiment')")
    page.wait_for_selector(".feels:not(.idle)")
    coarse = model.predict(TEXT, level="sentiment").scores
    assert bars(page) == {name: f"{score:.2f}" for name, score in coarse.items()}
    assert page.locator("#text-level button[aria-pressed=true]").count() == 1


def test_an_older_answer_never_shows(open_tab: Open) -> None:
    """The first question is held back until the text has changed: its answer is dropped."""
    page = open_tab()
    held: list[Any] = []
    asked: list[str] = []

    def hold(route: Any) -> None:
        asked.append(json.loads(route.request.post_data)["texts"][0])
        if asked[-1] == "I am happy":
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/predict", hold)
    page.evaluate("""() => {
        window.seen = [];
        const box = document.querySelector("#text-verdict");
        new MutationObserver(() => window.seen.push(box.innerText)).observe(box, { childList: true, subtree: true });
    }""")
    typed(page, "I am happy")
    wait_for(page, lambda: held)
    for text in ("I am furious and", "I am furious and scared", "I am scared"):
        typed(page, text)
    page.wait_for_timeout(150)
    assert asked == ["I am happy"]  # one question at a time
    held[0].continue_()
    page.wait_for_selector("#text-verdict strong:text-is('fear')")
    assert asked == ["I am happy", "I am scared"]  # and of those that waited only the last
    assert not [text for text in page.evaluate("window.seen") if "joy" in text or "anger" in text]


def test_server_gone_and_back(tiny_light: Path, tmp_path: Path, browser: Any) -> None:
    server = PageServer(tiny_light, tmp_path).start()
    with opening(browser, server.address) as open_it:
        page = open_it(server.address, expected="Failed to load resource")
        page.wait_for_selector("body.ready")
        server.stop()
        typed(page, "I am happy")
        page.wait_for_selector("#banner:not([hidden])")
        assert "does not answer" in page.inner_text("#banner")
        typed(page, "I am scared")  # what is typed meanwhile is asked when it is back
        server.start()
        page.wait_for_selector("#text-verdict strong:text-is('fear')")
        page.wait_for_selector("#banner", state="hidden")
    server.stop()


def test_busy_server_is_asked_again(open_tab: Open) -> None:
    page = open_tab(expected="503")
    answers = [("1", 503), ("nonsense", 503)]

    def busy(route: Any) -> None:
        if not answers:
            return route.continue_()
        after, status = answers.pop()
        error = {"error": {"code": "busy", "message": "come again", "field": None}}
        return route.fulfill(status=status, headers={"Retry-After": after}, json=error)

    page.route("**/v1/predict", busy)
    typed(page, "I am happy")
    page.wait_for_selector("#banner:not([hidden])")
    assert "busy" in page.inner_text("#banner")
    page.wait_for_selector("#text-verdict strong:text-is('joy')")
    assert page.is_hidden("#banner")


def test_what_the_server_refuses_is_told(open_tab: Open, page_server: PageServer) -> None:
    page = open_tab(expected="413")
    typed(page, "happy " * 9_000)
    page.wait_for_selector("#text-verdict .problem")
    assert f"a text may have {page_server.settings.limits.text_characters}" in page.inner_text(
        "#text-verdict"
    ).replace(",", "")
    typed(page, "happy " * 900)  # can be predicted, is too long to explain
    page.wait_for_selector("#text-words .hint")
    assert page.locator("#text-verdict strong").all_inner_texts() == ["joy"]


def test_over_the_wire(page_server: PageServer) -> None:
    """As a browser gets it: kept until it changes, with its policy; nothing but what is listed, and only by GET."""
    with urlopen(f"{page_server.address}/") as answer:
        headers, body = answer.headers, answer.read()
    assert body == pages()["/"][1]
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["Cache-Control"] == "no-cache"
    for path, held, method, status in (
        ("/", headers["ETag"], "GET", 304),
        ("/assets/app.js", '"old"', "GET", 200),
        ("/assets/__init__.py", "", "GET", 404),
        ("/assets/..%2f__init__.py", "", "GET", 404),
        ("/assets/app.js", "", "POST", 405),
    ):
        request = Request(page_server.address + path, method=method, headers={"If-None-Match": held})
        try:
            with urlopen(request) as answer:
                code = answer.status
        except HTTPError as error:
            code = error.code
            error.close()
        assert code == status
