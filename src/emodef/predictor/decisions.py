"""From probabilities to labels: which thresholds, which level, and what to do when none passes. Imports numpy, metrics, errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emodef.errors import LabelSetError, SettingsError
from emodef.labels import LabelSet
from emodef.metrics import coarsen_probabilities, decide
from emodef.predictor.model_file import ModelInfo

Threshold = str | float | Sequence[float] | NDArray[np.floating] | None


def labels_of(level: str | None, info: ModelInfo) -> LabelSet:
    """The label set of a level, by default the model's own. Raises LabelSetError for a level it has no mapping to."""
    own = info.label_set
    if level is None or level == own.name:
        return own
    if level not in own.mappings:  # who has a model alone has no label file to add a mapping to
        known = f"there are {own.name}, {', '.join(own.mappings)}" if own.mappings else "leave it out"
        known += f"; to labels of your own a [mappings.{level}] table adds one"
        raise LabelSetError(f"the labels {own.name!r} have no level {level!r}; {known}")
    return own.coarse[level]


def coarsen(probabilities: NDArray[np.float32], level: str | None, info: ModelInfo) -> NDArray[np.float32]:
    """Probabilities (n, K) at a level: a coarse label is as likely as its likeliest child. Raises LabelSetError."""
    if level is None or level == info.label_set.name:
        return probabilities
    coarse, groups = info.label_set.groups(level)
    return coarsen_probabilities(probabilities, groups, len(coarse)).astype(np.float32)


def resolve_thresholds(given: Threshold, level: str | None, info: ModelInfo) -> NDArray[np.float64] | None:
    """What each label's probability must exceed, float64 (K,); None where a text has one label, the likeliest.

    given: "tuned" (each label's own, from dev), "fixed" (the one number the model was trained to be read with), a number
    (also as a text, as it comes from a command line), a number for each label, or None: tuned where there is, else fixed.
    level: of the labels; None is the model's own. Raises SettingsError for what is none of these, or not to be had.
    """
    labels = labels_of(level, info)
    if info.label_set.exclusive:
        if given is not None:
            raise SettingsError("this model gives each text its likeliest label; leave the threshold out")
        return None
    tuned = info.thresholds.get("tuned", {})
    if given is None:
        given = "tuned" if labels.name in tuned else "fixed"
    word = given if isinstance(given, str) else ""  # an array is compared number by number
    if word == "tuned":
        if labels.name not in tuned:
            raise SettingsError(
                f"this model has no thresholds tuned for {labels.name}; use fixed, or a number from 0 to below 1"
            )
        return np.asarray(tuned[labels.name], dtype=np.float64)
    try:
        values = np.asarray(info.thresholds["fixed"] if word == "fixed" else given, dtype=np.float64)
        found = np.broadcast_to(values, (len(labels),))
    except (ValueError, TypeError):
        found = np.array([-1.0])
    if not ((found >= 0) & (found < 1)).all():
        message = f"threshold {given!r}: give tuned, fixed, or a number from 0 to below 1"
        if not isinstance(given, str | int | float):  # a command line takes no more than one
            message += f", or such a number for each of the {len(labels)} labels"
        raise SettingsError(message)
    return found


def choose(
    probabilities: NDArray[np.floating], thresholds: NDArray[np.float64] | None, at_least_one: bool = False
) -> NDArray[np.bool_]:
    """Which labels are predicted, boolean (n, K): those above their threshold; without thresholds the likeliest alone.

    at_least_one: where none passes, the likeliest label. Give raw probabilities: thresholds are tuned on these.
    """
    likeliest = decide(probabilities, 0.0, exclusive=True)
    if thresholds is None:
        return likeliest
    chosen = decide(probabilities, thresholds)
    if at_least_one:
        chosen |= likeliest & ~chosen.any(axis=1, keepdims=True)
    return chosen
