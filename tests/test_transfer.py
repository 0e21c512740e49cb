"""Transfer studies on tiny real encoders: whole ones, stopped and resumed; starts, settings, the command, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from sklearn.metrics import accuracy_score, f1_score

import tiny_transfer
from commands import emodef_command
from emodef.corpora import Corpus
from emodef.encoding import Encoder
from emodef.errors import DataError, SettingsError
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from emodef.train.transfer import OutOfTime, run_transfer
from emodef.train.transfer_plan import Unit, plan_transfer
from emodef.train.transfer_processes import shared_out
from emodef.train.transfer_runs import Workbench
from emodef.train.transfer_settings import TransferSettings
from emodef.train.transfer_starts import find_starts
from emodef.transfers import Row, TransferFolder

pytestmark = pytest.mark.long

Splits = dict[str, Corpus]


@pytest.fixture(scope="session")
def tuned(
    moods_backbone: Path, tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Finished runs of two setups, in one results folder."""
    results = tmp_path_factory.mktemp("results")
    for setup in ("none", "match"):
        settings = TrainSettings(
            backbone=str(moods_backbone),
            pooling="mean",
            setup=setup,
            epochs=1,
            learning_rate=1e-3,
            precision="fp32",
        )
        run_training(settings, tiny_corpus, results / setup, cpu=True)
    return {setup: results / setup for setup in ("none", "match")}


def told(row: Row) -> Row:
    return replace(row, seconds=0.0)


# Studies


def test_a_study_is_whole_measured_and_not_repeated(
    study: Callable[..., TransferSettings],
    tuned: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = study(starts=["untuned", "none"], policies=["softmax", "sigmoid"])
    counted: list[int] = []
    tokenize = Encoder.tokenize
    monkeypatch.setattr(
        Encoder, "tokenize", lambda self, given: counted.append(len(given)) or tokenize(self, given)
    )
    folder = run_transfer(
        settings, tmp_path, {"none": tuned["none"], "mine": tuned["match"] / "model"}, cpu=True
    )
    assert counted == [tiny_transfer.TEXTS]  # once, for all starts
    rows = folder.rows()
    assert len(rows) == 3 * 2 * 2 * 2 == len({row.key for row in rows})
    splits = folder.splits("moods")
    for row in rows:
        train, test = splits.train(row.split, row.size), splits.test(row.split, row.size, 30)
        assert (row.train_texts, row.texts, row.seed) == (len(train), len(test), 41 + row.split)
        assert (row.train_ids_hash, row.test_ids_hash) == (splits.digest(train), splits.digest(test))
        assert row.steps == 2 * -(-len(train) // 4)
        predicted = folder.predictions(row.start, row.corpus, 3)[row.size, row.split, row.policy]
        truth = np.eye(3, dtype=bool)[splits.labels[test]]
        assert row.accuracy == pytest.approx(accuracy_score(truth, predicted), abs=1e-6)
        expected = f1_score(truth, predicted, average="macro", zero_division=0)
        assert row.macro_f1 == pytest.approx(expected, abs=1e-6)
        assert (row.policy == "sigmoid") or (predicted.sum(1) == 1).all()
    by_start = {row.start: row for row in rows}
    assert by_start["untuned"].start_dev_macro_f1 is None
    metrics = json.loads((tuned["none"] / "model" / "metrics.json").read_text())
    assert by_start["none"].start_dev_macro_f1 == metrics["dev fixed"]["macro_f1"]["value"]
    assert len({row.start_hash for row in rows}) == 3
    assert [by_start[name].start_run for name in ("untuned", "none", "mine")] == [None, "none", "match"]
    about = json.loads((folder.path / "settings.json").read_text())
    assert (about["corpora"], about["starts"]) == (["moods"], ["untuned", "none", "mine"])
    assert (about["sizes"], about["splits"]) == ([12, 0.5], 2)
    assert json.loads((folder.path / "versions.json").read_text())["precision"] == "fp32"

    monkeypatch.setattr(Workbench, "run", lambda *given, **options: pytest.fail("made twice"))
    again = run_transfer(settings, tmp_path, {"none": tuned["none"]}, cpu=True)
    assert again.rows() == rows


def test_more_of_a_study_joins_what_is_there(
    study: Callable[..., TransferSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_transfer(study(sizes=[12], splits=1), tmp_path, cpu=True)
    before = first.rows()
    more = study(sizes=[12, 20], splits=2)
    assert plan_transfer(more, tmp_path, cpu=True).pending == 3
    after = run_transfer(more, tmp_path, cpu=True)
    assert after.path == first.path
    assert after.rows()[:1] == before
    whole = run_transfer(more, tmp_path / "anew", cpu=True)
    assert {told(row) for row in whole.rows()} == {told(row) for row in after.rows()}
    other = run_transfer(study(sizes=[12], splits=1, epochs=1), tmp_path, cpu=True)
    assert other.path != first.path
    assert json.loads((after.path / "settings.json").read_text())["sizes"] == [12, 20]


def strike(settings: TransferSettings, results: Path, at: str, number: int, blow: str) -> Any:
    order = {
        "settings": settings.model_dump(mode="json"), "results": str(results), "starts": {},
        "at": at, "number": number, "signal": blow,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, tiny_transfer.__file__],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_study_goes_on(study: Callable[..., TransferSettings], tmp_path: Path) -> None:
    settings = study()
    whole = run_transfer(settings, tmp_path / "whole", cpu=True)
    done = strike(settings, tmp_path, "run", 3, "SIGKILL")
    assert done.returncode == -9, done.stderr
    folder = TransferFolder(next((tmp_path / "transfer").iterdir()))
    before = folder.rows()
    assert len(before) == 2
    with (folder.path / "rows.jsonl").open("a") as handle:
        handle.write('{"start": "untuned", "corp')  # as a full disk, or a lost machine, may leave it
    assert folder.rows() == before
    run_transfer(settings, tmp_path, cpu=True)
    assert folder.rows()[:2] == before
    assert {told(row) for row in folder.rows()} == {told(row) for row in whole.rows()}
    for key, predicted in whole.predictions("untuned", "moods", 3).items():
        np.testing.assert_array_equal(folder.predictions("untuned", "moods", 3)[key], predicted)


def test_ctrl_c_keeps_what_is_finished(study: Callable[..., TransferSettings], tmp_path: Path) -> None:
    done = strike(study(), tmp_path, "step", 10, "SIGINT")  # the first run has six steps
    assert done.returncode == 130, done.stderr
    assert "go on with the same command" in done.stderr
    assert len(TransferFolder(next((tmp_path / "transfer").iterdir())).rows()) == 1


def test_no_run_begins_after_the_time_is_up(study: Callable[..., TransferSettings], tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match="0 of 4 runs made") as told:
        run_transfer(study(), tmp_path, cpu=True, stop_after=0)
    assert told.value.exit_code == 0
    assert plan_transfer(study(), tmp_path, cpu=True).seconds() is None
    run_transfer(study(), tmp_path, cpu=True)
    assert (plan_transfer(study(splits=3), tmp_path, cpu=True).seconds() or 0) > 0


@pytest.mark.parametrize("starts", [["untuned", "none", "match"], ["untuned"]])
def test_several_processes_make_the_same_rows(
    study: Callable[..., TransferSettings], tuned: dict[str, Path], tmp_path: Path, starts: list[str]
) -> None:
    settings = study(sizes=[12], starts=starts)
    alone = run_transfer(settings, tmp_path / "alone", tuned, cpu=True)
    together = run_transfer(settings, tmp_path / "together", tuned, cpu=True, jobs=2)
    assert {told(row) for row in together.rows()} == {told(row) for row in alone.rows()}


def test_runs_are_shared_out_where_there_are_more_processes_than_starts(
    study: Callable[..., TransferSettings], tmp_path: Path
) -> None:
    units = plan_transfer(study(), tmp_path, cpu=True).units
    assert [len(unit.runs) for unit in units] == [4]
    for jobs, parts in ((1, [4]), (2, [2, 2]), (3, [2, 1, 1]), (9, [1, 1, 1, 1])):
        shared = shared_out(units, jobs)
        assert [len(unit.runs) for unit in shared] == parts
        assert sorted(run for unit in shared for run in unit.runs) == sorted(units[0].runs)
    assert shared_out([*units, *units, *units], 2) == [*units, *units, *units]
    assert shared_out([], 2) == []


def test_an_error_in_one_process_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others, in the middle of their runs, do not wait for an answer that nobody gives."""
    from emodef.train import transfer_processes

    monkeypatch.setattr(transfer_processes, "_serve", tiny_transfer.serve_unfit)
    monkeypatch.setattr(transfer_processes, "_PATIENCE", 120.0)
    # as on Windows, where the ends of a pipe are of another class
    monkeypatch.setattr(transfer_processes, "Connection", TransferFolder, raising=False)
    units = [Unit(None, name, ((12, 1, "softmax"),)) for name in ("bad", "good", "fine")]  # type: ignore[arg-type]
    began = time.monotonic()
    with pytest.raises(SettingsError, match="it does not fit"):
        transfer_processes.run_in_processes(tiny_transfer.Unfit(units), 3, None, [], None)  # type: ignore[arg-type]
    assert time.monotonic() - began < 110  # two that are waited for two minutes each


def test_a_run_that_fails_does_not_stop_the_others(
    study: Callable[..., TransferSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emodef.errors import TrainingError

    logits = Workbench._logits
    poisoned = iter([True])

    def broken(self: Workbench, inputs: Any) -> Any:
        return logits(self, inputs) * (float("nan") if next(poisoned, False) else 1.0)

    monkeypatch.setattr(Workbench, "_logits", broken)
    with pytest.raises(TrainingError, match=r"1 failed.*untuned on moods, size 12, split 1.*not finite"):
        run_transfer(study(), tmp_path, cpu=True)
    assert plan_transfer(study(), tmp_path, cpu=True).pending == 1
    run_transfer(study(), tmp_path, cpu=True)
    whole = run_transfer(study(), tmp_path / "whole", cpu=True)
    folder = TransferFolder(next((tmp_path / "transfer").iterdir()))
    assert {told(row) for row in folder.rows()} == {told(row) for row in whole.rows()}


def test_few_texts_are_learned(study: Callable[..., TransferSettings], tmp_path: Path) -> None:
    policies = ["softmax", "sigmoid"]
    settings = study(sizes=[60], splits=1, epochs=20, learning_rate=1e-2, policies=policies, dropout=0.0)
    for row in run_transfer(settings, tmp_path, cpu=True).rows():
        assert row.macro_f1 > 0.6, row  # a guess has 0.33, every label everywhere 0.5


# Starts


def test_starts_are_found_among_finished_runs(
    study: Callable[..., TransferSettings], tuned: dict[str, Path], tmp_path: Path
) -> None:
    results = tuned["none"].parent
    found = find_starts(study(starts=["untuned", "match", "none"]), {}, results)
    assert [start.name for start in found] == ["untuned", "match", "none"]
    assert [start.run for start in found] == [None, str(tuned["match"]), str(tuned["none"])]
    with pytest.raises(SettingsError, match=r"start 'cdp': there is no finished run of it .*--start cdp=RUN"):
        find_starts(study(starts=["cdp"]), {}, results)
    with pytest.raises(SettingsError, match="no finished run"):
        find_starts(study(starts=["none"], pooling="own"), {}, results)
    with pytest.raises(DataError, match="holds no model"):
        find_starts(study(starts=["none"]), {"none": tmp_path}, results)
    with pytest.raises(SettingsError, match="start 'mine' was trained with pooling"):
        find_starts(study(starts=["untuned"], pooling="own"), {"mine": tuned["none"]}, results)
    with pytest.raises(SettingsError, match="is the backbone itself"):
        find_starts(study(), {"untuned": tuned["none"]}, results)
    with pytest.raises(SettingsError, match="no name for a start"):
        find_starts(study(), {"a/b": tuned["none"]}, results)


def test_the_best_on_dev_of_several_runs_and_only_with_weights(
    study: Callable[..., TransferSettings], tuned: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    for name, dev in (("a", 0.3), ("b", 0.5), ("c", 0.9)):
        shutil.copytree(tuned["none"], tmp_path / name)
        metrics = tmp_path / name / "model" / "metrics.json"
        metrics.write_text(json.dumps({"dev fixed": {"macro_f1": {"value": dev}}}))
    (tmp_path / "c" / "model" / "model.safetensors").unlink()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "metrics.json").touch()  # being made
    for number, changed in enumerate(
        (
            {"held_out": ["joy"]},
            {"held_out_draw": 1},
            {"teacher": ["a"]},
            {"average": ["1 a"]},
            {"start": "a"},
            {"steps_as_p": 0.5},
        )
    ):  # not this setup as the paper has it, whatever they score
        other = tmp_path / f"other{number}"
        shutil.copytree(tmp_path / "a", other)
        settings = json.loads((other / "settings.json").read_text())
        (other / "settings.json").write_text(json.dumps(settings | changed))
        (other / "model" / "metrics.json").write_text(json.dumps({"dev fixed": {"macro_f1": {"value": 0.8}}}))
    found = find_starts(study(starts=["none"]), {}, tmp_path)[0]
    assert (found.run, found.dev_macro_f1) == (str(tmp_path / "b"), 0.5)
    for name in "ab":
        (tmp_path / name / "model" / "model.safetensors").unlink()
    with pytest.raises(SettingsError, match="a has lost its weights"):
        find_starts(study(starts=["none"]), {}, tmp_path)


def test_a_name_stands_for_one_model(
    study: Callable[..., TransferSettings], tuned: dict[str, Path], tiny_bert_dir: Path, tmp_path: Path
) -> None:
    settings = study(starts=["none"], sizes=[12], splits=1)
    run_transfer(settings, tmp_path, {"none": tuned["none"]}, cpu=True)
    with pytest.raises(SettingsError, match="rows of another model by that name"):
        run_transfer(settings, tmp_path, {"none": tuned["match"]}, cpu=True)
    other = study(starts=["none"], backbone=str(tiny_bert_dir))
    with pytest.raises(SettingsError, match="was trained with backbone"):
        run_transfer(other, tmp_path, {"none": tuned["none"]}, cpu=True)


def test_a_corpus_must_have_one_label_a_text(
    study: Callable[..., TransferSettings], moods: tuple[str, str], tmp_path: Path
) -> None:
    several = tmp_path / "several.toml"
    several.write_text(Path(moods[1]).read_text().replace("exclusive = true", "exclusive = false"))
    with pytest.raises(SettingsError, match="several labels a text"):
        run_transfer(study(label_set=str(several)), tmp_path, cpu=True)
    with pytest.raises(SettingsError, match="leaves none to train or test on"):
        run_transfer(study(sizes=[90]), tmp_path, cpu=True)
    assert not (tmp_path / "transfer").exists()


def test_a_corpus_that_has_changed_is_refused(
    study: Callable[..., TransferSettings], moods: tuple[str, str], tmp_path: Path
) -> None:
    mine = tmp_path / "moods.csv"
    mine.write_text(Path(moods[0]).read_text())
    settings = study(corpora=[str(mine)], sizes=[12], splits=1)
    run_transfer(settings, tmp_path, cpu=True)
    mine.write_text("\n".join(mine.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match="another state of moods"):
        run_transfer(study(corpora=[str(mine)], sizes=[12], splits=2), tmp_path, cpu=True)


# The command


def test_the_command_plans_and_makes_a_study(
    moods: tuple[str, str], moods_backbone: Path, tuned: dict[str, Path], tmp_path: Path
) -> None:
    recipe = tmp_path / "study.toml"
    settings = tiny_transfer.settings(moods, moods_backbone, sizes=[12], splits=1)
    values = settings.model_dump(mode="json", exclude_none=True)
    recipe.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    given = ("experiment", "run", recipe, "--results", tmp_path, "--cpu", "--start", f"none={tuned['none']}")
    plan = json.loads(emodef_command(*given, "--dry-run", "--json").stdout)
    assert [(run["start"], run["size"]) for run in plan["runs"]] == [("untuned", 12), ("none", 12)]
    assert plan["seconds"] is None
    assert "2 runs to make, 0 made" in emodef_command(*given, "--dry-run").stdout
    made = json.loads(emodef_command(*given, "--json", "--quiet").stdout)
    assert (made["done"], made["left"]) == (2, 0)
    assert "all 2 runs are made" in emodef_command(*given).stdout
    again = json.loads(emodef_command(*given, "--dry-run", "--json", "--set", "splits=3").stdout)
    assert len(again["runs"]) == 4
    assert again["seconds"] > 0
    renamed = tmp_path / "renamed.csv"
    renamed.write_text(Path(moods[0]).read_text().replace("text,label", "body,mood", 1) + "no label,\n")
    own = (*given, "--dry-run", "--set", f"corpora=[{json.dumps(str(renamed))}]", "--text-column", "body")
    columns = ("--label-column", "mood", "--on-error", "skip")
    shown = emodef_command(*own, *columns)
    assert "2 runs to make" in shown.stdout
    assert "renamed.csv:92" in shown.stderr
    assert "set no share of them aside" in emodef_command(*own, *columns, "--dev-share", 0.1, code=2).output
    for wrong, words in (
        (("--start", "none"), "NAME=RUN"),
        (("--set", 'corpora=["isear"]', "--text-column", "body"), "for a file of your own"),
        (("--set", "corpora=isear"), 'corpora = ["isear"]'),
        (("--start", "none=a"), "given twice"),
        (("--only", "seed=1"), "does not take --only"),
        (("--no-resume", "--address", "auto"), "does not take --address, --no-resume"),
        (("--set", "sizes=[5]"), "below smallest"),
    ):
        assert words in emodef_command(*given, *wrong, code=2).output
    training = emodef_command("experiment", "run", "minilm", "--start", "none=a", "--dry-run", code=2)
    assert "stands for training runs" in training.output
