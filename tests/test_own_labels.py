"""Own labels in the light predictor: scored from definitions alone, beside known ones that keep what they have."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emodef.definitions import Definitions, read_labels
from emodef.errors import DataError, LabelSetError, SettingsError
from emodef.predictor import Predictor
from emodef.predictor.cache import Remembered
from emodef.predictor.head import HeadInfo, LabelHead
from emodef.predictor.model_file import MatchInfo
from emodef.predictor.own import ordinary
from tiny_light import LABELS, build_tiny_light

OWN = {
    "glee": "so happy and glad",
    "rage": "furious hate, angry hate",
    "platform": "the meeting is on a platform",
}
TEXTS = ["I am so happy", "so furious, angry!", "the meeting", "", "happy " * 100, "scared of it"]
BIAS = (-1.0, -2.0, -1.5, -0.5, -3.0)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A light model with a scale and biases that tell labels apart."""
    folder = tmp_path_factory.mktemp("light")
    return build_tiny_light(folder, match=MatchInfo("{name}: {definition}", 6.0, BIAS))


@pytest.fixture
def predictor(light: Path) -> Predictor:
    return Predictor.load(light, threads=2)


def by_hand(
    predictor: Predictor, texts: list[str], written: list[list[str]], background: list[str] | None = None
) -> np.ndarray:
    """Probabilities as the method says: cosine with the mean of unit vectors, times the scale, plus the mean bias, less half of
    how much nearer to ordinary texts the label is than the trained labels are."""

    def unit(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)

    labels = unit(np.stack([unit(predictor.embed(each).astype(np.float64)).mean(0) for each in written]))
    known = unit(
        predictor.embed([f"{n}: {d}" for n, d in zip(LABELS.names, LABELS.definitions, strict=True)])
    )
    middle = unit(predictor.embed(background or ordinary())).mean(0)
    bias = np.mean(BIAS) - 0.5 * 6.0 * (labels @ middle - np.mean(known @ middle))
    return 1 / (1 + np.exp(-(6.0 * unit(predictor.embed(texts)) @ labels.T + bias)))


# ---- what they score


def test_scores_are_cosines_with_definitions(predictor: Predictor) -> None:
    short = [text for text in TEXTS if len(text) < 100]
    found = predictor.score(short, OWN)
    assert found.dtype == np.float32
    assert found.shape == (5, 3)
    expected = by_hand(predictor, short, [[f"{name}: {text}"] for name, text in OWN.items()])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found[0].argmax() == 0
    assert found[1].argmax() == 1
    assert found[2].argmax() == 2


def test_several_definitions_are_averaged(predictor: Predictor) -> None:
    labels = {"glee": ["so happy", "so glad"], "rage": "furious hate"}
    written = [["glee: so happy", "glee: so glad"], ["rage: furious hate"]]
    np.testing.assert_allclose(
        predictor.score(TEXTS[:3], labels), by_hand(predictor, TEXTS[:3], written), atol=1e-5
    )


def test_examples_are_averaged_and_their_likeness_to_any_text_taken_out(predictor: Predictor) -> None:
    background = ["the meeting", "why is it so", "scared and happy"]
    short = {"glee": "so happy", "rage": "furious hate"}
    labels = {"glee": {"definition": "so happy", "examples": ["lovely!"]}, "rage": "furious hate"}
    plain, own = (predictor.with_labels(each, background=background) for each in (short, labels))
    written = [["glee: so happy", "glee: lovely!"], ["rage: furious hate"]]
    expected = by_hand(predictor, TEXTS[:3], written, background)
    odds = [np.log(p / (1 - p)) for p in (own.predict_proba(TEXTS[:3]), expected)]
    shift = odds[0] - odds[1]
    np.testing.assert_allclose(shift[:, 1], 0, atol=1e-4)
    np.testing.assert_allclose(shift[:, 0], shift[0, 0], atol=1e-4)
    texts = predictor.embed(background)
    assert plain.head is not None
    assert own.head is not None
    np.testing.assert_allclose(
        plain.head.logits(texts).mean(axis=0), own.head.logits(texts).mean(axis=0), atol=1e-4
    )
    once = predictor.with_labels(labels, background=(text for text in background))  # type: ignore[arg-type]
    np.testing.assert_array_equal(once.predict_proba(TEXTS), own.predict_proba(TEXTS))
    one, same = (predictor.with_labels(labels, background=each) for each in (background[0], background[:1]))
    np.testing.assert_array_equal(one.predict_proba(TEXTS), same.predict_proba(TEXTS))
    with pytest.raises(SettingsError, match="background holds no text"):
        predictor.with_labels(labels, background=[])
    assert predictor.score(TEXTS, labels).shape == (6, 2)  # with the sentences that emodef brings


def test_a_long_text_is_the_mean_of_its_windows(predictor: Predictor) -> None:
    text = "happy " * 50 + "meeting " * 50
    own = predictor.with_labels(OWN)
    found = own.predict(text)
    assert found.windows > 1
    parts = np.array([[part.scores[name] for name in OWN] for part in found.parts])
    np.testing.assert_allclose(found.probabilities, parts.mean(axis=0), atol=1e-6)
    assert parts[0, 0] > parts[-1, 0]
    np.testing.assert_array_equal(own.predict_proba(text)[0], found.probabilities)


def test_own_labels_are_a_predictor(predictor: Predictor) -> None:
    own = predictor.with_labels(OWN)
    assert own.label_set.names == tuple(OWN)
    assert own.threads == 2
    assert (own.embed(TEXTS) == predictor.embed(TEXTS)).all()
    found = own.predict(TEXTS, threshold=0.3)
    assert [label.name for label in found[0].labels][:1] == ["glee"]
    assert own.predict(TEXTS)[0].labels == own.predict(TEXTS, threshold="fixed")[0].labels
    explained = own.explain("I am so happy, the meeting", labels="glee")
    assert explained.strongest("glee", 1)[0].text == "happy"
    assert explained.labels[0].score == pytest.approx(
        float(own.predict_proba("I am so happy, the meeting")[0, 0])
    )
    assert own.definition_proba(["so"], ["x"]).shape == (1,)
    assert own.predict_proba([]).shape == (0, 3)
    assert predictor.predict_proba(TEXTS).shape == (6, 5)


def test_a_text_alone_or_among_others(predictor: Predictor) -> None:
    own = predictor.with_labels(OWN, known=["joy"])
    many = own.predict_proba(TEXTS * 30)
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(own.predict_proba(text)[0], many[i], atol=1e-6)


# ---- known labels


def test_known_labels_keep_their_probabilities_to_the_bit(predictor: Predictor) -> None:
    raw = predictor.predict_proba(TEXTS)
    every = predictor.with_labels(OWN, known=True)
    assert every.label_set.names == (*OWN, *LABELS.names)
    found = every.predict_proba(TEXTS)
    np.testing.assert_array_equal(found[:, 3:], raw)
    np.testing.assert_allclose(found[:, :3], predictor.score(TEXTS, OWN), atol=1e-7)
    tuned = predictor.info.thresholds["tuned"]["tiny"]
    assert every.info.thresholds["tuned"][every.label_set.name] == [0.3] * 3 + list(tuned)
    some = predictor.with_labels(OWN, known=("fear", "joy"))
    assert some.label_set.names == (*OWN, "fear", "joy")
    np.testing.assert_array_equal(some.predict_proba(TEXTS)[:, 3:], raw[:, [2, 0]])
    predicted = {label.name for label in predictor.predict(TEXTS)[0].labels}
    assert predicted == {label.name for label in every.predict(TEXTS)[0].labels} - set(OWN)


def test_some_known_labels_alone(predictor: Predictor) -> None:
    few = predictor.with_labels(known=["fear", "joy"])
    np.testing.assert_array_equal(
        few.predict_proba(TEXTS, calibrated=True), predictor.predict_proba(TEXTS, calibrated=True)[:, [2, 0]]
    )
    assert few.predict_proba(TEXTS, level="sentiment").shape == (6, 2)
    whole = predictor.with_labels(known=True)
    assert whole.label_set == predictor.label_set
    assert whole.info.thresholds == predictor.info.thresholds


def test_a_label_of_both(predictor: Predictor) -> None:
    both = {"joy": "the meeting is on a platform", "platform": "a platform"}
    with pytest.raises(LabelSetError, match="'joy': in your labels and among the model's"):
        predictor.with_labels(both, known=True)
    own = predictor.with_labels(both)
    assert own.predict_proba("meeting")[0, 0] > predictor.predict_proba("meeting")[0, 0]
    taken = predictor.with_labels(both, known=["joy"])
    assert taken.label_set.names == ("joy", "platform")
    assert taken.label_set.definitions[0] == LABELS.definitions[0]
    np.testing.assert_array_equal(taken.predict_proba(TEXTS)[:, 0], predictor.predict_proba(TEXTS)[:, 0])
    with pytest.raises(LabelSetError, match="no label 'joyy'; did you mean joy"):
        predictor.with_labels(OWN, known=["joyy"])
    with pytest.raises(SettingsError, match="no labels to score"):
        predictor.with_labels()


def test_own_over_own(predictor: Predictor) -> None:
    first = predictor.with_labels(OWN)
    second = first.with_labels({"dread": "scared of it"}, known=["glee"])
    np.testing.assert_array_equal(second.predict_proba(TEXTS)[:, 1], first.predict_proba(TEXTS)[:, 0])
    np.testing.assert_allclose(
        second.predict_proba(TEXTS)[:, :1], predictor.score(TEXTS, {"dread": "scared of it"}), atol=1e-7
    )
    assert second.root is predictor
    assert len(second.layers) == 2
    again = predictor
    for layer in second.layers:
        again = layer.over(again)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), second.predict_proba(TEXTS))


def test_head_says_all_labels(predictor: Predictor) -> None:
    every = predictor.with_labels(OWN, known=["anger"], policy="mean")
    head = every.head
    assert head is not None
    written = {**OWN, "anger": LABELS.definitions[1]}
    expected = predictor.with_labels(written, policy="mean").predict_proba(TEXTS[:4])
    found = head.probabilities(predictor.embed(TEXTS[:4]))
    np.testing.assert_allclose(found[:, :3], expected[:, :3], atol=1e-6)
    # the known label's own bias in place of the mean one
    shift = BIAS[1] - np.mean(BIAS)
    logits = np.log(found[:, 3] / (1 - found[:, 3])) - np.log(expected[:, 3] / (1 - expected[:, 3]))
    np.testing.assert_allclose(logits, shift, atol=1e-4)


# ---- thresholds, levels, calibration


def test_thresholds(predictor: Predictor) -> None:
    labels = {name: {"definition": text} for name, text in OWN.items()}
    labels["rage"]["threshold"] = 0.05  # type: ignore[assignment]
    own = predictor.with_labels(labels)
    assert own.info.thresholds == {"fixed": 0.3, "tuned": {"labels": [0.3, 0.05, 0.3]}}
    assert "tuned" not in predictor.with_labels(OWN).info.thresholds
    with pytest.raises(SettingsError, match="no thresholds tuned for labels"):
        predictor.with_labels(OWN).predict(TEXTS, threshold="tuned")
    tuned = predictor.with_labels(OWN, policy="mean_tuned").info.thresholds["tuned"]["labels"]
    np.testing.assert_allclose(tuned, np.mean(predictor.info.thresholds["tuned"]["tiny"]))
    with pytest.raises(SettingsError, match="policy 'best'; there are mean"):
        predictor.with_labels(OWN, policy="best")


def test_levels_of_own_and_known_labels(predictor: Predictor) -> None:
    mapped = {
        **OWN,
        "mappings": {"sentiment": {"glee": "positive", "rage": "negative", "platform": "neutral"}},
    }
    own = predictor.with_labels(mapped, known=True)
    assert own.levels == ("sentiment",)
    fine, coarse = own.predict_proba(TEXTS), own.predict_proba(TEXTS, level="sentiment")
    labels, groups = own.label_set.groups("sentiment")
    assert (coarse[:, groups] >= fine).all()
    for k in range(len(labels)):
        np.testing.assert_array_equal(coarse[:, k], fine[:, groups == k].max(axis=1))
    assert {label.name for label in own.predict("I am so happy", level="sentiment").labels} >= {"positive"}
    with pytest.raises(LabelSetError, match=r"no level 'sentiment'; .* \[mappings.sentiment\]"):
        predictor.with_labels(OWN, known=True).predict(TEXTS, level="sentiment")


def test_levels_lead_to_higher_levels(predictor: Predictor) -> None:
    mapped = {"glee": "so happy", "rage": "awful", "mappings": {"ekman": {"glee": "joy", "rage": "anger"}}}
    own = predictor.with_labels(mapped, known=["fear", "neutral"])
    assert own.levels == ("sentiment",)  # the tiny model's labels know no ekman
    values = own.predict_proba(TEXTS, level="sentiment")
    names = own.label_set.coarse["sentiment"].names
    assert set(names) == {"positive", "negative", "neutral"}
    fine = own.predict_proba(TEXTS)
    np.testing.assert_array_equal(values[:, names.index("negative")], fine[:, 1:3].max(axis=1))
    assert predictor.with_labels(mapped).levels == ("ekman", "sentiment")


def test_one_label_a_text(predictor: Predictor) -> None:
    own = predictor.with_labels({**OWN, "exclusive": True})
    found = own.predict_proba(TEXTS)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert all(len(each.labels) == 1 for each in own.predict(TEXTS))
    with pytest.raises(SettingsError, match=r"exclusive = true.* \(joy\) a text may have several; take"):
        predictor.with_labels({**OWN, "exclusive": True}, known=["joy"])
    kept = own.with_labels(known=list(OWN)[:2])  # known labels that are exclusive themselves stay so
    assert kept.label_set.exclusive


def test_calibration_is_of_known_labels_only(predictor: Predictor) -> None:
    with pytest.raises(SettingsError, match="own labels have none"):
        predictor.with_labels(OWN, known=True).predict(TEXTS, calibrated=True)


# ---- what is remembered


def counted(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    rows: list[int] = []
    run = predictor.graph.run

    def counting(batch: Any, *args: Any, **options: Any) -> Any:
        rows.append(len(batch.input_ids))
        return run(batch, *args, **options)

    monkeypatch.setattr(predictor.graph, "run", counting)
    return rows


def test_definitions_are_encoded_once(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = counted(predictor, monkeypatch)
    first = predictor.score(["so"], OWN)
    begun = sum(rows)
    assert begun >= 4 + len(LABELS) + len(
        ordinary()
    )  # what its biases are measured by, longer ones in windows
    for _ in range(3):
        np.testing.assert_array_equal(predictor.score(["so"], dict(OWN)), first)
    assert sum(rows) == begun + 3
    predictor.score(["so"], {**OWN, "dread": "scared"})
    assert sum(rows) == begun + 5  # the text and one definition
    predictor.score(["so"], OWN, known=True)
    assert sum(rows) == begun + 6


def test_what_is_remembered_is_bounded() -> None:
    kept: Remembered[int] = Remembered(3)
    for i in range(10):
        kept.put(i, i)
        kept.get(7)
    assert len(kept) == 3
    assert [kept.get(i) for i in (6, 7, 8, 9)] == [None, 7, 8, 9]


def test_changed_definitions_are_other_labels(predictor: Predictor) -> None:
    first = predictor.score("so happy", {"glee": "so happy"})
    assert (predictor.score("so happy", {"glee": "the platform"}) < first).all()
    assert (predictor.score("so happy", {"glee": "so happy", "other": "x"}).shape) == (1, 2)


def test_many_threads_share_one_predictor(predictor: Predictor) -> None:
    expected = [predictor.score(TEXTS, {**OWN, f"n{i}": f"number {i}"}) for i in range(4)]
    fresh = Predictor.load(predictor.graph.path.parent, threads=2)
    found: list[Any] = [None] * 16

    def work(i: int) -> None:
        found[i] = fresh.score(TEXTS, {**OWN, f"n{i % 4}": f"number {i % 4}"})

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(16):
        np.testing.assert_allclose(found[i], expected[i % 4], atol=1e-6)


def _in_child(own: Predictor, connection: Any) -> None:
    connection.send(own.predict_proba(TEXTS))
    connection.send(own.with_labels({"new": "why how"}, known=True).predict_proba(TEXTS))
    connection.close()


def test_a_forked_process_goes_on(predictor: Predictor) -> None:
    own = predictor.with_labels(OWN)
    here = own.predict_proba(TEXTS)
    with predictor.encodings._own_lock():  # as another thread may hold it at that moment
        context = multiprocessing.get_context("fork")
        mine, theirs = context.Pipe()
        process = context.Process(target=_in_child, args=(own, theirs))
        process.start()
        assert mine.poll(60)
        np.testing.assert_allclose(mine.recv(), here, atol=1e-6)
        assert mine.recv().shape == (6, 4)
        process.join(60)
    assert process.exitcode == 0


# ---- heads that were fitted


def test_a_model_that_never_read_definitions(tmp_path: Path) -> None:
    plain = Predictor.load(build_tiny_light(tmp_path, match=None, scores="emotion"))
    with pytest.raises(
        SettingsError, match="never learned to compare texts with definitions; what it has is a"
    ):
        plain.score("so", OWN)
    assert plain.head is None
    assert plain.with_labels(known=["joy"]).predict_proba("so").shape == (1, 1)
    definitions = read_labels(OWN).label_set
    head = LabelHead(np.ones((3, 13), np.float32), np.zeros(3, np.float32))
    assert plain.with_head(head, HeadInfo(definitions, "ab")).predict_proba("so").shape == (1, 3)


def test_bad_labels_and_texts_are_said(predictor: Predictor) -> None:
    with pytest.raises(LabelSetError, match="'glee' has an empty definition"):
        predictor.score("so", {"glee": ""})
    with pytest.raises(DataError, match="text 2 of 2 is NoneType"):
        predictor.score(["so", None], OWN)  # type: ignore[list-item]
    assert isinstance(read_labels(OWN), Definitions)
