"""The command line end to end: train a tiny BERT on a user's CSV, evaluate it, predict with it; stop, resume, refuse."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.definitions import read_labels
from emodef.labels import LabelSet
from emodef.runs import RunFolder, evaluate_splits

TEXTS = ["I am so happy with the new garden", "they lied to us and it makes my blood boil"]


@pytest.fixture(scope="module")
def workplace(
    tiny_corpus: dict[str, Corpus], tiny_bert_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with what a user brings: mine.csv (all splits), mine.toml (labels), tiny.toml (a recipe)."""
    folder = tmp_path_factory.mktemp("workplace")
    with open(folder / "mine.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["body", "tags", "part", "key"])
        for split, corpus in tiny_corpus.items():
            for text, labels, identifier in zip(corpus.texts, corpus.label_lists(), corpus.ids, strict=True):
                table.writerow([text, "|".join(labels), split, identifier])
    (folder / "mine.toml").write_text(tiny_corpus["train"].label_set.to_toml(), encoding="utf-8")
    (folder / "tiny.toml").write_text(
        f'extends = "paper"\ndescription = "a test"\nbackbone = "{tiny_bert_dir}"\nsetup = "cdp+match"\npooling = "mean"\n'
        "epochs = 3\nlearning_rate = 3e-3\nsave_every = 20\n",
        encoding="utf-8",
    )
    return folder


def data_options(workplace: Path) -> list[object]:
    return [
        "--data", workplace / "mine.csv", "--labels", workplace / "mine.toml", "--text-column", "body",
        "--label-column", "tags", "--split-column", "part", "--id-column", "key",
    ]  # fmt: skip


def train(workplace: Path, out: str, *options: object, code: int = 0) -> Result:
    recipe = ["--recipe", workplace / "tiny.toml", "--out", workplace / out, "--cpu"]
    return emodef_command("train", *recipe, *data_options(workplace), *options, code=code)


@pytest.fixture(scope="module")
def trained(workplace: Path) -> tuple[Path, Result]:
    """(the run's folder, what training printed)."""
    return workplace / "run", train(workplace, "run", "--json")


@pytest.fixture(scope="module")
def run(trained: tuple[Path, Result]) -> Path:
    return trained[0]


# train


def test_train_leaves_everything_and_says_so(trained: tuple[Path, Result]) -> None:
    folder, result = trained
    printed = json.loads(result.stdout)
    assert printed["run"] == str(folder)
    assert set(printed["reports"]) == {"dev fixed", "dev tuned", "test fixed", "test tuned"}
    assert printed["training"]["steps"]["primary"] + printed["training"]["steps"]["auxiliary"] == 3 * 8
    assert "dev macro-F1" in result.stderr
    assert not (folder / "state").exists()
    assert LabelSet.from_dict(json.loads((folder / "model" / "labels.json").read_text())).name == "tiny"
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["setup"] == "cdp+match"
    assert settings["label_set"] == str(folder.parent / "mine.toml")


def test_dry_run_says_what_would_be_done_and_writes_nothing(
    workplace: Path, trained: tuple[Path, Result]
) -> None:
    plan = json.loads(train(workplace, "planned", "--dry-run", "--json").stdout)
    assert plan["texts"] == {"train": 120, "dev": 40, "test": 40}
    assert plan["pairs"] == 2 * 138
    assert {task: plan["steps"][task] for task in ("primary", "auxiliary")} == json.loads(trained[1].stdout)[
        "training"
    ]["steps"]
    assert (
        "learning_rate = 0.001"
        in train(workplace, "planned", "--dry-run", "--set", "learning_rate=1e-3").stdout
    )
    assert not (workplace / "planned").exists()


def test_dry_run_counts_texts_without_labels(workplace: Path, run: Path) -> None:
    new = workplace / "new.csv"
    new.write_text("text\nSomething new\nSomething else\n")
    given = [f'teacher=["{run}"]', f"unlabelled={new}", "setup=match", "batch_size=8", "epochs=2"]
    options = [part for each in given for part in ("--set", each)]
    plan = json.loads(train(workplace, "planned", "--dry-run", "--json", *options).stdout)
    assert plan["texts"] == {"train": 120, "dev": 40, "test": 40, "unlabelled": 2}
    assert plan["steps"] == {"per_epoch": 16, "primary": 32, "auxiliary": 0}


def test_a_finished_run_is_not_trained_over(workplace: Path, run: Path) -> None:
    before = (run / "metrics.json").read_bytes()
    assert "finished run" in train(workplace, "run", code=2).stderr
    assert "finished run" in emodef_command("train", "--resume", "--out", run, "--cpu", code=2).stderr
    assert (run / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "epoch=1"], "known keys: description, corpus"),
        (["--set", "epochs"], "KEY=VALUE"),
        (["--set", "seed=1", "--seed", "2"], "seed is given twice"),
        (["--setup", "cdpp"], "'cdpp'"),
        (["--recipe", "none-such"], "no recipe 'none-such'"),
        (["--dev-share", "0.1"], "has a dev split already"),
        (["--resume"], "leave --resume out to start one"),
        (["--label-columns", "joy,anger"], "exclude each other"),
        (["--set", "backbone=none/such"], "backbone 'none/such' cannot be loaded"),
    ],
)
def test_settings_that_do_not_fit(workplace: Path, options: list[str], message: str) -> None:
    assert message in " ".join(train(workplace, "refused", *options, code=2).stderr.split())


def test_data_that_does_not_fit(workplace: Path, tmp_path: Path) -> None:
    base = ["train", "--recipe", workplace / "tiny.toml", "--out", tmp_path / "run", "--data"]
    plain = tmp_path / "plain.csv"
    plain.write_text("text,label\n" + "".join(f"text {i},{'joy' if i % 2 else 'fear'}\n" for i in range(40)))
    no_definitions = emodef_command(*base, plain, code=2).stderr
    assert f"emodef labels skeleton {plain}" in no_definitions
    labels = ["--labels", workplace / "mine.toml"]
    assert "--dev-share 0.1" in emodef_command(*base, plain, *labels, code=2).stderr
    plain.write_text(plain.read_text() + ",joy\n")
    assert f"{plain}:42: the text is empty" in emodef_command(*base, plain, *labels, code=3).stderr
    skipped = emodef_command(
        *base, plain, *labels, "--on-error", "skip", "--dev-share", "0.25", "--test-share", "0.25", "--dry-run", "--json"
    )  # fmt: skip
    assert f"{plain}:42: skipped: the text is empty" in skipped.stderr
    texts = json.loads(skipped.stdout)["texts"]
    assert list(texts) == ["train", "dev", "test"]
    assert sum(texts.values()) == 40
    plain.write_text(plain.read_text().replace(",joy\n", ",\n", 5).removesuffix(",joy\n"))
    no_label = emodef_command(*base, plain, *labels, "--dev-share", "0.25", code=3).stderr
    assert "allow rows without labels with --allow-unlabelled" in " ".join(no_label.split())
    given = (*base, plain, *labels, "--dev-share", "0.25", "--set", "epochs=1", "--allow-unlabelled", "--cpu")
    emodef_command(*given, "--out", tmp_path / "none")
    assert sum(len(part) for part in RunFolder.open(tmp_path / "none").corpus().values()) == 40
    other = emodef_command(
        "evaluate", tmp_path / "none", "--data", plain, "--allow-unlabelled", "--cpu", "--json"
    )
    assert json.loads(other.stdout)
    assert "no such corpus" in emodef_command(*base, "none-such", code=3).stderr
    assert not (tmp_path / "run").exists()


def test_what_would_be_of_no_use_at_the_end_is_refused_before(workplace: Path, tmp_path: Path) -> None:
    lines = (workplace / "mine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    bare = [line if ",dev," not in line else f"some words {n},,dev,x{n}\n" for n, line in enumerate(lines)]
    (tmp_path / "bare.csv").write_text("".join(bare), encoding="utf-8")
    given = [*data_options(workplace), "--allow-unlabelled"]
    given[1] = tmp_path / "bare.csv"
    refused = emodef_command(
        "train", "--recipe", workplace / "tiny.toml", "--out", tmp_path / "x", *given, code=2
    )
    assert "no text of dev has a label" in refused.stderr
    answers = {"dev": np.full((2, 2), 0.5), "test": np.full((2, 2), 0.5)}
    labels = LabelSet("two", ("a", "b"), ("the first", "the second"))
    unlabelled, labelled = (
        Corpus("own", split, ["x", "y"], truth.astype(np.uint8), labels, ["1", "2"])
        for split, truth in (("dev", np.zeros((2, 2))), ("test", np.eye(2)))
    )
    thresholds, reports = evaluate_splits(answers, {"dev": unlabelled, "test": labelled}, 0.3)
    assert thresholds == {"fixed": 0.3}
    assert set(reports) == {"dev fixed", "test fixed"}


def test_what_training_does_not_read_of_labels_is_told(workplace: Path, tmp_path: Path) -> None:
    labels = tmp_path / "more.toml"
    names = read_labels(workplace / "mine.toml").names
    labels.write_text(
        "".join(f'["{name}"]\ndefinition = "{name} is felt here"\n' for name in names) + "threshold = 0.4\n",
        encoding="utf-8",
    )
    told = train(workplace, "more", "--labels", labels, "--dry-run")
    assert "training reads the first definition of each label, not its thresholds" in " ".join(
        told.stderr.split()
    )
    assert "training reads" not in train(workplace, "more", "--dry-run").stderr


def test_a_published_corpus_brings_its_own_labels(workplace: Path, tmp_path: Path) -> None:
    """A recipe's label set is for the recipe's corpus."""
    folder = tmp_path / "goemotions"
    folder.mkdir()
    names = LabelSet.load("goemotions").names
    (folder / "labels.txt").write_text("\n".join(names), encoding="utf-8")
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(f"How lovely, {split}\t18\tid1{split}\n", encoding="utf-8")
    options = ["--recipe", "demo", "--data", "goemotions", "--data-dir", tmp_path, "--out", tmp_path / "run"]
    plan = json.loads(emodef_command("train", *options, "--dry-run", "--json").stdout)
    assert plan["labels"] == len(names)
    assert plan["settings"]["label_set"] is None


def test_stopped_by_ctrl_c_and_resumed(workplace: Path) -> None:
    """SIGINT saves the state, says how to go on, exits 130; --resume needs no other option and finishes the run."""
    out, over = workplace / "stopped", threading.Event()

    def interrupt() -> None:
        until = time.monotonic() + 120
        while not over.wait(0.02) and time.monotonic() < until:
            if (out / "log.jsonl").exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        stopped = train(workplace, "stopped", "--set", "epochs=20", "--setup", "none", code=130)
    finally:
        over.set()  # or it would interrupt another test
        watcher.join()
    assert f"emodef train --resume --out {out}" in stopped.stderr
    assert "state is saved" in stopped.stderr
    assert "is not finished" in emodef_command("evaluate", out, code=3).stderr
    assert "emodef export" in emodef_command("predict", "A text", "--model", out, code=3).stderr
    assert (
        "other settings (seed)"
        in emodef_command("train", "--resume", "--out", out, "--seed", "7", "--cpu", code=2).stderr
    )
    assert (
        "leave out --text-column"
        in emodef_command("train", "--resume", "--out", out, "--text-column", "x", code=2).stderr
    )
    resumed = emodef_command("train", "--resume", "--out", out, "--cpu", "--quiet")
    assert "macro-F1" not in resumed.stderr
    assert f"emodef evaluate {out}" in resumed.stdout
    assert RunFolder.open(out).settings["epochs"] == 20


# evaluate


def test_evaluate_prints_what_training_measured(run: Path) -> None:
    printed = json.loads(emodef_command("evaluate", run, "--policy", "both", "--json").stdout)
    stored = json.loads((run / "metrics.json").read_text())["reports"]
    assert printed["reports"] == {policy: stored[f"test {policy}"] for policy in ("tuned", "fixed")}
    table = emodef_command("evaluate", run).stdout
    for label in stored["test tuned"]["levels"][0]["labels"]:
        f1 = label["f1"]
        assert f"{100 * f1['value']:.2f} [{100 * f1['low']:.1f}, {100 * f1['high']:.1f}]" in table
    assert "macro average" in table
    assert "sentiment" in table
    assert "paper" not in table


def test_evaluate_by_stored_probabilities_needs_no_torch(run: Path) -> None:
    """Measured anew from probabilities.npz and the user's file, the figures are the same; other heads have their own."""
    folder = RunFolder.open(run)
    assert folder.scores == "match"
    assert folder.heads() == ["emotion", "match"]
    again = folder.measure("test", "match")
    assert {policy: report.to_dict() for policy, report in again.items()} == {
        policy: folder.reports[f"test {policy}"].to_dict() for policy in ("fixed", "tuned")
    }
    mean = (folder.probabilities("test", "emotion") + folder.probabilities("test", "match")) / 2
    assert np.allclose(folder.probabilities("test", "mean"), mean)
    shown = json.loads(emodef_command("evaluate", run, "--scores", "emotion", "--json").stdout)["reports"][
        "tuned"
    ]
    assert shown == folder.measure("test", "emotion")["tuned"].to_dict()
    assert shown != folder.reports["test tuned"].to_dict()


def test_evaluate_forms(run: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(emodef_command("evaluate", run, "--format", "csv").stdout.splitlines()))
    assert [row["label"] for row in rows][:2] == ["joy", "anger"]
    assert emodef_command("evaluate", run, "--format", "markdown").stdout.startswith("**mine test, 40 texts")
    out = tmp_path / "results.tex"
    said = emodef_command("evaluate", run, "--out", out, "--level", "sentiment", "--split", "dev")
    assert said.stdout == ""
    assert r"\begin{tabular}" in out.read_text(encoding="utf-8")
    assert "positive" in out.read_text(encoding="utf-8")
    emodef_command("evaluate", run, "--out", tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["reports"]["tuned"]["split"] == "test"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--split", "train"], 2, "measured no split 'train', but: dev, test"),
        (["--level", "ekman"], 2, "no level 'ekman'"),
        (["--format", "csv", "--policy", "both"], 2, "csv holds one table"),
        (["--json", "--format", "latex"], 2, "exclude each other"),
        (["--text-column", "body"], 2, "name it with --data"),
        (["--data", "none-such"], 3, "no such corpus"),
    ],
)
def test_evaluate_errors(run: Path, options: list[str], code: int, message: str) -> None:
    result = emodef_command("evaluate", run, *options, code=code)
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_evaluate_on_other_data(run: Path, workplace: Path) -> None:
    """On the run's own test split, predicted anew, the figures are those of training."""
    columns = ["--text-column", "body", "--label-column", "tags", "--split-column", "part"]
    options = ["--data", workplace / "mine.csv", *columns, "--cpu", "--json"]
    again = json.loads(emodef_command("evaluate", run, *options).stdout)["reports"]["tuned"]
    before = json.loads((run / "metrics.json").read_text())["reports"]["test tuned"]
    assert again["texts"] == before["texts"] == 40
    f1 = [report["levels"][0]["summary"]["macro_f1"]["value"] for report in (again, before)]
    assert f1[0] == pytest.approx(
        f1[1], abs=0.02
    )  # stored probabilities are rounded, which may turn a text near a threshold
    fixed = emodef_command("evaluate", run, *options, "--scores", "emotion", "--policy", "tuned", code=2)
    assert "use --policy fixed" in fixed.stderr


def test_evaluate_refuses_other_labels(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("text,label\nA text,melancholy\n", encoding="utf-8")
    assert "no label 'melancholy'" in emodef_command("evaluate", run, "--data", file, "--cpu", code=3).stderr


def test_evaluating_a_run_leaves_torch_alone(run: Path) -> None:
    code = (
        "import sys\nfrom emodef.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, "evaluate", str(run), "--scores", "mean"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "macro average" in done.stdout
