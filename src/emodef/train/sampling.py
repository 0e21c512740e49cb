"""Which task each step trains and on which examples: pure functions of the seed and the step. Imports numpy only.

Because nothing here has a state, a resumed or multi-process run draws exactly the tasks, batches and masks of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emodef.errors import SettingsError

if TYPE_CHECKING:
    from emodef.train.settings import TrainSettings

Indices = NDArray[np.int64]

POOL = 100  # batches sorted by length together: nearly no padding, and still a fresh mix of texts every epoch


def draw_tasks(seed: int, steps: int, p: float) -> NDArray[np.bool_]:
    """Whether each step trains the primary task: Bernoulli(p) per step (Singh et al. 2021, section III), (steps,).

    Step i's draw does not depend on `steps`, so a longer run starts with the same tasks.
    """
    return np.random.Generator(np.random.Philox(key=seed)).random(steps) < p


def count_primary(seed: int, steps: int, p: float) -> int:
    """How many of `steps` steps train the primary task."""
    return int(draw_tasks(seed, steps, p).sum())


def steps_until(seed: int, primary: int, p: float) -> int:
    """The number of steps after which `primary` primary ones are made, the last of them just then."""
    steps = primary
    while (made := np.cumsum(draw_tasks(seed, steps, p)))[-1] < primary:
        steps *= 2
    return int(np.searchsorted(made, primary)) + 1


def total_steps(settings: TrainSettings, epoch_steps: int, *, auxiliary: bool) -> int:
    """Steps of a run over an epoch of `epoch_steps` primary batches; `auxiliary`: whether there are auxiliary examples to draw.

    Raises SettingsError where `steps_as_p` leaves too few to evaluate `epochs` times.
    """
    steps = settings.epochs * epoch_steps
    if settings.budget == "primary" and auxiliary:
        return steps_until(settings.seed, steps, settings.p)
    if settings.steps_as_p is not None:
        made = count_primary(settings.seed, steps, settings.steps_as_p)
        if made < settings.epochs:
            raise SettingsError(
                f"steps_as_p = {settings.steps_as_p}: that is {made} steps in all, too few for {settings.epochs} epochs"
            )
        return made
    return steps


def epoch_ends(steps: int, epochs: int) -> list[int]:
    """After how many steps each of `epochs` equal stretches of the run ends; the last is `steps`."""
    return [steps * (epoch + 1) // epochs for epoch in range(epochs)]


def length_sorted_batches(
    lengths: Indices, batch_size: int, seed: int, stream: int, epoch: int, pool: int = POOL
) -> list[Indices]:
    """All examples once, in ⌈n / batch_size⌉ batches of similar length; order and mix depend only on (seed, stream, epoch).

    Examples are shuffled, cut into pools of `pool` batches, sorted by length within a pool, and the batches shuffled.
    """
    rng = np.random.default_rng([seed, stream, epoch, 2])
    order = rng.permutation(len(lengths))
    size = batch_size * pool
    pools = np.split(order, range(size, len(order), size))
    order = np.concatenate([chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in pools])
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


@dataclass(frozen=True)
class Draw:
    """What one step trains: the primary task or the auxiliary one, and the batch's place in that task's own stream."""

    primary: bool
    epoch: int  # of the stream, counted from 0
    position: int  # of the batch within that epoch


class TaskSampler:
    """Maps a step to its `Draw`. Both streams start again, reshuffled, when they are exhausted."""

    def __init__(self, seed: int, steps: int, p: float, primary_batches: int, auxiliary_batches: int) -> None:
        tasks = draw_tasks(seed, steps, p) if auxiliary_batches else np.ones(steps, dtype=np.bool_)
        self.tasks: NDArray[np.bool_] = tasks
        # of the step within its stream
        self._number = np.where(tasks, np.cumsum(tasks), np.cumsum(~tasks)) - 1
        self._sizes = (auxiliary_batches, primary_batches)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, step: int) -> Draw:
        primary = bool(self.tasks[step])
        epoch, position = divmod(int(self._number[step]), self._sizes[primary])
        return Draw(primary, epoch, position)


class Batches:
    """The batches of one stream, made an epoch at a time; `lengths(epoch)` gives its `count` examples' lengths in that epoch."""

    def __init__(
        self, count: int, lengths: Callable[[int], Indices], batch_size: int, seed: int, stream: int
    ) -> None:
        self.count, self.lengths, self.batch_size = count, lengths, batch_size
        self.seed, self.stream = seed, stream
        self._epoch = lru_cache(maxsize=1)(self._make)

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def get(self, draw: Draw) -> Indices:
        """Example indices of the batch that `draw` names."""
        return self._epoch(draw.epoch)[draw.position]

    def _make(self, epoch: int) -> list[Indices]:
        return length_sorted_batches(self.lengths(epoch), self.batch_size, self.seed, self.stream, epoch)


def mask_words(
    input_ids: Indices,
    special: NDArray[np.bool_],
    mask_id: int,
    vocabulary: int,
    rng: np.random.Generator,
    rate: float = 0.15,
) -> tuple[Indices, NDArray[np.bool_]]:
    """BERT's masking (Devlin et al. 2019) on a copy: of the chosen 15% of tokens 80% become [MASK], 10% a random token, 10% stay.

    Returns the masked ids (batch, length) and where words are to be predicted. Special tokens and padding are never chosen.
    """
    chosen = (rng.random(input_ids.shape) < rate) & ~special
    kind = rng.random(input_ids.shape)
    masked = input_ids.copy()
    masked[chosen & (kind < 0.8)] = mask_id
    swapped = chosen & (kind >= 0.8) & (kind < 0.9)
    masked[swapped] = rng.integers(0, vocabulary, int(swapped.sum()))
    return masked, chosen
