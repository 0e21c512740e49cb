"""What predicts uploaded files: attempts that are counted, several at once, what a kill leaves, texts too long for the machine."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from emodef import Predictor
from emodef.client import Client, ServerError
from emodef.reporting import page
from emodef.server import runner
from emodef.server.jobs import Kept, Order, Store
from emodef.server.runner import ATTEMPTS, Progress
from test_server_jobs import left, write_rows
from test_server_limits import form
from tiny_server import Running, in_this_process, running, until

pytestmark = pytest.mark.long


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    store = Store(tmp_path / "jobs")
    store.prepare()
    with store.upload() as (identifier, folder):
        return store.add(folder, Order(identifier, "x.csv", "csv", "csv", 1, time.time()))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the runner sees it."""


def attempt(kept: Kept, monkeypatch: pytest.MonkeyPatch, finished: int, further: int) -> None:
    """A process that begins with so many rows in finished parts, gets so many further, and dies."""

    def dying(_: Kept, __: object, watch: Progress) -> None:
        watch._tell(now=True)
        watch.begin(finished)
        watch.advance(further)
        watch._tell(now=True)
        raise Killed

    monkeypatch.setattr(runner, "predict", dying)
    try:
        runner.run(kept, None)  # type: ignore[arg-type]
    except Killed:
        return


def test_a_job_that_kills_its_process_is_given_up(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a part that is not finished are no progress: they are predicted again, and kill again."""
    for _ in range(ATTEMPTS):
        attempt(kept, monkeypatch, 0, 1400)
        assert kept.done is None
    attempt(kept, monkeypatch, 0, 1400)
    told = kept.to_dict()
    assert told["state"] == "failed"
    assert "died several times" in told["error"]


def test_a_job_that_gets_further_is_not_given_up(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3 * ATTEMPTS):
        attempt(kept, monkeypatch, 2048 * number, 100)
    for _ in range(ATTEMPTS - 1):
        attempt(kept, monkeypatch, 2048 * (3 * ATTEMPTS - 1), 100)
    assert kept.done is None
    attempt(kept, monkeypatch, 2048 * 3 * ATTEMPTS, 100)
    assert kept.done is None
    assert kept.to_dict()["rows_done"] == 2048 * 3 * ATTEMPTS + 100


def test_what_dies_before_it_begins_is_given_up_too(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(_: Kept, __: object, watch: Progress) -> None:
        watch._tell(now=True)
        raise Killed

    monkeypatch.setattr(runner, "predict", dying)
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(Killed):
            runner.run(kept, None)  # type: ignore[arg-type]
    runner.run(kept, None)  # type: ignore[arg-type]
    assert kept.to_dict()["state"] == "failed"


def test_a_summary_that_kills_takes_no_result_away(
    kept: Kept, tiny_light: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is predicted once, however often its summary is begun; at last the job is finished without one."""
    kept.input.write_text("text,x\nso happy,1\nangry,2\n,3\n")
    predictor, drawn = Predictor.load(tiny_light, threads=1), page.page_content

    def dying(_: object) -> None:
        raise Killed

    monkeypatch.setattr(page, "page_content", dying)
    with pytest.raises(Killed):
        runner.run(kept, predictor)
    assert kept.to_dict()["rows_done"] == 3
    monkeypatch.setattr(runner, "predict_file", None)
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(Killed):
            runner.run(kept, predictor)
    runner.run(kept, predictor)
    told = kept.to_dict()
    assert (told["state"], told["rows"], told["problems"]) == ("finished", 3, 1)
    assert kept.result.read_text().count("\n") == 4
    assert "died several times" in json.loads(kept.summary.read_text())["error"]
    (kept.path / "done.json").unlink()
    kept.tell(rows_done=3)
    monkeypatch.setattr(page, "page_content", drawn)
    runner.run(kept, predictor)
    assert json.loads(kept.summary.read_text())["texts"] == 2


def test_what_a_kill_leaves_is_removed(kept: Kept) -> None:
    """Half a removed job, and an upload of an earlier server that had this process's number, as in a container."""
    store = Store(kept.path.parent)
    half = store.path / ("0" * 32)
    half.mkdir()
    (half / "result.csv").write_text("what a user sent")
    earlier = store.path / f".new-{os.getpid()}-{'1' * 32}"
    earlier.mkdir()
    with store.upload() as (_, mine):
        store.sweep()
        assert mine.exists()
    assert not half.exists()
    assert not earlier.exists()
    assert kept.path.exists()


def test_uploads_under_way_count(tmp_path: Path) -> None:
    from emodef.server.faults import Fault

    store = Store(tmp_path / "jobs", most=1)
    store.prepare()
    with store.upload() as (_, folder):
        with pytest.raises(Fault, match="1 jobs are kept"), store.upload():
            pass
        folder.rmdir()


def test_files_side_by_side(tiny_light: Path, tmp_path: Path) -> None:
    """One worker, two files at once: neither waits for the other."""
    source = write_rows(tmp_path / "rows.csv", 200_000, words=20)
    jobs = tmp_path / "jobs"
    with (
        running(tiny_light, "--quiet", "--jobs-at-once", "2", jobs=jobs) as server,
        Client(server.url) as client,
    ):
        both = [client.submit(source), client.submit(source)]
        until(lambda: all(client.job(job.id).rows_done for job in both))
        assert [client.job(job.id).state for job in both] == ["running"] * 2
        for job in both:
            client.cancel(job)
        until(lambda: not left(jobs))


def test_an_upload_nobody_waits_for_is_no_job(server: Running, tmp_path: Path) -> None:
    """The whole form is sent, and the connection closed before the answer."""
    body, kind = form("x.csv", b"text\n" + b"so happy\n" * 1000)
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    before = len(server.events("request"))
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        if sys.platform == "linux":  # one segment with the end: else the answer may come before it
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(head.encode() + body)
    logged: dict[str, Any] = until(lambda: server.events("request")[before:])[0]
    assert logged["path"] == "/v1/jobs"
    assert logged["code"] == "gone"
    assert b'emodef_jobs{state="queued"} 0.0' in server.ask("GET", "/metrics")[2]


def test_rows_without_a_prediction_are_listed(server: Running, tmp_path: Path) -> None:
    client = Client(server.url)
    source = tmp_path / "rows.csv"
    source.write_text("id,text\n1,so happy\n2,so happy, and glad\n3,\n")
    job = client.wait(client.submit(source), seconds=60, every=0.05)
    left_out, empty = client.problems(job)
    assert (job.problems, client.download(job, tmp_path / "found.csv").read_text().count("\n")) == (2, 3)
    assert (left_out.row, left_out.kept, left_out.raw) == (3, False, "2,so happy, and glad")
    assert (empty.row, empty.kept, empty.reason) == (4, True, "the text is empty")
    headers = server.ask("GET", f"/v1/jobs/{job.id}/problems")[1]
    assert headers["content-disposition"].endswith("rows-emotions.csv.problems.jsonl")
    client.cancel(job)
    with pytest.raises(ServerError, match="no such job"):
        client.problems(job)
    job = client.wait(client.submit(write_rows(source, 3)), seconds=60, every=0.05)
    assert client.problems(job) == []
    client.cancel(job)


def test_texts_and_lines_that_are_very_long(tiny_light: Path, tmp_path: Path) -> None:
    """A text beyond the limit has no prediction, the others have; a line too long to be looked at is left to the job."""
    source = tmp_path / "rows.jsonl"
    texts = ["so happy", "so happy " * 200_000, "so angry"]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    limit = ("--limit", "file_text_characters=1000")
    with running(tiny_light, *limit, jobs=tmp_path / "jobs") as server, Client(server.url) as client:
        job = client.wait(client.submit(source), seconds=60, every=0.05)
        assert (job.rows, job.problems) == (3, 1)
        found = client.download(job, tmp_path / "found.jsonl").read_text().splitlines()
        assert [json.loads(line)["predicted"] for line in found][1] is None
        source.write_text('{"other": "' + "a" * 2**21 + '"}\n')
        job = client.submit(source)
        with pytest.raises(ServerError, match="no column looks like the text"):
            client.wait(job, seconds=60, every=0.05)
        labels = json.dumps({f"label {n}": f"happy glad {n} " * 40 for n in range(150)})  # 68 kB
        source.write_text(json.dumps({"text": "so happy"}) + "\n")
        assert client.wait(client.submit(source, labels=labels), seconds=60, every=0.05).rows == 1


def test_a_form_in_no_known_charset(server: Running) -> None:
    body, kind = form("x.csv", b"text\nhappy\n")
    status, _, found = server.ask(
        "POST", "/v1/jobs", raw=body, Content_Type=kind.replace(";", "; charset=undefined;")
    )
    assert (status, found["error"]["code"]) == (400, "bad_request")


def test_answers_that_nobody_reads(tiny_light: Path, tmp_path: Path) -> None:
    """Requests without end on a connection, and no answer read: it is cut, and holds no place any more."""
    with (
        in_this_process(tiny_light, tmp_path / "jobs", unread_seconds=3.0) as (made, port),
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        connection.sendall(b"GET /assets/charts.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2000)
        until(lambda: made.server_state.connections)
        until(lambda: not made.server_state.connections, seconds=20)
        connection.settimeout(1)
        arrived = b""
        with suppress(OSError):
            while piece := connection.recv(2**16):
                arrived += piece
        assert 0 < arrived.count(b"HTTP/1.1 200") < 2000
