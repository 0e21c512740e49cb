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
_NOTHING = -100  # in place of the word to be predicted where there is none


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
class Definitions:
    """What some labels are read as, in groups of similar length.

    order: (m,), where each of the m labels stands among the groups' rows. columns: (m,), which of the K labels these are; None for all.
    anchors: (m, hidden), the unit vectors that the anchor loss holds their embeddings to, if there is one.
    """

    groups: list[Inputs]
    order: Tensor
    columns: Tensor | None = None
    anchors: Tensor | None = None


@dataclass
class PrimaryBatch:
    """Texts, what is to be learnt of them (batch, K) as floats (gold labels, or mixed with teachers'), and for matching the definitions."""

    texts: Inputs
    labels: Tensor
    definitions: Definitions | None = None


@dataclass
class AuxiliaryBatch:
    """(text, definition) pairs; `is_definition` (batch,) for CDP; `words` (batch, length) true where a word is to be predicted, which is
    `answers` (batch, length). places: (m,), where those words stand in the batch made flat; by default looked for. Further places may
    follow, so that m is the same for other batches: nothing is predicted there."""

    pairs: Inputs
    is_definition: Tensor | None = None
    words: Tensor | None = None
    answers: Tensor | None = None
    places: Tensor | None = None


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
        self.anchor = 0.0  # weight of the anchor loss; training sets it
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

    def encode(self, inputs: Inputs, words: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Token vectors (batch, length, hidden) and the pooled vector (batch, hidden); `words`: looked up already."""
        extra = {} if inputs.segments is None else {"token_type_ids": inputs.segments}
        given = {"input_ids": inputs.input_ids} if words is None else {"inputs_embeds": words}
        output = self.encoder(attention_mask=inputs.attention_mask, **given, **extra)
        hidden = output.last_hidden_state
        if self.pooling == "mean":
            return hidden, mean_of_tokens(hidden, inputs.attention_mask)
        project = architecture(self.network.config.model_type).project
        return hidden, project(self.network, output, inputs.attention_mask)

    def embed(self, inputs: Inputs, words: Tensor | None = None) -> Tensor:
        """Mean of the token vectors, (batch, hidden), not normalised: the embedding that matching compares."""
        return mean_of_tokens(self.encode(inputs, words)[0], inputs.attention_mask)

    def label_embeddings(self, definitions: Definitions, words: list[Tensor] | None = None) -> Tensor:
        """`embed` of each label's definition, (m, hidden), in the labels' order: one pass per length group."""
        found: list[Tensor | None] = [*words] if words else [None] * len(definitions.groups)
        parts = [self.embed(group, word) for group, word in zip(definitions.groups, found, strict=True)]
        return torch.cat(parts)[definitions.order]

    def look_up(self, several: list[Inputs]) -> list[Tensor]:
        """The word vectors of several batches, looked up at once: each look-up's gradient is as large as the whole table."""
        table = self.encoder.get_input_embeddings()
        found = table(torch.cat([inputs.input_ids.reshape(-1) for inputs in several]))
        parts = found.split([inputs.input_ids.numel() for inputs in several])
        return [part.view(*inputs.input_ids.shape, -1) for part, inputs in zip(parts, several, strict=True)]

    def forward(self, batch: PrimaryBatch | AuxiliaryBatch) -> dict[str, Tensor]:
        """Losses by task, each *summed* over its elements; the caller divides by the count over all processes."""
        return self._primary(batch) if isinstance(batch, PrimaryBatch) else self._auxiliary(batch)

    def _primary(self, batch: PrimaryBatch) -> dict[str, Tensor]:
        definitions = batch.definitions if self.match is not None else None
        words: list[Tensor | None] = [None]
        if definitions is not None:
            words = [*self.look_up([batch.texts, *definitions.groups])]
        hidden, pooled = self.encode(batch.texts, words[0])
        logits = self.emotion(self.dropout(pooled))
        loss = F.binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="sum")
        losses = {"emotion": loss}
        if self.match is not None and definitions is not None:
            # Every definition is encoded once a step, whatever the batch size.
            labels = self.label_embeddings(definitions, cast(list[Tensor], words[1:]))
            texts = mean_of_tokens(hidden, batch.texts.attention_mask)
            logits = self.match(texts, labels, definitions.columns)
            wanted = batch.labels if definitions.columns is None else batch.labels[:, definitions.columns]
            losses["match"] = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
            if definitions.anchors is not None:
                apart = 1 - F.cosine_similarity(labels.float(), definitions.anchors, dim=-1)
                losses["anchor"] = self.anchor * apart.sum()
        return losses

    def _auxiliary(self, batch: AuxiliaryBatch) -> dict[str, Tensor]:
        hidden, pooled = self.encode(batch.pairs)
        losses: dict[str, Tensor] = {}
        if self.definition is not None and batch.is_definition is not None:
            logits = self.definition(self.dropout(pooled))
            losses["cdp"] = F.cross_entropy(logits.float(), batch.is_definition, reduction="sum")
        if self.masked_words is not None and batch.words is not None and batch.answers is not None:
            # Only the words asked for: the vocabulary layer is the costly one.
            words = batch.words.flatten()
            places = words.nonzero().flatten() if batch.places is None else batch.places
            logits = self.masked_words(hidden.flatten(0, 1).index_select(0, places))
            wanted = batch.answers.flatten()[places].masked_fill(~words[places], _NOTHING)
            losses["mlm"] = F.cross_entropy(logits.float(), wanted, ignore_index=_NOTHING, reduction="sum")
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
    """score_k = exp(s)·cos(t, d_k) + b_k, with a learned scale s, shared, and a bias b_k per label, or one b for all."""

    def __init__(
        self, labels: int, *, scale: float = 20.0, bias: float = -4.0, shared_bias: bool = False
    ) -> None:
        super().__init__()
        self.labels = labels
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.full((1 if shared_bias else labels,), bias))

    def forward(self, texts: Tensor, definitions: Tensor, columns: Tensor | None = None) -> Tensor:
        """(batch, hidden), (m, hidden) -> (batch, m) logits, in float32; `columns` (m,): which labels these are, if not all."""
        with torch.autocast(
            texts.device.type, enabled=False
        ):  # which would round the cosines, and the scale enlarges that
            cosine = F.normalize(texts.float(), dim=-1) @ F.normalize(definitions.float(), dim=-1).T
            biases = self.biases()
            return self.log_scale.exp() * cosine + (biases if columns is None else biases[columns])

    def biases(self) -> Tensor:
        """The bias of each label, (K,)."""
        return self.bias.expand(self.labels)


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
    shared_bias: bool = False,
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
        match=MatchHead(labels, scale=scale, bias=bias, shared_bias=shared_bias)
        if "match" in tasks
        else None,
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
