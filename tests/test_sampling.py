"""Tasks, batches and masks: pure functions of seed and step, with the shares and the order they promise."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, chisquare

from emodef.train.sampling import (
    Batches,
    Draw,
    TaskSampler,
    draw_tasks,
    length_sorted_batches,
    mask_words,
)

Indices = NDArray[np.int64]


def realistic_lengths(texts: int, seed: int = 0) -> Indices:
    """Token counts as forum comments have them: mean about 19, a long tail, cut at 50."""
    drawn = np.random.default_rng(seed).lognormal(2.75, 0.6, texts)
    return np.clip(drawn.astype(np.int64) + 2, 3, 50)


def padding_efficiency(lengths: Indices, batches: list[Indices]) -> float:
    return float(lengths.sum() / sum(len(b) * lengths[b].max() for b in batches))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.7, 1.0])
def test_tasks_are_bernoulli(p: float) -> None:
    tasks = draw_tasks(42, 20_000, p)
    assert binomtest(int(tasks.sum()), 20_000, p).pvalue > 1e-4
    # no memory: what follows a primary step is primary as often as what follows any other
    after = tasks[1:][tasks[:-1]]
    assert binomtest(int(after.sum()), len(after), p).pvalue > 1e-4


def test_tasks_depend_on_the_seed_alone() -> None:
    tasks = draw_tasks(7, 1000, 0.5)
    np.random.seed(1)
    np.testing.assert_array_equal(tasks, draw_tasks(7, 1000, 0.5))
    np.testing.assert_array_equal(tasks, draw_tasks(7, 5000, 0.5)[:1000])  # a longer run starts the same
    assert abs(float(np.mean(tasks == draw_tasks(8, 1000, 0.5))) - 0.5) < 0.1
    lower = draw_tasks(7, 1000, 0.3)
    assert not (lower & ~tasks).any()  # the same draws decide at every p


def test_sampler_walks_through_each_stream_in_turn() -> None:
    sampler = TaskSampler(seed=3, steps=500, p=0.4, primary_batches=13, auxiliary_batches=29)
    assert len(sampler) == 500
    draws = [sampler[step] for step in range(500)]
    np.testing.assert_array_equal([d.primary for d in draws], draw_tasks(3, 500, 0.4))
    for primary, size in ((True, 13), (False, 29)):
        own = [(d.epoch, d.position) for d in draws if d.primary == primary]
        assert own == [divmod(number, size) for number in range(len(own))]
        assert own[-1][0] >= 5  # several times through
    assert sampler[499] == TaskSampler(3, 500, 0.4, 13, 29)[499]  # without having asked for the steps before


def test_sampler_without_auxiliary_examples_trains_the_primary_task() -> None:
    sampler = TaskSampler(seed=3, steps=50, p=0.4, primary_batches=10, auxiliary_batches=0)
    assert [sampler[step] for step in (0, 9, 10, 49)] == [
        Draw(True, 0, 0),
        Draw(True, 0, 9),
        Draw(True, 1, 0),
        Draw(True, 4, 9),
    ]


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 9))
def test_every_example_once_an_epoch(lengths: list[int], batch_size: int, epoch: int) -> None:
    of = np.array(lengths, dtype=np.int64)
    batches = length_sorted_batches(of, batch_size, seed=1, stream=0, epoch=epoch)
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    assert sorted(map(len, batches), reverse=True)[: len(batches) - 1] == [batch_size] * (len(batches) - 1)


def test_more_examples_than_one_pool() -> None:
    of = realistic_lengths(1050)
    batches = length_sorted_batches(of, 4, seed=1, stream=0, epoch=0)  # pools of 400
    assert len(batches) == 263
    assert sorted(np.concatenate(batches).tolist()) == list(range(1050))


def test_nine_in_ten_computed_tokens_are_real() -> None:
    of = realistic_lengths(43_410)
    assert 15 < of.mean() < 23
    for batch_size in (16, 32):
        batches = length_sorted_batches(of, batch_size, seed=42, stream=0, epoch=0)
        assert padding_efficiency(of, batches) > 0.95
        order = np.random.default_rng(0).permutation(len(of))
        unsorted = np.split(order, range(batch_size, len(of), batch_size))
        assert padding_efficiency(of, unsorted) < 0.6  # what the sorting is for


def test_batches_come_in_no_order_of_length() -> None:
    of = realistic_lengths(20_000)
    longest = np.array([of[b].max() for b in length_sorted_batches(of, 32, seed=0, stream=0, epoch=0)])
    position = np.arange(len(longest))
    assert abs(np.corrcoef(position, longest)[0, 1]) < 0.12
    assert np.mean(np.abs(np.diff(longest))) > 5  # neighbours differ as strangers do


def test_each_epoch_and_stream_is_shuffled_anew() -> None:
    of = realistic_lengths(3000)

    def batches(seed: int, stream: int, epoch: int) -> list[tuple[int, ...]]:
        return [tuple(b.tolist()) for b in length_sorted_batches(of, 32, seed, stream, epoch)]

    first = batches(1, 0, 0)
    np.random.seed(5)
    assert batches(1, 0, 0) == first
    for other in (batches(1, 0, 1), batches(1, 1, 0), batches(2, 0, 0)):
        assert other != first
        together = {frozenset(b) for b in first} & {frozenset(b) for b in other}
        assert not together  # other examples meet, not only in another order


def test_streams_start_again_reshuffled() -> None:
    of = realistic_lengths(100)
    asked: list[int] = []

    def lengths(epoch: int) -> Indices:
        asked.append(epoch)
        return of

    stream = Batches(100, lengths, batch_size=16, seed=1, stream=0)
    assert len(stream) == 7
    epochs = [[stream.get(Draw(True, e, i)).tolist() for i in range(7)] for e in (0, 1, 2)]
    assert asked == [0, 1, 2]  # made once an epoch
    for one, other in pairwise(epochs):
        assert one != other
        assert sorted(chain(*one)) == sorted(chain(*other)) == list(range(100))
    again = Batches(100, lambda epoch: of, batch_size=16, seed=1, stream=0)
    assert again.get(Draw(True, 2, 3)).tolist() == epochs[2][3]  # a resumed run asks for no step before


def words_to_mask(shape: tuple[int, int] = (400, 100)) -> tuple[Indices, NDArray[np.bool_]]:
    rng = np.random.default_rng(0)
    ids = rng.integers(10, 1000, shape)
    special = rng.random(shape) < 0.2
    special[:, 0] = True
    return ids, special


def test_masking_takes_15_percent_and_splits_them_80_10_10() -> None:
    ids, special = words_to_mask()
    masked, chosen = mask_words(ids, special, mask_id=4, vocabulary=1000, rng=np.random.default_rng(1))
    assert not (chosen & special).any()
    words = int((~special).sum())
    assert binomtest(int(chosen.sum()), words, 0.15).pvalue > 1e-4
    hidden, kept = chosen & (masked == 4), chosen & (masked == ids)
    swapped = chosen & ~hidden & ~kept
    counts = [int(part.sum()) for part in (hidden, kept, swapped)]
    assert chisquare(counts, np.array([0.8, 0.1, 0.1]) * sum(counts)).pvalue > 1e-4
    np.testing.assert_array_equal(masked[~chosen], ids[~chosen])


def test_swapped_words_come_from_the_whole_vocabulary() -> None:
    ids = np.full((2000, 100), 500)
    masked, chosen = mask_words(ids, np.zeros(ids.shape, dtype=bool), 4, 20, np.random.default_rng(1))
    drawn = masked[chosen & (masked != 4) & (masked != 500)]
    assert drawn.min() == 0
    assert drawn.max() == 19
    counts = np.bincount(drawn, minlength=20)
    assert chisquare(np.delete(counts, 4)).pvalue > 1e-4


def test_masking_leaves_its_input_untouched() -> None:
    ids, special = words_to_mask((20, 30))
    before, special_before = ids.copy(), special.copy()
    first, _ = mask_words(ids, special, 4, 1000, np.random.default_rng(1))
    np.testing.assert_array_equal(ids, before)
    np.testing.assert_array_equal(special, special_before)
    assert not np.shares_memory(first, ids)
    second, _ = mask_words(ids, special, 4, 1000, np.random.default_rng(2))
    # masks do not pile up: each visit hides its own 15% of the original
    assert np.mean(first != ids) < 0.2
    assert np.mean(second != ids) < 0.2
    assert (first != second).any()


def test_masking_rate() -> None:
    ids, special = words_to_mask()
    _, chosen = mask_words(ids, special, 4, 1000, np.random.default_rng(1), rate=0.4)
    assert binomtest(int(chosen.sum()), int((~special).sum()), 0.4).pvalue > 1e-4
