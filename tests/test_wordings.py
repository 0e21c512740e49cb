"""`emodef labels compare`: several wordings of the same labels on the same texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.definitions import read_labels
from emodef.errors import DataError
from emodef.labels import LabelSet
from emodef.predictor import Predictor
from emodef.predictor.unseen import POLICIES
from emodef.wordings import compare_wordings, wordings_table

TEXTS = ["so happy and glad", "i hate this", "scared of it", "lovely, happy", "furious and angry", "worried"]
ANSWERS = [0, 1, 2, 0, 1, 2]
GOOD = {"glee": "so happy and glad", "rage": "furious hate", "dread": "scared and worried"}
POOR = {"dread": "the meeting", "glee": "it is so", "rage": "in that platform"}  # in another order


def corpus(exclusive: bool) -> Corpus:
    labels = np.eye(3, dtype=np.uint8)[ANSWERS]
    own = LabelSet("moods", tuple(GOOD), tuple(GOOD.values()), exclusive=exclusive)
    return Corpus("moods", "all", TEXTS, labels, own, [str(i) for i in range(len(TEXTS))])


@pytest.fixture
def predictor(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=1)


def test_a_wording_scores_as_its_predictor_does(predictor: Predictor) -> None:
    given = {"good": read_labels(GOOD), "poor": read_labels(POOR)}
    found = compare_wordings(given, corpus(False), predictor, policies=("mean", "centred"), bootstrap=50)
    assert [(each.name, each.policy) for each in found] == [
        (name, policy) for name in ("good", "poor") for policy in ("mean", "centred")
    ]
    for each in found:
        own = predictor.with_labels({"good": GOOD, "poor": POOR}[each.name], policy=each.policy)
        columns = [list(GOOD).index(name) for name in own.label_set.names]
        truth = corpus(False).labels[:, columns]
        scores = own.predict_proba(TEXTS)
        expected = roc_auc_score(truth, scores, average="macro")
        assert each.macro_auc.value == pytest.approx(expected, abs=1e-6)
        chosen = scores >= own.info.thresholds["fixed"]
        assert each.macro_f1.value == pytest.approx(
            f1_score(truth, chosen, average="macro", zero_division=0), abs=1e-6
        )
    assert found[0].macro_auc.value > found[2].macro_auc.value
    rows = wordings_table(found, corpus(False)).rows
    assert [row[0] for row in rows] == ["good", "poor", "mean of these"]


def test_labels_that_differ_are_refused(predictor: Predictor) -> None:
    changed = {"fright" if name == "dread" else name: text for name, text in GOOD.items()}
    with pytest.raises(DataError, match="mine lacks labels of moods: dread; write"):
        compare_wordings({"mine": read_labels(changed)}, corpus(False), predictor)
    more = {**GOOD, "fright": "A sudden fear"}
    with pytest.raises(DataError, match="mine has labels that moods does not have: fright; take"):
        compare_wordings({"mine": read_labels(more)}, corpus(False), predictor)
    with pytest.raises(DataError, match="have one label; write exclusive = true in mine"):
        compare_wordings({"mine": read_labels(GOOD)}, corpus(True), predictor)


def test_the_command(tmp_path: Path, tiny_light: Path) -> None:
    for name, labels in (("good", GOOD), ("poor", POOR)):
        lines = ["exclusive = true", *(f"{label} = {text!r}" for label, text in labels.items())]
        (tmp_path / f"{name}.toml").write_text("\n".join(lines), encoding="utf-8")
    with (tmp_path / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([text, list(GOOD)[answer]] for text, answer in zip(TEXTS, ANSWERS, strict=True))
    given = ["labels", "compare", str(tmp_path / "good.toml"), str(tmp_path / "poor.toml")]
    given += ["--data", str(tmp_path / "texts.csv"), "--model", str(tiny_light)]
    found = json.loads(emodef_command(*given, "--policy", "all", "--json").stdout)
    assert {each["policy"] for each in found} == set(POLICIES) - {"mean_tuned"}
    assert {each["name"] for each in found} == {"good", "poor"}
    page = tmp_path / "page.md"
    emodef_command(*given, "--out", str(page), "--heading", "Two ways")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Two ways\n")
    assert "| mean of these |" in text
    wrong = emodef_command(*given, "--policy", "best", code=2)
    assert "policy 'best'" in wrong.stderr
    twice = emodef_command("labels", "compare", given[2], given[2], *given[4:], code=2)
    assert "two are called 'good'" in twice.stderr
    named = emodef_command("labels", "compare", given[2], f"again={given[2]}", *given[4:], "--json")
    first, second = json.loads(named.stdout)
    assert second == first | {"name": "again"}
