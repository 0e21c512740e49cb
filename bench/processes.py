"""What can only be set for a whole process (denormals, kept memory), timed side by side in processes that take turns. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.children import Child
from bench.steps import Knobs, Trainer, batches_of
from bench.timing import Epoch, Round, Size, side_by_side, timed
from emodef.corpora import Corpus
from emodef.train.batches import StepBatches
from emodef.train.performance import tune_process
from emodef.train.settings import TrainSettings

TUNED, NOT_KEPT, NOT_FLUSHED = "as trained", "freed memory given back", "denormals kept"
DONORS = 64  # words whose moments stand for those of all words


def tune(tuning: str) -> None:
    """The loop's own tuning, or that without one of its parts. Threads started later inherit what is set for the first."""
    if tuning == NOT_KEPT:
        torch.set_flush_denormal(True)
        return
    tune_process()
    if tuning == NOT_FLUSHED:
        torch.set_flush_denormal(False)


class Process:
    """A side of a comparison that lives in a process of its own."""

    def __init__(
        self,
        tuning: str,
        settings: TrainSettings,
        corpus: Corpus,
        knobs: Knobs,
        size: Size,
        epoch_steps: int,
        threads: int,
    ) -> None:
        self.name = tuning
        self._child = Child(tuning, _serve, tuning, settings, corpus, knobs, size, epoch_steps, threads)

    def run(self, number: int, limit: int | None = None) -> Round:
        """Make the steps of one round there."""
        return self._ask("run", number, limit)

    def age(self) -> int:
        """Age the moments there (`age_moments`); how many of them are denormal numbers now."""
        return self._ask("age")

    def close(self) -> None:
        """End the process."""
        self._child.close()

    def _ask(self, *request: object) -> Any:
        self._child.ask(request)
        return self._child.answer()


def _serve(
    pipe: Connection,
    tuning: str,
    settings: TrainSettings,
    corpus: Corpus,
    knobs: Knobs,
    size: Size,
    epoch_steps: int,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    tune(tuning)
    trainer = Trainer(settings, corpus)
    trainer.use(knobs)
    batches = batches_of(trainer)
    rounds = Epoch.survey(batches, epoch_steps).rounds(size)
    while (request := pipe.recv()) is not None:
        if request[0] == "run":
            pipe.send(timed(trainer, batches, rounds[request[1] % len(rounds)][: request[2]]))
        else:
            pipe.send(age_moments(trainer, batches, epoch_steps))


def age_moments(trainer: Trainer, batches: StepBatches, steps: int) -> int:
    """Bring the words' moments to where the first `steps` steps of a run leave them; returns how many are denormal numbers.

    When each word was last seen follows from the batches. A word unseen for g steps has had g updates of AdamW without a gradient: so are
    the moments of some words trained here carried on, by AdamW itself, and handed to the words that wait that long.
    """
    last = np.full(trainer.table.shape[0], -1)
    for step in range(steps):
        last[np.unique(batches.make(step).batch.texts.input_ids.numpy())] = step  # type: ignore[union-attr]
    gaps = np.where(last >= 0, steps - 1 - last, -1)
    state: Mapping[str, torch.Tensor] = trainer.optimizer.state[trainer.table]
    trained = state["exp_avg"].abs().mean(1).topk(DONORS).indices
    carried = nn.Parameter(trainer.table.detach()[trained].clone())
    carried.grad = torch.zeros_like(carried)
    clock = torch.optim.AdamW([carried], lr=trainer.settings.learning_rate, weight_decay=0.0, fused=True)
    clock.state[carried] = {
        "step": state["step"].clone(), **{key: state[key][trained].clone() for key in ("exp_avg", "exp_avg_sq")}
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for gap in range(1, int(gaps.max()) + 1):
        clock.step()
        if len(rows := torch.from_numpy(np.flatnonzero(gaps == gap))):
            donors = torch.from_numpy(rng.integers(0, len(trained), len(rows)))
            for key in ("exp_avg", "exp_avg_sq"):
                state[key][rows] = clock.state[carried][key][donors]
    bits = state["exp_avg"].numpy().view(np.int32) & 0x7FFFFFFF
    return int(((bits > 0) & (bits < 0x00800000)).sum())


def compare(
    settings: TrainSettings, corpus: Corpus, knobs: Knobs, size: Size, epoch_steps: int, threads: int
) -> list[dict[str, Any]]:
    """The comparisons of memory kept and of denormals flushed."""
    sides = {
        tuning: Process(tuning, settings, corpus, knobs, size, epoch_steps, threads)
        for tuning in (TUNED, NOT_KEPT, NOT_FLUSHED)
    }
    try:
        kept = side_by_side("Freed memory kept in the process", [sides[TUNED], sides[NOT_KEPT]], size.rounds)
        flushed = (sides[TUNED], sides[NOT_FLUSHED])
        for number in range(size.rounds):  # the one has trained already; the other's moments must exist, too
            sides[NOT_FLUSHED].run(number)
        denormals = {side.name: side.age() for side in flushed}
        aged = side_by_side(
            "Denormals flushed to zero, moments as after the first epoch", flushed, size.rounds
        )
        aged["denormal_moments"] = denormals
        return [kept, aged]
    finally:
        for side in sides.values():
            side.close()
