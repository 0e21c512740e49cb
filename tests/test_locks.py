"""Files held by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emodef import locks

pytest.importorskip("fcntl")
HOLDER = "import sys, time; from emodef import locks; f = open(sys.argv[1], 'a'); locks.hold(f); print('held', flush=True); time.sleep(60)"


def test_one_process_has_it_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with path.open("a") as file:
            assert not locks.hold(file)
            other.kill()
            began = time.monotonic()
            assert locks.hold(file, wait=True)
            assert time.monotonic() - began < 30
        other.wait()


def test_a_file_that_was_put_in_another_s_place(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a") as file:
        assert locks.is_still(file, path)
        assert locks.is_still(file.fileno(), path)
        path.unlink()
        assert not locks.is_still(file, path)
        path.touch()
        assert not locks.is_still(file, path)


def test_a_descriptor_is_a_file_too(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    try:
        assert locks.hold(descriptor)
        with (tmp_path / "lock").open("a") as second:
            assert not locks.hold(second)  # a lock is of an opening, so not even this process has it twice
    finally:
        os.close(descriptor)
