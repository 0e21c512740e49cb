"""Means over seeds, intervals and paired tests, against the same things computed the slow way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from emodef.bootstrap import holm, resample_weights
from emodef.corpora import Corpus
from emodef.errors import DataError
from emodef.evaluation import tune
from emodef.paper.results import Run, find_runs
from emodef.paper.statistics import Study
from emodef.paper.study import Group
from emodef.runs import fingerprint
from tiny_results import SEEN, plain, write_corpus, write_run

RESAMPLES = 40
SEED = 5
SKILL = {"none": 0.2, "match": 0.5}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    corpus = write_corpus(root / "data")
    for setup, skill in SKILL.items():
        for seed in (1, 2, 3):
            write_run(root / "results" / f"{setup}{seed}", corpus, setup=setup, seed=seed, skill=skill)
    write_run(root / "results" / "alone", corpus, setup="cdp", seed=1)
    return root


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return Study(find_runs(root / "results"), data_dir=root / "data", resamples=RESAMPLES, seed=SEED)


@pytest.fixture(scope="module")
def bare(root: Path) -> Study:
    """The same runs without the corpus."""
    return Study(find_runs(root / "results"), data_dir=root / "nowhere", resamples=RESAMPLES)


def group(study: Study, setup: str) -> Group:
    found = study.blocks[0].find("BERT", setup)
    assert found is not None
    return found


TUNED: dict[tuple[Path, str | None], np.ndarray] = {}


def predicted(
    run: Run, corpus: dict[str, Corpus], split: str, policy: str, scores: str | None = None
) -> np.ndarray:
    threshold: object = 0.3
    if policy == "tuned":
        if (run.path, scores) not in TUNED:
            found = tune(run.probabilities("dev", scores), corpus["dev"], levels=[])
            TUNED[run.path, scores] = found["goemotions"]
        threshold = TUNED[run.path, scores]
    return run.probabilities(split, scores) > threshold


def naive(study: Study, setup: str, policy: str, rows: np.ndarray, metric: str = "macro") -> float:
    """The mean over seeds of F1 on some rows of test, by scikit-learn."""
    corpus = study.need()
    truth = corpus["test"].labels[rows]
    return float(
        np.mean(
            [
                f1_score(truth, predicted(run, corpus, "test", policy)[rows], average=metric, zero_division=0)
                for run in group(study, setup).runs
            ]
        )
    )


def naive_draws(study: Study) -> list[np.ndarray]:
    texts = len(study.need()["test"])
    weights = np.hstack(list(resample_weights(texts, RESAMPLES, SEED)))
    return [np.repeat(np.arange(texts), weights[:, r]) for r in range(RESAMPLES)]


@pytest.mark.parametrize("policy", ["fixed", "tuned"])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_mean_and_deviation_over_seeds(study: Study, split: str, policy: str) -> None:
    corpus = study.need()
    for metric, function in {"f1": f1_score, "precision": precision_score, "recall": recall_score}.items():
        values = [
            function(
                corpus[split].labels, predicted(run, corpus, split, policy), average="macro", zero_division=0
            )
            for run in group(study, "none").runs
        ]
        found = study.value(group(study, "none"), split, policy, f"macro_{metric}")
        assert found is not None
        assert found.value == pytest.approx(np.mean(values))
        assert found.std == pytest.approx(np.std(values, ddof=1))
        assert found.n == 3


@pytest.mark.parametrize("policy", ["fixed", "tuned"])
def test_interval_of_the_mean_over_seeds(study: Study, policy: str) -> None:
    draws = [naive(study, "none", policy, rows) for rows in naive_draws(study)]
    found = study.value(group(study, "none"), "test", policy)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))))
    on_dev = study.value(group(study, "none"), "dev", policy)
    assert on_dev is not None
    assert on_dev.low is None


def test_labels(study: Study) -> None:
    corpus = study.need()
    each = [
        f1_score(
            corpus["test"].labels, predicted(run, corpus, "test", "fixed"), average=None, zero_division=0
        )
        for run in group(study, "match").runs
    ]
    scored = study.scored(group(study, "match"), "test", "fixed")
    assert scored is not None
    found = scored.labels()
    assert [label.value for label in found] == pytest.approx(np.mean(each, axis=0))
    assert [label.std for label in found] == pytest.approx(np.std(each, axis=0, ddof=1))
    assert all(label.low is not None and label.low <= label.value + 0.1 for label in found)


def test_paired_gain_and_its_p_value(study: Study) -> None:
    gains = np.array(
        [
            naive(study, "match", "fixed", rows) - naive(study, "none", "fixed", rows)
            for rows in naive_draws(study)
        ]
    )
    whole = np.arange(len(study.need()["test"]))
    found = study.gain(group(study, "none"), group(study, "match"), "fixed")
    assert found is not None
    gain = found.summary["macro_f1"]
    assert gain.gain.value == pytest.approx(
        naive(study, "match", "fixed", whole) - naive(study, "none", "fixed", whole)
    )
    assert (gain.gain.low, gain.gain.high) == pytest.approx(tuple(np.quantile(gains, (0.025, 0.975))))
    assert gain.p_value == pytest.approx(
        min(1, 2 * (1 + min((gains <= 0).sum(), (gains >= 0).sum())) / (1 + RESAMPLES))
    )
    assert gain.p_value < 0.05  # it knows far more of the truth
    to_itself = study.gain(group(study, "none"), group(study, "none"), "tuned")
    assert to_itself is not None
    assert to_itself.summary["macro_f1"].p_value == 1


def test_holm_step_by_step() -> None:
    given = [0.04, 0.001, 0.03, 0.2, 0.001]
    order = sorted(range(5), key=lambda i: given[i])
    expected, reached = [0.0] * 5, 0.0
    for step, i in enumerate(order):
        reached = max(reached, min(1.0, given[i] * (5 - step)))
        expected[i] = reached
    assert holm(given) == pytest.approx(expected)


def test_without_the_texts_of_train(study: Study) -> None:
    corpus = study.need()
    known = {plain(text) for text in corpus["train"].texts}
    rows = np.flatnonzero([plain(text) not in known for text in corpus["test"].texts])
    assert len(rows) == len(corpus["test"]) - SEEN
    assert study.seen == (SEEN, SEEN - 1)
    assert study.unseen.sum() == len(rows)
    for policy in ("fixed", "tuned"):
        found = study.value(group(study, "none"), "test", policy, unseen=True)
        assert found is not None
        assert found.value == pytest.approx(naive(study, "none", policy, rows))


def test_the_other_head(study: Study) -> None:
    head = group(study, "match").head("emotion")
    assert head is not None
    corpus = study.need()
    values = [
        f1_score(
            corpus["test"].labels,
            predicted(run, corpus, "test", "tuned", "emotion"),
            average="macro",
            zero_division=0,
        )
        for run in head.runs
    ]
    found = study.value(head, "test", "tuned")
    assert found is not None
    assert found.value == pytest.approx(np.mean(values))
    assert head.title == "BERT+match, emotion head"
    assert group(study, "none").head("match") is None


def test_without_the_corpus_there_is_what_was_stored(study: Study, bare: Study) -> None:
    for policy in ("fixed", "tuned"):
        for split in ("dev", "test"):
            here, there = (each.value(group(each, "none"), split, policy) for each in (study, bare))
            assert here is not None
            assert there is not None
            assert (there.value, there.std) == pytest.approx((here.value, here.std))
            assert there.low is None  # of several seeds there is no interval without the texts' labels
    only = bare.value(group(bare, "cdp"), "test", "fixed")
    stored = group(bare, "cdp").runs[0].reports["test fixed"].summary["macro_f1"]
    assert only is not None
    assert (only.value, only.low, only.high, only.std) == (stored.value, stored.low, stored.high, None)
    assert bare.gain(group(bare, "none"), group(bare, "match"), "fixed") is None
    assert bare.value(group(bare, "none"), "test", "fixed", unseen=True) is None
    head = group(bare, "match").head("emotion")
    assert bare.value(head, "test", "fixed") is None
    assert bare.train_support == study.train_support
    assert bare.lacking is not None
    with pytest.raises(DataError, match="emodef data fetch goemotions"):
        bare.need()


def test_runs_of_other_texts_are_told_of_and_left_out(root: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data")
    write_run(tmp_path / "results" / "a", corpus, seed=1)
    other = {split: part.take(range(len(part) - 1)) for split, part in corpus.items()}
    write_run(tmp_path / "results" / "b", other, seed=2)
    write_run(tmp_path / "results" / "c", corpus, seed=3, corpus="examples/sample")
    write_run(tmp_path / "results" / "d", corpus, seed=4, average=["0.5000 x", "0.5000 y"])
    write_run(tmp_path / "results" / "e", corpus, seed=5, held_out=["joy"])
    for data in (root / "data", root / "nowhere"):
        told: list[str] = []
        found = Study(find_runs(tmp_path / "results"), data_dir=data, report=told.append)
        assert [run.name for run in found.runs] == ["a"]
        assert any("its texts are not those of goemotions" in message and "/b" in message for message in told)
        assert any("1 run of another corpus" in message for message in told)
        assert any("/d: the mean of other runs" in message for message in told)
        assert any("/e: trained without some labels" in message for message in told)


def test_runs_that_learned_other_texts_or_labels_are_left_out(root: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data")
    for seed, noted in enumerate((fingerprint(corpus), "another", None)):
        path = write_run(tmp_path / "results" / str(seed), corpus, seed=seed)
        metrics = json.loads((path / "metrics.json").read_text())
        metrics["training"]["corpus"] = noted
        (path / "metrics.json").write_text(json.dumps(metrics))
    for data in (root / "data", root / "nowhere"):
        told: list[str] = []
        found = Study(find_runs(tmp_path / "results"), data_dir=data, report=told.append)
        assert [run.name for run in found.runs] == ["0", "2"]
        assert any(
            "/1: its training texts, labels or definitions are not those" in message for message in told
        )


def test_no_resamples_no_intervals(root: Path) -> None:
    found = Study(find_runs(root / "results"), data_dir=root / "data", resamples=0)
    value = found.value(group(found, "none"), "test", "fixed")
    assert value is not None
    assert (value.low, value.high) == (None, None)
    assert found.gain(group(found, "none"), group(found, "match"), "fixed") is None
