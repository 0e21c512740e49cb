"""Other ways of making a fused fp32 graph light, to compare ours with. Imports onnx, emodef.train.quantization.

Each takes a graph and gives another; what is given stays as it is. An architecture that onnxruntime's tools do not fuse has no Attention
node; there these functions leave attention alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from emodef.train import quantization
from emodef.train.quantization import FUSED, Feeds, Graph, activation_ranges, quantize

node = helper.make_node
Product = Callable[[Graph, NodeProto], list[NodeProto]]


def plain_dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxruntime's `quantize_dynamic`, as most use it: an activation's scale is taken from the whole batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as made:
        before, after = Path(made) / "before.onnx", Path(made) / "after.onnx"
        onnx.save(
            Graph.of(model).model(), before
        )  # which names the fused operations' domain, as the tool needs it
        quantize_dynamic(
            before, after, weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT}
        )
        return onnx.load(after)


def with_fused_norms(model: onnx.ModelProto, batches: Sequence[Feeds]) -> onnx.ModelProto:
    """Ours, but with SkipLayerNormalization as it was."""
    with mock.patch.object(quantization, "plain_norms", lambda same: same):
        return quantize(model, batches)


def all_but_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Ours, but with every product in fp32: int8 word tables, plain layer norms."""
    return quantize(model, [])


def by_row(model: onnx.ModelProto) -> onnx.ModelProto:
    """Int8 products with a scale for each token, taken from that token's own values as they come: no neighbour has a say."""

    def product(graph: Graph, found: NodeProto) -> list[NodeProto]:
        values, weights, out = str(found.input[0]), str(found.input[1]), str(found.output[0])
        columns, scales = _int8(graph.constants[weights])
        table, by_column = (
            graph.constant(f"{weights}_int8", columns),
            graph.constant(f"{weights}_scale", scales),
        )
        for name, value in {
            "flat": np.array([-1, columns.shape[0]]), "last": np.array([1]), "top": np.array(1 / 127, np.float32),
            "least": np.array(1e-9, np.float32), "none": np.array(0, np.float32), "middle": np.array(128, np.float32),
            "one": np.array(1, np.float32), "zero": np.array(128, np.uint8), "end": np.array([-1]),
            "whole": np.array([columns.shape[1]]), "start": np.array([0]), "until": np.array([-1]),
        }.items():  # fmt: skip
            graph.constant(f"{out}_{name}", value)
        return [
            node("Reshape", [values, f"{out}_flat"], [f"{out}_rows"]),
            node("Abs", [f"{out}_rows"], [f"{out}_abs"]),
            node("ReduceMax", [f"{out}_abs"], [f"{out}_most"], axes=[1], keepdims=0),
            node("Mul", [f"{out}_most", f"{out}_top"], [f"{out}_steps"]),
            node("Max", [f"{out}_steps", f"{out}_least"], [f"{out}_step"]),
            node("Mul", [f"{out}_step", f"{out}_none"], [f"{out}_nought"]),
            node("Add", [f"{out}_nought", f"{out}_middle"], [f"{out}_centre"]),
            node("Cast", [f"{out}_centre"], [f"{out}_zeros"], to=TensorProto.UINT8),
            node("QuantizeLinear", [f"{out}_rows", f"{out}_step", f"{out}_zeros"], [f"{out}_uint8"], axis=0),
            node("MatMulIntegerToFloat", [f"{out}_uint8", table, f"{out}_one", by_column, f"{out}_zero"], [f"{out}_sums"],
                 domain=FUSED),
            node("Unsqueeze", [f"{out}_step", f"{out}_last"], [f"{out}_stepped"]),
            node("Mul", [f"{out}_sums", f"{out}_stepped"], [f"{out}_scaled"]),
            node("Shape", [values], [f"{out}_shape"]),
            node("Slice", [f"{out}_shape", f"{out}_start", f"{out}_until"], [f"{out}_front"]),
            node("Concat", [f"{out}_front", f"{out}_whole"], [f"{out}_form"], axis=0),
            node("Reshape", [f"{out}_scaled", f"{out}_form"], [out]),
        ]  # fmt: skip

    return _with_products(model, product)


def weight_only(model: onnx.ModelProto, block: int) -> onnx.ModelProto:
    """MatMulNBits: int8 weights with a scale per `block` inputs; accuracy level 4 lets it round activations alike, row by row."""

    def product(graph: Graph, found: NodeProto) -> list[NodeProto]:
        weights = graph.constants[found.input[1]]
        inputs, outputs = weights.shape
        blocks = -(-inputs // block)
        filled = np.zeros((outputs, blocks * block), dtype=np.float32)
        filled[:, :inputs] = weights.T
        parts = filled.reshape(outputs, blocks, block)
        scales = np.maximum(np.abs(parts).max(axis=2), 1e-12) / 127
        table = np.rint(parts / scales[..., None]) + 128
        name = found.input[1]
        return [
            node(
                "MatMulNBits",
                [
                    found.input[0],
                    graph.constant(f"{name}_blocks", table.astype(np.uint8)),
                    graph.constant(f"{name}_scales", scales.astype(np.float32)),
                ],
                list(found.output),
                domain=FUSED,
                K=inputs,
                N=outputs,
                bits=8,
                block_size=block,
                accuracy_level=4,
            )
        ]

    return _with_products(model, product)


def with_markers(model: onnx.ModelProto, batches: Sequence[Feeds]) -> onnx.ModelProto:
    """The static scales of ours as QuantizeLinear and DequantizeLinear around fp32 products, for engines that choose kernels themselves."""
    light = _split_attention(all_but_products(model))
    graph = Graph.of(light)
    names = sorted({each.input[0] for each in graph.nodes if _is_product(graph, each)})
    ranges = activation_ranges(light, names, batches, quantization.COVERAGE)

    def product(graph: Graph, found: NodeProto) -> list[NodeProto]:
        values, made = found.input[0], []
        if values not in ranges:
            return [found]
        if values not in graph.made:
            graph.made.add(values)
            scale = graph.constant(f"{values}_scale", ranges[values].scale)
            zero = graph.constant(f"{values}_zero", ranges[values].zero)
            made = [
                node("QuantizeLinear", [values, scale, zero], [f"{values}_uint8"]),
                node("DequantizeLinear", [f"{values}_uint8", scale, zero], [f"{values}_rounded"]),
            ]
        return [*made, *_rounded_weights(graph, found, f"{values}_rounded")]

    return _with_products(light, product)


def rounded_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Int8 weights only, as DequantizeLinear before fp32 products, for engines that round activations themselves."""
    return _with_products(model, lambda graph, found: _rounded_weights(graph, found, found.input[0]))


def bias_in_products(model: onnx.ModelProto, *, activation: str = "Gelu") -> onnx.ModelProto:
    """Biases added inside MatMulIntegerToFloat instead of after it. BiasGelu becomes `activation`, "Gelu" or "FastGelu", or stays: ""."""
    graph = Graph.of(_copy(model))
    for product in [
        each for each in graph.nodes if each.op_type == "MatMulIntegerToFloat" and len(each.input) < 7
    ]:
        after = graph.consumers(product.output[0])
        if len(after) != 1 or after[0].op_type not in ("Add", "BiasGelu"):
            continue
        biases = [name for name in after[0].input if name != product.output[0]]
        if (bias := graph.constants.get(biases[0])) is None or bias.ndim != 1:
            continue
        inputs = [*product.input, *[""] * (6 - len(product.input)), biases[0]]
        if after[0].op_type == "Add":
            graph.replace(product, [node("MatMulIntegerToFloat", inputs, after[0].output, domain=FUSED)])
            graph.replace(after[0], [])
        elif activation:
            graph.replace(product, [node("MatMulIntegerToFloat", inputs, product.output, domain=FUSED)])
            graph.replace(after[0], [node(activation, product.output, after[0].output, domain=FUSED)])
    return graph.model()


def fast_gelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """FastGelu, by tanh, for BiasGelu, by erf."""
    made = _copy(model)
    for each in made.graph.node:
        if each.op_type == "BiasGelu":
            each.op_type = "FastGelu"
    return made


def attention(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """QAttention taken apart: one int8 product, and "MultiHeadAttention" of onnxruntime, or ONNX's own Attention.

    Of the latter there are "mask" (opset 23; adds a mask of (batch, 1, length, length)) and "lengths" (opset 24; reads how many
    tokens are real, so these must come first).
    """
    graph = Graph.of(_copy(model))
    found = [each for each in graph.nodes if each.op_type == "QAttention"]
    for number, each in enumerate(found):
        values, weights, bias, scale, by_column, lengths, zero = each.input[:7]
        heads, out = _heads(each), each.output[0]
        made = _mask(graph, kind) if number == 0 else []
        inputs = [values, weights, scale, by_column, zero, "", bias]
        made.append(node("MatMulIntegerToFloat", inputs, [f"{out}_qkv"], domain=FUSED))
        made.append(_split(graph, out, graph.constants[weights].shape[1] // 3))
        parts = [f"{out}_{part}" for part in "qkv"]
        if kind == "MultiHeadAttention":
            made.append(node(kind, [*parts, "", lengths], [out], num_heads=heads, domain=FUSED))
        else:
            given = [*parts, *([] if kind == "mask" else ["", "", ""]), "attention_allowed"]
            made.append(node("Attention", given, [out], q_num_heads=heads, kv_num_heads=heads))
        graph.replace(each, made)
    if kind == "MultiHeadAttention" or not found:
        return graph.model()
    return _raised(graph, 23 if kind == "mask" else 24)


def _mask(graph: Graph, kind: str) -> list[NodeProto]:
    """What ONNX's Attention needs to know of the padding, once for all layers."""
    if kind == "lengths":
        axis = graph.constant("allowed_axis", np.array([1]))
        return [node("ReduceSum", ["attention_mask", axis], ["attention_allowed"], keepdims=0)]
    if kind != "mask":
        return []
    one = graph.constant("allowed_one", np.array(1, np.float32))
    far = graph.constant("allowed_far", np.array(1e9, np.float32))
    axes, single = (
        graph.constant("allowed_axes", np.array([1, 2])),
        graph.constant("allowed_1", np.array([1])),
    )
    both = graph.constant("allowed_11", np.array([1, 1]))
    return [
        node("Cast", ["attention_mask"], ["allowed_float"], to=TensorProto.FLOAT),
        node("Sub", ["allowed_float", one], ["allowed_less"]),
        node("Mul", ["allowed_less", far], ["allowed_row"]),
        node("Unsqueeze", ["allowed_row", axes], ["allowed_rows"]),
        node("Shape", ["attention_mask"], ["allowed_length"], start=1, end=2),
        node("Concat", [both, "allowed_length", single], ["allowed_form"], axis=0),
        node("Expand", ["allowed_rows", "allowed_form"], ["attention_allowed"]),
    ]


def _raised(graph: Graph, opset: int) -> onnx.ModelProto:
    """The model under a later opset: since 18 reductions have their axes as an input."""
    for each in graph.nodes:
        axes = next((a for a in each.attribute if a.name == "axes"), None)
        if axes is not None and each.op_type.startswith("Reduce"):
            each.input.append(graph.constant(f"{each.output[0]}_axes", np.array(axes.ints)))
            each.attribute.remove(axes)
    model = graph.model()
    for each in model.opset_import:
        if not each.domain:
            each.version = max(each.version, opset)
    model.ir_version = max(model.ir_version, 10)
    return model


def _with_products(model: onnx.ModelProto, product: Product) -> onnx.ModelProto:
    """The graph with every product of tokens replaced; attention is taken apart first, so that its product is one of them."""
    graph = Graph.of(_split_attention(all_but_products(model)))
    for each in [each for each in graph.nodes if _is_product(graph, each)]:
        graph.replace(each, product(graph, each))
    return graph.model()


def _split_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxruntime's Attention as product, bias and MultiHeadAttention."""
    graph = Graph.of(_copy(model))
    for each in [each for each in graph.nodes if each.op_type == "Attention" and each.domain == FUSED]:
        values, weights, bias, lengths = each.input[:4]
        out, width = each.output[0], graph.constants[weights].shape[1] // 3
        made = [
            node("MatMul", [values, weights], [f"{out}_product"]),
            node("Add", [f"{out}_product", bias], [f"{out}_qkv"]),
            _split(graph, out, width),
            node("MultiHeadAttention", [*(f"{out}_{part}" for part in "qkv"), "", lengths], [out],
                 num_heads=_heads(each), domain=FUSED),
        ]  # fmt: skip
        graph.replace(each, made)
    return graph.model()


def _split(graph: Graph, out: str, width: int) -> NodeProto:
    sizes = graph.constant("qkv_sizes", np.array([width] * 3))
    return node("Split", [f"{out}_qkv", sizes], [f"{out}_{part}" for part in "qkv"], axis=-1)


def _heads(found: NodeProto) -> int:
    return int(next(a.i for a in found.attribute if a.name == "num_heads"))


def _is_product(graph: Graph, each: NodeProto) -> bool:
    """A product of tokens with weights; heads, which read pooled vectors, are left as they are."""
    weights = graph.constants.get(each.input[1]) if each.op_type == "MatMul" else None
    return weights is not None and weights.ndim == 2 and min(weights.shape) >= 64


def _rounded_weights(graph: Graph, found: NodeProto, values: str) -> list[NodeProto]:
    name = found.input[1]
    columns, scales = _int8(graph.constants[name])
    table, by_column = graph.constant(f"{name}_int8", columns), graph.constant(f"{name}_scale", scales)
    return [
        node("DequantizeLinear", [table, by_column], [f"{name}_rounded"], axis=1),
        node("MatMul", [values, f"{name}_rounded"], list(found.output)),
    ]


def _int8(weights: NDArray) -> tuple[NDArray, NDArray]:
    """Weights (in, out) in 7 bits, and the scale of each column."""
    top = 2 ** (quantization.WEIGHT_BITS - 1) - 1
    scales = (np.maximum(np.abs(weights).max(axis=0), 1e-12) / top).astype(np.float32)
    return np.clip(np.rint(weights / scales), -top, top).astype(np.int8), scales


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made
