"""What the matching head reads in a step: groups with least padding, some of the labels, other words, anchors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.labels import LabelSet
from emodef.train.batches import StepBatches
from emodef.train.checkpoint import TrainedModel
from emodef.train.label_texts import LabelTexts, label_variants, length_groups, paraphrases
from emodef.train.loop import Interrupted, train
from emodef.train.model import PrimaryBatch
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer
from tiny_models import CPU, LABELS, primary, tiny_model


def label_texts(folder: Path, **settings: Any) -> LabelTexts:
    made = TrainSettings(backbone=str(folder), setup="match", **settings)
    return LabelTexts(LABELS, TextTokenizer.load(folder), made, CPU)


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(1, 4))
def test_groups_have_the_least_padding(lengths: list[int], most: int) -> None:
    given_lengths = np.array(lengths)
    groups = length_groups(given_lengths, most)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    assert 1 <= len(groups) <= most
    found = sum(len(group) * given_lengths[group].max() for group in groups)
    ordered = np.sort(given_lengths)

    def tokens(ends: tuple[int, ...]) -> int:
        parts = np.split(ordered, ends)
        return sum(len(part) * part.max() for part in parts)

    cuts = range(min(most, len(lengths)))
    least = min(tokens(ends) for count in cuts for ends in combinations(range(1, len(lengths)), count))
    assert found == least


def test_only_a_cpu_reads_definitions_in_several_passes(tiny_bert_dir: Path) -> None:
    made = TrainSettings(backbone=str(tiny_bert_dir), setup="match")
    tokenizer = TextTokenizer.load(tiny_bert_dir)
    elsewhere = LabelTexts(LABELS, tokenizer, made, torch.device("meta"))
    assert len(elsewhere.whole().definitions.groups) == 1
    assert len(label_texts(tiny_bert_dir).whole().definitions.groups) > 1


def test_by_default_every_step_reads_every_label(tiny_bert_dir: Path) -> None:
    made = label_texts(tiny_bert_dir)
    assert made.of_step(0) is made.of_step(7)
    assert made.of_step(0).definitions.columns is None
    assert made.of_step(0).definitions.anchors is None


def test_what_every_step_reads_is_encoded_once_with_anchors_too(tiny_bert_dir: Path) -> None:
    made = label_texts(tiny_bert_dir, match_anchor=0.5)
    assert made.of_step(0).definitions.anchors is None
    made.keep_anchors(tiny_model(tiny_bert_dir, setup="match").model)
    assert made.of_step(0).definitions.anchors is not None
    assert made.of_step(0) is made.of_step(7)


def test_a_step_reads_some_labels_in_varying_words(tiny_bert_dir: Path) -> None:
    made = label_texts(tiny_bert_dir, match_labels=0.6, match_vary=0.5)
    assert [len(texts) for texts in made.variants] == [3] * 5
    tokenizer = made.tokenizer.tokenizer
    seen: dict[int, set[str]] = {k: set() for k in range(5)}
    for step in range(60):
        given = made.of_step(step).definitions
        assert given.columns is not None
        assert given.columns.tolist() == sorted(set(given.columns.tolist()))
        assert len(given.columns) == len(given.order) == 3
        again = made.of_step(step).definitions
        assert again.columns is not None
        assert again.columns.tolist() == given.columns.tolist()
        ids = [row for group in given.groups for row in group.input_ids.tolist()]
        for k, place in zip(given.columns.tolist(), given.order.tolist(), strict=True):
            seen[k].add(tokenizer.decode(ids[place], skip_special_tokens=True))
    for k, texts in enumerate(made.variants):
        read = {tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) for text in texts}
        assert seen[k] == read


def test_variants_are_name_definition_and_paraphrases() -> None:
    labels = LabelSet.load("goemotions")
    written = paraphrases(labels)
    assert set(written) == set(labels.names)
    assert all(len(texts) == 3 for texts in written.values())
    assert paraphrases(LABELS) == {}
    every = [text for texts in written.values() for text in (*texts, *labels.definitions)]
    assert len({*every}) == 3 * len(labels) + len(labels)
    found = label_variants(labels, "{name}: {definition}", others=True)[0]
    name, definition = labels.names[0], labels.definitions[0]
    assert found[:3] == [f"{name}: {definition}", definition, name]
    assert found[3:] == [*(f"{name}: {text}" for text in written[name]), *written[name]]
    assert label_variants(labels, "{definition}", others=False) == [[text] for text in labels.definitions]


def test_paraphrases_are_of_definitions_and_not_of_names() -> None:
    """A set of one's own may be called as a shipped one, and its labels too."""
    labels = LabelSet.load("goemotions")
    definitions = ("What this means in my survey", *labels.definitions[1:])
    mine = replace(labels, definitions=definitions)
    found = paraphrases(mine)
    assert set(found) == set(labels.names[1:])
    variants = label_variants(mine, "{definition}", others=True)
    assert variants[0] == [definitions[0], labels.names[0]]
    assert variants[1:] == label_variants(labels, "{definition}", others=True)[1:]
    assert paraphrases(replace(labels, name="../paraphrases/goemotions")) == {}


def test_a_run_goes_on_with_the_wordings_it_began_with(
    tiny_bert_dir: Path, tiny_corpus: dict[str, Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = TrainSettings(backbone=str(tiny_bert_dir), setup="match", match_vary=0.5, epochs=1, keep="last")
    with pytest.raises(Interrupted):
        train(made, tiny_corpus, tmp_path, cpu=True, stop_after=2)
    (state,) = tmp_path.glob("state/step-*/progress.json")
    before = json.loads(state.read_text(encoding="utf-8"))
    other = label_variants(tiny_corpus["train"].label_set, made.match_text, others=True)
    other[0].append("in other words")
    with monkeypatch.context() as patch:
        patch.setattr("emodef.train.label_texts.label_variants", lambda *given, **options: other)
        with pytest.raises(SettingsError, match="started with other wordings of its labels to vary"):
            train(made, tiny_corpus, tmp_path, cpu=True, resume=True)
    del before["wordings"]  # as an earlier emodef has left it
    state.write_text(json.dumps(before), encoding="utf-8")
    train(made, tiny_corpus, tmp_path, cpu=True, resume=True)


def test_losses_over_some_labels_by_hand(each_backbone: tuple[str, Path]) -> None:
    """Matching sees the labels of the step, in their columns; the anchor loss is how far they have moved."""
    made = tiny_model(each_backbone[1], setup="match", match_labels=0.6, match_vary=0.5, match_anchor=2.0)
    model = made.model
    texts = LabelTexts(LABELS, made.tokenizer, made.settings, CPU)
    texts.keep_anchors(model)
    assert texts.anchors is not None
    assert len(texts.anchors) == 15
    batch = primary(made, [0, 1, 4])
    batch.definitions = texts.of_step(3).definitions
    chosen = batch.definitions.columns
    assert chosen is not None
    with torch.no_grad():
        model.anchor = 2.0
        assert model(batch)["anchor"].item() == pytest.approx(0, abs=1e-3)
        for parameter in model.encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        losses = model(batch)
        vectors = model.label_embeddings(batch.definitions)
        logits = model.match(model.embed(batch.texts), vectors, chosen)
        wanted = F.binary_cross_entropy_with_logits(logits, batch.labels[:, chosen], reduction="sum")
        apart = 1 - F.cosine_similarity(vectors, batch.definitions.anchors)
    torch.testing.assert_close(losses["match"], wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(losses["anchor"], 2 * apart.sum(), rtol=1e-3, atol=1e-4)
    assert losses["anchor"] > 1e-3


def test_counts_of_a_step(tiny_bert_dir: Path, tiny_corpus: dict[str, Corpus]) -> None:
    settings = TrainSettings(
        backbone=str(tiny_bert_dir), setup="match", match_labels=0.6, match_anchor=0.5, epochs=1
    )
    tokenizer = TextTokenizer.load(tiny_bert_dir, settings.placeholders)
    batches = StepBatches(tiny_corpus["train"], tokenizer, settings, device=CPU, world=2)
    assert batches.label_texts is not None
    assert batches.make(0).counts == {"emotion": 16 * 5, "match": 16 * 3}
    batches.label_texts.keep_anchors(tiny_model(tiny_bert_dir, setup="match").model)
    step = batches.make(0)
    assert step.counts == {"emotion": 16 * 5, "match": 16 * 3, "anchor": 2 * 3}
    assert isinstance(step.batch, PrimaryBatch)
    assert step.batch.definitions is not None
    assert step.batch.definitions.anchors is not None
    assert step.batch.definitions.anchors.shape[0] == 3
    alone = StepBatches(tiny_corpus["train"].take([0]), tokenizer, settings, device=CPU, world=2)
    assert alone.label_texts is not None
    alone.label_texts.anchors = batches.label_texts.anchors
    assert alone.make(0).counts["anchor"] == 3  # of the process that has the text


def test_targets_replace_labels(tiny_bert_dir: Path, tiny_corpus: dict[str, Corpus]) -> None:
    settings = TrainSettings(backbone=str(tiny_bert_dir), epochs=1)
    tokenizer = TextTokenizer.load(tiny_bert_dir, settings.placeholders)
    corpus = tiny_corpus["train"]
    soft = np.random.default_rng(0).random(corpus.labels.shape).astype(np.float32)
    plain = StepBatches(corpus, tokenizer, settings, device=CPU).make(2).batch
    mixed = StepBatches(corpus, tokenizer, settings, device=CPU, targets=soft).make(2).batch
    assert isinstance(plain, PrimaryBatch)
    assert isinstance(mixed, PrimaryBatch)
    assert torch.equal(plain.texts.input_ids, mixed.texts.input_ids)
    rows = [np.flatnonzero((soft == row).all(1))[0] for row in mixed.labels.numpy()]
    assert plain.labels.tolist() == corpus.labels[rows].tolist()


def test_one_bias_for_all_is_saved(tiny_bert_dir: Path, tmp_path: Path) -> None:
    settings = TrainSettings(backbone=str(tiny_bert_dir), setup="match", match_shared_bias=True)
    made = TrainedModel.untrained(settings, LABELS)
    match = made.model.match
    assert match is not None
    assert match.bias.shape == (1,)
    with torch.no_grad():
        match.bias.fill_(-1.5)
    assert match.biases().tolist() == [-1.5] * 5
    made.save(tmp_path / "model")
    loaded = type(made).load(tmp_path / "model")
    texts = ["a lovely day", "how dare he"]
    np.testing.assert_allclose(loaded.predict_proba(texts), made.predict_proba(texts), atol=1e-6)


def test_looking_words_up_at_once_changes_nothing(tiny_backbone: Callable[..., Path]) -> None:
    for architecture in ("bert", "xlnet", "roberta", "mpnet"):
        made = tiny_model(tiny_backbone(architecture), setup="match")
        batch = primary(made, [0, 1, 3, 4])
        with torch.no_grad():
            (words,) = made.model.look_up([batch.texts])
            torch.testing.assert_close(made.model.embed(batch.texts, words), made.model.embed(batch.texts))
