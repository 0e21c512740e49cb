"""A results folder as one file, and back: the same runs, nothing overwritten, tricks and damage refused."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path
from unittest.mock import patch

import pytest

from emodef.errors import DataError, EmodefError, SettingsError
from emodef.experiments.packing import pack, unpack
from emodef.experiments.results import find_runs
from tiny_experiments import canonical, put_run, spec_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs file locks")


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
    light = folder / "minilm" / "seed1" / "light"
    light.mkdir()
    for name in ("model.onnx", "model.json", "tokenizer.json", "README.md"):
        (light / name).write_bytes(b"{}")
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
    assert packed.files == ["README.md"]
    merged = unpack(tmp_path / "all.tar.gz", tmp_path / "elsewhere")
    assert merged.runs == packed.runs
    assert not merged.left
    here, there = snapshot(results), snapshot(tmp_path / "elsewhere")
    assert there == {name: here[name] for name in there}
    gone = {name for name in here if name not in there and not name.startswith("begun/")}
    assert {Path(name).name for name in gone} == {
        "model.safetensors",
        "model.onnx",
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


def test_a_study_that_was_merely_begun_gets_its_rows(tmp_path: Path) -> None:
    for name in ("there", "elsewhere"):
        study = tmp_path / name / "study"
        (study / "splits").mkdir(parents=True)
        (study / "settings.json").write_text("{}")
    (tmp_path / "elsewhere" / "study" / "rows.jsonl").write_text('{"start": "none"}\n')
    pack(tmp_path / "elsewhere", tmp_path / "all.tar.gz")
    assert unpack(tmp_path / "all.tar.gz", tmp_path / "there").files == ["study/rows.jsonl"]
    assert pack(tmp_path / "there", tmp_path / "again.tar.gz").left == {}


def test_a_folder_that_cannot_be_written_is_no_damaged_file(results: Path, tmp_path: Path) -> None:
    pack(results, tmp_path / "all.tar.gz")
    with patch("shutil.copyfileobj", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        with pytest.raises(DataError, match=r"cannot be unpacked into .*: No space left") as told:
            unpack(tmp_path / "all.tar.gz", tmp_path / "there")
        assert "copy it again" not in str(told.value)
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
