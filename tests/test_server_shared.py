"""What one request costs is not what others wait for: emoji that are read as many words, answers that are large."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from emodef.client import Client
from emodef.server import predicting
from tiny_server import in_this_process, running


def test_emoji_count_as_the_words_they_are_read_as(tiny_light: Path, tmp_path: Path) -> None:
    """A character of these is read as sixty: what is short as it is sent would keep the model for a minute."""
    wordy, model = "\U0001f501\U0001f5f3", shutil.copytree(tiny_light, tmp_path / "model")
    about = json.loads((model / "model.json").read_text())
    about["encoding"]["emoji"] = "words"
    (model / "model.json").write_text(json.dumps(about))
    kind, line = {"Content_Type": "application/x-ndjson"}, json.dumps(wordy * 1000).encode()
    with running(model, jobs=tmp_path / "jobs") as server:
        for path, content in (
            ("/v1/predict", {"texts": ["happy", wordy * 1000]}),
            ("/v1/score", {"texts": ["happy"], "labels": {"a": wordy * 40}}),
            ("/v1/explain", {"text": wordy * 100}),
        ):
            status, _, found = server.ask("POST", path, content)
            assert (status, found["error"]["code"]) == (413, "text_too_long"), path
            assert "characters with its emoji read as words" in found["error"]["message"]
        found = server.ask("POST", "/v1/predict/stream", raw=line + b'\n"happy"\n', **kind)[2].splitlines()
        assert json.loads(found[0])["error"]["code"] == "text_too_long"
        assert json.loads(found[1])["tokens"] == 1
        assert (
            server.ask("POST", "/v1/predict", {"texts": ["\U0001f602" * 40_000]})[0] == 200
        )  # a run is read once


def test_a_large_answer_is_written_beside_the_others(
    tiny_light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What writes it is no thread that others wait for; a small one is written at once."""
    threads: list[str] = []

    def noted(*given: Any, its: Any = predicting.told) -> Any:
        threads.append(threading.current_thread().name)
        return its(*given)

    monkeypatch.setattr(predicting, "told", noted)
    with (
        in_this_process(tiny_light, tmp_path / "jobs") as (_, port),
        Client(f"http://127.0.0.1:{port}") as client,
    ):
        client.predict(["so happy"])
        small, labels = threads.pop(), {f"label {n}": f"happy {n}" for n in range(200)}
        assert len(client.score(["so happy"] * 50, labels)[0].scores) == 200
        assert len(threads) == 50
        assert small not in threads
