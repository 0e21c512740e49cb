"""What own labels cost: `score` with fifty whose definitions are encoded, against `predict_proba` with the built-in ones. Imports numpy.

    python -m bench.own_labels [--model DIR] [--labels 50] [--data-dir DIR] [--quick]

One predictor answers for all sides in turn: many texts at once, and single ones. The first call with labels also encodes their
definitions; what that costs is timed on predictors that were just loaded and have read one text. The labels are those of the shipped
label sets, each with its set's name before its own. Writes bench/results/own_labels.json and .md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from bench import light
from bench.report import table
from bench.rounds import interleaved, median, quantiles, ratio, shown
from emodef.labels import LabelSet, shipped
from emodef.predictor import Predictor
from emodef.predictor.session import usable_cores

BUILT_IN, OWN, BOTH = "predict, built-in labels", "score, own labels", "score, own labels and built-in ones"
ROUNDS, TEXTS = 9, 2000
SINGLE_ROUNDS, SINGLE_TEXTS = 9, 40
FIRST = 7  # predictors whose first call is timed
WANTED = 1.3  # times the cost of predict, at most


def labels(count: int) -> dict[str, str]:
    """So many labels with definitions, no two of which are the same."""
    found: dict[str, str] = {}
    for name in shipped():
        labels = LabelSet.load(name)
        for label, definition in zip(labels.names, labels.definitions, strict=True):
            if definition not in found.values():
                found[f"{name} {label}"] = definition
    names = list(found)
    for number in range(count - len(names)):  # further ones differ in their last words
        found[f"{names[number % len(names)]} {number}"] = (
            f"{found[names[number % len(names)]]}, case {number}"
        )
    return dict(list(found.items())[:count])


def sides(predictor: Predictor, own: Mapping[str, str]) -> dict[str, Callable[[Any], Any]]:
    """What is compared, each given texts."""
    return {
        BUILT_IN: predictor.predict_proba,
        OWN: lambda texts: predictor.score(texts, own),
        BOTH: lambda texts: predictor.score(texts, own, known=True),
    }


def at_once(
    compared: Mapping[str, Callable[[Any], Any]], texts: Sequence[str], rounds: int, size: int
) -> dict[str, list[float]]:
    """Seconds of a call with many texts, in every round."""

    def timed(call: Callable[[Any], Any], number: int) -> float:
        some = light.sample(texts, size, number)
        start = time.perf_counter()
        call(some)
        return time.perf_counter() - start

    return interleaved({name: partial(timed, call) for name, call in compared.items()}, rounds)


def singly(
    compared: Mapping[str, Callable[[Any], Any]], texts: Sequence[str], rounds: int, size: int
) -> dict[str, list[list[float]]]:
    """Seconds of calls with one text, the same ones for every side in a round."""
    found: dict[str, list[list[float]]] = {name: [] for name in compared}
    for number in range(rounds):
        some = light.sample(texts, size, number)
        for name in found if number % 2 == 0 else reversed(found):
            taken = []
            for text in some:
                start = time.perf_counter()
                compared[name](text)
                taken.append(time.perf_counter() - start)
            found[name].append(taken)
    return found


def first_calls(folder: Any, threads: int, own: Mapping[str, str], text: str, number: int) -> list[float]:
    """Seconds that the first call with labels takes more than the second, on predictors that have read a text before."""
    found = []
    for _ in range(number):
        predictor = Predictor.load(folder, threads=threads)
        predictor.predict_proba([text] * 3)
        taken = []
        for _ in range(2):
            start = time.perf_counter()
            predictor.score(text, own)
            taken.append(time.perf_counter() - start)
        found.append(taken[0] - taken[1])
    return found


def summarise(
    seconds: Mapping[str, list[float]], single: Mapping[str, list[list[float]]], first: Sequence[float]
) -> dict[str, Any]:
    """The figures of the result."""
    medians = {name: [median(taken) for taken in rounds] for name, rounds in single.items()}
    return {
        "wanted": WANTED,
        "many": {name: ratio(values, seconds[BUILT_IN]) for name, values in seconds.items()},
        "many_seconds": {name: round(median(values), 4) for name, values in seconds.items()},
        "single": {name: ratio(values, medians[BUILT_IN]) for name, values in medians.items()},
        "single_waits": {
            name: quantiles([t for taken in rounds for t in taken]) for name, rounds in single.items()
        },
        "first_call_ms": {
            "median": round(1000 * median(list(first)), 1),
            "lowest": round(1000 * min(first), 1),
            "highest": round(1000 * max(first), 1),
        },
    }


def page(found: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = [
        [
            name,
            f"{facts['at_once'] / found['many_seconds'][name]:,.0f}",
            "" if name == BUILT_IN else shown(found["many"][name]),
            f"{found['single_waits'][name]['median_ms']:.2f}",
            "" if name == BUILT_IN else shown(found["single"][name]),
        ]
        for name in (BUILT_IN, OWN, BOTH)
    ]
    first = found["first_call_ms"]
    return [
        "# Own labels: what they cost",
        "",
        f"{facts['labels']} own labels whose definitions are encoded, against the {facts['built_in']} built-in ones; test texts of "
        f"{facts['corpus']}, {facts['threads']} threads. Ratios are of time, taken within a round: the median over the rounds with the "
        f"lowest and the highest; wanted: {WANTED} at most.",
        "",
        *table(
            [
                "",
                f"texts/s, {facts['at_once']:,} at once",
                "times predict's cost",
                "one text, ms",
                "times predict's cost",
            ],
            rows,
        ),
        "",
        f"The first call with these labels takes **{first['median']:.0f} ms** more [{first['lowest']:.0f}, {first['highest']:.0f}] than "
        f"the second: {facts['labels']} definitions are encoded.",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("own_labels", __doc__)
    parser.add_argument("--labels", type=int, default=50, help="how many")
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args(given)
    run = light.Run("own_labels", given, options)
    folder, corpus = light.light_folder(options), light.splits(options)
    test = corpus.get("test") or next(iter(corpus.values()))
    predictor, own = Predictor.load(folder, threads=options.threads), labels(options.labels)
    compared = sides(predictor, own)
    for call in compared.values():  # memory, threads, and the definitions
        call(light.sample(test.texts, 64))
    size, rounds = (40, 2) if options.quick else (TEXTS, ROUNDS)
    seconds = at_once(compared, test.texts, rounds, size)
    single = singly(
        compared, test.texts, 2 if options.quick else SINGLE_ROUNDS, 4 if options.quick else SINGLE_TEXTS
    )
    text = light.sample(test.texts, 3)[1]
    first = first_calls(folder, options.threads, own, text, 2 if options.quick else FIRST)
    found = summarise(seconds, single, first)
    facts = {
        "corpus": options.corpus if options.corpus == "goemotions" else test.name,
        "labels": len(own),
        "built_in": len(predictor.label_set),
        "threads": options.threads,
        "at_once": min(size, len(test.texts)),
    }
    run.save({**facts, **found}, page(found, facts))


if __name__ == "__main__":
    main()
