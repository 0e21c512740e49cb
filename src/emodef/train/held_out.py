"""What a run trains on, and may learn from, where labels are held out; its model's label set notes which. Imports settings, teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from emodef.corpora import Corpus
from emodef.corpora.held_out import draw_labels, without_labels
from emodef.errors import SettingsError
from emodef.runs import load_label_set, model_folder
from emodef.train.backbones import named_folder
from emodef.train.settings import TrainSettings
from emodef.train.teachers import Teacher


def held_out_labels(settings: TrainSettings, corpus: Mapping[str, Corpus]) -> tuple[str, ...]:
    """The labels that a run on this corpus holds out, none by default. Raises SettingsError where a draw has too few labels."""
    if settings.held_out_draw is not None:
        return draw_labels(corpus["train"], settings.held_out_draw, settings.held_out_count)
    return settings.held_out


def training_corpus(settings: TrainSettings, corpus: Mapping[str, Corpus]) -> Mapping[str, Corpus]:
    """The corpus less what the run holds out (`emodef.corpora.held_out` says what stays). Errors: of that module."""
    names = held_out_labels(settings, corpus) if "train" in corpus else ()
    return without_labels(corpus, names) if names else corpus


def check_held_out(settings: TrainSettings, held_out: Sequence[str]) -> None:
    """SettingsError for a teacher, a model to start from, or one as backbone, that knows a label which the run holds out.

    What a model itself was begun from is not known: only its own labels are looked at.
    """
    if not held_out:
        return
    begun = {} if settings.start is None else {"model to start from": model_folder(settings.start)}
    backbone = named_folder(settings.backbone) or Path(settings.backbone)
    if (backbone / "emodef.json").is_file():
        begun["backbone"] = backbone
    for what, folder in begun.items():
        if known := sorted(set(held_out) & set(load_label_set(folder).names)):
            raise SettingsError(
                f"the {what}, {folder}, was trained on {known[0]!r}, which this run holds out: take one that holds it out too"
            )
    for given in settings.teacher:
        if known := sorted(set(held_out) & set(Teacher(given).names())):
            raise SettingsError(
                f"teacher {given} was trained on {known[0]!r}, which this run holds out: give teachers that hold it out too"
            )
