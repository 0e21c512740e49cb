"""Runs over Ray, on a Ray of its own on this machine: as without it; and nothing outlives the driver."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray")

from emodef.errors import MissingExtraError, SettingsError
from emodef.experiments.cluster import _threads, ray_processes
from emodef.experiments.supervisor import FAILED, FINISHED, STOPPED, WAITING, Supervisor
from tiny_experiments import is_alive, job, until

HERE = str(Path(__file__).parent)
pytestmark = [pytest.mark.long, pytest.mark.skipif(os.name == "nt", reason="needs signals between processes")]


@pytest.fixture(autouse=True)
def _own_token(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Or Ray writes one into the home folder; and a folder for its files, which stay there where it is killed."""
    folder = tempfile.mkdtemp(dir="/tmp")  # its sockets need a short path
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")]))
    yield
    shutil.rmtree(folder, ignore_errors=True)


def in_a_process_of_its_own(scenario: str, folder: Path) -> subprocess.Popen[bytes]:
    """Ray keeps to the token it met first in a process, and other tests have theirs."""
    code = f"import sys, pathlib, test_experiments_cluster as t; t.{scenario}(pathlib.Path(sys.argv[1]))"
    return subprocess.Popen([sys.executable, "-c", code, str(folder)])


def side_by_side(folder: Path) -> None:
    jobs = [
        job(folder, "good", 4),
        job(folder, "bad", 4, code=5, says="error: the loss is not finite"),
        job(folder, "long", 100_000),
        job(folder, "late", 4),
    ]
    with ray_processes(None, 2) as (spawn, threads):
        assert threads >= 1
        made = Supervisor(jobs[:2], 2, lambda slot: {"SLOT": str(slot)}, module="tiny_worker", spawn=spawn)
        made.run()
        assert [each.state for each in jobs[:2]] == [FINISHED, FAILED]
        assert jobs[1].error == "the loss is not finite"
        assert json.loads((folder / "good" / "env.json").read_text())["SLOT"] == "0"
        made = Supervisor(jobs[2:], 1, module="tiny_worker", spawn=spawn, stop_after=4.0)
        made.run()
        assert [each.state for each in jobs[2:]] == [STOPPED, WAITING]


def endless(folder: Path) -> None:
    with ray_processes(None, 1) as (spawn, _):
        Supervisor([job(folder, "a", 100_000)], 1, module="tiny_worker", spawn=spawn).run()


def test_jobs_over_ray_end_as_they_do_without_it(tmp_path: Path) -> None:
    driver = in_a_process_of_its_own("side_by_side", tmp_path)
    try:
        assert driver.wait(180) == 0
    finally:
        driver.kill()


def test_processes_end_when_the_driver_is_killed(tmp_path: Path) -> None:
    driver = in_a_process_of_its_own("endless", tmp_path)
    try:
        until(lambda: (tmp_path / "a" / "log.jsonl").exists())
    finally:
        driver.kill()
        driver.wait()
    until(lambda: not is_alive(int((tmp_path / "a" / "pid").read_text())))


@pytest.mark.parametrize(
    ("cores", "at_once", "threads"),
    [
        ([16, 16], 1, 16),
        ([16] * 4, 3, 16),
        ([16, 8], 4, 5),
        ([16, 16], 3, 8),
        ([2], 8, 1),
        ([0, 4], 1, 4),
        ([], 1, 1),
    ],
)
def test_no_process_asks_for_more_cores_than_a_machine_has(
    cores: list[float], at_once: int, threads: int
) -> None:
    assert _threads(cores, at_once) == threads


def test_a_cluster_that_is_not_there_is_named() -> None:
    with (
        pytest.raises(SettingsError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"),
        ray_processes("127.0.0.1:1", 1),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"emodef\[ray\]"), ray_processes(None, 1):
        pass
