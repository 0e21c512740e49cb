"""How far the light model is from what the machine can do: int8 products alone, and in the model. Imports onnx, onnxruntime.

    python -m bench.machine_limit [--model DIR] [--data-dir DIR] [--quick]

Writes bench/results/machine_limit.json and .md. The bound is the time that the model's int8 products alone would take for the real
tokens of the test texts, at the speed onnxruntime reaches with them alone; everything else in the model is over and above that.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench import light
from bench.engines import Batches, OnnxRuntime
from bench.report import table
from bench.rounds import interleaved, median
from emodef.errors import DataError
from emodef.predictor import Predictor
from emodef.predictor.engine import TOKEN_BUDGET
from emodef.predictor.model_file import MODEL
from emodef.train.quantization import FUSED

SQUARE, ROUNDS, SECONDS = 2048, 5, 0.15
PROFILED = 600  # texts
Shape = tuple[int, int]


@dataclass(frozen=True)
class Work:
    """Multiplications (each with its addition) that a graph makes for a token.

    products: (inputs, outputs) of an int8 product -> how many the graph has. width: of attention's vectors, summed over the layers;
    attention makes 2 · length · width for a token, in fp32.
    """

    products: Mapping[Shape, int]
    width: int

    @property
    def int8(self) -> int:
        """In int8, for a token."""
        return sum(inputs * outputs * number for (inputs, outputs), number in self.products.items())


def count(model: onnx.ModelProto) -> Work:
    """Read a graph's work off its constants. Raises DataError where no product is in int8."""
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    products: dict[Shape, int] = {}
    width = 0
    for node in model.graph.node:
        if node.op_type in ("MatMulIntegerToFloat", "MatMulInteger", "QAttention") and len(node.input) > 1:
            shape = shapes.get(node.input[1], ())
            if len(shape) == 2:
                products[shape[0], shape[1]] = products.get((shape[0], shape[1]), 0) + 1
                if node.op_type == "QAttention":
                    width += shape[1] // 3
        elif node.op_type in ("MultiHeadAttention", "Attention"):
            width += _width(model, node.input[0], shapes)
    if not products:
        raise DataError("has no int8 products; name an int8 model (--model)")
    return Work(products, width)


def _width(model: onnx.ModelProto, name: str, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How wide an activation is that comes out of a product, or of a part of one."""
    node = next(each for each in model.graph.node if name in each.output)
    if node.op_type == "Split":
        return _width(model, node.input[0], shapes) // len(node.output)
    weights = next((shapes[i] for i in node.input if len(shapes.get(i, ())) == 2), None)
    return weights[1] if weights else _width(model, node.input[0], shapes)


class Product:
    """One int8 product of `rows` rows, timed on one or several threads, each with data of its own."""

    def __init__(self, rows: int, shape: Shape) -> None:
        inputs, outputs = shape
        draw = np.random.default_rng(0)
        constants: dict[str, np.ndarray] = {
            "w": draw.integers(-63, 64, shape, dtype=np.int8), "s": np.array(0.02, np.float32),
            "c": np.full(outputs, 0.003, np.float32), "z": np.array(128, np.uint8),
        }  # fmt: skip
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            [helper.make_node("MatMulIntegerToFloat", ["x", "w", "s", "c", "z"], ["y"], domain=FUSED)], "product",
            [value("x", TensorProto.UINT8, [rows, inputs])], [value("y", TensorProto.FLOAT, [rows, outputs])],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        self._session = OnnxRuntime().session(model)
        self._data = draw.integers(0, 256, (2, rows, inputs), dtype=np.uint8)
        self._operations = rows * inputs * outputs

    def rate(self, threads: int, seconds: float, number: int = 0) -> float:
        """10^9 multiplications a second, of all threads together."""
        done = [0] * threads
        until = time.perf_counter() + seconds

        def work(thread: int) -> None:
            feed = {"x": self._data[thread % len(self._data)]}
            while (
                not done[thread] or time.perf_counter() < until
            ):  # once at least, however busy the machine is
                self._session.run(None, feed)
                done[thread] += 1

        others = [threading.Thread(target=work, args=(thread,)) for thread in range(1, threads)]
        start = time.perf_counter()
        for other in others:
            other.start()
        work(0)
        for other in others:
            other.join()
        return sum(done) * self._operations / (time.perf_counter() - start) / 1e9


def profile(model: onnx.ModelProto, batches: Batches) -> list[dict[str, Any]]:
    """Each operation's share of the time of one thread, the costliest first; as onnxruntime's own profiler has it."""
    with tempfile.TemporaryDirectory() as made:
        attributes = {"enable_profiling": True, "profile_file_prefix": str(Path(made) / "profile")}
        session = OnnxRuntime(attributes=attributes).session(model)
        for feeds in batches.feeds:
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            found.setdefault(event["args"]["op_name"], []).append(event["dur"])
    whole, tokens = sum(map(sum, found.values())), batches.tokens[1]
    rows = [
        {
            "operation": name,
            "share": round(sum(each) / whole, 4),
            "calls": round(len(each) / len(batches.feeds), 1),
            "ns_per_token": round(1000 * sum(each) / tokens),
        }
        for name, each in found.items()
    ]
    return sorted(rows, key=lambda row: -row["share"])


def measure(
    predictor: Predictor, model: onnx.ModelProto, texts: Sequence[str], shrink: int
) -> dict[str, Any]:
    """Rates, bounds, and what is reached."""
    work, encoder, longest = count(model), predictor.encoder, predictor.info.encoding.longest
    segments = any(each.name == "token_type_ids" for each in model.graph.input)
    batches = Batches.by_length(encoder, texts, longest, segments=segments)
    real, computed = batches.tokens
    lengths = np.concatenate([feeds["attention_mask"].sum(axis=1) for feeds in batches.feeds])
    rounds, seconds = (2, 0.01) if shrink > 1 else (ROUNDS, SECONDS)
    sizes = dict.fromkeys(work.products, TOKEN_BUDGET) | {
        (SQUARE // shrink, SQUARE // shrink): SQUARE // shrink
    }
    products = {shape: Product(rows, shape) for shape, rows in sizes.items()}
    both = sorted({1, predictor.threads})
    turns = {
        (shape, threads): partial(product.rate, threads, seconds)
        for shape, product in products.items() for threads in both
    }  # fmt: skip
    rates = {key: median(values) for key, values in interleaved(turns, rounds).items()}
    engine = OnnxRuntime().load(model)
    for threads in both:
        batches.run(engine, threads)
    predictor.predict_proba(texts)
    reached: dict[str, Any] = {
        f"graph alone, {threads} thread{'s' if threads > 1 else ''}": partial(_rate, batches, engine, threads)
        for threads in both
    }
    reached[f"Predictor, {predictor.threads} threads"] = partial(_whole, predictor, texts)
    made = interleaved(reached, rounds)
    bounds = {}
    for threads in both:
        token = sum(
            inputs * outputs * number / rates[(inputs, outputs), threads] / 1e9
            for (inputs, outputs), number in work.products.items()
        )
        bounds[str(threads)] = round(len(texts) / (real * token), 1)
    return {
        "texts": len(texts), "tokens": real, "tokens_computed": computed,
        "int8_per_token": work.int8, "int8_per_text": round(work.int8 * real / len(texts)),
        "attention_per_text": round(2 * work.width * float((lengths.astype(float) ** 2).mean())),
        "rates": [
            {"rows": sizes[shape], "inputs": shape[0], "outputs": shape[1], "in_model": work.products.get(shape, 0),
             **{str(threads): round(rates[shape, threads], 1) for threads in both}}
            for shape in sizes
        ],
        "bounds": bounds, "threads": predictor.threads,
        "reached": {name: round(median(values), 1) for name, values in made.items()},
    }  # fmt: skip


def _rate(batches: Batches, engine: Any, workers: int, number: int) -> float:
    return len(batches) / batches.seconds(engine, workers)


def _whole(predictor: Predictor, texts: Sequence[str], number: int) -> float:
    start = time.perf_counter()
    predictor.predict_proba(texts)
    return len(texts) / (time.perf_counter() - start)


def page(found: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    both = list(found["bounds"])
    rates = [
        [
            f"{rate['rows']} × {rate['inputs']} × {rate['outputs']}",
            str(rate["in_model"]),
            *(f"{rate[each]:,.0f}" for each in both),
        ]
        for rate in found["rates"]
    ]
    rows = []
    for name, rate in found["reached"].items():
        bound = found["bounds"]["1" if ", 1 " in name else str(found["threads"])]
        rows.append([name, f"{rate:,.0f}", f"{bound:,.0f}", f"{100 * rate / bound:.0f}%"])
    operations = [
        [
            f"`{row['operation']}`",
            f"{100 * row['share']:.1f}%",
            f"{row['calls']:.0f}",
            f"{row['ns_per_token']:,}",
        ]
        for row in found["profile"]
        if row["share"] >= 0.002
    ]
    threads = [f"{each} thread{'s' if each != '1' else ''}" for each in both]
    padding = 1 - found["tokens"] / found["tokens_computed"]
    return [
        "# Distance to the machine's limit",
        "",
        f"Int8 products in onnxruntime (`MatMulIntegerToFloat`, rows × inputs × outputs), 10^9 multiplications with their additions a "
        f"second; the model's at {TOKEN_BUDGET} rows, as in its batches, and a large square:",
        "",
        *table(["product", "in the model", *threads], rates),
        "",
        f"The model makes {found['int8_per_text'] / 1e6:,.0f} million of them for a test text of "
        f"{found['tokens'] / found['texts']:.1f} tokens on average ({found['int8_per_token'] / 1e6:.2f} million a token), and "
        f"{found['attention_per_text'] / 1e6:.1f} million in fp32 inside attention. Bound: these products alone, real tokens only. "
        f"Padding is {100 * padding:.1f}% of the tokens computed.",
        "",
        *table(["", "texts/s", "bound", "reached"], rows),
        "",
        "Where a thread's time goes in the graph (onnxruntime's profiler, which slows short operations most):",
        "",
        *table(["operation", "share", "calls a batch", "ns a token"], operations),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("machine_limit", __doc__)
    parser.add_argument("--threads", type=int, help="(default: all cores)")
    options = parser.parse_args(given)
    run = light.Run("machine_limit", given, options)
    folder, corpus = light.light_folder(options), light.splits(options)
    texts = (corpus.get("test") or next(iter(corpus.values()))).texts
    shrink = 16 if options.quick else 1
    texts = light.sample(texts, len(texts) // shrink)
    model, predictor = onnx.load(folder / MODEL), Predictor.load(folder, threads=options.threads)
    found = measure(predictor, model, texts, shrink)
    sampled = light.sample(texts, min(PROFILED, len(texts)))
    segments = any(each.name == "token_type_ids" for each in model.graph.input)
    longest = predictor.info.encoding.longest
    found["profile"] = profile(
        model, Batches.by_length(predictor.encoder, sampled, longest, segments=segments)
    )
    run.save(found, page(found))


if __name__ == "__main__":
    main()
