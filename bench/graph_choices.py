"""What could make the int8 graph and its running faster still: operations, session settings, batches, threads, memory. Imports onnx.

    python -m bench.graph_choices [--model DIR] [--data-dir DIR] [--only operations,session,batches,process] [--quick]

Writes bench/results/graph_choices.json and .md. Everything is compared with the model as it is, run as the predictor runs it, in turn.
On one thread processor time is measured beside the clock's: it hardly minds what else the machine does.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx

from bench import graphs, light
from bench.contenders import Contender, Light
from bench.engines import Batches, Engine, OnnxRuntime
from bench.report import table
from bench.rounds import Work, interleaved, median, ratio, shown
from emodef.corpora import Corpus
from emodef.encoding import Encoder
from emodef.errors import SettingsError
from emodef.predictor import Predictor
from emodef.predictor.engine import TOKEN_BUDGET
from emodef.predictor.model_file import MODEL
from emodef.train.onnx_passes import biases_in_products

SECTIONS = ("operations", "session", "batches", "process")
AS_IS = "as it is"
TEXTS, ROUNDS, PROCESS_TEXTS = 600, 6, 2000
BUDGETS = (128, 256, 512, 1024, 2048)


@dataclass
class Bench:
    """The model, and texts to run through it."""

    model: onnx.ModelProto
    predictor: Predictor
    texts: Sequence[str]
    rounds: int

    @property
    def encoder(self) -> Encoder:
        """The model's."""
        return self.predictor.encoder

    def batches(self, budget: int = TOKEN_BUDGET, texts: Sequence[str] | None = None) -> Batches:
        """All texts, or those given, in batches of like lengths."""
        longest, graph = self.predictor.info.encoding.longest, self.model.graph
        segments = any(each.name == "token_type_ids" for each in graph.input)
        chosen = self.texts if texts is None else texts
        return Batches.by_length(self.encoder, chosen, longest, budget=budget, segments=segments)

    def operations(self) -> dict[str, Any]:
        """Other operations for the same arithmetic, or nearly the same."""
        lean = biases_in_products
        variants: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
            AS_IS: lambda model: model,
            "biases added inside the products": partial(lean, activation=""),
            "the same, Gelu after it": lean,
            "the same, FastGelu after it": partial(lean, activation="FastGelu"),
            "FastGelu for BiasGelu": graphs.fast_gelu,
            "MultiHeadAttention for QAttention": partial(graphs.attention, kind="MultiHeadAttention"),
            "ONNX's Attention (opset 23, mask)": partial(graphs.attention, kind="mask"),
            "ONNX's Attention (opset 24, lengths)": partial(graphs.attention, kind="lengths"),
            "biases inside, Gelu, ONNX's Attention (mask)": lambda model: graphs.attention(
                lean(model), "mask"
            ),
        }
        engines, values, skipped = {}, {}, {}
        batches = self.batches()
        for name, change in variants.items():
            try:
                engines[name] = OnnxRuntime().load(change(self.model))
                values[name] = batches.run(engines[name])
            except Exception as error:  # an older onnxruntime, or an architecture with other operations
                engines.pop(name, None)
                skipped[name] = str(error).strip().partition("\n")[0][:120]
        found = self._one_thread({name: (engine, batches) for name, engine in engines.items()})
        for name, row in found["rows"].items():
            row["largest_difference"] = float(np.abs(values[name] - values[AS_IS]).max())
        return found | {"skipped": skipped}

    def session(self) -> dict[str, Any]:
        """Settings of onnxruntime's session."""
        kinds = {
            AS_IS: OnnxRuntime(),
            "no optimisation by onnxruntime": OnnxRuntime("none"),
            "its extended optimisation": OnnxRuntime("extended"),
            "all its optimisation": OnnxRuntime("all"),
            "denormals as zero": OnnxRuntime(entries={"session.set_denormal_as_zero": "1"}),
            "memory pattern": OnnxRuntime(attributes={"enable_mem_pattern": True}),
            "no memory arena": OnnxRuntime(attributes={"enable_cpu_mem_arena": False}),
            "weights outside the arena": OnnxRuntime(
                entries={"session.use_device_allocator_for_initializers": "1"}
            ),
            "weights not packed beforehand": OnnxRuntime(entries={"session.disable_prepacking": "1"}),
        }
        batches = self.batches()
        return self._one_thread({name: (kind.load(self.model), batches) for name, kind in kinds.items()})

    def batch_sizes(self) -> dict[str, Any]:
        """How many tokens a batch has, and how threads share the work."""
        one, many = OnnxRuntime().load(self.model), max(2, self.predictor.threads)
        sizes = {budget: self.batches(budget) for budget in BUDGETS}
        single = self._one_thread(
            {
                f"{budget} tokens" + f" ({AS_IS})" * (budget == TOKEN_BUDGET): (one, each)
                for budget, each in sizes.items()
            },
            base=f"{TOKEN_BUDGET} tokens ({AS_IS})" if TOKEN_BUDGET in BUDGETS else None,
        )
        shared = OnnxRuntime(threads=many).load(self.model)
        calm = OnnxRuntime(threads=many, entries={"session.intra_op.allow_spinning": "0"}).load(self.model)
        work: dict[str, Work] = {}
        for budget in BUDGETS[1:-1]:
            work[f"{many} workers, {budget} tokens"] = partial(_clock, sizes[budget], one, many)
        for budget in BUDGETS[2:]:
            work[f"1 worker, operations shared by {many} threads, {budget} tokens"] = partial(
                _clock, sizes[budget], shared, 1
            )
        work[f"the same without spinning, {BUDGETS[-1]} tokens"] = partial(
            _clock, sizes[BUDGETS[-1]], calm, 1
        )
        base = f"{many} workers, {TOKEN_BUDGET} tokens"
        return {
            "one thread": single,
            "several threads": self._summary(work, base if base in work else next(iter(work))),
        }

    def process(self, folder: Light, texts: Sequence[str]) -> dict[str, Any]:
        """What is set for a whole process, before it starts; and where the time goes outside the graph."""
        kinds = {
            AS_IS: {},
            "large memory pages (glibc)": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
            "freed memory kept": {
                "MALLOC_TRIM_THRESHOLD_": "1000000000",
                "MALLOC_MMAP_THRESHOLD_": "1000000000",
            },
            "tokeniser on one thread": {"TOKENIZERS_PARALLELISM": "false"},
        }
        with ExitStack() as stack:
            work: dict[str, Work] = {}
            for name, variables in kinds.items():
                with mock.patch.dict(os.environ, variables):
                    contender = stack.enter_context(Contender(folder, self.predictor.threads))
                contender.rate(texts)
                work[name] = partial(_contender, contender, texts)
            found = self._summary(work, AS_IS, len(texts))
        return found | {"parts": self._parts(texts)}

    def _parts(self, texts: Sequence[str]) -> dict[str, float]:
        """Share of a thread's processor time: tokenising, making batches, the graph."""
        engine = OnnxRuntime().load(self.model)
        times = [time.process_time()]
        tokens = self.encoder.tokenize(texts)
        times.append(time.process_time())
        batches = self.batches(texts=texts)
        times.append(time.process_time())
        batches.run(engine)
        times.append(time.process_time())
        tokenised, batched, computed = np.diff(times).tolist()
        whole = tokenised + max(batched - tokenised, 0.0) + computed  # by_length tokenises once more
        assert len(tokens) == len(texts)
        return {
            "tokenising": round(tokenised / whole, 4),
            "making batches": round(max(batched - tokenised, 0.0) / whole, 4),
            "the graph": round(computed / whole, 4),
        }

    def _one_thread(
        self, sides: Mapping[str, tuple[Engine, Batches]], base: str | None = AS_IS
    ) -> dict[str, Any]:
        """Clock and processor time of each side, on one thread."""
        clocks: dict[str, list[float]] = {name: [] for name in sides}

        def run(name: str, number: int) -> float:
            engine, batches = sides[name]
            start, used = time.perf_counter(), time.process_time()
            batches.run(engine)
            clocks[name].append(time.perf_counter() - start)
            return time.process_time() - used

        for name in sides:
            run(name, 0)
            clocks[name].clear()
        used = interleaved({name: partial(run, name) for name in sides}, self.rounds)
        first = base or next(iter(sides))
        rows = {
            name: {
                "texts_per_second": round(len(self.texts) / median(clocks[name]), 1),
                "ratio_clock": ratio(clocks[first], clocks[name]),
                "ratio_processor": ratio(used[first], used[name]),
            }
            for name in sides
        }
        return {"base": first, "rows": rows}

    def _summary(self, work: Mapping[str, Work], base: str, texts: int | None = None) -> dict[str, Any]:
        for run in work.values():
            run(0)
        taken = interleaved(work, self.rounds)
        rows = {
            name: {
                "texts_per_second": round((texts or len(self.texts)) / median(seconds), 1),
                "ratio_clock": ratio(taken[base], seconds),
            }
            for name, seconds in taken.items()
        }
        return {"base": base, "rows": rows}


def _clock(batches: Batches, engine: Engine, workers: int, number: int) -> float:
    return batches.seconds(engine, workers)


def _contender(contender: Contender, texts: Sequence[str], number: int) -> float:
    return len(texts) / contender.rate(texts)


def _section(title: str, found: Mapping[str, Any]) -> list[str]:
    rows, processor = [], any("ratio_processor" in row for row in found["rows"].values())
    scores = any("largest_difference" in row for row in found["rows"].values())
    for name, row in found["rows"].items():
        cells = [name, f"{row['texts_per_second']:,.0f}", shown(row["ratio_clock"], 3)]
        if processor:
            cells.append(shown(row["ratio_processor"], 3))
        cells += [f"{row.get('largest_difference', 0):.1e}"] * scores
        rows.append(cells)
    rows += [
        [name, f"skipped: {why}", *[""] * (1 + processor + scores)]
        for name, why in found.get("skipped", {}).items()
    ]
    head = [
        "",
        "texts/s",
        "speed, by the clock",
        *["speed, by processor time"] * processor,
        *["largest Δp"] * scores,
    ]
    return [f"## {title}", "", f'Speed is against "{found["base"]}".', "", *table(head, rows), ""]


def page(found: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    lines = [
        "# What else could make it faster",
        "",
        "Median over rounds in turn, with the lowest and the highest. Δp: difference of a probability from that of the model as it is.",
        "",
    ]
    if "operations" in found:
        lines += _section("Operations of the graph, one thread", found["operations"])
    if "session" in found:
        lines += _section("Settings of onnxruntime's session, one thread", found["session"])
    if "batches" in found:
        lines += _section("Tokens of a batch, one thread", found["batches"]["one thread"])
        lines += _section("Threads, the graph alone", found["batches"]["several threads"])
    if "process" in found:
        lines += _section("Settings of the process, whole predictor", found["process"])
        parts = ", ".join(f"{name} {100 * share:.1f}%" for name, share in found["process"]["parts"].items())
        lines += [f"Processor time on one thread: {parts}."]
    return lines


def _int8(checkpoint: Path | None, train: Corpus | None) -> onnx.ModelProto | None:
    """The shipped model's int8 graph before onnx_passes changes it, from its checkpoint; None where there is none."""
    if checkpoint is None or train is None:
        return None
    from emodef.train.checkpoint import TrainedModel
    from emodef.train.export import calibration_batches
    from emodef.train.onnx_graph import export_graph
    from emodef.train.quantization import quantize

    trained = TrainedModel.load(checkpoint)
    return quantize(export_graph(trained), calibration_batches(trained, train))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("graph_choices", __doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help="some of: " + ", ".join(SECTIONS))
    parser.add_argument("--checkpoint", type=Path, help="with --model: the checkpoint it was exported from")
    options = parser.parse_args(given)
    wanted = options.only.split(",")
    if unknown := [name for name in wanted if name not in SECTIONS]:
        raise SettingsError(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    run = light.Run("graph_choices", given, options)
    folder, corpus = light.light_folder(options), light.splits(options)
    texts = (corpus.get("test") or next(iter(corpus.values()))).texts
    few, rounds = (30, 2) if options.quick else (TEXTS, ROUNDS)
    model = onnx.load(folder / MODEL)
    before = (
        _int8(light.checkpoint(options), corpus.get("train")) or model
    )  # what exports change is compared on it
    predictor, chosen = Predictor.load(folder), light.sample(texts, few)
    bench = Bench(model, predictor, chosen, rounds)
    several = light.sample(texts, 60 if options.quick else PROCESS_TEXTS)
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "operations": Bench(before, predictor, chosen, rounds).operations,
        "session": bench.session,
        "batches": bench.batch_sizes,
        "process": partial(bench.process, Light(folder), several),
    }
    found = {name: sections[name]() for name in wanted}
    run.save({"sections": found}, page(found))


if __name__ == "__main__":
    main()
