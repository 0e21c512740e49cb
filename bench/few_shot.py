"""A hundred labelled texts to a model of one's own: `emodef fit` and `emodef train --from`, whole processes. Imports nothing heavy.

    python -m bench.few_shot [--model DIR] [--checkpoint DIR] [--corpus isear] [--texts 100] [--quick]

Writes bench/results/few_shot.json and .md. Fitting is timed over rounds, training once; both as a user runs them,
cross-validation included.
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import light
from bench.report import table
from bench.rounds import median

FIT, TRAIN = "emodef fit", "emodef train --from"
ROUNDS = 5
WANTED = {FIT: 10.0, TRAIN: 120.0}  # seconds, for 100 texts on 2 cores


def write_texts(corpus: Any, number: int, path: Path) -> int:
    """So many texts of a corpus, drawn at random, as a user's file; how many there are."""
    rows = np.random.default_rng(0).permutation(len(corpus))[:number]
    names = corpus.label_lists()
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "labels"])
        writer.writerows([corpus.texts[i], "|".join(names[i])] for i in rows)
    return len(rows)


def command(*given: object) -> list[str]:
    """`emodef`, as it is installed beside this Python; else by the interpreter."""
    script = shutil.which("emodef", path=str(Path(sys.executable).parent))
    return [*([script] if script else [sys.executable, "-m", "emodef"]), *map(str, given)]


def page(found: dict[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = [
        [name, f"{values['seconds']:.1f}", str(len(values["rounds"])), f"{WANTED[name]:.0f}"]
        for name, values in found["commands"].items()
    ]
    return [
        "# Few texts: from a hundred labelled texts to a model",
        "",
        f"{found['texts']} texts of {found['corpus']}, {found['labels']} labels; whole processes, embeddings, cross-validation and saving "
        "included; seconds, the median over rounds.",
        "",
        *table(["command", "seconds", "rounds", "wanted, at most (100 texts, 2 cores)"], rows),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("few_shot", __doc__)
    parser.set_defaults(corpus="isear")
    parser.add_argument("--checkpoint", type=Path, help="a trained model (default: the one in models/)")
    parser.add_argument("--texts", type=int, default=100)
    options = parser.parse_args(given)
    run = light.Run("few_shot", given, options)
    from emodef.corpora.splits import join_splits

    corpus = join_splits(light.splits(options))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        texts = write_texts(corpus, options.texts, folder / "few.csv")
        (folder / "few.toml").write_text(corpus.label_set.to_toml(), encoding="utf-8")
        data = ("--data", folder / "few.csv", "--labels", folder / "few.toml", "--quiet")
        model = ("--model", options.model) if options.model else ()
        fit = command("fit", *data, *model, "--out", folder / "head")
        light.seconds(fit)  # brings the files into memory
        commands = {FIT: [light.seconds(fit) for _ in range(2 if options.quick else ROUNDS)]}
        if (trained := light.checkpoint(options)) is not None:
            few = ("--set", "epochs=1") if options.quick else ()
            train = command("train", "--from", trained, *data, *few, "--cpu", "--out", folder / "run")
            commands[TRAIN] = [light.seconds(train)]
    found = {
        "corpus": corpus.name,
        "texts": texts,
        "labels": len(corpus.label_set),
        "wanted": WANTED,
        "commands": {
            name: {"seconds": round(median(taken), 2), "rounds": [round(each, 2) for each in taken]}
            for name, taken in commands.items()
        },
    }
    run.save(found, page(found))


if __name__ == "__main__":
    main()
