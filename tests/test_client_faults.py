"""The client and servers that break: answers cut off, answers of somebody else, streams that end before their time."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from email.utils import formatdate
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import SimpleNamespace
from typing import Any

import pytest

from emodef.client import Client, Prediction, ServerError
from emodef.client.answers import LONGEST_WAIT, pause
from emodef.client.sending import Sender, form

PATIENCE = 60.0  # seconds; much more than anything here takes
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWER = json.dumps({"labels": [{"name": "joy", "probability": 0.5}], "tokens": 1, "windows": 1}).encode()
STOPPING = b'{"error": {"code": "stopping", "message": "the server is shutting down", "field": null}}'
REFUSED = b'{"error": {"code": "text_too_long", "message": "cut it into parts", "field": "line 2"}}'
END = b"0\r\n\r\n"


def chunk(*lines: bytes) -> bytes:
    content = b"".join(line + b"\n" for line in lines)
    return b"%x\r\n%b\r\n" % (len(content), content)


def whole(body: bytes, status: bytes = b"200 OK", *headers: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % size, *headers, b"", body]
    return b"\r\n".join(lines)


class Connection(StreamRequestHandler):
    """What a server's side of a connection reads of a client."""

    def head(self) -> dict[bytes, bytes]:
        """Headers of a request; none where the client hung up."""
        lines = list(iter(self.rfile.readline, b"\r\n")) if self.rfile.peek(1) else []  # type: ignore[attr-defined]
        return {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}

    def line(self) -> bytes:
        """The next text of a stream; empty at its end."""
        content = self.rfile.read(int(self.rfile.readline() or b"0", 16))
        self.rfile.readline()
        return content

    def read_request(self) -> bool:
        """Whether one came; it is read to its end."""
        head = self.head()
        if b"transfer-encoding" in head:
            while self.line():
                pass
        self.rfile.read(int(head.get(b"content-length", 0)))
        return bool(head)


@contextmanager
def server(serve: Callable[[Connection], None]) -> Iterator[SimpleNamespace]:
    """Calls `serve` with each connection. url: its address. connections: how many there were."""

    class Handler(Connection):
        def handle(self) -> None:
            found.connections += 1
            serve(self)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as made:
        made.daemon_threads = True
        found = SimpleNamespace(url=f"http://127.0.0.1:{made.server_address[1]}", connections=0)
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield found
        finally:
            made.shutdown()


@contextmanager
def answering(*answers: bytes) -> Iterator[SimpleNamespace]:
    """A server that gives these answers, one a request; a connection closes after an answer that is cut off."""
    left = list(answers)

    def serve(connection: Connection) -> None:
        while left and connection.read_request():
            answer = left.pop(0)
            connection.wfile.write(answer)
            if answer.endswith(CUT):
                return

    with server(serve) as made:
        yield made


CUT = b'{"predictions": [{"labels'
BROKEN = {
    "cut off": whole(CUT, length=1000),
    "cut off in a chunk": HEAD + b"64\r\n" + CUT,
    "cut off refusal": whole(CUT, b"422 Unprocessable Entity", length=1000),
}
STRANGE = {
    "a proxy's page": whole(b"<html>Welcome</html>", b"200 OK", b"Content-Type: text/html"),
    "a proxy's fault": whole(b"<html>Bad gateway</html>", b"502 Bad Gateway"),
    "a way to elsewhere": whole(b"", b"302 Found", b"Location: /login"),
    "no JSON object": whole(b"[1]"),
    "none of its keys": whole(b"{}"),
    "an error of another shape": whole(b'{"error": "no"}', b"400 Bad Request"),
}


def gathered(stream: Iterator[Any]) -> tuple[list[Any], ServerError | None]:
    """What a stream yields, and how it ends."""
    found = []
    try:
        for one in stream:
            found.append(one)
    except ServerError as error:
        return found, error
    return found, None


@pytest.mark.parametrize(
    "rest",
    [b"", b"40\r\n", b'40\r\n{"labels": [', END, b"no number\r\n"],
    ids=["between chunks", "before a chunk", "in a line", "with an end", "not HTTP"],
)
def test_a_stream_that_ends_too_early_says_so(rest: bytes) -> None:
    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.wfile.write(HEAD + chunk(*[ANSWER] * 64) + rest)

    with server(serve) as broken:
        found, error = gathered(Client(broken.url).stream("so happy" for _ in range(1000)))
    assert len(found) == 64
    assert all(isinstance(one, Prediction) for one in found)
    assert "the stream broke off after 64 answers" in str(error)


def test_a_stream_s_last_answers_are_taken_without_its_end() -> None:
    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.wfile.write(HEAD + chunk(*[ANSWER] * 3))

    with server(serve) as broken:
        found, error = gathered(Client(broken.url).stream(["a", "b", "c"]))
    assert (len(found), error) == (3, None)


def test_what_ends_a_stream_is_raised_and_what_ends_a_line_is_not() -> None:
    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.wfile.write(HEAD + chunk(ANSWER, REFUSED) + chunk(STOPPING) + END)

    with server(serve) as stopping:
        found, error = gathered(Client(stopping.url).stream(["a", "b", "c"]))
    assert isinstance(found[0], Prediction)
    assert (found[1].code, found[1].field) == ("text_too_long", "line 2")
    assert len(found) == 2
    assert error is not None
    assert (error.code, error.field) == ("stopping", None)


def test_a_stream_that_somebody_else_answers() -> None:
    for answer in STRANGE.values():
        with answering(answer) as strange:
            found, error = gathered(Client(strange.url).stream(["a"]))
        assert found == []
        assert error is not None


def test_texts_that_are_still_waited_for_do_not_hold_up_a_broken_stream() -> None:
    over = threading.Event()

    def texts() -> Iterator[str]:
        yield "a"
        assert over.wait(PATIENCE)

    def serve(connection: Connection) -> None:
        connection.head()
        connection.line()
        connection.wfile.write(HEAD + chunk(ANSWER))

    with server(serve) as broken:
        found, error = gathered(Client(broken.url).stream(texts()))
        assert not over.is_set()
        over.set()
    assert len(found) == 1
    assert "1 texts had been sent" in str(error)


def test_texts_that_fail_end_the_stream() -> None:
    """At once: the server, which waits for more, is not waited for."""
    gone = threading.Event()

    def texts() -> Iterator[str]:
        yield "a"
        raise FileNotFoundError("the second text is not there")

    def serve(connection: Connection) -> None:
        connection.head()
        connection.line()
        connection.wfile.write(HEAD + chunk(ANSWER))
        with suppress(OSError):  # as the client has not read the answer
            connection.rfile.read()
        gone.set()

    with server(serve) as waiting:
        _, error = gathered(Client(waiting.url, timeout=PATIENCE).stream(texts()))
        assert gone.wait(PATIENCE)
    assert error is not None
    assert "the second text is not there" in str(error)
    assert isinstance(error.__cause__, FileNotFoundError)


def test_a_stream_that_nobody_reads_on_sends_no_more() -> None:
    """Above all not to a new connection."""
    left = threading.Event()

    def texts() -> Iterator[str]:
        yield "a"
        assert left.wait(PATIENCE)
        while True:
            yield "b"

    def serve(connection: Connection) -> None:
        if connection.head():
            connection.line()
            connection.wfile.write(HEAD + chunk(ANSWER))
            connection.rfile.read()

    before = threading.enumerate()
    with server(serve) as found:
        stream = Client(found.url).stream(texts())
        assert isinstance(next(stream), Prediction)
        (sender,) = (one for one in threading.enumerate() if isinstance(one, Sender) and one not in before)
        stream.close()  # type: ignore[attr-defined]
        left.set()
        sender.join(PATIENCE)
        assert not sender.is_alive()
        assert found.connections == 1


def test_a_stream_goes_on_where_the_server_will_close_behind_it() -> None:
    answered = threading.Event()

    def texts() -> Iterator[str]:
        yield "a"
        assert answered.wait(PATIENCE)
        yield "b"

    def serve(connection: Connection) -> None:
        connection.head()
        connection.wfile.write(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        while connection.line():
            connection.wfile.write(chunk(ANSWER))
        connection.wfile.write(END)

    with server(serve) as closing:
        stream = Client(closing.url, timeout=PATIENCE).stream(texts())
        assert isinstance(next(stream), Prediction)
        answered.set()
        assert len(list(stream)) == 1
        assert closing.connections == 1


@pytest.mark.parametrize("answer", [*BROKEN.values(), *STRANGE.values()], ids=[*BROKEN, *STRANGE])
def test_an_answer_that_is_none_raises_and_the_client_goes_on(answer: bytes, tmp_path: Path) -> None:
    with answering(answer, whole(b'{"predictions": []}'), answer) as broken:
        client = Client(broken.url, retries=0)
        with pytest.raises(ServerError) as raised:
            client.predict(["a"])
        assert raised.value.status == int(answer[9:12])
        assert client.predict([]) == []
        (tmp_path / "a.txt").write_text("so happy")
        with pytest.raises(ServerError):
            client.submit(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.labels(),
        lambda client: client.score(["a"], {"awe": "wonder"}),
        lambda client: client.explain("a"),
        lambda client: client.job("a"),
        lambda client: client.wait("a"),
        lambda client: client.summary("a"),
        lambda client: client.cancel("a"),
    ],
    ids=["labels", "score", "explain", "job", "wait", "summary", "cancel"],
)
def test_every_method_raises_its_error(call: Callable[[Client], Any]) -> None:
    for body in (b"<html>", b"[]", b"null"):
        with answering(whole(body)) as strange, pytest.raises(ServerError, match="no `emodef serve`"):
            call(Client(strange.url))


def test_an_answer_that_stops_coming() -> None:
    over = threading.Event()

    def serve(connection: Connection) -> None:
        connection.read_request()
        connection.wfile.write(whole(CUT, length=1000))
        over.wait(PATIENCE)

    with server(serve) as stuck:
        with pytest.raises(ServerError, match="timed out") as raised:
            Client(stuck.url, timeout=0.5, retries=0).predict(["a"])
        over.set()
    assert isinstance(raised.value.__cause__, TimeoutError)


def test_a_result_that_cannot_be_written_is_not_in_the_way_of_the_next_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with answering(whole(b"rows"), whole(b'{"predictions": []}')) as good:
        client = Client(good.url, retries=0)
        with pytest.raises(OSError, match="file"):
            client.download("a", tmp_path / "file" / "out.csv")
        assert client.predict([]) == []


def test_a_file_s_name_may_be_no_utf8(tmp_path: Path) -> None:
    head, _ = form(os.fsdecode(b"caf\xe9.txt"), {}, "b")
    assert b'filename="caf?.txt"' in head


def test_a_file_that_is_not_there_is_no_fault_of_the_server(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Client().submit(tmp_path / "none.txt")


@pytest.mark.parametrize("cut", [False, True])
def test_a_date_to_come_again_at(cut: bool) -> None:
    past = b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"
    busy = whole(CUT if cut else b"busy", b"503 Service Unavailable", past, length=1000 if cut else 4)
    with answering(busy, busy, whole(b'{"predictions": []}')) as again:
        assert Client(again.url).predict([]) == []
    with answering(busy) as again, pytest.raises(ServerError) as refused:
        Client(again.url, retries=0).predict([])
    assert refused.value.status == 503


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("9" * 400, LONGEST_WAIT),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        *(
            (nonsense, 1.0)
            for nonsense in ("", "soon", "-1", "nan", "inf", "1.5.2", "Wed, 99 Foo 2015", "²", "0, 0")
        ),
        (None, 1.0),
    ],
)
def test_when_to_come_again(said: str | None, seconds: float) -> None:
    assert pause(told(said)) == seconds


def test_a_date_soon() -> None:
    date = formatdate(time.time() + LONGEST_WAIT / 2, usegmt=True)
    assert LONGEST_WAIT / 2 - 5 < pause(told(date)) <= LONGEST_WAIT / 2


def told(retry_after: str | None) -> Any:
    """An answer with this header."""
    headers = Message()
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return SimpleNamespace(headers=headers)
