"""What a model's weights hold besides its own training labels: other models, and texts without labels. For cards. Imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def origins(settings: Mapping[str, Any]) -> list[str]:
    """Sentences on the model a run began with, its teachers, texts that they alone labelled, and averaged weights; none for a plain run.

    settings: the run's. Other models are named by the hashes that `emodef soft-labels` prints: their names are their owner's.
    """
    found = []
    if settings.get("start"):
        known = settings.get("start_hash") or "not recorded"
        found.append(f"Began with another trained model ({known}); what that was made from is in here too.")
    if teachers := settings.get("teacher"):
        known = ", ".join(settings.get("teacher_hashes") or teachers)
        found.append(
            f"Learned from {_count(len(teachers), 'other model')} too: the mean of their probabilities, with a share of "
            f"{settings['teacher_weight']:g} beside the labels ({known})."
        )
        if settings.get("unlabelled"):
            known = settings.get("unlabelled_hash") or "not recorded"
            found.append(f"Further texts, without labels, were labelled by these alone (sha256 {known}…).")
    if average := settings.get("average"):
        parts = ", ".join("{} of {}".format(*part.split(" ", 1)) for part in average)
        found.append(
            f"The weights are a mean: {parts}; seed, epochs and teachers said here are those of the first."
        )
    return found


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
