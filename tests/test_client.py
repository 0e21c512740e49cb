"""The client against a running server: types, errors, retries; and the examples of docs/server.md, run as they stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from emodef import Predictor
from emodef.client import Client, Prediction, ServerError
from emodef.errors import SettingsError
from tiny_server import Running, running, until

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def test_answers_have_types(client: Client, tiny_light: Path) -> None:
    predictor = Predictor.load(tiny_light, threads=1)
    assert [label.name for label in client.labels()] == list(predictor.label_set.names)
    assert [label.name for label in client.labels("sentiment")] == [
        "positive",
        "negative",
        "ambiguous",
        "neutral",
    ]
    one, two = client.predict(["so happy", "angry, afraid"], all_scores=True, threshold=0.1)
    assert one.labels[0] == ("joy", pytest.approx(predictor.predict("so happy").scores["joy"], abs=1e-6))
    assert {label.name for label in two.labels} == {"anger", "fear"}
    assert set(one.scores) == set(predictor.label_set.names)
    assert client.predict(["x"], top_k=3)[0].labels[2].probability > 0
    scored = client.score(["so happy"], {"delight": "happy"}, known=True)[0]
    assert set(scored.scores) == {"delight", *predictor.label_set.names}
    explained = client.explain("so happy", labels=["joy"])
    assert max(explained.words, key=lambda word: word.shifts["joy"]).text == "happy"


def test_a_stream_longer_than_every_buffer(client: Client) -> None:
    """Answers are read while texts are sent; a text that is refused does not end it."""
    texts = (("so happy " * 50 if i % 100 else "x" * 60_000) for i in range(3_000))
    found = list(client.stream(texts))
    assert len(found) == 3_000
    refused = [i for i, one in enumerate(found) if isinstance(one, ServerError)]
    assert refused == list(range(0, 3_000, 100))
    assert all(
        isinstance(one, Prediction) and one.labels[0].name == "joy" for i, one in enumerate(found) if i % 100
    )


def test_errors_say_what_the_server_said(client: Client, server: Running) -> None:
    with pytest.raises(ServerError, match=r"texts\[1\]: Input should be a valid string") as wrong:
        client.predict(["a", 3])  # type: ignore[list-item]
    assert (wrong.value.status, wrong.value.code, wrong.value.field) == (422, "invalid", "texts[1]")
    with pytest.raises(ServerError, match="mood"):
        list(client.stream(["a"], level="mood"))
    with pytest.raises(ServerError, match="no answer came"):
        Client("http://127.0.0.1:9", retries=0, timeout=2).labels()
    for labels in ("mine.toml", None, ["awe"]):
        with pytest.raises(SettingsError, match=r"a mapping of names to definitions.*tomllib"):
            client.score(["x"], labels)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"not 'mine.toml'"):
        client.explain("x", own="mine.toml")  # type: ignore[arg-type]
    for address in ("127.0.0.1:8000", "ftp://x", "", "http://x:80800", "http://x:abc", "http://[::1"):
        with pytest.raises(SettingsError, match="address"):
            Client(address)
    for key in ("a\u2013b", "a\nb", " "):
        with pytest.raises(SettingsError, match="API key") as wrong_key:
            Client(server.url, key=key)
        assert key.strip() not in str(wrong_key.value) or not key.strip()
    assert Client(server.url, key="as it stands in a file\n").labels()
    assert client.labels()  # and goes on


def test_refused_because_busy_it_comes_again() -> None:
    """A server that says 503 twice, closes the connection once, and then answers."""
    asked: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(1)
            if len(asked) == 2:
                self.close_connection = True
                return
            busy = len(asked) < 4
            body = json.dumps(
                {"error": {"code": "busy", "message": "x", "field": None}} if busy else {"predictions": []}
            )
            self.send_response(503 if busy else 200)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as busy:
        threading.Thread(target=busy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{busy.server_address[1]}"
        with Client(address) as client:
            assert client.predict([]) == []
        assert len(asked) == 4
        asked.clear()
        with Client(address, retries=0) as client, pytest.raises(ServerError) as refused:
            client.predict([])
        assert (refused.value.status, refused.value.code) == (503, "busy")
        busy.shutdown()


def test_what_timed_out_is_not_asked_again(tiny_light: Path, tmp_path: Path) -> None:
    """It would cost the server as much again."""
    with (
        running(tiny_light, "--limit", "seconds=0.001", jobs=tmp_path / "jobs") as slow,
        Client(slow.url) as client,
    ):
        with pytest.raises(ServerError, match="no answer within") as refused:
            client.explain("so happy " * 400)
        assert refused.value.code == "timed_out"
        assert (
            len(until(lambda: [one for one in slow.events("request") if one["path"] == "/v1/explain"])) == 1
        )


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(None, jobs=tmp_path_factory.mktemp("shipped") / "jobs") as server:
        yield server


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", blocks("bash"), ids=lambda text: text.split("localhost:8000")[1][:16])
def test_the_page_s_commands(shipped: Running, command: str) -> None:
    given = command.replace("localhost:8000", f"127.0.0.1:{shipped.port}")
    done = subprocess.run(
        ["bash", "-ec", given], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout
    assert "error" not in done.stdout.replace('"error":null', "")


def test_the_page_s_python(shipped: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python")
    code = code.replace("127.0.0.1:8000", f"127.0.0.1:{shipped.port}")
    code = code.replace('"examples/', f'"{ROOT}/examples/')
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(code, "docs/server.md", "exec"), found)
    assert (tmp_path / "labelled.jsonl").read_text().count("\n") == found["job"].rows == 140
    assert [word.text for word in found["words"]] == ["Thank", "you", "so", "much", "!"]
    assert [label.name for label in found["awe"][0].labels] == ["awe"]


def test_the_page_s_own_labels_are_found(shipped: Running) -> None:
    """With the very answer that it shows, but for other processors' rounding."""
    command = next(its for its in blocks("bash") if "homesickness" in its)
    (asked,) = re.findall(r"-d '(.*?)'", command, re.DOTALL)
    (shown,) = (json.loads(its) for its in blocks("json") if "homesickness" in its)
    found = shipped.ask("POST", "/v1/score", json.loads(asked))[2]
    for its, told in zip(found["predictions"], shown["predictions"], strict=True):
        assert [one["name"] for one in its["labels"]] == [one["name"] for one in told["labels"]]
        assert list(its["scores"].values()) == pytest.approx(list(told["scores"].values()), abs=0.005)
        assert its.keys() == told.keys()


def test_the_page_names_every_limit_and_code() -> None:
    from dataclasses import asdict

    from emodef.server.faults import CODES
    from emodef.server.settings import Limits

    for name, value in asdict(Limits()).items():
        shown = {2**20: "1 MiB", 100 * 2**20: "100 MiB"}.get(value, f"{value:,.0f}")
        assert f"`{name}` | {shown} |" in PAGE or f"`{name}` ({shown})" in PAGE, name
    for code, (status, _) in CODES.items():
        assert re.search(rf"^\| .*{status}.* \| .*`{code}`", PAGE, re.MULTILINE), code


def test_one_text_or_name_is_not_taken_letter_by_letter(client: Client) -> None:
    assert client.predict("so happy") == client.predict(["so happy"])
    assert list(client.stream("so happy")) == client.predict(["so happy"])
    own = {"delight": "happy"}
    assert client.score("so happy", own, known="joy") == client.score(["so happy"], own, known=["joy"])
    assert client.explain("so happy", labels="joy") == client.explain("so happy", labels=["joy"])


@pytest.mark.parametrize("chunked", [False, True])
def test_a_result_that_breaks_off_is_no_result(tmp_path: Path, chunked: bool) -> None:
    class Broken(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "1000")))
            self.end_headers()
            self.wfile.write(b"64\r\ntext,predicted\n" if chunked else b"text,predicted\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(ServerError, match=r"the result broke off .* download it again"):
            client.download("a", tmp_path / "result.csv")
        server.shutdown()
    assert list(tmp_path.iterdir()) == []
