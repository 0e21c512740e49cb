"""A fused fp32 ONNX graph made light: int8 products with fixed scales, int8 word tables, quick layer norms. Imports onnx, onnxruntime.

Three choices, measured in docs/speed.md:
- Activation scales are *fixed* at export from sample texts (static quantisation), so that a text's scores cannot depend on its
  batch neighbours, as they do where a scale is taken from the whole batch (dynamic quantisation). Weights have a scale per column.
- Weights use 7 of their 8 bits. CPUs without VNNI sum pairs of unsigned × signed products in 16 bits, where two large ones with all
  8 bits saturate; with 7 (2 · 255 · 63 < 2^15) they cannot, and the file gives the same scores everywhere.
- onnxruntime's SkipLayerNormalization is slower than Add and LayerNormalization, which do the same; so it is taken apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Feeds = Mapping[str, NDArray[np.int64]]

WEIGHT_BITS = 7
COVERAGE = (
    0.9999  # share of activation values inside the range that 8 bits stand for; the few beyond are clipped
)
TABLE = 128  # rows from which on a table of token vectors is worth int8
FUSED = "com.microsoft"
BINS = 4096


def quantize(
    model: onnx.ModelProto, batches: Sequence[Feeds], *, bits: int = WEIGHT_BITS, coverage: float = COVERAGE
) -> onnx.ModelProto:
    """The int8 counterpart of a fused fp32 graph.

    batches: the graph's inputs for sample texts (of train; of dev where there is no train; never test's), run in fp32 to find each
    activation's range; padding is left out. bits: of the weights. coverage: share of the activations inside their range.
    """
    graph = Graph.of(plain_norms(model))
    products = [node for node in graph.nodes if _is_product(node, graph.constants)]
    ranges = activation_ranges(graph.model(), sorted({node.input[0] for node in products}), batches, coverage)
    for node in products:
        if node.input[0] in ranges:
            graph.replace(node, _quantized_product(graph, node, ranges, bits))
    for node in list(graph.nodes):
        if node.op_type == "EmbedLayerNormalization":
            graph.replace(node, _plain_embedding(graph, node))
    for node in list(graph.nodes):
        if node.op_type == "Gather" and _is_table(graph.constants.get(node.input[0])):
            graph.replace(node, _quantized_lookup(graph, node))
    return graph.model()


def plain_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every SkipLayerNormalization as Add and LayerNormalization."""
    graph = Graph.of(model)
    for node in list(graph.nodes):
        if node.op_type == "SkipLayerNormalization" and not any(node.output[1:3]):
            epsilon = _attribute(node, "epsilon", 1e-5)
            total, made = node.output[3] if len(node.output) > 3 else f"{node.output[0]}_sum", []
            first = node.input[0]
            if len(node.input) > 4 and node.input[4]:
                first = f"{node.output[0]}_biased"
                made.append(helper.make_node("Add", [node.input[0], node.input[4]], [first]))
            made += [
                helper.make_node("Add", [first, node.input[1]], [total]),
                helper.make_node(
                    "LayerNormalization",
                    [total, *node.input[2:4]],
                    [node.output[0]],
                    axis=-1,
                    epsilon=epsilon,
                ),
            ]
            graph.replace(node, made)
    return graph.model()


@dataclass
class Graph:
    """An ONNX graph under change: nodes in order, constants by name."""

    base: onnx.ModelProto
    nodes: list[NodeProto]
    constants: dict[str, NDArray]
    made: set[str] = field(default_factory=set)  # what rewriting has computed already

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Graph:
        """Read a model; Constant nodes become constants."""
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        nodes = []
        for node in model.graph.node:
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if node.op_type == "Constant" and value is not None:
                constants[node.output[0]] = numpy_helper.to_array(value)
            else:
                nodes.append(node)
        return cls(model, nodes, constants)

    def replace(self, node: NodeProto, nodes: Iterable[NodeProto]) -> None:
        """Put `nodes` where `node` stands."""
        at = next(i for i, other in enumerate(self.nodes) if other is node)
        self.nodes[at : at + 1] = nodes

    def constant(self, name: str, value: NDArray) -> str:
        """Add a constant; gives its name."""
        self.constants[name] = value
        return name

    def consumers(self, name: str) -> list[NodeProto]:
        """Nodes that read a value."""
        return [node for node in self.nodes if name in node.input]

    def model(self) -> onnx.ModelProto:
        """The model, without what no output needs."""
        needed, kept = {output.name for output in self.base.graph.output}, []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        model = onnx.ModelProto()
        model.CopyFrom(self.base)
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(reversed(kept))
        model.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in needed
        )
        if not any(opset.domain == FUSED for opset in model.opset_import):
            model.opset_import.append(helper.make_opsetid(FUSED, 1))
        return model


@dataclass(frozen=True)
class Range:
    """The values an activation takes; 8 bits stand for [low, high], which holds 0."""

    low: float
    high: float

    @property
    def scale(self) -> NDArray:
        """What one step of the 8 bits is worth, float32 ()."""
        return np.array(max(self.high - self.low, 1e-8) / 255, dtype=np.float32)

    @property
    def zero(self) -> NDArray:
        """Which of the 256 steps stands for 0, uint8 ()."""
        return np.array(np.clip(np.rint(-self.low / self.scale), 0, 255), dtype=np.uint8)


def activation_ranges(
    model: onnx.ModelProto, names: Sequence[str], batches: Sequence[Feeds], coverage: float
) -> dict[str, Range]:
    """The range of each named activation over the real tokens of `batches`.

    Only of those with three axes, (batch, length, width): products of pooled vectors (heads) cost nothing and decide much.
    """
    session = _session_with(model, names)
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for name, values in _activations(session, names, batches):
        low[name] = min(low.get(name, 0.0), float(values.min()))
        high[name] = max(high.get(name, 0.0), float(values.max()))
    if coverage >= 1:
        return {name: Range(low[name], high[name]) for name in low}
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in low}
    for name, values in _activations(session, names, batches):
        counts[name] += np.histogram(values, BINS, (low[name], high[name] + 1e-12))[0]
    found = {}
    for name, count in counts.items():
        reached = np.cumsum(count) / count.sum()
        edges = np.linspace(low[name], high[name], BINS + 1)
        lowest = edges[int(np.searchsorted(reached, 1 - coverage, side="right"))]
        highest = edges[min(int(np.searchsorted(reached, coverage)) + 1, BINS)]
        found[name] = Range(min(float(lowest), 0.0), max(float(highest), 0.0))
    return found


def _session_with(model: onnx.ModelProto, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """A session whose outputs are the named activations."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _activations(
    session: onnxruntime.InferenceSession, names: Sequence[str], batches: Sequence[Feeds]
) -> Iterable[tuple[str, NDArray]]:
    for feeds in batches:
        real = feeds["attention_mask"].astype(bool)
        for name, values in zip(names, session.run(list(names), dict(feeds)), strict=True):
            if values.ndim == 3:  # of an architecture that has the length first, padding is taken along
                yield name, values[real] if values.shape[:2] == real.shape else values


def _is_product(node: NodeProto, constants: Mapping[str, NDArray]) -> bool:
    if node.op_type not in ("MatMul", "Attention") or node.input[0] in constants:
        return False
    weights = constants.get(node.input[1])
    return weights is not None and weights.ndim == 2


def _is_table(constant: NDArray | None) -> bool:
    return (
        constant is not None
        and constant.dtype == np.float32
        and constant.ndim == 2
        and len(constant) >= TABLE
    )


def _quantized_product(
    graph: Graph, node: NodeProto, ranges: Mapping[str, Range], bits: int
) -> list[NodeProto]:
    values, weights = node.input[:2]
    quantized, scale, zero = f"{values}_int8", f"{values}_scale", f"{values}_zero"
    made = []
    if quantized not in graph.made:  # several products read one activation
        graph.made.add(quantized)
        graph.constant(scale, ranges[values].scale)
        graph.constant(zero, ranges[values].zero)
        made.append(helper.make_node("QuantizeLinear", [values, scale, zero], [quantized]))
    table, column_scales = f"{weights}_int8", f"{weights}_scale"
    if table not in graph.constants:
        columns, scales = _by_column(graph.constants[weights], bits)
        graph.constant(table, columns)
        graph.constant(column_scales, scales)
    if node.op_type == "MatMul":
        inputs = [quantized, table, scale, column_scales, zero]
        made.append(helper.make_node("MatMulIntegerToFloat", inputs, list(node.output), domain=FUSED))
    else:
        zeros = graph.constant(f"{weights}_zero", np.zeros(graph.constants[column_scales].shape, np.int8))
        inputs = [quantized, table, node.input[2], scale, column_scales, *_or_empty(node, 3), zero, zeros]
        attention = helper.make_node("QAttention", inputs, list(node.output), domain=FUSED)
        known = ("num_heads", "unidirectional", "mask_filter_value", "do_rotary")
        attention.attribute.extend(a for a in node.attribute if a.name in known)
        made.append(attention)
    return made


def _or_empty(node: NodeProto, index: int) -> list[str]:
    return [node.input[index] if len(node.input) > index else ""]


def _by_column(weights: NDArray, bits: int) -> tuple[NDArray, NDArray]:
    """Weights (in, out) -> int8 of `bits` bits and the scale of each column, float32 (out,)."""
    top = 2 ** (bits - 1) - 1
    scales = np.maximum(np.abs(weights).max(axis=0), 1e-12).astype(np.float32) / top
    return np.clip(np.rint(weights / scales), -top, top).astype(np.int8), scales.astype(np.float32)


def _quantized_lookup(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """A Gather from a table (rows, width) as one from int8 with a scale per row: exact to 1/254 of a row's largest value."""
    table, ids = node.input[:2]
    name, scales = f"{table}_int8", f"{table}_scale"
    if name not in graph.constants:
        rows, by_row = _by_column(graph.constants[table].T, 8)
        graph.constant(name, np.ascontiguousarray(rows.T))
        graph.constant(scales, by_row[:, None])
    out = node.output[0]
    return [
        helper.make_node("Gather", [name, ids], [f"{out}_int8"]),
        helper.make_node("Gather", [scales, ids], [f"{out}_scale"]),
        helper.make_node("Cast", [f"{out}_int8"], [f"{out}_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{out}_float", f"{out}_scale"], [out]),
    ]


def _plain_embedding(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """EmbedLayerNormalization as lookups, Adds and LayerNormalization, so that its word table can be int8."""
    ids, segments, words, positions, kinds, weight, bias = node.input[:7]
    out = node.output[0]
    places = graph.constants[positions]
    constant = graph.constant
    made = [helper.make_node("Gather", [words, ids], [f"{out}_words"])]
    added = [f"{out}_words"]
    if segments and _reaches_input(graph, segments):
        made.append(helper.make_node("Gather", [kinds, segments], [f"{out}_kinds"]))
        added.append(f"{out}_kinds")
    elif kinds:  # every token is of the first kind: one sum instead of a lookup
        places = places + graph.constants[kinds][0]
    table = constant(f"{out}_places", np.ascontiguousarray(places))
    zero, one = constant(f"{out}_0", np.array([0])), constant(f"{out}_1", np.array([1]))
    made += [
        helper.make_node("Shape", [ids], [f"{out}_length"], start=1, end=2),
        helper.make_node("Slice", [table, zero, f"{out}_length", zero], [f"{out}_positions"]),
    ]
    for number, name in enumerate([*added[1:], f"{out}_positions"]):
        made.append(helper.make_node("Add", [added[0], name], [f"{out}_sum{number}"]))
        added[0] = f"{out}_sum{number}"
    epsilon = _attribute(node, "epsilon", 1e-12)
    made.append(
        helper.make_node("LayerNormalization", [added[0], weight, bias], [out], axis=-1, epsilon=epsilon)
    )
    if len(node.output) > 1 and graph.consumers(node.output[1]):  # how many tokens of each text are real
        made.append(helper.make_node("ReduceSum", [node.input[7], one], [node.output[1]], keepdims=0))
    return made


def _reaches_input(graph: Graph, name: str) -> bool:
    """Does a value depend on the graph's token_type_ids?"""
    made_by = {output: node for node in graph.nodes for output in node.output}
    todo, seen = [name], set()
    while todo:
        if (name := todo.pop()) not in seen:
            seen.add(name)
            todo.extend(made_by[name].input if name in made_by else ())
    return "token_type_ids" in seen


def _attribute(node: NodeProto, name: str, default: float) -> float:
    return next((a.f for a in node.attribute if a.name == name), default)
