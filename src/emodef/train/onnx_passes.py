"""Changes to a quantised graph that leave its numbers as they are and make it faster. Imports onnx.

What each brings is measured by bench/graph_choices.py. They need onnxruntime 1.24.1 or later, for ONNX's own Attention.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from emodef.train.quantization import FUSED, Graph

OPSET = 23  # the first with Attention
FAR = 1e9  # taken from the attention to padding

node = helper.make_node


def lean(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same int8 graph with biases inside the products and ONNX's Attention in place of onnxruntime's QAttention."""
    return standard_attention(biases_in_products(model))


def biases_in_products(model: onnx.ModelProto, *, activation: str = "Gelu") -> onnx.ModelProto:
    """Biases added inside MatMulIntegerToFloat instead of after it. BiasGelu becomes `activation`, "Gelu" or "FastGelu", or stays: ""."""
    graph = Graph.of(copied(model))
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


def standard_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """QAttention as one int8 product and ONNX's Attention with a mask of (batch, 1, length, length), made once for all layers."""
    graph = Graph.of(copied(model))
    found = [each for each in graph.nodes if each.op_type == "QAttention"]
    for number, each in enumerate(found):
        made = _mask(graph) if number == 0 else []
        parts, heads, product = attention_parts(graph, each)
        attention = node(
            "Attention", [*parts, "attention_allowed"], each.output, q_num_heads=heads, kv_num_heads=heads
        )
        graph.replace(each, [*made, *product, attention])
    return raised(graph, OPSET) if found else graph.model()


def attention_parts(graph: Graph, found: NodeProto) -> tuple[list[str], int, list[NodeProto]]:
    """A QAttention's int8 product as a node of its own: names of query, key and value, the number of heads, and the nodes."""
    values, weights, bias, scale, by_column, _, zero = found.input[:7]
    out = found.output[0]
    names = [f"{out}_{part}" for part in "qkv"]
    sizes = graph.constant("qkv_sizes", np.array([graph.constants[weights].shape[1] // 3] * 3))
    heads = int(next(a.i for a in found.attribute if a.name == "num_heads"))
    product = [values, weights, scale, by_column, zero, "", bias]
    return (
        names,
        heads,
        [
            node("MatMulIntegerToFloat", product, [f"{out}_qkv"], domain=FUSED),
            node("Split", [f"{out}_qkv", sizes], names, axis=-1),
        ],
    )


def _mask(graph: Graph) -> list[NodeProto]:
    one = graph.constant("allowed_one", np.array(1, np.float32))
    far = graph.constant("allowed_far", np.array(FAR, np.float32))
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


def raised(graph: Graph, opset: int) -> onnx.ModelProto:
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


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy to change."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made
