"""Labels without labelled texts: one vector from what is said of a label, and its bias and threshold by a policy. Imports numpy, head.

A matching model scores a text t and a label of vector d as sigmoid(s·cos(t, d) + b). Training learned the scale s, shared by all labels,
and a bias b for each label it was trained on; a new label has neither a bias nor a threshold, and a policy guesses both. A policy is a
pure function, so that an evaluation on held-out labels can compare any of them (`POLICIES`, or one's own).

Texts resemble each other more than they resemble definitions, so a label with examples is near to every text. A policy sees what its
definitions say; what the examples add on ordinary texts is then taken out of the bias (`of_examples`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emodef.errors import SettingsError
from emodef.predictor.head import Floats, products, sigmoid, unit

NEIGHBOURS = 3  # trained labels that "neighbours" takes its numbers from
CENTRED = 0.5  # of 0, 1/4, 1/2, 3/4 and 1 the best on GoEmotions dev, its labels in five wordings
STEPS = 40  # halvings of an interval that surely holds a bias


@dataclass(frozen=True, eq=False)
class Trained:
    """What a matching model knows of the labels it was trained on, in their order, K of them.

    scale: shared. biases: (K,). fixed: the threshold for all labels. tuned: thresholds from dev, (K,), where there are.
    encode: gives the unit vectors of their definitions, (K, H); called by policies that need them. background: unit embeddings of
    unlabelled texts, (n, H), where there are any.
    """

    scale: float
    biases: Floats
    fixed: float
    tuned: NDArray[np.float64] | None
    encode: Callable[[], Floats]
    background: Floats | None = None

    @cached_property
    def vectors(self) -> Floats:
        """Unit vectors of the trained labels' definitions, (K, H)."""
        return self.encode()


class Guess(NamedTuple):
    """For M labels without data: biases float32 (M,) and thresholds float64 (M,)."""

    bias: Floats
    threshold: NDArray[np.float64]


Policy = Callable[[Floats, Trained], Guess]  # unit vectors of the labels' definitions (M, H) -> Guess


def combined(vectors: Floats) -> Floats:
    """One unit vector (H,) from the embeddings (n, H) of what is said of a label: the mean of all, each at length 1."""
    return unit(unit(vectors).mean(axis=0, keepdims=True))[0]


def mean(vectors: Floats, trained: Trained) -> Guess:
    """The mean of the trained biases, and the fixed threshold."""
    bias = np.full(len(vectors), trained.biases.mean(), dtype=np.float32)
    return Guess(bias, np.full(len(bias), trained.fixed))


def mean_tuned(vectors: Floats, trained: Trained) -> Guess:
    """The mean of the trained biases, and the mean of the tuned thresholds; without these the fixed one."""
    found = mean(vectors, trained)
    if trained.tuned is None:
        return found
    return found._replace(threshold=np.full(len(found.bias), trained.tuned.mean()))


def neighbours(vectors: Floats, trained: Trained) -> Guess:
    """Bias and threshold from the trained labels whose definitions are most similar: their mean, weighted by how similar."""
    cosine = products(vectors, trained.vectors)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :NEIGHBOURS]
    weight = np.clip(np.take_along_axis(cosine, nearest, axis=1), 1e-3, None)
    weight /= weight.sum(axis=1, keepdims=True)
    bias = (trained.biases[nearest] * weight).sum(axis=1).astype(np.float32)
    if trained.tuned is None:
        return Guess(bias, np.full(len(bias), trained.fixed))
    return Guess(bias, (trained.tuned[nearest] * weight).sum(axis=1))


def centred(vectors: Floats, trained: Trained, part: float = CENTRED) -> Guess:
    """The mean of the trained biases, less a part of how much nearer the label is to ordinary texts than trained labels are.

    Some wordings are near to every text, whatever they mean ("because others saw me" to any story), and would win over all others.
    Without background texts it is `mean`.
    """
    found = mean(vectors, trained)
    if trained.background is None or not len(trained.background):
        return found
    ordinary = trained.background.mean(axis=0)
    excess = vectors @ ordinary - float((trained.vectors @ ordinary).mean())
    return found._replace(bias=(found.bias - np.float32(part * trained.scale) * excess).astype(np.float32))


def background(vectors: Floats, trained: Trained) -> Guess:
    """A bias that gives the label, on average over the background texts, the probability that trained labels have there.

    A definition near to every text would else be found in all of them, and one far from every text in none. The threshold is the
    fixed one. Raises SettingsError where there are no background texts.
    """
    if trained.background is None or not len(trained.background):
        raise SettingsError("the policy 'background' needs texts; give a few hundred, unlabelled")
    known = trained.scale * products(trained.background, trained.vectors) + trained.biases
    wanted = float(np.median(sigmoid(known).mean(axis=0)))
    bias = biases_for(trained.scale * products(trained.background, vectors), wanted)
    return Guess(bias, np.full(len(bias), trained.fixed))


def of_examples(vectors: Floats, definitions: Floats, scale: float, background: Floats) -> Floats:
    """What their examples add to labels' log odds on an average background text, (M,).

    vectors: unit vectors from definitions and examples, (M, H); definitions: from definitions alone; background: unit embeddings.
    """
    shift: Floats = np.float32(scale) * ((vectors - definitions) @ background.mean(axis=0))
    return shift


def biases_for(logits: Floats, wanted: float) -> Floats:
    """Biases (M,) with which the sigmoid of logits (n, M) has the mean `wanted` (between 0 and 1) in each column."""
    wanted = min(max(wanted, 1e-7), 1 - 1e-7)
    at = float(np.log(wanted / (1 - wanted)))
    low, high = at - logits.max(axis=0), at - logits.min(axis=0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        above = sigmoid((logits + middle).astype(np.float32)).mean(axis=0) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    found: Floats = ((low + high) / 2).astype(np.float32)
    return found


POLICIES: dict[str, Policy] = {
    "mean": mean,
    "mean_tuned": mean_tuned,
    "neighbours": neighbours,
    "centred": centred,
    "background": background,
}
DEFAULT = "centred"
OF_TRAINED = (mean, mean_tuned, neighbours)  # these ask for no background texts


def policy_of(given: str | Policy) -> Policy:
    """A policy by name, or one's own as it is; "centred:0.25" takes that part. Raises SettingsError for an unknown name."""
    if callable(given):
        return given
    name, sign, part = given.partition(":")
    if sign and name == centred.__name__:
        return _centred_by(given, part)
    if given not in POLICIES:
        raise SettingsError(f"policy {given!r}; there are {', '.join(POLICIES)}, or give a function")
    return POLICIES[given]


def name_of(policy: Policy) -> str:
    """What labels scored by a policy are known by; of a partial function with what it was given, the same in every process."""
    if isinstance(policy, partial):
        given = [*map(repr, policy.args), *(f"{key}={value!r}" for key, value in policy.keywords.items())]
        return f"{name_of(policy.func)}({', '.join(given)})"
    return str(getattr(policy, "__name__", repr(policy)))


def _centred_by(given: str, part: str) -> Policy:
    try:
        share = float(part)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SettingsError(f"policy {given!r}: the part is a number from 0 to 1")

    def policy(vectors: Floats, trained: Trained) -> Guess:
        return centred(vectors, trained, share)

    policy.__name__ = given  # what labels scored by it are known by
    return policy
