"""Experiments without training: what is done, what is planned, how long it takes, how it is shown."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from emodef.cli import experimenting, experiments
from emodef.cli.experimenting import print_plan
from emodef.errors import DataError, TrainingError
from emodef.experiments.display import Display, duration, job_table
from emodef.experiments.plan import make_plan
from emodef.experiments.results import find_runs
from emodef.experiments.supervisor import FAILED, FINISHED, Job
from emodef.predictor import session
from emodef.runs import fingerprint
from tiny_experiments import HARDWARE, Splits, canonical, put_run, spec_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals between processes")


# what is done


def test_a_runs_name_says_what_it_is_and_its_hash_tells_it_from_others() -> None:
    spec = spec_of("data", setup="cdp+mlm", p=0.3, budget="primary", backbone="some/where/a b@c/")
    assert spec.name == f"a_b_c-cdp+mlm-p0.3-primary-steps-seed42-{spec.hash[:8]}"
    spec = spec_of(
        "data",
        setup="match+cdp",
        auxiliary_clip=0.1,
        match_vary=0.5,
        match_shared_bias=True,
        match_text="{name}",
    )
    told = "auxiliary_clip0.1-match_shared_bias-match_text-match_vary0.5"
    assert spec.name == f"tiny-match+cdp-{told}-seed42-{spec.hash[:8]}"
    assert spec_of("data").hash == spec_of("data", description="other").hash
    assert len({spec_of("data").hash, spec_of("data2").hash, spec_of("data", seed=1).hash, spec.hash}) == 4


def test_finished_runs_are_found_anywhere_and_damaged_or_foreign_ones_left_out(tmp_path: Path) -> None:
    spec = spec_of("data")
    put_run(tmp_path / "a", spec)
    put_run(tmp_path / "deep" / "er" / "b", spec)
    put_run(tmp_path / "no-end", spec)
    (tmp_path / "no-end" / "metrics.json").unlink()
    for name, text in {"broken": "{", "list": "[]", "study": '{"kind": "transfer"}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text(text, encoding="utf-8")
    found = find_runs(tmp_path, canonical)
    assert [(str(run.folder.relative_to(tmp_path)), run.is_finished) for run in found] == [
        ("a", True),
        ("deep/er/b", True),
        ("no-end", False),
    ]
    assert found[0].about["code"] == "abc"
    assert find_runs(tmp_path / "absent", canonical) == []


def test_a_run_is_done_where_settings_and_data_are_the_same(tiny_corpus: Splits, tmp_path: Path) -> None:
    data = fingerprint(tiny_corpus)
    spec = spec_of(data)
    put_run(tmp_path / "noted", spec, noted=data)
    run = find_runs(tmp_path, canonical)[0]
    assert run.is_run(spec, tiny_corpus)
    assert not run.is_run(spec_of(data, seed=1), tiny_corpus)
    assert not run.is_run(spec_of("other"), tiny_corpus)
    put_run(tmp_path / "own", spec_of(data, corpus="mine.csv", label_set="mine.toml"), noted=data)
    own = next(run for run in find_runs(tmp_path, canonical) if run.folder.name == "own")
    there = {"corpus": "/elsewhere/mine.csv", "label_set": "/elsewhere/mine.toml"}
    assert own.is_run(spec_of(data, **there), tiny_corpus)
    assert not own.is_run(spec_of("other", **there), tiny_corpus)


def test_a_run_without_fingerprint_is_judged_by_texts_and_labels(tiny_corpus: Splits, tmp_path: Path) -> None:
    """Those made before it was noted."""
    spec = spec_of(fingerprint(tiny_corpus))
    put_run(tmp_path / "old", spec, tiny_corpus)
    run = find_runs(tmp_path, canonical)[0]
    assert run.is_run(spec, tiny_corpus)
    assert not run.is_run(spec, tiny_corpus | {"dev": tiny_corpus["dev"].take(range(39))})
    fewer = replace(tiny_corpus["train"].label_set, name="other")
    assert not run.is_run(spec, {s: replace(part, label_set=fewer) for s, part in tiny_corpus.items()})


# what is planned


def test_the_plan_says_what_is_done_begun_and_how_long_the_rest_takes(
    tiny_corpus: Splits, tmp_path: Path
) -> None:
    data = fingerprint(tiny_corpus)
    specs = [spec_of(data, seed=seed) for seed in (1, 2, 3)] + [spec_of(data, setup="cdp")]
    put_run(tmp_path / "kept" / "one", specs[0], noted=data, seconds=50.0)  # of 100 steps, on two threads
    begun = put_run(tmp_path / specs[1].name, specs[1])
    (begun / "metrics.json").unlink()
    (begun / "state" / "step-00000040").mkdir(parents=True)

    def plan(hardware: Mapping[str, Any], threads: int) -> list[tuple[Any, ...]]:
        found = find_runs(tmp_path, canonical)
        made = make_plan(specs, {data: tiny_corpus}, tmp_path, found, hardware=hardware, threads=threads)
        return [(planned.state, planned.step, planned.seconds) for planned in made]

    assert plan(HARDWARE, 2) == [
        ("finished", 100, None),
        ("unfinished", 40, 30.0),
        ("new", 0, 50.0),
        ("new", 0, None),
    ]
    assert plan(HARDWARE, 1)[2][2] == 100.0  # half the threads
    assert plan(HARDWARE | {"cores": 8}, 2)[2][2] is None
    assert plan(HARDWARE | {"gpu": "H100"}, 2)[2][2] is None


def test_the_time_is_that_of_the_longest_run_at_least(
    tiny_corpus: Splits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fingerprint(tiny_corpus)
    specs = [spec_of(data, seed=seed) for seed in (1, 2, 3, 4)]
    put_run(tmp_path / "one", specs[0], noted=data, seconds=7200.0)
    found = find_runs(tmp_path, canonical)
    plan = make_plan(specs, {data: tiny_corpus}, tmp_path, found, hardware=HARDWARE, threads=2)
    for jobs, whole in ((8, "2 h"), (1, "6 h")):
        print_plan(plan, jobs, False)
        assert f"time: about {whole}" in " ".join(capsys.readouterr().out.split())


def test_runs_that_are_left_share_the_cores(
    tiny_corpus: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    data = fingerprint(tiny_corpus)
    specs = [spec_of(data, seed=seed) for seed in range(8)]
    for number, spec in enumerate(specs[:7]):
        put_run(tmp_path / str(number), spec, noted=data)
    monkeypatch.setattr(session, "usable_cores", lambda: 16)
    monkeypatch.setattr(experimenting, "canonical", canonical)
    for given, threads in (("", 16), ("4,2", 4), ("3", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert experimenting.planned_runs(specs, {data: tiny_corpus}, tmp_path, 8, True)[1] == threads


def test_ctrl_c_is_told_from_a_failure(
    tiny_corpus: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs one recipe after another stops there, though a run had failed before."""
    failed = Job("a", tmp_path / "a", {}, 4, state=FAILED, error="why")
    monkeypatch.setattr(experimenting, "chosen_runs", lambda *_: [])
    monkeypatch.setattr(experimenting, "read_specs", lambda *_: ({}, [spec_of("x")]))
    monkeypatch.setattr(experimenting, "planned_runs", lambda *_: ([], 1))
    for stopped, raised in (("interrupted", typer.Exit), ("", TrainingError)):
        monkeypatch.setattr(experimenting, "supervise", lambda *_, s=stopped: ({"a": failed}, s))
        with pytest.raises(raised):
            experiments.run("minilm", results=tmp_path)


def test_a_run_begun_under_another_name_goes_on(tiny_corpus: Splits, tmp_path: Path) -> None:
    data = fingerprint(tiny_corpus)
    spec = spec_of(data, setup="match", match_vary=0.5)
    begun = put_run(tmp_path / f"minilm-match-seed42-{spec.hash[:8]}", spec)
    (begun / "metrics.json").unlink()
    (begun / "state" / "step-00000040").mkdir(parents=True)
    found = find_runs(tmp_path, canonical)
    (planned,) = make_plan([spec], {data: tiny_corpus}, tmp_path, found, hardware=HARDWARE, threads=1)
    assert (planned.folder, planned.state, planned.step) == (begun, "unfinished", 40)
    newer = put_run(tmp_path / spec.name, spec)  # where both are there
    (newer / "metrics.json").unlink()
    found = find_runs(tmp_path, canonical)
    (planned,) = make_plan([spec], {data: tiny_corpus}, tmp_path, found, hardware=HARDWARE, threads=1)
    assert planned.folder == newer


def test_a_gpus_pace_is_as_it_was(tiny_corpus: Splits, tmp_path: Path) -> None:
    gpu = HARDWARE | {"gpu": "H100"}
    data = fingerprint(tiny_corpus)
    for seed, seconds in enumerate((40.0, 50.0, 90.0)):
        put_run(tmp_path / str(seed), spec_of(data, seed=seed), noted=data, seconds=seconds, hardware=gpu)
    found = find_runs(tmp_path, canonical)
    new = make_plan([spec_of(data, seed=9)], {data: tiny_corpus}, tmp_path, found, hardware=gpu, threads=1)
    assert new[0].seconds == 50.0
    assert new[0].to_dict()["run"] == new[0].spec.name


def test_a_folder_that_holds_something_else_is_not_written_to(tiny_corpus: Splits, tmp_path: Path) -> None:
    spec = spec_of("data")
    (tmp_path / spec.name).mkdir()
    (tmp_path / spec.name / "settings.json").write_text('{"setup": "other"}', encoding="utf-8")
    with pytest.raises(DataError, match="holds something else"):
        make_plan(
            [spec], {"data": tiny_corpus}, tmp_path, find_runs(tmp_path, canonical), hardware={}, threads=1
        )


# display


def some_jobs(tmp_path: Path) -> list[Job]:
    jobs = [Job(f"run-{n}", tmp_path, {}, 5428) for n in range(6)]
    jobs[0].state, jobs[0].step, jobs[0].macro_f1 = FINISHED, 5428, 0.501
    jobs[4].state, jobs[4].step, jobs[4].pace, jobs[4].macro_f1 = "running", 1200, 0.25, 0.452
    jobs[5].state, jobs[5].error = FAILED, "no memory [red]"
    return jobs


def test_the_table_shows_what_matters(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    jobs = some_jobs(tmp_path)
    console.print(job_table(jobs))
    console.print(job_table(jobs, room=2))
    whole, short = console.file.getvalue().split("run  ")[1:]  # type: ignore[attr-defined]
    assert "1,200/5,428" in whole
    assert "4.00" in whole
    assert "18 min" in whole
    assert "45.2" in whole
    assert whole.index("run-0") < whole.index("run-4") < whole.index("run-5")
    assert "1 running, 1 failed, 3 waiting, 1 finished" in " ".join(whole.split())
    assert "run-4" in short
    assert "run-5" in short
    assert "run-0" not in short


def test_without_a_terminal_there_are_lines(tmp_path: Path) -> None:
    screen = io.StringIO()
    jobs = some_jobs(tmp_path)
    with Display(Console(file=screen, width=60), every=0.0).use() as display:
        display.started(jobs[1])
        display.watch(jobs)
        display.ended(jobs[0])
        display.ended(jobs[5])
    lines = screen.getvalue().splitlines()
    assert lines[0] == "run-1: started"
    assert (
        lines[1] == "run-4: step 1,200 of 5,428; 4.00 steps/s, 18 min left; dev macro-F1 45.2 after epoch 0"
    )
    assert lines[2] == "run-0: finished in 0 s, dev macro-F1 50.1"
    assert lines[3] == f"run-5: failed: no memory [red]; see {tmp_path}"


def test_on_a_terminal_there_is_a_live_table(tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=30, color_system=None)
    with Display(console).use() as display:
        display.watch(some_jobs(tmp_path))
        time.sleep(0.4)
        display.ended(some_jobs(tmp_path)[0])
    assert "1,200/5,428" in screen.getvalue()
    assert "run-0: finished" in screen.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (100, "2 min"), (5400, "1 h 30 min"), (176_400, "2 d 1 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
