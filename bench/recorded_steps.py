"""Training steps on a GPU as CUDA graphs, replayed, against the same steps launched kernel by kernel. Imports torch; needs a GPU.

    python -m bench.recorded_steps [--data-dir DIR] [--recipe paper] [--backbone minilm] [--quick]

Both sides take the same steps of the same run, in turns, each with a model and an optimiser of its own; what their losses differ by is
told too. Writes recorded_steps.json and recorded_steps.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from bench.common import about as told_about
from bench.common import add_options, load
from emodef.atomic import write_text
from emodef.corpora import Corpus
from emodef.train.architectures import takes_segments
from emodef.train.batches import StepBatches
from emodef.train.checkpoint import TrainedModel
from emodef.train.graphs import MULTIPLE, Record
from emodef.train.loop import _optimizer, learning_rate_factor
from emodef.train.performance import multiply_in, resolve_precision
from emodef.train.settings import TrainSettings
from emodef.train.steps import RecordedSteps, Steps

SETUPS = ("none", "cdp", "mlm", "cdp+mlm", "match")
ROUNDS, STEPS = 7, 60  # of which the first round is not counted: shapes are recorded in it


Take = Callable[[nn.Module, torch.optim.Optimizer, TrainSettings, str], Steps | RecordedSteps]


@dataclass
class Side:
    """One way of taking a run's steps: its batches, what takes them, and what the steps have said."""

    batches: StepBatches
    steps: Steps | RecordedSteps
    said: list[list[float]]

    def take(self, step: int) -> None:
        """Take one step."""
        rate = learning_rate_factor(step, len(self.batches), 0.1)
        norm, losses = self.steps.take(self.batches.make(step), rate, 1000 + step)
        self.said.append([norm, *losses.values()])


def side(settings: TrainSettings, corpus: Corpus, device: torch.device, take: Take) -> Side:
    """A run at its beginning; `take` makes what takes its steps."""
    torch.manual_seed(settings.seed)
    trained = TrainedModel.untrained(settings, corpus.label_set)
    batches = StepBatches(
        corpus,
        trained.tokenizer,
        settings,
        device=device,
        segments=takes_segments(trained.model.encoder),
        multiple=MULTIPLE,
    )
    trained.model.to(device).train()
    optimizer = _optimizer(trained.model, settings, device)
    steps = take(trained.model, optimizer, settings, resolve_precision(settings.precision, device))
    return Side(batches, steps, [])


def plain(device: torch.device) -> Take:
    """Steps launched kernel by kernel."""
    return partial(Steps, Accelerator(cpu=device.type == "cpu"))


def recorded(device: torch.device, record: Record | None = None) -> Take:
    """Recorded steps; record: by default as CUDA graphs."""
    return partial(RecordedSteps, device=device, record=record)


def compare(
    settings: TrainSettings,
    corpus: Corpus,
    device: torch.device,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    record: Record | None = None,
) -> dict[str, Any]:
    """Steps a second of both sides, the ratio within each round, and the largest relative difference of what the steps said."""
    precision = resolve_precision(settings.precision, device)
    multiply_in(precision)
    sides = {
        "plain": side(settings, corpus, device, plain(device)),
        "recorded": side(settings, corpus, device, recorded(device, record)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in sides if number % 2 else reversed(sides):
            began = time.perf_counter()
            for step in range(number * steps, (number + 1) * steps):
                sides[name].take(step)
            seconds[name].append(time.perf_counter() - began)
    ratios = sorted(p / r for p, r in zip(seconds["plain"][1:], seconds["recorded"][1:], strict=True))
    apart = [
        abs(a - b) / max(abs(b), 1e-9)
        for one, other in zip(sides["recorded"].said, sides["plain"].said, strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    return {
        "setup": settings.setup,
        "precision": precision,
        "steps_per_second": {name: steps / float(np.median(found[1:])) for name, found in seconds.items()},
        "ratio": [float(np.median(ratios)), ratios[0], ratios[-1]],
        "largest_difference": max(apart),
    }


def page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    about = result["about"]
    lines = [
        "# Recorded steps",
        "Training steps replayed as CUDA graphs against the same steps launched kernel by kernel, one process alone on the GPU, in turns:",
        "medians of the rounds, with the lowest and highest ratio, and the largest relative difference of a loss or gradient norm.",
        "",
        "| setup | plain, steps/s | recorded, steps/s | ratio | difference |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for each in result["setups"]:
        middle, low, high = each["ratio"]
        pace = each["steps_per_second"]
        lines.append(
            f"| {each['setup']} | {pace['plain']:.0f} | {pace['recorded']:.0f} | {middle:.1f} [{low:.1f}, {high:.1f}] "
            f"| {each['largest_difference']:.1e} |"
        )
    quick = ["", "**A trial (`--quick`): these figures mean nothing.**"] if about["quick"] else []
    told = f"`{about['command']}`, {about['date']}, commit {about['commit']}, {about['hardware']}, {about['versions']}"
    return "\n".join([*lines, *quick, "", told, ""])


def main(arguments: list[str]) -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description="Recorded training steps against plain ones, on a GPU")
    add_options(parser)
    parser.set_defaults(recipe="paper", backbone="minilm")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("error: this needs a GPU: CUDA graphs are what is measured", file=sys.stderr)
        return 1
    from emodef.train.versions import hardware

    device = torch.device("cuda")
    settings, corpus = load(options)
    settings = settings.model_copy(update={"pooling": "mean"})
    about = told_about("recorded_steps", arguments, options, settings) | {"hardware": hardware(device)}
    rounds, steps = (2, 4) if options.quick else (ROUNDS, STEPS)
    found = []
    for setup in SETUPS:
        found.append(
            compare(
                settings.model_copy(update={"setup": setup}),
                corpus["train"],
                device,
                rounds=rounds,
                steps=steps,
            )
        )
        print(json.dumps(found[-1]), flush=True)
    result = {"about": about, "setups": found}
    write_text(options.out / "recorded_steps.json", json.dumps(result, indent=1) + "\n")
    write_text(options.out / "recorded_steps.md", page(result))
    print(f"wrote {options.out / 'recorded_steps.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
