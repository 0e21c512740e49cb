"""Labels held out of training: which ones a draw takes, what stays of the corpus, and a run that never saw them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emodef.corpora import Corpus
from emodef.corpora.held_out import DRAWS, FREQUENT, draw_labels, without_labels
from emodef.errors import LabelSetError, SettingsError
from emodef.labels import LabelSet

Splits = dict[str, Corpus]


def corpus_of(counts: list[int], texts: int = 1000) -> Corpus:
    """A corpus of labels that occur so often."""
    names = tuple(f"label{k}" for k in range(len(counts)))
    labels = np.zeros((texts, len(counts)), dtype=np.uint8)
    for k, number in enumerate(counts):
        labels[:number, k] = 1
    said = tuple(f"what {name} means" for name in names)
    found = LabelSet("made", names, said)
    return Corpus("made", "train", ["text"] * texts, labels, found, [str(i) for i in range(texts)])


def test_draws_are_balanced_and_share_nothing() -> None:
    counts = [600, *range(190, 10, -15)]  # one of them too frequent to be held out
    train = corpus_of(counts)
    drawn = [draw_labels(train, draw, 4) for draw in range(1, DRAWS + 1)]
    assert [len(names) for names in drawn] == [4, 4, 4]
    assert len({name for names in drawn for name in names}) == 12
    assert "label0" not in {name for names in drawn for name in names}
    assert counts[0] > FREQUENT * len(train)
    for names in drawn:  # one of each stratum of three
        places = [train.label_set.index(name) - 1 for name in names]
        assert [place // 3 for place in places] == [0, 1, 2, 3]
    assert drawn[0] == draw_labels(train, 1, 4)
    with pytest.raises(SettingsError, match="three draws need 15 labels"):
        draw_labels(train, 1, 5)


def test_what_stays_of_a_corpus(tiny_corpus: Splits) -> None:
    left = without_labels(tiny_corpus, ["fear", "joy"])
    for split, part in left.items():
        whole = tiny_corpus[split]
        assert part.label_set.names == ("anger", "curiosity", "neutral")
        assert set(part.label_set.mappings["sentiment"]) == set(part.label_set.names)
        kept = [whole.ids.index(name) for name in part.ids]
        assert part.labels.tolist() == whole.labels[kept][:, [1, 3, 4]].tolist()
        if split == "train":
            assert part.labels.any(axis=1).all()
            assert len(part) == int(whole.labels[:, [1, 3, 4]].any(axis=1).sum()) < len(whole)
            both = whole.labels[:, [0, 2]].any(axis=1) & whole.labels[:, [1, 3]].any(axis=1)
            assert both.any()
            assert {whole.ids[i] for i in np.flatnonzero(both)} <= set(part.ids)
        else:
            assert part.texts == whole.texts
    with pytest.raises(LabelSetError, match="no label 'awe'"):
        without_labels(tiny_corpus, ["awe"])
    with pytest.raises(SettingsError, match="every label"):
        without_labels(tiny_corpus, tiny_corpus["train"].label_set.names)


def test_some_labels_of_a_set() -> None:
    labels = LabelSet.load("goemotions")
    few = labels.only(["fear", "joy"])
    assert few.names == ("fear", "joy")
    assert few.definitions == tuple(labels.definitions[labels.index(name)] for name in few.names)
    assert few.groups("ekman")[0] == labels.groups("ekman")[0]
    assert few.only(["fear", "joy"]) == few


def test_a_run_that_holds_labels_out(
    tiny_backbone: Callable[..., Path], tiny_corpus: Splits, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from emodef.runs import RunFolder, fingerprint, read_json
    from emodef.train.run import run_training
    from emodef.train.settings import TrainSettings

    def settings(**changes: Any) -> TrainSettings:
        backbone = str(tiny_backbone("bert", initializer_range=0.3))
        return TrainSettings(backbone=backbone, setup="match", epochs=1, precision="fp32", **changes)

    made = settings(held_out=["fear", "joy"])
    run = run_training(made, tiny_corpus, tmp_path / "run", cpu=True)
    folder = RunFolder.open(tmp_path / "run")
    assert folder.label_set.names == ("anger", "curiosity", "neutral")
    assert folder.probabilities("test").shape == (40, 3)
    assert folder.ids("test") == tiny_corpus["test"].ids
    assert run.model.predict_proba(["a text"]).shape == (1, 3)
    training = read_json(tmp_path / "run" / "metrics.json")["training"]
    assert training["corpus"] == fingerprint(tiny_corpus)  # what the run is found by is the whole corpus
    assert made.canonical()["held_out"] == ["fear", "joy"]
    assert settings(held_out=["joy", "fear"]).canonical() == made.canonical()
    assert "held_out_count" not in settings().canonical()
    with pytest.raises(ValueError, match="one of the two"):
        settings(held_out=["joy"], held_out_draw=1)
    drawn = settings(held_out_draw=2, held_out_count=1)
    assert drawn.canonical()["held_out_draw"] == 2


@pytest.mark.parametrize("short", [False, True])
def test_a_run_on_a_users_file_that_holds_labels_out_is_read_again(
    tiny_backbone: Callable[..., Path], tiny_corpus: Splits, tmp_path: Path, short: bool
) -> None:
    """The file has all labels; the model knows some. With the label file in its short form too, a line a label."""
    pytest.importorskip("torch")
    from emodef.comparison import Contender, compare_runs
    from emodef.errors import DataError
    from emodef.runs import DataChoice, RunFolder
    from emodef.train.run import run_training
    from emodef.train.settings import TrainSettings
    from test_zero_shot import write_corpus

    write_corpus(tmp_path / "mine", tiny_corpus)
    labels, whole = tmp_path / "mine" / "labels.toml", tiny_corpus["train"].label_set
    lines = [f'{name} = "{text}"\n' for name, text in zip(whole.names, whole.definitions, strict=True)]
    if short:
        labels.write_text("".join(lines), encoding="utf-8")
    base: dict[str, Any] = {
        "backbone": str(tiny_backbone("bert", initializer_range=0.3)), "epochs": 1, "precision": "fp32",
        "corpus": str(tmp_path / "mine"), "label_set": str(labels),
    }  # fmt: skip
    for name, held in (("a", ["fear"]), ("b", ["joy"])):
        settings = TrainSettings(**base, held_out=held)
        run_training(
            settings, DataChoice().load(settings.corpus, settings.label_set), tmp_path / name, cpu=True
        )
    run = RunFolder.open(tmp_path / "a")
    corpus = run.corpus()
    assert corpus["test"].label_set.names == run.label_set.names == ("joy", "anger", "curiosity", "neutral")
    assert corpus["test"].ids == run.ids("test")
    assert run.measure("test", "emotion")["fixed"].summary == run.reports["test fixed"].summary
    with pytest.raises(DataError, match="other labels than the first run"):
        compare_runs([Contender.parse(str(tmp_path / name)) for name in "ab"])
    if short:  # in another order since
        labels.write_text("".join(lines[::-1]), encoding="utf-8")
        with pytest.raises(DataError, match="other labels now, or in another order"):
            run.corpus()
