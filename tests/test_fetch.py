"""Fetching against a real HTTP server on this machine: whole, cut, refused, changed, packed, offline."""

from __future__ import annotations

import errno
import io
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emodef.corpora.download import FetchError, UnreachableError, download
from emodef.corpora.fetch import SOURCES, fetch, fetch_with_progress, terms
from emodef.corpora.sources import RemoteFile, Source
from emodef.errors import EmodefError, SettingsError
from local_server import Served, left_in, serving, sha, source

BODY = b"".join(b"line %d of a corpus written for this test\n" % i for i in range(9000))  # some chunks long


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.delenv("EMODEF_DATA_URL", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        yield server


def one_file(served: Served, content: bytes = BODY, **more: object) -> Source:
    served.files["/train.tsv"] = content
    options: dict[str, object] = {"sha256": sha(content), "bytes": len(content), **more}
    return source(RemoteFile("tiny/train.tsv", (f"{served.base}/train.tsv",), **options))  # type: ignore[arg-type]


def test_whole_fetch_installs_and_leaves_nothing_else(served: Served, tmp_path: Path) -> None:
    folder = fetch(one_file(served), data_dir=tmp_path)
    assert folder == tmp_path / "tiny"
    assert (folder / "train.tsv").read_bytes() == BODY
    assert left_in(folder) == {"train.tsv"}


def test_present_and_right_is_not_asked_for_again(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    fetch(tiny, data_dir=tmp_path)
    fetch(tiny, data_dir=tmp_path)
    assert len(served.asked) == 1
    fetch(tiny, data_dir=tmp_path, force=True)
    assert len(served.asked) == 2


def test_present_needs_no_writable_folder(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/train.tsv").write_bytes(BODY)
    fetch(tiny, data_dir=tmp_path)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["train.tsv"]


def test_a_changed_file_of_the_user_is_not_replaced_unasked(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    (tmp_path / "tiny").mkdir()
    mine = tmp_path / "tiny/train.tsv"
    mine.write_text("my own notes\n")
    with pytest.raises(FetchError, match=r"expected sha256 .* got .*--force.*--accept-changed"):
        fetch(tiny, data_dir=tmp_path)
    assert mine.read_text() == "my own notes\n"
    fetch(tiny, data_dir=tmp_path, accept_changed=True)
    assert mine.read_text() == "my own notes\n"
    fetch(tiny, data_dir=tmp_path, force=True)
    assert mine.read_bytes() == BODY


def test_cut_connection_is_gone_on_from_at_once(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    served.cut_at = [100_000, 50_000]
    folder = fetch(tiny, data_dir=tmp_path, backoff=0.001)
    assert (folder / "train.tsv").read_bytes() == BODY
    assert [wanted for _, wanted in served.asked] == [None, "bytes=100000-", "bytes=150000-"]


def test_next_call_goes_on_from_what_the_last_one_left(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    served.cut_at = [100_000, 0, 0, 0, 0]
    with pytest.raises(FetchError, match=r"100,000 bytes are kept.*same command again"):
        fetch(tiny, data_dir=tmp_path, backoff=0.001)
    assert not (tmp_path / "tiny/train.tsv").exists()
    served.cut_at, served.asked = [], []
    folder = fetch(tiny, data_dir=tmp_path)
    assert served.asked == [("/train.tsv", "bytes=100000-")]
    assert (folder / "train.tsv").read_bytes() == BODY
    assert left_in(folder) == {"train.tsv"}


def test_server_that_ignores_range_sends_the_whole(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    served.ranges, served.cut_at = False, [100_000]
    folder = fetch(tiny, data_dir=tmp_path, backoff=0.001)
    assert (folder / "train.tsv").read_bytes() == BODY
    assert [wanted for _, wanted in served.asked] == [None, "bytes=100000-"]


def test_new_version_between_two_tries_is_not_mixed_with_the_old(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served, sha256=None)
    served.cut_at = [100_000, 0, 0, 0, 0]
    with pytest.raises(FetchError):
        fetch(tiny, data_dir=tmp_path, backoff=0.001)
    served.cut_at, served.etag, served.files["/train.tsv"] = [], '"v2"', BODY[::-1]
    folder = fetch(tiny, data_dir=tmp_path)
    assert (folder / "train.tsv").read_bytes() == BODY[::-1]


def test_without_a_version_nothing_is_gone_on_from(served: Served, tmp_path: Path) -> None:
    served.etag, served.cut_at = None, [100_000]
    folder = fetch(one_file(served), data_dir=tmp_path, backoff=0.001)
    assert [wanted for _, wanted in served.asked] == [None, None]
    assert (folder / "train.tsv").read_bytes() == BODY


def test_part_damaged_on_disk_is_fetched_whole_once_more(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    served.cut_at = [100_000, 0, 0, 0, 0]
    with pytest.raises(FetchError):
        fetch(tiny, data_dir=tmp_path, backoff=0.001)
    part = tmp_path / "tiny/train.tsv.part"
    part.write_bytes(b"?" * part.stat().st_size)
    served.cut_at = []
    assert (fetch(tiny, data_dir=tmp_path) / "train.tsv").read_bytes() == BODY


def test_part_that_is_already_whole(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    part = tmp_path / "train.tsv.part"
    assert download(tiny.files[0].urls[0], part) is False
    seen: list[tuple[int, int | None]] = []
    assert (
        download(tiny.files[0].urls[0], part, progress=lambda done, total: seen.append((done, total))) is True
    )
    assert seen == [(len(BODY), len(BODY))]
    assert part.read_bytes() == BODY


def test_not_found_names_mirror_and_folder(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    served.files.clear()
    with pytest.raises(FetchError, match=r"404.*--base-url.*--data-dir or EMODEF_DATA") as caught:
        fetch(tiny, data_dir=tmp_path)
    assert len(served.asked) == 1  # asking again would not help
    assert isinstance(caught.value, EmodefError)
    assert caught.value.exit_code not in (0, 1)


def test_server_error_then_well(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    served.answers = [500, 503]
    assert (fetch(tiny, data_dir=tmp_path, backoff=0.001) / "train.tsv").read_bytes() == BODY
    assert len(served.asked) == 3


def test_server_error_that_stays(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    served.answers = [503] * 9
    with pytest.raises(FetchError, match=r"answered 503 .*4 times in a row"):
        fetch(tiny, data_dir=tmp_path, backoff=0.001)
    assert len(served.asked) == 4


def test_second_address_when_the_first_fails(served: Served, tmp_path: Path) -> None:
    served.files["/b.tsv"] = BODY
    file = RemoteFile("tiny/a.tsv", (f"{served.base}/a.tsv", f"{served.base}/b.tsv"), sha256=sha(BODY))
    assert (fetch(source(file), data_dir=tmp_path) / "a.tsv").read_bytes() == BODY


def test_wrong_hash_is_never_installed_but_can_be_accepted(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served, sha256=sha(b"what was published"))
    with pytest.raises(FetchError) as caught:
        fetch(tiny, data_dir=tmp_path)
    for part in (sha(b"what was published"), sha(BODY), "--accept-changed", "train.tsv.rejected"):
        assert part in str(caught.value)
    assert left_in(tmp_path / "tiny") == {"train.tsv.rejected"}
    notes: list[str] = []
    folder = fetch(tiny, data_dir=tmp_path, accept_changed=True, note=notes.append)
    assert (folder / "train.tsv").read_bytes() == BODY
    assert len(notes) == 1
    assert sha(BODY) in notes[0]


def test_progress_rises_to_the_total_over_all_files(served: Served, tmp_path: Path) -> None:
    served.files |= {"/a": BODY, "/b": BODY[:70_000]}
    files = [
        RemoteFile(f"tiny/{name}", (f"{served.base}/{name}",), sha(served.files[f"/{name}"]), size)
        for name, size in (("a", len(BODY)), ("b", 70_000))
    ]
    seen: list[tuple[int, int | None]] = []
    fetch(source(*files), data_dir=tmp_path, progress=lambda done, total: seen.append((done, total)))
    done = [value for value, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (len(BODY) + 70_000, len(BODY) + 70_000)
    assert {total for _, total in seen} == {len(BODY) + 70_000}
    assert len(set(done)) > 3


def test_total_is_unknown_until_the_server_says_it(served: Served, tmp_path: Path) -> None:
    served.files |= {"/a": BODY, "/b": BODY}
    files = [RemoteFile(f"tiny/{name}", (f"{served.base}/{name}",)) for name in "ab"]
    seen: list[int | None] = []
    fetch(source(*files), data_dir=tmp_path, progress=lambda _, total: seen.append(total))
    assert seen[0] is None
    assert seen[-1] == 2 * len(BODY)


def test_offline_names_both_ways(tmp_path: Path, served: Served) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = RemoteFile("tiny/train.tsv", (f"http://127.0.0.1:{port}/train.tsv",))
    with pytest.raises(UnreachableError, match=r"emodef data fetch tiny.*--data-dir .*EMODEF_DATA"):
        fetch(source(file), data_dir=tmp_path)


def test_host_that_does_not_exist_is_offline(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # a resolver may answer for every name
    file = RemoteFile("tiny/train.tsv", ("http://no-such-host.invalid/train.tsv",))
    with pytest.raises(UnreachableError, match=r"no-such-host.invalid cannot be reached"):
        fetch(source(file), data_dir=tmp_path)


def test_silence_is_not_waited_for_without_end(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    go_on = threading.Event()
    served.before = lambda: go_on.wait(5) and None
    with pytest.raises(FetchError, match="timed out"):
        fetch(tiny, data_dir=tmp_path, timeout=0.05, backoff=0.001)
    go_on.set()


def test_mirror_by_option_and_by_variable(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.files["/mirror/tiny/my%20train.tsv"] = BODY
    tiny = source(RemoteFile("tiny/my train.tsv", ("http://elsewhere.invalid/x",), sha256=sha(BODY)))
    fetch(tiny, data_dir=tmp_path / "a", base_url=served.base + "/mirror/")
    monkeypatch.setenv("EMODEF_DATA_URL", served.base + "/mirror")
    fetch(tiny, data_dir=tmp_path / "b")
    assert (
        (tmp_path / "a/tiny/my train.tsv").read_bytes()
        == (tmp_path / "b/tiny/my train.tsv").read_bytes()
        == BODY
    )


def test_address_that_is_not_http(tmp_path: Path, served: Served) -> None:
    with pytest.raises(FetchError, match="not an http or https address"):
        fetch(one_file(served), data_dir=tmp_path, base_url="file:///etc")
    with pytest.raises(FetchError, match="is no address"):
        fetch(one_file(served), data_dir=tmp_path, base_url="http://[bad")


def test_full_disk_keeps_what_arrived(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = one_file(served)
    real_open = open

    class FullDisk(io.FileIO):
        def write(self, data: object) -> int:
            if self.tell() >= 65536:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)  # type: ignore[arg-type]

    def open_full(path: object, mode: str = "r", **options: object) -> object:
        if str(path).endswith(".part") and mode[0] in "wa":
            return FullDisk(path, mode)  # type: ignore[arg-type]
        return real_open(path, mode, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("emodef.corpora.download.open", open_full, raising=False)
    with pytest.raises(FetchError, match=r"train.tsv.part: cannot be written: No space left.*--data-dir"):
        fetch(tiny, data_dir=tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "tiny/train.tsv").exists()
    served.asked.clear()
    assert (fetch(tiny, data_dir=tmp_path) / "train.tsv").read_bytes() == BODY
    assert served.asked[0][1] is not None  # went on from the bytes that fitted


def test_folder_that_cannot_be_made(served: Served, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(FetchError, match=r"cannot be written.*--data-dir"):
        fetch(one_file(served), data_dir=tmp_path / "data")


def test_two_fetches_at_once(served: Served, tmp_path: Path) -> None:
    tiny = one_file(served)
    first_asks, second_waits = threading.Event(), threading.Event()

    def before() -> None:
        first_asks.set()
        assert second_waits.wait(10)

    served.before = before
    first = threading.Thread(target=fetch, args=(tiny,), kwargs={"data_dir": tmp_path})
    first.start()
    assert first_asks.wait(10)
    notes: list[str] = []

    def note(message: str) -> None:
        notes.append(message)
        second_waits.set()

    fetch(tiny, data_dir=tmp_path, note=note)
    first.join()
    assert len(served.asked) == 1  # the second found the first's file
    assert "another fetch of tiny" in notes[0]
    assert (tmp_path / "tiny/train.tsv").read_bytes() == BODY


def test_sources_are_whole() -> None:
    assert set(SOURCES) == {"goemotions", "isear", "emoint", "emotion_stimulus"}
    assert [len(published.files) for published in SOURCES.values()] == [6, 1, 12, 3]
    for name, published in SOURCES.items():
        for part in (published.title, published.homepage, published.terms, published.cite):
            assert part
            assert part in terms(name)
        for file in published.files:
            assert file.path.startswith(f"{name}/")
            assert re.fullmatch("[0-9a-f]{64}", file.sha256 or "")
            assert all(url.startswith(("https://", "http://")) for url in file.urls)
            assert file.urls or published.archive


def test_unknown_corpus(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="goemotions"):
        fetch("goemotion", data_dir=tmp_path)


def test_in_the_terminal_terms_come_first(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = one_file(served)
    monkeypatch.setattr("emodef.corpora.sources.SOURCES", {"tiny": tiny})
    folder = fetch_with_progress("tiny", data_dir=tmp_path)
    assert (folder / "train.tsv").read_bytes() == BODY
    shown = capsys.readouterr()
    assert shown.out == ""  # standard output is for results
    assert "Terms: for tests" in shown.err
