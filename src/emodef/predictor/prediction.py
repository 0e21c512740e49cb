"""What a prediction holds: labels with scores, best first, and where a long text was read in parts. Imports numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Label(NamedTuple):
    """A label and its probability."""

    name: str
    score: float


@dataclass(frozen=True)
class Part:
    """One window of a long text: `text[start:end]`, and the probability of every label in it."""

    start: int
    end: int
    scores: dict[str, float]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The labels of one text.

    labels: those predicted, best first; may be none. tokens: of the text, without special ones; 0 for an empty text, whose
    answer means nothing. windows: how many overlapping windows the text was read in; its probabilities are their mean.
    parts: these windows, where there are several.
    """

    text: str = field(repr=False)
    labels: tuple[Label, ...]
    probabilities: NDArray[np.float32] = field(repr=False)  # (K,)
    names: tuple[str, ...] = field(repr=False)
    tokens: int
    windows: int = 1
    parts: tuple[Part, ...] = field(default=(), repr=False)

    @property
    def scores(self) -> dict[str, float]:
        """The probability of every label, best first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return {self.names[k]: float(self.probabilities[k]) for k in order}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: text, labels, scores; and for a long text its parts."""
        found: dict[str, Any] = {
            "text": self.text,
            "labels": [{"name": name, "score": round(score, 6)} for name, score in self.labels],
            "scores": {name: round(score, 6) for name, score in self.scores.items()},
            "tokens": self.tokens,
            "windows": self.windows,
        }
        if self.parts:
            found["parts"] = [
                {
                    "start": part.start,
                    "end": part.end,
                    "scores": {n: round(s, 6) for n, s in part.scores.items()},
                }
                for part in self.parts
            ]
        return found
