"""The light predictor: scores as its checkpoint gives them, whatever stands beside a text, in order, in windows, in threads."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import emodef
from emodef.errors import DataError, LabelSetError, SettingsError
from emodef.metrics import coarsen_probabilities
from emodef.predictor import Label, Predictor, core, engine, session
from emodef.predictor.decisions import choose, resolve_thresholds
from emodef.predictor.model_file import ModelInfo
from tiny_light import LABELS, build_tiny_light

TEXTS = [
    "I am so happy for you",
    "why are you angry?",
    "",
    "the meeting is on platform b",
    "scared, it is awful",
    "thanks!",
]


@pytest.fixture(scope="module")
def predictor(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=2)


def random_texts(count: int, seed: int = 0, longest: int = 24) -> list[str]:
    draw = np.random.default_rng(seed)
    words = np.array(["happy", "angry", "why", "meeting", "scared", "so", "the", "zebra", "it", ".", "glad"])
    return [" ".join(draw.choice(words, size=draw.integers(0, longest))) for _ in range(count)]


# ---- what comes out


def test_labels_stand_best_first(predictor: Predictor) -> None:
    found = predictor.predict(TEXTS)
    assert [[label.name for label in p.labels] for p in found] == [
        ["joy"],
        ["curiosity", "anger"],
        [],
        ["neutral"],
        ["fear", "anger"],
        ["joy"],
    ]
    raw = predictor.predict_proba(TEXTS)
    assert raw.dtype == np.float32
    assert raw.shape == (6, 5)
    for prediction, text, values in zip(found, TEXTS, raw, strict=True):
        assert prediction.text == text
        assert prediction.scores == dict(
            sorted(zip(LABELS.names, map(float, values), strict=True), key=lambda pair: -pair[1])
        )
        assert list(prediction.scores.values()) == sorted(prediction.scores.values(), reverse=True)
        assert all(label == Label(label.name, prediction.scores[label.name]) for label in prediction.labels)
        assert prediction.windows == 1
    assert [p.tokens for p in found] == [8, 7, 0, 7, 5, 2]
    assert found[1].to_dict()["labels"][0]["name"] == "curiosity"


def test_one_text_or_many(predictor: Predictor) -> None:
    one = predictor.predict(TEXTS[1])
    assert one.labels == predictor.predict([TEXTS[1]])[0].labels
    assert predictor.predict_proba(TEXTS[1]).shape == (1, 5)
    assert predictor.embed("why").shape == (1, 13)
    assert predictor.predict([]) == []
    assert predictor.predict_proba([]).shape == (0, 5)
    assert predictor.embed([]).shape == (0, 13)


def test_public_names(tiny_light: Path) -> None:
    assert emodef.Predictor is Predictor
    assert isinstance(emodef.Predictor.load(tiny_light).predict("why?"), emodef.Prediction)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_order_is_kept_whatever_the_blocks(
    threads: int, tiny_light: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small blocks and batches, repeated and long texts: each text's scores are those it gets alone."""
    predictor = Predictor.load(tiny_light, threads=threads)
    texts = random_texts(150, longest=90) * 2
    alone = {text: predictor.predict_proba([text])[0] for text in set(texts)}
    embedded = {text: predictor.embed([text])[0] for text in set(texts)}
    monkeypatch.setattr(engine, "BLOCK_TEXTS", 37)
    monkeypatch.setattr(engine, "BLOCK_CHARACTERS", 4000)
    monkeypatch.setattr(engine, "LEAST_BUDGET", 50)
    np.testing.assert_allclose(predictor.predict_proba(texts), [alone[t] for t in texts], atol=1e-6)
    np.testing.assert_allclose(predictor.embed(texts), [embedded[t] for t in texts], atol=1e-6)
    definitions = ["A feeling", "Being so worried that it is hard"] * 150
    pairs = [
        predictor.definition_proba([t], [d])[0] for t, d in zip(texts[:40], definitions[:40], strict=True)
    ]
    np.testing.assert_allclose(predictor.definition_proba(texts, definitions)[:40], pairs, atol=1e-6)


def test_progress_counts_every_text(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BLOCK_TEXTS", 20)
    texts = random_texts(90, longest=60) * 2
    for call in (predictor.predict_proba, predictor.predict, predictor.embed):
        told: list[int] = []
        call(texts, progress=told.append)
        assert sum(told) == 180
        assert len(told) > 3
    told = []
    predictor.definition_proba(texts, ["a feeling"] * 180, progress=told.append)
    assert sum(told) == 180


def test_what_a_worker_raises_is_raised(predictor: Predictor) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        predictor.predict_proba(random_texts(500), progress=stop)
    assert set(threading.enumerate()) <= before
    assert predictor.predict_proba(TEXTS).shape == (6, 5)


def test_equal_texts_are_computed_once(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    run = predictor.graph.run
    monkeypatch.setattr(
        predictor.graph,
        "run",
        lambda batch, *a, **k: rows.append(len(batch.input_ids)) or run(batch, *a, **k),
    )
    found = predictor.predict_proba(TEXTS * 50)
    assert sum(rows) == 6
    np.testing.assert_array_equal(found[:6], found[-6:])


# ---- as the checkpoint answers, and no neighbour matters


@pytest.fixture(scope="module")
def exported(tiny_backbone: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """A tiny transformer and its light model: positions, attention, padding; probabilities about a half."""
    import tiny_models
    from emodef.corpora import Corpus
    from emodef.train.export import export

    made = tiny_models.tiny_model(tiny_backbone("bert"), pooling="mean", setup="cdp+match")
    texts = [*tiny_models.TEXTS, *random_texts(30)]
    labels = (np.arange(len(texts))[:, None] % 5 == np.arange(5)).astype(np.uint8)
    ids = [str(i) for i in range(len(texts))]
    dev = Corpus(name="few", split="dev", texts=texts, labels=labels, label_set=tiny_models.LABELS, ids=ids)
    folder = tmp_path_factory.mktemp("exported") / "light"
    export(made, {"dev": dev}, folder, precision="fp32")
    return made, Predictor.load(folder, threads=2), texts


def test_as_the_checkpoint_answers(exported: tuple) -> None:
    made, predictor, texts = exported
    expected = made.predict_proba(texts)
    assert expected.std(axis=0).min() > 0.01
    np.testing.assert_allclose(predictor.predict_proba(texts), expected, atol=1e-5)
    np.testing.assert_allclose(predictor.predict_proba(texts[3]), expected[3:4], atol=1e-5)


def test_a_score_does_not_depend_on_its_neighbours(exported: tuple) -> None:
    _, predictor, texts = exported
    together = predictor.predict_proba(texts)
    alone = np.concatenate([predictor.predict_proba([text]) for text in texts])
    beside_long = predictor.predict_proba([*texts, "why is it so? " * 200])[:-1]
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(together - beside_long).max() < 1e-5
    order = np.random.default_rng(1).permutation(len(texts))
    np.testing.assert_allclose(predictor.predict_proba([texts[i] for i in order]), together[order], atol=1e-5)


def test_definition_scores_as_the_checkpoint(exported: tuple) -> None:
    import torch

    from emodef.train.model import Inputs

    made, predictor, texts = exported
    definitions = [made.label_set.definitions[i % 5] for i in range(len(texts))]
    encoder = made.tokenizer.encoder
    tokens, seconds = encoder.tokenize(texts), encoder.tokenize(definitions)
    everything = range(len(texts))
    inputs = Inputs.of(
        encoder.pairs(tokens, everything, seconds, everything, 128), segments=True, device=torch.device("cpu")
    )
    with torch.no_grad():
        expected = made.model.definition(made.model.encode(inputs)[1]).softmax(-1)[:, 1].numpy()
    np.testing.assert_allclose(predictor.definition_proba(texts, definitions), expected, atol=1e-5)


# ---- thresholds, levels, calibration


def test_threshold_policies(predictor: Predictor, tmp_path: Path) -> None:
    text = TEXTS[1]  # anger 0.41, curiosity 0.42
    scores = predictor.predict(text).scores
    low, high = sorted([scores["anger"], scores["curiosity"]])

    def names(**options: object) -> set[str]:
        return {label.name for label in predictor.predict(text, **options).labels}

    assert names() == names(threshold="tuned") == {"anger", "curiosity"}
    assert names(threshold=(low + high) / 2) == names(threshold=str((low + high) / 2)) == {"curiosity"}
    assert names(threshold=0) == set(LABELS.names)
    assert names(threshold=0.99) == set()
    assert names(threshold=0.99, at_least_one=True) == {"curiosity"}
    assert names(threshold=[0.99, low - 0.01, 0.99, 0.99, 0.99]) == {"anger"}
    assert names(threshold="fixed") == {k for k, v in scores.items() if v > 0.3}
    each = np.array([0.99, low - 0.01, 0.99, 0.99, 0.99])
    assert names(threshold=each) == names(threshold=each.tolist())
    assert predictor.explain(text, threshold=each).predicted == ("anger",)
    for bad in ("much", 1.0, -0.1, "1.2", float("nan"), "0.5,0.6"):
        with pytest.raises(SettingsError, match=r"give tuned, fixed, or a number from 0 to below 1$"):
            predictor.predict(text, threshold=bad)
    for bad in ([0.5, 0.5], np.full(4, 0.5), np.full(5, 1.0)):
        with pytest.raises(SettingsError, match="or such a number for each of the 5 labels"):
            predictor.predict(text, threshold=bad)
    untuned = Predictor.load(build_tiny_light(tmp_path, thresholds={"fixed": 0.38}))
    assert {x.name for x in untuned.predict(text).labels} == {k for k, v in scores.items() if v > 0.38}
    with pytest.raises(SettingsError, match="tuned"):
        untuned.predict(text, threshold="tuned")


def test_levels(predictor: Predictor) -> None:
    raw, coarse = predictor.predict_proba(TEXTS), predictor.predict_proba(TEXTS, level="sentiment")
    groups = LABELS.groups("sentiment")[1]
    np.testing.assert_array_equal(coarse, coarsen_probabilities(raw, groups, 4).astype(np.float32))
    found = predictor.predict(TEXTS[4], level="sentiment")
    assert [label.name for label in found.labels] == ["negative"]
    assert set(found.scores) == set(LABELS.coarse["sentiment"].names)
    assert predictor.predict(TEXTS[4], level="tiny").labels == predictor.predict(TEXTS[4]).labels
    for call in (predictor.predict, predictor.predict_proba):
        with pytest.raises(LabelSetError, match=r"no level 'ekman'; there are tiny, sentiment; to labels"):
            call(TEXTS, level="ekman")


def test_calibration_changes_what_is_shown_not_what_is_predicted(
    predictor: Predictor, tmp_path: Path
) -> None:
    raw, shown = predictor.predict_proba(TEXTS), predictor.predict_proba(TEXTS, calibrated=True)
    odds = np.log(raw / (1 - raw))
    np.testing.assert_allclose(shown, 1 / (1 + np.exp(-(0.5 * odds - 0.25))), atol=1e-5)
    for plain, calibrated, values in zip(
        predictor.predict(TEXTS), predictor.predict(TEXTS, calibrated=True), shown, strict=True
    ):
        assert {x.name for x in plain.labels} == {x.name for x in calibrated.labels}
        np.testing.assert_array_equal(calibrated.probabilities, values)
    coarse = predictor.predict_proba(TEXTS, calibrated=True, level="sentiment")
    np.testing.assert_allclose(coarse[:, 1], shown[:, 1:3].max(axis=1))
    without = Predictor.load(build_tiny_light(tmp_path, calibration=None))
    with pytest.raises(SettingsError, match="calibration"):
        without.predict_proba(TEXTS, calibrated=True)


def test_one_label_a_text(tmp_path: Path) -> None:
    from dataclasses import replace

    labels = replace(LABELS, exclusive=True)
    predictor = Predictor.load(build_tiny_light(tmp_path, labels, thresholds={"fixed": 0.3}))
    found = predictor.predict(TEXTS)
    assert [len(p.labels) for p in found] == [1] * 6
    assert all(p.labels[0].score == p.probabilities.max() for p in found)
    with pytest.raises(SettingsError, match="likeliest"):
        predictor.predict(TEXTS, threshold=0.5)


def test_decisions_alone(tiny_light: Path) -> None:
    info = ModelInfo.read(tiny_light)
    np.testing.assert_allclose(resolve_thresholds(None, None, info), [0.3, 0.32, 0.34, 0.36, 0.38])
    np.testing.assert_allclose(resolve_thresholds(None, "sentiment", info), [0.35] * 4)
    np.testing.assert_allclose(resolve_thresholds("fixed", "sentiment", info), [0.3] * 4)
    values = np.array([[0.1, 0.5, 0.3], [0.1, 0.2, 0.2]])
    chosen = choose(values, np.array([0.3, 0.3, 0.3]))
    assert chosen.tolist() == [[False, True, False], [False, False, False]]
    assert choose(values, np.array([0.3, 0.3, 0.3]), True)[1].tolist() == [False, True, False]
    assert choose(values, None).sum(axis=1).tolist() == [1, 1]


# ---- definitions


def test_definitions(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 texts and 1 definitions"):
        predictor.definition_proba(["a", "b"], ["c"])
    with pytest.raises(DataError, match="no room"):
        predictor.definition_proba(["a"], ["so it is " * 18])
    assert 0 < predictor.definition_proba(["so long " * 100], ["a feeling"])[0] < 1  # in windows
    assert predictor.definition_proba([], []).shape == (0,)
    without = Predictor.load(build_tiny_light(tmp_path, definition_head=False))
    with pytest.raises(DataError, match="no definition head"):
        without.definition_proba(["a"], ["b"])


# ---- threads and processes


def test_many_threads_share_a_predictor(predictor: Predictor) -> None:
    texts = random_texts(60)
    expected = predictor.predict_proba(texts)

    def furthest(number: int) -> float:
        far = []
        for step in range(10):
            rows = np.random.default_rng(number * 100 + step).permutation(60)[: 1 + 20 * (step % 3)]
            found = predictor.predict_proba([texts[i] for i in rows])
            far.append(float(np.abs(found - expected[rows]).max()))
        return max(far)

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(furthest, range(8))) <= 1e-6


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_process_goes_on(tiny_light: Path) -> None:
    """In an interpreter of its own: a fork copies whatever threads this one has started."""
    code = (
        "import multiprocessing, sys\n"
        "from emodef.predictor import Predictor\n"
        "p = Predictor.load(sys.argv[1], threads=2)\n"
        "texts = ['I am so happy', 'why?', 'the meeting'] * 40\n"
        "def work(_): return p.predict_proba(texts).tolist(), p.predict_proba('why?').tolist()\n"
        "here = work(0)\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: there = pool.map(work, range(4))\n"
        "assert there == [here] * 4\n"
        "assert work(0) == here\n"
        "print('same')"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tiny_light)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.strip() == "same", run.stderr


def test_threads_option(tiny_light: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Predictor.load(tiny_light).threads == session.usable_cores()
    assert Predictor.load(tiny_light, threads=3).threads == 3
    with pytest.raises(SettingsError, match="threads"):
        Predictor.load(tiny_light, threads=0)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
        assert session.usable_cores() == 1


def test_providers(tiny_light: Path) -> None:
    assert Predictor.load(tiny_light, providers=["CPUExecutionProvider"]).predict("why?").labels
    with pytest.raises(SettingsError, match="NoSuchProvider"):
        Predictor.load(tiny_light, providers=["NoSuchProvider"])


def test_without_torch_and_the_rest(tiny_light: Path) -> None:
    code = (
        "import sys, emodef; p = emodef.Predictor.load(sys.argv[1]); p.predict(['why?'] * 3); p.explain('why?')\n"
        "heavy = {'torch', 'transformers', 'onnx', 'polars', 'pydantic', 'typer', 'rich', 'scipy', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tiny_light)], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_no_model_in_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "SHIPPED", tmp_path)
    with pytest.raises(DataError, match="emodef export"):
        Predictor.load()
