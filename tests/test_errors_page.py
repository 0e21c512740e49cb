"""Table V's page: its numbers are those of the predictions, no text breaks out of it, nothing is loaded."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.corpora.sources import SOURCES
from emodef.labels import LabelSet
from emodef.metrics import decide
from emodef.paper.errors_page import errors_content, render_errors_page
from test_page_html import Parts
from tiny_errors import GOEMOTIONS, HOSTILE, made
from tiny_results import write_corpus, write_run


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
