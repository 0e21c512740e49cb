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
from emodef.train.onnx_passes import attention_parts, copied, raised, standard_attention
from emodef.train.quantization import FUSED, Feeds, Graph, activation_ranges, quantize

node = helper.make_node
Product = Callable[[Graph, NodeProto], list[NodeProto]]


def plain_dynamic(model: onnx.ModelProto, reduce_range: bool = False) -> onnx.ModelProto:
    """onnxruntime's `quantize_dynamic`, as most use it: an activation's scale is taken from the whole batch.

    Its weights have 8 bits, whose products saturate on CPUs without VNNI; `reduce_range`, the tool's own option, gives them 7.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as made:
        before, after = Path(made) / "before.onnx", Path(made) / "after.onnx"
        onnx.save(
            Graph.of(model).model(), before
        )  # which names the fused operations' domain, as the tool needs it
        quantize_dynamic(
            before,
            after,
            weight_type=QuantType.QInt8,
            reduce_range=reduce_range,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
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


def fast_gelu(model: onnx.ModelProto) -> onnx.ModelProto:
    """FastGelu, by tanh, for BiasGelu, by erf."""
    made = copied(model)
    for each in made.graph.node:
        if each.op_type == "BiasGelu":
            each.op_type = "FastGelu"
    return made


def attention(model: onnx.ModelProto, kind: str) -> onnx.ModelProto:
    """QAttention taken apart: one int8 product, and "MultiHeadAttention" of onnxruntime, or ONNX's own Attention.

    Of the latter there are "mask", which is ours (opset 23), and "lengths" (opset 24; reads how many tokens are real, so these
    must come first).
    """
    if kind == "mask":
        return standard_attention(model)
    graph = Graph.of(copied(model))
    found = [each for each in graph.nodes if each.op_type == "QAttention"]
    for number, each in enumerate(found):
        parts, heads, made = attention_parts(graph, each)
        if kind == "MultiHeadAttention":
            made.append(node(kind, [*parts, "", each.input[5]], each.output, num_heads=heads, domain=FUSED))
        else:
            if number == 0:
                axis = graph.constant("allowed_axis", np.array([1]))
                made.append(node("ReduceSum", ["attention_mask", axis], ["attention_allowed"], keepdims=0))
            given = [*parts, "", "", "", "attention_allowed"]
            made.append(node("Attention", given, each.output, q_num_heads=heads, kv_num_heads=heads))
        graph.replace(each, made)
    return graph.model() if kind == "MultiHeadAttention" or not found else raised(graph, 24)


def _with_products(model: onnx.ModelProto, product: Product) -> onnx.ModelProto:
    """The graph with every product of tokens replaced; attention is taken apart first, so that its product is one of them."""
    graph = Graph.of(_split_attention(all_but_products(model)))
    for each in [each for each in graph.nodes if _is_product(graph, each)]:
        graph.replace(each, product(graph, each))
    return graph.model()


def _split_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """onnxruntime's Attention as product, bias and MultiHeadAttention."""
    graph = Graph.of(copied(model))
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
