"""A saved model put to work on texts: where it runs, and which texts are too long for it. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from emodef.train.checkpoint import TrainedModel


def load_model(directory: str | os.PathLike[str], *, cpu: bool = False) -> TrainedModel:
    """Read a model directory onto the GPU where there is one, unless `cpu`. Errors: `TrainedModel.load`."""
    return TrainedModel.load(directory, "cuda" if torch.cuda.is_available() and not cpu else "cpu")


def too_long(model: TrainedModel, texts: Sequence[str]) -> NDArray[np.intp]:
    """Positions of the texts that `predict_proba` cuts, having more tokens than the model takes (`model.tokenizer.longest`)."""
    lengths = model.tokenizer.encoder.tokenize(texts).lengths + model.tokenizer.encoder.single_overhead
    return np.flatnonzero(lengths > model.tokenizer.longest)
