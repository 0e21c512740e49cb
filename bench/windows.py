"""Which window is right for long texts: dev texts joined together, read in windows of several sizes. Imports numpy, emodef.

    python -m bench.windows [--model DIR] [--data-dir DIR] [--quick]

Two kinds of long text, since no corpus of labelled ones is at hand: texts that share a label, which the whole then has; and texts taken at
random, where the whole has all their labels. Macro average precision over the labels that occur; the first label right, for the first kind.
Writes bench/results/windows.json and .md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import light
from bench.report import table
from emodef.corpora import Corpus
from emodef.metrics import Measurement
from emodef.predictor import Predictor

WINDOWS = (48, 64, 96, 128, 256, 512)
JOINED = {"one": 25, "random": 10}  # texts in a long one
DOCUMENTS = {"one": 150, "random": 300}
LEAST = 30  # examples of a label that is joined with itself


def documents(dev: Corpus, kind: str, number: int) -> tuple[list[str], NDArray[np.uint8]]:
    """So many long texts and their labels."""
    draw = np.random.default_rng(0)
    texts, labels = [], np.zeros((number, len(dev.label_set)), dtype=np.uint8)
    frequent = [k for k in range(len(dev.label_set)) if dev.labels[:, k].sum() >= LEAST] or [0]
    for row in range(number):
        label = frequent[row % len(frequent)]
        among = np.flatnonzero(dev.labels[:, label]) if kind == "one" else np.arange(len(dev))
        chosen = draw.choice(among, min(JOINED[kind], len(among)), replace=False)
        texts.append(" ".join(dev.texts[i] for i in chosen))
        labels[row] = np.arange(labels.shape[1]) == label if kind == "one" else dev.labels[chosen].max(axis=0)
    return texts, labels


def measure(predictor: Predictor, dev: Corpus, quick: bool) -> list[dict[str, Any]]:
    """A row for each kind and window."""
    rows = []
    for kind, number in DOCUMENTS.items():
        texts, labels = documents(dev, kind, 12 if quick else number)
        there = labels.any(axis=0)
        for window in WINDOWS:
            encoding = replace(predictor.info.encoding, window=min(window, predictor.info.encoding.longest))
            predictor.info = replace(predictor.info, encoding=encoding)
            values = predictor.predict_proba(texts)[:, there]
            truth = labels[:, there]
            found = Measurement(truth, values > 0.5, values).measure().summary
            rows.append(
                {
                    "kind": kind,
                    "window": window,
                    "average_precision": float(found["macro_average_precision"][0]),
                    "first_right": float(truth[np.arange(len(truth)), values.argmax(axis=1)].mean()),
                }
            )
    return rows


def page(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The result in Markdown."""
    by = {(row["kind"], row["window"]): row for row in rows}
    cells = [
        [
            str(window),
            f"{by['one', window]['average_precision']:.3f}",
            f"{100 * by['one', window]['first_right']:.0f}%",
            f"{by['random', window]['average_precision']:.3f}",
        ]
        for window in WINDOWS
    ]
    head = ["window, tokens", "one label: macro AP", "first label right", "random: macro AP"]
    return [
        "# Windows of long texts",
        "",
        f"{DOCUMENTS['one']} texts of {JOINED['one']} dev texts that share a label, {DOCUMENTS['random']} of {JOINED['random']} "
        "random ones, joined, seed 0.",
        "",
        *table(head, cells),
        "",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = light.parser("windows", __doc__).parse_args(given)
    run = light.Run("windows", given, options)
    dev = light.splits(options)["dev"]
    rows = measure(Predictor.load(light.light_folder(options)), dev, options.quick)
    run.save({"rows": rows}, page(rows))


if __name__ == "__main__":
    main()
