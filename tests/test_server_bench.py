"""The server's measurement: the load generator counts what it asks, and the page says what was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiny_server import Running


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))


def test_the_load_generator_counts_answers_and_errors(server: Running) -> None:
    from bench.load import Load, run

    def answered() -> int:
        page = server.ask("GET", "/metrics")[2].decode()
        wanted = 'emodef_requests_total{method="POST",path="/v1/predict",status="'
        return sum(int(float(line.split()[-1])) for line in page.splitlines() if line.startswith(wanted))

    good, bad = json.dumps({"texts": ["so happy"]}).encode(), b'{"texts": 3}'
    before = answered()
    closed = run(Load(server.port, [good, good, bad], connections=4, seconds=1.0))
    assert answered() - before == len(closed.waits) + closed.errors
    assert closed.errors == pytest.approx(len(closed.waits) / 2, abs=4)
    assert 0 < closed.wait(50) <= closed.wait(99)
    assert 0 < closed.cores() < 2

    open_ = run(Load(server.port, [good], connections=4, seconds=2.0, rate=40))
    assert open_.errors == 0
    assert len(open_.waits) == pytest.approx(80, abs=35)  # arrivals at random: four standard deviations


def test_the_page_has_every_figure() -> None:
    from bench.load import Loaded
    from bench.server import OURS, PIPELINE, STUB, UNBATCHED, page, summarise, waits

    def loads(rate: int) -> list[Loaded]:
        return [Loaded(2.0, 0, 0.5, [0.01] * (2 * rate)) for _ in range(3)]

    compared = summarise({OURS: loads(600), UNBATCHED: loads(400), PIPELINE: loads(60), STUB: loads(1500)})
    assert compared["requests_per_second"][OURS] == 600
    assert compared["ratios"][UNBATCHED]["median"] == 1.5
    assert compared["ratios"][PIPELINE]["median"] == 10
    assert compared["generator_cores"] == 0.25
    found = {
        "corpus": "c", "texts": 5, "threads": 2, "cores": 2, "same": "the checkpoint", "compared": compared,
        "half": {"asked": 300.0, **waits(loads(300)[0])},
        "long": {**waits(loads(600)[0]), "memory_mb": [100.0, 150.0, 151.0, 151.0]},
        "costs": {OURS: 1.5, STUB: 0.4}, "starts": [1.2, 1.3, 1.1],
    }  # fmt: skip
    text = "\n".join(page(found))
    for told in (
        "**1.50** [1.50, 1.50]",
        "**10.00**",
        "p99 10.0 ms",
        "151 MB at the end",
        "0.40 ms",
        "1.20 s",
    ):
        assert told in text
