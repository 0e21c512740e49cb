"""New texts made of parts of a corpus's own: what a part is, what is drawn, what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.corpora.recombined import LONGEST, parts, recombine
from emodef.errors import DataError
from emodef.labels import LabelSet

LABELS = LabelSet("mood", ("often", "seldom"), ("what is often felt", "what is seldom felt"))


def corpus(texts: list[str], seldom: int = 0) -> Corpus:
    labels = np.zeros((len(texts), 2), dtype=np.uint8)
    labels[:, 0] = 1
    labels[:seldom] = (0, 1)
    return Corpus("mine", "train", texts, labels, LABELS, [str(i) for i in range(len(texts))])


def test_parts() -> None:
    assert parts("I see. You came back, and he left! ok") == ["I see.", "You came back,", "and he left! ok"]
    assert parts("Oh. What a day\nNo way… truly") == ["Oh. What a day", "No way… truly"]
    assert parts("3.5 stars at 10:30") == ["3.5 stars at 10:30"]
    assert parts("Wow!") == ["Wow!"]
    assert parts("  ") == []


def test_texts_are_new_and_made_of_parts() -> None:
    whole = corpus([f"Text {i} begins here, it goes on {i}. And it ends {i}!" for i in range(30)])
    pieces = {piece for text in whole.texts for piece in parts(text)}
    new = recombine(whole, 200)
    assert len({text.lower() for text in new}) == 200
    assert not set(new) & set(whole.texts)
    for text in new:
        assert set(parts(text)) <= pieces
        assert 2 <= len(text.split()) <= LONGEST
    alone = sum(len({piece.split()[-1].strip(",.!") for piece in parts(text)}) == 1 for text in new)
    assert 20 < alone < 180  # parts of one text, and of two
    assert recombine(whole, 200) == new
    assert recombine(whole, 200, seed=1) != new


def test_texts_with_rare_labels_are_drawn_more_often() -> None:
    whole = corpus([f"rare{i} things come" if i < 4 else f"known{i} things go" for i in range(400)], seldom=4)
    new = recombine(whole, 2000)
    rare = sum("rare" in text for text in new) / len(new)
    each = 10 * 4 / (10 * 4 + 396 * (400 / 396) ** 0.5)  # the share of the draws: 1/sqrt(4/400) is 10
    assert abs(rare - (1 - (1 - each) ** 2)) < 0.04  # a text is made of two


def test_too_few_texts() -> None:
    with pytest.raises(DataError, match="2 texts are too few to make 10 new ones of"):
        recombine(corpus(["One text alone", "Another text here"]), 10)
    with pytest.raises(DataError, match="0 texts are too few"):
        recombine(corpus([]), 1)
    with pytest.raises(DataError, match="1 texts are too few"):
        recombine(corpus(["  "]), 1)
    assert len(recombine(corpus(["  ", *(f"Some {i} day, a song" for i in range(9))]), 20)) == 20


def test_the_command(tmp_path: Path) -> None:
    rows = [f'"It is day {i}, we sing. Nobody {i} minds",joy' for i in range(20)]
    (tmp_path / "mine.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    out = tmp_path / "new.csv"
    told = emodef_command("data", "recombine", str(tmp_path / "mine.csv"), "--out", str(out), "--count", "15")
    assert "15 texts" in told.stderr
    with out.open() as file:
        found = list(csv.DictReader(file))
    assert [row["id"] for row in found] == [f"recombined:{i}" for i in range(1, 16)]
    assert all({"day", "sing.", "Nobody"} & set(row["text"].split()) for row in found)
    mine = tmp_path / "mine.csv"
    before = mine.read_bytes()
    for command in (("recombine", mine), ("pairs", mine), ("recombine", tmp_path)):
        refused = emodef_command("data", *command, "--out", mine, code=2)
        assert "is the input itself" in refused.stderr
    assert mine.read_bytes() == before
    told = emodef_command(
        "data", "recombine", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "new.txt"), code=2
    )
    assert "new.txt: this is written as .csv or .jsonl" in told.stderr
