"""What an output leaves behind it: the permissions of the file that was there, and no lock; and places that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from commands import emodef_command
from emodef import locks
from emodef.atomic import write_bytes, write_text
from emodef.errors import SettingsError
from emodef.files.folder import LOCK


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
def test_permissions_are_those_of_the_file_that_was_there(predict: Any, tmp_path: Path, out: str) -> None:
    content = "text,n\nso happy,1\n,2\n"
    path, _ = predict("in.csv", content, out)
    usual = path.stat().st_mode & 0o777
    problems = tmp_path / f"{out}.problems.jsonl"
    for mode in (0o600, 0o664, 0o444):
        path.chmod(mode)
        problems.chmod(mode)
        predict("in.csv", content, out)
        assert [file.stat().st_mode & 0o777 for file in (path, problems)] == [mode, mode]
    path.unlink()
    predict("in.csv", content, out)
    assert path.stat().st_mode & 0o777 == usual


def test_permissions_behind_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    write_text(target, "before")
    target.chmod(0o640)
    link.symlink_to(target)
    write_bytes(link, b"after")
    assert target.read_text() == "after"
    assert target.stat().st_mode & 0o777 == 0o640


def test_the_lock_goes_where_no_open_file_can_be_removed(
    predict: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    held: list[IO[Any]] = []
    unlink = Path.unlink

    def hold(file: IO[Any], **options: Any) -> bool:
        held.append(file)
        return True

    def unlink_closed(self: Path, **options: Any) -> None:
        if self.name == LOCK and not all(file.closed for file in held):
            raise PermissionError(13, "is being used by another process", str(self))
        unlink(self, **options)

    monkeypatch.setattr(locks, "hold", hold)
    monkeypatch.setattr(Path, "unlink", unlink_closed)
    path, _ = predict("in.csv", "text\nso happy\n", "out.csv")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.csv", path.name]
    assert len(held) == 1


@pytest.mark.parametrize("command", [["predict", "--file"], ["report"]])
@pytest.mark.parametrize("place", ["in.csv/x", "in.csv/deep/x", "n" * 300])
def test_a_place_that_cannot_be_written_is_told_as_it_was_given(
    tmp_path: Path, command: list[str], place: str
) -> None:
    given = tmp_path / "in.csv"
    given.write_text("text,predicted,probabilities\nso happy,joy,0.5\n")
    out = tmp_path / f"{place}{'.html' if command == ['report'] else '.csv'}"
    prefix = ["--prefix", "my_"] if command[0] == "predict" else []
    said = " ".join(emodef_command(*command, given, *prefix, "--out", out, code=3).stderr.split())
    assert said.startswith(f"error: {out}: ")
    assert said.endswith(("a part of the path is no folder; check it", "give a shorter name"))


def test_where_the_folder_of_parts_should_be_is_a_file(predict: Any, tmp_path: Path) -> None:
    (tmp_path / "out.csv.parts").write_text("mine")
    with pytest.raises(SettingsError, match=r"out\.csv\.parts is where .* is a file; move it away"):
        predict("in.csv", "text\nso happy\n", "out.csv")


def test_a_folder_that_cannot_be_written_is_told_by_the_output(
    predict: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is for who is not root."""

    def refuse(self: Path, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PermissionError) as told:
        predict("in.csv", "text\nso happy\n", "out.csv")
    assert told.value.filename.endswith("out.csv")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("options", [["labels", "list"], ["labels", "list", "--json"], ["--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_disk_that_is_full(options: list[str], unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "emodef", *options]
        run = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert (run.returncode, run.stderr) == (
        3,
        "error: No space left on device; make room, or name another place\n",
    )


def test_keys_that_are_not_there(tmp_path: Path) -> None:
    said = emodef_command("serve", "--api-keys", tmp_path / "none", code=2).stderr
    assert "none: cannot be read: No such file or directory; give a file with a key a line" in said


@pytest.mark.parametrize(
    "command", [["labels", "show", "goemotions"], ["labels", "list"], ["labels", "list", "--json"]]
)
def test_a_reader_that_has_gone_away_is_no_fault(command: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    run = subprocess.run(
        [sys.executable, "-m", "emodef", *command],
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writes)
    assert (run.returncode, run.stderr) == (0, "")
