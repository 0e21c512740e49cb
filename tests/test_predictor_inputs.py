"""The light predictor and whatever people give it: any Unicode, long texts, other containers, things that are no text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.encoding import Tokens
from emodef.errors import DataError
from emodef.predictor import Predictor
from emodef.predictor.windows import cut

ODD = [
    "",
    "   \t\n ",
    "\x00",
    "a\x00b\x07\x1b[31m",
    "\ufeff",
    "\u200b\u200d\u2028",
    "e\u0301\u0301\u0301 n\u0303",
    "\u0301",
    "😀👍🏽👩‍👩‍👧🇩🇪",
    "سعيد جدا \u202e reversed \u202c",
    "我很高兴",
    "\U0010ffff\ue000\ufffe",
    "[CLS] [SEP] [PAD] [UNK]",
    "ﬁ Ａ ß İ",
    "so " * 500,
    "x" * 5000,
]


@pytest.fixture(scope="module")
def predictor(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=2)


def test_odd_texts_get_an_answer(predictor: Predictor) -> None:
    found = predictor.predict(ODD, at_least_one=True)
    together = predictor.predict_proba(ODD)
    assert np.isfinite(together).all()
    for prediction, text, values in zip(found, ODD, together, strict=True):
        assert prediction.text == text
        assert prediction.labels
        np.testing.assert_allclose(predictor.predict_proba(text)[0], values, atol=1e-6)
    nothing = found[0]
    for number in (1, 2, 4, 5):  # what the tokenizer does not see is as good as nothing
        assert found[number].tokens == 0
        np.testing.assert_allclose(found[number].probabilities, nothing.probabilities, atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=6))
def test_any_text(texts: list[str]) -> None:
    predictor = _shared()
    together = predictor.predict_proba(texts)
    assert together.shape == (len(texts), 5)
    assert ((together >= 0) & (together <= 1)).all()
    for text, values in zip(texts, together, strict=True):
        np.testing.assert_allclose(predictor.predict_proba(text)[0], values, atol=1e-6)


_kept: list[Predictor] = []


def _shared() -> Predictor:
    if not _kept:
        import tempfile

        from tiny_light import build_tiny_light

        with tempfile.TemporaryDirectory() as folder:
            _kept.append(Predictor.load(build_tiny_light(Path(folder)), threads=1))
    return _kept[0]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (None, "NoneType"),
        (float("nan"), "float"),
        (b"bytes", "bytes"),
        (["nested"], "list"),
        ("half \ud83d of a pair", "surrogate"),
    ],
)
def test_what_is_no_text_is_named(bad: Any, named: str, predictor: Predictor) -> None:
    texts = ["fine"] * 5000 + [bad, "fine"]
    for call in (predictor.predict, predictor.predict_proba, predictor.embed, predictor.explain):
        with pytest.raises(DataError, match=f"text 5001 of 5002 is .*{named}"):
            call(texts)
    with pytest.raises(DataError, match="text 2 of 2"):
        predictor.definition_proba(["a", "b"], ["a feeling", bad])


def test_other_containers(predictor: Predictor) -> None:
    texts = ["why?", "I am happy", ""]
    expected = predictor.predict_proba(texts)
    for given_as in (tuple(texts), (text for text in texts), np.array(texts), np.array(texts, dtype=object)):
        np.testing.assert_array_equal(predictor.predict_proba(given_as), expected)
    np.testing.assert_array_equal(predictor.predict_proba(np.array("why?")), expected[:1])
    assert [p.text for p in predictor.predict(np.array(texts))] == texts
    assert all(type(p.text) is str for p in predictor.predict(np.array(texts)))
    polars = pytest.importorskip("polars")
    np.testing.assert_array_equal(predictor.predict_proba(polars.Series(texts)), expected)
    for bad in (b"bytes", 3, None):
        with pytest.raises(DataError, match=type(bad).__name__ if bad != b"bytes" else "decode"):
            predictor.predict_proba(bad)


# ---- long texts


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 120), max_size=12), st.integers(8, 40))
def test_windows_cover_every_token(lengths: list[int], room: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = Tokens(np.arange(offsets[-1], dtype=np.int32), offsets)
    found = cut(tokens, room)
    assert found.counts.sum() == len(found.tokens) == len(found.starts)
    assert found.lengths.tolist() == lengths
    for i, length in enumerate(lengths):
        first, count = found.first[i], found.counts[i]
        windows = [found.tokens[w] for w in range(first, first + count)]
        starts = found.starts[first : first + count]
        for window, start in zip(windows, starts, strict=True):
            np.testing.assert_array_equal(window, tokens[i][start : start + len(window)])
        if length <= room:
            assert count == 1
            continue
        assert {len(window) for window in windows} == {room}
        assert starts[0] == 0
        assert starts[-1] == length - room
        assert (room - np.diff(starts) >= room / 4).all()  # in common with the next
        assert (count - 1) * (room - -(-room // 4)) >= length - room > (count - 2) * (room - -(-room // 4))
    values = np.random.default_rng(0).random((len(found.tokens), 3))
    means = [values[f : f + c].mean(axis=0) for f, c in zip(found.first, found.counts, strict=True)]
    np.testing.assert_allclose(found.mean(values), np.array(means).reshape(-1, 3))


def test_a_long_text_is_the_mean_of_its_windows(predictor: Predictor) -> None:
    """Nothing is cut: a word at the very end counts; and each window says where it lies and what it scores."""
    text = "so it is, " * 25 + "I am happy and glad" + " so it is," * 25 + " I am furious"
    found = predictor.predict(text)
    assert found.windows == len(found.parts) > 3
    np.testing.assert_allclose(
        found.probabilities,
        np.mean([[part.scores[name] for name in found.names] for part in found.parts], axis=0),
        atol=1e-6,
    )
    assert found.parts[0].start == 0
    assert found.parts[-1].end == len(text)
    for before, after in zip(found.parts, found.parts[1:], strict=False):
        assert before.start < after.start < before.end < after.end
    for part in found.parts:  # a window scores as its own text does: these cut no word in two
        alone = predictor.predict_proba(text[part.start : part.end])[0]
        np.testing.assert_allclose(list(part.scores.values()), alone, atol=1e-6)
    strongest = max(found.parts, key=lambda part: part.scores["anger"])
    assert strongest is found.parts[-1]
    assert [p.windows for p in predictor.predict([text, "short", text])] == [found.windows, 1, found.windows]
    coarse = predictor.predict(text, level="sentiment", calibrated=True)
    assert set(coarse.parts[0].scores) == {"positive", "negative", "ambiguous", "neutral"}
    assert len(found.to_dict()["parts"]) == found.windows


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "I am so happy, it is great. " * 36_000, "\u0301" * 1_000_000, "😀" * 1_000_000]
)
def test_a_megabyte(text: str, predictor: Predictor) -> None:
    start = time.monotonic()
    found = predictor.predict([text, "why?"])
    assert found[0].windows >= 1
    assert found[1].windows == 1
    assert time.monotonic() - start < 60


def test_a_table_is_not_taken_for_its_column_names(predictor: Predictor) -> None:
    class Frame(dict[str, list[str]]):
        columns = ("text", "id")

        def __iter__(self) -> Any:
            return iter(self.columns)

    for table in ({"text": "Thank you", "id": "7"}, Frame(text=["so happy"])):
        with pytest.raises(DataError, match=r"give one column of it, as in table\['text'\]"):
            predictor.predict(table)
