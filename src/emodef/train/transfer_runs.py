"""Many small fine-tuning runs in one process: texts tokenised once, the encoder kept loaded, its weights put back in place. Imports torch.

A run is a function of start, corpus, rows, policy and seed alone; what ran before leaves no trace in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from emodef.corpora import Corpus
from emodef.encoding import Tokens, budget_batches
from emodef.errors import DataError, SettingsError, TrainingError
from emodef.metrics import decide
from emodef.runs import DataChoice
from emodef.train.architectures import architecture, is_recorded
from emodef.train.close_calls import settled
from emodef.train.graphs import MULTIPLE, Record, Recorded
from emodef.train.loop import _step_seed, learning_rate_factor
from emodef.train.model import DefinitionModel, Inputs, _initialise
from emodef.train.performance import multiply_in, quick_linear
from emodef.train.processes import Interrupted
from emodef.train.sampling import length_sorted_batches
from emodef.train.steps import recordable, set_rates
from emodef.train.tokenization import TextTokenizer
from emodef.train.transfer_settings import TransferSettings
from emodef.train.transfer_starts import Start
from emodef.transfers import Rows

POOL = 4  # batches sorted by length together: a fresh mix of few texts every epoch, and little padding
TOKEN_BUDGET = 4096  # of a batch in evaluation, as `TrainedModel.predict_proba` has it
_STREAM = 7  # of the batches' random numbers
_LARGEST_PAD = 1000  # ids up to the padding's are kept as they are; beyond this the whole vocabulary is


@dataclass
class TransferCorpus:
    """All texts of a corpus with one label each, tokenised once for each tokenizer."""

    corpus: Corpus
    answers: NDArray[np.int64]  # (n,) the label of each text
    _tokens: dict[tuple[bool, str], Tokens] = field(default_factory=dict)

    @classmethod
    def load(
        cls, name: str, label_set: str | None = None, choice: DataChoice | None = None
    ) -> TransferCorpus:
        """Read a corpus and put its splits together. Raises SettingsError where texts may have several labels; else as `load_corpus`."""
        corpus = (choice or DataChoice()).whole(name, label_set)
        if not corpus.label_set.exclusive:
            raise SettingsError(
                f"corpora: {name} may have several labels a text ({corpus.label_set.name!r} is not exclusive); transfer is measured on "
                "corpora with one label a text"
            )
        if bare := int((corpus.labels.sum(1) != 1).sum()):
            raise DataError(f"{bare} of its {len(corpus)} texts have no label; remove them", name)
        return cls(corpus, corpus.labels.argmax(1))

    def tokens(self, tokenizer: TextTokenizer) -> Tokens:
        """Every text's tokens, made when first asked for."""
        key = tokenizer.encoder.emoji, tokenizer.encoder.tokenizer.to_str()
        if key not in self._tokens:
            self._tokens[key] = tokenizer.encoder.tokenize(self.corpus.texts)
        return self._tokens[key]


@dataclass(frozen=True)
class Outcome:
    """What a run predicted for its test texts, (texts, K), and how it went."""

    predicted: NDArray[np.bool_]
    steps: int
    cut_texts: int
    seconds: float


@dataclass
class _Asked:
    """Texts, and what is to be learnt of them: their one label's number (batch,), or which labels they have (batch, K) as floats."""

    inputs: Inputs
    answers: Tensor


class Workbench:
    """One start's encoder, with a fresh head for one corpus's labels, in which runs are made one after another."""

    def __init__(
        self,
        start: Start,
        texts: TransferCorpus,
        settings: TransferSettings,
        *,
        device: torch.device,
        precision: str,
    ) -> None:
        self.settings, self.texts, self.device, self.precision = settings, texts, device, precision
        multiply_in(precision)
        trained = start.load(settings, texts.corpus)
        self.tokenizer, self.model = trained.tokenizer, trained.model
        if settings.max_length > self.tokenizer.longest:
            raise SettingsError(
                f"max_length = {settings.max_length}: this backbone takes {self.tokenizer.longest} tokens at most"
            )
        self.tokens = texts.tokens(self.tokenizer)
        swap_head(self.model, len(texts.corpus.label_set))
        lookup = keep_vocabulary(self.model, self.tokenizer, self.tokens)
        self.lookup = None if lookup is None else lookup.to(device)
        self.model.to(device)
        head = {id(parameter) for parameter in self.model.emotion.parameters()}
        self._saved = [(p, p.detach().clone()) for p in self.model.parameters() if id(p) not in head]
        self.optimizer = torch.optim.AdamW(
            [{"params": self.model.parameters(), "base_lr": settings.learning_rate}],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self._total = torch.zeros((), device=device)  # of a run's losses
        self._multiple = 1
        self._recorded: Recorded[_Asked] | None = None
        if is_recorded(self.model.encoder, device):
            self.record()

    def run(
        self, train: Rows, test: Rows, policy: str, seed: int, *, stop: Callable[[], bool] = bool
    ) -> Outcome:
        """Tune on the rows `train`, predict the rows `test`; the last epoch's weights, since no choice may look at the test texts.

        `stop` is asked after each step. Raises Interrupted where it says so, TrainingError for a loss that is not finite.
        """
        began = time.perf_counter()
        self._reset(seed)
        steps = 0
        settings, lengths = self.settings, self._lengths(train)
        cut = np.minimum(lengths, settings.max_length)
        wanted = settings.epochs * -(-len(train) // settings.batch_size)
        self.model.train()
        for epoch in range(settings.epochs):
            for chosen in length_sorted_batches(cut, settings.batch_size, seed, _STREAM, epoch, POOL):
                set_rates(self.optimizer, learning_rate_factor(steps, wanted, settings.warmup))
                self._take(self._asked(train[chosen], policy), _step_seed(seed, steps, 0))
                steps += 1
                if stop():
                    raise Interrupted(
                        f"stopped in the middle of a run, after step {steps} of {wanted}; the finished ones are kept: go on with the "
                        "same command"
                    )
        if not torch.isfinite(self._total):
            raise TrainingError(
                f"the loss is not finite; lower learning_rate (now {settings.learning_rate:g}), or set precision = 'fp32'"
            )
        predicted = self._predict(test, policy)
        truncated = int((lengths > settings.max_length).sum())
        return Outcome(predicted, steps, truncated, time.perf_counter() - began)

    def _reset(self, seed: int) -> None:
        """Weights, head and optimiser as before the first step of a run with this seed."""
        self._total.zero_()
        with torch.no_grad():
            for parameter, saved in self._saved:
                parameter.copy_(saved)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()
        torch.manual_seed(seed)
        head = cast(nn.Linear, self.model.emotion)
        fresh = nn.Linear(head.in_features, head.out_features)  # on the CPU: the same whatever the device
        _initialise(fresh)
        head.load_state_dict(fresh.state_dict())

    def record(self, how: Record | None = None) -> None:
        """Take steps as recorded work from now on (`emodef.train.graphs`); how: by default as CUDA graphs."""
        recordable(self.optimizer, self.device)
        self._multiple, self._recorded = MULTIPLE, Recorded[_Asked](how)

    def _asked(self, rows: Rows, policy: str) -> _Asked:
        wanted: NDArray[Any] = self.texts.answers[rows]
        if policy == "sigmoid":
            wanted = self.texts.corpus.labels[rows].astype(np.float32)
        inputs = self._inputs(rows, self.settings.max_length, self._multiple)
        return _Asked(inputs, torch.from_numpy(wanted).to(self.device))

    def _take(self, asked: _Asked, seed: int) -> None:
        if self._recorded is None:
            torch.manual_seed(seed)  # dropout
            self._work(asked)
        else:
            forget = partial(self.optimizer.zero_grad, set_to_none=True)
            self._recorded(asked, seed, work=self._work, rehearse=self._gradients, forget=forget)

    def _work(self, asked: _Asked) -> Tensor:
        """A step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._gradients(asked)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self._total += loss  # looked at once, at the end: asking a GPU every step makes it wait
        return self._total

    def _gradients(self, asked: _Asked) -> Tensor:
        """The loss, and each parameter's gradient."""
        bf16, keep = self.precision == "bf16", self._recorded is None
        # a recording keeps no casts of the weights: they would be those of the first step
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16, cache_enabled=keep):
            logits = self._logits(asked.inputs).float()
        if asked.answers.is_floating_point():
            loss = F.binary_cross_entropy_with_logits(logits, asked.answers)
        else:
            loss = F.cross_entropy(logits, asked.answers)
        loss.backward()
        return loss.detach()

    def _predict(self, rows: Rows, policy: str) -> NDArray[np.bool_]:
        """Predicted labels (rows, K), as float32 decides, texts cut only where the encoder's limit is."""
        threshold = None if policy == "softmax" else self.settings.threshold
        if self.precision == "bf16":  # most decisions are clear enough to be made in it
            scores = settled(
                self._scores(rows, "bf16"), threshold, lambda some: self._scores(rows[some], "fp32")
            )
        else:
            scores = self._scores(rows, "fp32")
        if threshold is not None:
            scores = torch.from_numpy(scores).sigmoid().numpy()
        return decide(scores, self.settings.threshold, exclusive=threshold is None)

    @torch.no_grad()
    def _scores(self, rows: Rows, precision: str) -> NDArray[np.float32]:
        """Logits (rows, K)."""
        self.model.eval()
        longest = self.tokenizer.longest
        scores = np.zeros((len(rows), len(self.texts.corpus.label_set)), dtype=np.float32)
        rounded = (
            torch.autocast(self.device.type, torch.bfloat16)
            if precision == "bf16"
            else quick_linear(self.model)
        )
        with rounded:
            for chosen in budget_batches(np.minimum(self._lengths(rows), longest), TOKEN_BUDGET):
                scores[chosen] = self._logits(self._inputs(rows[chosen], longest)).float().cpu().numpy()
        return scores

    def _inputs(self, rows: Rows, max_length: int, multiple: int = 1) -> Inputs:
        padded = self.tokenizer.encoder.texts(self.tokens, rows, max_length, multiple=multiple)
        inputs = Inputs.of(padded, segments=self.tokenizer.segments, device=self.device)
        if self.lookup is not None:
            inputs.input_ids = self.lookup[inputs.input_ids]
        return inputs

    def _logits(self, inputs: Inputs) -> Tensor:
        _, pooled = self.model.encode(inputs)
        return cast(Tensor, self.model.emotion(self.model.dropout(pooled)))

    def _lengths(self, rows: Rows) -> NDArray[np.int64]:
        return self.tokens.lengths[rows] + self.tokenizer.encoder.single_overhead


def swap_head(model: DefinitionModel, labels: int) -> None:
    """Give `model` a new emotion head for so many labels and take its other heads away: they have no part in transfer."""
    hidden = cast(nn.Linear, model.emotion).in_features
    fresh = nn.Linear(hidden, labels)
    if model._emotion is not None:
        model._emotion = fresh
    else:
        model.network.set_submodule(architecture(model.network.config.model_type).emotion, fresh)
    model.definition = model.masked_words = model.match = None


def keep_vocabulary(model: DefinitionModel, tokenizer: TextTokenizer, tokens: Tokens) -> Tensor | None:
    """Cut the word table to what occurs in `tokens`; returns each token's new place, None where nothing is cut.

    The other rows get no gradient and are never read, so nothing changes but the time it takes to update, copy and clear them: half of
    MiniLM's weights are its word table.
    """
    encoder: Any = model.encoder
    table = cast(nn.Embedding, encoder.get_input_embeddings())
    pad = tokenizer.encoder.pad_id
    if (
        pad > _LARGEST_PAD
    ):  # it would have to move, and position ids are counted from it in some architectures
        return None
    special = tokenizer.encoder.texts(tokens, [0], tokenizer.longest).input_ids.ravel()
    used = np.unique(np.concatenate([tokens.flat, special, np.arange(pad + 1)]))
    kept = nn.Embedding(len(used), table.embedding_dim, padding_idx=table.padding_idx)
    with torch.no_grad():
        kept.weight.copy_(table.weight[torch.from_numpy(used.astype(np.int64))])
    encoder.set_input_embeddings(kept)
    lookup = torch.zeros(table.num_embeddings, dtype=torch.long)
    lookup[torch.from_numpy(used.astype(np.int64))] = torch.arange(len(used))
    return lookup
