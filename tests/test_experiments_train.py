"""`emodef experiment run` with real training processes on a tiny corpus: side by side, killed, stopped, resumed, failed."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.experiments.results import RunSpec
from emodef.runs import DESCRIBES, RunFolder, fingerprint
from tiny_experiments import put_run

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="needs signals between processes")]

LONG = 2000  # epochs that no test waits for


@pytest.fixture(scope="module")
def place(
    tiny_corpus: dict[str, Corpus],
    tiny_backbone: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with a corpus (data/train.csv, …), its labels, and a recipe of three runs, one of which must fail."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data").mkdir()
    for split, corpus in tiny_corpus.items():
        with open(folder / "data" / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", "text", "labels"])
            table.writerows(
                [key, text, "|".join(labels)]
                for key, text, labels in zip(corpus.ids, corpus.texts, corpus.label_lists(), strict=True)
            )
    (folder / "labels.toml").write_text(tiny_corpus["train"].label_set.to_toml(), encoding="utf-8")
    (folder / "three.toml").write_text(
        f'description = "a test"\ncorpus = "{folder / "data"}"\nlabel_set = "{folder / "labels.toml"}"\n'
        f'backbone = "{tiny_backbone("bert")}"\nepochs = 2\nlearning_rate = 3e-3\nprecision = "fp32"\nsave_every = 20\n'
        '[[runs]]\nsetup = ["none", "cdp"]\n[[runs]]\nsetup = "match"\nmax_length = 5000\n',
        encoding="utf-8",
    )
    return folder


def arguments(place: Path, results: Path, *more: object) -> list[str]:
    base = ["experiment", "run", place / "three.toml", "--results", results, "--cpu", "--jobs", 2]
    return [str(each) for each in (*base, *more)]


def listed(place: Path, results: Path, *more: object) -> dict[str, dict[str, Any]]:
    """setup -> what --dry-run says of its run."""
    shown = emodef_command(*arguments(place, results, "--dry-run", "--json", *more)).stdout
    return {run["settings"]["setup"]: run for run in json.loads(shown)}


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def steps_saved(folder: Path) -> int:
    return max((int(p.name.removeprefix("step-")) for p in (folder / "state").glob("step-*")), default=0)


def worker(folder: Path) -> int:
    """The process that trains in a folder, as its lock says; 0 if there is none."""
    try:
        found = re.match(r"process (\d+)", (folder / ".lock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    return int(found.group(1)) if found else 0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_failed_run_does_not_stop_the_others_and_what_is_done_is_not_done_again(
    place: Path, tmp_path: Path, tiny_corpus: dict[str, Corpus]
) -> None:
    results = tmp_path / "results"
    before = listed(place, results)
    assert {setup: run["state"] for setup, run in before.items()} == dict.fromkeys(
        ("none", "cdp", "match"), "new"
    )
    assert before["none"]["seconds"] is None
    assert not results.exists()

    failed = emodef_command(*arguments(place, results, "--no-weights", "--json"), code=5)
    made = {run["settings"]["setup"]: run for run in json.loads(failed.stdout)}
    assert {setup: run["state"] for setup, run in made.items()} == {
        "none": "finished",
        "cdp": "finished",
        "match": "failed",
    }
    assert "max_length = 5000" in made["match"]["error"]
    assert "max_length = 5000" in failed.stderr
    assert "3 runs: 2 finished now, 0 before, 1 failed, 0 to do" in failed.stderr

    for setup in ("none", "cdp"):
        run = RunFolder.open(made[setup]["folder"])
        assert run.path.parent == results
        assert run.corpus()["test"].ids == tiny_corpus["test"].ids
        assert set(run.reports) == {"dev fixed", "dev tuned", "test fixed", "test tuned"}
        assert sorted(p.name for p in (run.path / "model").iterdir()) == sorted(DESCRIBES)
        metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
        assert len(metrics["epochs"]) == 2
        assert metrics["training"]["corpus"] == fingerprint(run.corpus())
        assert metrics["training"]["peak_memory_mib"]["process"] > 50
        assert not (run.path / "output.txt").exists()
        hardware = json.loads((run.path / "versions.json").read_text(encoding="utf-8"))["hardware"]
        assert hardware["threads"] == 1

    after = listed(place, results)
    assert [after[setup]["state"] for setup in ("none", "cdp", "match")] == ["finished", "finished", "new"]
    more = listed(
        place,
        results,
        "--set",
        "seed=[42,43]",
        "--only",
        "seed=43",
        "--only",
        "setup=none",
        "--only",
        "steps_as_p=none",
    )
    assert 0 < more["none"]["seconds"] < 60
    shown = emodef_command(*arguments(place, results, "--dry-run", "--set", "seed=43")).stdout
    assert "time: about" in shown
    assert "1 more of unknown length" in shown

    stamps = {
        setup: Path(made[setup]["folder"], "metrics.json").stat().st_mtime_ns for setup in ("none", "cdp")
    }
    (results / "moved").mkdir()
    moved = results / "moved" / "elsewhere"
    os.rename(made["none"]["folder"], moved)
    again = emodef_command(*arguments(place, results, "--only", "setup=none", "--only", "setup=cdp"))
    assert "2 runs: 0 finished now, 2 before, 0 failed, 0 to do" in again.stdout
    assert (moved / "metrics.json").stat().st_mtime_ns == stamps["none"]


def test_killed_stopped_and_resumed(place: Path, tmp_path: Path) -> None:
    """kill -9 of a child, then of the supervisor, then a second call with --stop-after, then Ctrl-C."""
    results = tmp_path / "results"
    long = ("--set", f"epochs={LONG}", "--set", "keep=last", "--only", "max_length=50")
    folders = {setup: Path(run["folder"]) for setup, run in listed(place, results, *long).items()}
    none, cdp = folders["none"], folders["cdp"]

    command = [sys.executable, "-m", "emodef", *arguments(place, results, *long)]
    with (tmp_path / "said").open("w") as said:
        first = subprocess.Popen(command, stderr=said, stdout=said)
    try:
        until(lambda: all(steps_saved(folder) > 20 for folder in folders.values()))
        pids = {setup: worker(folder) for setup, folder in folders.items()}
        assert is_alive(pids["none"])
        assert is_alive(pids["cdp"])
        os.kill(pids["none"], signal.SIGKILL)
        until(lambda: "killed by SIGKILL" in (tmp_path / "said").read_text(encoding="utf-8"))
        at = steps_saved(cdp)
        until(lambda: steps_saved(cdp) > at)  # the other goes on
    finally:
        first.kill()
        first.wait()
    until(lambda: not is_alive(pids["cdp"]))
    saved = {setup: steps_saved(folder) for setup, folder in folders.items()}
    assert saved["cdp"] > at
    states = {setup: (run["state"], run["step"]) for setup, run in listed(place, results, *long).items()}
    assert states == {setup: ("unfinished", step) for setup, step in saved.items()}

    second = emodef_command(*arguments(place, results, *long, "--stop-after", 0.1))
    assert "2 runs: 0 finished now, 0 before, 0 failed, 2 to do" in second.stdout
    assert "time is up; states are saved" in second.stderr
    assert second.stderr.count(": started again at step ") == 2
    on = {setup: steps_saved(folder) for setup, folder in folders.items()}
    assert all(on[setup] >= saved[setup] for setup in folders)
    assert not any(is_alive(worker(folder)) for folder in folders.values())

    third = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: all(worker(folder) for folder in folders.values()))
        until(lambda: all(steps_saved(folder) > on[setup] for setup, folder in folders.items()))
        third.send_signal(signal.SIGINT)
        _, notes = third.communicate(timeout=60)
    finally:
        third.kill()
    assert third.returncode == 130
    assert "interrupted; states are saved" in notes
    lines = [json.loads(line) for line in (none / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line["step"] for line in lines if "step" in line]
    assert steps == sorted(set(steps)), "one run's log, whatever befell it"


def test_a_new_start_can_be_asked_for(place: Path, tmp_path: Path) -> None:
    """--no-resume begins an unfinished run anew."""
    results = tmp_path / "results"
    only = ("--only", "setup=none", "--set", "save_every=1")
    folder = Path(listed(place, results, *only)["none"]["folder"])
    folder.mkdir(parents=True)
    run = listed(place, results, *only)["none"]
    (folder / "settings.json").write_text(json.dumps(run["settings"]), encoding="utf-8")
    (folder / "state" / "step-00000009").mkdir(parents=True)  # one that cannot be read
    assert listed(place, results, *only)["none"]["step"] == 9
    done = emodef_command(*arguments(place, results, *only, "--no-resume"))
    assert "1 finished now" in done.stdout
    assert (folder / "model" / "model.safetensors").exists()
    packed = emodef_command("experiment", "pack", results, "--out", tmp_path / "all.tar.gz")
    assert packed.stdout.startswith("1 runs and 0 other files")
    merged = emodef_command("experiment", "unpack", tmp_path / "all.tar.gz", "--results", tmp_path / "other")
    assert "1 runs" in merged.stdout
    assert listed(place, tmp_path / "other", *only)["none"]["state"] == "finished"


def test_a_file_of_ones_own_with_its_columns_and_shares(place: Path, tmp_path: Path) -> None:
    lines = (place / "data" / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    mine = tmp_path / "mine.csv"
    mine.write_text(
        "".join(["key,body,mood\n", *lines[1:], "none,A row without a label,\n"]), encoding="utf-8"
    )
    given = [
        "--only",
        "setup=none",
        "--set",
        f"corpus={mine}",
        "--text-column",
        "body",
        "--label-column",
        "mood",
    ]
    refused = emodef_command(*arguments(place, tmp_path / "results", *given), code=3)
    assert f"mine.csv:{len(lines) + 1}" in refused.stderr
    given += ["--on-error", "skip"]
    refused = emodef_command(*arguments(place, tmp_path / "results", *given), code=2)
    assert "--dev-share 0.1" in refused.stderr
    plan = listed(place, tmp_path / "results", *given, "--dev-share", 0.25)["none"]
    texts = len(lines) - 1
    batches = -(-texts // plan["settings"]["batch_size"])
    assert 0 < plan["steps"] < 2 * batches  # of two epochs, a share being set aside
    done = emodef_command(*arguments(place, tmp_path / "results", *given, "--dev-share", 0.25))
    assert "1 runs: 1 finished now" in done.output
    assert "1 row" in done.output or "mine.csv" in done.output
    data = json.loads(next((tmp_path / "results").glob("*/data.json")).read_text(encoding="utf-8"))
    assert (data["dev_share"], data["columns"]) == (0.25, {"text_column": "body", "label_column": "mood"})


def test_a_run_that_another_experiment_made_meanwhile(tmp_path: Path, tiny_corpus: dict[str, Corpus]) -> None:
    from emodef.errors import SettingsError
    from emodef.train.settings import TrainSettings
    from emodef.train.worker import work

    settings = TrainSettings(backbone="minilm")
    spec = RunSpec(settings.model_dump(mode="json"), settings.canonical(), "", 1)
    folder = put_run(tmp_path / "made", spec, tiny_corpus)
    order = {
        "folder": str(folder),
        "settings": spec.settings,
        "resume": True,
        "data": {},
        "fingerprint": "another",
    }
    before = (folder / "metrics.json").read_bytes()
    work(order)
    work({**order, "resume": False})
    assert (folder / "metrics.json").read_bytes() == before
    with pytest.raises(SettingsError, match="holds another run; move it away"):
        work({**order, "settings": {**spec.settings, "seed": 7}})
    (folder / "probabilities.npz").unlink()
    with pytest.raises(SettingsError, match=r"without its probabilities\.npz; copy that there too"):
        work(order)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "auto"], "say --engine ray with it"),
        (["--set", "epoch=1"], "known keys"),
        (["--only", "epoch=1"], "there is no setting 'epoch'"),
        (["--only", "setup=mlm"], "none of the 3 runs is so"),
        (["--set", "steps_as_p=0.0001"], "has neither cdp nor mlm"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_starts(
    place: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    refused = emodef_command(*arguments(place, tmp_path / "results", *options), code=2)
    assert message in " ".join(refused.stderr.split())
    assert not (tmp_path / "results").exists()


def test_recipes_are_listed_with_what_is_done(tmp_path: Path) -> None:
    found = json.loads(emodef_command("experiment", "list", "--results", tmp_path, "--json").stdout)
    assert found["minilm_campaign"] == {
        "runs": 12,
        "finished": 0,
        "description": found["minilm_campaign"]["description"],
    }
    kept = Path(__file__).parent.parent / "results"
    if (kept / "minilm").is_dir():
        shown = emodef_command("experiment", "list", "--results", kept).stdout
        assert re.search(r"^minilm_campaign +12 +(?:[3-9]|1[0-2])\b", shown, re.M)
    assert re.search(r"^table3 +27 ", emodef_command("recipes").stdout, re.M)
    assert '"cdp"; "mlm"; "cdp+mlm"' in emodef_command("recipes", "table3").stdout
    assert len(json.loads(emodef_command("recipes", "table3", "--json").stdout)["runs"]) == 27
