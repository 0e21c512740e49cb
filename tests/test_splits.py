"""Texts set aside for dev and test: the same ones each time, copies together, the right corpora refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emodef.corpora import Corpus
from emodef.corpora.splits import hold_out
from emodef.errors import SettingsError
from emodef.labels import LabelSet

LABELS = LabelSet("two", ("up", "down"), ("Going up", "Going down"))


def corpus(texts: list[str], split: str = "all") -> Corpus:
    labels = np.zeros((len(texts), 2), dtype=np.uint8)
    labels[np.arange(len(texts)), np.arange(len(texts)) % 2] = 1
    return Corpus("mine", split, texts, labels, LABELS, [str(i) for i in range(len(texts))])


TEXTS = [f"text number {i}" for i in range(1000)]


def test_one_split_becomes_train() -> None:
    found = hold_out({"all": corpus(TEXTS)})
    assert list(found) == ["train"]
    assert found["train"].split == "train"
    assert found["train"].texts == TEXTS


def test_shares_are_about_right_and_nothing_is_lost() -> None:
    found = hold_out({"all": corpus(TEXTS)}, dev=0.1, test=0.2)
    assert list(found) == ["train", "dev", "test"]
    assert [part.split for part in found.values()] == ["train", "dev", "test"]
    assert len(found["dev"]) == pytest.approx(100, abs=30)
    assert len(found["test"]) == pytest.approx(200, abs=40)
    assert sorted(text for part in found.values() for text in part.texts) == sorted(TEXTS)
    whole = dict(zip(TEXTS, corpus(TEXTS).labels.tolist(), strict=True))
    for part in found.values():
        assert part.labels.tolist() == [whole[text] for text in part.texts]
        assert part.ids == [text.split()[-1] for text in part.texts]


def test_a_text_keeps_its_side_when_others_come_and_go() -> None:
    before = set(hold_out({"all": corpus(TEXTS)}, dev=0.1)["dev"].texts)
    after = set(
        hold_out({"all": corpus([*TEXTS[500:], *(f"new {i}" for i in range(300))])}, dev=0.1)["dev"].texts
    )
    assert after & set(TEXTS) == before & set(TEXTS[500:])
    assert before != set(hold_out({"all": corpus(TEXTS)}, dev=0.1, seed=1)["dev"].texts)


def test_a_test_share_set_aside_later_holds_nothing_that_was_dev_before() -> None:
    before = hold_out({"all": corpus(TEXTS)}, dev=0.2)
    after = hold_out({"all": corpus(TEXTS)}, dev=0.2, test=0.3)
    assert after["dev"].texts == before["dev"].texts
    assert not set(after["test"].texts) & set(before["dev"].texts)
    assert hold_out({"all": corpus(TEXTS)}, test=0.3)["test"].texts == after["test"].texts
    earlier = hold_out({"all": corpus(TEXTS)}, dev=0.2, test=0.3, first="test")
    assert hold_out({"all": corpus(TEXTS)}, dev=0.3)["dev"].texts == earlier["test"].texts
    assert {len(part) for part in after.values()} != {len(part) for part in earlier.values()}
    assert sorted(text for part in earlier.values() for text in part.texts) == sorted(TEXTS)


def test_copies_of_a_text_stay_together() -> None:
    copies = [variant for i in range(200) for variant in (f"Same text {i}", f"same  TEXT {i} ")]
    found = hold_out({"all": corpus(copies)}, dev=0.5)
    sides = {split: {" ".join(t.split()).casefold() for t in part.texts} for split, part in found.items()}
    assert sides["train"]
    assert sides["dev"]
    assert not sides["train"] & sides["dev"]


def test_a_split_that_is_there_is_kept() -> None:
    given = {"train": corpus(TEXTS, "train"), "test": corpus(["other"], "test")}
    found = hold_out(given, dev=0.1)
    assert found["test"] is given["test"]
    assert len(found["train"]) + len(found["dev"]) == len(TEXTS)
    with pytest.raises(SettingsError, match="has a test split already"):
        hold_out(given, test=0.1)


@pytest.mark.parametrize(
    ("splits", "shares", "message"),
    [
        ({"all": corpus(TEXTS)}, {"dev": 0.6, "test": 0.4}, "below 1"),
        ({"all": corpus(TEXTS)}, {"dev": -0.1}, "0 or more"),
        ({"all": corpus(["one"])}, {"dev": 1e-9}, "leaves none for dev; raise it"),
        ({"test": replace(corpus(TEXTS), split="test")}, {"dev": 0.1}, "no training split"),
        ({"all": corpus(["one"])}, {"dev": 1 - 1e-12}, "lower them"),
    ],
)
def test_shares_that_do_not_fit(splits: dict[str, Corpus], shares: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        hold_out(splits, **shares)
