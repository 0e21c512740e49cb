"""Corpora that come packed: unpacked safely, tables built from tagged text; against a real HTTP server on this machine."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emodef.corpora.archive import tagged_to_csv
from emodef.corpora.download import FetchError
from emodef.corpora.fetch import fetch
from emodef.corpora.sources import RemoteFile, Source
from local_server import Served, left_in, serving, sha, source


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv("EMODEF_DATA_URL", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


CAUSE = b"<glad>We won , <cause>after a year of losing<\\cause> , and sang . <\\glad>\n"
NO_CAUSE = '<low>It rained “all” day .<\\low>\r\n\n<cross>He said "no" .<\\cross>\n'.encode()
TABLE = b'Emotion,Text\r\nglad,"We won , after a year of losing , and sang . "\r\nlow,It rained all day .\r\n'
TABLE += b'cross,"He said ""no"" ."'


def packed(served: Served, members: dict[str, bytes], **more: object) -> Source:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    served.files["/set.zip"] = buffer.getvalue()
    return source(
        RemoteFile("tiny/cause.txt", member="cause.txt", sha256=sha(CAUSE)),
        RemoteFile("tiny/table.csv", built_from=("cause.txt", "none.txt"), sha256=sha(TABLE)),
        archive=RemoteFile("tiny/set.zip", (f"{served.base}/set.zip",), **more),  # type: ignore[arg-type]
    )


def test_archive_is_unpacked_and_the_table_built(served: Served, tmp_path: Path) -> None:
    members = {
        "Set/cause.txt": CAUSE,
        "__MACOSX/cause.txt": b"?",
        "Set/none.txt": NO_CAUSE,
        "Set/other.bin": b"x",
    }
    notes: list[str] = []
    folder = fetch(packed(served, members), data_dir=tmp_path, note=notes.append)
    assert (folder / "cause.txt").read_bytes() == CAUSE
    assert (folder / "table.csv").read_bytes() == TABLE
    assert left_in(folder) == {"cause.txt", "table.csv"}
    assert notes == []


def test_archive_never_writes_outside_the_folder(served: Served, tmp_path: Path) -> None:
    bad = {
        "../cause.txt": CAUSE,
        "/none.txt": NO_CAUSE,
        "..\\..\\none.txt": NO_CAUSE,
        "a/../../evil.txt": b"x",
    }
    before = set(tmp_path.rglob("*"))
    with pytest.raises(FetchError, match=r"no member 'cause\.txt'"):
        fetch(packed(served, bad), data_dir=tmp_path / "in/data")
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert {path.name for path in new} == {".fetch.lock", "set.zip.rejected"}


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"cause.txt": CAUSE}, "no member 'none.txt'"),
        ({"cause.txt": b"<glad>other<\\glad>\n", "none.txt": NO_CAUSE}, "expected sha256"),
    ],
)
def test_archive_with_other_contents(
    served: Served, tmp_path: Path, members: dict[str, bytes], why: str
) -> None:
    with pytest.raises(FetchError, match=why):
        fetch(packed(served, members), data_dir=tmp_path)
    assert left_in(tmp_path / "tiny") == {"set.zip.rejected"}  # nothing half done


def test_archive_that_is_no_zip_or_unpacks_to_too_much(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = packed(served, {"cause.txt": CAUSE, "none.txt": NO_CAUSE})
    monkeypatch.setattr("emodef.corpora.archive.MAX_MEMBER", 10)
    with pytest.raises(FetchError, match="far more than was published"):
        fetch(tiny, data_dir=tmp_path)
    served.files["/set.zip"] = b"<html>moved</html>"
    with pytest.raises(FetchError, match="not a sound zip file"):
        fetch(tiny, data_dir=tmp_path)


def test_an_archive_damaged_inside_is_put_aside(served: Served, tmp_path: Path) -> None:
    tiny = packed(served, {})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cause.txt", CAUSE)
        archive.writestr("none.txt", NO_CAUSE)
    sound = buffer.getvalue()
    start = sound.index(b"cause.txt") + len(b"cause.txt")
    served.files["/set.zip"] = sound[:start] + b"\xff" * 8 + sound[start + 8 :]
    with pytest.raises(FetchError, match="not a sound zip file"):
        fetch(tiny, data_dir=tmp_path)
    assert left_in(tmp_path / "tiny") == {"set.zip.rejected"}
    served.files["/set.zip"] = sound
    fetch(tiny, data_dir=tmp_path)


def test_mended_member_without_a_known_hash_is_told_not_refused(served: Served, tmp_path: Path) -> None:
    notes: list[str] = []
    tiny = packed(served, {"cause.txt": CAUSE, "none.txt": b"<low>Mended .<\\low>\nno tag here\n"})
    folder = fetch(tiny, data_dir=tmp_path, note=notes.append)
    assert (folder / "table.csv").read_bytes().endswith(b"low,Mended .")
    assert "none.txt:2: left out" in notes[0]
    assert "not byte for byte" in notes[1]


def test_tags_with_backslashes_and_blanks() -> None:
    notes: list[str] = []
    assert tagged_to_csv({"a": b" <x> y <\\x> \n"}, notes.append) == b"Emotion,Text\r\nx, y "
    assert notes == []
