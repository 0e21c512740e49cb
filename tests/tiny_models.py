"""Whole tiny models over the tiny encoders, with weights so large that a wrong token or head shows in the scores."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import torch

from emodef.labels import LabelSet
from emodef.train.checkpoint import TrainedModel
from emodef.train.model import Inputs, build_model
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer

LABELS = LabelSet.from_dict(
    {
        "name": "five",
        "labels": [
            {"name": "joy", "definition": "A feeling of pleasure and happiness."},
            {"name": "neutral", "definition": "None"},
            {"name": "anger", "definition": "A strong feeling of displeasure, antagonism or rage about it."},
            {"name": "fear", "definition": "Being afraid or worried"},
            {"name": "curiosity", "definition": "A wish to know"},
        ],
    }
)
TEXTS = [
    "Thanks!",
    "I can't believe he told her he was sorry, and then she laughed about it all evening.",
    "",
    "How does [NAME] know [RELIGION]?",
    "the meeting is at 10:30 on Tuesday, and I am afraid nobody will help us with the old kettle again",
    "My sister's dog isn't allowed on the new sofa.",
]


def tiny_model(
    folder: Path,
    *,
    pooling: str = "own",
    setup: str = "cdp+mlm+match",
    seed: int = 0,
    shaken: float = 0.3,
    **settings: Any,
) -> TrainedModel:
    """A model of one's own over the tiny encoder in `folder`, in eval mode.

    Every weight is moved by noise of standard deviation `shaken`, and the matching head's biases are set so that the
    probabilities of `TEXTS` lie about a half; `shaken=0` leaves all as training starts with it.
    """
    made = TrainSettings(backbone=str(folder), pooling=pooling, setup=setup, **settings)  # type: ignore[arg-type]
    built = _build(made, seed, shaken)
    return TrainedModel(copy.deepcopy(built.model), built.tokenizer, LABELS, made)


@functools.cache
def _build(made: TrainSettings, seed: int, shaken: float) -> TrainedModel:
    tokenizer = TextTokenizer.load(made.backbone, made.placeholders)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(
            made.backbone,
            labels=len(LABELS),
            pooling=made.pooling,
            tasks=made.tasks,
            vocabulary=tokenizer.size,
            new_tokens=tokenizer.new_tokens,
            dropout=made.dropout,
            scale=made.match_scale,
            bias=made.match_bias,
        )
        trained = TrainedModel(model.eval(), tokenizer, LABELS, made)
        if shaken:
            _shake(trained, shaken)
    return trained


@torch.no_grad()
def _shake(trained: TrainedModel, deviation: float) -> None:
    model = trained.model
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * deviation)
    if model.match is not None:
        model.match.log_scale.fill_(2.9)
        model.match.bias.zero_()
        cosines = torch.stack(
            [model.match(_embed(trained, text), trained.embed_definitions()) for text in TEXTS]
        )
        model.match.bias.copy_(-cosines.mean((0, 1)))


def _embed(trained: TrainedModel, text: str) -> torch.Tensor:
    encoder = trained.tokenizer.encoder
    padded = encoder.texts(encoder.tokenize([text]), [0], 100)
    return trained.model.embed(Inputs.of(padded, segments=trained.tokenizer.segments, device=trained.device))
