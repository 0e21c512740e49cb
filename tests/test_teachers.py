"""Learning from earlier models: what is learnt, what a run is known by, what is computed once, what is refused."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.runs import read_json
from emodef.train import inference, teachers
from emodef.train.checkpoint import TrainedModel
from emodef.train.loop import Interrupted, train
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from emodef.train.teachers import (
    STORED,
    Teacher,
    known_by,
    known_texts,
    lessons,
    soften,
    targets,
    unlabelled_texts,
    with_hashes,
    with_texts,
)
from tiny_training import STEP, Blow, Job, finish, start

Splits = dict[str, Corpus]


@pytest.fixture(scope="module")
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    def settings(**changes: Any) -> TrainSettings:
        base: dict[str, Any] = {
            "backbone": str(tiny_backbone("roberta", initializer_range=0.3)),
            "setup": "match",
            "corpus": "tiny",
            "epochs": 1,
            "learning_rate": 1e-2,
            "precision": "fp32",
            "save_every": 3,
        }
        return TrainSettings(**base | changes)

    return settings


@pytest.fixture(scope="module")
def runs(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Two finished runs: one with the matching head, one without."""
    found = []
    for setup in ("match", "none"):
        folder = tmp_path_factory.mktemp("runs") / setup
        run_training(make(setup=setup), tiny_corpus, folder, cpu=True)
        found.append(folder)
    return found


def test_gold_labels_and_the_teachers_mean_are_mixed(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, runs: list[Path]
) -> None:
    train = tiny_corpus["train"]
    settings = make(teacher=[f"{runs[0]}:emotion", str(runs[1])], teacher_weight=0.25)
    found = targets(settings, train, cpu=True)
    assert found is not None
    given = [TrainedModel.load(run / "model").predict_proba(train.texts, scores="emotion") for run in runs]
    wanted = 0.75 * train.labels + 0.25 * np.mean(given, axis=0)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert targets(make(), train) is None
    sharper = targets(make(teacher=[str(runs[1])], teacher_weight=1.0, teacher_temperature=0.5), train)
    assert sharper is not None
    odds = given[1] / (1 - given[1])
    np.testing.assert_allclose(sharper, odds**2 / (1 + odds**2), atol=5e-3)


def test_softening() -> None:
    given = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    assert soften(given, 1.0).tolist() == given.tolist()
    np.testing.assert_allclose(soften(given, 2.0)[1:4], [0.25, 0.5, 0.75])
    assert 0 < soften(given, 2.0)[0] < 0.02


def test_probabilities_are_computed_once_and_serve_without_the_weights(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, runs: list[Path], tmp_path: Path
) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(runs[0], teacher)
    (teacher / STORED).unlink(missing_ok=True)
    train, settings, said = tiny_corpus["train"], make(teacher=[str(teacher)]), []
    first = targets(settings, train, cpu=True, tell=said.append)
    assert len(said) == 1
    assert "computed once" in said[0]
    with np.load(teacher / STORED) as stored:
        assert str(stored["match_precision"]) == "fp32"
    again = targets(settings, train, cpu=True, tell=said.append)
    assert len(said) == 1
    assert first is not None
    assert again is not None
    assert first.tolist() == again.tolist()
    known = Teacher(str(teacher)).known_by()
    for path in teacher.glob("model/*.safetensors"):
        path.unlink()
    assert Teacher(str(teacher)).known_by() == known
    without = targets(settings, train)
    assert without is not None
    assert without.tolist() == first.tolist()
    with pytest.raises(DataError, match=r"no weights|not found"):
        targets(settings, tiny_corpus["dev"], cpu=True)  # of other texts there are none, and no way to them


@pytest.fixture
def unasked(runs: list[Path], tmp_path: Path) -> Path:
    """A teacher that nothing is stored of."""
    shutil.copytree(runs[0], tmp_path / "teacher")
    (tmp_path / "teacher" / STORED).unlink(missing_ok=True)
    return tmp_path / "teacher"


def test_of_several_who_ask_at_once_one_computes(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, unasked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    load, loaded, found = inference.load_model, [], []

    def slow(*given: Any, **options: Any) -> TrainedModel:
        loaded.append(1)
        time.sleep(1)
        return load(*given, **options)

    def ask() -> None:
        found.append(targets(make(teacher=[str(unasked)]), tiny_corpus["train"], cpu=True))

    monkeypatch.setattr(inference, "load_model", slow)
    asking = [threading.Thread(target=ask) for _ in range(3)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert len(loaded) == 1
    assert [each.tolist() for each in found] == [found[0].tolist()] * 3
    assert not list(unasked.glob(".*"))


def test_what_cannot_be_stored_serves_once(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, unasked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, train, said = make(teacher=[str(unasked)]), tiny_corpus["train"], []

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(teachers, "write_bytes", full)
        found = targets(settings, train, cpu=True, tell=said.append)
    assert [f"{STORED} could not be written (No space left" in line for line in said] == [False, True]
    assert not (unasked / STORED).exists()
    again = targets(settings, train, cpu=True)
    assert found is not None
    assert again is not None
    assert found.tolist() == again.tolist()


def test_asking_leaves_the_process_s_products_as_they_were(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, unasked: Path
) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")  # as a run in tf32 has them
        targets(make(teacher=[str(unasked)]), tiny_corpus["train"], cpu=True)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_run_is_known_by_what_its_teachers_are(
    make: Callable[..., TrainSettings], runs: list[Path], tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(runs[0], moved)
    here, there = make(teacher=[str(runs[0])]), make(teacher=[str(moved)])
    assert here.canonical() == there.canonical() == with_hashes(there).canonical()
    assert "teacher" not in here.canonical()
    head = make(teacher=[f"{runs[0]}:emotion"]).canonical()
    assert head != here.canonical()
    assert head != make(teacher=[str(runs[1])]).canonical()
    ordered = [make(teacher=[str(a), str(b)]).canonical() for a, b in (runs, runs[::-1])]
    assert ordered[0] == ordered[1]
    plain = make().canonical()
    assert not [key for key in plain if key.startswith("teacher")]
    assert make(teacher_weight=0.9).canonical() == plain  # without teachers it means nothing
    gone = make(teacher=["nowhere"])
    assert gone.canonical()["teacher_hashes"] == [known_by("nowhere")] == ["nowhere"]
    with pytest.raises(DataError, match="nowhere"):
        with_hashes(gone)
    noted = with_hashes(here).model_dump() | {"teacher": (str(runs[1]),)}
    with pytest.raises(SettingsError, match="another model now"):
        with_hashes(TrainSettings(**noted))


def test_a_distilled_run_and_its_resumption(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, runs: list[Path], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(runs[0], moved)
    settings = make(teacher=[str(runs[0])], match_labels=0.6, match_vary=0.5, match_anchor=0.5, keep="last")
    whole = tmp_path / "whole"
    run_training(settings, tiny_corpus, whole, cpu=True)
    noted = read_json(whole / "settings.json")
    assert noted["teacher_hashes"] == [Teacher(str(runs[0])).known_by()]
    job = Job(settings, tiny_corpus, tmp_path / "killed", blows=(Blow(STEP, 6),), whole=True)
    assert finish([start(job)]) == [-9]
    elsewhere = settings.model_copy(update={"teacher": (str(moved),)})
    again = Job(elsewhere, tiny_corpus, tmp_path / "killed", {"resume": True}, whole=True)
    assert finish([start(again)]) == [0]
    ended = [tmp_path / "killed" / "model" / "model.safetensors", whole / "model" / "model.safetensors"]
    assert ended[0].read_bytes() == ended[1].read_bytes()


def test_teachers_that_do_not_fit(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, runs: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="holds out"):
        run_training(make(teacher=[str(runs[0])], held_out=["fear"]), tiny_corpus, tmp_path / "a", cpu=True)
    drawn = make(teacher=[str(runs[0])], held_out_draw=1, held_out_count=1)
    with pytest.raises(SettingsError, match="holds out"):
        run_training(drawn, tiny_corpus, tmp_path / "a", cpu=True)
    begun = make(start=str(runs[0] / "model"), held_out=["fear"])
    with pytest.raises(SettingsError, match=r"to start from, .* was trained on 'fear'"):
        run_training(begun, tiny_corpus, tmp_path / "a", cpu=True)
    bare = make(backbone=str(runs[0] / "model"), held_out=["fear"])
    with pytest.raises(SettingsError, match=r"the backbone, .* was trained on 'fear'"):
        run_training(bare, tiny_corpus, tmp_path / "a", cpu=True)
    assert not (tmp_path / "a").exists()
    few = tmp_path / "few"
    run_training(make(held_out=["fear"]), tiny_corpus, few, cpu=True)
    with pytest.raises(SettingsError, match="does not know the label 'fear'"):
        run_training(make(teacher=[str(few)]), tiny_corpus, tmp_path / "b", cpu=True)
    (runs[1] / STORED).write_bytes(b"broken")
    with pytest.raises(DataError, match="remove it"):
        targets(make(teacher=[str(runs[1])]), tiny_corpus["train"], cpu=True)
    (runs[1] / STORED).unlink()


def test_runs_from_before_there_were_teachers_are_the_same_runs() -> None:
    """What was added since changes nothing about what a run is known by."""
    from emodef.train.settings import load_recipe

    stored = Path(__file__).parent.parent / "results" / "minilm" / "match-seed42" / "settings.json"
    saved = TrainSettings(**read_json(stored))
    recipe = load_recipe("minilm", {"setup": "match"})
    assert saved.canonical() == recipe.canonical()
    assert set(recipe.canonical()) == {
        "setup",
        "backbone",
        "pooling",
        "epochs",
        "batch_size",
        "learning_rate",
    }


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    return path


def test_of_texts_without_labels_the_teachers_answers_are_learnt(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, runs: list[Path], tmp_path: Path
) -> None:
    train, teacher = tiny_corpus["train"], TrainedModel.load(runs[0] / "model")
    new = ["a door in the wind", "so happy, and so afraid"]
    file = write_texts(
        tmp_path / "new.csv", [new[0], train.texts[0], *new]
    )  # less the corpus's own, and repeated ones
    settings = make(teacher=[str(runs[0])], teacher_weight=0.25, unlabelled=str(file))
    unlabelled = unlabelled_texts(settings, {"train": train})
    assert unlabelled == new
    tested = replace(tiny_corpus["test"].take([0]), texts=["A door, in the WIND"])
    assert unlabelled_texts(settings, {"train": train, "test": tested}) == new[1:]
    taught = lessons(settings, {"train": train, "test": tested}, cpu=True)
    assert taught.texts == new[1:]
    assert taught.targets is not None
    assert len(taught.targets) == len(train) + 1
    rows = np.arange(len(train)) % 2 == 0
    half = taught.without(rows, ["SO happy, and so afraid!"])
    assert half.texts == []
    assert half.targets is not None
    np.testing.assert_array_equal(half.targets, taught.targets[:-1][rows])
    found = targets(settings, train, unlabelled, cpu=True)
    assert found is not None
    assert found.shape == (len(train) + 2, len(train.label_set))
    np.testing.assert_allclose(found[-2:], teacher.predict_proba(new, scores="match"), atol=1e-3)
    mixed = targets(settings, train, cpu=True)
    assert mixed is not None
    assert found[:-2].tolist() == mixed.tolist()
    whole = with_texts(train, new)
    assert whole.texts == [*train.texts, *new]
    assert not whole.labels[-2:].any()
    assert len(set(whole.ids)) == len(whole)
    assert unlabelled_texts(make(), {"train": train}) == []
    assert lessons(make(), {"train": train}).without(rows, new).targets is None
    (tmp_path / "spam.csv").write_text("text,label\na free text,spam\n")  # labels of another set are not read
    spam = make(teacher=[str(runs[0])], unlabelled=str(tmp_path / "spam.csv"))
    assert unlabelled_texts(spam, {"train": train}) == ["a free text"]
    nothing = write_texts(tmp_path / "nothing.csv", train.texts[:1])
    with pytest.raises(DataError, match=r"nothing\.csv: has no text that the training texts lack"):
        unlabelled_texts(make(teacher=[str(runs[0])], unlabelled=str(nothing)), {"train": train})


def test_a_run_with_unlabelled_texts(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, runs: list[Path], tmp_path: Path
) -> None:
    file = write_texts(tmp_path / "new.csv", [f"a happy day, number {number}" for number in range(33)])
    settings = make(teacher=[str(runs[0])], unlabelled=str(file), batch_size=8)
    without = settings.model_copy(update={"unlabelled": None})
    first = run_training(settings, tiny_corpus, tmp_path / "a", cpu=True)
    second = run_training(without, tiny_corpus, tmp_path / "b", cpu=True)
    steps = [
        read_json(run.folder / "metrics.json")["training"]["steps"]["primary"] for run in (first, second)
    ]
    count = len(tiny_corpus["train"])
    assert steps == [-(-(count + 33) // 8), -(-count // 8)]
    noted = read_json(tmp_path / "a" / "settings.json")
    assert noted["unlabelled_hash"] == known_texts(str(file))
    moved = Path(shutil.copy(file, tmp_path / "moved.csv"))
    here, there = (
        settings.canonical(),
        make(teacher=[str(runs[0])], unlabelled=str(moved), batch_size=8).canonical(),
    )
    assert here == there == TrainSettings(**noted).canonical()
    assert without.canonical() != here
    write_texts(file, ["another text"])
    assert settings.canonical() != here
    with pytest.raises(SettingsError, match="are others now than this run was planned with"):
        with_hashes(TrainSettings(**noted))
    file.unlink()
    assert settings.canonical()["unlabelled_hash"] == str(file)
    with pytest.raises(DataError, match=r"new\.csv: not found; it is the file of unlabelled texts"):
        run_training(settings, tiny_corpus, tmp_path / "c", cpu=True)
    for changes in ({"teacher": []}, {"setup": "match+cdp"}):
        with pytest.raises(ValueError, match="texts without labels need teachers"):
            make(**{"teacher": [str(runs[0])], "unlabelled": str(moved)} | changes)


def test_texts_without_labels_that_became_test_texts(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, runs: list[Path], tmp_path: Path
) -> None:
    """Other texts to learn are other steps: such a run does not go on."""
    file = write_texts(tmp_path / "new.csv", [f"a happy day, number {number}" for number in range(9)])
    settings = make(teacher=[str(runs[0])], unlabelled=str(file), batch_size=8)
    with pytest.raises(Interrupted):
        train(settings, tiny_corpus, tmp_path / "a", cpu=True, stop_after=2)
    test = tiny_corpus["test"]
    changed = replace(test, texts=["A happy day, number 3!", *test.texts[1:]])
    with pytest.raises(SettingsError, match="started on other texts without labels"):
        train(settings, {**tiny_corpus, "test": changed}, tmp_path / "a", cpu=True, resume=True)
    train(settings, tiny_corpus, tmp_path / "a", cpu=True, resume=True)


def test_a_run_goes_on_with_teachers_that_lie_elsewhere_now(tmp_path: Path) -> None:
    from emodef.train.worker import _saved

    run: dict[str, Any] = {"teacher_weight": 0.5, "teacher_hashes": ("1a:match",)}
    saved = TrainSettings(teacher=("old",), **run)
    (tmp_path / "settings.json").write_text(saved.model_dump_json())
    found = _saved(tmp_path, TrainSettings(teacher=("new",), **run))
    assert found.teacher == ("new",)
    with pytest.raises(SettingsError, match="holds another run"):
        _saved(tmp_path, TrainSettings(teacher=("new",), **{**run, "teacher_hashes": ("2b:match",)}))
