"""The page in a real browser against a running server: a text, one's own labels, what happens when the server cannot answer."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsing import CONTRAST, Open, opening, until, violations
from emodef import Predictor
from emodef.definitions import read_labels
from page_server import PageServer

HOSTILE = (
    "<img src=x onerror='window.hit=1'></textarea><script>window.hit = 1</script> {{7*7}} ${1} \u202e🙂 happy"
)
TEXT = "I am so happy and glad, the chairs is lovely!"


@pytest.fixture(scope="module")
def server(tiny_light: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    running = PageServer(tiny_light, tmp_path_factory.mktemp("jobs")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def model(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=1)


@pytest.fixture
def open_page(browser: Any, server: PageServer) -> Iterator[Open]:
    """`open_page(tab="text", **options)` -> the page, ready."""
    with opening(browser, server.address) as open_it:

        def open_tab(tab: str = "text", **options: Any) -> Any:
            page = open_it(f"{server.address}/#{tab}", **options)
            page.wait_for_selector("body.ready")
            return page

        yield open_tab


def bars(page: Any) -> dict[str, str]:
    names, values = (page.locator(f".feel .{part}").all_inner_texts() for part in ("name", "value"))
    return dict(zip(names, values, strict=True))


def typed(page: Any, text: str, tab: str = "text") -> None:
    page.fill(f"#{tab}-reader textarea", text)


def test_bars_follow_the_text(open_page: Open, model: Predictor) -> None:
    page = open_page()
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


def test_words_that_carry_a_label_are_marked_where_they_stand(open_page: Open, model: Predictor) -> None:
    page = open_page()
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


def test_threshold_and_level(open_page: Open, model: Predictor) -> None:
    page = open_page()
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


def test_an_older_answer_never_shows(open_page: Open) -> None:
    """The first question is held back until the text has changed: its answer is dropped."""
    page = open_page()
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
    while not held:
        page.wait_for_timeout(20)
    for text in ("I am furious and", "I am furious and scared", "I am scared"):
        typed(page, text)
    page.wait_for_timeout(150)
    assert asked == ["I am happy"]  # one question at a time
    held[0].continue_()
    page.wait_for_selector("#text-verdict strong:text-is('fear')")
    assert asked == ["I am happy", "I am scared"]  # and of those that waited only the last
    assert not [text for text in page.evaluate("window.seen") if "joy" in text or "anger" in text]


def test_hostile_texts_stay_texts(open_page: Open) -> None:
    page = open_page()
    typed(page, HOSTILE)
    page.wait_for_selector("#text-words li")
    assert page.locator("#text-reader .under").inner_text().rstrip("\u200b") == HOSTILE
    assert page.locator("main img, main script").count() == 0
    page.click("#tab-own")
    page.click("#own-add")
    page.locator(".label-name").fill(f"{HOSTILE[:120]}")
    page.locator(".meanings textarea").fill(HOSTILE)
    for name in ("__proto__", "constructor"):
        page.click("#own-add")
        page.locator(".label-name").last.fill(name)
        page.locator(".meanings textarea").last.fill(f"happy {name}")
    until(page, "[...document.querySelectorAll('.card .value')].every(one => /\\d/.test(one.textContent))")
    assert page.locator("main img, main script").count() == 0
    page.reload()
    page.wait_for_selector("body.ready")
    assert [page.locator(".label-name").nth(k).input_value() for k in range(3)] == [
        HOSTILE[:120],
        "__proto__",
        "constructor",
    ]
    assert page.locator("main img, main script").count() == 0


def test_own_labels_are_scored_while_they_are_written(open_page: Open, model: Predictor) -> None:
    page = open_page("own")
    typed(page, "I am glad and happy", "own")
    assert page.locator(".card").count() == 0
    mine = {"delight": "happy, glad", "dread": "scared, worried"}
    for name, meaning in mine.items():
        page.click("#own-add")
        assert page.evaluate("document.activeElement.className") == "label-name"
        page.keyboard.type(name)
        assert "Write what it means." in page.locator(".card .lack").last.inner_text()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type(meaning)
    scores = model.with_labels(mine).predict("I am glad and happy").scores
    shown = [f"{scores[name]:.2f}" for name in mine]
    until(
        page,
        "wanted => [...document.querySelectorAll('.card .value')].every((one, k) => one.textContent === wanted[k])",
        arg=shown,
    )
    page.locator("#own-threshold input").fill("0.02")
    page.wait_for_selector("#own-words li, #own-words .hint")

    page.locator(".label-name").last.fill("delight")
    assert "Another label has this name." in page.locator(".card .lack").last.inner_text()
    page.locator(".label-name").last.fill("dread")
    page.reload()
    page.wait_for_selector("body.ready")
    assert [page.locator(".label-name").nth(k).input_value() for k in range(2)] == list(mine)  # kept
    assert page.input_value("#own-reader textarea") == ""  # a text is not
    page.click(".card .remove >> nth=0")
    assert page.locator(".card").count() == 1
    page.click("#own-clear")
    page.select_option("#own-presets", index=1)
    assert page.locator(".card").count() >= 3
    until(page, "[...document.querySelectorAll('.card .value')].every(one => /\\d/.test(one.textContent))")


TOML = '''# mine
awe = "Wonder \\u00e9 \\"mixed\\" with\\trespect" # and more
"home sick" = 'Longing \\ for home'
[calm]
definitions = [
  "Quiet",  # one
  """Rested,
at peace""",
]
examples = ["I sat still"]
threshold = 0.4
[x]
definition = "The last"
'''


def test_labels_from_toml_and_back(open_page: Open, tmp_path: Path) -> None:
    """What the page reads and writes is what Python reads."""
    page = open_page("own")
    path = tmp_path / "labels.toml"
    path.write_text(TOML, encoding="utf-8")
    page.set_input_files("#own-file", path)
    page.wait_for_selector(".card >> nth=3")
    with page.expect_download() as download:
        page.click("#own-export")
    written = Path(download.value.path()).read_text(encoding="utf-8")
    assert download.value.suggested_filename == "labels.toml"
    ours, theirs = read_labels(path), read_labels(tomllib.loads(written))
    assert ours.names == theirs.names == ("awe", "home sick", "calm", "x")
    assert ours.definitions == theirs.definitions
    assert ours.examples == theirs.examples
    assert ours.thresholds == theirs.thresholds

    for wrong, said in {
        'a = "b': "line 1: a text is not closed",
        'a = "b"\na = "c"': "line 2: a is there twice",
        'a = "b" c': "line 1: something stands",
        "\n\na = 1": "a: a definition must be texts in quotes",
        "a = b": "line 1: b is no value",
        "": "there is no label in it",
        '[a]\ndefinition = "x"\nthreshold = 2': "a: its threshold must be a number between 0 and 1",
    }.items():
        path.write_text(wrong, encoding="utf-8")
        page.set_input_files("#own-file", path)
        until(
            page,
            "said => document.getElementById('own-problem').textContent.includes(said)",
            arg=f"labels.toml: {said}",
        )
        assert page.locator(".card").count() == 4  # what was there stays


def test_toml_is_read_as_python_reads_it(open_page: Open) -> None:
    page = open_page("own")
    documents = [
        TOML,
        'a = "\\U0001F642 \\\\ \\b"\r\nb.definition = "dotted"\r\nb.threshold = 5e-1\r\n',
        'a = \'\'\'\nfirst\n  \'second\' \'\'\'\n["q \\"uoted\\""]\ndefinition = """\\\n    joined \\\n    up"""\n',
        'a = {definition = "inline", examples = ["x", \'y\',]}\n',
        'name = "set"\n[[labels]]\nname = "one"\ndefinition = "first"\n[[labels]]\nname = "two"\ndefinition = "second"\n'
        '[mappings.coarse]\none = "x"\ntwo = "x"\n',
    ]
    for document in documents:
        found = page.evaluate("async text => (await import('/assets/toml.js')).readLabels(text)", document)
        given = tomllib.loads(document)
        if isinstance(given.get("labels"), list):
            given = {one["name"]: one["definition"] for one in given["labels"]}
        wanted = []
        for name, value in given.items():
            value = value if isinstance(value, dict) else {"definition": value}
            meanings = [value["definition"]] if "definition" in value else value["definitions"]
            wanted.append(
                {
                    "name": name,
                    "definitions": meanings,
                    "examples": value.get("examples", []),
                    "threshold": value.get("threshold"),
                }
            )
        assert found == wanted
        again = page.evaluate("async labels => (await import('/assets/toml.js')).writeLabels(labels)", found)
        assert (
            page.evaluate("async text => (await import('/assets/toml.js')).readLabels(text)", again) == found
        )
        assert list(tomllib.loads(again)) == [one["name"] for one in wanted]


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


def test_busy_server_is_asked_again(open_page: Open) -> None:
    page = open_page(expected="503")
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


def test_what_the_server_refuses_is_told(open_page: Open, server: PageServer) -> None:
    page = open_page(expected="413")
    typed(page, "happy " * 9_000)
    page.wait_for_selector("#text-verdict .problem")
    assert f"a text may have {server.settings.limits.text_characters}" in page.inner_text(
        "#text-verdict"
    ).replace(",", "")
    typed(page, "happy " * 900)  # can be predicted, is too long to explain
    page.wait_for_selector("#text-words .hint")
    assert page.locator("#text-verdict strong").all_inner_texts() == ["joy"]


def test_tabs_by_keys_and_colours_by_switch(open_page: Open) -> None:
    page = open_page(color_scheme="dark")
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_and_contrast(open_page: Open, scheme: str) -> None:
    page = open_page(
        color_scheme=scheme, bypass_csp=True, reduced_motion="reduce"
    )  # axe is put into the page, which the policy forbids
    assert violations(page) == []
    typed(page, TEXT)
    page.wait_for_selector("#text-words li")
    page.click(".feel >> nth=1")
    assert violations(page) == []
    page.add_style_tag(
        content="#text-reader .under { color: var(--ink) } #own-reader .under { color: var(--ink) }"
    )  # as the letters over it
    assert page.evaluate(CONTRAST) == []
    page.click("#tab-own")
    page.select_option("#own-presets", index=1)
    page.click(".card summary >> nth=0")
    until(page, "/\\d/.test(document.querySelector('.card .value').textContent)")
    assert violations(page) == []
    assert page.evaluate(CONTRAST) == []
    page.click("#tab-file")
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 390, 900])
def test_no_width_makes_the_page_scroll_sideways(open_page: Open, width: int) -> None:
    page = open_page(width=width)
    typed(page, f"{TEXT} {'happy' * 40}")
    page.wait_for_selector("#text-words li")
    for tab in ("text", "own", "file"):
        page.click(f"#tab-{tab}")
        if tab == "own":
            page.select_option("#own-presets", index=1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
    sizes = page.eval_on_selector_all(
        "button",
        "all => all.filter(one => one.checkVisibility()).map(one => one.getBoundingClientRect().height)",
    )
    assert min(sizes) >= 24  # WCAG 2.2: large enough to touch


def test_it_says_aloud_what_was_found(open_page: Open) -> None:
    page = open_page()
    assert page.get_attribute("#text-said", "role") == "status"
    typed(page, "I am happy")
    until(page, "document.getElementById('text-said').textContent.includes('joy')")
    assert re.search(r"joy 0\.\d\d|joy >0\.99", page.inner_text("#text-said"))
