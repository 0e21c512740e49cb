"""A small corpus with one label a text, in a file, and starts for a transfer study on it; and a process that runs one, to be killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

TEXTS = 90
LABELS = {
    "glad": ("a feeling of joy", ("the garden is in bloom again", "we laughed until the train came", "what a lovely day")),
    "cross": ("a feeling of anger", ("the landlord lied to us", "how dare he shout at her", "they took my seat")),
    "afraid": ("a feeling of fear", ("that noise in the cellar", "the bridge may not hold", "who is at the door")),
}  # fmt: skip
OPENINGS = ("Well,", "So", "This morning:", "On the bus", "Again", "Oh", "Honestly,", "Then", "Later:", "Now")


def write_corpus(folder: Path) -> tuple[str, str]:
    """A CSV of TEXTS rows, every ninth a copy but for case and stops, and its label set: their paths."""
    draw = random.Random(3)
    rows: list[tuple[str, str]] = []
    for row in range(TEXTS):
        if row % 9 == 8:
            text, label = rows[draw.randrange(len(rows))]
            rows.append((text.upper() + "!", label))
            continue
        label = list(LABELS)[row % 3]
        rows.append((f"{draw.choice(OPENINGS)} {draw.choice(LABELS[label][1])} {row}", label))
    (folder / "moods.csv").write_text(
        "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows), encoding="utf-8"
    )
    entries = [
        f'[[labels]]\nname = "{name}"\ndefinition = "{words}"\n' for name, (words, _) in LABELS.items()
    ]
    (folder / "moods.toml").write_text(
        'name = "moods"\nexclusive = true\n' + "\n".join(entries), encoding="utf-8"
    )
    return str(folder / "moods.csv"), str(folder / "moods.toml")


def settings(corpus: tuple[str, str], encoder: Path, /, **changed: Any) -> Any:
    """A study of two short sizes and two splits."""
    from emodef.train.transfer_settings import TransferSettings

    values: dict[str, Any] = {
        "corpora": [corpus[0]],
        "label_set": corpus[1],
        "backbone": str(encoder),
        "pooling": "mean",
        "starts": ["untuned"],
        "sizes": [12, 0.5],
        "splits": 2,
        "smallest": 12,
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "max_eval": 30,
        "precision": "fp32",
    }
    return TransferSettings(**{**values, **changed})


class Unfit:
    """What the parent of several processes reads of a study; whoever gets its unit of "bad" cannot make it."""

    def __init__(self, units: Sequence[Any]) -> None:
        self.units = units

    def cost(self, corpus: str, size: float) -> float:
        return 2.0 if corpus == "bad" else 1.0


def serve_unfit(pipe: Any, study: Any, threads: int, stop: Any, deadline: float | None) -> None:
    """In place of a process's work: fail, or be in the middle of a run until all are stopped."""
    from emodef.errors import SettingsError

    pipe.send(("ask", None))
    if pipe.recv().corpus == "bad":
        pipe.send(("error", SettingsError("it does not fit")))
        return
    stop.wait()
    with suppress(OSError, EOFError):
        pipe.send(("ask", None))
        pipe.recv()


def main() -> None:
    """Run the study on standard input; strike before the nth run, or at the nth step of all, or not."""
    from emodef.errors import EmodefError
    from emodef.train import transfer, transfer_runs
    from emodef.train.transfer_settings import TransferSettings

    order = json.load(sys.stdin)
    calls = {"run": 0, "step": 0}
    where, number, blow = order["at"], order["number"], getattr(signal, order["signal"])

    def struck(kind: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            calls[kind] += 1
            if kind == where and calls[kind] == number:
                os.kill(os.getpid(), blow)
            return function(*args, **options)

        return call

    transfer_runs.Workbench.run = struck("run", transfer_runs.Workbench.run)  # type: ignore[method-assign]
    transfer_runs.Workbench._work = struck("step", transfer_runs.Workbench._work)  # type: ignore[method-assign]
    try:
        transfer.run_transfer(
            TransferSettings(**order["settings"]), order["results"], order["starts"], cpu=True
        )
    except EmodefError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
