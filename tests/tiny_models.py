"""Whole tiny models over the tiny encoders, with weights so large that a wrong token or head shows in the scores."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emodef.encoding import Encoder, Padded
from emodef.labels import LabelSet
from emodef.train.architectures import takes_segments
from emodef.train.checkpoint import TrainedModel
from emodef.train.label_texts import definition_inputs
from emodef.train.model import AuxiliaryBatch, DefinitionModel, Inputs, PrimaryBatch, build_model
from emodef.train.sampling import mask_words
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

CPU = torch.device("cpu")
PAIRS = ([0, 1, 3, 4, 5], [0, 2, 1, 3, 4], [1, 0, 1, 1, 0])  # texts, labels, is-definition
TARGETS = torch.tensor(np.eye(5)[[0, 1, 2, 3, 4, 0]] + np.eye(5)[[1, 1, 3, 3, 0, 0]]).clamp(0, 1).float()


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


def text_inputs(made: TrainedModel, rows: list[int], extra: int = 0) -> Inputs:
    """Texts as the model sees them, with `extra` more columns of padding than they need."""
    encoder = made.tokenizer.encoder
    padded = encoder.texts(encoder.tokenize(TEXTS), rows, 100)
    return Inputs.of(_wider(padded, extra, encoder), segments=made.tokenizer.segments, device=CPU)


def _wider(padded: Padded, columns: int, encoder: Encoder) -> Padded:
    def pad(array: Any, value: Any) -> Any:
        sides = (columns, 0) if encoder.left else (0, columns)
        return np.pad(array, ((0, 0), sides), constant_values=value)

    return Padded(
        pad(padded.input_ids, encoder.pad_id),
        pad(padded.attention_mask, 0),
        pad(padded.segments, encoder.pad_segment),
        pad(padded.special, True),
    )


def primary(made: TrainedModel, rows: list[int]) -> PrimaryBatch:
    batch = PrimaryBatch(text_inputs(made, rows), TARGETS[rows])
    batch.definitions = definition_inputs(LABELS, made.tokenizer, made.settings, CPU)
    return batch


def auxiliary(made: TrainedModel, rows: list[int], *tasks: str) -> AuxiliaryBatch:
    """Pairs with some of their words masked: the same ones whichever rows are taken."""
    encoder = made.tokenizer.encoder
    tokens, definitions = encoder.tokenize(TEXTS), encoder.tokenize(LABELS.definitions)
    padded = encoder.pairs(tokens, PAIRS[0], definitions, PAIRS[1], 100)
    rng = np.random.default_rng(0)
    masked, words = mask_words(
        padded.input_ids, padded.special, made.tokenizer.mask_id, made.tokenizer.size, rng, 0.3
    )
    assert words.any(1).all()
    ids = Padded(masked, padded.attention_mask, padded.segments, padded.special)
    width = int(padded.attention_mask[rows].sum(1).max())
    columns = slice(-width, None) if encoder.left else slice(0, width)

    def cut(array: Any) -> Any:
        return array[rows][:, columns]

    inputs = Inputs.of(
        Padded(cut(ids.input_ids), cut(ids.attention_mask), cut(ids.segments), cut(ids.special)),
        segments=takes_segments(made.model.encoder),
        device=CPU,
    )
    batch = AuxiliaryBatch(inputs)
    if "cdp" in tasks:
        batch.is_definition = torch.tensor(PAIRS[2])[rows]
    if "mlm" in tasks:
        batch.words, batch.answers = (
            torch.from_numpy(cut(words)),
            torch.from_numpy(np.ascontiguousarray(cut(padded.input_ids))),
        )
    return batch


def logits_of(model: DefinitionModel, inputs: Inputs) -> Tensor:
    with torch.no_grad():
        return model.emotion(model.encode(inputs)[1])


def _embed(trained: TrainedModel, text: str) -> torch.Tensor:
    encoder = trained.tokenizer.encoder
    padded = encoder.texts(encoder.tokenize([text]), [0], 100)
    return trained.model.embed(Inputs.of(padded, segments=trained.tokenizer.segments, device=trained.device))
