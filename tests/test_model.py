"""The shared encoder and its heads, for six architectures and both poolings, against transformers and hand computation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from emodef.encoding import Encoder
from emodef.errors import SettingsError
from emodef.train.architectures import TiedMaskedWordHead, load_network, takes_segments
from emodef.train.checkpoint import TrainedModel
from emodef.train.model import (
    AuxiliaryBatch,
    Inputs,
    MatchHead,
    PrimaryBatch,
    build_model,
)
from tiny_backbones import ARCHITECTURES
from tiny_models import CPU, LABELS, TARGETS, TEXTS, auxiliary, logits_of, primary, text_inputs, tiny_model

Backbone = Callable[..., Path]


@pytest.fixture(params=[(a, p) for a in ARCHITECTURES for p in ("own", "mean")], ids="-".join)
def each(request: pytest.FixtureRequest, tiny_backbone: Backbone) -> tuple[str, str, TrainedModel]:
    """(architecture, pooling, a model with every head), for each architecture and pooling."""
    architecture, pooling = request.param
    return architecture, pooling, tiny_model(tiny_backbone(architecture), pooling=pooling)


# ---- losses


def test_losses_are_sums_over_the_batch(each: tuple[str, str, TrainedModel]) -> None:
    """The loss of a batch is the sum of its rows' losses, each computed alone and without padding."""
    _, _, made = each
    with torch.no_grad():
        whole = made.model(primary(made, [0, 1, 2, 3, 4, 5]))
        alone = [made.model(primary(made, [row])) for row in range(6)]
        assert set(whole) == {"emotion", "match"}
        pairs = made.model(auxiliary(made, [0, 1, 2, 3, 4], "cdp", "mlm"))
        pair_alone = [made.model(auxiliary(made, [row], "cdp", "mlm")) for row in range(5)]
        assert set(pairs) == {"cdp", "mlm"}
    for losses, rows in ((whole, alone), (pairs, pair_alone)):
        for task, loss in losses.items():
            parts = torch.stack([row[task] for row in rows])
            torch.testing.assert_close(loss, parts.sum(), rtol=1e-5, atol=1e-4)
            assert parts.std() > 1e-3  # the rows do differ


def test_losses_by_hand(each: tuple[str, str, TrainedModel]) -> None:
    _, _, made = each
    model, rows = made.model, [0, 1, 3]
    batch = primary(made, rows)
    with torch.no_grad():
        losses = model(batch)
        probability = torch.sigmoid(logits_of(model, batch.texts))
        target = TARGETS[rows]
        by_hand = -(target * probability.log() + (1 - target) * (1 - probability).log()).sum()
        torch.testing.assert_close(losses["emotion"], by_hand, rtol=1e-4, atol=1e-4)
        scores = model.match(model.embed(batch.texts), made.embed_definitions())
        probability = torch.sigmoid(scores.double())
        by_hand = -(target * probability.log() + (1 - target) * (1 - probability).log()).sum()
        torch.testing.assert_close(losses["match"].double(), by_hand, rtol=1e-4, atol=1e-4)

        pairs = auxiliary(made, rows, "cdp", "mlm")
        assert pairs.is_definition is not None
        assert pairs.words is not None
        assert pairs.answers is not None
        losses = model(pairs)
        hidden, pooled = model.encode(pairs.pairs)
        chosen = torch.log_softmax(model.definition(pooled), -1)[range(3), pairs.is_definition]
        torch.testing.assert_close(losses["cdp"], -chosen.sum(), rtol=1e-5, atol=1e-5)
        everywhere = torch.log_softmax(model.masked_words(hidden), -1)
        chosen = everywhere.gather(-1, pairs.answers.unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(losses["mlm"], -chosen[pairs.words].sum(), rtol=1e-5, atol=1e-4)


def test_a_batch_trains_only_the_tasks_it_is_for(each: tuple[str, str, TrainedModel]) -> None:
    _, _, made = each
    with torch.no_grad():
        assert set(made.model(auxiliary(made, [0, 1], "cdp"))) == {"cdp"}
        assert set(made.model(auxiliary(made, [0, 1], "mlm"))) == {"mlm"}
        texts = primary(made, [0, 1])
        texts.definitions = None
        assert set(made.model(texts)) == {"emotion"}


def test_no_word_to_predict_costs_nothing(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir)
    batch = auxiliary(made, [0, 1], "mlm")
    assert batch.words is not None
    batch.words[:] = False
    loss = made.model(batch)["mlm"]
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in made.model.parameters())


# ---- hard parameter sharing


def parts_of(made: TrainedModel, pooling: str) -> dict[str, dict[str, nn.Parameter]]:
    """The model's parameters by what they belong to: encoder, projection, and each head."""
    model = made.model
    heads: dict[str, nn.Module | None] = {
        "emotion": model.emotion,
        "cdp": model.definition,
        "mlm": model.masked_words,
        "match": model.match,
    }
    names = {id(p): name for name, p in model.named_parameters()}
    encoder = {id(p) for name, p in model.encoder.named_parameters() if not name.startswith("pooler.")}
    parts: dict[str, dict[str, nn.Parameter]] = {
        head: {names[id(p)]: p for p in module.parameters() if id(p) not in encoder}
        for head, module in heads.items()
        if module is not None
    }
    in_heads = {name for part in parts.values() for name in part}
    parts["encoder"] = {n: p for n, p in model.named_parameters() if id(p) in encoder}
    parts["projection"] = {
        n: p for n, p in model.named_parameters() if n not in in_heads and id(p) not in encoder
    }
    assert bool(parts["projection"]) == (pooling == "own")
    return parts


def reached(part: dict[str, nn.Parameter]) -> set[str]:
    return {name for name, p in part.items() if p.grad is not None and bool(p.grad.abs().max() > 0)}


def test_each_loss_reaches_the_encoder_and_its_own_head_and_no_other(
    each: tuple[str, str, TrainedModel],
) -> None:
    _, pooling, made = each
    parts = parts_of(made, pooling)
    layers = {n.rsplit(".weight", 1)[0] for n in parts["encoder"] if n.endswith(".weight")}
    assert len(layers) > 5
    batches: dict[str, Callable[[], PrimaryBatch | AuxiliaryBatch]] = {
        "emotion": lambda: primary(made, [0, 1, 3, 4]),
        "match": lambda: primary(made, [0, 1, 3, 4]),
        "cdp": lambda: auxiliary(made, [0, 1, 2], "cdp", "mlm"),
        "mlm": lambda: auxiliary(made, [0, 1, 2], "cdp", "mlm"),
    }
    for task, batch in batches.items():
        made.model.zero_grad(set_to_none=True)
        made.model(batch())[task].backward()
        own = set(parts[task])
        assert own
        assert reached(parts[task]) == own, f"{task} does not train all of its head"
        for other in set(batches) - {task}:
            assert not reached(parts[other]), f"{task} reaches the head of {other}"
        missed = {n for n in parts["encoder"] if n.endswith(".weight")} - reached(parts["encoder"])
        # position and segment tables of inputs that have none of them are all it may leave out
        assert not {n for n in missed if "layer" in n.lower() and "seg" not in n}, f"{task}: {missed}"
        assert any("embed" in n for n in reached(parts["encoder"]))
        shares = set(parts["projection"]) if task in ("emotion", "cdp") else set()
        assert reached(parts["projection"]) == shares, f"{task} and the pooling projection"


def test_emotion_and_definition_heads_read_the_same_projection(tiny_backbone: Backbone) -> None:
    """A step of CDP alone moves what the emotion head sees, projection included."""
    for architecture in ARCHITECTURES:
        made = tiny_model(tiny_backbone(architecture), setup="cdp")
        projection = parts_of(made, "own")["projection"]
        before = {name: p.detach().clone() for name, p in projection.items()}
        optimizer = torch.optim.SGD(projection.values(), lr=0.5)
        texts = text_inputs(made, [0, 1, 4])
        emotion = logits_of(made.model, texts)
        made.model(auxiliary(made, [0, 1, 2], "cdp"))["cdp"].backward()
        optimizer.step()
        assert all(not torch.equal(before[name], p) for name, p in projection.items()), architecture
        assert (logits_of(made.model, texts) - emotion).abs().max() > 1e-3, architecture


# ---- pooling and padding


def test_own_pooling_is_the_architectures_own(tiny_backbone: Backbone) -> None:
    """Our emotion logits are those of transformers' ForSequenceClassification with the same weights."""
    for architecture in ARCHITECTURES:
        made = tiny_model(tiny_backbone(architecture), setup="none")
        inputs = text_inputs(made, [0, 1, 3, 4, 5])
        given = {} if inputs.segments is None else {"token_type_ids": inputs.segments}
        with torch.no_grad():
            theirs = made.model.network(
                input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, **given
            ).logits
        ours = logits_of(made.model, inputs)
        assert ours.std(0).max() > 0.05, architecture  # texts do get different scores
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_pairs_as_the_architecture_reads_them(tiny_backbone: Backbone) -> None:
    """The projection of a pair, against the network's own pass over its own tokenizer's pair with segments."""
    for architecture in ARCHITECTURES:
        folder = tiny_backbone(architecture)
        made = tiny_model(folder, setup="cdp")
        tokenizer = made.tokenizer.tokenizer
        encoder = made.tokenizer.encoder
        tokens, definitions = encoder.tokenize(TEXTS), encoder.tokenize(LABELS.definitions)
        segments = takes_segments(made.model.encoder)
        assert segments == (architecture in ("bert", "albert", "xlnet"))
        ours = Inputs.of(
            encoder.pairs(tokens, [0, 1, 4], definitions, [0, 2, 1], 100), segments=segments, device=CPU
        )
        second = [LABELS.definitions[k] for k in (0, 2, 1)]
        theirs = tokenizer(
            [TEXTS[i] for i in (0, 1, 4)],
            second,
            padding=True,
            return_tensors="pt",
            return_token_type_ids=segments,
        )
        with torch.no_grad():
            expected = made.model.network(**theirs).logits
        torch.testing.assert_close(logits_of(made.model, ours), expected, atol=1e-6, rtol=1e-6)
        if segments:  # and the segments do matter
            without = Inputs(ours.input_ids, ours.attention_mask, None)
            assert (logits_of(made.model, without) - expected).abs().max() > 1e-3


def test_mean_pooling_is_the_mean_of_the_real_tokens(tiny_backbone: Backbone) -> None:
    for architecture in ARCHITECTURES:
        made = tiny_model(tiny_backbone(architecture), pooling="mean", setup="none")
        inputs = text_inputs(made, [0, 1, 4], extra=3)
        with torch.no_grad():
            hidden, pooled = made.model.encode(inputs)
        for row in range(3):
            real = hidden[row][inputs.attention_mask[row].bool()]
            torch.testing.assert_close(pooled[row], real.mean(0), atol=1e-6, rtol=1e-5)


def test_scores_do_not_depend_on_neighbours_or_padding(each: tuple[str, str, TrainedModel]) -> None:
    _, _, made = each
    for which in ("emotion", "match", "mean"):
        together = made.predict_proba(TEXTS, scores=which)
        alone = made.predict_proba(TEXTS, scores=which, token_budget=1)
        reverse = made.predict_proba(TEXTS[::-1], scores=which)[::-1]
        assert together.shape == (6, 5)
        assert together.dtype == np.float32
        assert np.isfinite(together).all()
        assert together.std(0).max() > 0.01
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_allclose(together, reverse, atol=1e-5)
    definitions = made.embed_definitions()
    with torch.no_grad():
        narrow = made.model.scores(text_inputs(made, [0, 4]), definitions, "mean")
        wide = made.model.scores(text_inputs(made, [0, 4], extra=20), definitions, "mean")
    torch.testing.assert_close(narrow, wide, atol=1e-5, rtol=0)


def test_xlnet_summarises_at_its_last_token(tiny_backbone: Backbone) -> None:
    made = tiny_model(tiny_backbone("xlnet"), setup="none")
    assert made.tokenizer.encoder.left
    inputs = text_inputs(made, [0, 1], extra=4)
    assert inputs.attention_mask[:, 0].tolist() == [0, 0]  # padded on the left
    cls = made.tokenizer.tokenizer.cls_token_id
    assert inputs.input_ids[:, -1].tolist() == [cls, cls]
    with torch.no_grad():
        hidden, pooled = made.model.encode(inputs)
        expected = torch.tanh(made.model.network.sequence_summary.summary(hidden[:, -1]))
    torch.testing.assert_close(pooled, expected)
    # padded on the right, as other architectures are, the summary would be that of a padding token
    encoder = made.tokenizer.encoder
    right = Encoder(encoder.tokenizer, pad_id=encoder.pad_id, left=False, pad_segment=3)
    padded = right.texts(right.tokenize(TEXTS), [0, 1], 100)
    wrong = logits_of(made.model, Inputs.of(padded, segments=False, device=CPU))
    right_way = logits_of(made.model, inputs)
    assert (wrong[0] - right_way[0]).abs().max() > 1e-3
    torch.testing.assert_close(wrong[1], right_way[1], atol=1e-5, rtol=0)  # the longest has no padding


def test_any_encoder_pools_by_the_mean(tiny_bert_dir: Path, tmp_path: Path) -> None:
    """An architecture without a row of its own, whose tokenizer gives segments that its encoder does not take."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_bert_dir)
    tokenizer.save_pretrained(tmp_path)
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=128
    )
    transformers.DistilBertModel(config).save_pretrained(tmp_path)
    made = tiny_model(tmp_path, pooling="mean")
    assert made.tokenizer.segments
    np.testing.assert_allclose(
        made.predict_proba(TEXTS), made.predict_proba(TEXTS, token_budget=1), atol=1e-5
    )
    sum(made.model(auxiliary(made, [0, 1], "cdp", "mlm")).values()).backward()
    assert isinstance(made.model.masked_words, TiedMaskedWordHead)
    with pytest.raises(SettingsError, match=r"'distilbert'.*pooling = 'mean'"):
        load_network(str(tmp_path), 5, "own")


def test_matching_is_in_float32_whatever_training_is_in() -> None:
    """A product in bfloat16 would be off by some hundredths of a cosine's logit."""
    torch.manual_seed(0)
    head, texts, labels = MatchHead(5), torch.randn(4, 16), torch.randn(5, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert (texts @ labels.T).dtype == torch.bfloat16
        found = head(texts, labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, head(texts, labels))


# ---- building


def test_heads_are_those_of_the_tasks(tiny_bert_dir: Path) -> None:
    for setup, heads in {
        "none": set(),
        "cdp": {"definition"},
        "mlm": {"masked_words"},
        "match": {"match"},
        "cdp+mlm": {"definition", "masked_words"},
    }.items():
        model = tiny_model(tiny_bert_dir, setup=setup).model
        has = {n for n in ("definition", "masked_words", "match") if getattr(model, n) is not None}
        assert has == heads
    with pytest.raises(ValueError, match="no matching head"):
        model.scores(text_inputs(tiny_model(tiny_bert_dir), [0]), None, "match")


@pytest.mark.parametrize("placeholder", ["[]", "<>", "[ ]"])
def test_a_placeholder_without_a_word_is_refused(placeholder: str, tiny_bert_dir: Path) -> None:
    """It would begin with the mean of no vectors, and every loss with it would be no number."""
    with pytest.raises(SettingsError, match=rf"placeholders: '{re.escape(placeholder)}' has no word"):
        tiny_model(tiny_bert_dir, placeholders=("[NAME]", placeholder))


def test_the_seed_decides_the_first_weights(tiny_bert_dir: Path) -> None:
    one, same, other = (tiny_model(tiny_bert_dir, seed=s, shaken=0).model for s in (1, 1, 2))
    for (name, a), b in zip(one.named_parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(one.emotion.weight, other.emotion.weight)
    assert torch.equal(one.encoder.get_input_embeddings().weight, other.encoder.get_input_embeddings().weight)


def test_the_checkpoints_weights_are_kept(each_backbone: tuple[str, Path]) -> None:
    _, folder = each_backbone
    theirs = dict(transformers.AutoModel.from_pretrained(folder).named_parameters())
    for pooling in ("own", "mean"):
        tokenizer_size = transformers.AutoModel.from_pretrained(folder).config.vocab_size
        model = build_model(
            str(folder),
            labels=5,
            pooling=pooling,
            tasks=frozenset(),
            vocabulary=tokenizer_size,
            new_tokens={},
        )
        ours = dict(model.encoder.named_parameters())
        assert len(ours) > 10
        for name, parameter in ours.items():
            assert torch.equal(parameter, theirs[name]), name
            assert parameter.dtype == torch.float32


def test_a_classifier_for_other_labels_can_be_the_backbone(
    each_backbone: tuple[str, Path], tmp_path: Path
) -> None:
    """Its emotion head is made anew, everything else is kept; a wrong size anywhere else is an error."""
    made = tiny_model(each_backbone[1], setup="none")
    made.save(tmp_path)
    options: dict[str, Any] = {"pooling": "own", "tasks": frozenset(), "vocabulary": 0, "new_tokens": {}}
    model = build_model(str(tmp_path), labels=3, **options)
    head = set(map(id, model.emotion.parameters()))
    kept = {name: p for name, p in model.named_parameters() if id(p) not in head}
    theirs = dict(made.model.named_parameters())
    assert len(theirs) - len(kept) == 2
    assert all(torch.equal(p, theirs[name]) for name, p in kept.items())
    assert model.emotion.weight.shape == (3, 32)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["vocab_size"] += 7
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for pooling in ("own", "mean"):
        with pytest.raises(ValueError, match=r"of another shape.*embedding"):
            build_model(str(tmp_path), labels=3, **{**options, "pooling": pooling})
