"""What a run trains on where labels are held out; which ones is noted in its model's label set. Imports corpora, settings."""

from __future__ import annotations

from collections.abc import Mapping

from emodef.corpora import Corpus
from emodef.corpora.held_out import draw_labels, without_labels
from emodef.train.settings import TrainSettings


def held_out_labels(settings: TrainSettings, corpus: Mapping[str, Corpus]) -> tuple[str, ...]:
    """The labels that a run on this corpus holds out, none by default. Raises SettingsError where a draw has too few labels."""
    if settings.held_out_draw is not None:
        return draw_labels(corpus["train"], settings.held_out_draw, settings.held_out_count)
    return settings.held_out


def training_corpus(settings: TrainSettings, corpus: Mapping[str, Corpus]) -> Mapping[str, Corpus]:
    """The corpus less what the run holds out (`emodef.corpora.held_out` says what stays). Errors: of that module."""
    names = held_out_labels(settings, corpus) if "train" in corpus else ()
    return without_labels(corpus, names) if names else corpus
