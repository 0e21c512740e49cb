"""Files over HTTP: the same bytes as `emodef predict --file`, through restarts, SIGKILL and cancelling; nothing is left behind."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from emodef import Predictor
from emodef.client import Client, ServerError
from emodef.files.job import predict_file
from emodef.files.predictions import Options
from emodef.files.sources import open_source
from tiny_server import Running, children, gone, running, until

pytestmark = pytest.mark.long

WORDS = ("happy", "angry", "afraid", "why", "meeting", "the", "chairs", "so", "glad", "it", "is", "furious")


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def write_rows(path: Path, rows: int, *, words: int = 6) -> Path:
    draw = random.Random(rows)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "date"])
        for row in range(rows):
            writer.writerow([row, " ".join(draw.choices(WORDS, k=words)), f"2024-{1 + row % 12:02}-03"])
    return path


def expected(model: Path, source: Path, out: Path, **options: object) -> bytes:
    """What the command line makes of the same file."""
    predict_file(open_source(str(source)), out, Predictor.load(model, threads=1), Options(**options))  # type: ignore[arg-type]
    return out.read_bytes()


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"slots", "counts", "emodef-jobs"}


def test_a_file_s_way(server: Running, client: Client, tiny_light: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "täxte.csv", 300)
    job = client.submit(source, form="probabilities", level="sentiment", threshold=0.2)
    assert (job.file, job.bytes) == ("täxte.csv", source.stat().st_size)
    assert job.state in ("queued", "running"), (
        "where another was predicted just now, its process may go on with this one"
    )
    job = client.wait(job, seconds=60, every=0.05)
    assert (job.state, job.rows, job.rows_done, job.bytes_done, job.problems) == (
        "finished",
        300,
        300,
        job.bytes,
        0,
    )
    found = client.download(job, tmp_path / "found.csv").read_bytes()
    assert found == expected(
        tiny_light, source, tmp_path / "own.csv", form="probabilities", level="sentiment", threshold=0.2
    )
    headers = server.ask("GET", f"/v1/jobs/{job.id}/result")[1]
    assert headers["content-type"] == "text/csv; charset=utf-8"
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''t%C3%A4xte-emotions.csv"
    summary = client.summary(job)
    assert summary["texts"] == 300
    assert sum(summary["levels"][0]["sizes"]) == 300
    assert summary["time"]["texts"] == 300
    client.cancel(job)
    with pytest.raises(ServerError) as gone:
        client.job(job.id)
    assert gone.value.status == 404


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "txt"])
def test_other_kinds(client: Client, tmp_path: Path, kind: str) -> None:
    lines = {
        "tsv": "text\tmore\nso happy\t1\n\t2\n",
        "jsonl": '{"text": "so happy"}\n{"text": null}\n',
        "txt": "so happy\n\n",
    }
    source = tmp_path / f"rows.{kind}"
    source.write_text(lines[kind])
    job = client.wait(client.submit(source, at_least_one=True, on_error="skip"), seconds=60, every=0.05)
    assert (job.rows, job.problems) == (2, 1)
    found = client.download(job, tmp_path / "found").read_text()
    assert "joy" in found
    assert found.count("happy") == 1
    client.cancel(job)


def test_own_labels_of_a_file(client: Client, tiny_light: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.csv", 20)
    own = {"labels": json.dumps({"delight": "happy glad", "name": "angry"}), "form": "probabilities"}
    job = client.wait(client.submit(source, **own), seconds=60, every=0.05)
    with open(client.download(job, tmp_path / "found.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    scored = client.score([row["text"] for row in rows], {"delight": "happy glad", "name": "angry"})
    for row, its in zip(rows, scored, strict=True):
        assert float(row["p_delight"]) == pytest.approx(its.scores["delight"], abs=1e-4)
    client.cancel(job)


@pytest.mark.parametrize(
    ("name", "content", "fields", "status", "told"),
    [
        ("x.xlsx", b"x", {}, 415, "csv"),
        ("x.csv.gz", b"\x1f\x8b", {}, 415, "not compressed"),
        ("x.parquet", b"PAR1", {}, 415, "csv"),
        ("x.csv", b"a,b\n1,2\n", {}, 422, "the field column"),
        ("x.csv", b"text\nx\n", {"column": "body"}, 422, "body"),
        ("x.csv", b"", {}, 422, "empty"),
        ("x.csv", b"text,predicted\nx,y\n", {}, 422, "the field prefix"),
        ("x.csv", b"text\nx\n", {"threshold": "high"}, 422, "tuned"),
        (
            "x.csv",
            b"text,date\nx,1\n",
            {"time_column": "when"},
            422,
            "'when' for times",
        ),
        ("x.csv", b"text\nx\n", {"level": "mood"}, 422, "mood"),
        ("x.csv", b"text\nx\n", {"labels": "{"}, 422, "JSON"),
        ("x.csv", b"text\nx\n", {"labels": "{}"}, 422, "no label"),
        ("x.csv", b"text\nx\n", {"colour": "red"}, 422, "colour"),
        ("x.jsonl", b"[" * 10**6, {}, 422, "row"),
    ],
    ids=str,
)
def test_what_cannot_be_predicted_is_refused_at_once(
    server: Running, client: Client, tmp_path: Path, name: str, content: bytes, fields: dict[str, str], status: int, told: str
) -> None:  # fmt: skip
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ServerError, match=told) as refused:
        client.submit(tmp_path / name, **fields)
    assert refused.value.status == status
    assert str(tmp_path.parent) not in str(refused.value)
    assert "/jobs/" not in str(refused.value)
    jobs = Path(server.process.args[server.process.args.index("--jobs-folder") + 1])  # type: ignore[index,union-attr]
    until(lambda: not left(jobs))  # an earlier test's job is removed a little after it was cancelled


def test_a_job_that_fails_says_why(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text('text,x\nhappy,1\n"",2\n')
    job = client.submit(source, on_error="fail")
    with pytest.raises(ServerError, match=r"rows.csv:3: the text is empty.*the field on_error keep"):
        client.wait(job, seconds=60, every=0.05)
    with pytest.raises(ServerError, match="failed") as refused:
        client.download(job, tmp_path / "x")
    assert refused.value.status == 409
    client.cancel(job)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.csv", "..\\..\\x.csv", "/etc/x.csv", "a\x00b.csv", 'a"; x="b.csv', "é\r\nX: y.csv", "." * 5 + ".csv"]
)  # fmt: skip
def test_a_file_s_name_is_only_a_name(server: Running, client: Client, name: str) -> None:
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    body = (
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\ntext\nhappy\n\r\n--b--\r\n'
    ).encode()
    status, _, found = server.ask(
        "POST", "/v1/jobs", raw=body, Content_Type="multipart/form-data; boundary=b"
    )
    if status == 202:
        assert "/" not in found["file"]
        assert "\\" not in found["file"]
        client.cancel(client.wait(found["id"], seconds=60, every=0.05))
    else:
        assert (status, found["error"]["code"]) == (400, "bad_request")


def test_identifiers_are_never_paths(server: Running) -> None:
    for identifier in ("..", "%2e%2e", "%2e%2e%2fslots", "slots", "." * 32, "A" * 32, "0" * 32, "%00", "x" * 500):  # fmt: skip
        for asked in ("GET", "GET /result", "GET /summary", "GET /problems", "DELETE"):
            method, _, more = asked.partition(" ")
            status, _, found = server.ask(method, f"/v1/jobs/{identifier}{more}")
            assert status in (404, 405, 422), identifier
            assert found["error"]["code"] in ("not_found", "method_not_allowed", "invalid")


def test_one_key_s_jobs_are_not_another_s(tmp_path: Path) -> None:
    from emodef.server.faults import Fault
    from emodef.server.jobs import Order, Store

    store = Store(tmp_path / "jobs", most=2)
    store.prepare()
    assert (tmp_path / "jobs").stat().st_mode & 0o777 == 0o700
    with store.upload() as (identifier, folder):
        store.add(folder, Order(identifier, "x.csv", "csv", "csv", 1, time.time(), owner="mine"))
    assert store.get(identifier, "mine").order.file == "x.csv"
    for other in (None, "another's"):
        with pytest.raises(Fault, match="no such job"):
            store.get(identifier, other)
    with pytest.raises(RuntimeError), store.upload():
        raise RuntimeError
    with store.upload() as (second, folder):
        store.add(folder, Order(second, "x.csv", "csv", "csv", 1, time.time()))
    with pytest.raises(Fault, match="2 jobs are kept") as refused, store.upload():
        pass
    assert refused.value.status == 429


def test_a_folder_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    from emodef.errors import SettingsError
    from emodef.server.jobs import Store

    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("open", "link"):
        with pytest.raises(SettingsError, match="yours alone"):
            Store(tmp_path / name).prepare()


def test_what_was_kept_long_enough_is_removed(tmp_path: Path) -> None:
    from emodef.server.jobs import Order, Store

    store = Store(tmp_path / "jobs", hours=1)
    store.prepare()
    kept = []
    for finished in (time.time() - 4000, time.time() - 3000, None):
        with store.upload() as (identifier, folder):
            kept.append(store.add(folder, Order(identifier, "x.csv", "csv", "csv", 1, time.time())))
        if finished is not None:
            kept[-1].end("finished")
            (kept[-1].path / "done.json").write_text(json.dumps({"state": "finished", "finished": finished}))
    dead = store.path / ".new-999999999-x"
    dead.mkdir()
    with store.upload() as (_, mine):
        store.sweep()
        assert mine.exists()
        mine.rmdir()
    assert [one.path.exists() for one in kept] == [False, True, True]
    assert not dead.exists()


def test_a_folder_that_was_taken_away_is_made_again(tiny_light: Path, tmp_path: Path) -> None:
    """As by what empties folders for temporary files."""
    jobs = tmp_path / "jobs"
    source = write_rows(tmp_path / "rows.csv", 20)
    with running(tiny_light, "--quiet", jobs=jobs) as server, Client(server.url) as client:
        jobs.rename(tmp_path / "away")  # at once: the server may be making it anew while a tree is removed
        until(lambda: (jobs / "slots").is_dir())
        assert client.wait(client.submit(source), seconds=60, every=0.05).rows == 20


class Asking:
    """Three clients that ask all the time; `down` says that no answer is expected now."""

    def __init__(self, port: int) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self.down, self.over = threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(port,), daemon=True) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def _ask(self, port: int) -> None:
        with Client(f"http://127.0.0.1:{port}", retries=0) as client:
            while not self.over.is_set():
                try:
                    its = client.predict(["so happy"])[0]
                    self.answers += 1
                    time.sleep(0.02)  # the other process's turn: there are two cores
                    if [one.name for one in its.labels] != ["joy"]:
                        self.failures.append(str(its))
                except ServerError as error:
                    if not self.down.is_set():
                        self.failures.append(str(error))
                    time.sleep(0.05)

    def end(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)


def processes(server: Running) -> tuple[list[int], list[int]]:
    """A server's workers, and the processes that predict its jobs."""

    def runs(what: str, parent: int) -> list[int]:
        return [one for one in children(parent) if what.encode() in command(one)]

    workers = runs("spawn_main", server.pid)
    return workers, [one for worker in workers for one in runs("emodef.server.runner", worker)]


def command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_kill_9_and_restart_under_load_with_a_job_going_on(tiny_light: Path, tmp_path: Path) -> None:
    """Two workers are asked all the time; all processes are killed in mid-job; another server takes over, and finishes it."""
    rows, jobs = 80_000, tmp_path / "jobs"  # more than is predicted until the last is killed
    source = write_rows(tmp_path / "rows.csv", rows, words=20)

    def parts() -> int:
        return len(list(jobs.glob("*/result.csv.parts/part-*.json")))

    with running(tiny_light, "--workers", "2", "--quiet", jobs=jobs) as server, Client(server.url) as client:
        asking = Asking(server.port)
        job = client.submit(source)
        until(lambda: parts() >= 1)
        for _ in range(10):  # whichever worker answers
            assert server.ask("GET", f"/v1/jobs/{job.id}")[2]["state"] == "running"
        answers = until(lambda: asking.answers > 200 and asking.answers)
        for _ in range(10):  # of both, whichever tells it
            counted = server.ask("GET", "/metrics")[2].decode()
            texts = re.search(r"^emodef_texts_total (\S+)", counted, re.MULTILINE)
            assert float(texts[1]) >= answers - 2 * 32  # a pass is counted behind its answers
        asking.down.set()
        # Each worker may have started one, where both looked before either held its slot; the one that got none ends.
        workers, runners = until(lambda: found if len((found := processes(server))[1]) == 1 else None)
        assert len(workers) == 2
        os.kill(next(worker for worker in workers if runners[0] in children(worker)), 9)
        until(lambda: all(map(gone, runners)))
        until(
            lambda: [len(some) for some in processes(server)] == [2, 1]
        )  # another takes over, and a new one is there
        begun = parts()
        until(lambda: parts() > begun)
        workers, runners = processes(server)
        server.kill()
        until(lambda: all(map(gone, runners)))  # it never outlives the server
        for worker in workers:
            with suppress(ProcessLookupError):  # it may have ended by itself, its server being gone
                os.kill(worker, 9)
        until(lambda: all(map(gone, workers)))
    assert not (jobs / job.id / "done.json").exists()
    before = asking.answers
    with running(tiny_light, "--quiet", jobs=jobs, port=server.port) as server, Client(server.url) as client:
        assert client.job(job.id).rows_done >= 2048
        until(lambda: asking.answers > before)
        asking.down.clear()
        begun, before = parts(), asking.answers
        until(lambda: parts() > begun and asking.answers > before)
        asking.end()  # the rest of the job is quicker alone
        job = client.wait(job, seconds=600, every=0.1)
        assert job.rows == rows
        found = client.download(job, tmp_path / "found.csv").read_bytes()
        client.cancel(job)
        until(lambda: not left(jobs))
        assert server.stop() == 0
    assert found == expected(tiny_light, source, tmp_path / "own.csv")
    assert not asking.failures


def test_cancelling_stops_and_removes_a_job(tiny_light: Path, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.csv", 100_000, words=20)
    jobs = tmp_path / "jobs"
    with (
        running(tiny_light, "--quiet", "--limit", "jobs=2", jobs=jobs) as server,
        Client(server.url) as client,
    ):
        first, second = client.submit(source), client.submit(source)
        with pytest.raises(ServerError, match="2 jobs") as refused:
            client.submit(source)
        assert refused.value.status == 429
        until(lambda: client.job(first.id).state == "running" and client.job(first.id).rows_done)
        assert client.job(second.id).state == "queued"
        assert (runners := children(server.pid))
        assert (jobs / first.id / "input.csv").stat().st_mode & 0o077 == 0
        with pytest.raises(ServerError, match="the job is running") as early:
            client.download(first, tmp_path / "x")
        assert early.value.status == 409
        assert client.cancel(second).state == "cancelled"
        assert client.cancel(first).state == "cancelled"
        for job in (first, second):
            with pytest.raises(ServerError, match="no such job"):
                client.job(job.id)
        until(lambda: not left(jobs))
        assert server.stop() == 0
    assert all(map(gone, runners))
