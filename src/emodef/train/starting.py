"""The model that training begins with: the bare backbone, or a trained model with heads for another label set. Imports torch.

Of a trained model everything that is not about its own labels is kept: the encoder, the definition and masked-word heads, the matching
head's scale. What is about labels begins with their definitions: matching reads them anyway, its biases start at the mean of the trained
ones, and the emotion head starts as the matching head does wherever both read the same vector.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.runs import model_folder, read_json
from emodef.train.architectures import architecture, load_masked_word_head, set_configured_dropout
from emodef.train.checkpoint import TrainedModel
from emodef.train.model import MatchHead, _linear, set_dropout
from emodef.train.settings import TrainSettings

# of a trained model: what another run with its encoder cannot choose anew
KEPT = ("backbone", "pooling", "match_text", "placeholders", "emoji")
TAKEN = ("match_scale", "match_bias")  # what a trained matching head has instead of what is set


def starting_model(settings: TrainSettings, label_set: LabelSet) -> TrainedModel:
    """What a run with these settings begins with. New weights come from torch's generator. Raises SettingsError and DataError."""
    if settings.start is None:
        return TrainedModel.untrained(settings, label_set)
    return trained_start(settings.start, settings, label_set)


def trained_start(path: str | os.PathLike[str], settings: TrainSettings, label_set: LabelSet) -> TrainedModel:
    """A trained model (its folder, or its run's) with heads for `label_set` and the tasks of `settings`.

    Raises DataError for a folder without a model, SettingsError for settings that are not its encoder's.
    """
    trained = TrainedModel.load(model_folder(path))
    _check_kept(settings, trained.settings.model_dump())
    model, tasks = trained.model, settings.tasks
    hidden = cast(nn.Linear, model.emotion).in_features
    old = model.match
    model.definition = (model.definition or _linear(hidden, 2)) if "cdp" in tasks else None
    if "mlm" in tasks:
        backbone = settings.backbone_path()
        model.masked_words = model.masked_words or load_masked_word_head(backbone, model.encoder)
    else:
        model.masked_words = None
    model.match = _match(old, len(label_set), settings) if "match" in tasks else None
    begun = TrainedModel(model, trained.tokenizer, label_set, settings)
    _set_emotion(begun, _linear(hidden, len(label_set)), old)
    if settings.dropout is not None:
        set_dropout(model, settings.dropout)
        set_configured_dropout(model.network.config, settings.dropout)  # which a saved model is loaded with
    return begun


def check_start(settings: TrainSettings) -> None:
    """Refuse, before anything heavy, settings that do not go with the model that the run starts from, if it starts from one.

    Raises SettingsError, and DataError where there is no such model.
    """
    if settings.start is None:
        return
    theirs = from_checkpoint(settings.start)
    _check_kept(settings, theirs)
    if "match" not in settings.tasks or "match" not in str(theirs["setup"]).split("+"):
        return
    for name in TAKEN:
        ours, default = getattr(settings, name), TrainSettings.model_fields[name].default
        if ours != default:
            raise SettingsError(
                f"{name} = {ours:g} would not be used: the model to start from, {settings.start}, has a matching head, which goes on as it "
                f"was trained; leave it out (--set {name}={default:g}), or start from a model without one"
            )


def _check_kept(settings: TrainSettings, theirs: Mapping[str, object]) -> None:
    for name in KEPT:
        ours = getattr(settings, name)
        if theirs[name] != ours:
            raise SettingsError(
                f"{name} is {ours!r}, and of the model to start from {theirs[name]!r}: set it so too, as 'emodef train --from' does for "
                "all that belongs to the encoder, or start from another model"
            )


def from_checkpoint(path: str | os.PathLike[str]) -> dict[str, object]:
    """The settings that a run takes over from the trained model it starts from: `KEPT`, and its setup."""
    folder = model_folder(path)
    about = read_json(folder / "emodef.json")
    try:
        found = TrainSettings(**about["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"its settings cannot be read ({type(error).__name__}); copy the model again, or train it again",
            folder / "emodef.json",
        ) from None
    return {name: getattr(found, name) for name in (*KEPT, "setup")} | {"start": os.fspath(path)}


def _match(old: MatchHead | None, labels: int, settings: TrainSettings) -> MatchHead:
    """With the trained scale, and the mean of the trained biases; where there was none, as a run without a start begins."""
    head = MatchHead(
        labels, scale=settings.match_scale, bias=settings.match_bias, shared_bias=settings.match_shared_bias
    )
    if old is not None:
        with torch.no_grad():
            head.log_scale.copy_(old.log_scale)
            head.bias.fill_(float(old.bias.mean()))
    return head


def _set_emotion(begun: TrainedModel, fresh: nn.Linear, old: MatchHead | None) -> None:
    """A new emotion head: where pooling is the mean and matching was trained, one that answers nearly as that does."""
    model = begun.model
    if model.pooling == "mean" and old is not None:
        was_training = model.training
        model.eval()
        definitions = begun.embed_definitions()
        model.train(was_training)
        with (
            torch.no_grad()
        ):  # matching reads unit vectors, this head the vectors as they are: about as long as definitions'
            length = definitions.norm(dim=-1).mean()
            fresh.weight.copy_(old.log_scale.exp() / length * F.normalize(definitions, dim=-1))
            fresh.bias.fill_(float(old.bias.mean()))
    if model._emotion is not None:
        model._emotion = fresh
    else:
        model.network.config.num_labels = fresh.out_features
        model.network.set_submodule(architecture(model.network.config.model_type).emotion, fresh)
