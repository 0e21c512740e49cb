"""The measurement of what own labels cost runs, on a tiny model, and measures what it says. No speed is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emodef.definitions import read_labels
from emodef.predictor import Predictor

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def test_labels_are_as_many_as_asked_for_and_differ() -> None:
    from bench.own_labels import labels

    for count in (3, 50, 120):
        assert len(read_labels(labels(count))) == count


def test_it_runs(tiny_light: Path, tmp_path: Path) -> None:
    from bench import own_labels

    corpus = tmp_path / "few.jsonl"
    rows = [{"text": f"I am so happy in the {word}", "labels": ["joy"]} for word in ("a", "b", "c", "d")]
    corpus.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = tmp_path / "out"
    given = [
        "--model",
        tiny_light,
        "--corpus",
        corpus,
        "--out",
        out,
        "--labels",
        12,
        "--threads",
        1,
        "--quick",
    ]
    own_labels.main([str(each) for each in given])
    found = json.loads((out / "own_labels.json").read_text())
    assert found["labels"] == 12
    assert found["built_in"] == 5
    assert set(found["many"]) == {own_labels.BUILT_IN, own_labels.OWN, own_labels.BOTH}
    assert found["many"][own_labels.BUILT_IN]["median"] == 1
    assert "12 definitions are encoded" in (out / "own_labels.md").read_text()


def test_sides_answer_for_the_labels_they_name(tiny_light: Path) -> None:
    from bench.own_labels import BOTH, BUILT_IN, OWN, labels, sides

    compared = sides(Predictor.load(tiny_light), labels(50))
    shapes = {name: call(["so happy", "why"]).shape for name, call in compared.items()}
    assert shapes == {BUILT_IN: (2, 5), OWN: (2, 50), BOTH: (2, 55)}
