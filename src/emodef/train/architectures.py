"""What differs between encoder architectures, as data: pooling projection, emotion layer, masked-word head. Imports torch.

Everything else (special tokens, segments, padding side) is read off the tokenizer. A row for a new architecture is all it takes to give it
"own" pooling; "mean" pooling works with any encoder.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    XLNetLMHeadModel,
)
from transformers.utils import logging as transformers_logging

from emodef.errors import SettingsError
from emodef.train.graphs import PLAIN

Project = Callable[[Any, Any, Tensor], Tensor]  # (network, encoder output, attention mask) -> (batch, hidden)


def _pooler(network: Any, output: Any, mask: Tensor) -> Tensor:
    return cast(Tensor, output.pooler_output)


def _classification_head(network: Any, output: Any, mask: Tensor) -> Tensor:
    head = network.classifier
    return torch.tanh(head.dense(head.dropout(output.last_hidden_state[:, 0])))


def _sequence_summary(network: Any, output: Any, mask: Tensor) -> Tensor:
    # The projection of the last token, without its final dropout: the heads have their own.
    summary = network.sequence_summary
    last = summary.first_dropout(output.last_hidden_state[:, -1])
    return cast(Tensor, summary.activation(summary.summary(last)))


def _prediction_head(network: Any, output: Any, mask: Tensor) -> Tensor:
    hidden = output.last_hidden_state
    pooled = hidden[:, 0] if network.config.classifier_pooling == "cls" else mean_of_tokens(hidden, mask)
    return cast(Tensor, network.head(pooled))


@dataclass(frozen=True)
class Architecture:
    """One row: how `ForSequenceClassification` of this model type pools, and where its parts stand."""

    project: Project  # its pooling projection, shared by the emotion and definition heads
    emotion: str  # its last linear layer, the emotion head
    masked_words: tuple[str, ...]  # modules of its masked-language-model head, in order
    masked_words_class: Any = AutoModelForMaskedLM
    recorded: bool = False  # whether its steps were seen to be recorded as CUDA graphs: what asks the GPU for anything cannot be


ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture(_pooler, "classifier", ("cls",), recorded=True),
    "albert": Architecture(_pooler, "classifier", ("predictions",)),
    "roberta": Architecture(_classification_head, "classifier.out_proj", ("lm_head",)),
    "mpnet": Architecture(_classification_head, "classifier.out_proj", ("lm_head",)),
    # XLNet was pretrained on permutations; reusing its output layer for masked words is a documented difference.
    "xlnet": Architecture(_sequence_summary, "logits_proj", ("lm_loss",), XLNetLMHeadModel),
    "modernbert": Architecture(_prediction_head, "classifier", ("head", "decoder")),
}


def architecture(model_type: str) -> Architecture:
    """The row of `model_type`; SettingsError names the known ones and the way out."""
    if model_type not in ARCHITECTURES:
        raise SettingsError(
            f"pooling = 'own' is not known for the architecture {model_type!r} (known: {', '.join(sorted(ARCHITECTURES))}); "
            "set pooling = 'mean', which works with any encoder"
        )
    return ARCHITECTURES[model_type]


def mean_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of the real tokens' vectors: (batch, length, hidden), (batch, length) -> (batch, hidden)."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp_min(1)


def takes_segments(encoder: PreTrainedModel) -> bool:
    """Whether `encoder` tells the two sequences of a pair apart by segment ids (RoBERTa has the argument, but one segment only)."""
    accepts = "token_type_ids" in inspect.signature(encoder.forward).parameters
    return accepts and getattr(encoder.config, "type_vocab_size", 2) > 1


# float32 whatever the file holds; never pickle; and what was missing in the file
_LOADING: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}


def load_network(
    path: str, labels: int, pooling: str, *, dropout: float | None = None, whole: bool = False
) -> PreTrainedModel:
    """The pretrained network: with "own" pooling the architecture's ForSequenceClassification, with "mean" the bare encoder.

    `dropout` replaces every dropout rate of the checkpoint. Weights that the file lacks are drawn at random, and so is an
    emotion head for another number of labels. Any other weight of another shape is an error (ValueError), and with
    `whole`, as for a saved model, so are missing ones.
    """
    with quiet_transformers():
        config = AutoConfig.from_pretrained(path)
        if pooling == "own":
            architecture(config.model_type)
            config.num_labels, config.problem_type = labels, "multi_label_classification"
        if dropout is not None:
            set_configured_dropout(config, dropout)
        options = {**_LOADING, "config": config, "ignore_mismatched_sizes": True}
        if pooling == "own":
            network, report = AutoModelForSequenceClassification.from_pretrained(path, **options)
        else:
            try:
                network, report = AutoModel.from_pretrained(path, add_pooling_layer=False, **options)
            except TypeError:  # an encoder that has no pooler to leave out
                network, report = AutoModel.from_pretrained(path, **options)
    missing = sorted(report["missing_keys"])
    misshapen = sorted(name for name, *_ in report["mismatched_keys"])
    if not whole:
        missing = []
        if pooling == "own":
            head = architecture(config.model_type).emotion
            misshapen = [name for name in misshapen if not name.startswith(f"{head}.")]
    if wrong := missing + misshapen:
        kind = "missing" if missing else "of another shape than config.json says"
        raise ValueError(f"{len(wrong)} of the model's weights are {kind}, {wrong[0]} for one")
    return cast(PreTrainedModel, network)


def is_recorded(network: PreTrainedModel, device: torch.device) -> bool:
    """Whether training steps of this network are recorded as CUDA graphs there (`emodef.train.graphs`).

    Not where the environment variable EMODEF_PLAIN_STEPS is 1.
    """
    if os.environ.get(PLAIN) == "1":
        return False
    row = ARCHITECTURES.get(network.config.model_type)
    return device.type == "cuda" and row is not None and row.recorded


def set_configured_dropout(config: PreTrainedConfig, rate: float) -> None:
    """Write the rate into every field of a configuration that has one: what a model is built with when it is loaded."""
    for name, before in config.to_dict().items():
        if "dropout" in name and isinstance(before, int | float | None):
            setattr(config, name, rate)


def load_masked_word_head(path: str, encoder: PreTrainedModel) -> nn.Module:
    """The checkpoint's own masked-word head, tied to `encoder`'s embeddings unless the checkpoint's is not; where it has
    none, a new `TiedMaskedWordHead`."""
    row = ARCHITECTURES.get(encoder.config.model_type)
    if row is not None:
        with quiet_transformers():
            whole, report = row.masked_words_class.from_pretrained(path, **_LOADING)
        # What is tied to the embeddings is not reported; anything else that is missing means that there is no head.
        if not any(key.startswith(f"{name}.") for key in report["missing_keys"] for name in row.masked_words):
            return _own_head(whole, row, encoder)
    return TiedMaskedWordHead(encoder)


def new_masked_word_head(encoder: PreTrainedModel, own: bool) -> nn.Module:
    """A masked-word head of the architecture's own structure, or a `TiedMaskedWordHead`, to load saved weights into."""
    if not own:
        return TiedMaskedWordHead(encoder)
    row = architecture(encoder.config.model_type)
    build = getattr(row.masked_words_class, "from_config", row.masked_words_class)
    return _own_head(build(encoder.config), row, encoder)


def _own_head(whole: PreTrainedModel, row: Architecture, encoder: PreTrainedModel) -> nn.Module:
    rows = cast(nn.Embedding, encoder.get_input_embeddings()).num_embeddings
    if cast(nn.Embedding, whole.get_input_embeddings()).num_embeddings != rows:
        whole.resize_token_embeddings(rows, mean_resizing=False)
    head = nn.Sequential(*(whole.get_submodule(name) for name in row.masked_words))
    if whole.config.tie_word_embeddings:
        tie(head, encoder)
    return head


class TiedMaskedWordHead(nn.Module):
    """BERT's masked-word head (Devlin et al. 2019) for an encoder that came without one: dense, GELU, layer norm, the embeddings."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        embeddings = cast(nn.Embedding, encoder.get_input_embeddings())
        width = embeddings.embedding_dim  # ALBERT's is smaller than the hidden size
        self.dense = nn.Linear(encoder.config.hidden_size, width)
        self.norm = nn.LayerNorm(width)
        self.decoder = nn.Linear(width, embeddings.num_embeddings)
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)
        nn.init.zeros_(self.decoder.bias)
        tie(self, encoder)

    def forward(self, hidden: Tensor) -> Tensor:
        """(words, hidden) -> (words, vocabulary) logits."""
        return cast(Tensor, self.decoder(self.norm(nn.functional.gelu(self.dense(hidden)))))


def tie(head: nn.Module, encoder: PreTrainedModel) -> None:
    """Make every output layer of `head` that has the embeddings' shape the embeddings themselves."""
    weight = cast(nn.Embedding, encoder.get_input_embeddings()).weight
    for module in head.modules():
        if isinstance(module, nn.Linear) and module.weight.shape == weight.shape:
            module.weight = weight


class quiet_transformers:
    """transformers reports every head it does not find; that is expected here, so only its errors are shown."""

    def __enter__(self) -> None:
        self._level = transformers_logging.get_verbosity()
        self._bar = transformers_logging.is_progress_bar_enabled()
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *exception: object) -> None:
        transformers_logging.set_verbosity(self._level)
        if self._bar:
            transformers_logging.enable_progress_bar()
