"""Emoji as words: what they become, and that what is said of a text still points into the text that was given."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from emodef.emoji import emoji_words, rewrite
from emodef.encoding import Encoder
from emodef.errors import DataError
from emodef.labels import LabelSet
from emodef.predictor.core import Predictor
from emodef.predictor.model_file import Encoding, ModelInfo
from tiny_light import build_tiny_light


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ha 😂", "ha face with tears of joy"),
        ("ha😂😂 😂!", "ha face with tears of joy !"),
        ("I ❤️ it ♥", "I heart it heart suit"),
        ("🤷🏽‍♀️", "shrug"),
        ("👨‍👩‍👧 at home", "man woman girl at home"),
        ("🇳🇱🇳🇱", "flag flag"),
        ("1️⃣st", "1st"),
        ("♂ is a sign", "male is a sign"),
        ("© 2020 → “x”", "© 2020 → “x”"),
        ("\ufe0f", ""),
        ("café", "café"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert " ".join(emoji_words(text).split()) == words


@pytest.mark.parametrize("text", ["so 😂😂 it", "🤷🏽‍♀️", "é 🇳🇱 ü", "", "none", "a\ufe0fb"])
def test_places_point_into_the_given_text(text: str) -> None:
    read = rewrite(text)
    assert read.text == emoji_words(text)
    assert len(read.starts) == len(read.ends) == len(read.text)
    for i, character in enumerate(read.text):
        start, end = read.place(i, i + 1)
        assert 0 <= start < end <= len(text)
        assert text[start:end] == character or emoji_words(text[start:end]).count(character)
    assert read.place(0, 0) == (0, 0)


def test_encoder_reads_words(tiny_light: Path) -> None:
    def encoder(emoji: bool) -> Encoder:
        return Encoder(Tokenizer.from_file(str(tiny_light / "tokenizer.json")), pad_id=0, emoji=emoji)

    text = "so happy 😂😂 today"
    words, kept = encoder(True), encoder(False)
    assert words.tokenize([text])[0].tolist() == kept.tokenize([emoji_words(text)])[0].tolist()
    assert kept.tokenize([text])[0].tolist() != words.tokenize([text])[0].tolist()
    ids, places = words.located(text)
    assert ids.tolist() == words.tokenize([text])[0].tolist()
    found = [text[a:b] for a, b in places.tolist()]
    assert found[0] == "so"
    assert "😂😂" in found
    assert "".join(found[-1:]) in "today"
    ids, places = kept.located(text)
    assert ids.tolist() == kept.tokenize([text])[0].tolist()


def test_a_model_that_reads_words(tmp_path: Path) -> None:
    folder = build_tiny_light(tmp_path)
    info = ModelInfo.read(folder)
    assert info.encoding.emoji == "keep"  # of a file from before there was a choice, too
    before = Predictor.load(folder)
    encoding = Encoding(**{**vars(info.encoding), "emoji": "words"})
    ModelInfo(info.label_set, encoding, thresholds=info.thresholds).write(folder)
    predictor = Predictor.load(folder)
    text = "what a day 😂😂, really"
    assert predictor.predict_proba(text).tolist() == before.predict_proba(emoji_words(text)).tolist()
    explained = predictor.explain(text)
    assert [word.text for word in explained.words] == ["what", "a", "day", "😂😂", ",", "really"]
    assert all(text[word.start : word.end] == word.text for word in explained.words)


def test_unknown_choice_is_refused() -> None:
    with pytest.raises(DataError, match=r"encoding\.emoji is 'names'"):
        ModelInfo(LabelSet("x", ("a",), ("b",)), Encoding(0, emoji="names"))
