"""One's own labels in the page: scored while they are written, kept, from TOML and back; hostile names and texts."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from browsing import Open, until
from emodef import Predictor
from emodef.definitions import read_labels
from page_server import typed

HOSTILE = (
    "<img src=x onerror='window.hit=1'></textarea><script>window.hit = 1</script> {{7*7}} ${1} \u202e🙂 happy"
)
READ = "async text => (await import('/assets/toml.js')).readLabels(text).labels"


@pytest.fixture(scope="module")
def model(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=1)


def test_hostile_texts_stay_texts(open_tab: Open) -> None:
    page = open_tab()
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


def test_own_labels_are_scored_while_they_are_written(open_tab: Open, model: Predictor) -> None:
    page = open_tab("own")
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


def test_labels_from_toml_and_back(open_tab: Open, tmp_path: Path) -> None:
    """What the page reads and writes is what Python reads."""
    page = open_tab("own")
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
        '[a]\ndefinition = "x"\nthreshold = 2': "a: its threshold must be a number from 0 to below 1",
        '[a]\ndefinition = "x"\nthreshold = "0.4"': "a: its threshold must be a number from 0 to below 1",
        '[a]\ndefinitoins = ["x"]': "a: definitoins is not known",
        'name = "of the set"': "there is no label in it",
        'exclusive = "True"\na = "b"': 'exclusive = "True" is a text; write exclusive = true',
    }.items():
        path.write_text(wrong, encoding="utf-8")
        page.set_input_files("#own-file", path)
        until(
            page,
            "said => document.getElementById('own-problem').textContent.includes(said)",
            arg=f"labels.toml: {said}",
        )
        assert page.locator(".card").count() == 4  # what was there stays


def test_what_a_file_says_of_the_whole_set_is_no_label(open_tab: Open, tmp_path: Path) -> None:
    page = open_tab("own")
    travel = Path(__file__).parents[1] / "examples/labels/travel.toml"
    tables = tmp_path / "tables.toml"  # labels of these names stand in tables
    tables.write_text(
        '[name]\ndefinition = "what one is called"\n[mappings]\ndefinitions = ["drawn", "by hand"]\n'
        '[exclusive]\ndefinition = "for few"\n[coarse]\ndefinition = "rough"\n',
        encoding="utf-8",
    )
    one = tmp_path / "one.toml"
    one.write_text('exclusive = true\nawe = "Wonder"\nfear = "Danger"\n', encoding="utf-8")
    for path, unused in ((travel, "travel.toml: mappings."), (tables, ""), (one, "one.toml: exclusive.")):
        page.set_input_files("#own-file", path)
        wanted = read_labels(path)
        until(
            page,
            "names => JSON.stringify([...document.querySelectorAll('.label-name')].map(one => one.value)) === JSON.stringify(names)",
            arg=list(wanted.names),
        )
        meanings = page.locator(".meanings textarea").evaluate_all("all => all.map(one => one.value)")
        assert meanings == [text for texts in wanted.definitions for text in texts]
        assert page.is_visible("#own-note") == bool(unused)
        assert unused in page.inner_text("#own-note")
    page.click("#own-clear")
    assert page.is_hidden("#own-note")


def test_no_word_is_marked_where_no_label_passes(open_tab: Open) -> None:
    page = open_tab("own")
    typed(page, "I am glad and happy", "own")
    page.click("#own-add")
    page.locator(".label-name").fill("delight")
    page.locator(".meanings textarea").fill("happy, glad")
    page.locator("#own-threshold input").fill("0.02")
    page.wait_for_selector("#own-words li")
    assert page.locator("#own-reader .under span").count() > 0
    page.locator("#own-threshold input").fill("0.98")
    page.wait_for_selector("#own-words .hint")
    assert page.locator("#own-reader .under span").count() == 0


def test_toml_is_read_as_python_reads_it(open_tab: Open) -> None:
    page = open_tab("own")
    documents = [
        TOML,
        'a = "\\U0001F642 \\\\ \\b"\r\nb.definition = "dotted"\r\nb.threshold = 5e-1\r\n',
        'a = \'\'\'\nfirst\n  \'second\' \'\'\'\n["q \\"uoted\\""]\ndefinition = """\\\n    joined \\\n    up"""\n',
        'a = {definition = "inline", examples = ["x", \'y\',]}\n',
        'name = "set"\n[[labels]]\nname = "one"\ndefinition = "first"\n[[labels]]\nname = "two"\ndefinition = "second"\n'
        '[mappings.coarse]\none = "x"\ntwo = "x"\n',
    ]
    for document in documents:
        found = page.evaluate(READ, document)
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
        assert page.evaluate(READ, again) == found
        assert list(tomllib.loads(again)) == [one["name"] for one in wanted]
