"""Ways to an int8 graph: size, speed, how close it stays to fp32, and whether a text's scores depend on its neighbours. Imports onnx.

    python -m bench.quantisation [--float DIR | --checkpoint DIR] [--data-dir DIR] [--only ours,…] [--quick]

Writes bench/results/quantisation.json and .md. --float: a model exported with --precision fp32; --checkpoint: a saved model, exported here.
Needs train (for activation ranges), dev (for scores) and test (for speed) of a labelled corpus, and for OpenVINO's rows
`pip install openvino`.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench import graphs, light
from bench.engines import Batches, Engine, OnnxRuntime, OpenVino
from bench.report import table
from bench.rounds import interleaved, median, ratio
from emodef.corpora import Corpus
from emodef.encoding import Encoder, Indices
from emodef.errors import SettingsError
from emodef.metrics import averages, count, decide
from emodef.predictor.model_file import MODEL, TOKENIZER, ModelInfo, find
from emodef.thresholds import tune_thresholds
from emodef.train.quantization import Feeds, plain_norms, quantize

SAMPLES, SPEED_TEXTS, ROUNDS, NEIGHBOURS = 512, 600, 4, 90
BESIDE = 15  # texts in a batch with the longest one
FP32, OURS = "fp32", "ours"
LIMIT = 1e-3
PATIENCE = 1200  # seconds


@dataclass(frozen=True)
class Source:
    """The fp32 graph all ways start from, and what its inputs are made with."""

    model: onnx.ModelProto
    encoder: Encoder
    longest: int

    @property
    def segments(self) -> bool:
        """Does it read token_type_ids?"""
        return any(value.name == "token_type_ids" for value in self.model.graph.input)

    def batches(self, texts: Sequence[str]) -> Batches:
        """Texts in batches of like lengths."""
        return Batches.by_length(self.encoder, texts, self.longest, segments=self.segments)


@dataclass(frozen=True)
class Way:
    """One way: what it is, how its graph is made, on which engine it runs."""

    name: str
    text: str
    graph: Callable[[], onnx.ModelProto]
    engine: Callable[..., OnnxRuntime | OpenVino] = OnnxRuntime


def read_source(options: argparse.Namespace) -> Source:
    """The graph the options name."""
    if options.float is not None:
        folder = find(options.float)
        encoding = ModelInfo.read(folder).encoding
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        encoder = Encoder(
            tokenizer,
            pad_id=encoding.pad_id,
            left=encoding.left,
            pad_segment=encoding.pad_segment,
            emoji=encoding.emoji == "words",
        )
        return Source(onnx.load(folder / MODEL), encoder, encoding.window)
    checkpoint = light.checkpoint(options)
    if checkpoint is None:
        raise SettingsError(
            "name the fp32 model: --float DIR (exported with --precision fp32) or --checkpoint DIR"
        )
    from emodef.train.checkpoint import TrainedModel
    from emodef.train.export import WINDOW
    from emodef.train.onnx_graph import export_graph

    trained = TrainedModel.load(checkpoint)
    return Source(export_graph(trained), trained.tokenizer.encoder, min(WINDOW, trained.tokenizer.longest))


def ways(model: onnx.ModelProto, samples: Sequence[Feeds]) -> list[Way]:
    """All that is compared; fp32 first."""
    whole = partial(OnnxRuntime, level="all")
    own_scales = partial(OpenVino, group=2**20)  # larger than any row: one scale a row
    return [
        Way(FP32, "fp32, fused, optimised by onnxruntime", lambda: model, whole),
        Way("fp32-norms", "fp32, layer norms taken apart", partial(plain_norms, model)),
        Way("dynamic", "plain dynamic int8 (quantize_dynamic)", partial(graphs.plain_dynamic, model), whole),
        Way(OURS, "**ours**: static int8, 7-bit weights", partial(quantize, model, samples)),
        Way("8-bit", "static int8, 8-bit weights", partial(quantize, model, samples, bits=8)),
        Way("fused-norms", "ours with SkipLayerNormalization", partial(graphs.with_fused_norms, model, samples)),
        Way("row", "int8 with a scale a token, as it comes", partial(graphs.by_row, model)),
        Way("blocks-32", "int8 weights alone, MatMulNBits, blocks of 32", partial(graphs.weight_only, model, 32)),
        Way("blocks-128", "the same, blocks of 128", partial(graphs.weight_only, model, 128)),
        Way("openvino-fp32", "OpenVINO, fp32", lambda: model, OpenVino),
        Way("openvino-static", "OpenVINO, our static scales", partial(graphs.with_markers, model, samples), OpenVino),
        Way("openvino-dynamic", "OpenVINO, int8 weights, its own scales", partial(graphs.rounded_weights, model), own_scales),
    ]  # fmt: skip


def neighbour_batches(source: Source, texts: Sequence[str], number: int) -> tuple[Batches, Batches, Indices]:
    """Some texts alone, and the same in batches with the longest text; and which they are."""
    tokens = source.encoder.tokenize(texts)
    longest = int(np.argmax(tokens.lengths))
    picked = np.random.default_rng(0).permutation(len(texts))[: min(number, len(texts))]
    picked = picked[picked != longest]
    groups = [np.append(picked[start : start + BESIDE], longest) for start in range(0, len(picked), BESIDE)]
    make = partial(Batches.of, source.encoder, tokens, longest=source.longest, segments=source.segments)
    return make(chosen=[np.array([each]) for each in picked]), make(chosen=groups), picked


def scores(dev: Corpus, probabilities: NDArray[np.float32]) -> dict[str, float]:
    """Macro and micro F1 at thresholds tuned on these very probabilities."""
    found = averages(count(dev.labels, decide(probabilities, tune_thresholds(dev.labels, probabilities))))
    return {name: round(100 * float(found[name]), 2) for name in ("macro_f1", "micro_f1")}


def measure(
    source: Source, corpus: Mapping[str, Corpus], chosen: Sequence[str], shrink: int
) -> dict[str, dict[str, Any]]:
    """Every way's figures; of one that cannot run here, why."""
    dev, test = corpus["dev"], corpus.get("test", corpus["dev"])
    if shrink > 1:
        dev = dev.take(np.arange(min(len(dev), 200)))
    samples = source.batches(light.sample(corpus["train"].texts, SAMPLES // shrink))
    on_dev = source.batches(dev.texts)
    alone, beside, picked = neighbour_batches(source, dev.texts, NEIGHBOURS // shrink + 1)
    found: dict[str, dict[str, Any]] = {}
    engines: dict[tuple[str, int], Engine] = {}
    base = None
    for way in ways(source.model, samples.feeds):
        if chosen and way.name not in (FP32, OURS, *chosen):
            continue
        row = found[way.name] = {"text": way.text}
        if way.engine is not OnnxRuntime and "openvino" in way.name and find_spec("openvino") is None:
            row["skipped"] = "not installed"
            continue
        try:
            graph = way.graph()
            for threads in (1, 2):  # onnxruntime computes two batches side by side in one session
                made = way.engine(threads=threads) if "openvino" in way.name else way.engine()
                engines[way.name, threads] = (
                    made.load(graph) if threads == 1 or "openvino" in way.name else engines[way.name, 1]
                )
            values = on_dev.run(engines[way.name, 2], 2)
        except Exception as error:  # an engine's own, of many kinds: the others are measured all the same
            row["skipped"] = str(error).strip().partition("\n")[0][:200]
            engines = {key: engine for key, engine in engines.items() if key[0] != way.name}
            continue
        base = values if base is None else base
        together = beside.run(engines[way.name, 1])[picked]
        row |= {
            "mb": round(graph.ByteSize() / 1e6, 1),
            "mean_difference": float(np.abs(values - base).mean()),
            "largest_difference": float(np.abs(values - base).max()),
            "neighbours": float(np.abs(alone.run(engines[way.name, 1])[picked] - together).max()),
            **scores(dev, values),
        }
        print(f"{way.name}: {row}", file=sys.stderr)
    timed = source.batches(light.sample(test.texts, SPEED_TEXTS // shrink))
    for threads in (1, 2):
        work = {
            name: partial(_seconds, timed, engine, number)
            for (name, number), engine in engines.items()
            if number == threads
        }
        for run in work.values():
            run(0)
        taken = interleaved(work, 2 if shrink > 1 else ROUNDS)
        for name, seconds in taken.items():
            found[name][f"texts_per_second_{threads}"] = round(len(timed) / median(seconds), 1)
            found[name][f"ratio_{threads}"] = ratio(taken[OURS], seconds)
    return found


def _seconds(batches: Batches, engine: Engine, workers: int, number: int) -> float:
    return batches.seconds(engine, workers)


def page(found: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = []
    for row in found.values():
        if "skipped" in row:
            rows.append([row["text"], f"skipped: {row['skipped']}", *[""] * 8])
            continue
        neighbours = f"{row['neighbours']:.1e}"
        rows.append([
            row["text"], f"{row['mb']:.1f}",
            f"{row['texts_per_second_1']:,.0f}", f"{row['texts_per_second_2']:,.0f}", f"{row['ratio_2']['median']:.2f}",
            f"{row['mean_difference']:.5f}", f"{row['largest_difference']:.3f}",
            f"{row['macro_f1']:.2f}", f"{row['micro_f1']:.2f}", neighbours if row["neighbours"] <= LIMIT else f"**{neighbours}**",
        ])  # fmt: skip
    head = [
        "",
        "MB",
        "texts/s, 1 thread",
        "2 threads",
        "speed / ours",
        "mean Δp",
        "largest Δp",
        "macro-F1",
        "micro-F1",
        "neighbours",
    ]
    return [
        "# Ways to int8",
        "",
        f"{facts['texts']:,} dev texts of {facts['corpus']} for scores, {facts['timed']:,} test texts for speed (the graph alone, texts "
        "tokenised before). Δp: difference of a probability from fp32's. F1: on dev, thresholds tuned on the file's own dev output. "
        "Neighbours: largest difference of a probability between a text alone and beside others, a long one among them; bold where it "
        f"exceeds {LIMIT:g}. Speed / ours: 2 threads, median over rounds in turn.",
        "",
        *table(head, rows),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("quantisation", __doc__, model=False)
    parser.add_argument("--float", type=Path, help="an fp32 light model's folder")
    parser.add_argument(
        "--checkpoint", type=Path, help="a saved model's folder, exported here (default: the one in models/)"
    )
    parser.add_argument(
        "--only", default="", help="of the ways (see the JSON), separated by commas; fp32 and ours always"
    )
    options = parser.parse_args(given)
    run = light.Run("quantisation", given, options)
    faulthandler.dump_traceback_later(PATIENCE, exit=True)  # OpenVINO was once seen to wait for ever
    source, corpus = read_source(options), light.splits(options)
    shrink = 16 if options.quick else 1
    found = measure(source, corpus, [name for name in options.only.split(",") if name], shrink)
    facts = {
        "corpus": corpus["dev"].name,
        "texts": 200 if options.quick else len(corpus["dev"]),
        "timed": SPEED_TEXTS // shrink,
    }
    faulthandler.cancel_dump_traceback_later()
    run.save({**facts, "ways": found}, page(found, facts))


if __name__ == "__main__":
    main()
