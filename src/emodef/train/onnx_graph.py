"""A trained model as one ONNX graph: token ids in; probabilities, embedding and definition score out. Imports torch, onnx, onnxruntime.

Exported operation by operation, then fused where onnxruntime knows the architecture (BERT's family); elsewhere the graph stays
unfused and gives the same numbers. What never changes between texts, the label embeddings above all, is stored as constants.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emodef.encoding import Padded
from emodef.errors import TrainingError
from emodef.train.architectures import mean_of_tokens, quiet_transformers, takes_segments
from emodef.train.checkpoint import TrainedModel
from emodef.train.model import DefinitionModel, Inputs
from emodef.train.tokenization import TextTokenizer

OPSET = 17  # every onnxruntime that is in use reads it; layer normalisation is one operation from here on
SECOND = 1  # the segment of a pair's second sequence, in every architecture that tells them apart
FUSED = (
    "bert",
    "roberta",
)  # whose attention onnxruntime fuses (ALBERT's would be stored once for each layer that shares it)


def export_graph(trained: TrainedModel, scores: str | None = None) -> onnx.ModelProto:
    """The model as a float32 graph, for texts and (text, definition) pairs alike; `trained` is left as it is.

    Inputs: input_ids, attention_mask, and token_type_ids where it needs them, int64 (batch, length). Outputs, float32:
    probabilities (batch, K), embedding (batch, hidden), and with that head definition (batch,), P(IsDefinition).

    scores: whose probabilities it gives, by default the head's that the model was trained to answer with. Raises
    TrainingError where the encoder cannot be exported.
    """
    answers = _Answers(trained, scores or trained.settings.scores).eval()
    names = ["input_ids", "attention_mask"]
    example = example_inputs(trained.tokenizer, answers.segments)
    if answers.segments:
        names.append("token_type_ids")
    outputs = ["probabilities", "embedding"] + ["definition"] * answers.has_definition
    axes = {name: {0: "batch", 1: "length"} for name in names} | {name: {0: "batch"} for name in outputs}
    buffer: Any = (
        BytesIO()
    )  # the exporter writes to files and to streams, though its types know only the former
    kind = answers.model.network.config.model_type
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                answers,
                tuple(torch.from_numpy(example[name]) for name in names),
                buffer,
                input_names=names,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except (
        Exception
    ) as error:  # of many kinds, all saying that an operation of the encoder has no counterpart
        reason = str(error).strip().partition("\n")[0]
        raise TrainingError(
            f"the encoder ({kind}) cannot be exported with this torch and transformers ({reason}); "
            "use the checkpoint itself (emodef.train.TrainedModel)"
        ) from error
    graph = fuse(onnx.load_from_string(buffer.getvalue()), answers.model.network.config)
    widths = {"probabilities": len(trained.label_set), "embedding": answers.model.network.config.hidden_size}
    for output in graph.graph.output:  # said outright, for who reads the file; tracing loses some
        if output.name in widths:
            output.type.tensor_type.shape.dim[1].dim_value = widths[output.name]
    return graph


def fuse(graph: onnx.ModelProto, config: Any) -> onnx.ModelProto:
    """Replace groups of operations by onnxruntime's fused ones where the architecture has them: the same numbers, faster."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    fused = config.model_type in FUSED
    options = FusionOptions("bert")
    options.enable_attention = options.enable_embed_layer_norm = fused
    with _quiet():
        model = optimizer.optimize_model(
            graph,
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            optimization_options=options,
            opt_level=0,
        )
    return model.model


def example_inputs(tokenizer: TextTokenizer, segments: bool) -> dict[str, Any]:
    """Two texts of unequal length as the graph takes them: what it is traced with."""
    encoder = tokenizer.encoder
    tokens = encoder.tokenize(["What is traced has padding, ", "for it is part of it."])
    return graph_inputs(encoder.texts(tokens, [0, 1], tokenizer.longest), segments)


def graph_inputs(padded: Padded, segments: bool) -> dict[str, Any]:
    """A padded batch as the graph's inputs by name."""
    inputs = {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}
    return inputs | ({"token_type_ids": padded.segments} if segments else {})


class _Answers(nn.Module):
    """The model with everything fixed that a text does not change; a copy, in eval mode, on the CPU."""

    def __init__(self, trained: TrainedModel, scores: str) -> None:
        super().__init__()
        self.model: DefinitionModel = _without_masked_words(trained.model)
        with quiet_transformers():
            self.model.network.set_attn_implementation("eager")
        self.scores, self.lone = scores, trained.tokenizer.segments
        self.has_definition = self.model.definition is not None
        self.segments = needs_segments(trained)
        self.labels: nn.Parameter | None = None
        if scores != "emotion" and self.model.match is not None:
            definitions = trained.embed_definitions().float().cpu()
            scale = self.model.match.log_scale.detach().exp()
            self.labels = nn.Parameter((scale * F.normalize(definitions, dim=-1)).T.contiguous())

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segments: Tensor | None = None) -> Any:
        """(batch, length) each -> probabilities (batch, K), embedding (batch, hidden), P(IsDefinition) (batch,) if there is that head."""
        hidden, pooled = self.model.encode(
            Inputs(input_ids, attention_mask, self._segments(input_ids, segments))
        )
        embedding = pooled if self.model.pooling == "mean" else mean_of_tokens(hidden, attention_mask)
        parts = []
        if self.scores != "match":
            parts.append(torch.sigmoid(self.model.emotion(pooled)))
        if self.labels is not None and self.model.match is not None:
            logits = F.normalize(embedding, dim=-1) @ self.labels + self.model.match.bias
            parts.append(torch.sigmoid(logits))
        probabilities = parts[0] if len(parts) == 1 else (parts[0] + parts[1]) / 2
        if self.model.definition is None:
            return probabilities, embedding
        return probabilities, embedding, torch.softmax(self.model.definition(pooled), dim=-1)[:, 1]

    def _segments(self, input_ids: Tensor, given: Tensor | None) -> Tensor | None:
        if given is None:
            return torch.zeros_like(input_ids) if self.lone else None
        if self.lone:
            return given
        # The encoder was trained on lone texts without segments, though its tokenizer has some for them too.
        return given * (given == SECOND).any(dim=1, keepdim=True).to(given.dtype)


def needs_segments(trained: TrainedModel) -> bool:
    """Whether the graph must be told segments: for pairs, or because lone texts have other ones than 0."""
    if trained.model.definition is not None and takes_segments(trained.model.encoder):
        return True
    encoder = trained.tokenizer.encoder
    lone = encoder.texts(encoder.tokenize(["a"]), [0], 8)
    return trained.tokenizer.segments and bool(lone.segments.any())


def _without_masked_words(model: DefinitionModel) -> DefinitionModel:
    """A copy on the CPU without the head that only training needs."""
    head, model.masked_words = model.masked_words, None
    try:
        return copy.deepcopy(model).cpu().float()
    finally:
        model.masked_words = head


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns of every shape it takes for fixed, and fusing logs each fusion: parity.py is what tells whether all is well."""
    loggers: Sequence[str] = ("onnxruntime.transformers", "torch.onnx", "fusion_base", "onnx_model", "root")
    levels = {name: logging.getLogger(name).level for name in loggers}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in loggers:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def run_graph(session: Any, inputs: dict[str, Any], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
    """Run an onnxruntime session on a padded batch, in the integer type that it takes."""
    kinds = {given.name: np.int32 if "int32" in given.type else np.int64 for given in session.get_inputs()}
    return session.run(outputs, {name: inputs[name].astype(kind) for name, kind in kinds.items()})
