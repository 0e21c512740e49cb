"""Long texts in overlapping windows of tokens, and what the windows say together. Imports numpy and encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.encoding import Indices, Tokens, offsets_of

OVERLAP = 0.25  # of a window, at least, with the next


@dataclass(frozen=True)
class Windows:
    """n texts as m windows, in order: a text that is short enough is one window, itself.

    tokens: of the windows, a row a window. counts: windows of each text, (n,). starts: the token of its text at which each
    window begins, (m,). lengths: tokens of each text, (n,).
    """

    tokens: Tokens
    counts: Indices
    starts: Indices
    lengths: Indices

    @property
    def first(self) -> Indices:
        """Each text's first window, (n,)."""
        return np.cumsum(self.counts) - self.counts

    def texts_begun(self, chosen: Indices) -> Indices:
        """Of some windows, those that are their texts' first: which texts."""
        if len(self.counts) == len(self.tokens):
            return chosen
        owner = np.repeat(np.arange(len(self.counts)), self.counts)[chosen]
        begun: Indices = owner[self.starts[chosen] == 0]
        return begun

    def mean(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of the windows (m, ...) -> mean of each text's (n, ...).

        All windows of a text have the same length, so that this is their mean weighted by length.
        """
        if len(self.counts) == len(values):
            return values
        counts = self.counts.reshape(-1, *[1] * (values.ndim - 1))
        mean: NDArray[Any] = np.add.reduceat(values, self.first, axis=0) / counts.astype(values.dtype)
        return mean


def cut(tokens: Tokens, room: int | Indices) -> Windows:
    """Cut every text of more than `room` tokens into windows of that many; `room` is one number, or one a text.

    They are spread evenly from the text's first token to its last, as few as leave each a quarter or more of its length in
    common with the next.
    """
    lengths = tokens.lengths
    counts = np.ones(len(tokens), dtype=np.int64)
    rooms = np.broadcast_to(room, counts.shape)
    if not len(long := np.flatnonzero(lengths > rooms)):
        return Windows(tokens, counts, np.zeros(len(tokens), dtype=np.int64), lengths)
    steps = rooms - np.ceil(rooms * OVERLAP).astype(np.int64)
    counts[long] += -(-(lengths - rooms) // steps)[long]
    owner = np.repeat(np.arange(len(tokens)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.where(number == 0, 0, number * (lengths - rooms)[owner] // np.maximum(counts[owner] - 1, 1))
    sizes = np.minimum(lengths, rooms)[owner]
    offsets = offsets_of(sizes)
    source = np.repeat(tokens.offsets[owner] + starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    return Windows(Tokens(tokens.flat[source], offsets), counts, starts, lengths)
