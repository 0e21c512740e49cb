"""Hostile and clumsy clients: too much, too slow, too deep, not HTTP. Each gets its status, and the server goes on answering."""

from __future__ import annotations

import io
import json
import select
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from emodef.client import Client
from emodef.server.settings import Limits
from tiny_server import Running, gone, in_this_process, memory, running, told, until

LIMITS: dict[str, Any] = {
    "body_bytes": 20_000,
    "texts": 8,
    "text_characters": 500,
    "explain_characters": 100,
    "labels": 3,
    "definitions": 2,
    "definition_characters": 50,
    "queue_texts": 16,
    "requests": 12,
    "body_seconds": 3.0,
    "upload_bytes": 50_000,
}
JSON = "application/json"


@pytest.fixture(scope="module")
def strict(tiny_light: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with narrow limits."""
    options = [word for name, value in LIMITS.items() for word in ("--limit", f"{name}={value}")]
    with running(tiny_light, *options, jobs=tmp_path_factory.mktemp("strict") / "jobs") as server:
        yield server


@pytest.fixture(autouse=True)
def _still_answers(strict: Running) -> Iterator[None]:
    yield
    assert strict.ask("POST", "/v1/predict", {"texts": ["so happy"]})[0] == 200
    assert not strict.events("fault")


def test_it_tells_its_limits(strict: Running) -> None:
    status, _, found = strict.ask("GET", "/v1/limits")
    assert status == 200
    assert (found["texts"], found["upload_bytes"]) == (8, 50_000)
    assert found == {name: LIMITS.get(name, getattr(Limits(), name)) for name in found}
    assert asdict(Client(strict.url).limits()) == found
    assert strict.ask("GET", "/v1/limits?of=texts")[0] == 422


@pytest.mark.parametrize(
    ("path", "content", "status", "code", "field"),
    [
        ("/v1/predict", {"texts": ["a"] * 9}, 413, "too_many_texts", "texts"),
        ("/v1/predict", {"texts": ["a", "b" * 501]}, 413, "text_too_long", "texts[1]"),
        ("/v1/predict", {"texts": ["é" * 20_000]}, 413, "too_large", None),
        ("/v1/explain", {"text": "a" * 101}, 413, "text_too_long", "text[0]"),
        ("/v1/score", {"texts": ["a"], "labels": dict.fromkeys("abcd", "x")}, 413, "too_many_labels", "labels"),
        ("/v1/score", {"texts": ["a"], "labels": {"a": {"definitions": ["x", "y", "z"]}}}, 413, "too_many_labels",
         "labels.a"),
        ("/v1/score", {"texts": ["a"], "labels": {"a": "x" * 51}}, 413, "text_too_long", "labels.a[0]"),
    ],
)  # fmt: skip
def test_too_much(
    strict: Running, path: str, content: Any, status: int, code: str, field: str | None
) -> None:
    found = strict.ask("POST", path, content)
    assert (found[0], found[2]["error"]["code"], found[2]["error"]["field"]) == (status, code, field)
    assert strict.ask("POST", "/v1/predict", {"texts": ["b" * 500] * 8})[0] == 200


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_never_ends(strict: Running, declared: bool) -> None:
    """Refused at its head where that tells its length, else where it grows too long; and never kept."""
    before, refused = memory(strict.pid), len(too_large(strict))
    length = "Content-Length: 99999999999" if declared else "Transfer-Encoding: chunked"
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON}\r\n{length}\r\n\r\n".encode()
    )
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as connection:
        connection.sendall(head)
        sent = 0
        try:
            while sent < 2**26:
                piece = b'"' + b"a" * (2**16 - 1)
                connection.sendall(piece if declared else b"%x\r\n%b\r\n" % (len(piece), piece))
                sent += len(piece)
        except OSError:
            pass
        try:
            answer = connection.recv(2**16)
        except OSError:
            answer = b""
    assert sent < 2**26
    assert not answer or b" 413 " in answer
    assert memory(strict.pid) - before < 2**25
    until(lambda: len(too_large(strict)) > refused)


def too_large(server: Running) -> list[Any]:
    return [one for one in server.events("request") if one["code"] == "too_large"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"texts":' * 2_000,
        b'{"texts": ["\\ud800"]}',
        b'{"texts": ["\xed\xa0\x80"]}',
        b'{"texts": ["a"], "threshold": NaN}',
        b'{"texts": ["a"], "threshold": Infinity}',
        b'{"texts": ["a"], "threshold": 1e999}',
        b'{"texts": ["a"], "threshold": -0.1}',
        b'{"texts": ["a"], "top_k": 1' + b"0" * 5000 + b"}",
        b'{"texts": ["a"], "threshold": 0.' + b"9" * 10_000 + b"}",
        b'{"texts": [null]}',
        b'{"texts": {"0": "a"}}',
        b'{"texts": ["a"], "level": "\\u0000"}',
        b'{"texts": ["a"], "level": "../../etc"}',
        b'{"texts": ["a"], "__class__": "x"}',
        b"null",
        b'"texts"',
        b'{"texts": ["a"]} {"texts": ["b"]}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_bodies_that_are_not_what_they_should_be(strict: Running, body: bytes) -> None:
    status, _, found = strict.ask("POST", "/v1/predict", raw=body, Content_Type=JSON)
    assert status in (400, 422), found
    assert found["error"]["code"] in ("bad_request", "invalid")


@pytest.mark.parametrize(
    "text",
    ["\x00", "\x00happy\x00", "\ud83d\ude42", "‮evil", "a\u0300" * 200, "\U0010ffff", "\r\n" * 100, "￾", " "],
)
def test_texts_that_are_odd_and_yet_texts(strict: Running, text: str) -> None:
    body = json.dumps({"texts": [text]}).encode()
    status, _, found = strict.ask("POST", "/v1/predict", raw=body, Content_Type=JSON)
    assert status == 200
    assert len(found["predictions"]) == 1
    assert strict.ask("POST", "/v1/explain", {"text": "\x00 a"})[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/labels?level=%ff%fe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /assets/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 2**18 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"A" * 2**18,
    ],
    ids=lambda data: repr(data[:30]),
)  # fmt: skip
def test_what_is_no_request(strict: Running, data: bytes) -> None:
    answer = strict.send(data, wait=3)
    assert b"root:" not in answer
    assert b"Traceback" not in answer
    assert not answer or int(answer.split(b" ")[1]) in (200, 400, 403, 404, 408, 422, 431)


def test_a_slow_body_is_given_up(strict: Running) -> None:
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", strict.port), timeout=10) as connection:
        connection.sendall(head.encode())
        for _ in range(90):  # a byte now and then does not prolong it: all hundred would take twenty seconds
            connection.sendall(b" ")
            if select.select([connection], [], [], 0.2)[0]:
                break
        else:
            pytest.fail("waited for a body that came by a byte now and then")
        answer = b""
        while b"too_slow" not in answer and (piece := connection.recv(2**16)):  # head and body may come apart
            answer += piece
    assert b" 408 " in answer
    assert b"too_slow" in answer


def test_a_slow_head_is_given_up(tiny_light: Path, tmp_path: Path) -> None:
    """In this process, so that the patience can be short; also between two requests of a connection."""
    with in_this_process(tiny_light, tmp_path / "jobs", seconds=2.0) as (_, port):
        for before in (b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(before)
                answer = b""
                while before and b'"ok"' not in answer:
                    answer += (piece := connection.recv(2**16))
                    assert piece, "closed before it was asked"
                connection.sendall(b"GET /health HTTP/1.1\r\nHost:")
                assert connection.recv(2**16) == b"", "closed, and not by this socket's own patience"
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\n")
            with pytest.raises(ConnectionError):  # noqa: PT012
                for _ in range(10_000):
                    connection.sendall(b"X: " + b"y" * 1000 + b"\r\n")


def test_more_requests_than_are_answered_at_once(tiny_light: Path, tmp_path: Path) -> None:
    """Past the limit 503 with Retry-After, at once; /health answers all the same."""
    limits = ("--limit", "requests=12", "--limit", "body_seconds=60")
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON}\r\nContent-Length: 100\r\n\r\n"
    )
    with running(tiny_light, *limits, jobs=tmp_path / "jobs") as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
        for connection in held:
            connection.sendall(head.encode())
        until(lambda: b"emodef_requests_active 13.0" in server.ask("GET", "/metrics")[2])  # itself too
        began = time.monotonic()
        status, headers, found = server.ask("GET", "/v1/labels")
        assert time.monotonic() - began < 30, "did not wait until the others were given up"
        assert (status, found["error"]["code"]) == (503, "busy")
        assert int(headers["retry-after"]) >= 1
        assert server.ask("GET", "/health")[0] == 200
        for connection in held:
            connection.close()
        until(lambda: server.ask("GET", "/v1/labels")[0] == 200)


def test_a_client_that_hangs_up_is_noticed(tiny_light: Path, tmp_path: Path) -> None:
    """It is given up at once, not when its turn has come."""
    turn = threading.Event()
    with in_this_process(tiny_light, tmp_path / "jobs") as (server, port):

        def counted() -> str:
            asked = HTTPConnection("127.0.0.1", port, timeout=10)
            asked.request("GET", "/metrics")
            page = asked.getresponse().read().decode()
            asked.close()
            return page

        server.config.app.state.emodef.slow._executor.submit(turn.wait, 60)  # the thread is taken
        try:
            connection = HTTPConnection("127.0.0.1", port)
            body = json.dumps({"text": "so happy"}).encode()
            connection.request("POST", "/v1/explain", body, {"Content-Type": JSON})
            until(lambda: "emodef_requests_active 2.0" in counted())  # itself too
            connection.close()
            until(lambda: 'path="/v1/explain",status="499"} 1.0' in counted())
        finally:
            turn.set()


def test_no_answer_in_time(tiny_light: Path, tmp_path: Path) -> None:
    """What takes too long is given up, and does not keep others waiting."""
    with running(tiny_light, "--limit", "seconds=0.01", jobs=tmp_path / "jobs") as server:
        status, headers, found = server.ask("POST", "/v1/explain", {"text": "so happy " * 500})
        assert (status, found["error"]["code"]) == (503, "timed_out")
        assert int(headers["retry-after"]) >= 1
        until(lambda: server.ask("POST", "/v1/predict", {"texts": ["so happy"]})[0] == 200)


def form(name: str, content: bytes, *fields: tuple[str, str]) -> tuple[bytes, str]:
    parts = [f'--b\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields]
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    return b"".join(parts) + head + content + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


def test_uploads_that_are_too_large_or_no_forms(strict: Running) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", "text\n" + "a" * 2**22)
    large, kind = form("x.csv", b"text\n" + b"happy\n" * 30_000)
    no_csv, _ = form("x.csv", bomb.getvalue())
    zipped, _ = form("x.zip", bomb.getvalue())
    many, _ = form("x.csv", b"text\nhappy\n", *((f"f{i}", "x") for i in range(40)))
    long_field, _ = form("x.csv", b"text\nhappy\n", ("column", "x" * 40_000))
    for body, content_type, expected in (
        (large, kind, (413, "too_large")),
        (zipped, kind, (415, "unsupported_type")),
        (no_csv, kind, (422, "invalid")),
        (many, kind, (400, "bad_request")),
        (long_field, kind, (422, "invalid")),
        (b"--b\r\nnonsense", kind, (422, "invalid")),
        (b"x", "multipart/form-data", (400, "bad_request")),
        (b"{}", JSON, (415, "unsupported_type")),
        (form("x.csv", b"text\nhappy\n")[0].replace(b'"file"', b'"flie"'), kind, (422, "invalid")),
    ):
        status, _, found = strict.ask("POST", "/v1/jobs", raw=body, Content_Type=content_type)
        assert (status, found["error"]["code"]) == expected, found
    jobs = Path(strict.process.args[strict.process.args.index("--jobs-folder") + 1])  # type: ignore[index,union-attr]
    assert {path.name for path in jobs.iterdir()} == {"slots", "emodef-jobs"}


def test_a_stream_s_lines_are_bounded_and_its_silence_too(strict: Running) -> None:
    lines = [b'"happy"', b'"' + b"a" * 501 + b'"', b'"' + b"a" * 50_000 + b'"', b'"angry"']
    kind = "application/x-ndjson"
    status, _, found = strict.ask("POST", "/v1/predict/stream", raw=b"\n".join(lines), Content_Type=kind)
    told_lines = [json.loads(line) for line in found.splitlines()]
    assert status == 200
    assert [one.get("error", {}).get("code") for one in told_lines] == [
        None,
        "text_too_long",
        "text_too_long",
        None,
    ]
    connection = HTTPConnection("127.0.0.1", strict.port, timeout=10)
    connection.putrequest("POST", "/v1/predict/stream")
    connection.putheader("Content-Type", kind)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    connection.send(b'8\r\n"happy"\n\r\n')
    status, _, found = told(connection.getresponse())  # and nothing more is sent
    assert status == 200
    assert [("error" in json.loads(line)) for line in found.splitlines()] == [False, True]
    assert json.loads(found.splitlines()[1])["error"]["code"] == "too_slow"
    connection.close()


def test_a_stream_s_blank_lines_are_answered_but_at_its_end(strict: Running) -> None:
    happy, blank, long = b'"happy"', b" \r", b'"' + b"a" * 50_000 + b'"'
    lines = [b"", happy, *[blank] * 130, happy, b"", long, b"", long, blank, happy, b"", b" ", b""]
    for sent, answered in ((lines, 139), (lines[:-3], 139), (lines[:-5], 137), ([b"", b" "], 0)):
        body, kind = b"\n".join(sent), "application/x-ndjson"
        found = strict.ask("POST", "/v1/predict/stream", raw=body, Content_Type=kind)[2].splitlines()
        told_lines = [json.loads(line) for line in found]
        assert len(told_lines) == answered
        for number, (line, its) in enumerate(zip(sent, told_lines, strict=False), start=1):
            assert ("error" in its) == (line != happy)
            assert line == happy or its["error"]["field"] == f"line {number}"
            assert line.strip() or its["error"]["message"].endswith("it is blank")


def test_shutting_down_finishes_what_is_being_answered(tiny_light: Path, tmp_path: Path) -> None:
    """SIGTERM while requests are under way: each that was begun is answered whole, no other is taken, and the exit is clean."""
    body = json.dumps({"texts": ["so happy"] * 50}).encode()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
    with running(tiny_light, jobs=tmp_path / "jobs") as server:
        begun = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(4)]
        for connection in begun:
            connection.sendall(head.encode() + body[:9])
        until(lambda: b"emodef_requests_active 5.0" in server.ask("GET", "/metrics")[2])
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not server.answers("/health"))
        for connection in begun:
            connection.sendall(body[9:])
        for connection in begun:
            answer = b"".join(iter(lambda its=connection: its.recv(2**16), b""))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"]) == 50
            connection.close()
        assert server.wait() == 0
        assert gone(server.pid)
