"""Sides of a comparison timed in turn, round by round, so that whatever else the machine does falls on all of them. Imports numpy.

Every side of a round makes steps whose sizes are spread over the epoch's as the epoch itself spreads them; a ratio is taken within a
round, and its median and range over the rounds reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.rounds import ratio
from bench.steps import Knobs, Trainer
from emodef.train.batches import Step, StepBatches, TokenCount


@dataclass(frozen=True)
class Size:
    """How much of each side is timed."""

    rounds: int
    steps: int  # of a side in a round

    def times(self, rounds: float, steps: float = 1.0) -> Size:
        """A smaller or larger one; at least two rounds of one step."""
        return Size(max(2, round(self.rounds * rounds)), max(1, round(self.steps * steps)))


@dataclass
class Round:
    """What one side did in one round."""

    seconds: float
    steps: int
    examples: int
    real: int  # tokens
    computed: int


class Timed(Protocol):
    """Anything that can be timed a round at a time."""

    name: str

    def run(self, number: int, limit: int | None = None) -> Round:
        """Make the steps of round `number`, or the first `limit` of them."""


@dataclass
class Epoch:
    """One epoch's batches: what each step computes, and how much of it is real."""

    sizes: NDArray[np.int64]  # tokens computed, per step
    real: float  # share

    @classmethod
    def survey(cls, batches: StepBatches, steps: int) -> Epoch:
        """Make (not train) the first `steps` batches: one epoch of the stream that `batches` gives."""
        before, tokens = batches.tokens, TokenCount()
        batches.tokens = tokens
        sizes = np.zeros(steps, dtype=np.int64)
        for step in range(steps):
            sizes[step] = -tokens.computed
            batches.make(step)
            sizes[step] += tokens.computed
        batches.tokens = before
        return cls(sizes, tokens.real / tokens.computed)

    def rounds(self, size: Size, seed: int = 0) -> list[list[int]]:
        """Step numbers of each round: one step from each of `size.steps` equal strata of the epoch, sorted by tokens computed.

        So that every round is an epoch in small. Over the rounds no step comes twice while its stratum lasts.
        """
        rng = np.random.default_rng(seed)
        strata = [
            rng.permutation(s)
            for s in np.array_split(np.argsort(self.sizes, kind="stable"), size.steps)
            if len(s)
        ]
        return [[int(s[r % len(s)]) for s in strata] for r in range(size.rounds)]


@dataclass
class Side:
    """One way of making a step, in this process."""

    name: str
    trainer: Trainer
    batches: StepBatches
    rounds: list[list[int]]
    knobs: Knobs = field(default_factory=Knobs)
    make: Callable[[int], list[Step]] | None = None  # by default the one batch that `batches` makes

    def run(self, number: int, limit: int | None = None) -> Round:
        """Making the batches is timed, switching the knobs is not."""
        self.trainer.use(self.knobs)
        return timed(self.trainer, self.batches, self.rounds[number % len(self.rounds)][:limit], self.make)


def timed(
    trainer: Trainer,
    batches: StepBatches,
    steps: Sequence[int],
    make: Callable[[int], list[Step]] | None = None,
) -> Round:
    """Make and train the batches of `steps`."""
    make = make or (lambda step: [batches.make(step)])
    real, computed, examples = batches.tokens.real, batches.tokens.computed, 0
    start = time.perf_counter()
    for step in steps:
        parts = make(step)
        trainer.step(parts)
        examples += sum(part.examples for part in parts)
    seconds = time.perf_counter() - start
    return Round(
        seconds, len(steps), examples, batches.tokens.real - real, batches.tokens.computed - computed
    )


def side_by_side(
    title: str,
    sides: Sequence[Timed],
    rounds: int,
    *,
    wanted: dict[str, float] | None = None,
    epoch_real: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Time `sides` in turn, forwards and backwards; the first is the one the others are compared with.

    `ratio` of another side: the first side's examples per second over its own. `wanted` and `epoch_real` (share of real tokens over a
    whole epoch) are by side and only passed on.
    """
    done: dict[str, list[Round]] = {side.name: [] for side in sides}
    for side in sides:
        side.run(0, limit=2)  # warm: memory, threads, kernels' first calls
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            done[side.name].append(side.run(number))
    base = np.array([r.examples / r.seconds for r in done[sides[0].name]])
    rows = []
    for side in sides:
        made = done[side.name]
        rates = np.array([r.examples / r.seconds for r in made])
        row: dict[str, Any] = {
            "name": side.name,
            "examples_per_second": round(float(np.median(rates)), 1),
            "ms_per_step": round(1000 * float(np.median([r.seconds / r.steps for r in made])), 1),
            "steps": sum(r.steps for r in made),
        }
        if computed := sum(r.computed for r in made):
            row["real_tokens_timed"] = round(sum(r.real for r in made) / computed, 4)
        if epoch_real and side.name in epoch_real:
            row["real_tokens_epoch"] = round(epoch_real[side.name], 4)
        if side is not sides[0]:
            row["ratio"] = {**ratio(base, rates), "rounds": (base / rates).round(3).tolist()}
            if wanted and side.name in wanted:
                row["wanted"] = wanted[side.name]
        rows.append(row)
    return {"title": title, "base": sides[0].name, "rows": rows}
