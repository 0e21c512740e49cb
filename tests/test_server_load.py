"""Fifteen seconds of everything at once: no error, every answer right, memory flat. (Two minutes at concurrency 64: bench/server.py.)"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from emodef import Predictor
from emodef.client import Client, ServerError
from tiny_server import Running, memory, running

pytestmark = pytest.mark.long

Labels = dict[str, float]
Expected = dict[str, Labels]  # text -> its labels
WORDS = ("happy", "angry", "afraid", "why", "meeting", "the", "chairs", "so", "glad", "it", "is", "furious")
SECONDS = 15.0
WARM = 5.0
CLIENTS = 8
GROWTH = (
    12 * 2**20
)  # bytes that may be added after the first seconds: pages of the allocator's, kept connections


ENOUGH = 10  # answers of every kind, for which a slow machine is given another minute


def test_fifteen_seconds_of_load(tiny_light: Path, tmp_path: Path) -> None:
    with running(tiny_light, "--quiet", jobs=tmp_path / "jobs") as server:
        predictor = Predictor.load(tiny_light, threads=1)
        texts = [" ".join(random.Random(number).choices(WORDS, k=2 + number % 9)) for number in range(100)]
        answers, failures = load(server, {one.text: dict(one.labels) for one in predictor.predict(texts)})
        grown = memory(server.pid) - answers.pop("memory")
        assert not failures
        assert min(answers.values()) > ENOUGH, answers
        assert grown < GROWTH, f"{grown / 2**20:.1f} MB"
        assert server.stop() == 0
        assert not server.events("fault")


def same(found: list[Any], expected: list[Labels]) -> bool:
    """Whether predictions over HTTP are those of Python: the same labels, their probabilities to six digits."""
    return len(found) == len(expected) and all(
        [one.name for one in its.labels] == list(wanted)
        and all(abs(probability - wanted[name]) < 3e-6 for name, probability in its.labels)
        for its, wanted in zip(found, expected, strict=True)
    )


def load(server: Running, expected: Expected) -> tuple[dict[str, int], list[str]]:
    """What was answered, by kind, and what went wrong; "memory" is that after the first seconds."""
    kinds = {"predict": 20, "many": 3, "score": 2, "explain": 2, "stream": 1}
    answers = dict.fromkeys(kinds, 0)
    failures: list[str] = []
    end = time.monotonic() + SECONDS
    lock = threading.Lock()

    def ask(number: int) -> None:
        draw = random.Random(number)
        with Client(server.url, retries=0) as client:
            while not failures and (
                time.monotonic() < end or (min(answers.values()) <= ENOUGH and time.monotonic() < end + 60)
            ):
                kind = draw.choices(list(kinds), weights=list(kinds.values()))[0]
                try:
                    right = asked(client, kind, draw, expected)
                except ServerError as error:
                    failures.append(f"{kind}: {error}")
                    return
                if not right:
                    failures.append(f"{kind}: a wrong answer")
                with lock:
                    answers[kind] += 1

    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(WARM)
    held = memory(server.pid)
    for thread in threads:
        thread.join(120)
    answers["memory"] = held
    return answers, failures


def asked(client: Client, kind: str, draw: random.Random, expected: Expected) -> bool:
    """Whether the answer to a request of a kind is right."""
    texts = draw.sample(list(expected), {"predict": 1, "many": draw.randrange(2, 60)}.get(kind, 30))
    wanted = [expected[text] for text in texts]
    if kind in ("predict", "many"):
        return same(client.predict(texts), wanted)
    if kind == "score":
        return len(client.score(texts[:2], {"delight": f"happy {draw.randrange(200)}"})[0].scores) == 1
    if kind == "explain":
        found = client.explain(texts[0], labels=["joy"])
        return " ".join(word.text for word in found.words) == texts[0]
    return same(list(client.stream(texts)), wanted)


@pytest.mark.parametrize("clients", [24])
def test_more_than_it_can_do_is_refused_and_not_piled_up(
    tiny_light: Path, tmp_path: Path, clients: int
) -> None:
    """Past the queue's bound 503 with Retry-After; whoever heeds it is answered in the end."""
    limits = ("--limit", "queue_texts=200", "--limit", "texts=200")
    codes: list[int] = []
    answered: list[int] = []

    def ask(port: int) -> None:
        with Client(f"http://127.0.0.1:{port}", retries=0) as hasty:
            for _ in range(4):
                try:
                    answered.append(len(hasty.predict(["so happy " * 40] * 150)))
                    codes.append(200)
                except ServerError as error:
                    codes.append(error.status)
        with Client(f"http://127.0.0.1:{port}", retries=50) as patient:
            answered.append(len(patient.predict(["so happy"] * 10)))

    with running(tiny_light, "--quiet", *limits, jobs=tmp_path / "jobs") as server:
        threads = [threading.Thread(target=ask, args=(server.port,), daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert server.answers("/ready")
    assert set(codes) == {200, 503}
    assert answered.count(10) == clients
    assert answered.count(150) == codes.count(200)
