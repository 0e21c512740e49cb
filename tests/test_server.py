"""What a running server answers: the same as Predictor in every option, in one shape of error, with the headers all have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands import emodef_command
from emodef import Predictor, __version__
from emodef.server.faults import CODES
from tiny_server import KEY, Running, running, until

TEXTS = [
    "I am so happy and glad",
    "Why is it so? I wonder",
    "angry, furious!",
    "",
    "the chairs",
    "happy " * 60,
]


def labels_of(found: dict[str, Any]) -> dict[str, float]:
    return {one["name"]: one["probability"] for one in found["labels"]}


def test_the_model_s_labels(server: Running, predictor: Predictor) -> None:
    status, _, found = server.ask("GET", "/v1/labels")
    assert status == 200
    assert found["name"] == "tiny"
    assert [one["name"] for one in found["labels"]] == list(predictor.label_set.names)
    assert [one["definition"] for one in found["labels"]] == list(predictor.label_set.definitions)
    assert [one["threshold"] for one in found["labels"]] == pytest.approx([0.3, 0.32, 0.34, 0.36, 0.38])
    assert (found["levels"], found["policies"]) == (["sentiment"], ["tuned", "fixed"])
    coarse = server.ask("GET", "/v1/labels?level=sentiment")[2]
    assert [one["name"] for one in coarse["labels"]] == ["positive", "negative", "ambiguous", "neutral"]
    status, _, error = server.ask("GET", "/v1/labels?level=mood")
    assert (status, error["error"]["field"]) == (422, "level")
    assert "sentiment" in error["error"]["message"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": "fixed"},
        {"threshold": 0.05},
        {"level": "sentiment"},
        {"calibrated": True},
        {"threshold": 0.99, "at_least_one": True},
        {"level": "sentiment", "threshold": 0.1, "calibrated": True},
    ],
    ids=str,
)
def test_predictions_are_the_predictor_s(
    server: Running, predictor: Predictor, options: dict[str, Any]
) -> None:
    status, _, found = server.ask("POST", "/v1/predict", {"texts": TEXTS, "all_scores": True, **options})
    assert status == 200
    assert found["model"] == {"name": "tiny", "version": __version__}
    expected = predictor.predict(TEXTS, **options)
    for one, its in zip(found["predictions"], expected, strict=True):
        assert list(labels_of(one)) == [name for name, _ in its.labels]
        assert list(one["scores"]) == list(its.scores)
        assert list(one["scores"].values()) == pytest.approx(list(its.scores.values()), abs=1e-6)
        assert (one["tokens"], one["windows"]) == (its.tokens, its.windows)
    assert found["predictions"][-1]["windows"] > 1


def test_top_k_and_scores_left_out(server: Running, predictor: Predictor) -> None:
    found = server.ask("POST", "/v1/predict", {"texts": TEXTS, "top_k": 2})[2]["predictions"]
    for one, its in zip(found, predictor.predict(TEXTS), strict=True):
        assert list(labels_of(one)) == list(its.scores)[:2]
        assert "scores" not in one
    assert server.ask("POST", "/v1/predict", {"texts": []})[2]["predictions"] == []


def test_explanations_are_the_predictor_s(server: Running, predictor: Predictor) -> None:
    text = "I am happy 🙂, so why worried?"
    status, _, found = server.ask("POST", "/v1/explain", {"text": text, "labels": ["joy", "fear"]})
    expected = predictor.explain(text, labels=["joy", "fear"])
    assert status == 200
    assert [text[word["start"] : word["end"]] for word in found["words"]] == [w.text for w in expected.words]
    for name, _ in expected.labels:
        assert found["shifts"][name] == pytest.approx(
            [w.contributions[name] for w in expected.words], abs=1e-6
        )
    assert found["labels"][0]["definition"] in predictor.label_set.definitions
    own = server.ask("POST", "/v1/explain", {"text": text, "own": {"delight": "Being happy"}})[2]
    assert [one["name"] for one in own["labels"]] == ["delight"]
    own = server.ask("POST", "/v1/explain", {"text": text, "own": {"delight": "x"}, "known": ["joy"]})[2]
    assert {one["name"] for one in own["labels"]} <= {"delight", "joy"}
    for known in (True, ["joy"]):
        status, _, error = server.ask("POST", "/v1/explain", {"text": text, "known": known})
        assert (status, error["error"]["field"]) == (422, "known")
    status, _, error = server.ask("POST", "/v1/explain", {"text": text, "labels": ["envy"]})
    assert (status, error["error"]["field"]) == (422, "labels")


def test_a_stream_s_lines_come_back_in_order(server: Running, predictor: Predictor) -> None:
    texts = [f"{TEXTS[i % 3]} {i}" for i in range(200)]
    lines = [json.dumps(text if i % 2 else {"text": text, "id": i}) for i, text in enumerate(texts)]
    lines[7:7] = ["no json", '{"id": 1}', "", '"\\ud800"']
    status, headers, found = server.ask(
        "POST",
        "/v1/predict/stream?level=sentiment&all_scores=true",
        raw="\n".join(lines).encode(),
        Content_Type="application/x-ndjson",
    )
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    told = [json.loads(line) for line in found.splitlines()]
    assert [one["error"]["field"] for one in told[7:11]] == ["line 8", "line 9", "line 10", "line 11"]
    codes = ["bad_request", "invalid", "bad_request", "bad_request"]
    assert [one["error"]["code"] for one in told[7:11]] == codes
    del told[7:11]
    expected = predictor.predict(texts, level="sentiment")
    for one, its in zip(told, expected, strict=True):
        assert one["scores"] == pytest.approx(its.scores, abs=1e-6)


def test_options_that_do_not_exist_are_refused(server: Running) -> None:
    kind = "application/x-ndjson"
    for method, address, name in (
        ("POST", "/v1/predict/stream?treshold=0.9&top_k=2", "treshold"),
        ("GET", "/v1/labels?levle=ekman", "levle"),
    ):
        status, _, found = server.ask(method, address, raw=b'"happy"\n', Content_Type=kind)
        assert (status, found["error"]["code"], found["error"]["field"]) == (422, "invalid", name)
        assert "level" in found["error"]["message"]


def test_of_many_faults_one_is_told(server: Running) -> None:
    """Telling half a million would keep everyone waiting."""
    status, _, found = server.ask("POST", "/v1/predict", {"texts": [1] * 300_000})
    assert (status, found["error"]["field"]) == (422, "texts[0]")
    labels = {f"label {number}": number for number in range(2000)}
    status, _, found = server.ask("POST", "/v1/score", {"texts": ["a"], "labels": labels})
    assert (status, found["error"]["code"]) == (422, "invalid")
    assert "do not fit" in found["error"]["message"]


def test_errors_have_one_shape(server: Running) -> None:
    json_kind = "application/json"
    for expected, code, (status, headers, found) in (
        (404, "not_found", server.ask("GET", "/v1/nothing")),
        (405, "method_not_allowed", server.ask("GET", "/v1/predict")),
        (415, "unsupported_type", server.ask("POST", "/v1/predict", raw=b"{}", Content_Type="text/plain")),
        (415, "unsupported_type", server.ask("POST", "/v1/predict", raw=b"{}")),
        (415, "unsupported_type", server.ask("POST", "/v1/predict", {}, Content_Encoding="gzip")),
        (400, "bad_request", server.ask("POST", "/v1/predict", raw=b"{", Content_Type=json_kind)),
        (422, "invalid", server.ask("POST", "/v1/predict", {"texts": "one"})),
        (422, "invalid", server.ask("POST", "/v1/predict", {"texts": [], "thresold": 1})),
        (422, "invalid", server.ask("POST", "/v1/predict", {"texts": [], "threshold": "0.5"})),
        (422, "invalid", server.ask("POST", "/v1/predict", {"texts": [], "threshold": 1})),
        (422, "invalid", server.ask("POST", "/v1/predict", {"texts": [], "top_k": True})),
        (422, "invalid", server.ask("POST", "/v1/predict", {"texts": [], "level": "mood"})),
    ):
        assert (status, found["error"]["code"]) == (expected, code)
        assert headers["content-type"] == json_kind
        assert set(found["error"]) == {"code", "message", "field"}
        assert found["error"]["message"]
        assert CODES[code][0] == expected
    assert server.ask("POST", "/v1/predict", {"texts": ["a", 3]})[2]["error"]["field"] == "texts[1]"
    for method, path, allowed in (
        ("GET", "/v1/predict", "POST"),
        ("PUT", f"/v1/jobs/{'0' * 32}", "DELETE, GET"),
        ("POST", "/health", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ):
        status, headers, _ = server.ask(method, path)
        assert (status, headers["allow"]) == (405, allowed)
    for path in ("/health", "/ready", "/"):
        status, headers, body = server.ask("HEAD", path)
        assert (status, body) == (200, b"")
        assert headers["content-length"] != "0"


def test_every_answer_has_the_headers_of_all(server: Running) -> None:
    for path in ("/health", "/v1/labels", "/v1/nothing", "/metrics", "/openapi.json", "/"):
        headers = server.ask("GET", path)[1]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert len(headers["x-request-id"]) == 16
        assert "server" not in headers
    assert server.ask("GET", "/health", X_Request_ID="mine-1")[1]["x-request-id"] == "mine-1"
    assert server.ask("GET", "/health", X_Request_ID="a b")[1]["x-request-id"] != "a b"


_PASSES = "emodef_pass_seconds_count"  # the last of a pass's counts


def test_health_ready_and_counts(server: Running) -> None:
    assert server.ask("GET", "/health")[2] == {"status": "ok"}
    assert server.ask("GET", "/ready")[2] == {"status": "ok"}
    before = settled(server)
    server.ask("POST", "/v1/predict", {"texts": ["a", "b", "c"]})
    server.ask("POST", "/v1/predict", {"texts": 3})
    # a pass is counted behind its answers
    until(lambda: counts(server).get(_PASSES, 0) > before.get(_PASSES, 0))
    after = counts(server)
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["emodef_texts_total"] == 3
    assert grown["emodef_pass_texts_count"] == 1
    assert grown['emodef_requests_total{method="POST",path="/v1/predict",status="200"}'] == 1
    assert grown['emodef_requests_total{method="POST",path="/v1/predict",status="422"}'] == 1
    assert grown['emodef_errors_total{code="invalid"}'] == 1
    assert after['emodef_jobs{state="queued"}'] == 0


def settled(server: Running) -> dict[str, float]:
    """The counts when those of earlier requests have come."""
    last = counts(server)
    while (now := counts(server)).get(_PASSES) != last.get(_PASSES):
        last = now
    return now


def counts(server: Running) -> dict[str, float]:
    page = server.ask("GET", "/metrics")[2].decode()
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def say_secrets(server: Running, secret: str, **key: str) -> None:
    """Requests with `secret` wherever a text or a name may stand."""
    path = f"/v1/predict?q={secret.replace(' ', '+')}"
    assert server.ask("POST", path, {"texts": [secret] * 2}, X_Request_ID="one", **key)[0] == 200
    server.ask("POST", "/v1/score", {"texts": [secret], "labels": {secret: secret}}, **key)
    server.ask("POST", "/v1/predict", {"texts": [secret, {secret: secret}]}, **key)
    server.ask("GET", f"/v1/{secret.replace(' ', '+')}", **key)


def test_logs_say_what_happened_and_no_text(server: Running) -> None:
    secret = "secretly happy"

    def not_found() -> int:
        return sum(one["status"] == 404 for one in server.events("request"))

    before = not_found()
    say_secrets(server, secret)
    request = until(lambda: [one for one in server.events("request") if one["id"] == "one"])[0]
    assert (request["method"], request["path"], request["status"]) == ("POST", "/v1/predict", 200)
    assert (request["texts"], request["characters"]) == (2, 2 * len(secret))
    assert request["seconds"] > 0
    until(lambda: not_found() > before)  # the last of them
    assert "secret" not in "\n".join(server.lines)


def test_keys_hosts_origins(tiny_light: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"# ours\nanother-key-of-many-characters\n{KEY}\n")
    options = (
        "--log-texts",
        "--api-keys",
        str(keys),
        "--origin",
        "https://good.example/",
        "--allowed-host",
        "emotions.example",
    )
    texts = {"texts": ["happy"]}
    with running(
        tiny_light, *options, jobs=tmp_path / "jobs", EMODEF_API_KEYS="from-the-environment-1"
    ) as server:
        for path in ("/health", "/ready", "/openapi.json"):
            assert server.ask("GET", path)[0] == 200
        for path in ("/v1/labels", "/metrics", "/v1/jobs/" + "0" * 32, "/v1/nothing"):
            status, headers, found = server.ask("GET", path)
            assert (status, found["error"]["code"]) == (401, "unauthorized")
            assert headers["www-authenticate"] == "Bearer"
        for given in ({"Authorization": f"Bearer {KEY}x"}, {"X_API_Key": KEY[:-1]}, {"Authorization": f"Basic {KEY}"},
                      {"X_API_Key": "é" * 20}):  # fmt: skip
            assert server.ask("POST", "/v1/predict", texts, **given)[0] == 401
        for given in (
            {"Authorization": f"Bearer {KEY}"},
            {"X_API_Key": KEY},
            {"X_API_Key": "from-the-environment-1"},
        ):
            assert server.ask("POST", "/v1/predict", texts, **given)[0] == 200

        with_key = {"X_API_Key": KEY}
        own = f"127.0.0.1:{server.port}"
        for host, expected in (
            (own, 200),
            ("emotions.example", 200),
            ("evil.example", 403),
            ("127.0.0.1.evil.example", 403),
        ):
            assert server.ask("GET", "/v1/labels", Host=host, **with_key)[0] == expected
        for origin, expected in (
            (f"http://{own}", 200),
            ("https://good.example", 200),
            ("https://emotions.example", 200),  # a proxy may name itself as the host
            ("http://emotions.example", 403),
            ("https://evil.example", 403),
            ("null", 403),
        ):
            status, headers, _ = server.ask("POST", "/v1/predict", texts, Origin=origin, **with_key)
            assert status == expected
            assert (headers.get("access-control-allow-origin") == origin) is (
                origin == "https://good.example"
            )
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
        assert server.ask("OPTIONS", "/v1/predict", Origin="https://good.example", **asked)[0] == 200
        assert server.ask("OPTIONS", "/v1/predict", Origin="https://evil.example", **asked)[0] == 400
        say_secrets(server, "secretly happy", **with_key)
        assert server.stop() == 0
        logged = next(one for one in server.events("request") if one["id"] == "one")
        assert logged["content"] == ["secretly happy"] * 2  # as was asked for
        assert logged["client_key"]
        assert KEY not in "\n".join(server.lines)
        refused = next(one for one in server.events("request") if one["status"] == 401)
        assert refused["path"] == "/v1/labels"  # which reached no route


def test_no_key_where_one_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a secret did not arrive: the server would be open."""
    for given in ("", " , "):
        monkeypatch.setenv("EMODEF_API_KEYS", given)
        assert "holds no key" in emodef_command("serve", "--port", "0", code=2).stderr


def test_neighbours_change_no_score(tmp_path: Path) -> None:
    """The shipped model, whose scores could depend on the batch they are computed in: alone, and beside others."""
    from concurrent.futures import ThreadPoolExecutor

    texts = [
        f"{opening} {rest}"
        for opening in ("Thank you", "What a joke", "I wonder", "No")
        for rest in ("!", "so much", "x " * 30)
    ]
    with running(None, jobs=tmp_path / "jobs") as server:

        def scores(text: str) -> dict[str, float]:
            return server.ask("POST", "/v1/predict", {"texts": [text], "all_scores": True})[2]["predictions"][
                0
            ]["scores"]

        alone = [scores(text) for text in texts]
        with ThreadPoolExecutor(12) as pool:
            beside = list(pool.map(scores, texts * 3))
        assert (
            counts(server)["emodef_pass_texts_sum"] > counts(server)["emodef_pass_texts_count"]
        )  # some shared a pass
    for text, found in zip(texts * 3, beside, strict=True):
        expected = alone[texts.index(text)]
        assert max(abs(found[name] - expected[name]) for name in expected) < 3e-6  # they have six digits
