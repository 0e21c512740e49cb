"""The sample corpus in examples/sample is what its README says: readable, complete, and with no text in two splits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from emodef.corpora import Corpus, load_corpus

FOLDER = Path(__file__).parent.parent / "examples" / "sample"


@pytest.fixture(scope="module")
def sample() -> dict[str, Corpus]:
    return load_corpus(FOLDER, label_set="goemotions")


def test_sizes_are_those_of_the_readme(sample: dict[str, Corpus]) -> None:
    rows = re.findall(
        r"^\| `(\w+)\.jsonl` \| (\d+) \| (\d+) \| (\d+) \|$", (FOLDER / "README.md").read_text(), re.M
    )
    stated = {split: tuple(map(int, numbers)) for split, *numbers in rows}
    counted = {
        split: (
            len(corpus),
            int((corpus.labels.sum(axis=1) == 2).sum()),
            int(corpus.labels.sum(axis=0).min()),
        )
        for split, corpus in sample.items()
    }
    assert counted == stated


def test_every_text_is_labelled_and_new(sample: dict[str, Corpus]) -> None:
    texts: list[str] = []
    for corpus in sample.values():
        assert set(corpus.labels.sum(axis=1).tolist()) == {1, 2}
        neutral = corpus.labels[:, corpus.label_set.index("neutral")] == 1
        assert (corpus.labels[neutral].sum(axis=1) == 1).all()
        texts += corpus.texts
    plain = [re.sub(r"\W+", " ", text.lower()).strip() for text in texts]
    assert len(set(plain)) == len(plain)


def test_rows_have_the_stated_fields() -> None:
    for split in ("train", "dev", "test"):
        for number, line in enumerate(
            (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines(), start=1
        ):
            row = json.loads(line)
            assert list(row) == ["id", "text", "labels"]
            assert row["id"] == f"{split}-{number:03}"
            assert row["text"] == row["text"].strip()
