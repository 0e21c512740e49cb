"""Evaluation: reports against scikit-learn at every level, stored and read back; disagreements picked by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics as reference

from emodef.corpora import Corpus
from emodef.disagreements import error_analysis
from emodef.errors import DataError, LabelSetError, SettingsError
from emodef.evaluation import Report, compare, evaluate, evaluate_probabilities, tune
from emodef.labels import LabelSet


def noisy(corpus: Corpus, seed: int = 0, noise: float = 0.8) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.clip(0.45 * corpus.labels + noise * random.random(corpus.labels.shape), 0, 1).astype(np.float32)


@pytest.fixture
def dev(tiny_corpus: dict[str, Corpus]) -> Corpus:
    return tiny_corpus["dev"]


@pytest.fixture
def test(tiny_corpus: dict[str, Corpus]) -> Corpus:
    return tiny_corpus["test"]


@pytest.fixture
def exclusive() -> Corpus:
    label_set = LabelSet.from_dict(
        {
            "name": "mood",
            "exclusive": True,
            "labels": [{"name": n, "definition": f"Being {n}"} for n in ("glad", "calm", "cross")],
            "mappings": {"tone": {"glad": "good", "calm": "good", "cross": "bad"}},
            "coarse": {
                "tone": {"labels": [{"name": n, "definition": f"A {n} mood"} for n in ("good", "bad")]}
            },
        }
    )
    labels = np.eye(3, dtype=np.uint8)[np.arange(60) % 3]
    texts = [f"line {i}" for i in range(60)]
    return Corpus("moods", "all", texts, labels, label_set, ids=[str(i) for i in range(60)])


def test_a_report_equals_scikit_learn_at_both_levels(test: Corpus, tiny_corpus: dict[str, Corpus]) -> None:
    probabilities = noisy(test)
    asked: list[Sequence[str]] = []

    def predict_proba(texts: Sequence[str]) -> np.ndarray:
        asked.append(texts)
        return probabilities

    train = tiny_corpus["train"].labels
    report = evaluate(predict_proba, test, thresholds=0.4, train_labels=train, bootstrap=50)
    assert asked == [test.texts]
    assert [level.name for level in report.levels] == ["tiny", "sentiment"]
    assert report.policy == "fixed 0.4"
    coarse, groups = test.label_set.groups("sentiment")
    truths, values = [test.labels], [probabilities]
    columns = range(len(coarse))
    truths.append(np.stack([test.labels[:, groups == k].any(axis=1) for k in columns], axis=1))
    values.append(np.stack([probabilities[:, groups == k].max(axis=1) for k in columns], axis=1))
    for level, truth, value in zip(report.levels, truths, values, strict=True):
        predicted = value > 0.4
        for average in ("macro", "micro", "weighted"):
            expected = reference.f1_score(truth, predicted, average=average, zero_division=0)
            assert_allclose(level.summary[f"{average}_f1"].value, expected)
        assert_allclose(level.summary["macro_roc_auc"].value, reference.roc_auc_score(truth, value))
        ranked = reference.average_precision_score(truth, value)
        assert_allclose(level.summary["macro_average_precision"].value, ranked)
        assert_array_equal([row.support for row in level.labels], truth.sum(axis=0))
        assert_array_equal([row.predicted for row in level.labels], predicted.sum(axis=0))
        each = reference.precision_score(truth, predicted, average=None, zero_division=0)
        assert_allclose([row.precision.value for row in level.labels], each)
        assert {row.threshold for row in level.labels} == {0.4}
    assert_array_equal([row.train_support for row in report.labels], train.sum(axis=0))
    joy = next(row for row in report.level("sentiment").labels if row.name == "positive")
    assert joy.train_support == train[:, 0].sum()
    assert report.labels[0].name == "joy"


def test_intervals_hold_the_value_and_repeat_with_the_seed(test: Corpus) -> None:
    probabilities = noisy(test)
    first = evaluate_probabilities(probabilities, test, bootstrap=200, seed=1)
    assert first == evaluate_probabilities(probabilities, test, bootstrap=200, seed=1)
    other = evaluate_probabilities(probabilities, test, bootstrap=200, seed=2)
    assert first.summary["macro_f1"] != other.summary["macro_f1"]
    for estimate in [*first.summary.values(), *(row.f1 for row in first.labels)]:
        if estimate.low is not None and estimate.high is not None:
            assert estimate.low <= estimate.value <= estimate.high
    without = {name for name, estimate in first.summary.items() if estimate.low is None}
    assert without == {"macro_calibration_error"}
    narrow = evaluate_probabilities(probabilities, test, bootstrap=200, seed=1, confidence=0.5)
    assert (narrow.summary["macro_f1"].low or 0) > (first.summary["macro_f1"].low or 1)
    none = evaluate_probabilities(probabilities, test, bootstrap=0)
    assert none.summary["macro_f1"].low is None
    assert none.summary["macro_f1"].value == first.summary["macro_f1"].value


def test_thresholds_of_each_level_come_from_dev(dev: Corpus, test: Corpus) -> None:
    tuned = tune(noisy(dev), dev)
    assert set(tuned) == {"tiny", "sentiment"}
    assert tuned["tiny"].shape == (5,)
    report = evaluate_probabilities(
        noisy(test, 1), test, thresholds=tuned, policy="per label, tuned on dev", bootstrap=0
    )
    assert report.policy == "per label, tuned on dev"
    assert_allclose([row.threshold or 0 for row in report.level("sentiment").labels], tuned["sentiment"])
    predicted = noisy(test, 1) > tuned["tiny"]
    expected = reference.f1_score(test.labels, predicted, average="macro")
    assert_allclose(report.summary["macro_f1"].value, expected)
    # thresholds for the labels alone measure the labels alone, and say what is missing where more is asked for
    alone = evaluate_probabilities(noisy(test, 1), test, thresholds=tuned["tiny"], bootstrap=0)
    assert [level.name for level in alone.levels] == ["tiny"]
    assert alone.summary == report.summary
    with pytest.raises(SettingsError, match=r"no thresholds for the level 'sentiment'.*tune them on dev"):
        evaluate_probabilities(noisy(test, 1), test, thresholds=tuned["tiny"], levels=["sentiment"])


def test_one_label_a_text_takes_the_likeliest_at_each_level(exclusive: Corpus) -> None:
    probabilities = noisy(exclusive, noise=0.9) * 0.2  # far below any usual threshold
    report = evaluate_probabilities(probabilities, exclusive, bootstrap=20)
    assert report.policy == "likeliest label"
    assert {row.threshold for row in report.labels} == {None}
    truth, predicted = exclusive.labels.argmax(axis=1), probabilities.argmax(axis=1)
    assert_allclose(report.summary["subset_accuracy"].value, (truth == predicted).mean())
    assert_allclose(report.summary["macro_f1"].value, reference.f1_score(truth, predicted, average="macro"))
    tone = report.level("tone").summary["subset_accuracy"].value
    assert_allclose(tone, ((truth < 2) == (predicted < 2)).mean())


def test_a_label_that_the_split_lacks_is_left_out_of_the_ranking_means(test: Corpus) -> None:
    labels = test.labels.copy()
    labels[:, 2] = 0
    without = replace(test, labels=labels)
    report = evaluate_probabilities(noisy(test), without, levels=[], bootstrap=20)
    assert report.levels[0].undefined == {"average_precision": 1, "roc_auc": 1}
    assert np.isnan(report.labels[2].roc_auc.value)
    kept = [0, 1, 3, 4]
    expected = reference.roc_auc_score(labels[:, kept], noisy(test)[:, kept])
    assert_allclose(report.summary["macro_roc_auc"].value, expected)
    assert report.labels[2].f1.value == 0  # predicted, never right: it counts in macro-F1, as in scikit-learn


def test_a_report_is_stored_as_strict_json_and_read_back(test: Corpus) -> None:
    labels = test.labels.copy()
    labels[:, 1] = 0
    report = evaluate_probabilities(noisy(test), replace(test, labels=labels), bootstrap=20)
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = Report.from_dict(json.loads(text))
    assert json.dumps(again.to_dict(), allow_nan=False) == text
    assert again.summary == report.summary
    assert again.labels[0] == report.labels[0]
    assert np.isnan(again.labels[1].roc_auc.value)
    with pytest.raises(DataError, match=r"format 0, not 1"):
        Report.from_dict({**report.to_dict(), "format": 0})
    with pytest.raises(DataError, match="not whole"):
        Report.from_dict({"format": 1, "levels": []})


def test_comparing_two_runs_on_the_same_texts(dev: Corpus) -> None:
    good, bad = noisy(dev, noise=0.6), noisy(dev, seed=3, noise=1.0)
    found = compare(bad, good, dev, first_thresholds=0.5, second_thresholds=tune(good, dev), bootstrap=200)
    gain = found.summary["macro_f1"]
    assert_allclose(gain.first, reference.f1_score(dev.labels, bad > 0.5, average="macro"))
    assert gain.gain.value > 0.1
    assert gain.p_value < 0.05
    assert len(found.label_f1) == 5
    assert "macro_average_precision" not in found.summary
    ranked = compare(bad, good, dev, bootstrap=100, ranking=True).summary["macro_average_precision"]
    expected = [reference.average_precision_score(dev.labels, values) for values in (bad, good)]
    assert_allclose([ranked.first, ranked.second], expected)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"thresholds": [0.1, 0.2]}, SettingsError, "one for each of its 5 labels"),
        ({"thresholds": {"other": [0.1]}}, SettingsError, "no thresholds for the level 'tiny'"),
        ({"thresholds": [0.1, 0.2, np.nan, 0.3, 0.3]}, SettingsError, "nan"),
        ({"levels": ["ekman"]}, LabelSetError, "no mapping to 'ekman'"),
        ({"train_labels": np.zeros((3, 4))}, DataError, "a column for each of the 5 labels"),
        ({"bootstrap": -1}, SettingsError, "no interval"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    test: Corpus, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate_probabilities(noisy(test), test, **options)


def test_probabilities_that_do_not_fit_are_refused(test: Corpus) -> None:
    with pytest.raises(DataError, match="a row for every text"):
        evaluate_probabilities(noisy(test)[1:], test)
    with pytest.raises(DataError, match="logits need a sigmoid"):
        evaluate_probabilities(noisy(test) * 10 - 5, test)
    report = evaluate_probabilities(noisy(test), test, bootstrap=0)
    with pytest.raises(SettingsError, match=r"no level 'ekman'; measured were tiny, sentiment"):
        report.level("ekman")


@pytest.fixture
def five_texts(tiny_corpus: dict[str, Corpus]) -> tuple[Corpus, np.ndarray]:
    """joy read as curiosity; anger and fear of which fear is missed; neutral right; joy given too; all missed."""
    label_set = tiny_corpus["test"].label_set
    names: list[list[str]] = [["joy"], ["anger", "fear"], ["neutral"], ["anger"], ["fear"]]
    texts = ["what a find", "he made me shake", "it is noon", "let him try it", "so far from home"]
    corpus = Corpus("five", "test", texts, label_set.multi_hot(names), label_set, list("abcde"))
    probabilities = np.array(
        [
            [0.10, 0.05, 0.05, 0.90, 0.05],
            [0.05, 0.80, 0.20, 0.05, 0.05],
            [0.05, 0.05, 0.05, 0.05, 0.95],
            [0.60, 0.70, 0.05, 0.05, 0.05],
            [0.05, 0.05, 0.02, 0.05, 0.05],
        ]
    )
    return corpus, probabilities


def test_disagreements_come_most_confident_first(five_texts: tuple[Corpus, np.ndarray]) -> None:
    corpus, probabilities = five_texts
    found = error_analysis(probabilities, corpus)
    # b and e both miss fear: e, where the model thinks less of it, stands for the pair
    assert [d.id for d in found.disagreements] == ["a", "d", "e"]
    assert_allclose([d.confidence for d in found.disagreements], [0.8, 0.6, -0.02])
    other, added, missed = found.disagreements
    assert (other.annotated, other.predicted) == ("joy", "curiosity")
    assert other.text == "what a find"
    assert other.probabilities == pytest.approx({"joy": 0.1, "curiosity": 0.9})
    assert (added.annotated, added.predicted) == (None, "joy")
    assert (added.labels, added.predictions) == (("anger",), ("joy", "anger"))
    assert (missed.annotated, missed.predicted, missed.predictions) == ("fear", None, ())
    both = error_analysis(probabilities, corpus, each_pair=2)
    assert [d.id for d in both.disagreements] == ["a", "d", "e", "b"]
    assert len(error_analysis(probabilities, corpus, top=1).disagreements) == 1


def test_label_pairs_are_counted(five_texts: tuple[Corpus, np.ndarray]) -> None:
    corpus, probabilities = five_texts
    found = error_analysis(probabilities, corpus)
    counted = [(p.annotated, p.predicted, p.texts) for p in found.pairs]
    assert counted == [("fear", None, 2), (None, "joy", 1), ("joy", "curiosity", 1)]
    joy, anger, fear, curiosity, neutral = range(5)
    assert found.confusion[joy, curiosity] == 1
    assert found.confusion[anger, anger] == 2
    assert found.confusion[neutral, neutral] == 1
    assert found.confusion.sum() == 4
    assert found.annotated_together[anger, fear] == found.annotated_together[fear, anger] == 1
    assert found.predicted_together[joy, anger] == 1
    assert_array_equal(np.diag(found.annotated_together), corpus.labels.sum(axis=0))
    assert json.loads(json.dumps(found.to_dict()))["confusion"][joy][curiosity] == 1


def test_no_disagreement_with_oneself(test: Corpus) -> None:
    found = error_analysis(test.labels.astype(float), test)
    assert found.disagreements == ()
    assert found.pairs == ()


def test_a_disagreement_about_the_one_label(exclusive: Corpus) -> None:
    probabilities = exclusive.labels * 0.1
    probabilities[4] = [0.3, 0.1, 0.2]
    (found,) = error_analysis(probabilities, exclusive).disagreements
    assert (found.annotated, found.predicted) == ("calm", "glad")
    assert found.confidence == pytest.approx(0.3 - 0.1)
