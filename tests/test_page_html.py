"""The page as a file: nothing in it can be broken out of, nothing is loaded; and the command that writes it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from commands import emodef_command
from emodef.reporting.page import Prediction, Summary, page_content, render_page, shipped_sets

Put = Callable[[Mapping[str, str | bytes]], Path]

HOSTILE = (
    "</script><script>window.hit = 1</script>",
    "<!--<script>",
    "]]><img src=x onerror=\"window.hit = 1\"> & 'quotes' \\ \u2028\u2029",
    "javascript:window.hit=1 ${window.hit = 1} `window.hit`",
    "half a pair \ud83d and \x00 nothing, עברית, 🙂",
)


class Parts(HTMLParser):
    """Tags with attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[int, str] = {}
        self.is_raw = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.is_raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.is_raw = False

    def handle_data(self, data: str) -> None:
        if self.is_raw:
            self.inside[len(self.tags) - 1] = self.inside.get(len(self.tags) - 1, "") + data

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [
            self.inside.get(k, "")
            for k, (name, found) in enumerate(self.tags)
            if name == tag and attributes.items() <= found.items()
        ]


def page(*texts: str, title: str = "A title", label: str = "joy") -> str:
    summary = Summary(label_sets=shipped_sets())
    for k, text in enumerate(texts):
        summary.add(Prediction({label: 0.9 - k / 100}, text))
    return render_page(page_content(summary), title=title, made=datetime(2024, 5, 1, tzinfo=UTC))


def test_hostile_texts_stay_texts() -> None:
    plain, hostile = Parts(page("a")), Parts(page(*HOSTILE, title=HOSTILE[0], label=HOSTILE[0]))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    (data,) = hostile.texts("script", type="application/json")
    assert not set("<>&\u2028\u2029") & set(data)
    content = json.loads(data)
    shown = {example["text"] for example in content["examples"]}
    assert shown == {text.replace("\ud83d", "?") for text in HOSTILE}
    assert content["about"]["title"] == HOSTILE[0]


def test_only_this_style_and_script_may_run() -> None:
    parts = Parts(page("a"))
    (policy,) = [
        str(found["content"])
        for tag, found in parts.tags
        if found.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
    for rule, (text,) in (
        ("style-src", parts.texts("style")),
        ("script-src", parts.texts("script", type="module")),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_nothing_is_named_that_could_be_loaded() -> None:
    parts = Parts(page("a"))
    for tag, attributes in parts.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "video", "audio", "base"}
        assert not {"src", "srcset", "style", "background", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert str(attributes.get("href", "#")).startswith("#")
    (style,) = parts.texts("style")
    assert not re.search(r"url\(|@import|@font-face", style)
    (script,) = parts.texts("script", type="module")
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|fetch\(|import\b|XMLHttp|localStorage"
    assert not re.search(forbidden, script)
    assert set(re.findall(r"https?://[^\"'\s]*", script)) == {"http://www.w3.org/2000/svg"}


def test_numbers_without_a_script() -> None:
    text = page("a", "b")
    table = re.search(r"<noscript>(.*?)</noscript>", text, re.DOTALL)
    assert table
    assert '<th scope="row">joy</th><td>2</td><td>100.0</td>' in table[1]


def test_the_command(put: Put) -> None:
    folder = put({"p.csv": "text,time,predicted,probabilities\nso good,2024-05-01,joy,0.9\nhm,soon,,\n,,,\n"})
    result = emodef_command("report", folder / "p.csv", "--title", "May & June")
    written = (folder / "p.html").read_text(encoding="utf-8")
    assert "<title>May &amp; June</title>" in written
    assert "so good" in written
    assert "p.html: 2 texts" in result.stderr
    assert "Rows without a prediction, left out: 1." in result.stderr
    assert "row 3, 'soon' is not a time" in result.stderr
    content = json.loads(Parts(written).texts("script", type="application/json")[0])
    assert content["about"]["facts"] == ["p.csv"]
    assert len(content["about"]["notes"]) == 3
    assert "Times read: 1, from 2024-05-01T00:00 to 2024-05-01T00:00. They make no timeline" in result.stderr

    result = emodef_command(
        "report", folder / "p.csv", "--examples", 0, "--out", folder / "a" / "b.html", "--quiet"
    )
    assert result.output == ""
    assert "so good" not in (folder / "a" / "b.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--out", "x.pdf"], 2, "the page is HTML"),
        (["--time-column", "text"], 3, "no time in the column 'text' can be read"),
        (["--labels", "isear"], 3, "leave --labels out"),
        (["--labels", "nothing.toml"], 3, "no such labels"),
        (["--text-column", "body"], 3, "has no column 'body'"),
    ],
)
def test_what_the_command_refuses(put: Put, arguments: list[str], code: int, reason: str) -> None:
    folder = put({"p.csv": "text,predicted,probabilities\nso good,amusement,0.9\n"})
    result = emodef_command("report", folder / "p.csv", *arguments, code=code)
    assert reason in result.stderr
    assert not list(folder.glob("*.html"))


def test_a_folder_is_refused(put: Put) -> None:
    folder = put({"p.csv": "text\n"})
    for given in (folder, "."):
        assert "is a folder; give the file that" in emodef_command("report", given, code=3).stderr


def test_a_given_label_set_that_no_text_has_a_label_of(put: Put) -> None:
    folder = put({"p.csv": "text,predicted,probabilities\nIt rains.,,\n"})
    result = emodef_command("report", folder / "p.csv", "--labels", "isear")
    assert "p.html: 1 text\n" in result.stderr


def test_a_title_and_a_file_name_that_are_not_utf8(put: Put) -> None:
    folder = put({"p.csv": "text,predicted,probabilities\na,joy,0.9\nb,joy,9\n"})
    odd = (folder / "p.csv").rename(folder / "caf\udce9.csv")
    emodef_command(
        "report", odd, "--title", "Caf\udce9", "--out", folder / "p.html", "--on-error", "skip", "--quiet"
    )
    written = (folder / "p.html").read_text(encoding="utf-8")
    about = json.loads(Parts(written).texts("script", type="application/json")[0])["about"]
    assert (about["title"], about["facts"]) == ("Caf?", ["caf?.csv"])
    assert "caf?.csv:3" in about["notes"][0]


def test_no_chart_hands_a_call_as_many_arguments_as_there_are_data() -> None:
    (script,) = Parts(page("a")).texts("script", type="module")
    assert not re.search(r"Math\.(max|min)\([^()]*\.\.\.", script)
    assert not re.search(r"\.push\(\.\.\.", script)


def test_bad_rows_stop_it_or_are_said(put: Put) -> None:
    folder = put({"p.csv": "text,predicted,probabilities\na,joy,0.9\nb,joy,9\n"})
    result = emodef_command("report", folder / "p.csv", code=3)
    assert "p.csv:3: the probability of 'joy' is '9'" in result.stderr
    result = emodef_command("report", folder / "p.csv", "--on-error", "skip")
    assert "1 row could not be used" in result.stderr
    assert "p.html: 1 text\n" in result.stderr


def test_what_is_no_page_of_ours_is_replaced_only_where_it_is_named(put: Put) -> None:
    folder = put({"p.csv": "text,predicted,probabilities\na,joy,0.5\n", "p.html": "<p>mine, of joy"})
    page = folder / "p.html"
    said = emodef_command("report", folder / "p.csv", code=2).stderr
    assert "p.html is there and is no page that emodef made; name the page with --out" in " ".join(
        said.split()
    )
    assert page.read_text() == "<p>mine, of joy"
    emodef_command("report", folder / "p.csv", "--out", page)
    before = page.read_text()
    assert "joy" in before
    emodef_command("report", folder / "p.csv", "--title", "Again")
    assert "Again" in page.read_text()
