"""A run's folder: what is in it, that its figures can be measured again, and that nothing harms a run already there."""

from __future__ import annotations

import json
import shutil
import signal
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

import emodef
from emodef.corpora import Corpus
from emodef.errors import EmodefError, MissingExtraError, SettingsError, TrainingError
from emodef.evaluation import Report
from emodef.runs import DESCRIBES, DataChoice, RunFolder, digest_of, evaluate_splits, fingerprint
from emodef.train.checkpoint import TrainedModel
from emodef.train.processes import locked
from emodef.train.run import Run, run_training
from emodef.train.settings import TrainSettings
from emodef.train.teachers import with_hashes
from tiny_training import EVALUATION, STEP, Blow, Job, error_of, finish, run, short_run, start

Splits = dict[str, Corpus]
FILES = ["log.jsonl", "metrics.json", "model", "probabilities.npz", "settings.json", "versions.json"]


@pytest.fixture(scope="module")
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    """`make(setup="cdp")`: settings of a run of 16 steps."""

    def settings(**changes: Any) -> TrainSettings:
        return short_run(tiny_backbone("bert", initializer_range=0.3), **changes)

    return settings


@pytest.fixture(scope="module")
def finished(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A finished run; read-only."""
    return run_training(make(), tiny_corpus, tmp_path_factory.mktemp("run") / "new" / "folder", cpu=True)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_a_finished_runs_folder_holds(finished: Run, make: Callable[..., TrainSettings]) -> None:
    folder = finished.folder
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert TrainSettings(**read(folder / "settings.json")) == with_hashes(make())
    about = read(folder / "versions.json")
    assert about["versions"]["emodef"] == emodef.__version__
    assert about["versions"]["torch"] == torch.__version__
    assert about["precision"] == "fp32"
    assert about["hardware"]["threads"] == torch.get_num_threads()
    assert "earlier" not in about
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["epoch"] for line in steps if "epoch" in line] == [1, 2]
    assert not list(folder.rglob("*.bin")) + list(folder.rglob("*.pt")) + list(folder.rglob("*.pkl"))


def test_metrics_say_how_training_went(finished: Run, tiny_corpus: Splits) -> None:
    metrics = read(finished.folder / "metrics.json")
    training = metrics["training"]
    assert training["steps"] == {"primary": 16, "auxiliary": 0}
    assert training["precision"] == "fp32"
    assert training["seconds"] > 0
    assert training["corpus"] == fingerprint(tiny_corpus)
    assert training["texts"] == {split: digest_of(tiny_corpus[split].texts) for split in ("dev", "test")}
    assert 50 < training["peak_memory_mib"]["process"] < 50_000
    assert len(metrics["epochs"]) == 2
    best = max(metrics["epochs"], key=lambda epoch: epoch["dev_macro_f1"])
    assert training["kept_epoch"] == best["epoch"]
    assert set(metrics["reports"]) == {"dev fixed", "dev tuned", "test fixed", "test tuned"}
    for name, report in metrics["reports"].items():
        assert Report.from_dict(report).summary["macro_f1"] == finished.reports[name].summary["macro_f1"]
    dev = finished.reports["dev fixed"].summary["macro_f1"].value
    assert dev == pytest.approx(best["dev_macro_f1"], abs=0.02)  # stored probabilities are rounded


def test_probabilities_load_without_pickle_and_give_the_same_reports(
    finished: Run, tiny_corpus: Splits
) -> None:
    with np.load(finished.folder / "probabilities.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    heads = {"emotion", "match"}
    assert set(arrays) == {f"{split}_{part}" for split in ("dev", "test") for part in heads | {"ids"}}
    for split in ("dev", "test"):
        assert arrays[f"{split}_ids"].tolist() == tiny_corpus[split].ids
        for head in heads:
            values = arrays[f"{split}_{head}"]
            assert values.dtype == np.float16
            fresh = finished.model.predict_proba(tiny_corpus[split].texts, scores=head)
            np.testing.assert_array_equal(values, fresh.astype(np.float16))
    answers = {split: arrays[f"{split}_match"].astype(np.float32) for split in ("dev", "test")}
    thresholds, reports = evaluate_splits(answers, tiny_corpus, 0.3)
    assert {name: report.to_dict() for name, report in reports.items()} == read(
        finished.folder / "metrics.json"
    )["reports"]
    assert thresholds == read(finished.folder / "model" / "thresholds.json")


def test_a_choice_of_data_is_read_as_it_was_made(tmp_path: Path) -> None:
    """Before the rule was noted, a test share was cut first, and dev behind it."""
    choice = DataChoice(dev_share=0.1, test_share=0.2)
    choice.save(tmp_path)
    assert DataChoice.saved(tmp_path) == choice
    noted = read(tmp_path / "data.json")
    del noted["first"]
    (tmp_path / "data.json").write_text(json.dumps(noted))
    assert DataChoice.saved(tmp_path) == replace(choice, first="test")


def test_the_saved_model_answers_as_the_trained_one(finished: Run, tiny_corpus: Splits) -> None:
    loaded = TrainedModel.load(finished.folder / "model")
    texts = tiny_corpus["test"].texts
    np.testing.assert_array_equal(loaded.predict_proba(texts), finished.model.predict_proba(texts))
    card = (finished.folder / "model" / "README.md").read_text(encoding="utf-8")
    assert f"{100 * finished.reports['test fixed'].summary['macro_f1'].value:.1f}" in card


def test_a_run_can_be_kept_without_its_weights(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, finished: Run
) -> None:
    run_training(make(), tiny_corpus, tmp_path / "run", cpu=True, weights=False)
    assert sorted(path.name for path in (tmp_path / "run" / "model").iterdir()) == sorted(DESCRIBES)
    light, whole = (RunFolder.open(folder) for folder in (tmp_path / "run", finished.folder))
    np.testing.assert_array_equal(light.probabilities("test"), whole.probabilities("test"))
    assert light.label_set == whole.label_set


def test_the_fingerprint_is_of_texts_labels_and_definitions(tiny_corpus: Splits) -> None:
    whole = fingerprint(tiny_corpus)
    assert whole == fingerprint(dict(reversed(list(tiny_corpus.items()))))
    test = tiny_corpus["test"]
    other = [replace(test, texts=[*test.texts[:-1], "Changed"]), test.take(range(39))]
    other.append(replace(test, labels=1 - test.labels))
    for changed in other:
        assert fingerprint(tiny_corpus | {"test": changed}) != whole
        assert fingerprint(tiny_corpus | {"test": changed}, ("train", "dev")) == fingerprint(
            tiny_corpus, ("train", "dev")
        )


def test_a_corpus_without_dev_or_test(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make(setup="none", keep="last", epochs=1)
    only_train = {"train": tiny_corpus["train"]}
    run_training(settings, only_train, tmp_path / "none", cpu=True)
    assert read(tmp_path / "none" / "metrics.json")["reports"] == {}
    with np.load(tmp_path / "none" / "probabilities.npz", allow_pickle=False) as stored:
        assert not stored.files
    with_test = only_train | {"test": tiny_corpus["test"]}
    done = run_training(settings, with_test, tmp_path / "test", cpu=True)
    assert set(done.reports) == {"test fixed"}  # nothing to tune thresholds on
    assert TrainedModel.load(tmp_path / "test" / "model").thresholds == {"fixed": 0.3}


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_is_left_alone(
    finished: Run, make: Callable[..., TrainSettings], tiny_corpus: Splits, resume: bool
) -> None:
    before = snapshot(finished.folder)
    other = DataChoice(dev_share=0.5)  # is not noted
    for settings in (make(), make(seed=1)):
        with pytest.raises(SettingsError, match="holds a finished run"):
            run_training(settings, tiny_corpus, finished.folder, resume=resume, cpu=True, choice=other)
    assert snapshot(finished.folder) == before


def test_an_unfinished_run_goes_on_only_when_asked_and_only_with_its_settings(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, finished: Run
) -> None:
    job = Job(make(), tiny_corpus, tmp_path / "run", whole=True, blows=(Blow(STEP, 5),))
    assert run(job) == -signal.SIGKILL
    before = snapshot(job.folder)
    with pytest.raises(SettingsError, match=r"holds a run already.*--resume.*--out"):
        run_training(make(), tiny_corpus, job.folder, cpu=True)
    with pytest.raises(SettingsError, match=r"other settings \(learning_rate, seed\)"):
        run_training(make(seed=1, learning_rate=0.1), tiny_corpus, job.folder, resume=True, cpu=True)
    with pytest.raises(SettingsError, match="holds no run to resume"):
        run_training(make(), tiny_corpus, tmp_path / "other", resume=True, cpu=True)
    changed = {name for name in snapshot(job.folder) if snapshot(job.folder)[name] != before.get(name)}
    assert changed <= {".lock"}
    done = run_training(make(), tiny_corpus, job.folder, resume=True, cpu=True)
    assert_same_result(done.folder, finished.folder)


def assert_same_result(folder: Path, reference: Path) -> None:
    """The same files, with the same content but for the clock."""
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for name in (
        "model/model.safetensors",
        "model/heads.safetensors",
        "model/thresholds.json",
        "settings.json",
    ):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
    ours, theirs = (read(path / "metrics.json") for path in (folder, reference))
    assert ours["reports"] == theirs["reports"]
    assert ours["epochs"] == theirs["epochs"]
    clock = {"seconds": 0, "peak_memory_mib": {}}
    assert ours["training"] | clock == theirs["training"] | clock


@pytest.mark.parametrize(
    "blow",
    [
        Blow(EVALUATION, 3),  # trained, not yet predicted (two calls were the epochs')
        Blow("emodef.train.run.evaluate_splits", 1),
        Blow("emodef.train.checkpoint.TrainedModel.save", 1),
        Blow(
            "emodef.train.checkpoint.replaced_directory.__exit__", 8
        ),  # after seven states, the model itself
        Blow("emodef.train.run._remove_states", 1),  # all is written, metrics.json too
    ],
    ids=lambda blow: blow.at.rsplit(".", 1)[-1],
)
def test_killed_after_training(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, finished: Run, blow: Blow
) -> None:
    job = Job(make(), tiny_corpus, tmp_path / "run", whole=True, blows=(blow,))
    assert run(job) == -signal.SIGKILL
    assert (job.folder / "state" / "step-00000016").is_dir()
    if (job.folder / "metrics.json").exists():
        with pytest.raises(SettingsError, match="finished"):
            run_training(make(), tiny_corpus, job.folder, resume=True, cpu=True)
    else:
        run_training(make(), tiny_corpus, job.folder, resume=True, cpu=True)
    assert_same_result(job.folder, finished.folder)


def test_what_a_killed_process_left_is_removed(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    job = Job(
        make(), tiny_corpus, tmp_path / "run", whole=True, blows=(Blow("emodef.train.resume.save_file", 4),)
    )
    assert run(job) == -signal.SIGKILL
    assert list(job.folder.glob("state/.step-*.part"))
    (job.folder / ".best.safetensors.abc.part").write_bytes(b"half")
    (job.folder / "mine.part").write_bytes(b"not ours")
    with pytest.raises(SettingsError, match="holds a run already"):  # refused: nothing is touched
        run_training(make(), tiny_corpus, job.folder, cpu=True)
    assert list(job.folder.glob("state/.step-*.part"))
    again = replace(job, options={"resume": True}, blows=(Blow(STEP, 1),))
    assert run(again) == -signal.SIGKILL
    assert not list(job.folder.glob("state/.*"))
    assert not list(job.folder.glob(".best*"))
    assert (job.folder / "mine.part").exists()


def test_a_run_resumed_elsewhere_keeps_both_places(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    job = Job(make(epochs=1), tiny_corpus, tmp_path / "run", whole=True, blows=(Blow(STEP, 5),))
    assert run(job) == -signal.SIGKILL
    path = job.folder / "versions.json"
    about = read(path)
    about["code"] = "0123456789ab"
    path.write_text(json.dumps(about), encoding="utf-8")
    run_training(make(epochs=1), tiny_corpus, job.folder, resume=True, cpu=True)
    assert read(path)["earlier"] == [about]
    assert read(path)["code"] != "0123456789ab"


def test_two_runs_in_one_folder(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, finished: Run
) -> None:
    folder = tmp_path / "run"
    with locked(folder), pytest.raises(SettingsError, match=r"in use by process \d+ on .*another folder"):
        run_training(make(), tiny_corpus, folder, cpu=True)
    assert not (folder / "settings.json").exists()
    job = Job(make(), tiny_corpus, folder, whole=True)
    codes = sorted(finish([start(job), start(job)]), key=str)
    assert codes == [0, SettingsError.exit_code]
    assert "in use by" in error_of(job) or "holds a" in error_of(job)  # at once, or when the first had ended
    assert_same_result(folder, finished.folder)


def test_a_killed_runs_lock_is_gone_with_it(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("process 1 on a machine", encoding="utf-8")
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_one(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(EmodefError, match=r"cannot hold a run.*give another folder"):
            run_training(make(), tiny_corpus, path, cpu=True)


def test_a_folder_of_something_else_is_left_alone(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    (tmp_path / "an earlier run").mkdir()  # the folder of runs, where one in it was meant
    with pytest.raises(
        SettingsError, match=r"is not empty \(it has an earlier run\); give the run a folder of its own"
    ):
        run_training(make(), tiny_corpus, tmp_path, cpu=True, choice=DataChoice())
    assert [path.name for path in tmp_path.iterdir()] == ["an earlier run"]


def test_a_full_disk_while_evaluating(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, finished: Run
) -> None:
    """The model's file is as large as a state's weights: keep the state, and let the model's be the one that fails."""
    job = Job(make(), tiny_corpus, tmp_path / "run", whole=True, blows=(Blow(EVALUATION, 3),))
    assert run(job) == -signal.SIGKILL
    size = (finished.folder / "model" / "model.safetensors").stat().st_size
    full = replace(job, options={"resume": True}, blows=(), file_limit=size // 2)
    assert run(full) == TrainingError.exit_code
    assert "make room and go on with --resume" in error_of(job)
    assert not (job.folder / "metrics.json").exists()
    assert not list(job.folder.glob(".model*"))
    run_training(make(), tiny_corpus, job.folder, resume=True, cpu=True)
    assert_same_result(job.folder, finished.folder)


def test_tensorboard_is_asked_for_early(
    make: Callable[..., TrainSettings],
    tiny_corpus: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shutil.which("tensorboard"):
        run_training(make(epochs=1), tiny_corpus, tmp_path / "with", cpu=True, tensorboard=True)
        assert list((tmp_path / "with" / "tensorboard").glob("events.*"))

    def absent(module: str, extra: str) -> None:
        raise MissingExtraError(f"{module} {extra}")

    monkeypatch.setattr("emodef.train.logs.require", absent)
    with pytest.raises(MissingExtraError, match="tensorboard tensorboard"):
        run_training(make(), tiny_corpus, tmp_path / "without", cpu=True, tensorboard=True)


def test_probabilities_are_a_plain_archive(finished: Run) -> None:
    with zipfile.ZipFile(finished.folder / "probabilities.npz") as archive:
        for name in archive.namelist():
            assert b"'descr': '|O'" not in archive.read(name)[:128], name
