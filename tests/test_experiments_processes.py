"""Many processes at once, without training: started, watched, stopped, killed; none outlives its supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from emodef.experiments.processes import environments
from emodef.experiments.supervisor import FAILED, FINISHED, STOPPED, WAITING, Job, LogTail, Supervisor
from tiny_experiments import is_alive, job, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals between processes")


def supervise(jobs: list[Job], at_once: int = 2, **options: Any) -> Supervisor:
    options.setdefault("environment", lambda slot: {"SLOT": str(slot)})
    # an empty place would be the folder that it is started in
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    own = options.pop("environment")
    made = Supervisor(
        jobs, at_once, lambda slot: own(slot) | {"PYTHONPATH": path}, module="tiny_worker", **options
    )
    made.run()
    return made


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


def test_no_module_of_the_folder_it_is_started_in_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path / "here")
    jobs = [job(tmp_path, "good")]
    supervise(jobs)
    assert jobs[0].state == FINISHED


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


def test_supervising_needs_no_thread_of_its_own(tmp_path: Path) -> None:
    """Outside the main thread, where signals cannot be caught, it works too."""
    jobs = [job(tmp_path, "a")]
    thread = threading.Thread(target=supervise, args=(jobs,))
    thread.start()
    thread.join(30)
    assert jobs[0].state == FINISHED


@pytest.mark.parametrize(
    ("seen", "gpus", "expected"),
    [
        ("", 0, [None, None, None]),
        ("", 1, [None, None, None]),
        ("", 2, ["0", "1", "0"]),
        ("5, GPU-ab", 2, ["5", "GPU-ab", "5"]),
        ("5,7", 0, [None, None, None]),
    ],
)
def test_processes_take_turns_on_the_gpus_that_are_seen(
    monkeypatch: pytest.MonkeyPatch, seen: str, gpus: int, expected: list[str | None]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
    of = environments(3, gpus)
    assert [of(slot).get("CUDA_VISIBLE_DEVICES") for slot in range(3)] == expected
    assert of(0)["OMP_NUM_THREADS"] == "3"
