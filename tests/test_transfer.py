"""Transfer studies on tiny real encoders: splits, runs that leave no trace in one another, resuming, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from sklearn.metrics import accuracy_score, f1_score
from torch import nn

import tiny_transfer
from commands import emodef_command
from emodef.corpora import Corpus
from emodef.corpora.describe import normalise
from emodef.encoding import Encoder
from emodef.errors import DataError, SettingsError
from emodef.train import transfer_runs
from emodef.train.checkpoint import TrainedModel
from emodef.train.loop import _step_seed
from emodef.train.performance import quick_linear
from emodef.train.run import run_training
from emodef.train.sampling import length_sorted_batches
from emodef.train.settings import TrainSettings, load_experiment
from emodef.train.transfer import OutOfTime, run_transfer
from emodef.train.transfer_plan import plan_transfer
from emodef.train.transfer_runs import TransferCorpus, Workbench
from emodef.train.transfer_settings import TransferSettings
from emodef.train.transfer_starts import find_starts
from emodef.transfers import Row, TransferFolder, draw_splits

Splits = dict[str, Corpus]
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def moods(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of the small corpus and its label set."""
    return tiny_transfer.write_corpus(tmp_path_factory.mktemp("moods"))


@pytest.fixture(scope="session")
def texts(moods: tuple[str, str]) -> TransferCorpus:
    return TransferCorpus.load(*moods)


@pytest.fixture(scope="session")
def backbone(tiny_backbone: Callable[..., Path]) -> Path:
    return tiny_backbone("roberta", initializer_range=0.3)


@pytest.fixture(scope="session")
def tuned(backbone: Path, tiny_corpus: Splits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs of two setups, in one results folder."""
    results = tmp_path_factory.mktemp("results")
    for setup in ("none", "match"):
        settings = TrainSettings(
            backbone=str(backbone),
            pooling="mean",
            setup=setup,
            epochs=1,
            learning_rate=1e-3,
            precision="fp32",
        )
        run_training(settings, tiny_corpus, results / setup, cpu=True)
    return {setup: results / setup for setup in ("none", "match")}


@pytest.fixture
def make(moods: tuple[str, str], backbone: Path) -> Callable[..., TransferSettings]:
    def settings(**changed: Any) -> TransferSettings:
        return tiny_transfer.settings(moods, backbone, **changed)  # type: ignore[no-any-return]

    return settings


@pytest.fixture
def bench(
    make: Callable[..., TransferSettings], texts: TransferCorpus, tmp_path: Path
) -> Callable[..., Workbench]:
    def build(**changed: Any) -> Workbench:
        settings = make(**changed)
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


def told(row: Row) -> Row:
    return replace(row, seconds=0.0)


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


def test_seeds_differ_in_head_order_and_dropout(
    bench: Callable[..., Workbench], texts: TransferCorpus
) -> None:
    splits, ours = drawn(texts), bench()
    ends = []
    for seed in (1, 2):
        ours.run(splits.train(1, 12), splits.test(1, 12, None), "softmax", seed)
        ends.append(state(ours))
    assert ends[0] != ends[1]


@pytest.mark.parametrize("policy", ["softmax", "sigmoid"])
@pytest.mark.parametrize("pooling", ["mean", "own"])
def test_a_run_is_plain_fine_tuning(
    make: Callable[..., TransferSettings],
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
    settings = make(
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
    make: Callable[..., TransferSettings],
    texts: TransferCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pooling: str,
) -> None:
    architecture, folder = each_backbone
    settings = make(backbone=str(folder), pooling=pooling, dropout=0.0)
    splits = drawn(texts)
    train, test = splits.train(1, 30), splits.test(1, 30, None)

    def scores() -> tuple[int, Any]:
        bench = Workbench(
            find_starts(settings, {}, tmp_path)[0], texts, settings, device=CPU, precision="fp32"
        )
        bench.run(train, test, "softmax", 3)
        bench.model.eval()
        with torch.no_grad():
            return bench.model.encoder.get_input_embeddings().num_embeddings, bench._logits(test, 50)

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


def test_bf16_trains_otherwise_and_predicts_in_fp32(
    make: Callable[..., TransferSettings],
    texts: TransferCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings, splits, ends = make(), drawn(texts), []
    seen = set()
    logits = Workbench._logits

    def spied(self: Workbench, *given: Any) -> Any:
        found = logits(self, *given)
        seen.add((self.precision, self.model.training, found.dtype))
        return found

    monkeypatch.setattr(Workbench, "_logits", spied)
    for precision in ("fp32", "bf16"):
        bench = Workbench(
            find_starts(settings, {}, tmp_path)[0], texts, settings, device=CPU, precision=precision
        )
        bench.run(splits.train(1, 12), splits.test(1, 12, None), "softmax", 3)
        ends.append(state(bench))
    assert ends[0] != ends[1]
    assert seen == {
        ("fp32", True, torch.float32), ("fp32", False, torch.float32),
        ("bf16", True, torch.bfloat16), ("bf16", False, torch.float32),
    }  # fmt: skip


@pytest.mark.parametrize("bias", [True, False])
def test_quick_linear_multiplies_alike_and_leaves_nothing(bias: bool) -> None:
    model = nn.Sequential(nn.Linear(40, 70, bias=bias), nn.GELU(), nn.Linear(70, 3, bias=bias))
    inputs = torch.randn(5, 9, 40)
    with torch.no_grad():
        plain = model(inputs)
        with quick_linear(model):
            quick = model(inputs)
            assert "forward" in vars(model[0]) or not torch.backends.mkldnn.is_available()
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)
    assert not any("forward" in vars(layer) for layer in model)
    half = model.to(torch.bfloat16)
    with torch.no_grad(), quick_linear(half):
        assert not any("forward" in vars(layer) for layer in half)


# Studies


def test_a_study_is_whole_measured_and_not_repeated(
    make: Callable[..., TransferSettings],
    tuned: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make(starts=["untuned", "none"], policies=["softmax", "sigmoid"])
    counted: list[int] = []
    tokenize = Encoder.tokenize
    monkeypatch.setattr(
        Encoder, "tokenize", lambda self, given: counted.append(len(given)) or tokenize(self, given)
    )
    folder = run_transfer(
        settings, tmp_path, {"none": tuned["none"], "mine": tuned["match"] / "model"}, cpu=True
    )
    assert counted == [tiny_transfer.TEXTS]  # once, for all starts
    rows = folder.rows()
    assert len(rows) == 3 * 2 * 2 * 2 == len({row.key for row in rows})
    splits = folder.splits("moods")
    for row in rows:
        train, test = splits.train(row.split, row.size), splits.test(row.split, row.size, 30)
        assert (row.train_texts, row.texts, row.seed) == (len(train), len(test), 41 + row.split)
        assert (row.train_ids_hash, row.test_ids_hash) == (splits.digest(train), splits.digest(test))
        assert row.steps == 2 * -(-len(train) // 4)
        predicted = folder.predictions(row.start, row.corpus, 3)[row.size, row.split, row.policy]
        truth = np.eye(3, dtype=bool)[splits.labels[test]]
        assert row.accuracy == pytest.approx(accuracy_score(truth, predicted), abs=1e-6)
        expected = f1_score(truth, predicted, average="macro", zero_division=0)
        assert row.macro_f1 == pytest.approx(expected, abs=1e-6)
        assert (row.policy == "sigmoid") or (predicted.sum(1) == 1).all()
    by_start = {row.start: row for row in rows}
    assert by_start["untuned"].start_dev_macro_f1 is None
    metrics = json.loads((tuned["none"] / "model" / "metrics.json").read_text())
    assert by_start["none"].start_dev_macro_f1 == metrics["dev fixed"]["macro_f1"]["value"]
    assert len({row.start_hash for row in rows}) == 3
    assert [by_start[name].start_run for name in ("untuned", "none", "mine")] == [None, "none", "match"]
    about = json.loads((folder.path / "settings.json").read_text())
    assert (about["corpora"], about["starts"]) == (["moods"], ["untuned", "none", "mine"])
    assert (about["sizes"], about["splits"]) == ([12, 0.5], 2)
    assert json.loads((folder.path / "versions.json").read_text())["precision"] == "fp32"

    monkeypatch.setattr(Workbench, "run", lambda *given, **options: pytest.fail("made twice"))
    again = run_transfer(settings, tmp_path, {"none": tuned["none"]}, cpu=True)
    assert again.rows() == rows


def test_more_of_a_study_joins_what_is_there(
    make: Callable[..., TransferSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_transfer(make(sizes=[12], splits=1), tmp_path, cpu=True)
    before = first.rows()
    more = make(sizes=[12, 20], splits=2)
    assert plan_transfer(more, tmp_path, cpu=True).pending == 3
    after = run_transfer(more, tmp_path, cpu=True)
    assert after.path == first.path
    assert after.rows()[:1] == before
    whole = run_transfer(more, tmp_path / "anew", cpu=True)
    assert {told(row) for row in whole.rows()} == {told(row) for row in after.rows()}
    other = run_transfer(make(sizes=[12], splits=1, epochs=1), tmp_path, cpu=True)
    assert other.path != first.path
    assert json.loads((after.path / "settings.json").read_text())["sizes"] == [12, 20]


def strike(settings: TransferSettings, results: Path, at: str, number: int, blow: str) -> Any:
    order = {
        "settings": settings.model_dump(mode="json"), "results": str(results), "starts": {},
        "at": at, "number": number, "signal": blow,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, tiny_transfer.__file__],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_study_goes_on(make: Callable[..., TransferSettings], tmp_path: Path) -> None:
    settings = make()
    whole = run_transfer(settings, tmp_path / "whole", cpu=True)
    done = strike(settings, tmp_path, "run", 3, "SIGKILL")
    assert done.returncode == -9, done.stderr
    folder = TransferFolder(next((tmp_path / "transfer").iterdir()))
    before = folder.rows()
    assert len(before) == 2
    with (folder.path / "rows.jsonl").open("a") as handle:
        handle.write('{"start": "untuned", "corp')  # as a full disk, or a lost machine, may leave it
    assert folder.rows() == before
    run_transfer(settings, tmp_path, cpu=True)
    assert folder.rows()[:2] == before
    assert {told(row) for row in folder.rows()} == {told(row) for row in whole.rows()}
    for key, predicted in whole.predictions("untuned", "moods", 3).items():
        np.testing.assert_array_equal(folder.predictions("untuned", "moods", 3)[key], predicted)


def test_ctrl_c_keeps_what_is_finished(make: Callable[..., TransferSettings], tmp_path: Path) -> None:
    done = strike(make(), tmp_path, "step", 10, "SIGINT")  # the first run has six steps
    assert done.returncode == 130, done.stderr
    assert "go on with the same command" in done.stderr
    assert len(TransferFolder(next((tmp_path / "transfer").iterdir())).rows()) == 1


def test_no_run_begins_after_the_time_is_up(make: Callable[..., TransferSettings], tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match="0 of 4 runs made") as told:
        run_transfer(make(), tmp_path, cpu=True, stop_after=0)
    assert told.value.exit_code == 0
    assert plan_transfer(make(), tmp_path, cpu=True).seconds() is None
    run_transfer(make(), tmp_path, cpu=True)
    assert (plan_transfer(make(splits=3), tmp_path, cpu=True).seconds() or 0) > 0


def test_several_processes_make_the_same_rows(
    make: Callable[..., TransferSettings], tuned: dict[str, Path], tmp_path: Path
) -> None:
    settings = make(sizes=[12], starts=["untuned", "none", "match"])
    alone = run_transfer(settings, tmp_path / "alone", tuned, cpu=True)
    together = run_transfer(settings, tmp_path / "together", tuned, cpu=True, jobs=2)
    assert {told(row) for row in together.rows()} == {told(row) for row in alone.rows()}


def test_a_run_that_fails_does_not_stop_the_others(
    make: Callable[..., TransferSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emodef.errors import TrainingError

    loss = Workbench._loss
    poisoned = iter([True])

    def broken(self: Workbench, logits: Any, *given: Any) -> Any:
        return loss(self, logits * (float("nan") if next(poisoned, False) else 1.0), *given)

    monkeypatch.setattr(Workbench, "_loss", broken)
    with pytest.raises(TrainingError, match=r"1 failed.*untuned on moods, size 12, split 1.*not finite"):
        run_transfer(make(), tmp_path, cpu=True)
    assert plan_transfer(make(), tmp_path, cpu=True).pending == 1
    run_transfer(make(), tmp_path, cpu=True)
    whole = run_transfer(make(), tmp_path / "whole", cpu=True)
    folder = TransferFolder(next((tmp_path / "transfer").iterdir()))
    assert {told(row) for row in folder.rows()} == {told(row) for row in whole.rows()}


def test_few_texts_are_learned(make: Callable[..., TransferSettings], tmp_path: Path) -> None:
    policies = ["softmax", "sigmoid"]
    settings = make(sizes=[60], splits=1, epochs=20, learning_rate=1e-2, policies=policies, dropout=0.0)
    for row in run_transfer(settings, tmp_path, cpu=True).rows():
        assert row.macro_f1 > 0.6, row  # a guess has 0.33, every label everywhere 0.5


# Starts


def test_starts_are_found_among_finished_runs(
    make: Callable[..., TransferSettings], tuned: dict[str, Path], tmp_path: Path
) -> None:
    results = tuned["none"].parent
    found = find_starts(make(starts=["untuned", "match", "none"]), {}, results)
    assert [start.name for start in found] == ["untuned", "match", "none"]
    assert [start.run for start in found] == [None, str(tuned["match"]), str(tuned["none"])]
    with pytest.raises(SettingsError, match=r"start 'cdp': there is no finished run of it .*--start cdp=RUN"):
        find_starts(make(starts=["cdp"]), {}, results)
    with pytest.raises(SettingsError, match="no finished run"):
        find_starts(make(starts=["none"], pooling="own"), {}, results)
    with pytest.raises(DataError, match="holds no model"):
        find_starts(make(starts=["none"]), {"none": tmp_path}, results)
    with pytest.raises(SettingsError, match="is the backbone itself"):
        find_starts(make(), {"untuned": tuned["none"]}, results)
    with pytest.raises(SettingsError, match="no name for a start"):
        find_starts(make(), {"a/b": tuned["none"]}, results)


def test_the_best_on_dev_of_several_runs_and_only_with_weights(
    make: Callable[..., TransferSettings], tuned: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    for name, dev in (("a", 0.3), ("b", 0.5), ("c", 0.9)):
        shutil.copytree(tuned["none"], tmp_path / name)
        metrics = tmp_path / name / "model" / "metrics.json"
        metrics.write_text(json.dumps({"dev fixed": {"macro_f1": {"value": dev}}}))
    (tmp_path / "c" / "model" / "model.safetensors").unlink()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "metrics.json").touch()  # being made
    found = find_starts(make(starts=["none"]), {}, tmp_path)[0]
    assert (found.run, found.dev_macro_f1) == (str(tmp_path / "b"), 0.5)
    for name in "ab":
        (tmp_path / name / "model" / "model.safetensors").unlink()
    with pytest.raises(SettingsError, match="a has lost its weights"):
        find_starts(make(starts=["none"]), {}, tmp_path)


def test_a_name_stands_for_one_model(
    make: Callable[..., TransferSettings], tuned: dict[str, Path], tiny_bert_dir: Path, tmp_path: Path
) -> None:
    settings = make(starts=["none"], sizes=[12], splits=1)
    run_transfer(settings, tmp_path, {"none": tuned["none"]}, cpu=True)
    with pytest.raises(SettingsError, match="rows of another model by that name"):
        run_transfer(settings, tmp_path, {"none": tuned["match"]}, cpu=True)
    other = make(starts=["none"], backbone=str(tiny_bert_dir))
    with pytest.raises(SettingsError, match="was trained with backbone"):
        run_transfer(other, tmp_path, {"none": tuned["none"]}, cpu=True)


# Settings


def test_settings_are_strict(make: Callable[..., TransferSettings]) -> None:
    for wrong, words in (
        ({"epoch": 3}, "epoch"),
        ({"sizes": [11]}, "11 is below smallest = 12"),
        ({"sizes": [1.5]}, "1.5 is no share"),
        ({"sizes": [12, 12]}, "each once"),
        ({"starts": ["none", "none"]}, "each once"),
        ({"policies": ["argmax"]}, "softmax"),
        ({"splits": "3"}, "splits"),
    ):
        with pytest.raises(ValueError, match=words):
            make(**wrong)
    assert make(max_eval="none").max_eval is None


def test_what_is_run_is_not_how(make: Callable[..., TransferSettings]) -> None:
    base = make()
    for same in (
        {"splits": 5},
        {"sizes": [40]},
        {"starts": ["none"]},
        {"policies": ["sigmoid"]},
        {"description": "x"},
    ):
        assert make(**same).digest("fp32") == base.digest("fp32")
    for other in ({"epochs": 3}, {"seed": 1}, {"max_eval": 40}, {"smallest": 11}, {"learning_rate": 1e-3}):
        assert make(**other).digest("fp32") != base.digest("fp32")
    assert base.digest("bf16") != base.digest("fp32")


@pytest.mark.parametrize("recipe", ["figure3", "figure3_minilm"])
def test_the_shipped_recipes_are_the_papers_study(recipe: str) -> None:
    study = load_experiment(recipe).transfer
    assert isinstance(study, TransferSettings)
    assert study.corpora == ("isear", "emoint", "emotion_stimulus")
    assert study.starts == ("untuned", "none", "cdp", "mlm", "cdp+mlm", "match")
    assert (study.epochs, study.batch_size, study.learning_rate, study.warmup) == (10, 16, 5e-5, 0.1)


def test_a_corpus_must_have_one_label_a_text(
    make: Callable[..., TransferSettings], moods: tuple[str, str], tmp_path: Path
) -> None:
    several = tmp_path / "several.toml"
    several.write_text(Path(moods[1]).read_text().replace("exclusive = true", "exclusive = false"))
    with pytest.raises(SettingsError, match="several labels a text"):
        run_transfer(make(label_set=str(several)), tmp_path, cpu=True)
    with pytest.raises(SettingsError, match="leaves none to train or test on"):
        run_transfer(make(sizes=[90]), tmp_path, cpu=True)
    assert not (tmp_path / "transfer").exists()


def test_a_corpus_that_has_changed_is_refused(
    make: Callable[..., TransferSettings], moods: tuple[str, str], tmp_path: Path
) -> None:
    mine = tmp_path / "moods.csv"
    mine.write_text(Path(moods[0]).read_text())
    settings = make(corpora=[str(mine)], sizes=[12], splits=1)
    run_transfer(settings, tmp_path, cpu=True)
    mine.write_text("\n".join(mine.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match="another state of moods"):
        run_transfer(make(corpora=[str(mine)], sizes=[12], splits=2), tmp_path, cpu=True)


# The command


def test_the_command_plans_and_makes_a_study(
    moods: tuple[str, str], backbone: Path, tuned: dict[str, Path], tmp_path: Path
) -> None:
    recipe = tmp_path / "study.toml"
    settings = tiny_transfer.settings(moods, backbone, sizes=[12], splits=1)
    values = settings.model_dump(mode="json", exclude_none=True)
    recipe.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    given = ("experiment", "run", recipe, "--results", tmp_path, "--cpu", "--start", f"none={tuned['none']}")
    plan = json.loads(emodef_command(*given, "--dry-run", "--json").stdout)
    assert [(run["start"], run["size"]) for run in plan["runs"]] == [("untuned", 12), ("none", 12)]
    assert plan["seconds"] is None
    assert "2 runs to make, 0 made" in emodef_command(*given, "--dry-run").stdout
    made = json.loads(emodef_command(*given, "--json", "--quiet").stdout)
    assert (made["done"], made["left"]) == (2, 0)
    assert "all 2 runs are made" in emodef_command(*given).stdout
    again = json.loads(emodef_command(*given, "--dry-run", "--json", "--set", "splits=3").stdout)
    assert len(again["runs"]) == 4
    assert again["seconds"] > 0
    for wrong, words in (
        (("--start", "none"), "NAME=RUN"),
        (("--start", "none=a"), "given twice"),
        (("--only", "seed=1"), "neither --engine ray nor --only"),
        (("--set", "sizes=[5]"), "below smallest"),
    ):
        assert words in emodef_command(*given, *wrong, code=2).output
    training = emodef_command("experiment", "run", "minilm", "--start", "none=a", "--dry-run", code=2)
    assert "stands for training runs" in training.output


def test_the_measurement_of_runs_per_minute(
    moods: tuple[str, str], backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parent.parent
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setenv("PYTHONPATH", f"{root}:{root / 'src'}")  # for the processes that are started
    from bench.transfer import main

    main(
        ["--quick", "--out", str(tmp_path), "--corpus", moods[0], "--label-set", moods[1], "--backbone", str(backbone), "--size", "12"]
    )  # fmt: skip
    found = json.loads((tmp_path / "transfer.json").read_text())
    assert set(found["ratios"]) == {"a process a run", "plain script"}
    assert found["study"]["steps"] == 1
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert str(backbone.parent) not in (tmp_path / "transfer.md").read_text()
