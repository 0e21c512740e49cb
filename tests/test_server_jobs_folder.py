"""The folder of jobs: a server's own, marked as such, or left alone."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from emodef.errors import SettingsError
from emodef.server.jobs import Order, Store
from emodef.server.marks import MARK


def held(path: Path) -> set[str]:
    return {str(one.relative_to(path)) for one in path.rglob("*")}


@pytest.mark.parametrize(
    "name", ["notes.txt", "counts/2024.csv", "slots/first", f"{'0' * 32}/picture.png", f"{'0' * 32}"]
)
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    """Also by a server that is there already when its mark is taken away."""
    folder = tmp_path / "mine"
    (folder / name).parent.mkdir(parents=True)
    folder.chmod(0o700)
    (folder / name).write_text("of the user")
    before = held(folder)
    store = Store(folder)
    with pytest.raises(SettingsError, match=r"is no job's.*--jobs-folder"):
        store.prepare()
    store.sweep()
    store.leave()
    assert held(folder) == before


def test_a_folder_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    store = Store(folder)
    store.prepare()
    with store.upload() as (identifier, upload):
        (upload / "input.csv").write_text("text\nhappy\n")
        kept = store.add(upload, Order(identifier, "x.csv", "csv", "csv", 1, time.time()))
    kept.tell(rows_done=1)
    (kept.path / "result.csv.parts").mkdir()
    (kept.path / ".done.json.x1.part").touch()  # killed while it was written
    with kept.locked():
        pass
    (folder / "counts").mkdir()
    (folder / "counts" / "counter_1.db").touch()
    (folder / f".new-{os.getpid()}-{'1' * 32}").mkdir()
    assert store.slot(0)
    (folder / MARK).unlink()
    store = Store(folder)
    store.prepare()
    assert store.get(identifier).order.file == "x.csv"
    assert (folder / MARK).exists()


def test_it_is_removed_where_nothing_is_left_in_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    for name in ("new", "empty"):
        store = Store(tmp_path / name)
        store.prepare()
        store.prepare()
        assert held(store.path) == {MARK, "slots"}
        store.leave()
        assert not store.path.exists()
    store.prepare()
    (store.path / "notes.txt").write_text("of the user")
    store.leave()
    assert held(store.path) == {MARK, "notes.txt"}
    store.prepare()


def test_what_cannot_be_read_for_a_while_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a process has too many files open."""
    store = Store(tmp_path / "jobs")
    store.prepare()
    with store.upload() as (identifier, upload):
        store.add(upload, Order(identifier, "x.csv", "csv", "csv", 1, time.time())).end("finished", rows=1)

    def fails(path: Path, **_: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as now:
        now.setattr(Path, "read_text", fails)
        store.sweep()
        assert store.all() == []
        with pytest.raises(OSError, match="Too many"):
            store.get(identifier)
    assert store.get(identifier).to_dict()["state"] == "finished"
    assert store.counts()["finished"] == 1
