"""DefinitionModel: one shared encoder and up to four heads: emotion, definition (CDP), masked words (MLM), matching. Imports torch.

Hard parameter sharing: every loss reaches the encoder and its own head, and no other head (the emotion and definition heads share the
architecture's pooling projection where it has one, as in the paper's Figure 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from emodef.encoding import Padded
from emodef.train.architectures import architecture, load_masked_word_head, load_network, mean_of_tokens

SCORES = ("emotion", "match", "mean")  # whose probabilities a model answers with


@dataclass
class Inputs:
    """What the encoder takes: (batch, length) each; `segments` is None for architectures without them."""

    input_ids: Tensor
    attention_mask: Tensor
    segments: Tensor | None

    @classmethod
    def of(cls, padded: Padded, *, segments: bool, device: torch.device) -> Inputs:
        """Move a padded batch to `device`."""

        def move(array: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)

        return cls(
            move(padded.input_ids), move(padded.attention_mask), move(padded.segments) if segments else None
        )


@dataclass
class PrimaryBatch:
    """Texts, their labels (batch, K) as floats, and for matching the definitions in groups of similar length, label order kept."""

    texts: Inputs
    labels: Tensor
    definitions: list[Inputs] | None = None
    order: Tensor | None = None  # (K,): where label k's definition stands among the groups' rows


@dataclass
class AuxiliaryBatch:
    """(text, definition) pairs; `is_definition` (batch,) for CDP; `words` (batch, length) true where a word is to be predicted, which is
    `answers` (batch, length)."""

    pairs: Inputs
    is_definition: Tensor | None = None
    words: Tensor | None = None
    answers: Tensor | None = None


class DefinitionModel(nn.Module):
    """The shared encoder and its heads; `forward` returns each task's summed loss, `scores` logits, `embed` text embeddings."""

    def __init__(
        self,
        network: PreTrainedModel,
        *,
        labels: int,
        pooling: str,
        definition: nn.Module | None,
        masked_words: nn.Module | None,
        match: MatchHead | None,
    ) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling
        config = network.config
        self.dropout = nn.Dropout(_final_dropout(config))
        self._emotion = None if pooling == "own" else _linear(config.hidden_size, labels)
        self.definition, self.masked_words, self.match = definition, masked_words, match

    @property
    def encoder(self) -> PreTrainedModel:
        """The shared encoder."""
        return cast(PreTrainedModel, self.network.base_model)

    @property
    def emotion(self) -> nn.Module:
        """The emotion head: with "own" pooling the last layer of the architecture's ForSequenceClassification."""
        if self._emotion is not None:
            return self._emotion
        return self.network.get_submodule(architecture(self.network.config.model_type).emotion)

    def encode(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Token vectors (batch, length, hidden) and the pooled vector (batch, hidden)."""
        extra = {} if inputs.segments is None else {"token_type_ids": inputs.segments}
        output = self.encoder(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, **extra)
        hidden = output.last_hidden_state
        if self.pooling == "mean":
            return hidden, mean_of_tokens(hidden, inputs.attention_mask)
        project = architecture(self.network.config.model_type).project
        return hidden, project(self.network, output, inputs.attention_mask)

    def embed(self, inputs: Inputs) -> Tensor:
        """Mean of the token vectors, (batch, hidden), not normalised: the embedding that matching compares."""
        return mean_of_tokens(self.encode(inputs)[0], inputs.attention_mask)

    def forward(self, batch: PrimaryBatch | AuxiliaryBatch) -> dict[str, Tensor]:
        """Losses by task, each *summed* over its elements; the caller divides by the count over all processes."""
        return self._primary(batch) if isinstance(batch, PrimaryBatch) else self._auxiliary(batch)

    def _primary(self, batch: PrimaryBatch) -> dict[str, Tensor]:
        hidden, pooled = self.encode(batch.texts)
        logits = self.emotion(self.dropout(pooled))
        loss = F.binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="sum")
        losses = {"emotion": loss}
        if self.match is not None and batch.definitions is not None:
            # One pass per length group; every definition is encoded once a step, whatever the batch size.
            definitions = torch.cat([self.embed(group) for group in batch.definitions])[batch.order]
            texts = mean_of_tokens(hidden, batch.texts.attention_mask)
            logits = self.match(texts, definitions)
            losses["match"] = F.binary_cross_entropy_with_logits(logits, batch.labels, reduction="sum")
        return losses

    def _auxiliary(self, batch: AuxiliaryBatch) -> dict[str, Tensor]:
        hidden, pooled = self.encode(batch.pairs)
        losses: dict[str, Tensor] = {}
        if self.definition is not None and batch.is_definition is not None:
            logits = self.definition(self.dropout(pooled))
            losses["cdp"] = F.cross_entropy(logits.float(), batch.is_definition, reduction="sum")
        if self.masked_words is not None and batch.words is not None and batch.answers is not None:
            # Only the words asked for: the vocabulary layer is the costly one.
            logits = self.masked_words(hidden[batch.words])
            losses["mlm"] = F.cross_entropy(logits.float(), batch.answers[batch.words], reduction="sum")
        return losses

    def scores(self, inputs: Inputs, definitions: Tensor | None, which: str) -> Tensor:
        """Probabilities (batch, K) of "emotion", "match", or their "mean"; `definitions` (K, hidden) as `embed` gives them."""
        hidden, pooled = self.encode(inputs)
        parts = []
        if which in ("emotion", "mean"):
            parts.append(torch.sigmoid(self.emotion(self.dropout(pooled)).float()))
        if which in ("match", "mean"):
            if self.match is None or definitions is None:
                raise ValueError("this model has no matching head")
            texts = mean_of_tokens(hidden, inputs.attention_mask)
            parts.append(torch.sigmoid(self.match(texts, definitions)))
        return torch.stack(parts).mean(0)


class MatchHead(nn.Module):
    """score_k = exp(s)·cos(t, d_k) + b_k, with a learned scale s, shared, and a bias b_k per label."""

    def __init__(self, labels: int, *, scale: float = 20.0, bias: float = -4.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.full((labels,), bias))

    def forward(self, texts: Tensor, definitions: Tensor) -> Tensor:
        """(batch, hidden), (K, hidden) -> (batch, K) logits, in float32."""
        cosine = F.normalize(texts.float(), dim=-1) @ F.normalize(definitions.float(), dim=-1).T
        return self.log_scale.exp() * cosine + self.bias


def build_model(
    path: str,
    *,
    labels: int,
    pooling: str,
    tasks: frozenset[str],
    vocabulary: int,
    new_tokens: dict[int, list[int]],
    dropout: float | None = None,
    scale: float = 20.0,
    bias: float = -4.0,
) -> DefinitionModel:
    """A model from a pretrained checkpoint, with the heads that `tasks` ("cdp", "mlm", "match") need.

    `new_tokens` maps ids added to the vocabulary (placeholders such as `[NAME]`) to the ids of the word they stand for, whose vectors'
    mean they start from. `dropout` replaces every dropout rate of the checkpoint.
    """
    network = load_network(path, labels, pooling, dropout=dropout)
    encoder = cast(PreTrainedModel, network.base_model)
    rows = cast(nn.Embedding, encoder.get_input_embeddings()).num_embeddings
    if vocabulary > rows:
        network.resize_token_embeddings(vocabulary, mean_resizing=False)
    with torch.no_grad():  # rows that stood unused in the table start from the word too
        weight = cast(nn.Embedding, encoder.get_input_embeddings()).weight
        for token, pieces in new_tokens.items():
            weight[token] = weight[pieces].mean(0)
    hidden = encoder.config.hidden_size
    model = DefinitionModel(
        network,
        labels=labels,
        pooling=pooling,
        definition=_linear(hidden, 2) if "cdp" in tasks else None,
        masked_words=load_masked_word_head(path, encoder) if "mlm" in tasks else None,
        match=MatchHead(labels, scale=scale, bias=bias) if "match" in tasks else None,
    )
    if (
        pooling == "own"
    ):  # always a new one: a checkpoint's classifier of as many labels need not be one of these labels
        _initialise(model.emotion)
    if dropout is not None:
        set_dropout(model, dropout)
    return model


def set_dropout(model: nn.Module, rate: float) -> None:
    """Set the rate of every dropout module of `model`, and of attention that reads its own rate."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    _initialise(layer)
    return layer


def _initialise(layer: nn.Module) -> None:
    nn.init.normal_(cast(nn.Linear, layer).weight, std=0.02)
    nn.init.zeros_(cast(nn.Linear, layer).bias)


def _final_dropout(config: object) -> float:
    own = ("classifier_dropout", "classifier_dropout_prob", "summary_last_dropout")  # whichever it has
    for name in (*own, "hidden_dropout_prob"):
        rate = getattr(config, name, None)
        if rate is not None:
            return float(rate)
    return 0.1
