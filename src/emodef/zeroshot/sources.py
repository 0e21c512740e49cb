"""What can score a text against a label's words: the interface, and light models. Imports predictor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emodef.errors import SettingsError
from emodef.labels import LabelSet
from emodef.predictor import Predictor
from emodef.predictor.head import Floats, hash_of, unit


@dataclass(frozen=True)
class Match:
    """A matching head: how a label is read, the shared scale, and each trained label's bias (K,)."""

    text: str
    scale: float
    biases: Floats


class Source(Protocol):
    """A model. weights: a hash of it. label_set: what it was trained on, None for an untuned encoder.

    match: its matching head, where it has one. crossing: whether it reads (text, definition) pairs. thresholds: as in model.json.
    """

    name: str
    weights: str
    label_set: LabelSet | None
    match: Match | None
    crossing: bool
    fixed: float
    tuned: NDArray[np.float64] | None

    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings (n, H)."""
        ...

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Of its own labels, (n, K)."""
        ...

    def definition_proba(self, text: Sequence[str], definitions: Sequence[str]) -> Floats:
        """How likely each definition is one of the text beside it, (n,)."""
        ...


class LightSource:
    """A light model as a source."""

    def __init__(self, name: str, path: str | os.PathLike[str] | None = None) -> None:
        self.name, self.predictor = name, Predictor.load(path)
        if self.predictor.layer is not None:
            raise SettingsError(
                f"{path}: is a fitted head, which scores its own labels only; name the model it stands on, 'shipped' if that is the one "
                "emodef brings"
            )
        info = self.predictor.info
        self.weights = hash_of(self.predictor.graph.path)[:16]
        self.label_set: LabelSet | None = info.label_set
        match = info.match
        self.match = (
            None if match is None else Match(match.text, match.scale, np.array(match.bias, dtype=np.float32))
        )
        self.crossing = info.definition_head
        self.fixed = float(info.thresholds["fixed"])
        tuned = info.thresholds.get("tuned", {}).get(info.label_set.name)
        self.tuned = None if tuned is None else np.array(tuned, dtype=np.float64)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings (n, H)."""
        return unit(self.predictor.embed(texts))

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Of its own labels, (n, K)."""
        return self.predictor.predict_proba(texts)

    def definition_proba(self, text: Sequence[str], definitions: Sequence[str]) -> Floats:
        """How likely each definition is one of the text beside it, (n,)."""
        return self.predictor.definition_proba(text, definitions)
