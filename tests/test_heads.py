"""The heads in six architectures: masked words, placeholders' vectors, matching, dropout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from emodef.train.architectures import TiedMaskedWordHead
from emodef.train.checkpoint import TrainedModel
from emodef.train.label_texts import LabelTexts
from emodef.train.model import DefinitionModel, Inputs, MatchHead, set_dropout
from tiny_backbones import ARCHITECTURES
from tiny_models import CPU, LABELS, auxiliary, primary, tiny_model

Backbone = Callable[..., Path]


# ---- masked words


def masked_reference(architecture: str) -> Any:
    return {"xlnet": transformers.XLNetLMHeadModel}.get(architecture, transformers.AutoModelForMaskedLM)


def test_masked_word_head_is_the_checkpoints_own(each_backbone: tuple[str, Path]) -> None:
    """Word for word the logits of transformers' masked language model, placeholders added or not."""
    architecture, folder = each_backbone
    theirs = masked_reference(architecture).from_pretrained(folder).eval()
    for placeholders in ((), ("[NAME]", "[RELIGION]")):
        made = tiny_model(folder, setup="mlm", shaken=0, placeholders=placeholders)
        assert not isinstance(made.model.masked_words, TiedMaskedWordHead)
        inputs = auxiliary(made, [0, 1], "mlm").pairs
        segments = {} if inputs.segments is None else {"token_type_ids": inputs.segments}
        with torch.no_grad():
            ours = made.model.masked_words(made.model.encode(inputs)[0])
            expected = theirs(
                input_ids=inputs.input_ids, attention_mask=inputs.attention_mask, **segments
            ).logits
        old = theirs.config.vocab_size
        assert ours.shape[-1] == made.tokenizer.size == old + len(placeholders)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours[..., :old], expected, atol=1e-6, rtol=1e-5)


def test_masked_word_head_where_the_checkpoint_has_none(tiny_backbone: Backbone) -> None:
    for architecture in ARCHITECTURES:
        made = tiny_model(tiny_backbone(architecture, head=False), setup="mlm", shaken=0)
        head = made.model.masked_words
        assert isinstance(head, TiedMaskedWordHead), architecture
        hidden = torch.randn(3, made.model.encoder.config.hidden_size)
        with torch.no_grad():
            table = made.model.encoder.get_input_embeddings().weight
            inner = nn.functional.layer_norm(
                nn.functional.gelu(hidden @ head.dense.weight.T), (table.shape[1],)
            )
            torch.testing.assert_close(head(hidden), inner @ table.T)


def tied_tables(model: DefinitionModel) -> Iterator[Tensor]:
    """Weights of the head's vocabulary layers, which must be the embedding table itself."""
    assert model.masked_words is not None
    for module in model.masked_words.modules():
        if isinstance(module, nn.Linear) and module.out_features > 100:
            yield module.weight


@pytest.mark.parametrize("head", [True, False])
def test_masked_word_head_is_tied_to_the_embeddings(
    head: bool, each_backbone: tuple[str, Path], tiny_backbone: Backbone, tmp_path: Path
) -> None:
    architecture, _ = each_backbone
    made = tiny_model(tiny_backbone(architecture, head=head), setup="mlm", pooling="mean")

    def assert_tied(model: DefinitionModel) -> None:
        table = model.encoder.get_input_embeddings().weight
        tables = list(tied_tables(model))
        assert len(tables) == 1
        assert tables[0] is table
        assert tables[0].data_ptr() == table.data_ptr()
        assert table.shape[0] == made.tokenizer.size

    assert_tied(made.model)
    before = made.model.encoder.get_input_embeddings().weight.detach().clone()
    optimizer = torch.optim.AdamW(made.model.parameters(), lr=0.01)
    made.model(auxiliary(made, [0, 1, 2], "mlm"))["mlm"].backward()
    optimizer.step()
    assert_tied(made.model)
    # every word's vector moves, not only those seen: the softmax is over the whole vocabulary
    moved = (made.model.encoder.get_input_embeddings().weight - before).abs().max(1).values > 0
    assert moved.float().mean() > 0.95
    made.save(tmp_path / "model")
    loaded = TrainedModel.load(tmp_path / "model")
    assert_tied(loaded.model)
    assert isinstance(loaded.model.masked_words, TiedMaskedWordHead) == (not head)
    batch = auxiliary(made, [0, 1, 2], "mlm")
    with torch.no_grad():
        assert torch.equal(made.model(batch)["mlm"], loaded.model(batch)["mlm"])


def test_an_untied_output_layer_stays_its_own(tiny_backbone: Backbone, tmp_path: Path) -> None:
    """Where a checkpoint says that its output layer is not the embeddings, it is not made so."""
    folder = tiny_backbone("bert", tie_word_embeddings=False)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder).eval()
    made = tiny_model(folder, setup="mlm", shaken=0)
    inputs = auxiliary(made, [0, 1], "mlm").pairs
    with torch.no_grad():
        ours = made.model.masked_words(made.model.encode(inputs)[0])
        expected = theirs(
            input_ids=inputs.input_ids,
            attention_mask=inputs.attention_mask,
            token_type_ids=inputs.segments,
        ).logits
    torch.testing.assert_close(ours[..., : expected.shape[-1]], expected, atol=1e-6, rtol=1e-5)
    made.save(tmp_path / "model")
    loaded = TrainedModel.load(tmp_path / "model").model
    with torch.no_grad():
        assert torch.equal(loaded.masked_words(loaded.encode(inputs)[0]), ours)


# ---- placeholders


def test_new_rows_start_at_the_mean_of_the_words_pieces(each_backbone: tuple[str, Path]) -> None:
    _, folder = each_backbone
    old = transformers.AutoModel.from_pretrained(folder).get_input_embeddings().weight
    for pooling in ("own", "mean"):
        made = tiny_model(folder, pooling=pooling, shaken=0)
        new = made.model.encoder.get_input_embeddings().weight
        assert new.shape[0] == old.shape[0] + 2 == made.model.encoder.config.vocab_size
        assert torch.equal(new[: old.shape[0]], old)
        assert len(made.tokenizer.new_tokens) == 2
        for token, pieces in made.tokenizer.new_tokens.items():
            torch.testing.assert_close(new[token], old[pieces].mean(0))


def test_spare_rows_are_used_before_the_table_grows(tiny_backbone: Backbone) -> None:
    """A table with more rows than the vocabulary (padded to a round number) is not resized, yet its new rows start well."""
    folder = tiny_backbone("bert", vocab_size=512)
    old = transformers.AutoModel.from_pretrained(folder).get_input_embeddings().weight
    for setup in ("none", "mlm"):
        made = tiny_model(folder, setup=setup, shaken=0)
        new = made.model.encoder.get_input_embeddings().weight
        assert new.shape[0] == 512
        for token, pieces in made.tokenizer.new_tokens.items():
            torch.testing.assert_close(new[token], old[pieces].mean(0))


# ---- matching


def test_match_formula_by_hand() -> None:
    head = MatchHead(3, scale=20.0, bias=-4.0)
    with torch.no_grad():
        head.bias[:] = torch.tensor([-4.0, 0.5, 1.25])
        head.log_scale.fill_(math.log(7.0))
    texts, definitions = torch.tensor([[3.0, 4.0], [0.0, -2.0]]), torch.tensor([[1.0, 0], [0, 5], [-1, -1]])
    half = math.sqrt(0.5)
    expected = [
        [7 * 0.6 - 4.0, 7 * 0.8 + 0.5, 7 * -1.4 * half + 1.25],
        [-4.0, 7 * -1 + 0.5, 7 * half + 1.25],
    ]
    torch.testing.assert_close(head(texts, definitions), torch.tensor(expected))
    torch.testing.assert_close(
        head(texts * 10, definitions * 3), torch.tensor(expected)
    )  # lengths do not count


def test_match_starts_at_its_settings(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir, setup="match", shaken=0, match_scale=12.0, match_bias=-2.5)
    assert made.model.match is not None
    assert made.model.match.log_scale.exp().item() == pytest.approx(12.0)
    assert made.model.match.bias.tolist() == [-2.5] * 5


def test_definitions_keep_the_labels_order_through_length_groups(each_backbone: tuple[str, Path]) -> None:
    made = tiny_model(each_backbone[1])
    together = made.embed_definitions()
    encoder, longest = made.tokenizer.encoder, made.tokenizer.longest
    for k, (name, definition) in enumerate(zip(LABELS.names, LABELS.definitions, strict=True)):
        tokens = encoder.tokenize([f"{name}: {definition}"])
        inputs = Inputs.of(encoder.texts(tokens, [0], longest), segments=made.tokenizer.segments, device=CPU)
        with torch.no_grad():
            alone = made.model.embed(inputs)[0]
        torch.testing.assert_close(together[k], alone, atol=1e-5, rtol=1e-4)
    assert torch.pdist(together).min() > 1e-2  # so that a wrong order would show


def test_fewer_labels_than_length_groups(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir)
    two = type(LABELS)("two", LABELS.names[:2], LABELS.definitions[:2])
    settings = made.settings.model_copy(update={"match_text": "{definition}"})
    encoded = LabelTexts(two, made.tokenizer, settings, CPU).whole()
    assert len(encoded.definitions.groups) == 2
    assert encoded.definitions.order.tolist() == [1, 0]  # the first label's definition is the longer one
    assert encoded.real == encoded.computed


def test_definitions_and_texts_are_pooled_alike(tiny_backbone: Backbone) -> None:
    """A text that is word for word a definition has cosine 1 with it, whatever the pooling of the emotion head."""
    for pooling in ("own", "mean"):
        made = tiny_model(tiny_backbone("xlnet"), pooling=pooling, match_text="{definition}")
        assert made.model.match is not None
        with torch.no_grad():
            made.model.match.bias.zero_()
            made.model.match.log_scale.zero_()
        scores = made.predict_proba(list(LABELS.definitions), scores="match")
        np.testing.assert_allclose(scores.diagonal(), 1 / (1 + math.exp(-1)), atol=1e-5)
        assert (scores.argmax(1) == np.arange(5)).all()


# ---- dropout


def test_dropout_rate_replaces_every_one_of_the_checkpoint(each_backbone: tuple[str, Path]) -> None:
    """Rates of 0 too, which some architectures leave out of the network altogether."""
    architecture, folder = each_backbone
    made = tiny_model(folder)
    batch = primary(made, [0, 1, 4])
    rates = {}
    for rate in (0.0, 0.4):
        again = tiny_model(folder, dropout=rate).model
        again.load_state_dict(made.model.state_dict())
        again.train()
        modules = [m for m in again.modules() if isinstance(m, nn.Dropout)]
        assert {m.p for m in modules} <= {rate}
        rates[rate] = len(modules)
        with torch.no_grad():
            expected, first, second = made.model(batch), again(batch), again(batch)
        for task in ("emotion", "match"):
            if rate == 0:
                torch.testing.assert_close(first[task], expected[task], rtol=1e-5, atol=1e-5)
                assert torch.equal(first[task], second[task])
            else:
                assert (first[task] - second[task]).abs() > 1e-3
    assert rates[0.4] >= (8 if architecture != "albert" else 5)  # albert's one layer serves for all


def test_dropout_of_the_heads_is_the_architectures_own(tiny_backbone: Backbone) -> None:
    cases = [
        ("bert", {"classifier_dropout": 0.3}, 0.3),
        ("bert", {"hidden_dropout_prob": 0.2}, 0.2),
        ("albert", {"classifier_dropout_prob": 0.25}, 0.25),
        ("xlnet", {"summary_last_dropout": 0.15}, 0.15),
        ("modernbert", {"classifier_dropout": 0.05}, 0.05),
    ]
    for architecture, config, rate in cases:
        folder = tiny_backbone(architecture, **config)
        assert tiny_model(folder, setup="none").model.dropout.p == rate
    made = tiny_model(tiny_backbone("bert"), setup="none")
    set_dropout(made.model, 0.0)
    assert made.model.dropout.p == 0
