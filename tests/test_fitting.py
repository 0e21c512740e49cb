"""`emodef fit` on a real small graph: what it writes, reads, keeps and refuses; and that it needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from commands import emodef_command
from emodef.definitions import read_labels
from emodef.errors import DataError, LabelSetError, SettingsError
from emodef.fitting import fit
from emodef.fitting.fitted import starting_head
from emodef.labels import LabelSet
from emodef.predictor import Predictor
from emodef.predictor.core import SHIPPED
from emodef.predictor.head import unit
from tiny_light import build_tiny_light

MEANT = {
    "calm": "Quiet and at rest",
    "rush": "In a hurry, with too little time",
    "bliss": "A feeling of great happiness",
}
SAID = {
    "calm": ("the meeting is in the chairs", "that platform is so", "in the chairs you is"),
    "rush": ("why how why am", "I wonder how and why", "how is it, how, how"),
    "bliss": ("happy and glad and lovely", "thanks, great, so happy", "a lovely lovely great"),
}


def rows(
    number: int = 30, labels: tuple[str, ...] = ("calm", "rush", "bliss")
) -> tuple[list[str], list[list[str]]]:
    texts, chosen = [], []
    for row in range(number):
        label = labels[row % len(labels)]
        texts.append(f"{SAID[label][row // len(labels) % 3]} {'abcdefghijklmnopqrstuvwxyz'[row % 26]} {row}")
        chosen.append([label])
    return texts, chosen


def test_it_learns_and_its_folder_answers_alike(predictor: Predictor, tmp_path: Path) -> None:
    texts, labels = rows()
    fitted = fit(predictor, texts, labels, MEANT)
    expected = fitted.predictor().predict_proba(texts)
    assert (expected.argmax(1) == [list(MEANT).index(each[0]) for each in labels]).all()
    loaded = Predictor.load(fitted.save(tmp_path / "mine"), threads=1)
    np.testing.assert_array_equal(loaded.predict_proba(texts), expected)
    assert loaded.label_set.names == tuple(MEANT)
    assert loaded.info.thresholds == fitted.info.thresholds
    assert [label.name for label in loaded.predict("happy, happy and glad").labels] == ["bliss"]
    assert (fitted.about["macro_f1"]["fitted"] or 0) > (fitted.about["macro_f1"]["definitions"] or 0)
    assert (tmp_path / "mine" / "model.onnx").exists()  # not the model emodef brings: it lies beside the head
    card = (tmp_path / "mine" / "README.md").read_text(encoding="utf-8")
    assert "30 labelled texts" in card
    assert all(f"| {name} | 10 |" in card for name in MEANT)


def test_the_strongest_prior_is_zero_shot(predictor: Predictor) -> None:
    texts, labels = rows()
    alone = predictor.with_labels(MEANT)
    head, thresholds = starting_head(predictor, read_labels(MEANT))
    np.testing.assert_allclose(
        head.probabilities(predictor.embed(texts)), alone.predict_proba(texts), rtol=1e-5, atol=1e-7
    )
    assert thresholds["fixed"] == 0.3
    fitted = fit(predictor, texts, labels, MEANT, strength=1e9)
    np.testing.assert_allclose(fitted.head.weight, head.weight, atol=1e-6)
    biases = fit(predictor, texts, labels, MEANT, strength=np.inf)
    np.testing.assert_array_equal(biases.head.weight, head.weight)
    assert np.abs(biases.head.bias - head.bias).max() > 0.1
    assert biases.about["strength"] is None


def test_labels_as_names_lists_and_numbers_are_the_same(predictor: Predictor) -> None:
    texts, labels = rows()
    hot = read_labels(MEANT).label_set.multi_hot(labels)
    numbers = hot.tolist()
    given_as = (
        labels,
        [each[0] for each in labels],
        hot,
        numbers,
        [tuple(map(bool, row)) for row in numbers],
    )
    heads = [fit(predictor, texts, given, MEANT).head for given in given_as]
    for other in heads[1:]:
        np.testing.assert_array_equal(other.weight, heads[0].weight)


def test_texts_and_labels_may_be_iterators(predictor: Predictor) -> None:
    texts, labels = rows()
    wanted = fit(predictor, texts, labels, MEANT, dev=(texts[:6], labels[:6]))
    found = fit(predictor, iter(texts), iter(labels), MEANT, dev=(iter(texts[:6]), iter(labels[:6])))
    np.testing.assert_array_equal(found.head.weight, wanted.head.weight)
    assert found.about == wanted.about


def test_one_label_a_text_is_softmax(predictor: Predictor, tmp_path: Path) -> None:
    exclusive = LabelSet("moods", tuple(MEANT), tuple(MEANT.values()), exclusive=True)
    texts, labels = rows()
    fitted = fit(predictor, texts, labels, exclusive)
    found = Predictor.load(fitted.save(tmp_path), threads=1).predict_proba(texts)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert "tuned" not in fitted.info.thresholds
    with pytest.raises(DataError, match="text 2 has 2 labels"):
        fit(predictor, texts, [["calm"], ["calm", "rush"], *labels[2:]], exclusive)


def test_a_label_without_a_text_stays_at_its_definition(predictor: Predictor) -> None:
    texts, labels = rows(labels=("calm", "rush"))
    fitted = fit(predictor, texts, labels, MEANT)
    np.testing.assert_array_equal(fitted.head.weight[2], fitted.start.weight[2])
    assert fitted.head.bias[2] == fitted.start.bias[2]
    assert fitted.info.thresholds["tuned"]["labels"][2] == pytest.approx(0.3)
    assert any("no text has bliss" in note for note in fitted.notes)


def test_a_known_label_begins_as_the_model_learned_it(predictor: Predictor) -> None:
    meant = {"joy": "Any words at all", "calm": "Quiet and at rest"}
    match = predictor.info.match
    assert match is not None
    joy = unit(predictor.embed([f"joy: {predictor.label_set.definitions[0]}"]))[0] * match.scale
    start, _ = starting_head(predictor, read_labels(meant), known=["joy"])
    np.testing.assert_allclose(start.weight[0], joy, atol=1e-6)
    assert start.bias[0] == pytest.approx(match.bias[0])
    alike, _ = starting_head(predictor, read_labels({**meant, "exclusive": True}), known=["joy"])
    np.testing.assert_array_equal(alike.weight, start.weight)
    assert alike.exclusive
    with pytest.raises(SettingsError, match="'anger' is none of the labels"):
        starting_head(predictor, read_labels(meant), known=["anger"])


def test_a_threshold_of_the_users_own_stays(predictor: Predictor) -> None:
    texts, labels = rows()
    meant: dict[str, Any] = {**MEANT, "rush": {"definition": MEANT["rush"], "threshold": 0.77}}
    thresholds = fit(predictor, texts, labels, meant).info.thresholds["tuned"]["labels"]
    assert thresholds[1] == 0.77
    assert 0.77 not in (thresholds[0], thresholds[2])


def test_coarser_levels_have_thresholds_too(predictor: Predictor, tmp_path: Path) -> None:
    levelled = LabelSet.from_dict(
        {
            "name": "mine",
            "labels": [{"name": name, "definition": text} for name, text in MEANT.items()],
            "mappings": {"sentiment": {"calm": "neutral", "rush": "negative", "bliss": "positive"}},
        }
    )
    fitted = fit(predictor, *rows(), levelled)
    assert len(fitted.info.thresholds["tuned"]["sentiment"]) == len(levelled.coarse["sentiment"])
    found = Predictor.load(fitted.save(tmp_path), threads=1).predict("happy, glad", level="sentiment")
    assert [label.name for label in found.labels] == ["positive"]
    through = {"calm": "neutral", "rush": "anger", "bliss": "joy"}
    to_ekman = LabelSet("mine", tuple(MEANT), tuple(MEANT.values()), {"ekman": through})
    fitted = fit(predictor, *rows(), to_ekman)
    assert set(fitted.info.label_set.mappings) == {"ekman", "sentiment"}  # as without labelled texts
    found = Predictor.load(fitted.save(tmp_path), threads=1).predict("happy, glad", level="sentiment")
    assert [label.name for label in found.labels] == ["positive"]


def test_a_dev_split_is_used(predictor: Predictor) -> None:
    texts, labels = rows(48)
    fitted = fit(predictor, texts[:24], labels[:24], MEANT, dev=(texts[24:], labels[24:]))
    assert fitted.about["judged"] == "dev"
    assert fitted.chosen.truth.shape == (24, 3)


def test_a_model_that_does_not_match_begins_with_nothing(tmp_path: Path) -> None:
    plain = Predictor.load(build_tiny_light(tmp_path / "plain", match=None, scores="emotion"), threads=1)
    texts, labels = rows()
    fitted = fit(plain, texts, labels, MEANT)
    assert not fitted.start.weight.any()
    assert fitted.about["macro_f1"]["definitions"] is None
    assert (Predictor.load(fitted.save(tmp_path / "mine"), threads=1).predict_proba(texts).argmax(1) == [
        list(MEANT).index(each[0]) for each in labels
    ]).all()  # fmt: skip
    with pytest.raises(DataError, match="no text has bliss"):
        fit(plain, *rows(labels=("calm", "rush")), MEANT)


@pytest.mark.parametrize(
    ("texts", "labels", "words"),
    [
        (["one", "two"], [["calm"], ["rush"]], "2 labelled texts are fewer than the 3 labels"),
        (["one", "  ", "three"], [["calm"]] * 3, "text 2 is empty"),
        (["one", "two", "three"], [["calm"]] * 2, "labels are"),
        (["one", "two", "three"], [[], [], []], "no text has a label"),
        (["one", None, "three"], [["calm"]] * 3, "texts: text 2 of 3 is NoneType"),
        (["one", "two", "three"], ["calm", "rush", None], "text 3 has the label None, neither a name nor"),
        (["one", "two", "three"], ["calm", float("nan"), "rush"], "text 2 has the label nan"),
        (["one", "two", "three"], [0, 1, 1], "text 1 has the label 0, neither a name nor"),
        (["one", "two", "three"], [["calm"], ["rush", 1], []], "text 2 has 1 among its labels"),
        (["one", "two", "three"], [[0], [1], [2]], "text 1 has 1 numbers, and there are 3 labels"),
        (["one", "two", "three"], [[0, 0, 1], [0, 2, 0], [1, 0, 0]], "text 2 has 2 for 'rush'; give 1"),
        (["one", "two", "three"], None, "labels are None; give a list"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    predictor: Predictor, texts: list[str], labels: Any, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        fit(predictor, texts, labels, MEANT)


def test_unknown_labels_and_wrong_options_are_refused(predictor: Predictor, tmp_path: Path) -> None:
    texts, labels = rows()
    with pytest.raises(LabelSetError, match=r"'calmness'.*did you mean calm"):
        fit(predictor, texts, [["calmness"], *labels[1:]], MEANT)
    with pytest.raises(SettingsError, match="strength = 0"):
        fit(predictor, texts, labels, MEANT, strength=0)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="holds something else"):
        fit(predictor, texts, labels, MEANT).save(tmp_path)


# The command


@pytest.fixture
def files(put: Callable[[Mapping[str, str | bytes]], Path]) -> Path:
    texts, labels = rows()
    table = "text,label\n" + "".join(f'"{t}",{name[0]}\n' for t, name in zip(texts, labels, strict=True))
    toml = "".join(f'{name} = "{meaning}"\n' for name, meaning in MEANT.items())
    return put({"mine.csv": table, "mine.toml": toml})


def test_the_command_fits_predicts_and_evaluates(files: Path, tiny_light: Path) -> None:
    out = files / "out"
    given = [
        "fit",
        "--data",
        files / "mine.csv",
        "--labels",
        files / "mine.toml",
        "--model",
        tiny_light,
        "--threads",
        1,
    ]
    told = emodef_command(*given, "--out", out, "--test-share", 0.2)
    assert "fitted, cross-validated" in told.output
    assert "test texts" in told.output
    again = emodef_command(*given, "--out", out, "--json", "--quiet")  # a head may be replaced
    about = json.loads(again.stdout)
    assert about["support"] == dict.fromkeys(MEANT, 10)
    found = emodef_command("predict", "--model", out, "happy and glad", "--json")
    assert json.loads(found.stdout)["predicted"] == ["bliss"]
    parts = files / "parts.csv"
    table = (files / "mine.csv").read_text(encoding="utf-8").splitlines()
    splits = ["split", *(("holdout",) * 3), *(["train"] * (len(table) - 4))]
    parts.write_text(
        "\n".join(f"{row},{part}" for row, part in zip(table, splits, strict=True)), encoding="utf-8"
    )
    swapped = [part if part != files / "mine.csv" else parts for part in given]
    noted = emodef_command(*swapped, "--split-column", "split", "--out", files / "part")
    assert "splits that are not used: holdout (3 texts)" in noted.stderr
    measured = emodef_command("evaluate", out, "--data", files / "mine.csv", "--json")
    assert json.loads(measured.stdout)
    more = emodef_command(
        *given[:1], *given[1:5], "--model", out, "--out", files / "third"
    )  # on a fitted folder's own model
    assert "saved in" in more.output


def test_the_command_names_file_row_and_remedy(files: Path, tiny_light: Path) -> None:
    def told(table: str, *options: object, code: int = 3) -> str:
        (files / "mine.csv").write_text(table, encoding="utf-8")
        given = ("fit", "--data", files / "mine.csv", "--labels", files / "mine.toml", "--model", tiny_light)
        return emodef_command(*given, "--out", files / "out", *options, code=code).output

    assert "mine.csv:3" in told("text,label\none,calm\ntwo,peace\nthree,rush\n")
    assert "mine.csv:3" in told("text,label\none,calm\n ,calm\nthree,rush\n")
    few = told("text,label\none,calm\ntwo,rush\n")
    assert "2 labelled texts are fewer than the 3 labels" in few
    assert "emodef predict --labels" in few
    none = emodef_command("fit", "--data", files / "mine.csv", "--out", files / "out", code=2).output
    assert "labels skeleton" in none
    (files / "full").mkdir()
    (files / "full" / "thing").write_text("x")
    given = ("fit", "--data", files / "mine.csv", "--labels", files / "mine.toml", "--out", files / "full")
    assert "holds something else" in emodef_command(*given, code=2).output


def test_texts_without_labels_count_where_they_may(files: Path, tiny_light: Path) -> None:
    with (files / "mine.csv").open("a", encoding="utf-8") as table:
        table.writelines(f"xyz zyx {row},\n" for row in range(5))
    given = ("fit", "--data", files / "mine.csv", "--labels", files / "mine.toml", "--model", tiny_light)
    emodef_command(*given, "--out", files / "out", code=3)
    told = emodef_command(*given, "--out", files / "out", "--allow-unlabelled", "--json")
    assert json.loads(told.stdout)["fitted_on"]["texts"] == 35


@pytest.mark.skipif(not (SHIPPED / "model.onnx").exists(), reason="no shipped model in this checkout")
def test_on_the_model_emodef_brings_a_head_is_all_there_is(files: Path) -> None:
    out = files / "mine"
    emodef_command(
        "fit", "--data", files / "mine.csv", "--labels", files / "mine.toml", "--out", out, "--threads", 1
    )
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "head.json", "head.npz"]
    found = emodef_command("predict", "--model", out, "happy and glad, lovely", "--json")
    assert json.loads(found.stdout)["predicted"] == ["bliss"]
    measured = emodef_command("evaluate", out, "--data", files / "mine.csv")
    assert "macro average" in measured.output
    untold = emodef_command("evaluate", out, code=2)
    assert "name the texts with --data" in untold.output


def test_it_needs_no_torch(files: Path, tiny_light: Path) -> None:
    script = (
        "import sys\n"
        "from emodef.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'scipy', 'polars', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    given = ["fit", "--data", "mine.csv", "--labels", "mine.toml", "--model", str(tiny_light), "--out", "o"]
    done = subprocess.run(
        [sys.executable, "-c", script, *given], cwd=files, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
