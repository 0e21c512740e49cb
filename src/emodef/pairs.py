"""The auxiliary corpus: (text, definition, is-definition) pairs. Imports numpy only.

Source: Singh et al., "Fine-Grained Emotion Prediction by Modeling Emotion Definitions" (ACII 2021), section III, Figure 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pairs:
    """m pairs: pair i is text `text[i]` with the definition of label `label[i]`; `is_definition[i]` is 1 where the text has that label."""

    text: NDArray[np.int64]
    label: NDArray[np.int64]
    is_definition: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.text)


def definition_pairs(
    labels: NDArray[np.uint8], seed: int, epoch: int = 0, *, negatives: bool = True
) -> Pairs:
    """Two pairs per (text, label it has): that label's definition, and the definition of a label the text does not have.

    `labels` is (n, K) multi-hot. Negatives are drawn uniformly, anew for each `epoch`, as a pure function of (seed, epoch). A text that
    has every label gets no negative; without `negatives` only the positive pairs are made (the MLM setup). Order: all positive pairs by
    text, then their negatives in the same order.
    """
    text, label = (a.astype(np.int64) for a in np.nonzero(labels))
    positive = np.ones(len(text), dtype=np.int64)
    if not negatives:
        return Pairs(text, label, positive)
    free = labels[text] == 0  # (m, K)
    count = free.sum(1)
    draw = np.random.default_rng([seed, epoch, 1]).random(len(text))
    nth = (draw * count).astype(np.int64)  # which of the free labels
    other = np.argmax(np.cumsum(free, axis=1) > nth[:, None], axis=1).astype(np.int64)
    has = count > 0
    return Pairs(
        np.concatenate([text, text[has]]),
        np.concatenate([label, other[has]]),
        np.concatenate([positive, np.zeros(int(has.sum()), dtype=np.int64)]),
    )
