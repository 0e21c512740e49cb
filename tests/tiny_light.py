"""A light model made by hand in milliseconds, without torch: a word of a label's own raises that label, nothing else does.

The graph is real: token vectors, their mean over the attention mask, one linear layer, sigmoid. What a transformer does
beside that (positions, neighbours in the batch) is tested on exported models.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from emodef.calibration import Calibration
from emodef.labels import LabelSet
from emodef.predictor.model_file import Encoding, MatchInfo, ModelInfo

LABELS = LabelSet.from_dict(
    {
        "name": "tiny",
        "labels": [
            {"name": "joy", "definition": "A feeling of pleasure and happiness"},
            {"name": "anger", "definition": "A strong feeling of displeasure or antagonism"},
            {"name": "fear", "definition": "Being afraid or worried"},
            {"name": "curiosity", "definition": "A strong desire to know or learn something"},
            {"name": "neutral", "definition": "No emotions"},
        ],
        "mappings": {
            "sentiment": {
                "joy": "positive",
                "anger": "negative",
                "fear": "negative",
                "curiosity": "ambiguous",
                "neutral": "neutral",
            }
        },
    }
)
WORDS = {  # label -> words that speak for it
    "joy": ("happy", "lovely", "thanks", "great", "glad"),
    "anger": ("angry", "furious", "hate", "awful"),
    "fear": ("afraid", "scared", "worried"),
    "curiosity": ("why", "wonder", "how"),
    "neutral": ("meeting", "chairs", "platform"),
}
PLAIN = (
    *"abcdefghijklmnopqrstuvwxyz",
    "am",
    "so",
    "the",
    "is",
    "in",
    "it",
    "and",
    "you",
    "this",
    "that",
    "of",
    "to",
    *".,!?'",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
SUM = 6.0  # what one telling word among a few adds, before the sigmoid


def build_tiny_light(folder: Path, labels: LabelSet = LABELS, **changes: Any) -> Path:
    """Write model.onnx, tokenizer.json and model.json into `folder` and return it; `changes` are fields of ModelInfo."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    onnx.save(_graph(tokenizer, labels), str(folder / "model.onnx"))
    tuned = {labels.name: [0.3 + 0.02 * k for k in range(len(labels))]}
    for level, coarse in labels.coarse.items():
        tuned[level] = [0.35] * len(coarse)
    made: dict[str, Any] = {
        "label_set": labels,
        "encoding": Encoding(pad_id=0, longest=64, window=32),
        "thresholds": {"fixed": 0.3, "tuned": tuned},
        "scores": "match",
        "calibration": Calibration((0.5,) * len(labels), (-0.25,) * len(labels), 100, 0.08, 0.03),
        "match": MatchInfo("{name}: {definition}", 1.0, (0.0,) * len(labels)),
        "definition_head": True,
        "about": {"name": "tiny", "precision": "fp32"},
    }
    ModelInfo(**made | changes).write(folder)
    (folder / "README.md").write_text("# tiny\nMade for tests.\n", encoding="utf-8")
    return folder


def tiny_tokenizer() -> Tokenizer:
    """Words in lower case and, for all others, pieces of one character."""
    words = [word for group in WORDS.values() for word in group]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    entries = [*SPECIAL, *PLAIN, *words, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {entry: i for i, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _graph(tokenizer: Tokenizer, labels: LabelSet) -> onnx.ModelProto:
    size, width = tokenizer.get_vocab_size(), 8
    draw = np.random.default_rng(0)
    vectors = np.zeros((size, len(labels) + width), dtype=np.float32)
    vectors[:, len(labels) :] = draw.normal(size=(size, width))
    for k, name in enumerate(labels.names):
        for word in WORDS.get(name, ()):
            vectors[tokenizer.token_to_id(word), k] = 1
    head = np.zeros((len(labels) + width, len(labels)), dtype=np.float32)
    head[: len(labels)] = np.eye(len(labels)) * SUM * 4
    head[len(labels) :] = draw.normal(size=(width, len(labels))) * 0.2
    constants: dict[str, np.ndarray] = {
        "vectors": vectors,
        "head": head,
        "bias": np.full(len(labels), -3.0, dtype=np.float32),
        "same": draw.normal(size=(len(labels) + width, 1)).astype(np.float32),
        "last": np.array([-1], dtype=np.int64),
        "tokens": np.array([1], dtype=np.int64),
        "least": np.array(1e-6, dtype=np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["vectors", "input_ids"], ["tokens_of"]),
        node("Cast", ["attention_mask"], ["mask_float"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask_float", "last"], ["mask"]),
        node("Mul", ["tokens_of", "mask"], ["kept"]),
        node("ReduceSum", ["kept", "tokens"], ["summed"], keepdims=0),
        node("ReduceSum", ["mask", "tokens"], ["count"], keepdims=0),
        node("Max", ["count", "least"], ["number"]),
        node("Div", ["summed", "number"], ["embedding"]),
        node("MatMul", ["embedding", "head"], ["raw"]),
        node("Add", ["raw", "bias"], ["logits"]),
        node("Sigmoid", ["logits"], ["probabilities"]),
        node("MatMul", ["embedding", "same"], ["match"]),
        node("Squeeze", ["match", "last"], ["matched"]),
        node("Sigmoid", ["matched"], ["definition"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask")],
        [
            value("probabilities", TensorProto.FLOAT, ["batch", len(labels)]),
            value("embedding", TensorProto.FLOAT, ["batch", len(labels) + width]),
            value("definition", TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
