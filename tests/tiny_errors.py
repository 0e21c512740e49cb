"""Predictions of made-up texts with many a wrong label, one text hostile and one very long."""

from __future__ import annotations

import numpy as np

from emodef.corpora import Corpus
from emodef.labels import LabelSet

GOEMOTIONS = LabelSet.load("goemotions")
HOSTILE = "<img src=x onerror=\"window.hit = 1\"></script><script>window.hit = 1</script><!-- & 'so' \\u003cb> ${x} half \ud83d \u2028"


def made() -> tuple[np.ndarray, Corpus]:
    draw, texts, labels = np.random.default_rng(3), 400, GOEMOTIONS
    truth = (draw.random((texts, len(labels))) < 1.3 / len(labels)).astype(np.uint8)
    values = np.clip(0.3 * truth + 0.42 * draw.random(truth.shape) ** 3, 0, 1).astype(np.float32)
    for row in np.flatnonzero(truth.any(axis=1))[::3]:  # many a label is taken for the next
        k = int(truth[row].argmax())
        values[row, [k, (k + 1) % len(labels)]] = 0.05, 0.4 + row % 50 / 100
    lines = [f"text number {row} of many" for row in range(texts)]
    lines[1] = HOSTILE
    truth[1], values[1] = 0, 0
    truth[1, 0], values[1, 1] = 1, 0.99
    lines[2] = "a very long text " * 100
    return values, Corpus("made", "test", lines, truth, labels, [str(row) for row in range(texts)])
