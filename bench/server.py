"""Requests per second and waits over HTTP: `emodef serve` against itself unbatched, and FastAPI with a pipeline. Imports numpy.

    python -m bench.server [--model DIR] [--checkpoint DIR] [--data-dir DIR] [--quick]

Writes bench/results/server.json and .md. Server and load generator share the machine's cores; the generator's share is stated. The
servers take turns, round by round; the others are idle meanwhile.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import Any

from bench import light
from bench.load import Load, Loaded, run
from bench.pipelines import add_checkpoint, same_model
from bench.report import table
from bench.rounds import interleaved, median, ratio, shown
from bench.serving import Server, ours
from emodef.predictor.session import usable_cores

OURS, UNBATCHED, PIPELINE, STUB = "emodef serve", "unbatched", "FastAPI and a pipeline", "model stubbed"
CONCURRENCY, LONG_CONCURRENCY = 32, 64
ROUNDS, SECONDS, HALF_SECONDS, LONG_SECONDS, STARTS = 5, 8.0, 30.0, 120.0, 5
EVERY = 2.0  # seconds between two looks at a server's memory
SAMPLE = 1024  # texts
WANTED = {UNBATCHED: 1.4, PIPELINE: 5.0, "p99 ms at half": 50.0, "start s": 2.0}


class Bench:
    """The servers, started, and what they are asked."""

    def __init__(self, servers: Mapping[str, Server], bodies: Sequence[bytes], shrink: float) -> None:
        self.servers, self.bodies, self.shrink = servers, bodies, shrink
        self.loads: list[Loaded] = []

    def load(self, name: str, seconds: float, connections: int, rate: float | None = None) -> Loaded:
        """Load one of the servers."""
        found = run(
            Load(
                self.servers[name].port,
                self.bodies,
                connections=connections,
                seconds=max(1.0, seconds * self.shrink),
                rate=rate,
            )
        )
        self.loads.append(found)
        return found

    def compare(self) -> dict[str, list[Loaded]]:
        """The servers in turn at a concurrency of 32."""
        found: dict[str, list[Loaded]] = {name: [] for name in self.servers}

        def round_of(name: str) -> Any:
            def work(_: int) -> float:
                found[name].append(self.load(name, SECONDS, CONCURRENCY))
                return found[name][-1].rate

            return work

        interleaved({name: round_of(name) for name in self.servers}, 2 if self.shrink < 1 else ROUNDS)
        return found

    def long(self) -> dict[str, Any]:
        """Two minutes at a concurrency of 64, and what the server held meanwhile."""
        server, held = self.servers[OURS], []
        over = False

        def watch() -> None:
            while not over:
                held.append(round(server.memory(), 1))
                time.sleep(EVERY * self.shrink)

        watching = Thread(target=watch, daemon=True)
        watching.start()
        found = self.load(OURS, LONG_SECONDS, LONG_CONCURRENCY)
        over = True
        watching.join()
        return {**waits(found), "memory_mb": held}

    def costs(self) -> dict[str, float]:
        """Milliseconds of a core that a request costs the server: with its model, and with the model stubbed."""
        found = {}
        for name in (OURS, STUB):
            before = self.servers[name].cpu()
            loaded = self.load(name, SECONDS, CONCURRENCY)
            found[name] = round(1000 * (self.servers[name].cpu() - before) / max(1, len(loaded.waits)), 3)
        return found


def waits(found: Loaded) -> dict[str, Any]:
    """The figures of a load."""
    return {
        "requests_per_second": round(found.rate, 1),
        "p50_ms": round(found.wait(50), 2),
        "p99_ms": round(found.wait(99), 2),
        "requests": len(found.waits),
        "errors": found.errors,
        "generator_cores": round(found.cores(), 3),
    }


def starts(model: Path, threads: int, jobs: Path, rounds: int) -> list[float]:
    """Seconds from starting the process to its first answer."""
    found = []
    for _ in range(rounds):
        with ours(free_port(), model, threads, jobs) as server:
            found.append(round(server.seconds, 3))
    return found


def summarise(compared: Mapping[str, list[Loaded]]) -> dict[str, Any]:
    """The figures of the comparison."""
    rates = {name: [found.rate for found in loads] for name, loads in compared.items()}
    return {
        "requests_per_second": {name: round(median(values), 1) for name, values in rates.items()},
        "rounds": {name: [round(value, 1) for value in values] for name, values in rates.items()},
        "p50_ms": {
            name: round(median([one.wait(50) for one in loads]), 2) for name, loads in compared.items()
        },
        "p99_ms": {
            name: round(median([one.wait(99) for one in loads]), 2) for name, loads in compared.items()
        },
        "ratios": {
            name: {**ratio(rates[OURS], rates[name]), "wanted": WANTED[name]}
            for name in (UNBATCHED, PIPELINE)
        },
        "generator_cores": round(median([one.cores() for one in compared[OURS]]), 3),
        "errors": sum(one.errors for loads in compared.values() for one in loads),
    }


def page(found: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    compared, half, long = found["compared"], found["half"], found["long"]
    rows = []
    for name in (OURS, UNBATCHED, PIPELINE, STUB):
        line = compared["ratios"].get(name)
        rows.append(
            [
                name,
                f"{compared['requests_per_second'][name]:,.0f}",
                f"{compared['p50_ms'][name]:.1f}",
                f"{compared['p99_ms'][name]:.1f}",
                shown(line) if line else "",
                f"{line['wanted']}" if line else "",
            ]
        )
    memory = long["memory_mb"]
    settled = memory[len(memory) // 6 :] or memory
    cores, generator = found["cores"], compared["generator_cores"]
    return [
        "# The server: requests per second, waits",
        "",
        f"Requests of one text ({found['corpus']}, {found['texts']:,} test texts in turn), {CONCURRENCY} at once. Server and load "
        f"generator share {cores} cores; beside {OURS} the generator took {generator:.2f} of them. One worker with "
        f"{found['threads']} threads. Ratios are taken within a round and given as the median over the rounds, with the lowest and "
        "the highest.",
        "",
        *table(["", "requests/s", "p50 ms", "p99 ms", f"{OURS} is faster by", "wanted"], rows),
        "",
        f"The pipeline: {found['same']}. Errors in all rounds: {compared['errors']}.",
        "",
        f"- **At half of what it can do** ({half['asked']:,.0f} requests a second, arriving at random, waits counted from when they "
        f"were due): p50 {half['p50_ms']:.1f} ms, **p99 {half['p99_ms']:.1f} ms** (wanted: under "
        f"{WANTED['p99 ms at half']:.0f}), errors {half['errors']}.",
        f"- **Two minutes, {LONG_CONCURRENCY} at once**: {long['requests']:,} requests, {long['errors']} errors, "
        f"p50 {long['p50_ms']:.1f} ms, p99 {long['p99_ms']:.1f} ms; memory {settled[0]:.0f} MB when warm, {settled[-1]:.0f} MB at the "
        f"end, {max(memory):.0f} MB at most.",
        f"- **What a request costs the server**: {found['costs'][OURS]:.2f} ms of a core; HTTP alone (model stubbed) "
        f"{found['costs'][STUB]:.2f} ms.",
        f"- **From start to first answer**: {median(found['starts']):.2f} s (wanted: under {WANTED['start s']:.0f}), rounds "
        f"{', '.join(f'{one:.2f}' for one in found['starts'])}.",
    ]


def free_port() -> int:
    """One that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        found: int = made.getsockname()[1]
        return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("server", __doc__)
    add_checkpoint(parser)
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of every server's model")
    options = parser.parse_args(given)
    measured = light.Run("server", given, options)
    folder, corpus = light.light_folder(options), light.splits(options)
    test = corpus.get("test") or next(iter(corpus.values()))
    texts = light.sample(test.texts, 64 if options.quick else SAMPLE)
    bodies = [json.dumps({"texts": [text]}).encode() for text in texts]
    same = same_model(folder, options)
    threads, shrink = options.threads, 0.05 if options.quick else 1.0
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        here = Path(made)
        same.save(here / "model")
        began = starts(folder, threads, here / "jobs", 2 if options.quick else STARTS)
        ports = [free_port() for _ in range(4)]
        servers = {
            OURS: stack.enter_context(ours(ports[0], folder, threads, here / "jobs-a")),
            UNBATCHED: stack.enter_context(
                ours(ports[1], folder, threads, here / "jobs-b", "--pass-texts", "1")
            ),
            PIPELINE: stack.enter_context(
                Server(
                    ["bench.serving", "pipeline", str(ports[2]), str(here / "model"), str(threads)], ports[2]
                )
            ),
            STUB: stack.enter_context(
                Server(["bench.serving", "stub", str(ports[3]), str(folder)], ports[3])
            ),
        }
        bench = Bench(servers, bodies, shrink)
        for name in servers:  # first calls, memory, threads
            bench.load(name, 2.0, CONCURRENCY)
        compared = summarise(bench.compare())
        asked = compared["requests_per_second"][OURS] / 2
        half = {"asked": round(asked, 1), **waits(bench.load(OURS, HALF_SECONDS, LONG_CONCURRENCY, asked))}
        found = {
            "corpus": options.corpus if options.corpus == "goemotions" else test.name,
            "texts": len(texts),
            "threads": threads,
            "cores": usable_cores(),
            "same": same.described,
            "compared": compared,
            "half": half,
            "long": bench.long(),
            "costs": bench.costs(),
            "starts": began,
        }
    measured.save(found, page(found))


if __name__ == "__main__":
    main()
