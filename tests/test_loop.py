"""The training loop on tiny real models: that it learns, what it counts, what it repeats exactly, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from safetensors.torch import load_file

from emodef.corpora import Corpus
from emodef.errors import SettingsError, TrainingError
from emodef.labels import LabelSet
from emodef.metrics import averages, count, decide
from emodef.train.batches import StepBatches
from emodef.train.checkpoint import TrainedModel
from emodef.train.loop import Interrupted, Trained, learning_rate_factor, train
from emodef.train.sampling import TaskSampler, draw_tasks
from emodef.train.settings import TrainSettings
from tiny_training import train_and_save

pytestmark = pytest.mark.long

Splits = dict[str, Corpus]
SETUPS = ("none", "cdp", "mlm", "cdp+mlm", "match", "match+cdp")


@pytest.fixture(scope="session")
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    """`make(setup="cdp")`: settings of a short run on a tiny RoBERTa (its vocabulary is the same in every process), in fp32."""

    def settings(**changes: Any) -> TrainSettings:
        base: dict[str, Any] = {
            "backbone": str(tiny_backbone("roberta", initializer_range=0.3)),
            "epochs": 2,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "precision": "fp32",
            "keep": "last",
        }
        return TrainSettings(**base | changes)

    return settings


def same_weights(a: Trained, b: Trained) -> bool:
    """Whether two models' weights are the same bit for bit."""
    pairs = zip(a.model.model.named_parameters(), b.model.model.named_parameters(), strict=True)
    return all(
        n == m and p.detach().numpy().tobytes() == q.detach().numpy().tobytes() for (n, p), (m, q) in pairs
    )


def losses(folder: Path) -> dict[str, list[float]]:
    """Each task's losses, one a step that trained it, from a log with every step in it."""
    found: dict[str, list[float]] = {}
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        for task, loss in json.loads(line).get("losses", {}).items():
            found.setdefault(task, []).append(loss)
    return found


@pytest.mark.parametrize("setup", SETUPS)
def test_every_tasks_loss_falls(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, setup: str
) -> None:
    # Nearly all of one label: whether a definition is right can then be told from the definition, to begin with.
    common = np.flatnonzero(tiny_corpus["train"].labels[:, 0])
    corpus = {"train": tiny_corpus["train"].take(np.resize(common, 80))}
    size: dict[str, Any] = {"epochs": 24, "batch_size": 8, "learning_rate": 3e-3}
    if setup == "cdp+mlm":  # the masked words' gradients are the larger, and in small batches mostly noise
        size = {"epochs": 80, "batch_size": 32, "learning_rate": 1e-2}
    train_and_save(make(setup=setup, pooling="mean", p=0.2, dropout=0.0, **size), corpus, tmp_path)
    found = losses(tmp_path)
    assert set(found) == {"emotion", *setup.split("+")} - {"none"}
    for task, values in found.items():
        assert np.mean(values[-8:]) < 0.8 * np.mean(values[:8]), task


def test_the_labels_of_unseen_texts_are_found(
    make: Callable[..., TrainSettings],
    tiny_backbone: Callable[..., Path],
    tiny_corpus: Splits,
    tmp_path: Path,
) -> None:
    backbone = str(tiny_backbone("roberta"))
    settings = make(
        backbone=backbone,
        setup="match",
        pooling="mean",
        epochs=8,
        batch_size=8,
        learning_rate=3e-3,
        dropout=0.0,
    )
    trained = train(settings, tiny_corpus, tmp_path, cpu=True)
    assert trained.epochs[-1]["dev_macro_f1"] > 0.9  # predicting every label everywhere gives 0.37


@pytest.mark.parametrize("p", [0.2, 0.5, 1.0])
def test_the_number_of_steps_is_fixed_and_the_sampler_shares_them_out(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, p: float
) -> None:
    corpus = {
        "train": tiny_corpus["train"].take(range(50))
    }  # 50 texts in batches of 16: four, the last of two
    settings = make(setup="cdp+mlm", p=p, epochs=3)
    trained = train_and_save(settings, corpus, tmp_path)
    primary = int(draw_tasks(settings.seed, 12, p).sum())
    assert trained.steps == {"primary": primary, "auxiliary": 12 - primary}
    logged = losses(tmp_path)
    assert len(logged["emotion"]) == primary
    assert len(logged.get("cdp", [])) == len(logged.get("mlm", [])) == 12 - primary
    assert [epoch["epoch"] for epoch in trained.epochs] == [1, 2, 3]
    assert trained.kept_epoch == 3


def test_the_loop_is_plain_fine_tuning(
    make: Callable[..., TrainSettings], tiny_bert_dir: Path, tiny_corpus: Splits, tmp_path: Path
) -> None:
    """Setup none, without dropout, equals transformers' own model, loss and schedule under torch's AdamW."""
    settings = make(
        backbone=str(tiny_bert_dir), dropout=0.0, weight_decay=0.02, gradient_clip=0.5, warmup=0.25
    )
    trained = train(settings, tiny_corpus, tmp_path, cpu=True)

    with pytest.raises(Interrupted):  # after one step at a learning rate of 0, the first of the warm-up
        train(settings, tiny_corpus, tmp_path / "start", cpu=True, stop_after=1)
    saved = load_file(tmp_path / "start" / "state" / "step-00000001" / "weights.safetensors")
    start = {name.removeprefix("network."): value for name, value in saved.items()}
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        settings.backbone,
        num_labels=len(tiny_corpus["train"].label_set),
        problem_type="multi_label_classification",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model.resize_token_embeddings(trained.model.tokenizer.size)
    model.load_state_dict(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.02)
    batches = StepBatches(
        tiny_corpus["train"], trained.model.tokenizer, settings, device=torch.device("cpu"), segments=True
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, len(batches) // 4, len(batches))
    model.train()
    for step in range(len(batches)):
        batch: Any = batches.make(step).batch
        loss = model(
            input_ids=batch.texts.input_ids,
            attention_mask=batch.texts.attention_mask,
            token_type_ids=batch.texts.segments,
            labels=batch.labels,
        ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    for name, parameter in model.named_parameters():
        if "key.bias" in name:  # its gradient is zero but for rounding, which AdamW blows up to steps
            continue
        ours = trained.model.model.network.get_parameter(name)
        torch.testing.assert_close(
            ours, parameter, atol=2e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )
        moved = (ours - start[name]).abs().max()
        assert moved > 1e-3 or "position" in name or "token_type" in name, name


def test_the_learning_rate_rises_and_falls_as_transformers_has_it() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 12, 120)
    for step in range(120):
        assert learning_rate_factor(step, 120, 0.1) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()
    assert learning_rate_factor(0, 5, 0.0) == 1.0
    assert learning_rate_factor(5, 5, 0.0) == 0.0


def test_a_seed_repeats_a_run_and_another_does_not(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    runs = [
        train(make(setup="cdp+mlm", seed=seed, epochs=1), tiny_corpus, tmp_path / str(n), cpu=True)
        for n, seed in enumerate((1, 1, 2))
    ]
    assert same_weights(runs[0], runs[1])
    assert not same_weights(runs[0], runs[2])


@pytest.mark.parametrize("setup", ["cdp+mlm", "match"])
def test_evaluating_leaves_no_trace_in_training(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, setup: str
) -> None:
    """No random number is drawn, and dropout is on again afterwards: the weights are those of a run without a dev split."""
    with_dev = train(make(setup=setup), tiny_corpus, tmp_path / "with", cpu=True)
    without = train(make(setup=setup), {"train": tiny_corpus["train"]}, tmp_path / "without", cpu=True)
    assert same_weights(with_dev, without)
    assert "dev_macro_f1" in with_dev.epochs[0]
    assert without.epochs == [{"epoch": 1}, {"epoch": 2}]


def test_dropout_is_on_while_training(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    runs = [train(make(dropout=rate), tiny_corpus, tmp_path / str(rate), cpu=True) for rate in (0.0, 0.1)]
    assert not same_weights(*runs)


def test_the_best_epoch_is_kept(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make(setup="match", epochs=5, learning_rate=2e-2, keep="best")
    dev = tiny_corpus["dev"]
    best = train(settings, tiny_corpus, tmp_path / "best", cpu=True)
    scores = [epoch["dev_macro_f1"] for epoch in best.epochs]
    assert best.kept_epoch == 1 + int(np.argmax(scores))
    assert min(scores) < max(scores)
    last = train(make(**settings.model_dump() | {"keep": "last"}), tiny_corpus, tmp_path / "last", cpu=True)
    assert last.epochs == best.epochs
    assert last.kept_epoch == 5
    for trained in (best, last):
        predicted = decide(trained.model.predict_proba(dev.texts), settings.threshold)
        assert averages(count(dev.labels, predicted))["macro_f1"] == scores[trained.kept_epoch - 1]


def test_patience_ends_a_run_that_gets_no_better(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make(epochs=6, learning_rate=1e-9, patience=2, setup="cdp", keep="best")
    trained = train(settings, tiny_corpus, tmp_path, cpu=True)
    assert len(trained.epochs) == 3  # the first is the best, and two more get no better
    assert trained.kept_epoch == 1
    assert sum(trained.steps.values()) == 3 * 8
    again = train(settings, tiny_corpus, tmp_path, cpu=True, resume=True)  # it stays ended
    assert same_weights(trained, again)
    assert (again.epochs, again.steps, again.kept_epoch) == (trained.epochs, trained.steps, 1)


def test_bf16_trains_otherwise_but_answers_in_fp32(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    texts = tiny_corpus["test"].texts
    half = train(make(setup="cdp+match", precision="bf16"), tiny_corpus, tmp_path / "bf16", cpu=True)
    full = train(make(setup="cdp+match"), tiny_corpus, tmp_path / "fp32", cpu=True)  # in the same process
    assert (half.precision, full.precision) == ("bf16", "fp32")
    assert not same_weights(half, full)
    assert all(parameter.dtype == torch.float32 for parameter in half.model.model.parameters())
    half.model.save(tmp_path / "model")
    loaded = TrainedModel.load(tmp_path / "model")
    np.testing.assert_array_equal(half.model.predict_proba(texts), loaded.predict_proba(texts))
    batch = StepBatches(
        tiny_corpus["train"],
        half.model.tokenizer,
        half.model.settings,
        device=torch.device("cpu"),
        segments=True,
    ).make(0)
    half.model.model.eval()
    with torch.no_grad():
        assert half.model.model(batch.batch) == loaded.model(batch.batch)  # no wrapper is left on it


def test_predicting_needs_no_gradient_and_keeps_the_mode(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    scores = type(train(make(epochs=1), {"train": tiny_corpus["dev"]}, tmp_path, cpu=True).model.model).scores

    def spied(self: Any, *args: Any) -> Any:
        seen.append((torch.is_grad_enabled(), self.training))
        return scores(self, *args)

    monkeypatch.setattr("emodef.train.model.DefinitionModel.scores", spied)
    trained = train(make(), tiny_corpus, tmp_path / "run", cpu=True)
    assert seen
    assert set(seen) == {(False, False)}
    assert trained.model.model.training


def test_a_loss_that_is_not_finite_stops_the_run(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make(learning_rate=1e30, match_learning_rate=1e30, setup="match", save_every=1)
    with pytest.raises(TrainingError) as caught:
        train(settings, tiny_corpus, tmp_path, cpu=True)
    message = str(caught.value)
    assert caught.value.exit_code == 5
    assert all(word in message for word in ("step ", "learning_rate (now 1e+30)", "warmup", "fp32", "match"))
    step = int(message.split()[1].rstrip(":"))
    assert (tmp_path / "state" / f"step-{step - 1:08d}" / "progress.json").is_file()  # what was saved stands
    assert f"step-{step - 1:08d}" in message


def test_settings_and_corpus_must_fit(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    only_train = {"train": tiny_corpus["train"]}
    for corpus, changes, words in (
        ({"all": tiny_corpus["train"]}, {}, "splits all"),
        ({}, {}, "nothing to train on"),
        ({"train": tiny_corpus["train"].take([])}, {}, "nothing to train on"),
        (only_train, {"keep": "best"}, "dev split"),
        (only_train, {"patience": 1}, "dev split"),
        (tiny_corpus, {"backbone": str(tmp_path)}, "cannot be loaded"),
        (tiny_corpus, {"backbone": "no/such-model"}, "no/such-model"),
        (tiny_corpus, {"max_length": 200}, "max_length = 200.*128 tokens"),
        (tiny_corpus, {"max_pair_length": 200, "setup": "cdp"}, "max_pair_length = 200.*128 tokens"),
    ):
        with pytest.raises(SettingsError, match=words):
            train(make(**changes), corpus, tmp_path / "run", cpu=True)
    assert not (tmp_path / "run").exists()


def test_one_label_texts_are_judged_by_their_likeliest_label(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    exclusive = {
        split: replace(
            part.take(np.flatnonzero(part.labels.sum(1) == 1)), label_set=_exclusive(part.label_set)
        )
        for split, part in tiny_corpus.items()
    }
    trained = train(make(epochs=1), exclusive, tmp_path, cpu=True)
    probabilities = trained.model.predict_proba(exclusive["dev"].texts)
    right = (probabilities.argmax(1) == exclusive["dev"].labels.argmax(1)).mean()
    assert trained.epochs[0]["dev_micro_f1"] == pytest.approx(right)


def _exclusive(label_set: LabelSet) -> LabelSet:
    return LabelSet.from_dict(label_set.to_dict() | {"exclusive": True})


def test_the_share_of_real_tokens_is_counted_over_the_whole_run(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make(setup="cdp")
    trained = train(settings, tiny_corpus, tmp_path, cpu=True)
    batches = StepBatches(
        tiny_corpus["train"], trained.model.tokenizer, settings, device=torch.device("cpu"), segments=True
    )
    real = computed = 0
    for step in range(len(batches)):
        batch: Any = batches.make(step).batch
        mask = (batch.texts if hasattr(batch, "texts") else batch.pairs).attention_mask
        real, computed = real + int(mask.sum()), computed + mask.numel()
    assert trained.real_tokens == pytest.approx(real / computed)
    assert 0.5 < trained.real_tokens < 1
    sampler = TaskSampler(settings.seed, 16, settings.p, 8, 1)
    assert trained.steps["primary"] == sum(sampler[step].primary for step in range(16))
