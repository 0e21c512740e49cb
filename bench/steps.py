"""Training steps as the loop makes them, and the ways that others make them: what is padded, computed, switched on. Imports torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from emodef.corpora import Corpus
from emodef.encoding import Encoder, Padded, Tokens
from emodef.train.architectures import takes_segments
from emodef.train.batches import Step, StepBatches, TokenCount
from emodef.train.checkpoint import TrainedModel
from emodef.train.loop import _optimizer
from emodef.train.model import AuxiliaryBatch, DefinitionModel, Inputs, PrimaryBatch
from emodef.train.performance import clip_gradients
from emodef.train.sampling import Batches
from emodef.train.settings import TrainSettings

CPU = torch.device("cpu")
RATE = 0.1  # of the recipe's learning rate: speed does not depend on it, and at the full one, without warm-up, training could diverge


@dataclass(frozen=True)
class Knobs:
    """What a step is made with; the defaults are the loop's own."""

    precision: str = "fp32"
    dropout: str = "all"  # "none"; "hidden": none on the attention probabilities
    optimizer: str = (
        "fused"  # "plain": one parameter at a time; "no embeddings": fused, the word table left out
    )
    embeddings: str = "trained"  # "frozen": the word table gets no gradient either
    math_attention: bool = False  # plain matrix products even where torch would take its fused attention (it does without dropout)
    all_positions: bool = False  # the masked-word head over every token instead of the masked ones


class Trainer:
    """A model, its optimisers, and one training step, made the way `emodef.train.loop.train` makes it."""

    def __init__(self, settings: TrainSettings, corpus: Corpus) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.corpus = settings, corpus
        trained = TrainedModel.untrained(settings, corpus.label_set)
        self.tokenizer = trained.tokenizer
        self.model: DefinitionModel = trained.model.train()
        self.segments = takes_segments(self.model.encoder)
        self.table = cast(nn.Embedding, self.model.encoder.get_input_embeddings()).weight
        self.knobs = Knobs()
        self._dropout = _dropout_rates(self.model)
        self._optimizers: dict[str, torch.optim.Optimizer] = {}

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser in use."""
        kind = self.knobs.optimizer
        if kind not in self._optimizers:
            self._optimizers[kind] = self._make_optimizer(kind)
        return self._optimizers[kind]

    def use(self, knobs: Knobs) -> None:
        """Switch everything to `knobs`; never part of what is timed."""
        self.knobs = knobs
        for rate in self._dropout:
            rate.set(knobs.dropout == "all" or (knobs.dropout == "hidden" and not rate.of_attention))
        self.table.requires_grad_(knobs.embeddings == "trained")

    def step(self, parts: Sequence[Step]) -> dict[str, float]:
        """One optimiser step over one batch, or over several whose gradients are added; the loss of each task."""
        shown: dict[str, float] = {}
        for part in parts:
            with (
                torch.autocast("cpu", torch.bfloat16, enabled=self.knobs.precision == "bf16"),
                self._attention(),
            ):
                sums = (
                    every_position(self.model, part.batch)
                    if self.knobs.all_positions
                    else self.model(part.batch)
                )
            losses = {task: value / max(1, part.counts[task]) for task, value in sums.items()}
            torch.stack(list(losses.values())).sum().backward()
            shown = {task: shown.get(task, 0.0) + float(value.detach()) for task, value in losses.items()}
        with torch.profiler.record_function("bench::clip"):
            norm = clip_gradients(self.model, self.settings.gradient_clip)
        if not np.isfinite([float(norm), *shown.values()]).all():
            raise RuntimeError(f"a loss is not finite ({shown}): what would be timed is no training")
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return shown

    def _attention(self) -> AbstractContextManager[None]:
        return sdpa_kernel(SDPBackend.MATH) if self.knobs.math_attention else nullcontext()

    def _make_optimizer(self, kind: str) -> torch.optim.Optimizer:
        optimizer = _optimizer(self.model, self.settings, CPU)
        if kind == "fused":
            for group in optimizer.param_groups:
                group["lr"] *= RATE
            return optimizer
        left_out = self.table if kind == "no embeddings" else None
        groups = [
            {
                "params": [p for p in group["params"] if p is not left_out],
                "lr": group["lr"] * RATE,
                "weight_decay": group["weight_decay"],
            }
            for group in optimizer.param_groups
        ]
        return torch.optim.AdamW(groups, foreach=False if kind == "plain" else None, fused=kind != "plain")


@dataclass
class _Rate:
    """One dropout rate of a model, and where it is kept."""

    module: Any
    attribute: str
    value: float
    of_attention: bool

    def set(self, on: bool) -> None:
        setattr(self.module, self.attribute, self.value if on else 0.0)


def _dropout_rates(model: nn.Module) -> list[_Rate]:
    rates = []
    for name, module in model.named_modules():
        for attribute in ("p",) if isinstance(module, nn.Dropout) else ("attention_dropout", "dropout_prob"):
            value = getattr(module, attribute, None)
            if isinstance(value, float):
                rates.append(
                    _Rate(module, attribute, value, attribute != "p" or name.endswith("self.dropout"))
                )
    return rates


def every_position(model: DefinitionModel, batch: PrimaryBatch | AuxiliaryBatch) -> dict[str, Tensor]:
    """The losses of an auxiliary batch with the masked-word head computed at every position, as is usual; the same values."""
    assert isinstance(batch, AuxiliaryBatch)
    assert model.masked_words is not None
    assert batch.words is not None
    assert batch.answers is not None
    hidden, pooled = model.encode(batch.pairs)
    losses = {}
    if model.definition is not None and batch.is_definition is not None:
        logits = model.definition(model.dropout(pooled))
        losses["cdp"] = F.cross_entropy(logits.float(), batch.is_definition, reduction="sum")
    logits = model.masked_words(hidden).float().flatten(0, 1)
    answers = batch.answers.masked_fill(~batch.words, -100).flatten()
    losses["mlm"] = F.cross_entropy(logits, answers, reduction="sum")
    return losses


class FullLength(Encoder):
    """Pads every batch to the longest length allowed, as the published recipe does."""

    def texts(self, tokens: Tokens, chosen: Any, max_length: int, *, multiple: int = 1) -> Padded:
        return self._widened(super().texts(tokens, chosen, max_length), max_length)

    def pairs(
        self,
        tokens: Tokens,
        chosen: Any,
        definitions: Tokens,
        labels: Any,
        max_length: int,
        *,
        multiple: int = 1,
    ) -> Padded:
        return self._widened(super().pairs(tokens, chosen, definitions, labels, max_length), max_length)

    def _widened(self, padded: Padded, length: int) -> Padded:
        missing = length - padded.input_ids.shape[1]
        sides = ((0, 0), (missing, 0) if self.left else (0, missing))
        return Padded(
            np.pad(padded.input_ids, sides, constant_values=self.pad_id),
            np.pad(padded.attention_mask, sides),
            np.pad(padded.segments, sides, constant_values=self.pad_segment),
            np.pad(padded.special, sides, constant_values=True),
        )


def pairs_of_all_labels(batches: StepBatches, step: int) -> list[Step]:
    """The primary batch of `step` as (text, definition) pairs, every text with every definition: one part per label."""
    draw = batches.sampler[step]
    chosen = batches.primary.get(draw)
    labels, count = batches.labels[chosen].astype(np.int64), len(chosen) * batches.labels.shape[1]
    parts = []
    for k in range(labels.shape[1]):
        padded = batches.encoder.pairs(
            batches.texts,
            chosen,
            batches.definitions,
            np.full(len(chosen), k),
            batches.settings.max_pair_length,
        )
        batches.tokens.add(padded)
        batch = AuxiliaryBatch(
            Inputs.of(padded, segments=batches.segments, device=CPU), torch.from_numpy(labels[:, k].copy())
        )
        parts.append(Step(batch, {"cdp": count}, draw, len(chosen) if k == 0 else 0))
    return parts


def batches_of(trainer: Trainer, *, pairs: bool = False) -> StepBatches:
    """Our batches, of texts only or of (text, definition) pairs only: pre-tokenised and sorted by length."""
    settings = trainer.settings.model_copy(update={"p": 1e-12 if pairs else 1.0, "epochs": 10})
    return StepBatches(trainer.corpus, trainer.tokenizer, settings, device=CPU, segments=trainer.segments)


def in_random_order(ours: StepBatches, *, full_length: bool) -> StepBatches:
    """The same examples in random order, padded to the batch's longest or to the full length."""
    other = copy.copy(ours)
    other.tokens = TokenCount()
    if full_length:
        e = ours.encoder
        other.encoder = FullLength(e.tokenizer, pad_id=e.pad_id, left=e.left, pad_segment=e.pad_segment)
    other.primary = _unsorted(ours.primary)
    other.auxiliary = _unsorted(ours.auxiliary)
    return other


def _unsorted(stream: Batches) -> Batches:
    same = np.zeros(stream.count, dtype=np.int64)  # lengths that are all the same leave nothing to sort by
    return Batches(stream.count, lambda epoch: same, stream.batch_size, stream.seed, stream.stream)


def tokenised_anew(trainer: Trainer, batches: StepBatches, step: int) -> Step:
    """The primary batch of `step` with its texts tokenised there and then, one at a time, by the transformers tokenizer."""
    draw = batches.sampler[step]
    chosen = batches.primary.get(draw)
    tokenizer, texts, longest = trainer.tokenizer.tokenizer, trainer.corpus.texts, trainer.settings.max_length
    rows = [tokenizer(texts[i], truncation=True, max_length=longest) for i in chosen]
    found = tokenizer.pad(rows, return_tensors="pt")
    inputs = Inputs(found["input_ids"], found["attention_mask"], found.get("token_type_ids"))
    labels = torch.from_numpy(batches.labels[chosen].astype(np.float32))
    return Step(PrimaryBatch(inputs, labels), {"emotion": labels.numel()}, draw, len(chosen))
