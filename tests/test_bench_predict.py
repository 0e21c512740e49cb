"""The measurements of the light model run, on tiny models, and measure what they say they measure. No speed is asserted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from emodef import Predictor
from emodef.corpora import Corpus
from emodef.errors import DataError
from emodef.predictor.model_file import Encoding
from emodef.train.onnx_graph import export_graph
from emodef.train.onnx_passes import biases_in_products
from emodef.train.quantization import quantize
from tiny_light import build_tiny_light
from tiny_models import TEXTS, tiny_model

ROOT = Path(__file__).parent.parent
LONG = [*(text for text in TEXTS if text), "I am afraid of the old kettle " * 5]


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")  # for the processes that are started


@pytest.fixture(scope="module")
def made(tiny_backbone: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny BERT with a matching head: its fp32 graph, its int8 one, and the latter as a light model's folder."""
    sys.path.insert(0, str(ROOT))
    from bench.quantisation import Source

    trained = tiny_model(
        tiny_backbone("bert", hidden_size=64, intermediate_size=128),
        pooling="mean",
        setup="match",
        shaken=0.05,
    )
    encoder = trained.tokenizer.encoder
    source = Source(export_graph(trained), encoder, 48)
    int8 = quantize(source.model, source.batches(LONG).feeds)
    encoding = Encoding(pad_id=encoder.pad_id, longest=48, window=48)
    folder = build_tiny_light(
        tmp_path_factory.mktemp("light") / "int8",
        definition_head=False,
        encoding=encoding,
        label_set=trained.label_set,
        thresholds={"fixed": 0.3, "tuned": {trained.label_set.name: [0.3] * 5}},
    )
    onnx.save(int8, folder / "model.onnx")
    encoder.tokenizer.save(str(folder / "tokenizer.json"))
    return {"source": source, "int8": int8, "folder": folder}


def answers(made: dict[str, Any], model: onnx.ModelProto) -> np.ndarray:
    from bench.engines import OnnxRuntime

    return made["source"].batches(LONG).run(OnnxRuntime().load(model))


def test_a_sample_has_the_lengths_of_all() -> None:
    from bench.light import sample

    texts = ["x" * int(n) for n in np.random.default_rng(0).integers(1, 200, 500)]
    first, second = sample(texts, 50), sample(texts, 50, 1)
    assert len(first) == len(second) == 50
    assert first != second
    for some in (first, second):
        assert np.mean([len(t) for t in some]) == pytest.approx(np.mean([len(t) for t in texts]), rel=0.05)
    distinct = [f"{number} {text}" for number, text in enumerate(texts)]
    taken = sample(distinct, 50)
    assert taken == sorted(taken, key=distinct.index)
    assert sample(texts, 1000) == texts


def test_contenders_take_turns_and_ratios_are_of_a_round() -> None:
    from bench.rounds import interleaved, quantiles, ratio

    calls: list[str] = []

    def work(name: str) -> Callable[[int], float]:
        return lambda number: float(calls.append(name) or {"a": 2.0, "b": 4.0 * (number + 1)}[name])

    found = interleaved({"a": work("a"), "b": work("b")}, 3)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert ratio(found["b"], found["a"]) == {"median": 4.0, "lowest": 2.0, "highest": 6.0}
    assert quantiles([0.001] * 19 + [0.1])["median_ms"] == 1.0


def test_other_operations_give_the_same_scores(made: dict[str, Any]) -> None:
    from bench import graphs

    int8 = made["int8"]
    base, before = answers(made, int8), int8.SerializeToString()
    kinds = lambda model: [each.op_type for each in model.graph.node]  # noqa: E731
    lean = biases_in_products(int8)
    assert "BiasGelu" not in kinds(lean)
    assert kinds(lean).count("Add") < kinds(int8).count("Add")
    for model in (
        biases_in_products(int8, activation=""),
        lean,
        graphs.attention(int8, "MultiHeadAttention"),
        graphs.attention(int8, "mask"),
        graphs.attention(lean, "mask"),
    ):
        assert kinds(model) != kinds(int8)
        assert np.abs(answers(made, model) - base).max() < 1e-5
    assert 0 < np.abs(answers(made, graphs.fast_gelu(int8)) - base).max() < 0.1
    assert int8.SerializeToString() == before


def test_other_ways_to_int8_stay_close_to_fp32(made: dict[str, Any]) -> None:
    from bench import graphs

    model, samples = made["source"].model, made["source"].batches(LONG).feeds
    base = answers(made, model)
    changed = {
        "all but products": graphs.all_but_products(model),
        "by row": graphs.by_row(model),
        "blocks": graphs.weight_only(model, 32),
        "fused norms": graphs.with_fused_norms(model, samples),
        "dynamic": graphs.plain_dynamic(model, reduce_range=True),
        "markers": graphs.with_markers(model, samples),
        "rounded": graphs.rounded_weights(model),
    }
    for name, other in changed.items():
        far = np.abs(answers(made, other) - base).max()
        assert 0 < far < 0.1, name
    # 8 bits saturate without VNNI
    assert 0 < np.abs(answers(made, graphs.plain_dynamic(model)) - base).max() < 0.3
    assert len(changed["by row"].SerializeToString()) < 0.6 * len(model.SerializeToString())


def test_a_scale_a_token_leaves_neighbours_out(made: dict[str, Any]) -> None:
    from bench import graphs
    from bench.engines import OnnxRuntime
    from bench.quantisation import neighbour_batches

    alone, beside, picked = neighbour_batches(made["source"], LONG, 4)
    for model in (graphs.by_row(made["source"].model), made["int8"]):
        engine = OnnxRuntime().load(model)
        assert np.abs(alone.run(engine)[picked] - beside.run(engine)[picked]).max() < 1e-5


def test_work_is_counted_off_the_graph(made: dict[str, Any]) -> None:
    from bench import graphs
    from bench.machine_limit import count

    width, layers, inner = 64, 2, 128
    trained = made["source"].model
    work = count(made["int8"])
    per_layer = 4 * width * width + 2 * width * inner
    assert work.width == layers * width
    assert work.int8 == layers * per_layer, [(i.name, list(i.dims)) for i in trained.graph.initializer]
    assert count(graphs.attention(biases_in_products(made["int8"]), "mask")) == work
    with pytest.raises(DataError, match="int8"):
        count(trained)


def test_distance_to_the_limit(made: dict[str, Any]) -> None:
    from bench.machine_limit import measure, page, profile

    predictor = Predictor.load(made["folder"], threads=2)
    found = measure(predictor, made["int8"], LONG, 16)
    assert found["tokens"] <= found["tokens_computed"]
    assert found["int8_per_text"] == pytest.approx(
        found["int8_per_token"] * found["tokens"] / len(LONG), abs=1
    )
    assert all(rate > 0 for rate in [*found["reached"].values(), *found["bounds"].values()])
    found["profile"] = profile(made["int8"], made["source"].batches(LONG))
    assert sum(row["share"] for row in found["profile"]) == pytest.approx(1, abs=0.01)
    assert {"QAttention", "MatMulIntegerToFloat"} <= {row["operation"] for row in found["profile"]}
    assert "| `QAttention` |" in "\n".join(page(found))


def test_choices_are_compared(made: dict[str, Any]) -> None:
    from bench.graph_choices import AS_IS, Bench, page

    bench = Bench(made["int8"], Predictor.load(made["folder"], threads=1), LONG, 2)
    found = {"operations": bench.operations(), "session": bench.session(), "batches": bench.batch_sizes()}
    rows = found["operations"]["rows"]
    assert rows[AS_IS]["ratio_clock"] == {"median": 1.0, "lowest": 1.0, "highest": 1.0}
    assert rows["the same, Gelu after it"]["largest_difference"] < 1e-5
    assert "no memory arena" in "\n".join(page(found))


def test_ways_to_int8_are_measured(made: dict[str, Any], tiny_corpus: dict[str, Any]) -> None:
    from bench.quantisation import FP32, OURS, measure, page

    found = measure(made["source"], tiny_corpus, ["row", "openvino-fp32"], 16)
    assert set(found) == {FP32, OURS, "row", "openvino-fp32"}
    assert found[FP32]["mean_difference"] == 0
    assert 0 < found[OURS]["mean_difference"] < 0.1
    assert found[OURS]["ratio_2"]["median"] == 1
    assert found[OURS]["mb"] <= found[FP32]["mb"]
    assert 0 <= found["row"]["macro_f1"] <= 100
    facts = {"corpus": "tiny", "texts": 40, "timed": 37}
    assert "**ours**" in "\n".join(page(found, facts))


def test_contenders_answer(tiny_light: Path) -> None:
    from bench.contenders import Contender, Light, Predicted
    from bench.pipelines import Pipeline, Pipelined
    from bench.predict_speed import LARGE, OURS, SAME, page, summarise

    texts = ["I am so happy", "why", "the meeting is in it", "I am afraid"]
    with Contender(Light(tiny_light), threads=1) as ours:
        assert ours.rate(texts) > 0
        assert len(ours.each(texts)) == len(texts)
    assert [p.labels[0].name for p in Predicted(Light(tiny_light), 1).answer(texts[:2])] == [
        "joy",
        "curiosity",
    ]
    for family in ("bert", "roberta"):
        made = Pipeline(family, tiny_light / "tokenizer.json", 5, tiny=True)
        alone, together = (Pipelined(made, 1) for _ in range(2))
        assert [len(scores) for scores in together.answer(texts, 4)] == [5] * len(texts)
        assert len(alone.answer(texts[0])[0]) in (5, 2)  # with or without a list around one text's scores
    rates = {
        OURS: [100.0, 90.0],
        f"{SAME}, 1": [5.0, 5.0],
        f"{SAME}, 8": [20.0, 30.0],
        f"{LARGE}, 8": [2.0, 2.0],
    }
    survey = {SAME: {1: 5.0, 8: 20.0}, LARGE: {1: 1.0, 8: 2.0}}
    found = summarise(survey, rates, {OURS: [0.01], SAME: [0.05], LARGE: [0.1]})
    assert found["ratios"]["best"]["median"] == 4.0
    assert found["ratios"]["large"]["against"] == f"{LARGE}, 8"
    assert found["latency_ratio"] == 5.0
    facts = {"corpus": "c", "texts": 4, "threads": 1, "same": "s", "large": "l"}
    assert "**47.5** [45.0, 50.0]" in "\n".join(page(found, facts))


def test_start_up_is_timed(tiny_light: Path) -> None:
    from bench.light import seconds
    from bench.start_up import command, page, stages

    assert seconds(command(tiny_light)) > seconds([sys.executable, "-c", "pass"]) > 0
    with pytest.raises(RuntimeError, match="failed"):
        seconds(command(tiny_light / "absent"))
    found = stages(tiny_light, 1)
    assert list(found)[-2:] == ["model read and made ready", "prediction"]
    ratio = {"median": 1.0, "lowest": 1.0, "highest": 1.0}
    whole = {"python -c pass": 0.1, 'emodef predict "…"': 0.15 + sum(found.values())}
    shown = "\n".join(page({"seconds": whole, "stages": found, "ratio": ratio, "same": "s"}))
    assert "| prediction |" in shown
    assert "| the rest: the command line built and read, output, ending | 50 |" in shown


def test_memory_of_a_file_is_measured(tiny_light: Path, tmp_path: Path) -> None:
    from bench import file_memory

    given = ["--quick", "--rows", "5", "--model", str(tiny_light), "--out", str(tmp_path)]
    file_memory.main(given)
    found = json.loads((tmp_path / "file_memory.json").read_text(encoding="utf-8"))
    assert [run["rows"] for run in found["runs"]] == [200, 2000]
    assert all(run["peak_mib"] > 20 for run in found["runs"])
    assert str(tmp_path) not in (tmp_path / "file_memory.md").read_text(encoding="utf-8")


def test_rows_differ_and_come_again() -> None:
    from bench.file_memory import sentences

    texts = list(sentences(500))
    assert texts == list(sentences(500))
    assert len(set(texts)) > 490
    assert max(map(len, texts)) > 4 * min(map(len, texts))


def test_size_of_an_install(tiny_light: Path) -> None:
    from bench.install_size import OURS, THEIRS, packed_size, page, pip

    whole = sum(path.stat().st_size for path in tiny_light.iterdir())
    assert 0 < packed_size(tiny_light) < whole
    with pytest.raises(SystemExit, match="package index"):
        pip("download", "--no-index", "--dest", str(tiny_light / "none"), "emodef-of-no-index")
    found = {
        OURS: {"emodef": 20_000_000},
        THEIRS: {"torch": 200_000_000, "nvidia_x": 1},
        "python": "3",
        "platform": "p",
        "model_added": 0,
    }
    text = "\n".join(page(found))
    assert "| emodef | 20.0 | 1 |" in text
    assert "CUDA build" in text


def test_windows_joins_texts_with_their_labels(tiny_light: Path) -> None:
    from bench.windows import documents, measure, page

    predictor = Predictor.load(tiny_light)
    words = ["happy", "angry", "afraid", "why", "meeting"]
    dev = Corpus(
        "own", "dev", [word for word in words for _ in range(40)], np.repeat(np.eye(5, dtype=np.uint8), 40, axis=0),
        predictor.label_set, [str(i) for i in range(200)],
    )  # fmt: skip
    texts, labels = documents(dev, "one", 5)
    assert [text.split()[0] for text in texts] == words
    assert (labels == np.eye(5)).all()
    texts, labels = documents(dev, "random", 20)
    for text, row in zip(texts, labels, strict=True):
        assert {words[k] for k in np.flatnonzero(row)} == set(text.split())
    rows = measure(predictor, dev, quick=True)
    assert all(row["first_right"] == 1 for row in rows if row["kind"] == "one")
    assert any("| 128 |" in line for line in page(rows))
