"""Export: the light model answers as its checkpoint does, whatever the architecture, or nothing is written."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import torch

from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError, TrainingError
from emodef.pairs import definition_pairs
from emodef.predictor import Predictor
from emodef.predictor.model_file import ModelInfo
from emodef.train import export as exporting
from emodef.train import parity
from emodef.train.checkpoint import TrainedModel
from emodef.train.export import _without_folder, calibration_batches, export, load_source
from emodef.train.onnx_graph import export_graph, needs_segments
from emodef.train.quantization import quantize
from tiny_models import LABELS, TEXTS, tiny_model

pytestmark = pytest.mark.long

Backbone = Callable[..., Path]
LONG = "The kettle is on, and I am afraid that nobody told her why. " * 12
FILES = {"model.onnx", "tokenizer.json", "model.json", "README.md"}


def corpus_of(texts: list[str], split: str = "dev") -> Corpus:
    labels = np.zeros((len(texts), len(LABELS)), dtype=np.uint8)
    labels[np.arange(len(texts)), np.arange(len(texts)) % len(LABELS)] = 1
    return Corpus(
        name="lines",
        split=split,
        texts=texts,
        labels=labels,
        label_set=LABELS,
        ids=[str(i) for i in range(len(texts))],
    )


LINES = [*TEXTS, LONG, *(f"{text} And {other}" for text in TEXTS[:4] for other in TEXTS[1:])]
CORPUS = {"dev": corpus_of(LINES), "train": corpus_of(LINES[::-1], "train")}


def worst(parts: list[parity.Check]) -> float:
    return max(check.found for check in parts)


# ---- the graph


@pytest.mark.parametrize("pooling", ["own", "mean"])
@pytest.mark.parametrize("setup", ["none", "cdp+match"])
def test_every_architectures_graph_answers_as_torch_does(
    setup: str, pooling: str, each_backbone: tuple[str, Path]
) -> None:
    """Probabilities, embeddings and definition scores; texts of unequal length in one batch, one as long as the model takes."""
    made = tiny_model(each_backbone[1], pooling=pooling, setup=setup)
    graph = parity.Graph(export_graph(made), made.tokenizer)
    pairs = definition_pairs(CORPUS["dev"].labels, 0)
    checks = parity.against_torch(graph, made, CORPUS["dev"], pairs)
    assert len(checks) == (3 if "cdp" in setup else 2)
    assert worst(checks) < 1e-5
    alone = graph.probabilities([LONG])
    np.testing.assert_allclose(alone, made.predict_proba([LONG]), atol=1e-5)
    assert parity.neighbours(graph, LINES).found < 1e-5
    outputs = {output.name: output.shape[1:] for output in graph.session.get_outputs()}
    hidden = made.model.encoder.config.hidden_size
    assert outputs == {"probabilities": [len(LABELS)], "embedding": [hidden]} | (
        {"definition": []} if "cdp" in setup else {}
    )


def test_segments_are_asked_for_only_where_they_matter(each_backbone: tuple[str, Path]) -> None:
    name, folder = each_backbone
    assert not needs_segments(tiny_model(folder, setup="match", pooling="mean"))
    tells_apart = name in ("bert", "albert", "xlnet")
    assert needs_segments(tiny_model(folder, setup="cdp", pooling="mean")) == tells_apart


@pytest.mark.parametrize("scores", ["emotion", "match", "mean"])
def test_the_scores_asked_for(scores: str, tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir)
    graph = parity.Graph(export_graph(made, scores), made.tokenizer)
    np.testing.assert_allclose(
        graph.probabilities(LINES), made.predict_proba(LINES, scores=scores), atol=1e-5
    )


def test_bert_is_fused_and_no_definition_is_encoded_at_run_time(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir, setup="match", pooling="mean")
    graph = export_graph(made).graph
    kinds = [node.op_type for node in graph.node]
    assert [kinds.count(kind) for kind in ("Attention", "BiasGelu", "EmbedLayerNormalization")] == [2, 2, 1]
    assert kinds.count("SkipLayerNormalization") == 4
    assert [given.name for given in graph.input] == ["input_ids", "attention_mask"]
    constants = [tuple(tensor.dims) for tensor in graph.initializer]
    assert constants.count((32, len(LABELS))) == 1  # the label embeddings


def test_exporting_leaves_the_model_as_it_was(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir)
    before = made.predict_proba(TEXTS)
    weights = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    export_graph(made)
    np.testing.assert_array_equal(made.predict_proba(TEXTS), before)
    after = made.model.state_dict()
    assert set(after) == set(weights)
    assert all(torch.equal(after[name], tensor) for name, tensor in weights.items())


# ---- the directory


@pytest.fixture(scope="module")
def exported(tiny_bert_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainedModel, Path]:
    made = tiny_model(tiny_bert_dir, setup="cdp+match", pooling="mean")
    out = tmp_path_factory.mktemp("export") / "light"
    export(made, CORPUS, out, precision="fp32")
    return made, out


def test_what_is_written(exported: tuple[TrainedModel, Path]) -> None:
    made, out = exported
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == ["light"]
    info = ModelInfo.read(out)
    assert info.label_set == LABELS
    assert (info.scores, info.definition_head) == ("match", True)
    assert set(info.thresholds) == {"fixed", "tuned"}
    assert len(info.thresholds["tuned"]["five"]) == len(LABELS)
    assert info.calibration is not None
    assert info.calibration.texts == len(LINES)
    encoder = made.tokenizer.encoder
    assert vars(info.encoding) == {
        "pad_id": encoder.pad_id,
        "left": encoder.left,
        "pad_segment": encoder.pad_segment,
        "longest": 128,
        "window": 128,
        "emoji": "keep",
    }
    assert info.match is not None
    assert info.match.scale == pytest.approx(float(made.model.match.log_scale.detach().exp()))  # type: ignore[union-attr]
    about = info.about
    assert about["precision"] == "fp32"
    assert about["settings"]["setup"] == "cdp+match"
    assert {check["measure"].partition(",")[0] for check in about["parity"]["checks"]} == {
        "probability",
        "embedding",
        "definition score",
    }
    assert about["dev"]["texts"] == len(LINES)
    assert 0 <= about["dev"]["tuned"]["macro_f1"] <= 1
    assert about["name"] in (out / "README.md").read_text(encoding="utf-8")
    modes = {oct(path.stat().st_mode & 0o777) for path in out.iterdir()}
    assert len(modes) == 1


def test_the_predictor_answers_as_the_checkpoint_does(exported: tuple[TrainedModel, Path]) -> None:
    made, out = exported
    predictor = Predictor.load(out)
    np.testing.assert_allclose(predictor.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-5)
    dev = CORPUS["dev"].take(range(len(TEXTS)))  # type: ignore[arg-type]
    pairs = definition_pairs(dev.labels, 0)
    found = predictor.definition_proba(
        [dev.texts[i] for i in pairs.text], [LABELS.definitions[k] for k in pairs.label]
    )
    np.testing.assert_allclose(found, parity._torch_scores(made, dev, pairs), atol=1e-5)


def test_each_architecture_and_the_predictor(each_backbone: tuple[str, Path], tmp_path: Path) -> None:
    """Left padding, segments and special tokens of every kind come through model.json and tokenizer.json."""
    made = tiny_model(each_backbone[1], setup="cdp")
    export(made, CORPUS, tmp_path / "light", precision="fp32")
    predictor = Predictor.load(tmp_path / "light")
    np.testing.assert_allclose(predictor.predict_proba(TEXTS), made.predict_proba(TEXTS), atol=1e-5)
    assert predictor.definition_proba(["so sorry"], [LABELS.definitions[0]]).shape == (1,)


def test_it_is_read_without_torch(exported: tuple[TrainedModel, Path]) -> None:
    code = (
        "import sys; from emodef.predictor import Predictor; Predictor.load(sys.argv[1]).predict_proba(['a']);"
        "assert not {'torch', 'transformers', 'onnx', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(exported[1])], check=True, env=os.environ | source_path())


def source_path() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(exporting.__file__).parents[2])}


def test_labels_of_which_a_text_has_one(tiny_bert_dir: Path, tmp_path: Path) -> None:
    made = tiny_model(tiny_bert_dir, setup="none")
    made.label_set = replace(LABELS, exclusive=True)
    corpus = {name: replace(part, label_set=made.label_set) for name, part in CORPUS.items()}
    export(made, corpus, tmp_path / "light", precision="fp32")
    assert set(ModelInfo.read(tmp_path / "light").thresholds) == {"fixed"}


# ---- int8


@pytest.fixture(scope="module")
def wider(tiny_backbone: Backbone) -> TrainedModel:
    """Wide enough for int8: narrower products stay as they are."""
    folder = tiny_backbone("bert", hidden_size=64, intermediate_size=128, head=False)
    return tiny_model(folder, setup="cdp+match", pooling="mean", shaken=0.05)


def test_int8_is_checked_and_written(wider: TrainedModel, tmp_path: Path) -> None:
    stages: dict[str, int] = {}
    made = export(
        wider,
        CORPUS,
        tmp_path / "light",
        progress=lambda what, done, total: stages.update({what: done - total}),
    )
    assert set(stages.values()) == {0}
    assert made.size == (tmp_path / "light" / "model.onnx").stat().st_size
    measures = [check.measure for check in made.parity.checks]
    assert [m for m in measures if "micro-F1 tuned" in m or "AUC" in m or "alone" in m]
    assert all(check.passed for check in made.parity.checks)
    assert made.info.about["precision"] == "int8"
    small = Predictor.load(tmp_path / "light")
    difference = np.abs(small.predict_proba(LINES[:6]) - wider.predict_proba(LINES[:6]))
    assert 0 < difference.max() < 0.1  # it is int8, and near


def test_int8_scores_do_not_depend_on_neighbours(wider: TrainedModel) -> None:
    graph = quantize(export_graph(wider), calibration_batches(wider, CORPUS["train"]))
    assert parity.neighbours(parity.Graph(graph, wider.tokenizer), LINES).found < 1e-3


def test_ranges_come_from_texts_and_pairs_of_train(wider: TrainedModel) -> None:
    batches = calibration_batches(wider, CORPUS["train"])
    rows = sum(len(batch["input_ids"]) for batch in batches)
    assert rows == len(LINES) + len(definition_pairs(CORPUS["train"].labels, 0))
    assert all(set(batch) == {"input_ids", "attention_mask", "token_type_ids"} for batch in batches)


# ---- what fails leaves everything as it was


def test_a_graph_of_other_answers_is_refused(
    tiny_bert_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = tiny_model(tiny_bert_dir), tiny_model(tiny_bert_dir, seed=1)
    monkeypatch.setattr(exporting, "export_graph", lambda trained, scores: export_graph(other, scores))
    with pytest.raises(TrainingError, match=r"probability, ONNX against torch.*nothing was written"):
        export(made, CORPUS, tmp_path / "new" / "light", precision="fp32")
    assert not list(tmp_path.iterdir())


def test_an_int8_graph_that_lost_too_much_is_refused(
    wider: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two bits a weight; what stood there still stands."""
    out = tmp_path / "light"
    export(wider, CORPUS, out, precision="fp32")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr("emodef.train.export.quantize", functools.partial(quantize, bits=2))
    with pytest.raises(TrainingError, match=r"int8 against fp32, mean difference.*--precision fp32"):
        export(wider, CORPUS, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_of_something_else_is_not_replaced(tiny_bert_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(SettingsError, match="something else"):
        export(tiny_model(tiny_bert_dir), CORPUS, tmp_path)
    with pytest.raises(SettingsError, match="is a file"):
        export(tiny_model(tiny_bert_dir), CORPUS, tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_unknown_precision(tiny_bert_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="int8, fp32"):
        export(tiny_model(tiny_bert_dir), CORPUS, tmp_path / "light", precision="int4")


# ---- the limits


def test_a_small_dev_split_may_move_by_two_decisions() -> None:
    dev = corpus_of([f"text {i}" for i in range(40)])
    large = np.where(dev.labels, 0.9, 0.1).astype(np.float32)
    small = large.copy()
    small[0, 0], small[1, 1] = 0.1, 0.1  # two right decisions turned wrong
    for check in parity.against_float(small, large, dev, 0.5)[1:]:
        assert check.passed, check
    worse = large.copy()
    worse[:20][dev.labels[:20] == 1] = 0.1
    failed = [check for check in parity.against_float(worse, large, dev, 0.5) if not check.passed]
    assert {check.measure.partition(" ")[0] for check in failed} >= {"micro-F1", "macro-F1"}


def test_a_large_dev_split_may_not() -> None:
    dev = corpus_of([f"text {i}" for i in range(20_000)])
    large = np.where(dev.labels, 0.9, 0.1).astype(np.float32)
    small = large.copy()
    small[:100] = 1 - small[:100]
    limits = {
        check.measure.partition(",")[0]: check.limit for check in parity.against_float(small, large, dev, 0.5)
    }
    assert limits["micro-F1 tuned"] == 0.003
    assert limits["macro-F1 tuned"] == 0.01


def test_nan_passes_no_check() -> None:
    assert not parity.Check("anything", float("nan"), 0.1).passed
    with pytest.raises(TrainingError, match="anything: nan"):
        parity.Parity(1, 0, (parity.Check("anything", float("nan"), 0.1),)).require("Do this.")


def test_what_travels_names_no_folder_of_this_machine() -> None:
    given = ["/home/somebody/clients/run", "results/mpnet/match", "/home/somebody/other"]
    assert _without_folder(given) == ["run", "results/mpnet/match", "other"]
    assert _without_folder("/home/somebody/mine.csv") == "mine.csv"


# ---- where model and corpus come from


def test_a_damaged_checkpoint_is_named(tiny_bert_dir: Path, tmp_path: Path) -> None:
    tiny_model(tiny_bert_dir).save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_source(tmp_path / "model", data=str(tmp_path / "any.csv"))


def test_a_model_without_its_run_needs_data(tiny_bert_dir: Path, tmp_path: Path) -> None:
    tiny_model(tiny_bert_dir).save(tmp_path / "model")
    with pytest.raises(SettingsError, match="--data"):
        load_source(tmp_path / "model")


def test_a_corpus_without_dev_and_one_of_other_labels(tiny_bert_dir: Path, tmp_path: Path) -> None:
    tiny_model(tiny_bert_dir).save(tmp_path / "model")
    table = tmp_path / "lines.csv"
    table.write_text("text,labels\nwhat a day,joy\nno,anger\n", encoding="utf-8")
    with pytest.raises(DataError, match="no dev split"):
        load_source(tmp_path / "model", data=str(table))
    (tmp_path / "split").mkdir()
    for split in ("train", "dev"):
        shutil.copy(table, tmp_path / "split" / f"{split}.csv")
    trained, corpus = load_source(tmp_path / "model", data=str(tmp_path / "split"))
    assert corpus["dev"].label_set == trained.label_set
    (tmp_path / "split" / "dev.csv").write_text("text,labels\nwhat a day,bliss\n", encoding="utf-8")
    with pytest.raises(DataError, match="bliss"):
        load_source(tmp_path / "model", data=str(tmp_path / "split"))
