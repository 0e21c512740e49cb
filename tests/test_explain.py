"""Explanations: a word's contribution is what the text's probability loses without it; words, long texts, the command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from emodef.cli import explaining
from emodef.cli.app import Commands
from emodef.errors import LabelSetError, SettingsError
from emodef.predictor import Predictor, explain
from test_predictor_inputs import ODD, _shared

TEXT = "happy, so why is it awful?"


@pytest.fixture(scope="module")
def predictor(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=2)


def test_a_contribution_is_what_the_text_loses_without_the_word(predictor: Predictor) -> None:
    found = predictor.explain(TEXT, labels=["joy", "anger"])
    whole = predictor.predict_proba(TEXT)[0]
    names = predictor.label_set.names
    assert [label.name for label in found.labels] == sorted(
        ["joy", "anger"], key=lambda n: -whole[names.index(n)]
    )
    words = ["happy", ",", "so", "why", "is", "it", "awful", "?"]
    assert [word.text for word in found.words] == words
    for word in found.words:
        assert TEXT[word.start : word.end] == word.text
        without = predictor.predict_proba(TEXT[: word.start] + TEXT[word.end :])[0]
        for name in ("joy", "anger"):
            k = names.index(name)
            assert word.contributions[name] == pytest.approx(whole[k] - without[k], abs=1e-6)
    assert found.strongest("joy", 1)[0].text == "happy"
    assert found.strongest("anger", 1)[0].text == "awful"
    assert len(found.strongest("joy")) == 8


def test_which_labels_are_explained(predictor: Predictor) -> None:
    predicted = predictor.predict(TEXT)
    found = predictor.explain(TEXT)
    assert dict(found.labels) == pytest.approx(dict(predicted.labels), abs=1e-6)
    assert len(found.labels) == 3
    assert found.predicted == tuple(label.name for label in predicted.labels)
    none = predictor.explain("it is so")
    assert none.predicted == ()
    assert [label.name for label in none.labels] == list(predictor.predict("it is so").scores)[:1]
    assert predictor.explain(TEXT, labels="fear").labels[0].name == "fear"
    assert predictor.explain(TEXT, threshold=0).predicted == tuple(predictor.predict(TEXT).scores)
    with pytest.raises(LabelSetError, match="happiness"):
        predictor.explain(TEXT, labels="happiness")
    with pytest.raises(SettingsError, match="no label"):
        predictor.explain(TEXT, labels=[])


def test_levels(predictor: Predictor) -> None:
    found = predictor.explain("I am scared", labels="negative", level="sentiment")
    whole, without = predictor.predict_proba(["I am scared", "I am"], level="sentiment")
    names = predictor.label_set.coarse["sentiment"].names
    k = names.index("negative")
    assert found.strongest("negative", 1)[0].contributions["negative"] == pytest.approx(
        whole[k] - without[k], abs=1e-6
    )


def test_many_texts_at_once(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXT, "", "happy", "why are you afraid of it " * 12, TEXT]
    alone = [predictor.explain(text) for text in texts]
    monkeypatch.setattr(explain, "GROUP", 20)
    together = predictor.explain(texts)
    assert [e.text for e in together] == texts
    for one, other in zip(alone, together, strict=True):
        assert [w.text for w in one.words] == [w.text for w in other.words]
        assert one.predicted == other.predicted
        for word, same in zip(one.words, other.words, strict=True):
            assert word.contributions == pytest.approx(same.contributions, abs=1e-6)
    assert together[1].words == ()
    assert predictor.explain([]) == []


def test_a_long_text_in_windows(predictor: Predictor) -> None:
    text = "so it is, " * 20 + "I am happy " + "so it is, " * 20
    found = predictor.explain(text, labels="joy")
    prediction = predictor.predict(text)
    assert found.windows == prediction.windows > 3
    assert found.labels[0].score == pytest.approx(prediction.scores["joy"], abs=1e-6)
    best = found.strongest("joy", 1)[0]
    assert best.text == "happy"
    # it is in some windows only: the mean falls by what these lose
    lost = 0.0
    for part in prediction.parts:
        own = text[part.start : part.end]
        if part.start <= best.start < part.end:
            cut = own[: best.start - part.start] + own[best.end - part.start :]
            lost += part.scores["joy"] - predictor.predict(cut).scores["joy"]
    assert best.contributions["joy"] == pytest.approx(lost / found.windows, abs=1e-6)


def test_very_many_words_go_together(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "MOST_WORDS", 10)
    text = "so it is " * 10 + "happy " + "so it is " * 4
    found = predictor.explain(text, labels="joy")
    assert found.together == 5
    assert len(found.words) == 9
    assert [len(word.text.split()) for word in found.words] == [5] * 8 + [3]
    assert "happy" in found.strongest("joy", 1)[0].text


def test_words_without_tokens_at_the_ends_of_a_group(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain, "MOST_WORDS", 4)
    text = "\u200b so happy it is \u200b \u200b \u200b"
    found = predictor.explain(text, labels="joy")
    assert [word.text for word in found.words] == ["\u200b so", "happy it", "is \u200b", "\u200b \u200b"]
    whole = predictor.predict(text).scores["joy"]
    for word in found.words:
        without = predictor.predict(text[: word.start] + text[word.end :]).scores["joy"]
        assert word.contributions["joy"] == pytest.approx(whole - without, abs=1e-6)
    assert abs(found.words[1].contributions["joy"]) > 0.01
    assert found.words[3].contributions["joy"] == 0


def test_words(predictor: Predictor) -> None:
    def words(text: str) -> list[str]:
        return [word.text for word in predictor.explain(text, labels="joy").words]

    assert words("don't, it’s re-done!!! ok?!") == [
        "don't",
        ",",
        "it’s",
        "re",
        "-",
        "done",
        "!!!",
        "ok",
        "?",
        "!",
    ]
    assert words("so [UNK], it [PAD]") == ["so", "[UNK]", ",", "it", "[PAD]"]  # what is one token is one word
    assert words("happy 😀👍🏽 ok") == ["happy", "😀👍🏽", "ok"]
    assert words(" \t\n") == []


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=60), st.sampled_from(ODD)))
def test_any_text(text: str) -> None:
    found = _shared().explain(text, labels=["joy"])
    end = 0
    for word in found.words:
        assert end <= word.start < word.end
        assert text[word.start : word.end] == word.text
        assert np.isfinite(word.contributions["joy"])
        end = word.end


# ---- the command


@pytest.fixture(scope="module")
def run(tiny_light: Path) -> Any:
    app = typer.Typer(cls=Commands, rich_markup_mode="rich", pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    explaining.add_commands(app)

    def call(*arguments: str, **options: Any) -> Any:
        return CliRunner().invoke(app, ["explain", "--model", str(tiny_light), *arguments], **options)

    return call


def test_what_is_shown(run: Any, predictor: Predictor) -> None:
    found = run(TEXT)
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert lines[0].startswith(f"{predictor.predict(TEXT).labels[0].name} 0.")
    assert "[why+]" in lines[1]
    assert re.match(r"  why +\+0\.\d\d █{20}$", lines[2])
    assert "\x1b" not in found.stdout
    assert found.stderr == ""


def test_against_is_marked_too(run: Any) -> None:
    shown = run("--label", "joy", "happy meeting platform chairs so").stdout
    assert "[happy+] [meeting-]" in shown


def test_colours_where_wanted(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("--label", "joy", "happy meeting platform chairs so").stdout
    assert "\x1b[1;32m[happy+]" in shown
    assert "\x1b[1;31m[meeting-]" in shown


def test_json(run: Any, predictor: Predictor) -> None:
    found = run("--json", TEXT, "\u200b")
    objects = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(objects) == 2
    expected = predictor.explain(TEXT)
    assert [word["text"] for word in objects[0]["words"]] == [word.text for word in expected.words]
    assert objects[0]["predicted"] == list(expected.predicted)
    assert objects[0]["words"][3]["contributions"] == pytest.approx(expected.words[3].contributions, abs=1e-6)
    (nothing,) = objects[1]["words"]
    assert set(nothing["contributions"].values()) == {0.0}
    assert predictor.explain("").words == ()


def test_standard_input(run: Any) -> None:
    found = run("--json", "-", input="\ufeffwhy?\r\n\n \u00a0\nI am happy".encode())
    assert [json.loads(line)["text"] for line in found.stdout.splitlines()] == ["why?", "I am happy"]
    assert run("-", input=b"\xff\xfe").exit_code == 3
    assert run("-", input=b"\n").exit_code == 3


def test_what_cannot_be_shown(run: Any) -> None:
    shown = run("happy\x1b[2J\x07 \u202e\n[bold]so[/bold]").stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "bold" in shown


def test_errors(run: Any, tmp_path: Path) -> None:
    assert run("--label", "joyy", "text").exit_code == 3
    assert "joy" in run("--label", "joyy", "text").stderr
    assert run("--threshold", "2", "text").exit_code == 2
    assert run("--model", str(tmp_path), "text").exit_code == 3
    for blank in ("", " \t", "\u00a0"):
        found = run("text", blank)
        assert (found.exit_code, found.stdout) == (3, "")
        assert "text 2 is empty; leave it out" in found.stderr
    assert "no label passes" in run("it is so").stdout


def test_many_words_are_said(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "MOST_WORDS", 10)
    found = run("so it is " * 10)
    assert "3 neighbours" in found.stderr
    assert run("--quiet", "so it is " * 10).stderr == ""
