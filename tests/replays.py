"""A recording of work (emodef.train.graphs) where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emodef.train.graphs import Record


def kept(rehearsal: Callable[[], None], work: Callable[[], None]) -> Callable[[], None]:
    """A function recorded by keeping it."""
    rehearsal()
    return work


@dataclass
class Replays:
    """Records functions as `how` does; says how often it recorded and replayed one."""

    how: Record = kept
    recorded: int = 0
    replayed: int = 0

    def __call__(self, rehearsal: Callable[[], None], work: Callable[[], None]) -> Callable[[], None]:
        again = self.how(rehearsal, work)
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            again()

        return replay
