"""A folder that takes another's place: whole or not at all, and on the disk before it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

from emodef.train.checkpoint import replaced_directory


def test_replaced_directory(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "place"
    with replaced_directory(target) as new:
        (new / "a").write_text("1")
        (new / "sub").mkdir()
        (new / "sub" / "b").write_text("2")
        assert not target.exists()
    assert (target / "sub" / "b").read_text() == "2"

    def interrupted() -> None:
        with replaced_directory(target) as new:
            (new / "a").write_text("3")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (target / "a").read_text() == "1"
    assert [path.name for path in target.parent.iterdir()] == ["place"]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o777 & ~umask  # readable by others as other files are


def test_files_are_open_for_writing_when_they_are_flushed_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses it for others."""
    fcntl = pytest.importorskip("fcntl")
    flushed, really = [], os.fsync

    def watched(descriptor: int) -> None:
        flushed.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with replaced_directory(tmp_path / "place") as new:
        (new / "a").write_text("1")
    assert flushed == [os.O_RDWR]
    assert (tmp_path / "place" / "a").read_text() == "1"
