"""Tiny, random, real encoders of six architectures, each with a tokenizer of its own kind: tests without a network.

Vocabularies are trained here on a few sentences; transformers' own tokenizer and model classes do the rest, so
special tokens, segments, padding side and the place of the masked-word head are those of the published checkpoints:

| architecture | vocabulary | a pair                 | segments     | saved as                             |
|--------------|------------|------------------------|--------------|--------------------------------------|
| bert         | WordPiece  | [CLS] a [SEP] b [SEP]  | 0, 1         | pre-training model: pooler, MLM head |
| roberta      | byte BPE   | <s> a </s> </s> b </s> | none         | masked LM, no pooler                 |
| xlnet        | Unigram    | a <sep> b <sep> <cls>  | 0, 1, cls: 2 | permutation LM; pads on the left     |
| albert       | Unigram    | [CLS] a [SEP] b [SEP]  | 0, 1         | pre-training model: pooler, MLM head |
| mpnet        | WordPiece  | <s> a </s> </s> b </s> | none         | masked LM, no pooler                 |
| modernbert   | byte BPE   | [CLS] a [SEP] b [SEP]  | none         | masked LM                            |

In transformers 5 the tokenizers of XLNet and ALBERT give segments only when asked (`return_token_type_ids=True`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ARCHITECTURES = ("bert", "roberta", "xlnet", "albert", "mpnet", "modernbert")
MAX_TOKENS = 128  # longest input of every tiny encoder
VOCABULARY = 400

_SENTENCES = (
    "The kettle is on and the rain has stopped.",
    "I am so happy for you, what a wonderful day!",
    "Why would anyone do that? It makes me furious.",
    "A feeling of pleasure and happiness.",
    "A strong feeling of displeasure or antagonism.",
    "Being afraid or worried about what comes next.",
    "Thank you, I was afraid nobody would help us with this.",
    "He told her he was sorry, and she laughed.",
    "We could see the lights of the harbour from the window.",
    "How does this work, and where did you find it?",
    "My sister's dog isn't allowed on the new sofa.",
    "No emotions; the meeting is at 10:30 on Tuesday, room 204.",
    'Café, naïve & "quoted" words (with brackets) cost $5.99 or 50% more...',
)


def build_backbone(
    architecture: str, directory: Path, *, seed: int = 0, head: bool = True, **config: Any
) -> Path:
    """Save a random encoder of `architecture` and its tokenizer in `directory`, and return it.

    `head=False` saves the bare encoder, with no masked-word head, as sentence-embedding checkpoints are published;
    `config` overrides fields of the architecture's configuration.
    """
    import torch
    import transformers

    tokenizer = _TOKENIZERS[architecture]()
    settings, model_class = _configuration(architecture, tokenizer)
    made = transformers.AutoConfig.for_model(architecture, **{**settings, **config})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, model_class)(made) if head else transformers.AutoModel.from_config(made)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def _configuration(architecture: str, tokenizer: Any) -> tuple[dict[str, Any], str]:
    """Fields of a two-layer, 32-wide configuration, and the class that published checkpoints are saved from."""
    vocabulary = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id
        if tokenizer.bos_token_id is not None
        else tokenizer.cls_token_id,
        "eos_token_id": tokenizer.eos_token_id
        if tokenizer.eos_token_id is not None
        else tokenizer.sep_token_id,
    }
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if architecture == "bert":
        return vocabulary | size | {"max_position_embeddings": MAX_TOKENS}, "BertForPreTraining"
    if architecture == "roberta":  # positions start after the padding index
        return vocabulary | size | {
            "max_position_embeddings": MAX_TOKENS + 2,
            "type_vocab_size": 1,
        }, "RobertaForMaskedLM"
    if architecture == "xlnet":
        return vocabulary | {
            "d_model": 32,
            "n_layer": 2,
            "n_head": 2,
            "d_inner": 64,
            "mem_len": None,
        }, "XLNetLMHeadModel"
    if architecture == "albert":  # word vectors narrower than the encoder, one shared layer
        return vocabulary | size | {
            "embedding_size": 16,
            "max_position_embeddings": MAX_TOKENS,
        }, "AlbertForPreTraining"
    if architecture == "mpnet":
        return vocabulary | size | {"max_position_embeddings": MAX_TOKENS + 2}, "MPNetForMaskedLM"
    if architecture == "modernbert":  # three layers: full, local, local attention
        ends = {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
        local = {"num_hidden_layers": 3, "local_attention": 16, "max_position_embeddings": MAX_TOKENS}
        return vocabulary | size | ends | local, "ModernBertForMaskedLM"
    raise ValueError(
        f"no tiny backbone of architecture {architecture!r}; there are: {', '.join(ARCHITECTURES)}"
    )


def _vocabulary(kind: str, special: Iterable[str], lower: bool = True) -> dict[str, Any]:
    """Train a vocabulary; returns the `model` part of tokenizers' own JSON: "vocab", and "merges" for BPE.

    The same one in every process: of the library's trainers only BPE's is repeatable as it is. WordPiece's numbers the characters
    within words in the order of a hash table, and breaks ties by number, so it gets them numbered; Unigram's pieces are BPE's, the
    likelier the earlier they were merged.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    special = list(special)
    within = [f"##{character}" for character in sorted(set("".join(_SENTENCES).lower()) - {" "})]
    model, before, trainer = {
        "wordpiece": (
            models.WordPiece(unk_token="[UNK]"),
            pre_tokenizers.BertPreTokenizer(),
            trainers.WordPieceTrainer(
                vocab_size=VOCABULARY, special_tokens=[*special, *within], show_progress=False
            ),
        ),
        "bpe": (
            models.BPE(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            trainers.BpeTrainer(
                vocab_size=VOCABULARY,
                special_tokens=special,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                show_progress=False,
            ),
        ),
        "unigram": (
            models.BPE(),
            pre_tokenizers.Metaspace(),
            trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False),
        ),
    }[kind]
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = before
    if lower:
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    made = json.loads(tokenizer.to_str())["model"]
    if kind == "unigram":
        pieces = sorted(made["vocab"], key=made["vocab"].__getitem__)
        made["vocab"] = [
            (piece, 0.0 if piece in special else -math.log(rank + 2)) for rank, piece in enumerate(pieces)
        ]
    return made


def _bert() -> Any:
    from transformers import BertTokenizer

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    return BertTokenizer(vocab=_vocabulary("wordpiece", special)["vocab"], model_max_length=MAX_TOKENS)


def _mpnet() -> Any:
    from transformers import MPNetTokenizer

    vocabulary = _vocabulary("wordpiece", ("<s>", "<pad>", "</s>", "<unk>", "[UNK]"))["vocab"]
    return MPNetTokenizer(vocab=vocabulary | {"<mask>": len(vocabulary)}, model_max_length=MAX_TOKENS)


def _roberta() -> Any:
    from tokenizers import AddedToken
    from transformers import RobertaTokenizer

    model = _vocabulary("bpe", ("<s>", "<pad>", "</s>", "<unk>"), lower=False)
    vocabulary = model["vocab"] | {"<mask>": len(model["vocab"])}
    merges = [tuple(pair) for pair in model["merges"]]
    mask = AddedToken("<mask>", lstrip=True)  # takes the space before it, as in the published checkpoints
    return RobertaTokenizer(vocab=vocabulary, merges=merges, mask_token=mask, model_max_length=MAX_TOKENS)


def _xlnet() -> Any:
    from transformers import XLNetTokenizer

    special = ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>")
    pieces = [tuple(piece) for piece in _vocabulary("unigram", special, lower=False)["vocab"]]
    return XLNetTokenizer(vocab=pieces, unk_id=0, model_max_length=MAX_TOKENS)


def _albert() -> Any:
    from transformers import AlbertTokenizer

    pieces = _vocabulary("unigram", ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"))["vocab"]
    return AlbertTokenizer(vocab=[tuple(piece) for piece in pieces], model_max_length=MAX_TOKENS)


def _modernbert() -> Any:
    """ModernBERT has no tokenizer class of its own; its checkpoints bring a tokenizer.json, specials last."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    model = _vocabulary("bpe", (), lower=False)
    merges = [tuple(pair) for pair in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", AddedToken("[MASK]", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=MAX_TOKENS,
    )


_TOKENIZERS: dict[str, Callable[[], Any]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlnet": _xlnet,
    "albert": _albert,
    "mpnet": _mpnet,
    "modernbert": _modernbert,
}
