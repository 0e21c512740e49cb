"""A recording of work (emodef.train.graphs) where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Replays:
    """Records a function by keeping it; says how often each was recorded and replayed."""

    recorded: int = 0
    replayed: int = 0

    def __call__(self, rehearsal: Callable[[], None], work: Callable[[], None]) -> Callable[[], None]:
        rehearsal()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay
