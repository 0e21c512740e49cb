"""The batch of each step: the right texts with the right labels, once an epoch, shared out between processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.train.batches import Step, StepBatches
from emodef.train.model import AuxiliaryBatch, Inputs, PrimaryBatch
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer

CPU = torch.device("cpu")
WHOLE = {"max_length": 100, "max_pair_length": 128}  # nothing is cut
Words = tuple[int, ...]


@pytest.fixture(params=["bert", "xlnet"])
def folder(request: pytest.FixtureRequest, tiny_backbone: Callable[..., Path]) -> Path:
    """One encoder that pads on the right, one that pads on the left."""
    return tiny_backbone(request.param)


def batches(corpus: Corpus, folder: Path, *, rank: int = 0, world: int = 1, **settings: Any) -> StepBatches:
    made = TrainSettings(backbone=str(folder), **{**WHOLE, "batch_size": 16, "epochs": 3, **settings})
    tokenizer = TextTokenizer.load(folder, made.placeholders)
    return StepBatches(corpus, tokenizer, made, device=CPU, segments=True, rank=rank, world=world)


def words_of(made: StepBatches, inputs: Inputs, ids: torch.Tensor | None = None) -> list[Words]:
    """What stands in each row between padding and special tokens."""
    tokenizer = made.tokenizer.tokenizer
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    rows = zip(
        (inputs.input_ids if ids is None else ids).tolist(), inputs.attention_mask.tolist(), strict=True
    )
    return [tuple(t for t, m in zip(row, mask, strict=True) if m and t not in special) for row, mask in rows]


def texts_by_words(made: StepBatches, corpus: Corpus) -> dict[Words, set[int]]:
    found: dict[Words, set[int]] = {}
    for i in range(len(corpus)):
        found.setdefault(tuple(made.texts[i].tolist()), set()).add(i)
    return found


def rows_of(step: Step) -> list[tuple[Any, ...]]:
    """Every row of a step's batch with all that belongs to it, without padding."""
    batch = step.batch
    inputs = batch.texts if isinstance(batch, PrimaryBatch) else batch.pairs
    parts: list[Any] = [inputs.input_ids]
    if isinstance(batch, AuxiliaryBatch):
        parts += [p for p in (batch.words, batch.answers) if p is not None]
    ends = batch.labels if isinstance(batch, PrimaryBatch) else batch.is_definition
    rows = []
    for i, mask in enumerate(inputs.attention_mask.bool()):
        row = tuple(tuple(part[i][mask].tolist()) for part in parts)
        rows.append((*row, None if ends is None else tuple(ends[i].reshape(-1).tolist())))
    return rows


def test_every_text_once_an_epoch_with_its_labels(tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    corpus = tiny_corpus["train"]
    made = batches(corpus, folder)
    known = texts_by_words(made, corpus)
    assert len(made) == 3 * made.epoch_steps == 24
    orders = []
    for epoch in range(3):
        seen: Counter[Words] = Counter()
        order = []
        for step in range(8 * epoch, 8 * epoch + 8):
            one = made.make(step)
            assert isinstance(one.batch, PrimaryBatch)
            assert one.counts == {"emotion": one.examples * 5}
            words = words_of(made, one.batch.texts)
            for row, labels in zip(words, one.batch.labels.numpy(), strict=True):
                assert any((corpus.labels[i] == labels).all() for i in known[row])
            seen.update(words)
            order.append(words)
        assert seen == Counter({row: len(texts) for row, texts in known.items()})
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]


def test_pairs_carry_the_answer(tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    corpus = tiny_corpus["train"]
    made = batches(corpus, folder, setup="cdp", p=0.3, epochs=8)
    known = texts_by_words(made, corpus)
    definitions = [tuple(made.definitions[k].tolist()) for k in range(5)]
    by_words: dict[Words, set[int]] = {}
    for text, found in known.items():
        for k, definition in enumerate(definitions):
            by_words[text + definition] = {int(corpus.labels[i, k]) for i in found}
    answers: Counter[int] = Counter()
    steps = [made.make(step) for step in range(len(made))]
    pairs = [s for s in steps if isinstance(s.batch, AuxiliaryBatch)]
    assert len(pairs) == int((~made.sampler.tasks).sum()) > len(made.auxiliary)
    for one in pairs:
        assert isinstance(one.batch, AuxiliaryBatch)
        assert one.batch.is_definition is not None
        assert one.counts == {"cdp": one.examples}
        assert one.batch.pairs.segments is not None
        for row, answer in zip(
            words_of(made, one.batch.pairs), one.batch.is_definition.tolist(), strict=True
        ):
            assert answer in by_words[row]
            answers[answer] += 1
    assert abs(answers[0] - answers[1]) < 0.15 * sum(answers.values())  # as many negatives as positives
    first = [s for s in pairs if s.draw.epoch == 0]
    assert sum(s.examples for s in first) == 2 * int(corpus.labels.sum())


def test_words_are_masked_in_all_pairs_and_afresh(tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    corpus = tiny_corpus["train"]
    made = batches(corpus, folder, setup="cdp+mlm", p=0.1, epochs=12)
    visits: dict[Words, list[Words]] = {}
    hidden = chosen = 0
    masked = [0, 0]  # words in negative and in positive pairs
    for step in range(len(made)):
        one = made.make(step)
        if not isinstance(one.batch, AuxiliaryBatch):
            continue
        batch = one.batch
        assert batch.words is not None
        assert batch.answers is not None
        assert batch.is_definition is not None
        assert one.counts["mlm"] == int(batch.words.sum())
        masked[0] += int(batch.words[batch.is_definition == 0].sum())
        masked[1] += int(batch.words[batch.is_definition == 1].sum())
        changed = batch.pairs.input_ids != batch.answers
        assert not changed[~batch.words].any()
        hidden, chosen = hidden + int(changed.sum()), chosen + int(batch.words.sum())
        shown = words_of(made, batch.pairs)
        for original, seen in zip(words_of(made, batch.pairs, batch.answers), shown, strict=True):
            visits.setdefault(original, []).append(seen)
    assert 0.8 < masked[0] / masked[1] < 1.25
    assert 0.8 < hidden / chosen < 0.95  # 80% masked, 10% swapped
    again = [seen for seen in visits.values() if len(seen) > 3]
    assert again
    assert sum(len(set(seen)) > 1 for seen in again) / len(again) > 0.5


def test_mlm_alone_takes_positive_pairs_alone(tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    made = batches(tiny_corpus["train"], folder, setup="mlm")
    assert made.auxiliary.count == int(tiny_corpus["train"].labels.sum())
    step = int(np.flatnonzero(~made.sampler.tasks)[0])
    assert set(made.make(step).counts) == {"mlm"}


@pytest.mark.parametrize("setup", ["none", "cdp+mlm+match"])
def test_any_step_can_be_made_first(setup: str, tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    """A resumed run makes the batches of an uninterrupted one."""
    whole = batches(tiny_corpus["train"], folder, setup=setup, epochs=4)
    in_order = [rows_of(whole.make(step)) for step in range(len(whole))]
    resumed = batches(tiny_corpus["train"], folder, setup=setup, epochs=4)
    for step in (31, 17, 30, 0):
        assert rows_of(resumed.make(step)) == in_order[step]
    other = batches(tiny_corpus["train"], folder, setup=setup, epochs=4, seed=43)
    assert rows_of(other.make(0)) != in_order[0]


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch_without_overlap(
    world: int, tiny_corpus: dict[str, Corpus], folder: Path
) -> None:
    options = {"setup": "cdp+mlm", "batch_size": 7}
    alone = batches(tiny_corpus["train"], folder, **options)
    shares = [batches(tiny_corpus["train"], folder, rank=r, world=world, **options) for r in range(world)]
    for step in range(25):
        expected = alone.make(step)
        made = [share.make(step) for share in shares]
        assert all(m.counts == expected.counts and m.draw == expected.draw for m in made)
        together = [row for m in made if m.weight for row in rows_of(m)]
        assert Counter(together) == Counter(rows_of(expected))


def test_a_process_without_a_row_gets_one_that_does_not_count(
    tiny_corpus: dict[str, Corpus], folder: Path
) -> None:
    corpus = tiny_corpus["train"].take(range(5))
    shares = [batches(corpus, folder, batch_size=4, rank=r, world=3) for r in range(3)]
    last = [step for step in range(len(shares[0])) if shares[0].make(step).examples == 1]
    assert last
    made = [share.make(last[0]) for share in shares]
    assert [m.weight for m in made] == [1.0, 0.0, 0.0]
    assert all(rows_of(m) == rows_of(made[0]) for m in made)


def test_tokens_are_counted(tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    made = batches(tiny_corpus["train"], folder, setup="match", epochs=1)
    real = computed = 0
    for step in range(len(made)):
        batch = made.make(step).batch
        assert isinstance(batch, PrimaryBatch)
        assert batch.definitions is not None
        for inputs in (batch.texts, *batch.definitions.groups):
            real += int(inputs.attention_mask.sum())
            computed += inputs.attention_mask.numel()
    assert (made.tokens.real, made.tokens.computed) == (real, computed)
    assert real / computed > 0.9


def test_long_texts_are_cut_and_counted(tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    whole = batches(tiny_corpus["train"], folder, epochs=1)
    lengths = whole.texts.lengths + whole.encoder.single_overhead
    limit = int(np.median(lengths))
    made = batches(tiny_corpus["train"], folder, max_length=limit, epochs=1)
    assert 0 < made.truncated == int((lengths > limit).sum()) < 120
    assert whole.truncated == 0
    widths = [made.make(step).batch.texts.input_ids.shape[1] for step in range(len(made))]  # type: ignore[union-attr]
    assert max(widths) == limit


def test_lengths_beyond_the_backbones_are_refused(tiny_corpus: dict[str, Corpus], folder: Path) -> None:
    """Before the first step, not by an index error in the middle of it."""
    with pytest.raises(SettingsError, match=r"max_length = 129: .* takes 128 tokens at most"):
        batches(tiny_corpus["train"], folder, max_length=129)
    with pytest.raises(SettingsError, match=r"max_pair_length = 200: .* takes 128 tokens at most"):
        batches(tiny_corpus["train"], folder, setup="cdp", max_pair_length=200)
    batches(tiny_corpus["train"], folder, max_length=128, max_pair_length=200)  # no pairs: not asked for
