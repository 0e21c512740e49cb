"""Logistic and softmax regression towards a head that is there already, by a Gaussian prior around it. Imports numpy.

A head is a weight (H) and a bias a label. Beside the usual loss of the labelled texts it pays strength/2 · ‖w - w₀‖² for going away
from where it starts (a ridge around w₀ instead of 0; Chelba & Acero 2004), so that with few texts it stays near the start, and with many
it is what the texts say. What a fit adds to the start lies in the span of the texts' vectors (representer theorem), so it is sought along
their principal directions: min(n, H) numbers a label, whatever H is, and the prior, equal in all directions, stays as it is. Newton's
method; each step is solved by conjugate gradients, which along those directions need few rounds and form no matrix of second derivatives,
so that softmax, whose labels hang together, is the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

GRADIENT = 1e-7  # largest entry of the gradient at which a fit has converged
STEPS, ROUNDS = 100, 200  # Newton's and conjugate gradients', at most


class Linear(NamedTuple):
    """K linear functions of a vector (H): weight (K, H), bias (K,)."""

    weight: Floats
    bias: Floats

    def logits(self, vectors: ArrayLike) -> Floats:
        """(n, H) -> (n, K)."""
        return np.asarray(np.asarray(vectors, dtype=np.float64) @ self.weight.T + self.bias)


def probabilities(logits: Floats, exclusive: bool) -> Floats:
    """Of each label by itself; with `exclusive` over the labels of a text."""
    if not exclusive:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def surprise(logits: Floats, truth: Floats, exclusive: bool) -> Floats:
    """Negative log-likelihood of each text, (n,); `truth` 0/1 (n, K). With `exclusive` a text without a label says nothing."""
    if not exclusive:
        return np.asarray((np.logaddexp(0.0, logits) - truth * logits).sum(axis=1))
    top = logits.max(axis=1, keepdims=True)
    whole = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return np.asarray(whole * truth.sum(axis=1) - (truth * logits).sum(axis=1))


@dataclass(frozen=True)
class Texts:
    """Labelled vectors made ready for many fits towards one start: of all of them, or of some rows.

    places: (n, r) their places along the principal directions; directions: (r, H). offsets: (n, K) the start's logits.
    """

    start: Linear
    truth: Floats
    exclusive: bool
    places: Floats
    directions: Floats
    offsets: Floats

    @classmethod
    def of(cls, vectors: ArrayLike, truth: ArrayLike, start: Linear, *, exclusive: bool) -> Texts:
        """vectors: (n, H); truth: 0/1 (n, K)."""
        x = np.asarray(vectors, dtype=np.float64)
        n, width = x.shape
        few = n <= width  # else the directions of x'x are the same, and cheap
        directions = np.linalg.svd(x, full_matrices=False)[2] if few else np.linalg.eigh(x.T @ x)[1].T
        return cls(
            start,
            np.asarray(truth, dtype=np.float64),
            exclusive,
            x @ directions.T,
            directions,
            start.logits(x),
        )

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: NDArray) -> Texts:
        """Some of the texts, along the directions of all."""
        return Texts(
            self.start,
            self.truth[rows],
            self.exclusive,
            self.places[rows],
            self.directions,
            self.offsets[rows],
        )

    def added(
        self,
        strength: float,
        bias_strength: float,
        *,
        begin: Floats | None = None,
        fixed: NDArray[np.bool_] | None = None,
        close: float = GRADIENT,
    ) -> Floats:
        """What the fit adds to the start, (r + 1, K): along each direction, and to the bias.

        strength, bias_strength: of the prior; `inf` adds nothing. begin: where to look from, such as the fit with a neighbouring strength.
        fixed: (K,) labels that stay as they start; by default those that no text here has. close: largest entry of the gradient at the end.
        """
        found = np.zeros((self.places.shape[1] + 1, self.truth.shape[1]))
        if begin is not None:
            found[:] = begin
        precision = np.full(len(found), float(strength))
        precision[-1] = bias_strength
        used = np.flatnonzero(np.isfinite(precision))
        still = ~self.truth.any(axis=0) if fixed is None else fixed
        found[:, still] = 0
        found[~np.isfinite(precision)] = 0
        free = np.flatnonzero(~still)
        if not len(used) or not len(free):
            return found
        features = np.hstack([self.places, np.ones((len(self), 1))])[:, used]
        if not self.exclusive:  # labels apart: those that stay have no part in it
            solved = _newton(
                features,
                self.offsets[:, free],
                self.truth[:, free],
                precision[used],
                found[np.ix_(used, free)],
                False,
                close,
            )
            found[np.ix_(used, free)] = solved
            return found
        moving = np.where(still, 0.0, 1.0)
        found[used] = _newton(
            features, self.offsets, self.truth, precision[used], found[used], True, close, moving
        )
        return found

    def logits(self, added: Floats) -> Floats:
        """The texts' logits (n, K) by a head to which so much was added."""
        return self.offsets + self.places @ added[:-1] + added[-1]

    def head(self, added: Floats) -> Linear:
        """The head itself."""
        return Linear(self.start.weight + added[:-1].T @ self.directions, self.start.bias + added[-1])


def _newton(
    features: Floats,
    offsets: Floats,
    truth: Floats,
    precision: Floats,
    begin: Floats,
    exclusive: bool,
    close: float,
    moving: Floats | None = None,
) -> Floats:
    """The most probable (p, K) of: logits = offsets + features · found, prior around 0 with `precision` (p,). moving: (K,) 0 for labels
    whose column stays."""
    prior = precision[:, None]
    moves = np.ones(truth.shape[1]) if moving is None else moving
    squares = features**2

    def value(found: Floats) -> float:
        logits = offsets + features @ found
        return float(surprise(logits, truth, exclusive).sum() + 0.5 * (prior * found**2).sum())

    found, best = begin.copy(), value(begin)
    labelled = truth.sum(axis=1, keepdims=True) if exclusive else 1.0
    for _ in range(STEPS):
        p = probabilities(offsets + features @ found, exclusive)
        gradient = (features.T @ (labelled * p - truth) + prior * found) * moves
        size = float(np.abs(gradient).max())
        if size < close:
            break
        spread = labelled * p * (1 - p)

        def curvature(step: Floats, p: Floats = p) -> Floats:
            turn = features @ step
            bent = p * (turn - (p * turn).sum(axis=1, keepdims=True)) if exclusive else p * (1 - p) * turn
            return np.asarray((features.T @ (labelled * bent) + prior * step) * moves)

        scale = squares.T @ spread + prior
        norm = float(np.linalg.norm(gradient))
        step = _conjugate(curvature, -gradient, scale, norm * min(0.1, norm**0.5))
        slope, length = float((gradient * step).sum()), 1.0
        while length > 1e-10:
            now = value(found + length * step)
            if now <= best + 1e-4 * length * slope:
                break
            length /= 2
        else:
            break  # no lower value to be told from this one in float64
        found, best = found + length * step, now
    return found


def _conjugate(product: Callable[[Floats], Floats], wanted: Floats, scale: Floats, close: float) -> Floats:
    """`product`(step) = `wanted`, to a residual of norm `close`; `scale`: the diagonal of the product, roughly."""
    step, residual = np.zeros_like(wanted), wanted.copy()
    eased = residual / scale
    direction, size = eased, float((residual * eased).sum())
    for _ in range(ROUNDS):
        turned = product(direction)
        length = size / float((direction * turned).sum())
        step = step + length * direction
        residual = residual - length * turned
        if float(np.linalg.norm(residual)) <= close:
            break
        eased = residual / scale
        after = float((residual * eased).sum())
        direction, size = eased + after / size * direction, after
    return step
