"""What an output leaves behind it: the permissions of the file that was there, and no lock."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import pytest

from emodef import locks
from emodef.atomic import write_bytes, write_text
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
