"""Experiments without training: what is done, what is planned, how long it takes, how processes are kept, what is packed."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from emodef.corpora import Corpus
from emodef.errors import DataError, EmodefError, SettingsError
from emodef.experiments.display import Display, duration, job_table
from emodef.experiments.packing import pack, unpack
from emodef.experiments.plan import make_plan
from emodef.experiments.results import RunSpec, find_runs
from emodef.experiments.supervisor import FAILED, FINISHED, STOPPED, WAITING, Job, LogTail, Supervisor
from emodef.runs import fingerprint

Splits = dict[str, Corpus]
HARDWARE = {"cpu": "a processor", "cores": 4, "threads": 2}

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals between processes")


def canonical(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    """As TrainSettings has it, for the settings here."""
    return None if "setup" not in saved else {k: v for k, v in saved.items() if k != "description"}


def spec_of(data: str, **changes: Any) -> RunSpec:
    settings = {
        "description": "",
        "backbone": "org/tiny",
        "setup": "none",
        "seed": 42,
        "batch_size": 16,
        **changes,
    }
    known_by = canonical(settings)
    assert known_by is not None
    return RunSpec(settings, known_by, data, 100)


def put_run(
    folder: Path,
    spec: RunSpec,
    corpus: Splits | None = None,
    *,
    noted: str | None = None,
    seconds: float = 50.0,
    hardware: Mapping[str, Any] = HARDWARE,
) -> Path:
    """A finished run as training leaves one, with a file of weights."""
    (folder / "model").mkdir(parents=True)
    files = {
        "settings.json": spec.settings,
        "versions.json": {"hardware": hardware, "code": "abc"},
        "metrics.json": {
            "training": {"steps": {"primary": 60, "auxiliary": 40}, "seconds": seconds}
            | ({} if noted is None else {"corpus": noted}),
            "epochs": [],
            "reports": {},
        },
        "model/emodef.json": {},
        "model/labels.json": corpus["train"].label_set.to_dict() if corpus else {},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "model" / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "model" / "tokenizer.json").write_bytes(b"{}")
    ids = {f"{split}_ids": np.array(part.ids) for split, part in (corpus or {}).items() if split != "train"}
    np.savez_compressed(folder / "probabilities.npz", **ids)
    return folder


# what is done


def test_a_runs_name_says_what_it_is_and_its_hash_tells_it_from_others() -> None:
    spec = spec_of("data", setup="cdp+mlm", p=0.3, budget="primary", backbone="some/where/a b@c/")
    assert spec.name == f"a_b_c-cdp+mlm-p0.3-primary-steps-seed42-{spec.hash[:8]}"
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


# processes


def job(folder: Path, name: str, steps: int = 4, **order: Any) -> Job:
    return Job(name, folder / name, {"steps": steps, "pause": 0.01, **order}, steps)


def supervise(jobs: list[Job], at_once: int = 2, **options: Any) -> Supervisor:
    options.setdefault("environment", lambda slot: {"SLOT": str(slot)})
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    own = options.pop("environment")
    made = Supervisor(
        jobs, at_once, lambda slot: own(slot) | {"PYTHONPATH": path}, module="tiny_worker", **options
    )
    made.run()
    return made


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_jobs_run_side_by_side_and_failures_stay_their_own(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "good"),
        job(tmp_path, "bad", code=5, says="error: the loss is not finite"),
        job(tmp_path, "mute", code=1),
        job(tmp_path, "also-good", steps=6),
    ]
    ended: list[str] = []
    supervise(jobs, ended=lambda job: ended.append(job.name))
    assert [each.state for each in jobs] == [FINISHED, FAILED, FAILED, FINISHED]
    assert jobs[1].error == "the loss is not finite"
    assert jobs[2].error == "some words before"
    assert sorted(ended) == sorted(each.name for each in jobs)
    assert (jobs[3].step, jobs[3].epoch, jobs[3].macro_f1) == (6, 3, 0.06)
    assert [(each.folder / "output.txt").exists() for each in jobs] == [False, True, True, False]
    slots = [json.loads((each.folder / "env.json").read_text())["SLOT"] for each in jobs]
    assert sorted(slots[:2]) == ["0", "1"]
    assert set(slots) == {"0", "1"}


def test_a_job_whose_folder_cannot_be_made_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    jobs = [job(tmp_path / "file", "bad"), job(tmp_path, "good")]
    supervise(jobs)
    assert [each.state for each in jobs] == [FAILED, FINISHED]
    assert "Not a directory" in jobs[0].error


def test_time_that_is_up_stops_all(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name, steps=10_000) for name in "abc"]
    made = supervise(jobs, stop_after=1.0)
    assert made.stopped == "time is up"
    assert [each.state for each in jobs] == [STOPPED, STOPPED, WAITING]


def test_a_killed_process_is_a_failure_and_the_others_go_on(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a", steps=10_000), job(tmp_path, "b", steps=30)]

    def strike(jobs: Any) -> None:
        if (pid := tmp_path / "a" / "pid").exists() and jobs[0].step and jobs[0].state == "running":
            os.kill(int(pid.read_text()), signal.SIGKILL)

    supervise(jobs, watch=strike)
    assert [each.state for each in jobs] == [FAILED, FINISHED]
    assert jobs[0].error == "killed by SIGKILL (was there too little memory?)"


def test_a_second_ctrl_c_kills_what_does_not_end(tmp_path: Path) -> None:
    jobs = [job(tmp_path, "deaf", steps=10_000, deaf=True)]
    sent: list[float] = []

    def press(jobs: Any) -> None:
        if (
            (tmp_path / "deaf" / "pid").exists()
            and (not sent or time.monotonic() - sent[-1] > 1.3)
            and len(sent) < 2
        ):
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        made = supervise(jobs, watch=press)
    finally:
        signal.signal(signal.SIGINT, before)
    assert made.stopped == "interrupted"
    assert jobs[0].state == STOPPED
    assert not is_alive(int((tmp_path / "deaf" / "pid").read_text()))


def test_processes_end_with_the_supervisor_even_if_it_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom emodef.experiments.supervisor import Job, Supervisor\n"
        "at = Path(sys.argv[1])\norder = {'steps': 10000, 'pause': 0.01}\n"
        "Supervisor([Job(n, at / n, order, 10000) for n in 'ab'], 2, module='tiny_worker').run()"
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=os.environ | {"PYTHONPATH": path}
    )
    logs = [tmp_path / name / "log.jsonl" for name in "ab"]
    until(lambda: all(log.exists() for log in logs))
    pids = [int((tmp_path / name / "pid").read_text()) for name in "ab"]
    killed.kill()
    killed.wait()
    until(lambda: not any(map(is_alive, pids)))
    assert all((tmp_path / name / "alone").exists() for name in "ab")


def test_a_log_is_read_as_it_grows_and_again_where_it_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    made = Job("a", tmp_path, {}, 1000, state="running")
    tail = LogTail(path)
    tail.read(made)
    assert made.step == 0
    path.write_text(
        '{"step": 50}\n{"step": 100}\n{"epoch": 1, "dev_macro_f1": 0.5}\n{"step": 1', encoding="utf-8"
    )
    tail.read(made)
    assert (made.step, made.epoch, made.macro_f1, made.pace) == (100, 1, 0.5, None)
    with path.open("a", encoding="utf-8") as log:
        log.write("50}\nno json\n")
    time.sleep(0.01)
    tail.read(made)
    assert made.step == 150
    assert made.pace is not None
    assert made.left == pytest.approx(850 * made.pace)
    (tmp_path / "new").write_text('{"step": 50}\n', encoding="utf-8")  # resumed from a state at 60
    os.replace(tmp_path / "new", path)
    tail.read(made)
    assert made.step == 50


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


# packing


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two finished runs, an unfinished one, a study of transfer, a page."""
    folder = tmp_path / "results"
    for seed in (1, 2):
        put_run(folder / "minilm" / f"seed{seed}", spec_of("data", seed=seed))
    begun = put_run(folder / "begun", spec_of("data", seed=3))
    (begun / "metrics.json").unlink()
    (begun / "state").mkdir()
    (begun / "state" / "weights").write_bytes(b"x")
    (folder / "minilm" / "seed1" / ".lock").touch()
    (folder / "minilm" / "seed1" / "output.txt").touch()
    study = folder / "transfer" / "abc"
    study.mkdir(parents=True)
    (study / "settings.json").write_text('{"kind": "transfer"}', encoding="utf-8")
    (study / "rows.jsonl").write_text('{"size": 100}\n', encoding="utf-8")
    (folder / "README.md").write_text("What these are", encoding="utf-8")
    return folder


def test_packed_and_unpacked_elsewhere_the_finished_runs_are_the_same(results: Path, tmp_path: Path) -> None:
    packed = pack(results, tmp_path / "all.tar.gz")
    assert packed.runs == ["minilm/seed1", "minilm/seed2"]
    assert packed.left == {"begun": "is not finished"}
    merged = unpack(tmp_path / "all.tar.gz", tmp_path / "elsewhere")
    assert merged.runs == packed.runs
    assert not merged.left
    here, there = snapshot(results), snapshot(tmp_path / "elsewhere")
    assert there == {name: here[name] for name in there}
    gone = {name for name in here if name not in there and not name.startswith("begun/")}
    assert {Path(name).name for name in gone} == {
        "model.safetensors",
        "tokenizer.json",
        ".lock",
        "output.txt",
    }
    assert not list((tmp_path / "elsewhere").glob(".unpacking*"))
    assert [run.canonical for run in find_runs(tmp_path / "elsewhere", canonical)] == [
        run.canonical for run in find_runs(results, canonical) if run.is_finished
    ]
    first = (tmp_path / "all.tar.gz").read_bytes()
    pack(results, tmp_path / "all.tar.gz")
    assert (tmp_path / "all.tar.gz").read_bytes() == first
    pack(results, tmp_path / "heavy.tar.gz", weights=True)
    unpack(tmp_path / "heavy.tar.gz", tmp_path / "heavy")
    assert (tmp_path / "heavy/minilm/seed1/model/model.safetensors").is_file()


def test_unpacking_again_changes_nothing(results: Path, tmp_path: Path) -> None:
    pack(results, tmp_path / "all.tar.gz")
    unpack(tmp_path / "all.tar.gz", tmp_path / "there")
    before = snapshot(tmp_path / "there")
    again = unpack(tmp_path / "all.tar.gz", tmp_path / "there")
    assert snapshot(tmp_path / "there") == before
    assert again.runs == again.files == []
    assert again.left == dict.fromkeys(["minilm/seed1", "minilm/seed2"], "is there already")


def test_a_finished_run_stays_and_an_unfinished_one_gives_way(results: Path, tmp_path: Path) -> None:
    pack(results, tmp_path / "all.tar.gz")
    there = tmp_path / "there"
    other = put_run(there / "minilm" / "seed1", spec_of("data", seed=1), seconds=1.0)
    begun = put_run(there / "minilm" / "seed2", spec_of("data", seed=2))
    (begun / "metrics.json").unlink()
    (begun / ".lock").touch()  # of a process that was killed
    (there / "README.md").write_text("Mine", encoding="utf-8")
    before = snapshot(other)
    merged = unpack(tmp_path / "all.tar.gz", there)
    assert snapshot(other) == before
    assert merged.runs == ["minilm/seed2"]
    assert merged.left == {
        "minilm/seed1": "is there already, with another result",
        "README.md": "is there already, with other content",
    }
    assert (begun / "metrics.json").exists()
    assert not (begun / ".lock").exists()
    assert (there / "README.md").read_text(encoding="utf-8") == "Mine"


def test_a_run_that_is_being_trained_is_left_alone(results: Path, tmp_path: Path) -> None:
    import fcntl

    pack(results, tmp_path / "all.tar.gz")
    here = tmp_path / "there" / "minilm" / "seed1"
    here.mkdir(parents=True)
    (here / "settings.json").write_text("{}", encoding="utf-8")
    with (here / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        merged = unpack(tmp_path / "all.tar.gz", tmp_path / "there")
    assert merged.left["minilm/seed1"] == "is being trained here"
    assert (here / "settings.json").read_text(encoding="utf-8") == "{}"


def archive_of(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """A packed file with these members: name, kind, content (or what a link points to)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    "member",
    [
        ("../outside", tarfile.REGTYPE, b"x"),
        ("a/../../outside", tarfile.REGTYPE, b"x"),
        ("/tmp/outside", tarfile.REGTYPE, b"x"),
        ("..\\outside", tarfile.REGTYPE, b"x"),
        ("C:/outside", tarfile.REGTYPE, b"x"),
        ("link", tarfile.SYMTYPE, b"/etc/passwd"),
        ("hard", tarfile.LNKTYPE, b"good"),
        ("pipe", tarfile.FIFOTYPE, b""),
        ("disk", tarfile.BLKTYPE, b""),
    ],
)
def test_a_file_with_tricks_in_it_is_refused_whole(tmp_path: Path, member: tuple[str, bytes, bytes]) -> None:
    bad = archive_of(tmp_path / "bad.tar.gz", ("good", tarfile.REGTYPE, b"x"), member)
    with pytest.raises(DataError, match="no plain file"):
        unpack(bad, tmp_path / "deep" / "there")
    assert snapshot(tmp_path) == {"bad.tar.gz": bad.read_bytes()}


def test_files_do_not_slip_into_a_finished_run(tmp_path: Path) -> None:
    run = put_run(tmp_path / "there" / "run", spec_of("data"))
    before = snapshot(run)
    sly = archive_of(
        tmp_path / "sly.tar.gz",
        ("run/more.txt", tarfile.REGTYPE, b"x"),
        ("run/model/more.txt", tarfile.REGTYPE, b"x"),
    )
    assert set(unpack(sly, tmp_path / "there").left) == {"run/more.txt", "run/model/more.txt"}
    assert snapshot(run) == before


@pytest.mark.parametrize("damage", ["cut", "other", "twice", "none"])
def test_a_damaged_file_is_named_and_changes_nothing(results: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bad.tar.gz"
    pack(results, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "other":
        path.write_bytes(gzip.compress(b"no archive" * 100))
    elif damage == "twice":
        archive_of(path, ("a", tarfile.REGTYPE, b"x"), ("a", tarfile.REGTYPE, b"y"))
    else:
        path.unlink()
    with pytest.raises(DataError, match=r"bad\.tar\.gz.*cannot be unpacked"):
        unpack(path, tmp_path / "there")
    assert snapshot(tmp_path / "there") == {}


def test_what_cannot_be_packed_says_why(results: Path, tmp_path: Path) -> None:
    def refused(source: Path, out: str = "all.tar.gz") -> EmodefError:
        with pytest.raises(EmodefError) as caught:
            pack(source, tmp_path / out)
        assert not (tmp_path / out).exists()
        return caught.value

    assert "no such folder" in str(refused(tmp_path / "absent"))
    assert "nothing that is finished" in str(refused(results / "begun"))
    assert "is a run; pack the folder" in str(refused(results / "minilm" / "seed1"))
    assert isinstance(refused(results, "all.tar.zst"), SettingsError)
    shutil.rmtree(results)


def test_a_packed_file_in_the_results_is_not_packed_into_itself(results: Path) -> None:
    for _ in range(2):
        pack(results, results / "all.tar.gz")
    with tarfile.open(results / "all.tar.gz") as archive:
        assert "all.tar.gz" not in archive.getnames()


def test_supervising_needs_no_thread_of_its_own(tmp_path: Path) -> None:
    """Outside the main thread, where signals cannot be caught, it works too."""
    jobs = [job(tmp_path, "a")]
    thread = threading.Thread(target=supervise, args=(jobs,))
    thread.start()
    thread.join(30)
    assert jobs[0].state == FINISHED
