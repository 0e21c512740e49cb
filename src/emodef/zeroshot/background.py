"""What unlabelled texts say about a label nobody labelled: how near to any text its definition lies. Imports numpy, head, unseen.

Of the texts only the mean and the covariance of their unit embeddings are kept, so it can travel with a model as one small file: the
cosines of a definition d with the texts have the mean m·d and the variance d·C·d, and are taken to be normal.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emodef.atomic import write_bytes
from emodef.errors import DataError
from emodef.predictor.head import Floats, sigmoid
from emodef.predictor.unseen import Guess, Trained, biases_for

QUADRATURE = 32  # points at which a function of a normal number is averaged


@dataclass(frozen=True, eq=False)
class Background:
    """Mean (H,) and covariance (H, H) of the unit embeddings of `texts` texts."""

    mean: Floats
    covariance: Floats
    texts: int

    @classmethod
    def of(cls, embeddings: Floats) -> Background:
        """From unit embeddings (n, H). Raises DataError for fewer than two."""
        if len(embeddings) < 2:
            raise DataError("a background needs texts: give a few hundred")
        covariance = np.cov(embeddings, rowvar=False).astype(np.float32)
        return cls(embeddings.mean(axis=0), covariance, len(embeddings))

    def cosines(self, vectors: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the texts' cosines with unit vectors (M, H), (M,) each."""
        variance = np.einsum("mh,hi,mi->m", vectors, self.covariance, vectors)
        return vectors @ self.mean, np.sqrt(np.maximum(variance, 0))

    def policy(self, vectors: Floats, trained: Trained) -> Guess:
        """The bias with which a label has, on average over such texts, the probability that the trained labels have there (their median).

        The threshold is the fixed one. As `unseen.background`, from the stored moments instead of the texts.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        weights = weights / weights.sum()

        def logits(of: Floats) -> Floats:
            mean, deviation = self.cosines(of)
            found: Floats = (trained.scale * (mean + nodes[:, None] * deviation)).astype(np.float32)
            return found

        known = weights @ sigmoid(logits(trained.vectors) + trained.biases)
        # biases_for takes plain means: repeat each node as often as it weighs
        shares = np.repeat(logits(vectors), np.round(weights * 4096).astype(int), axis=0)
        bias = biases_for(shares, float(np.median(known)))
        return Guess(bias, np.full(len(vectors), trained.fixed))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write one small file (float16)."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            mean=self.mean.astype(np.float32),
            # float16 has no room for the smallest of them as they are
            scale=np.float32(np.abs(self.covariance).max()),
            covariance=(self.covariance / np.abs(self.covariance).max()).astype(np.float16),
            texts=np.int64(self.texts),
        )
        write_bytes(Path(path), buffer.getvalue())

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Background:
        """Read what `write` wrote. Raises DataError."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                covariance = stored["covariance"].astype(np.float32) * stored["scale"]
                return cls(stored["mean"], covariance, int(stored["texts"]))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"cannot be read as a background ({error}); write it again", path) from None
