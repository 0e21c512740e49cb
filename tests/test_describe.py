"""describe and render: every count on a corpus small enough to count by hand."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from emodef.corpora import Corpus, Problem, load_corpus
from emodef.corpora.describe import Description, describe, normalise, render
from emodef.labels import LabelSet

REAL = os.environ.get("EMODEF_DATA")  # read now: a fixture takes it out of every test's environment

LABELS = LabelSet("weather", ("sun", "rain"), ("It shines", "It falls"))


def corpus(split: str, rows: list[tuple[str, list[str]]], **more: Any) -> Corpus:
    return Corpus(
        name="sky",
        split=split,
        texts=[text for text, _ in rows],
        labels=LABELS.multi_hot([labels for _, labels in rows]),
        label_set=LABELS,
        ids=[f"{split}{i}" for i in range(len(rows))],
        **more,
    )


@pytest.fixture
def splits() -> dict[str, Corpus]:
    train = [
        ("So bright!", ["sun"]),
        ("so  bright", ["sun"]),
        ("Hm.", ["rain"]),
        ("hm", ["sun", "rain"]),
        ("HM!", ["rain"]),
        ("A grey day it was", []),
    ]
    problems = [
        Problem("sky.tsv", 3, "blank", "dropped"),
        Problem("sky.tsv", 4, "blank", "dropped"),
        Problem("sky.tsv", 9, "two fields"),
    ]
    test = [("Hm...", ["rain"]), ("So bright", ["sun"]), ("[red]Dawn[/red]", ["sun"])]
    return {
        "train": corpus("train", train, problems=problems, repairs={"blanks": 2}),
        "test": corpus("test", test),
    }


def text_of(description: Description, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(description))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_normalise() -> None:
    assert normalise("  It's \n GREAT, isn't it?! ") == "its great isnt it"
    assert normalise("?!") == "?!"  # nothing but marks: they tell texts apart
    assert normalise("😀") != normalise("...")
    assert normalise("Straße") == normalise("STRASSE")


def test_counts(splits: dict[str, Corpus]) -> None:
    description = describe(splits)
    assert (description.name, description.label_set, description.labels) == (
        "sky",
        "weather",
        ["sun", "rain"],
    )
    train = description.splits["train"]
    assert train.texts == 6
    assert train.label_counts == {"sun": 3, "rain": 3}
    assert train.labels_per_text == {0: 1, 1: 4, 2: 1}
    # "so bright" once more, "hm" twice more; of these "hm" has two kinds of labels
    assert (train.duplicates, train.conflicting, train.conflicting_surplus) == (3, 1, 2)
    assert train.left_out == {"dropped: blank": 2, "skipped: two fields": 1}
    assert train.repairs == {"blanks": 2}
    assert description.splits["test"].duplicates == 0
    assert description.shared_texts == {"train & test": 2}
    assert train.intensity is None


def test_lengths(splits: dict[str, Corpus]) -> None:
    train = describe(splits).splits["train"]
    assert train.words is not None
    assert train.characters is not None
    words = [2, 2, 1, 1, 1, 5]
    assert (train.words.min, train.words.median, train.words.max) == (1, 1.5, 5)
    assert train.words.mean == pytest.approx(2.0)
    assert train.words.p95 == pytest.approx(np.percentile(words, 95))
    assert (train.characters.min, train.characters.max) == (2, 17)


def test_problems_malformed_first_each_once_and_no_more_than_asked(splits: dict[str, Corpus]) -> None:
    same = {"train": splits["train"], "test": replace(splits["test"], problems=splits["train"].problems)}
    description = describe(same, max_problems=2)
    assert description.problems == ["sky.tsv:9: skipped: two fields", "sky.tsv:3: dropped: blank"]
    assert description.problem_count == 3
    assert "Rows left out (2 of 3)" in text_of(description)
    assert "Rows left out\n" in text_of(describe(same))


def test_examples_follow_the_seed_and_cover_the_labels(splits: dict[str, Corpus]) -> None:
    def drawn(count: int, seed: int) -> list[str]:
        return [
            example.id for example in describe(splits, examples=count, seed=seed).splits["train"].examples
        ]

    assert drawn(3, 1) == drawn(3, 1)
    assert len({tuple(drawn(3, seed)) for seed in range(20)}) > 1
    for seed in range(20):
        labels = [tuple(e.labels) for e in describe(splits, examples=4, seed=seed).splits["train"].examples]
        assert set(labels) == {("sun",), ("rain",), ("sun", "rain"), ()}
    assert drawn(50, 0) == [f"train{i}" for i in range(6)]
    assert drawn(0, 0) == []


def test_it_is_json(splits: dict[str, Corpus]) -> None:
    description = describe(splits)
    assert json.loads(json.dumps(description.to_dict())) == description.to_dict()
    assert description.to_dict()["splits"]["train"]["labels_per_text"] == {"0": 1, "1": 4, "2": 1}


def test_an_empty_split(splits: dict[str, Corpus]) -> None:
    description = describe({"train": splits["train"].take([])})
    train = description.splits["train"]
    assert (train.texts, train.words, train.examples, train.duplicates) == (0, None, [], 0)
    assert description.shared_texts == {}
    assert "texts" in text_of(description)


def test_intensities() -> None:
    rows = [("a", ["sun"]), ("b", ["sun"])]
    described = describe({"all": corpus("all", rows, intensity=np.array([0.2, 0.6], dtype=np.float32))})
    means = described.splits["all"].intensity
    assert means is not None
    assert means == {"sun": pytest.approx(0.4)}  # rain has no text, so no mean
    assert json.dumps(described.to_dict())
    shown = text_of(described)
    assert "Mean intensity" in shown
    assert "0.400" in shown
    assert "sun (0.200)" in shown


@pytest.mark.parametrize("width", [60, 80, 140])
def test_render_shows_the_counts_and_leaves_texts_as_they_are(splits: dict[str, Corpus], width: int) -> None:
    shown = text_of(describe(splits), width)
    assert max(map(len, shown.splitlines())) <= width
    assert "sky: 2 labels (weather), several labels a text" in shown
    assert "[red]Dawn[/red]" in shown
    assert "3 ( 50.0%)" in shown
    assert "train & test: 2" in shown
    assert "sky.tsv:9: skipped: two fields" in shown


@pytest.mark.skipif(not REAL, reason="EMODEF_DATA does not name a folder with the real corpora")
def test_the_real_goemotions_shares_92_texts_between_train_and_test() -> None:
    description = describe(load_corpus("goemotions", data_dir=REAL))
    assert description.shared_texts["train & test"] == 92
    per_text = description.splits["train"].labels_per_text
    assert per_text == {1: 36308, 2: 6541, 3: 532, 4: 28, 5: 1}
