"""Our batches against transformers' own tokenizers, for six architectures: ids, masks, segments, padding, truncation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.encoding import Encoder, Padded, budget_batches
from emodef.errors import DataError
from emodef.train.tokenization import TextTokenizer

TEXTS = [
    "Thanks!",
    "I can't believe he told her he was sorry, and then she just laughed about it all evening…",
    "",
    "   ",
    "naïve café, ﬁne print, Ａｆｔｅｒ all: e\u0301 — 😀👍🏽 你好 \u200bзачем?",
    "two\nlines\tand a tab, [SEP] and </s> written out",
    "rain " * 40,
]
DEFINITIONS = ["A feeling of pleasure and happiness", "No emotions", "Being afraid or worried"]
PLACEHOLDERS = ("[NAME]", "[RELIGION]")


def same(ours: Padded, theirs: Any) -> None:
    """Ids, mask and segments of a batch are those that transformers makes."""
    np.testing.assert_array_equal(ours.input_ids, theirs["input_ids"])
    np.testing.assert_array_equal(ours.attention_mask, theirs["attention_mask"])
    np.testing.assert_array_equal(ours.segments, theirs["token_type_ids"])


def reference(tokenizer: Any, *texts: list[str], **options: Any) -> Any:
    return tokenizer(*texts, padding=True, return_token_type_ids=True, return_tensors="np", **options)


def pad_on_the(side: str, mask: Any) -> bool:
    """Whether every row's padding is on that side, and there is some."""
    steps = np.diff(mask, axis=1)
    return bool(steps.any()) and bool((steps <= 0).all() if side == "right" else (steps >= 0).all())


def test_texts_as_transformers_makes_them(each_backbone: tuple[str, Path]) -> None:
    architecture, folder = each_backbone
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoder = TextTokenizer.load(folder).encoder
    tokens = encoder.tokenize(TEXTS)
    whole = encoder.texts(tokens, range(len(TEXTS)), 128)
    same(whole, reference(tokenizer, TEXTS, truncation=True, max_length=128))
    assert pad_on_the("left" if architecture == "xlnet" else "right", whole.attention_mask)
    np.testing.assert_array_equal(whole.attention_mask.sum(1), tokens.lengths + encoder.single_overhead)
    chosen = [6, 1, 1, 0]
    cut = encoder.texts(tokens, chosen, 12)
    same(cut, reference(tokenizer, [TEXTS[i] for i in chosen], truncation=True, max_length=12))
    assert cut.input_ids.shape == (4, 12)


def test_pairs_as_transformers_makes_them(each_backbone: tuple[str, Path]) -> None:
    architecture, folder = each_backbone
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoder = TextTokenizer.load(folder).encoder
    tokens, definitions = encoder.tokenize(TEXTS), encoder.tokenize(DEFINITIONS)
    chosen, labels = [0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 2, 1, 0, 0]
    texts, second = [TEXTS[i] for i in chosen], [DEFINITIONS[k] for k in labels]
    ours = encoder.pairs(tokens, chosen, definitions, labels, 128)
    same(ours, reference(tokenizer, texts, second, truncation="only_first", max_length=128))
    assert pad_on_the("left" if architecture == "xlnet" else "right", ours.attention_mask)
    assert (ours.segments[ours.attention_mask == 1] == 1).any() == (
        architecture in ("bert", "xlnet", "albert")
    )


def test_the_text_is_cut_never_the_definition(each_backbone: tuple[str, Path]) -> None:
    _, folder = each_backbone
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoder = TextTokenizer.load(folder).encoder
    tokens, definitions = encoder.tokenize(TEXTS), encoder.tokenize(DEFINITIONS)
    limit = int(definitions.lengths[0]) + encoder.pair_overhead + 5
    ours = encoder.pairs(tokens, [1, 6], definitions, [0, 0], limit)
    cut = {"truncation": "only_first", "max_length": limit}
    same(ours, reference(tokenizer, [TEXTS[1], TEXTS[6]], [DEFINITIONS[0]] * 2, **cut))
    for row, special in zip(ours.input_ids, ours.special, strict=True):
        np.testing.assert_array_equal(row[~special][5:], definitions[0])
    # a definition that fills the whole room leaves the text none; one that is longer than all of it is cut
    full = encoder.pairs(tokens, [1], definitions, [0], limit - 5)
    np.testing.assert_array_equal(full.input_ids[~full.special], definitions[0])
    longer = encoder.pairs(tokens, [1], definitions, [0], limit - 7)
    np.testing.assert_array_equal(longer.input_ids[~longer.special], definitions[0][:-2])


def test_special_marks_all_but_the_words(each_backbone: tuple[str, Path]) -> None:
    _, folder = each_backbone
    encoder = TextTokenizer.load(folder).encoder
    tokens, definitions = encoder.tokenize(TEXTS[:2]), encoder.tokenize(DEFINITIONS)
    pairs = encoder.pairs(tokens, [0, 1], definitions, [0, 1], 128)
    for row, (text, label) in enumerate([(0, 0), (1, 1)]):
        words = np.concatenate([tokens[text], definitions[label]])
        np.testing.assert_array_equal(pairs.input_ids[row][~pairs.special[row]], words)
    assert pairs.special[pairs.attention_mask == 0].all()


def test_any_text(each_backbone: tuple[str, Path]) -> None:
    _, folder = each_backbone
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoder = TextTokenizer.load(folder).encoder

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.text(max_size=20))
    def check(texts: list[str], definition: str) -> None:
        tokens, definitions = encoder.tokenize(texts), encoder.tokenize([definition])
        everything = range(len(texts))
        same(
            encoder.texts(tokens, everything, 10), reference(tokenizer, texts, truncation=True, max_length=10)
        )
        pairs = encoder.pairs(tokens, everything, definitions, [0] * len(texts), 500)
        same(pairs, reference(tokenizer, texts, [definition] * len(texts)))

    check()


@pytest.mark.parametrize("cased", [False, True])
def test_placeholders_are_single_tokens_cased_and_uncased(
    cased: bool, tiny_bert_dir: Path, tmp_path: Path
) -> None:
    tokenizer = transformers.BertTokenizer.from_pretrained(tiny_bert_dir, do_lower_case=not cased)
    tokenizer.save_pretrained(tmp_path)
    loaded = TextTokenizer.load(tmp_path, PLACEHOLDERS)
    assert (
        loaded.encoder.tokenize(["A"])[0].tolist() != loaded.encoder.tokenize(["a"])[0].tolist() or not cased
    )
    _placeholders_are_single(loaded)


def test_placeholders_are_single_tokens(each_backbone: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = each_backbone
    loaded = TextTokenizer.load(folder, PLACEHOLDERS)
    _placeholders_are_single(loaded)
    assert loaded.size == TextTokenizer.load(folder).size + 2
    loaded.tokenizer.save_pretrained(tmp_path)  # and stay so in a saved model
    again = TextTokenizer.load(tmp_path, PLACEHOLDERS)
    _placeholders_are_single(again, added=False)
    text = "Oh [NAME], it is [RELIGION]."
    np.testing.assert_array_equal(again.encoder.tokenize([text]).flat, loaded.encoder.tokenize([text]).flat)


def _placeholders_are_single(loaded: TextTokenizer, added: bool = True) -> None:
    ids = [loaded.tokenizer.convert_tokens_to_ids(token) for token in PLACEHOLDERS]
    assert len(set(ids)) == 2
    assert set(loaded.new_tokens) == (set(ids) if added else set())
    assert all(pieces and not set(pieces) & set(ids) for pieces in loaded.new_tokens.values())
    tokenize = loaded.encoder.tokenize
    middle, ends, glued = tokenize(["sorry [NAME] no", "[NAME] [RELIGION]", "([NAME]'s)"])
    assert ends.tolist() == ids
    assert middle.tolist().count(ids[0]) == 1
    assert glued.tolist().count(ids[0]) == 1
    # the words around it are those of the text without it: the space before it leaves no token of its own
    sorry, no = tokenize(["sorry", " no"])
    assert middle.tolist() == [*sorry, ids[0], *no]


def test_placeholders_known_already_are_left_alone(tiny_bert_dir: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_bert_dir, ("[MASK]",))
    assert tokenizer.new_tokens == {}
    assert tokenizer.size == TextTokenizer.load(tiny_bert_dir).size


def test_loading_leaves_no_trace_in_the_tokenizer(tiny_bert_dir: Path) -> None:
    """Truncation or padding stored in tokenizer.json must not reach our batches, nor ours the tokenizer."""
    backend = transformers.AutoTokenizer.from_pretrained(tiny_bert_dir).backend_tokenizer
    backend.enable_truncation(6)
    backend.enable_padding(length=20)
    encoder = Encoder(backend, pad_id=0)
    assert encoder.tokenize(["rain " * 30]).lengths.tolist()[0] >= 30
    assert backend.truncation["max_length"] == 6
    assert backend.padding["length"] == 20


def test_no_texts(tiny_bert_dir: Path) -> None:
    encoder = TextTokenizer.load(tiny_bert_dir).encoder
    tokens = encoder.tokenize([])
    assert len(tokens) == 0
    assert encoder.texts(tokens, [], 50).input_ids.shape == (0, 0)
    assert list(budget_batches(tokens.lengths, 100)) == []


@pytest.mark.parametrize("bad", [None, 3.5, "broken \ud83d surrogate"])
def test_what_is_no_text_is_named(bad: Any, tiny_bert_dir: Path) -> None:
    encoder = TextTokenizer.load(tiny_bert_dir).encoder
    with pytest.raises(DataError, match="text 2 of 3"):
        encoder.tokenize(["fine", bad, "fine"])


def test_one_text_is_no_list_of_texts(tiny_bert_dir: Path) -> None:
    with pytest.raises(DataError, match="list of texts"):
        TextTokenizer.load(tiny_bert_dir).encoder.tokenize("one text")


@settings(deadline=None)
@given(st.lists(st.integers(1, 200), max_size=80), st.integers(1, 1500))
def test_budget_batches_cover_all_within_the_budget(lengths: list[int], budget: int) -> None:
    of = np.array(lengths, dtype=np.int64)
    batches = list(budget_batches(of, budget))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = int(of[batch].max())
        assert len(batch) * longest <= budget or len(batch) == 1
    for batch, following in pairwise(batches):
        longest = int(of[batch].max())
        assert (len(batch) + 1) * longest > budget  # no batch is smaller than it must be
        assert of[following].max() <= of[batch].min()


def test_encoding_needs_neither_torch_nor_transformers(tiny_backbone: Callable[..., Path]) -> None:
    """The light predictor builds the same batches from tokenizer.json alone."""
    import subprocess
    import sys

    folder = tiny_backbone("bert")
    expected = TextTokenizer.load(folder).encoder
    code = (
        "import sys; from tokenizers import Tokenizer; from emodef.encoding import Encoder\n"
        "encoder = Encoder(Tokenizer.from_file(sys.argv[1]), pad_id=int(sys.argv[2]))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "print(encoder.texts(encoder.tokenize(sys.argv[3:]), range(len(sys.argv) - 3), 20).input_ids.tolist())"
    )
    given = [str(folder / "tokenizer.json"), str(expected.pad_id), *TEXTS[:2]]
    run = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    ours = expected.texts(expected.tokenize(TEXTS[:2]), [0, 1], 20).input_ids.tolist()
    assert run.stdout.strip() == str(ours)


def test_no_text_is_longer_than_the_encoder_has_places_for(
    each_backbone: tuple[str, Path], tmp_path: Path
) -> None:
    """Also where the tokenizer does not say how long a text may be."""
    folder = each_backbone[1]
    copy = shutil.copytree(folder, tmp_path / "backbone")
    told = json.loads((copy / "tokenizer_config.json").read_text(encoding="utf-8"))
    told.pop("model_max_length", None)
    (copy / "tokenizer_config.json").write_text(json.dumps(told), encoding="utf-8")
    tokenizer = TextTokenizer.load(copy)
    network = transformers.AutoModel.from_pretrained(copy)
    tokens = tokenizer.encoder.tokenize(["happy " * 2_000])
    padded = tokenizer.encoder.texts(tokens, [0], tokenizer.longest)
    with torch.no_grad():
        network.eval()(torch.from_numpy(padded.input_ids).long())
    assert padded.input_ids.shape[1] == tokenizer.longest <= 512
