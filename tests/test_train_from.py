"""Training from a trained model on few texts of other labels: its start, cross-validation instead of a dev split, the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from commands import emodef_command
from emodef.cli.asking import Asked
from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.metrics import decide
from emodef.runs import read_json
from emodef.train import few_shot, run, teachers
from emodef.train.checkpoint import TrainedModel
from emodef.train.few_shot import choose, few_epochs
from emodef.train.loop import Interrupted
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings, load_recipe
from emodef.train.starting import from_checkpoint, trained_start
from emodef.train.teachers import with_hashes
from tiny_training import STEP, Blow, Job, finish, start

pytestmark = pytest.mark.long

Splits = dict[str, Corpus]
MINE = LabelSet(
    "mine",
    ("glad", "cross", "wary"),
    ("A feeling of pleasure", "Strong displeasure or rage", "Afraid or worried"),
)


@pytest.fixture(scope="module")
def trained(
    tiny_backbone: Callable[..., Path], tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run with every head."""
    settings = TrainSettings(
        backbone=str(tiny_backbone("bert", initializer_range=0.3)),
        pooling="mean",
        setup="cdp+match",
        epochs=1,
        learning_rate=1e-3,
        precision="fp32",
    )
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_training(settings, tiny_corpus, folder, cpu=True)
    return folder


@pytest.fixture
def few(tiny_corpus: Splits) -> Splits:
    """Forty texts, of three labels, and no dev split."""
    names = ("joy", "anger", "fear")
    columns = [tiny_corpus["train"].label_set.index(name) for name in names]
    train = tiny_corpus["train"]
    rows = np.flatnonzero(train.labels[:, columns].any(axis=1))[:40]
    return {
        "train": replace(
            train.take(rows), label_set=MINE, labels=train.labels[np.ix_(rows, columns)], name="mine"
        )
    }


def settings(trained: Path, **changed: Any) -> TrainSettings:
    given: dict[str, Any] = {**from_checkpoint(trained), "epochs": 3, "batch_size": 8, "learning_rate": 1e-3}
    return TrainSettings(**{**given, "precision": "fp32", **changed})


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


# The start


def test_the_encoder_and_what_is_not_about_labels_is_kept(trained: Path) -> None:
    before = TrainedModel.load(trained / "model")
    begun = trained_start(trained, settings(trained), MINE)
    assert before.model.match is not None
    assert begun.model.match is not None
    old, new = weights(before.model.encoder), weights(begun.model.encoder)
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert before.model.definition is not None
    assert begun.model.definition is not None
    assert torch.equal(weights(before.model.definition)["weight"], weights(begun.model.definition)["weight"])
    assert torch.equal(before.model.match.log_scale, begun.model.match.log_scale)
    torch.testing.assert_close(begun.model.match.bias, before.model.match.bias.mean().expand(3))
    plain = trained_start(trained, settings(trained, setup="none"), MINE)
    assert plain.model.match is None
    assert plain.model.definition is None
    assert len(plain.predict_proba(["A lovely day"])[0]) == 3


def test_before_training_it_scores_definitions(trained: Path) -> None:
    before = TrainedModel.load(trained / "model")
    begun = trained_start(trained, settings(trained), MINE)
    texts = ["I am so happy with the new garden", "they lied to us", "that noise in the cellar"]
    assert before.model.match is not None
    labels = np.array(
        [_embedded(before, f"{n}: {d}") for n, d in zip(MINE.names, MINE.definitions, strict=True)]
    )
    vectors = np.array([_embedded(before, text) for text in texts])
    lengths = np.linalg.norm(labels, axis=1, keepdims=True)
    scale, bias = before.model.match.log_scale.exp().item(), before.model.match.bias.mean().item()
    dot = vectors @ (labels / lengths).T
    cosine = dot / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = 1 / (1 + np.exp(-(scale * cosine + bias)))
    np.testing.assert_allclose(begun.predict_proba(texts, scores="match"), expected, atol=1e-5)
    # The emotion head reads the text's vector as it is, as long as a definition's is on average.
    expected = 1 / (1 + np.exp(-(scale * dot / lengths.mean() + bias)))
    np.testing.assert_allclose(begun.predict_proba(texts, scores="emotion"), expected, atol=1e-5)


def _embedded(model: TrainedModel, text: str) -> np.ndarray:
    from emodef.train.model import Inputs

    encoder = model.tokenizer.encoder
    padded = encoder.texts(encoder.tokenize([text]), [0], model.tokenizer.longest)
    inputs = Inputs.of(padded, segments=model.tokenizer.segments, device=torch.device("cpu"))
    with torch.no_grad():
        return model.model.embed(inputs)[0].numpy()


def test_a_start_that_does_not_fit_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pooling is 'own', and of the model to start from 'mean'"):
        trained_start(trained, settings(trained, pooling="own"), MINE)
    with pytest.raises(DataError, match="holds no model"):
        from_checkpoint(tmp_path)
    (tmp_path / "emodef.json").write_text('{"format": 1, "settings": {"new": 1}}')
    with pytest.raises(DataError, match="settings cannot be read"):
        from_checkpoint(tmp_path)


def test_a_resumed_run_keeps_the_setup_it_was_given(trained: Path) -> None:
    asked = Asked(None, None, None, [], None, None, trained)
    assert {"start", "setup"} <= set(asked.overrides())  # a new run takes the model's own
    assert asked.overrides(resume=True) == {"start": str(trained)}


def test_a_start_is_known_by_what_it_is_not_by_where(trained: Path, few: Splits, tmp_path: Path) -> None:
    moved, changed = tmp_path / "moved", tmp_path / "changed"
    for path in (moved, changed):
        shutil.copytree(trained, path)
    heads = changed / "model" / "heads.safetensors"
    save_file({name: value + 1 for name, value in load_file(heads).items()}, heads)
    here, there, other = (settings(path) for path in (trained, moved, changed))
    assert here.canonical() == there.canonical() == with_hashes(there).canonical()
    assert "start" not in here.canonical()
    assert other.canonical()["start_hash"] != here.canonical()["start_hash"]
    assert (
        settings(trained, start="later").canonical()["start_hash"] == "later"
    )  # a recipe of what is trained before it
    run_training(here, few, tmp_path / "run", cpu=True)
    assert read_json(tmp_path / "run" / "settings.json")["start_hash"] == here.canonical()["start_hash"]
    noted = with_hashes(there)
    shutil.copyfile(heads, moved / "model" / "heads.safetensors")
    with pytest.raises(SettingsError, match=r"is another now .* put that one back, or start a new run"):
        with_hashes(noted)


def test_a_run_whose_start_has_moved_goes_on(trained: Path, few: Splits, tmp_path: Path) -> None:
    given = {"epochs": 2, "save_every": 2, "keep": "last"}
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    whole = run_training(settings(trained, **given), few, tmp_path / "whole", cpu=True)
    job = Job(settings(trained, **given), few, tmp_path / "run", blows=(Blow(STEP, 6),), whole=True)
    assert finish([start(job)]) == [-9]
    resumed = run_training(settings(moved, **given), few, tmp_path / "run", resume=True, cpu=True)
    texts = few["train"].texts
    np.testing.assert_array_equal(resumed.model.predict_proba(texts), whole.model.predict_proba(texts))


# Cross-validation


def test_patience_without_a_dev_split_is_refused(trained: Path, few: Splits, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"patience = 1 needs a dev split .* \(--dev-share 0\.2\)"):
        run_training(settings(trained, epochs=1, patience=1), few, tmp_path / "run", cpu=True)
    assert not (tmp_path / "run").exists()


def test_a_run_without_dev_stops_and_sets_thresholds_by_folds(
    trained: Path, few: Splits, tmp_path: Path
) -> None:
    done = run_training(settings(trained), few, tmp_path / "run", cpu=True)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    folded = metrics["training"]["cross_validation"]
    assert (folded["folds"], folded["texts"]) == (3, 40)
    assert len(folded["macro_f1_by_epoch"]) == 3
    assert metrics["training"]["kept_epoch"] == folded["epoch"] == len(metrics["epochs"])
    assert not (tmp_path / "run" / "folds").exists()
    assert not (tmp_path / "run" / "state").exists()
    model = TrainedModel.load(tmp_path / "run" / "model")
    assert model.label_set == MINE
    assert len(model.thresholds["tuned"]["mine"]) == 3
    assert model.thresholds["tuned"]["mine"] != [model.thresholds["fixed"]] * 3
    assert model.settings.start == str(trained)
    assert done.reports == {}  # no split to report
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert f"Began with another trained model ({model.settings.start_hash});" in card
    assert "by cross-validation in 3 folds" in card
    again = run_training(settings(trained), few, tmp_path / "again", cpu=True)
    texts = few["train"].texts
    np.testing.assert_array_equal(again.model.predict_proba(texts), model.predict_proba(texts))


def test_a_test_split_is_measured_at_those_thresholds(trained: Path, few: Splits, tmp_path: Path) -> None:
    test = replace(few["train"].take(np.arange(10)), split="test")
    done = run_training(settings(trained, epochs=1), {**few, "test": test}, tmp_path / "run", cpu=True)
    assert set(done.reports) == {"test fixed", "test tuned"}
    thresholds = done.model.thresholds["tuned"]["mine"]
    predicted = decide(done.model.predict_proba(test.texts), thresholds)
    found = done.reports["test tuned"].summary["subset_accuracy"].value
    assert found == pytest.approx(
        float((predicted == test.labels).all(1).mean()), abs=0.11
    )  # stored in half precision


def test_no_fold_sees_what_it_is_judged_on(
    trained: Path, few: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = few["train"].take([*range(40), 0, 1])
    copies = replace(copies, texts=[*copies.texts[:40], copies.texts[0].upper() + "!", f" {copies.texts[1]}"])
    seen: list[tuple[set[str], set[str]]] = []
    made = few_shot.train

    def watched(given: TrainSettings, corpus: Splits, *rest: Any, **options: Any) -> Any:
        seen.append(tuple({few_shot_key(text) for text in corpus[s].texts} for s in ("train", "dev")))  # type: ignore[arg-type]
        return made(given, corpus, *rest, **options)

    monkeypatch.setattr(few_shot, "train", watched)
    run_training(settings(trained, epochs=1), {"train": copies}, tmp_path / "run", cpu=True)
    assert len(seen) == 3
    assert all(not inside & outside for inside, outside in seen)
    assert set.union(*(outside for _, outside in seen)) == {few_shot_key(text) for text in copies.texts}


def test_teachers_are_asked_of_all_texts_and_not_fold_by_fold(
    trained: Path, few: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they say is kept with them, of one list of texts, and may be all there is of them."""
    asked, answer = [], teachers.probabilities_of

    def counted(teacher: Any, texts: Any, *given: Any, **options: Any) -> Any:
        asked.append(list(texts))
        return answer(teacher, texts, *given, **options)

    monkeypatch.setattr(teachers, "probabilities_of", counted)
    named = replace(
        few["train"], label_set=replace(MINE, names=("joy", "anger", "fear"))
    )  # as the teacher knows them
    taught = settings(trained, epochs=1, teacher=[str(trained)])
    run_training(taught, {"train": named}, tmp_path / "run", cpu=True)
    assert asked == [few["train"].texts] * 2  # for the folds, and for the run on all


def few_shot_key(text: str) -> str:
    from emodef.corpora.describe import normalise

    return normalise(text)


def test_finished_folds_are_not_made_again(
    trained: Path, few: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_training(settings(trained), few, tmp_path / "whole", cpu=True)
    made, calls = few_shot.train, []

    def stopped(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise Interrupted("stopped")
        return made(*given, **options)

    monkeypatch.setattr(few_shot, "train", stopped)
    with pytest.raises(Interrupted):
        run_training(settings(trained), few, tmp_path / "run", cpu=True)
    resumed = run_training(settings(trained), few, tmp_path / "run", resume=True, cpu=True)
    assert len(calls) == 4  # one, one stopped, two after it
    texts = few["train"].texts
    np.testing.assert_array_equal(resumed.model.predict_proba(texts), whole.model.predict_proba(texts))


def test_the_last_epoch_needs_no_folds_nor_does_dev(
    trained: Path, few: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "cross_validate", lambda *given, **options: pytest.fail("folds"))
    done = run_training(settings(trained, keep="last", epochs=1), few, tmp_path / "last", cpu=True)
    assert set(done.model.thresholds) == {"fixed"}
    dev = replace(few["train"].take(np.arange(10)), split="dev")
    done = run_training(settings(trained, epochs=1), {**few, "dev": dev}, tmp_path / "dev", cpu=True)
    assert set(done.model.thresholds) == {"fixed", "tuned"}


def test_texts_that_are_all_the_same_are_refused(trained: Path, few: Splits, tmp_path: Path) -> None:
    same = replace(few["train"], texts=["The very same"] * 40)
    with pytest.raises(SettingsError, match="all the same"):
        run_training(settings(trained), {"train": same}, tmp_path / "run", cpu=True)


def answers(*heights: float, exclusive: bool = False) -> tuple[np.ndarray, np.ndarray, LabelSet]:
    """Held-out probabilities after each epoch that are right as far as `heights` says, their labels, and the set."""
    draw = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.uint8)[np.arange(60) % 3]
    noise = draw.random((60, 3))
    found = np.stack([height * labels + (1 - height) * noise for height in heights])
    return np.clip(found, 0.01, 0.99).astype(np.float32), labels, replace(MINE, exclusive=exclusive)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_best_epoch_is_chosen_the_last_of_equals(exclusive: bool) -> None:
    rising = choose(*answers(0.1, 0.5, 0.9, exclusive=exclusive), 0.3, 3)
    assert rising.epoch == 3
    falling = choose(*answers(0.4, 0.7, 0.5, 0.1, 0.0, exclusive=exclusive), 0.3, 3)
    assert falling.epoch == 2
    level = choose(*answers(0.9, 0.9, 0.9, exclusive=exclusive), 0.3, 3)
    assert level.epoch == 3
    assert (rising.thresholds == {}) == exclusive
    assert rising.macro_f1 == rising.scores[2] > 0.9


def test_more_texts_are_trained_fewer_epochs() -> None:
    recipe = load_recipe("few_shot")
    assert few_epochs(recipe, 100).epochs == recipe.epochs
    assert 3 < few_epochs(recipe, 1000).epochs < recipe.epochs
    assert few_epochs(recipe, 50_000).epochs == 3


# The command


@pytest.fixture
def files(few: Splits, tmp_path: Path) -> Path:
    names = MINE.names
    rows = zip(few["train"].texts, few["train"].labels, strict=True)
    table = "".join(f'"{text}",{"|".join(names[k] for k in np.flatnonzero(hot))}\n' for text, hot in rows)
    (tmp_path / "few.csv").write_text("text,labels\n" + table, encoding="utf-8")
    toml = "".join(f'{name} = "{meaning}"\n' for name, meaning in zip(names, MINE.definitions, strict=True))
    (tmp_path / "few.toml").write_text(toml, encoding="utf-8")
    return tmp_path


def test_the_command_takes_what_it_needs_from_the_model(trained: Path, files: Path) -> None:
    given = ["train", "--from", trained, "--data", files / "few.csv", "--labels", files / "few.toml", "--cpu"]
    planned = json.loads(emodef_command(*given, "--out", files / "run", "--dry-run", "--json").stdout)
    told = planned["settings"]
    assert (told["setup"], told["pooling"], told["start"]) == ("cdp+match", "mean", str(trained))
    assert told["backbone"] == TrainedModel.load(trained / "model").settings.backbone
    assert told["epochs"] == load_recipe("few_shot").epochs
    few = ("--set", "epochs=1", "--set", "precision=fp32", "--set", "max_length=40", "--quiet")
    failed = emodef_command(*given, "--out", files / "run", "--set", "max_length=5000", "--quiet", code=2)
    assert "tokens at most" in failed.output  # before its first step: the folder is free
    done = emodef_command(*given, "--out", files / "run", *few)
    assert "cross-validated (3 folds)" in done.output
    assert f"next: emodef export {files / 'run'}" in done.output  # there is no split to evaluate it on
    assert "was refused" not in done.output
    measured = emodef_command("evaluate", files / "run", "--data", files / "few.csv")
    assert "per label, by cross-validation" in measured.stdout
    light = files / "light"
    emodef_command("export", files / "run", "--out", light, "--precision", "fp32", "--quiet")
    info = json.loads((light / "model.json").read_text(encoding="utf-8"))
    assert info["thresholds"] == TrainedModel.load(files / "run" / "model").thresholds
    assert info["calibration"] is None
    assert "by cross-validation" in (light / "README.md").read_text(encoding="utf-8")
    emodef_command("predict", "--model", light, "I am so happy")
    measured = emodef_command("evaluate", light, "--data", files / "few.csv")
    assert "per label, by cross-validation" in measured.stdout
    wrong = emodef_command(*given, "--out", files / "other", "--set", "pooling=own", "--quiet", code=2)
    assert "pooling is 'own', and of the model to start from 'mean'" in wrong.output
    assert not (files / "other").exists()
    for options, words in (
        ((*given, "--set", f"start={trained}"), "start is given twice"),
        (("train", "--from", trained, "--labels", files / "few.toml"), "'goemotions' brings its own labels"),
    ):
        told = emodef_command(*options, "--out", files / "other", "--dry-run", code=2).output
        assert words in " ".join(told.split())
