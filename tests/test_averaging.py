"""The mean of models' weights: against plain arithmetic, measured as a run, refused where models do not go together."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from commands import emodef_command
from emodef.cli.zeroshot import _held_out
from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.runs import RunFolder, fingerprint
from emodef.train import teachers
from emodef.train.averaging import average, mean_of
from emodef.train.checkpoint import TrainedModel
from emodef.train.export import load_source
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from test_zero_shot import write_corpus

Splits = dict[str, Corpus]


@pytest.fixture(scope="module")
def runs(
    tiny_backbone: Callable[..., Path], tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Finished runs of one encoder: two with the matching head, one without, one that reads emoji as words."""
    folder = tmp_path_factory.mktemp("averaged")
    write_corpus(folder / "mine", tiny_corpus)
    base: dict[str, Any] = {
        "backbone": str(tiny_backbone("bert", initializer_range=0.3)),
        "pooling": "mean",
        "epochs": 1,
        "learning_rate": 3e-3,
        "precision": "fp32",
        "corpus": str(folder / "mine"),
        "label_set": str(folder / "mine" / "labels.toml"),
    }
    made = {
        "one": {"setup": "match"},
        "two": {"setup": "match", "seed": 1},
        "none": {},
        "words": {"setup": "match", "emoji": "words"},
    }
    for name, changes in made.items():
        run_training(TrainSettings(**base, **changes), tiny_corpus, folder / name, cpu=True)
    return {name: folder / name for name in made}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(TrainedModel.load(path / "model").model.named_parameters())


def test_the_mean_is_the_mean(runs: dict[str, Path], tiny_corpus: Splits, tmp_path: Path) -> None:
    run, tried = average([runs["one"], runs["two"]], tmp_path / "mean", cpu=True)
    assert tried == []
    first, second, found = weights(runs["one"]), weights(runs["two"]), weights(tmp_path / "mean")
    assert set(found) == set(first)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (first[name] + second[name]) / 2)
    assert not torch.equal(found["match.log_scale"], first["match.log_scale"])
    folder = RunFolder.open(tmp_path / "mean")
    splits = folder.corpus()
    assert folder.ids("test") == splits["test"].ids
    own = run.model.predict_proba(splits["dev"].texts)
    np.testing.assert_allclose(folder.probabilities("dev"), own, atol=2e-3)
    assert len(run.model.settings.average) == 2
    kept = json.loads((tmp_path / "mean" / "metrics.json").read_text(encoding="utf-8"))["training"]
    assert kept["corpus"] == fingerprint(splits)
    assert run.model.settings.canonical() != RunFolder.open(runs["one"]).settings
    with pytest.raises(SettingsError, match="not an empty folder"):
        average([runs["one"]], tmp_path / "mean", cpu=True)
    with pytest.raises(SettingsError, match="emodef average"):
        run_training(run.model.settings, tiny_corpus, tmp_path / "again", cpu=True)


def test_a_share_of_the_untuned_encoder(runs: dict[str, Path], tmp_path: Path) -> None:
    run, tried = average([runs["one"]], tmp_path / "milder", shares=(0.0, 0.5), cpu=True)
    assert [each.untuned for each in tried] == [0.0, 0.5]
    best = max(tried, key=lambda each: each.dev_macro_f1).untuned
    given, found = weights(runs["one"]), weights(tmp_path / "milder")
    settings = TrainSettings(**RunFolder.open(runs["one"]).settings)
    begun = dict(TrainedModel.untrained(settings, run.model.label_set).model.named_parameters())
    for name, tensor in found.items():
        share = (
            best if ".bert." in name or (name.startswith("network.") and "classifier" not in name) else 0.0
        )
        wanted = (1 - share) * given[name] + share * begun[name]
        torch.testing.assert_close(tensor, wanted, rtol=1e-4, atol=1e-5)


def test_heads_that_some_have(runs: dict[str, Path], tmp_path: Path) -> None:
    """The encoder is the mean of all; a head that one of them has is as it was."""
    average([runs["one"], runs["none"]], tmp_path / "both", cpu=True)
    found, first = weights(tmp_path / "both"), weights(runs["one"])
    assert torch.equal(found["match.bias"], first["match.bias"])
    a, b = {"x": torch.zeros(2)}, {"x": torch.ones(2), "y": torch.ones(1)}
    assert {name: t.tolist() for name, t in mean_of([a, b]).items()} == {"x": [0.5, 0.5], "y": [1.0]}
    with pytest.raises(SettingsError, match="not as large"):
        mean_of([a, {"x": torch.ones(3)}])


def test_models_that_do_not_go_together(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="emoji = 'words'"):
        average([runs["one"], runs["words"]], tmp_path / "mixed", cpu=True)
    assert not (tmp_path / "mixed").exists()


def test_models_that_began_with_different_ones(
    runs: dict[str, Path], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = TrainSettings(**RunFolder.open(runs["one"]).settings | {"backbone_hash": None})
    begun = settings.model_copy(update={"start": str(runs["two"]), "epochs": 1})
    run_training(begun, tiny_corpus, tmp_path / "begun", cpu=True)
    with pytest.raises(
        SettingsError, match=r"begun began with another trained model \(\w{16}\) than .* \(none\)"
    ):
        average([runs["one"], tmp_path / "begun"], tmp_path / "mixed", cpu=True)
    average([tmp_path / "begun"], tmp_path / "alone", cpu=True)


def test_labels_as_users_write_them_and_as_they_were(runs: dict[str, Path], tmp_path: Path) -> None:
    labels = runs["one"].parent / "mine" / "labels.toml"
    before, whole = labels.read_text(encoding="utf-8"), RunFolder.open(runs["one"]).label_set
    lines = [f'{name} = "{text}"\n' for name, text in zip(whole.names, whole.definitions, strict=True)]
    try:
        labels.write_text("".join(lines), encoding="utf-8")
        run, _ = average([runs["one"], runs["two"]], tmp_path / "mean", cpu=True)
        assert run.model.label_set.names == whole.names
        labels.write_text("".join(lines[::-1]), encoding="utf-8")
        with pytest.raises(DataError, match="in another order"):
            average([runs["one"], runs["two"]], tmp_path / "other", cpu=True)
        assert not (tmp_path / "other").exists()
    finally:
        labels.write_text(before, encoding="utf-8")


def test_dev_texts_that_are_others_now(runs: dict[str, Path], tmp_path: Path) -> None:
    """A run may have been trained on what is dev now."""
    texts = next((runs["one"].parent / "mine").glob("dev.*"))
    before = texts.read_bytes()
    try:
        lines = before.splitlines(keepends=True)
        texts.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))
        with pytest.raises(
            DataError, match="dev texts are not those of this run, which may have been trained on them"
        ):
            average([runs["one"], runs["two"]], tmp_path / "mean", cpu=True)
        with pytest.raises(
            DataError, match="dev texts are not those of this run, which may have been trained on them"
        ):
            load_source(runs["one"])
        without = tmp_path / "without"  # what was noted of the texts is enough
        shutil.copytree(runs["one"], without)
        (without / "probabilities.npz").unlink()
        for refused in (
            lambda: average([without], tmp_path / "mean", cpu=True),
            lambda: load_source(without),
            lambda: _held_out(cast(Any, None), str(without), "dev", None),
        ):
            with pytest.raises(DataError, match="dev texts are not those of this run"):
                refused()
    finally:
        texts.write_bytes(before)
    assert load_source(runs["one"])[1]["dev"].texts


def test_the_command(runs: dict[str, Path], tmp_path: Path) -> None:
    told = emodef_command(
        "average",
        runs["one"],
        runs["two"],
        "--untuned",
        "choose",
        "--out",
        tmp_path / "mean",
        "--cpu",
        "--json",
        "--quiet",
    )
    content = json.loads(told.stdout)
    assert [each["untuned"] for each in content["tried"]] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert set(content["dev"]) == {"dev fixed", "dev tuned"}
    wrong = emodef_command("average", runs["one"], "--untuned", "2", "--out", tmp_path / "x", code=2)
    assert "below 1" in wrong.stderr


def test_what_teachers_say_is_kept_with_them_or_the_command_fails(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(teachers, "write_bytes", full)
        failed = emodef_command("soft-labels", runs["two"], "--cpu", "--quiet", code=DataError.exit_code)
    assert f"{teachers.STORED}: could not be written; make room there" in failed.stderr
    done = emodef_command("soft-labels", runs["two"], "--cpu", "--quiet")
    assert done.stdout.startswith(f"{runs['two'] / teachers.STORED}: ")
    (runs["two"] / teachers.STORED).unlink()
