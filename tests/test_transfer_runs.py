"""Transfer studies on tiny real encoders: splits, and runs that leave no trace in one another and are plain fine-tuning."""

from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch import nn

from emodef.corpora import Corpus
from emodef.corpora.describe import normalise
from emodef.errors import SettingsError, TrainingError
from emodef.metrics import decide
from emodef.train import transfer_runs
from emodef.train.checkpoint import TrainedModel
from emodef.train.graphs import MULTIPLE
from emodef.train.loop import _step_seed
from emodef.train.run import run_training
from emodef.train.sampling import length_sorted_batches
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer
from emodef.train.transfer import run_transfer
from emodef.train.transfer_runs import TransferCorpus, Workbench
from emodef.train.transfer_settings import TransferSettings
from emodef.train.transfer_starts import find_starts
from emodef.transfers import TransferFolder, draw_splits
from replays import Replays

Splits = dict[str, Corpus]
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def texts(moods: tuple[str, str]) -> TransferCorpus:
    return TransferCorpus.load(*moods)


@pytest.fixture
def bench(
    study: Callable[..., TransferSettings], texts: TransferCorpus, tmp_path: Path
) -> Callable[..., Workbench]:
    def build(**changed: Any) -> Workbench:
        settings = study(**changed)
        start = find_starts(settings, {}, tmp_path)[0]
        return Workbench(start, texts, settings, device=CPU, precision="fp32")

    return build


def drawn(texts: TransferCorpus, numbers: Any = (1, 2, 3), seed: int = 42, covered: int = 12) -> Any:
    corpus = texts.corpus
    return draw_splits(
        "moods", corpus.label_set.names, corpus.texts, corpus.ids, texts.answers.astype(np.uint8),
        numbers=numbers, seed=seed, covered=covered,
    )  # fmt: skip


def state(bench: Workbench) -> dict[str, bytes]:
    return {name: p.detach().numpy().tobytes() for name, p in bench.model.named_parameters()}


# Splits


def test_copies_of_a_text_are_never_on_both_sides(texts: TransferCorpus) -> None:
    splits = drawn(texts, range(1, 9))
    same = np.array([normalise(text) for text in texts.corpus.texts])
    assert len(set(same)) < len(same)
    for split in splits.orders:
        for size in (12, 30, 0.8):
            train, test = splits.train(split, size), splits.test(split, size, None)
            assert not set(same[train]) & set(same[test])
            assert len(train) == splits.count(size)
            assert len(set(train)) == len(train)
            assert sorted([*train, *test]) == list(range(len(same)))
            assert set(texts.answers[train]) == {0, 1, 2}


def test_a_split_is_the_same_whatever_else_is_drawn(texts: TransferCorpus) -> None:
    first, alone = drawn(texts, (1, 2, 3)), drawn(texts, (3,))
    np.testing.assert_array_equal(first.orders[3], alone.orders[3])
    assert not np.array_equal(first.orders[1], first.orders[2])
    assert not np.array_equal(first.orders[1], drawn(texts, seed=43).orders[1])
    assert first.digest(first.train(1, 12)) == alone.digest(np.sort(first.train(1, 12)))
    assert first.digest(first.train(1, 12)) != first.digest(first.train(2, 12))


def test_sizes_of_a_split_share_training_and_test_texts(texts: TransferCorpus) -> None:
    splits = drawn(texts)
    for split in splits.orders:
        small, large = splits.train(split, 12), splits.train(split, 60)
        assert len(set(small) - set(large)) <= 1  # but for copies at the end of a size
        tests = [splits.test(split, size, 20) for size in (12, 30, 60)]
        assert all(len(test) == 20 for test in tests)
        assert len(set.intersection(*map(set, tests))) >= 18


def test_a_split_is_drawn_until_its_first_texts_hold_every_label(texts: TransferCorpus) -> None:
    rare = texts.answers.copy()
    rare[:] = 0
    rare[[5, 41]] = 1  # two texts of ninety
    corpus = replace_answers(texts, rare)
    for order in range(1, 6):
        assert set(rare[drawn(corpus, (order,)).train(order, 12)]) == {0, 1}
    with pytest.raises(SettingsError, match="sizes: 200 of moods is 200 of its 90 texts"):
        drawn(texts).count(200)
    rare[:] = [1, 1, 1, 2] * (len(rare) // 4) + [1] * (len(rare) % 4)  # of the first label there is no text
    rare[rare == 2] = 1
    rare[7] = 2
    with pytest.raises(SettingsError, match=f"every label, {texts.corpus.label_set.names[2]} being rare"):
        drawn(replace_answers(texts, rare), range(1, 40), covered=1)


def test_more_labels_than_a_byte_holds_are_refused() -> None:
    names = [f"label {k}" for k in range(257)]
    with pytest.raises(SettingsError, match="many has 257 labels; a study is of 256 at most"):
        draw_splits("many", names, names, names, np.zeros(257, np.uint8), numbers=(1,), seed=1, covered=200)


def replace_answers(texts: TransferCorpus, answers: Any) -> TransferCorpus:
    labels = np.eye(3, dtype=np.uint8)[answers]
    return TransferCorpus(replace(texts.corpus, labels=labels), answers)


# Runs


@pytest.mark.parametrize("policy", ["softmax", "sigmoid"])
def test_what_ran_before_leaves_no_trace(
    bench: Callable[..., Workbench], texts: TransferCorpus, policy: str
) -> None:
    splits, ours, fresh = drawn(texts), bench(), bench()
    test = splits.test(1, 12, None)
    first = ours.run(splits.train(1, 12), test, policy, 5)
    after_first = state(ours)
    ours.run(splits.train(2, 40), splits.test(2, 40, None), "sigmoid", 6)
    assert state(ours) != after_first
    again = ours.run(splits.train(1, 12), test, policy, 5)
    assert state(ours) == after_first
    np.testing.assert_array_equal(first.predicted, again.predicted)
    fresh.run(splits.train(3, 12), splits.test(3, 12, None), "softmax", 5)
    fresh.run(splits.train(1, 12), test, policy, 5)
    assert state(fresh) == after_first


def test_emoji_as_words_or_as_they_are_are_other_tokens(texts: TransferCorpus, moods_backbone: Path) -> None:
    """Both kinds of starts may have the same tokenizer."""
    happy = replace(texts.corpus, texts=["so happy 😂"] * len(texts.corpus))
    mixed = TransferCorpus(happy, texts.answers)
    found = {}
    for emoji in ("keep", "words"):
        tokenizer = TextTokenizer.load(moods_backbone, emoji=emoji)
        assert mixed.tokens(tokenizer) is mixed.tokens(TextTokenizer.load(moods_backbone, emoji=emoji))
        found[emoji] = mixed.tokens(tokenizer)[0].tolist()
        assert found[emoji] == tokenizer.encoder.tokenize(happy.texts)[0].tolist()
    assert found["keep"] != found["words"]


def test_seeds_differ_in_head_order_and_dropout(
    bench: Callable[..., Workbench], texts: TransferCorpus
) -> None:
    splits, ours = drawn(texts), bench()
    ends = []
    for seed in (1, 2):
        ours.run(splits.train(1, 12), splits.test(1, 12, None), "softmax", seed)
        ends.append(state(ours))
    assert ends[0] != ends[1]


def test_a_bench_goes_when_it_is_let_go(bench: Callable[..., Workbench], texts: TransferCorpus) -> None:
    """The next start's model would stand beside it else."""
    splits, ours = drawn(texts), bench()
    ours.run(splits.train(1, 12), splits.test(1, 12, None), "softmax", 1)
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(ours.model)
        del ours
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("policy", ["softmax", "sigmoid"])
def test_recorded_steps_end_where_plain_ones_do(
    bench: Callable[..., Workbench], texts: TransferCorpus, policy: str
) -> None:
    splits, plain, recorded, replays = drawn(texts), bench(), bench(), Replays()
    recorded.record(replays)
    plain._multiple = MULTIPLE  # dropout is another where lengths are
    train, test = splits.train(1, 40), splits.test(1, 40, None)
    for ours in (plain, recorded, recorded):  # the second time on what the first has left
        outcome = ours.run(train, test, policy, 5)
    assert 0 < replays.recorded < outcome.steps < replays.replayed
    one, other = plain._scores(test, "fp32"), recorded._scores(test, "fp32")
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("policy", ["softmax", "sigmoid"])
@pytest.mark.parametrize("pooling", ["mean", "own"])
def test_a_run_is_plain_fine_tuning(
    study: Callable[..., TransferSettings],
    texts: TransferCorpus,
    tiny_bert_dir: Path,
    tiny_corpus: Splits,
    tmp_path: Path,
    pooling: str,
    policy: str,
) -> None:
    """Loaded anew, tokenised anew, padded by transformers' own tokenizer, whole vocabulary, one parameter at a time: the same."""
    trained_with = TrainSettings(
        backbone=str(tiny_bert_dir), pooling=pooling, setup="cdp", epochs=1, dropout=0.1, precision="fp32", keep="last"
    )  # fmt: skip
    model = run_training(trained_with, tiny_corpus, tmp_path / "run", cpu=True).folder / "model"
    settings = study(
        backbone=str(tiny_bert_dir), pooling=pooling, starts=["cdp"], weight_decay=0.5, gradient_clip=0.3, epochs=3, batch_size=8
    )  # fmt: skip
    splits = drawn(texts)
    train, test = splits.train(1, 40), splits.test(1, 40, None)
    ours = Workbench(
        find_starts(settings, {"cdp": model}, tmp_path)[0], texts, settings, device=CPU, precision="fp32"
    )
    ours.run(splits.train(2, 30), test[:5], "sigmoid", 8)
    outcome = ours.run(train, test, policy, 9)

    plain = TrainedModel.load(model)
    tokenizer, network, encoder = plain.tokenizer.tokenizer, plain.model, plain.model.encoder
    torch.manual_seed(9)
    head = nn.Linear(encoder.config.hidden_size, 3)
    nn.init.normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)

    def logits(rows: Any) -> torch.Tensor:
        inputs = tokenizer(
            [texts.corpus.texts[i] for i in rows], truncation=True, max_length=50, padding=True, return_tensors="pt"
        )  # fmt: skip
        output = encoder(**inputs)
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled = (
            output.last_hidden_state.mul(mask).sum(1) / mask.sum(1)
            if pooling == "mean"
            else output.pooler_output
        )
        return head(network.dropout(pooled))  # type: ignore[no-any-return]

    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.5, foreach=False)
    lengths = np.array([len(tokenizer(texts.corpus.texts[i]).input_ids) for i in train])
    network.train()
    step, steps = 0, 15
    for epoch in range(3):
        for chosen in length_sorted_batches(lengths, 8, 9, transfer_runs._STREAM, epoch, transfer_runs.POOL):
            rate = (
                step if step < 1 else (steps - step) / (steps - 1)
            )  # a tenth of 15 steps, rounded down, rises
            optimizer.param_groups[0]["lr"] = settings.learning_rate * rate
            torch.manual_seed(_step_seed(9, step, 0))
            answers = texts.answers[train[chosen]]
            if policy == "softmax":
                loss = nn.CrossEntropyLoss()(logits(train[chosen]), torch.tensor(answers))
            else:
                loss = nn.BCEWithLogitsLoss()(logits(train[chosen]), torch.eye(3)[answers])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 0.3)
            optimizer.step()
            step += 1
    network.eval()
    with torch.no_grad():
        found = logits(test)
    expected = (
        found == found.max(1, keepdim=True).values if policy == "softmax" else torch.sigmoid(found) > 0.3
    )
    np.testing.assert_array_equal(outcome.predicted, expected.numpy())
    assert outcome.steps == steps == step
    torch.testing.assert_close(ours.model.emotion.weight, head.weight, atol=2e-4, rtol=1e-3)
    theirs = dict(encoder.named_parameters())
    for name, parameter in ours.model.encoder.named_parameters():
        if "key.bias" in name or "word_embeddings" in name:  # rounding alone moves the one; the other is cut
            continue
        torch.testing.assert_close(
            parameter, theirs[name], atol=5e-4, rtol=1e-2, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("pooling", ["mean", "own"])
def test_the_words_that_do_not_occur_change_nothing(
    each_backbone: tuple[str, Path],
    study: Callable[..., TransferSettings],
    texts: TransferCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pooling: str,
) -> None:
    architecture, folder = each_backbone
    settings = study(backbone=str(folder), pooling=pooling, dropout=0.0)
    splits = drawn(texts)
    train, test = splits.train(1, 30), splits.test(1, 30, None)

    def scores() -> tuple[int, Any]:
        bench = Workbench(
            find_starts(settings, {}, tmp_path)[0], texts, settings, device=CPU, precision="fp32"
        )
        bench.run(train, test, "softmax", 3)
        bench.model.eval()
        with torch.no_grad():
            return bench.model.encoder.get_input_embeddings().num_embeddings, bench._logits(
                bench._inputs(test, 50)
            )

    fewer, cut = scores()
    monkeypatch.setattr(transfer_runs, "keep_vocabulary", lambda *given: None)
    all_words, whole = scores()
    assert fewer < all_words or architecture == "modernbert"
    torch.testing.assert_close(cut, whole, atol=1e-3, rtol=1e-3)


def test_long_texts_are_cut_in_training_only_and_counted(
    bench: Callable[..., Workbench], texts: TransferCorpus
) -> None:
    splits = drawn(texts)
    ours = bench(max_length=8)
    lengths = ours._lengths(splits.train(1, 30))
    outcome = ours.run(splits.train(1, 30), splits.test(1, 30, 9), "softmax", 3)
    assert outcome.cut_texts == (lengths > 8).sum() > 0
    with pytest.raises(SettingsError, match="max_length = 4000"):
        bench(max_length=4000)


@pytest.mark.parametrize("policy", ["softmax", "sigmoid"])
def test_bf16_trains_otherwise_and_decides_as_fp32(
    study: Callable[..., TransferSettings],
    texts: TransferCorpus,
    tmp_path: Path,
    policy: str,
) -> None:
    settings, splits = study(), drawn(texts)
    train, test = splits.train(1, 12), splits.test(1, 12, None)
    ends = []
    for precision in ("fp32", "bf16"):
        bench = Workbench(
            find_starts(settings, {}, tmp_path)[0], texts, settings, device=CPU, precision=precision
        )
        predicted = bench.run(train, test, policy, 3).predicted
        exact, rough = bench._scores(test, "fp32"), bench._scores(test, "bf16")
        assert (exact != rough).any()
        scores = exact if policy == "softmax" else 1 / (1 + np.exp(-exact))
        expected = decide(scores, settings.threshold, exclusive=policy == "softmax")
        np.testing.assert_array_equal(predicted, expected)
        ends.append(state(bench))
    assert ends[0] != ends[1]


@pytest.mark.parametrize("full", [True, False])
def test_only_what_cannot_be_written_is_told_as_that(
    study: Callable[..., TransferSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device") if full else BrokenPipeError("gone")

    monkeypatch.setattr(*((TransferFolder, "append") if full else (Workbench, "run")), fails)
    expected, message = (
        (TrainingError, "make room and give the same command again") if full else (BrokenPipeError, "gone")
    )
    with pytest.raises(expected, match=message):
        run_transfer(study(sizes=[12], splits=1), tmp_path, cpu=True)
