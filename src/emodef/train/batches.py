"""The batch of any step: a pure function of the corpus, the settings and the step. Tokenises once, before training. Imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emodef.corpora import Corpus
from emodef.encoding import Padded
from emodef.errors import SettingsError
from emodef.pairs import Pairs, definition_pairs
from emodef.train.label_texts import LabelTexts
from emodef.train.model import AuxiliaryBatch, Inputs, PrimaryBatch
from emodef.train.sampling import Batches, Draw, TaskSampler, mask_words, total_steps
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer


@dataclass
class TokenCount:
    """Tokens computed and the real ones among them, over the whole run so far."""

    real: int = 0
    computed: int = 0

    def add(self, padded: Padded) -> None:
        """Count one padded batch."""
        self.real += int(padded.attention_mask.sum())
        self.computed += padded.attention_mask.size


@dataclass
class Step:
    """One process's share of a step's batch, and how many elements each loss is summed over on all processes together."""

    batch: PrimaryBatch | AuxiliaryBatch
    counts: dict[str, int]
    draw: Draw
    examples: int  # on all processes
    weight: float = 1.0  # 0 for a process that got a row of another's only to have one


class StepBatches:
    """Makes the batch of any step for one process of `world`; `segments`: whether the encoder takes them for pairs.

    targets: what is learnt of each text, (n, K), by default its labels. multiple: lengths are padded to a multiple of it, and the places of
    words to be predicted to as many as is usual for the length, so that batches have few shapes; 1: not at all.

    Raises SettingsError for a length that the backbone does not take.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: TextTokenizer,
        settings: TrainSettings,
        *,
        device: torch.device,
        segments: bool = False,
        rank: int = 0,
        world: int = 1,
        targets: NDArray[np.float32] | None = None,
        multiple: int = 1,
    ) -> None:
        self.multiple = multiple
        self.settings, self.tokenizer, self.device = settings, tokenizer, device
        self.segments, self.rank, self.world = segments, rank, world
        self.encoder = tokenizer.encoder
        for name in ("max_length", "max_pair_length") if settings.auxiliary else ("max_length",):
            if (given := getattr(settings, name)) > tokenizer.longest:
                raise SettingsError(
                    f"{name} = {given}: this backbone takes {tokenizer.longest} tokens at most"
                )
        self.labels = corpus.labels
        self.targets = corpus.labels if targets is None else targets
        self.texts = self.encoder.tokenize(corpus.texts)
        self.definitions = self.encoder.tokenize(corpus.label_set.definitions)
        self.tokens = TokenCount()
        room = settings.max_length - self.encoder.single_overhead
        self.truncated = int((self.texts.lengths > room).sum())
        cut = np.minimum(self.texts.lengths, room)
        self.primary = Batches(len(corpus), lambda epoch: cut, settings.batch_size, settings.seed, stream=0)
        self.negatives = "cdp" in settings.tasks
        self._cached_pairs: tuple[int, Pairs] | None = None
        pairs = len(self._pairs(0)) if settings.auxiliary else 0
        self.auxiliary = Batches(pairs, self._pair_lengths, settings.batch_size, settings.seed, stream=1)
        self.epoch_steps = len(self.primary)  # of a pass over the texts
        steps = total_steps(settings, self.epoch_steps, auxiliary=pairs > 0)
        self.sampler = TaskSampler(settings.seed, steps, settings.p, len(self.primary), len(self.auxiliary))
        self.label_texts: LabelTexts | None = None
        if "match" in settings.tasks:
            self.label_texts = LabelTexts(corpus.label_set, tokenizer, settings, device, multiple)

    def __len__(self) -> int:
        return len(self.sampler)

    def make(self, step: int) -> Step:
        """This process's share of the batch of `step`."""
        draw = self.sampler[step]
        return self._primary_step(step, draw) if draw.primary else self._auxiliary_step(step, draw)

    def _primary_step(self, step: int, draw: Draw) -> Step:
        chosen = self.primary.get(draw)
        padded = self.encoder.texts(self.texts, chosen, self.settings.max_length, multiple=self.multiple)
        share, weight = self._share(len(chosen))
        self.tokens.add(padded)
        labels = torch.from_numpy(self.targets[chosen][share].astype(np.float32)).to(self.device)
        batch = PrimaryBatch(self._inputs(padded.rows(share), self.tokenizer.segments), labels)
        count = len(chosen) * self.labels.shape[1]
        counts = {"emotion": count}
        if self.label_texts is not None:
            encoded = self.label_texts.of_step(step)
            batch.definitions = encoded.definitions
            matched = len(encoded.definitions.order)
            counts["match"] = len(chosen) * matched
            if encoded.definitions.anchors is not None:
                # every process that has a row computes the whole of it
                counts["anchor"] = matched * min(self.world, len(chosen))
            self.tokens.real += encoded.real
            self.tokens.computed += encoded.computed
        return Step(batch, counts, draw, len(chosen), weight)

    def _auxiliary_step(self, step: int, draw: Draw) -> Step:
        settings, pairs = self.settings, self._pairs(draw.epoch)
        chosen = self.auxiliary.get(draw)
        padded = self.encoder.pairs(
            self.texts,
            pairs.text[chosen],
            self.definitions,
            pairs.label[chosen],
            settings.max_pair_length,
            multiple=self.multiple,
        )
        share, weight = self._share(len(chosen))
        self.tokens.add(padded)
        batch = AuxiliaryBatch(self._inputs(padded.rows(share), self.segments))
        counts: dict[str, int] = {}
        is_definition = pairs.is_definition[chosen]
        if "cdp" in settings.tasks:
            batch.is_definition = torch.from_numpy(is_definition[share]).to(self.device)
            counts["cdp"] = len(chosen)
        if "mlm" in settings.tasks:
            # Alone, MLM has positive pairs only; beside CDP all pairs (paper, III). Masks are drawn for the whole batch, so that every
            # process knows the global count.
            rng = np.random.default_rng([settings.seed, step, 3])
            masked, words = mask_words(
                padded.input_ids,
                padded.special,
                self.tokenizer.mask_id,
                self.tokenizer.size,
                rng,
                settings.mlm_rate,
            )
            batch.words = torch.from_numpy(words[share]).to(self.device)
            batch.answers = batch.pairs.input_ids
            if self.multiple > 1:
                batch.places = torch.from_numpy(word_places(words[share], settings.mlm_rate)).to(self.device)
            ids = torch.from_numpy(masked[share]).to(self.device)
            batch.pairs = Inputs(ids, batch.pairs.attention_mask, batch.pairs.segments)
            counts["mlm"] = int(words.sum())
        return Step(batch, counts, draw, len(chosen), weight)

    def _share(self, size: int) -> tuple[slice, float]:
        """This process's rows of a batch; where there are too few for it, the first row without weight."""
        return (slice(self.rank, None, self.world), 1.0) if size > self.rank else (slice(0, 1), 0.0)

    def _inputs(self, padded: Padded, segments: bool) -> Inputs:
        return Inputs.of(padded, segments=segments, device=self.device)

    def _pairs(self, epoch: int) -> Pairs:
        if self._cached_pairs is None or self._cached_pairs[0] != epoch:
            pairs = definition_pairs(self.labels, self.settings.seed, epoch, negatives=self.negatives)
            self._cached_pairs = (epoch, pairs)
        return self._cached_pairs[1]

    def _pair_lengths(self, epoch: int) -> NDArray[np.int64]:
        pairs = self._pairs(epoch)
        words = self.texts.lengths[pairs.text] + self.definitions.lengths[pairs.label]
        return np.minimum(words + self.encoder.pair_overhead, self.settings.max_pair_length)


def word_places(words: NDArray[np.bool_], rate: float) -> NDArray[np.int64]:
    """Where `words` (batch, length) is true in the batch made flat; then, up to as many as are hardly ever exceeded in a batch of this
    shape, the place of something else (a special token, which every batch has)."""
    places = np.flatnonzero(words)
    usual = words.size * rate + 4 * math.sqrt(words.size * rate * (1 - rate))
    return np.pad(places, (0, max(0, math.ceil(usual) - len(places))), constant_values=int(words.argmin()))
