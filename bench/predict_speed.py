"""Texts per second and a single text's wait: the light model against `transformers.pipeline`. Imports numpy.

    python -m bench.predict_speed [--model DIR] [--checkpoint DIR] [--data-dir DIR] [--quick]

Writes bench/results/predict_speed.json and .md. Every contender lives in a process of its own and answers in turn. Ours gets the whole
test split at once, as a user gives it. The pipelines, which are slow, get other samples of it in every round, in the split's order and
of lengths spread as the split's: first with every batch size, then the two best ones again and again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench import light
from bench.contenders import Contender, Light
from bench.pipelines import Pipeline, add_checkpoint, same_model
from bench.report import table
from bench.rounds import Work, interleaved, median, quantiles, ratio, shown
from emodef.predictor.session import usable_cores

OURS, SAME, LARGE = "emodef, int8", "pipeline, same model", "pipeline, roberta-base size"
BATCHES = (8, 16, 32, 64, 128)
ROUNDS = 5
TEXTS = {SAME: 512, LARGE: 128}  # of a round
SINGLY = {SAME: 256, LARGE: 64}  # in batches of 1
LATENCY_ROUNDS, LATENCY_TEXTS = 8, 25
WANTED = {"one by one": (15, 20), "best": (4, 5), "large": (25, 25), "latency": (5, 5)}


class Field:
    """The contenders, started, and the texts they get."""

    def __init__(self, contenders: Mapping[str, Contender], texts: Sequence[str], shrink: int) -> None:
        self.contenders, self.texts, self.shrink = contenders, texts, shrink

    def ours(self, number: int) -> float:
        """Texts per second over all texts."""
        return self.contenders[OURS].rate(self.texts)

    def pipeline(self, name: str, batch: int, number: int) -> float:
        """Texts per second over a sample."""
        size = (SINGLY if batch == 1 else TEXTS)[name] // self.shrink
        return self.contenders[name].rate(light.sample(self.texts, max(size, 2), number), batch)

    def warm(self) -> None:
        """First calls, memory, threads."""
        for name, contender in self.contenders.items():
            contender.rate(self.texts[:256] if name == OURS else self.texts[:16], 8)

    def survey(self) -> dict[str, dict[int, float]]:
        """Every batch size once, for each pipeline."""
        found: dict[str, dict[int, float]] = {}
        for name in TEXTS:
            found[name] = {batch: self.pipeline(name, batch, 0) for batch in (1, *BATCHES)}
        return found

    def compare(self, survey: Mapping[str, Mapping[int, float]], rounds: int) -> dict[str, list[float]]:
        """Ours, the same model's pipeline one by one, and both pipelines with their two best batch sizes, in turn."""
        work: dict[str, Work] = {OURS: self.ours, f"{SAME}, 1": partial(self.pipeline, SAME, 1)}
        for name in TEXTS:
            best = sorted(BATCHES, key=lambda batch: -survey[name][batch])[:2]
            work.update({f"{name}, {batch}": partial(self.pipeline, name, batch) for batch in best})
        return interleaved(work, rounds)

    def latency(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of single texts, the same for all contenders, in turn."""
        found: dict[str, list[float]] = {name: [] for name in self.contenders}
        for number in range(rounds):
            texts = light.sample(self.texts, LATENCY_TEXTS // self.shrink + 1, number)
            for name in found if number % 2 == 0 else reversed(found):
                found[name] += self.contenders[name].each(texts)
        return found


def summarise(
    survey: Mapping[str, Mapping[int, float]],
    rates: Mapping[str, list[float]],
    seconds: Mapping[str, list[float]],
) -> dict[str, Any]:
    """The figures of the result."""
    best = {}
    for name in TEXTS:
        sides = [side for side in rates if side.startswith(f"{name}, ") and side != f"{name}, 1"]
        best[name] = max(sides, key=lambda side: median(rates[side]))
    against = {"one by one": f"{SAME}, 1", "best": best[SAME], "large": best[LARGE]}
    waits = {name: quantiles(values) for name, values in seconds.items()}
    return {
        "texts_per_second": {side: round(median(values), 1) for side, values in rates.items()},
        "rounds": {side: [round(value, 1) for value in values] for side, values in rates.items()},
        "ratios": {
            key: {"against": side, **ratio(rates[OURS], rates[side]), "wanted": WANTED[key]}
            for key, side in against.items()
        },
        "survey": {
            name: {str(batch): round(value, 1) for batch, value in found.items()}
            for name, found in survey.items()
        },
        "latency": waits,
        "latency_ratio": round(waits[SAME]["median_ms"] / waits[OURS]["median_ms"], 2),
    }


def page(found: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = [[OURS, f"{found['texts_per_second'][OURS]:,.0f}", "", ""]]
    for line in found["ratios"].values():
        reach, prize = line["wanted"]
        wanted = f"{reach}" if reach == prize else f"{reach}, better {prize}"
        name, _, batch = line["against"].rpartition(", ")
        rows.append(
            [
                f"{name}, batches of {batch}",
                f"{found['texts_per_second'][line['against']]:,.1f}",
                shown(line, 1),
                wanted,
            ]
        )
    waits = [
        [name, f"{wait['median_ms']:.2f}", f"{wait['p95_ms']:.2f}"] for name, wait in found["latency"].items()
    ]
    names = list(found["survey"])
    survey = [
        [batch, *(f"{found['survey'][name][batch]:,.1f}" for name in names)]
        for batch in found["survey"][SAME]
    ]
    return [
        "# Prediction: texts per second",
        "",
        f"{facts['texts']:,} test texts of {facts['corpus']}, {facts['threads']} threads. Ratios are taken within a round and given as "
        "the median over the rounds, with the lowest and the highest.",
        "",
        *table(["", "texts/s", "emodef is faster by", "wanted"], rows),
        "",
        f"Same model: {facts['same']}; the other: {facts['large']}. All read the same tokens, but for emoji: emodef may read them as "
        "words. Each process has the machine to itself while it answers.",
        "",
        "One text at a time, in process, ms:",
        "",
        *table(["", "median", "95 in 100 within"], waits),
        "",
        f"Median, pipeline with the same model over emodef: **{found['latency_ratio']:.1f}** (wanted: {WANTED['latency'][0]}).",
        "",
        "Texts per second of the pipelines by batch size, one round:",
        "",
        *table(["batch", *names], survey),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("predict_speed", __doc__)
    add_checkpoint(parser)
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of every contender")
    options = parser.parse_args(given)
    run = light.Run("predict_speed", given, options)
    folder, corpus = light.light_folder(options), light.splits(options)
    test = corpus.get("test") or next(iter(corpus.values()))
    same = same_model(folder, options)
    large = Pipeline("roberta", same.tokenizer, same.labels, tiny=options.quick)
    with ExitStack() as stack:
        made: dict[str, Light | Pipeline] = {OURS: Light(folder), SAME: same, LARGE: large}
        started = {name: stack.enter_context(Contender(what, options.threads)) for name, what in made.items()}
        field = Field(started, test.texts[:200] if options.quick else test.texts, 16 if options.quick else 1)
        field.warm()
        survey = field.survey()
        rates = field.compare(survey, 2 if options.quick else ROUNDS)
        seconds = field.latency(2 if options.quick else LATENCY_ROUNDS)
    found = summarise(survey, rates, seconds)
    facts = {
        "corpus": options.corpus if options.corpus == "goemotions" else test.name,
        "texts": len(field.texts),
        "threads": options.threads,
        "same": same.described,
        "large": large.described,
    }
    run.save({**facts, **found}, page(found, facts))


if __name__ == "__main__":
    main()
