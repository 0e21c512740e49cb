"""The fixtures themselves: each tiny encoder follows the conventions of the architecture it stands for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

# what a pair looks like: tokens before, between and after the two texts
FRAMES = {
    "bert": (["[CLS]"], ["[SEP]"], ["[SEP]"]),
    "roberta": (["<s>"], ["</s>", "</s>"], ["</s>"]),
    "xlnet": ([], ["<sep>"], ["<sep>", "<cls>"]),
    "albert": (["[CLS]"], ["[SEP]"], ["[SEP]"]),
    "mpnet": (["<s>"], ["</s>", "</s>"], ["</s>"]),
    "modernbert": (["[CLS]"], ["[SEP]"], ["[SEP]"]),
}


def test_vocabularies_are_the_same_in_every_process() -> None:
    """A fixture that differs from run to run makes a bound fail by chance."""
    kinds = ["wordpiece", "bpe", "unigram"]
    code = f"import json, tiny_backbones; print(json.dumps([tiny_backbones._vocabulary(k, ['<unk>']) for k in {kinds}]))"
    here = Path(__file__).parent
    first, second = (subprocess.check_output([sys.executable, "-c", code], cwd=here) for _ in range(2))
    assert len(first) > 10_000
    assert json.loads(first) == json.loads(second)


def test_pairs_follow_the_architecture(each_backbone: tuple[str, Path]) -> None:
    architecture, folder = each_backbone
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    first, second = tokenizer.tokenize("I am happy"), tokenizer.tokenize("A feeling")
    before, between, after = FRAMES[architecture]
    pair = tokenizer("I am happy", "A feeling", return_token_type_ids=True)
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"]) == [*before, *first, *between, *second, *after]
    segments = {
        "bert": [0] * (len(first) + 2) + [1] * (len(second) + 1),
        "albert": [0] * (len(first) + 2) + [1] * (len(second) + 1),
        "xlnet": [0] * (len(first) + 1) + [1] * (len(second) + 1) + [2],
    }
    assert pair["token_type_ids"] == segments.get(architecture, [0] * len(pair["input_ids"]))
    assert tokenizer.padding_side == ("left" if architecture == "xlnet" else "right")


def test_padding_changes_nothing(each_backbone: tuple[str, Path]) -> None:
    _, folder = each_backbone
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    assert len(tokenizer) == model.config.vocab_size
    assert model.config.pad_token_id == tokenizer.pad_token_id
    batch = tokenizer(["Thanks!", "He told her he was sorry."], padding=True, return_tensors="pt")
    alone = tokenizer("Thanks!", return_tensors="pt")
    with torch.no_grad():
        padded = model(**batch).last_hidden_state[0][batch["attention_mask"][0].bool()]
        plain = model(**alone).last_hidden_state[0]
    torch.testing.assert_close(padded, plain, atol=1e-5, rtol=0)


def test_longest_input_fits(each_backbone: tuple[str, Path]) -> None:
    _, folder = each_backbone
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer("rain " * 300, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    assert states.shape[1] == tokenizer.model_max_length
    assert torch.isfinite(states).all()


def test_masked_word_head(each_backbone: tuple[str, Path], tiny_backbone: Callable[..., Path]) -> None:
    """The saved head comes back without anything missing; a bare encoder has none."""
    architecture, folder = each_backbone
    heads: dict[str, Any] = {"xlnet": transformers.XLNetLMHeadModel}
    loader = heads.get(architecture, transformers.AutoModelForMaskedLM)
    _, saved = loader.from_pretrained(folder, output_loading_info=True)
    assert not saved["missing_keys"]
    _, bare = loader.from_pretrained(tiny_backbone(architecture, head=False), output_loading_info=True)
    assert bare["missing_keys"]


def test_tiny_corpus(tiny_corpus: dict[str, Any]) -> None:
    assert {split: len(corpus) for split, corpus in tiny_corpus.items()} == {
        "train": 120,
        "dev": 40,
        "test": 40,
    }
    for corpus in tiny_corpus.values():
        per_text = corpus.labels.sum(axis=1)
        assert per_text.min() == 1
        assert per_text.max() == 2
        assert (corpus.labels.sum(axis=0) >= 5).all()
        alone = corpus.labels[:, corpus.label_set.index("neutral")] == 1
        np.testing.assert_array_equal(per_text[alone], 1)
