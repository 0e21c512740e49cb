"""What a fitted head, its card and `emodef fit` say: judged on which texts, chosen by what; and what a killed save leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from commands import emodef_command
from emodef import atomic
from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.fitting import FittedHead, fit
from emodef.fitting.card import fitted_card
from emodef.fitting.selection import macro_f1, with_own
from emodef.labels import LabelSet
from emodef.measuring import light_reports
from emodef.metrics import decide
from emodef.predictor import Predictor
from emodef.predictor.head import unit
from test_fitting import MEANT, rows
from tiny_light import build_tiny_light

ONE_LABEL = LabelSet("moods", tuple(MEANT), tuple(MEANT.values()), exclusive=True)


def card(fitted: FittedHead) -> str:
    return fitted_card(fitted.info)


# Judged on which texts


def test_many_texts_are_judged_on_one_fold(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emodef.fitting.selection.MANY", 30)
    texts, labels = rows(60)
    labels[::4] = [["calm", "bliss"]] * 15  # not to be learned
    fitted = fit(predictor, texts, labels, MEANT)
    held = fitted.chosen.rows
    assert len(held) == fitted.about["judged_texts"] < 20
    truth = fitted.chosen.truth[held]
    vectors = unit(predictor.embed([texts[row] for row in held]))
    alone = macro_f1(truth, decide(fitted.start.probabilities(vectors), np.full(3, 0.3)))
    assert fitted.about["macro_f1"]["definitions"] == pytest.approx(alone)
    words = f"{len(held)} of the 60 fitted texts, one fifth that was held out, thresholds for a part of it"
    assert words in card(fitted)
    assert "chosen on a fold held out" in card(fitted)
    assert "without its fold" not in card(fitted)


def test_dev_says_what_was_chosen_on_it(predictor: Predictor) -> None:
    texts, labels = rows(48)
    given: dict[str, Any] = {"dev": (texts[24:], labels[24:])}
    several = card(fit(predictor, texts[:24], labels[:24], MEANT, **given))
    assert "the dev texts, on which its thresholds and the strength were chosen too:" in several
    one = card(fit(predictor, texts[:24], labels[:24], ONE_LABEL, **given))
    assert "the dev texts, on which the strength was chosen too:" in one
    fixed = card(fit(predictor, texts[:24], labels[:24], ONE_LABEL, strength=2, **given))
    assert "on the dev texts:" in fixed


def test_a_threshold_of_the_users_own_is_judged(predictor: Predictor) -> None:
    texts, labels = rows()
    meant: dict[str, Any] = {**MEANT, "rush": {"definition": MEANT["rush"], "threshold": 0.999}}
    fitted = fit(predictor, texts, labels, meant)
    assert fitted.info.thresholds["tuned"]["labels"][1] == 0.999
    assert fitted.about["macro_f1"]["fitted"] < 0.7  # rush is never predicted
    assert (fit(predictor, texts, labels, MEANT).about["macro_f1"]["fitted"] or 0) > 0.9
    np.testing.assert_array_equal(with_own(np.array([0.1, 0.2]), (None, 0.7)), [0.1, 0.7])


# Chosen by what


def test_a_given_strength_is_not_said_to_be_chosen(predictor: Predictor) -> None:
    texts, labels = rows()
    given = fit(predictor, texts, labels, MEANT, strength=7)
    assert given.about["strength_by"] == "given"
    assert "has strength 7, as was asked for." in card(given)
    assert "chosen" not in card(given)
    chosen = fit(predictor, texts, labels, MEANT)
    assert chosen.about["strength_by"] == "cross-validation"
    assert ", chosen by cross-validation." in card(chosen)
    same = fit(predictor, ["happy", "Happy!", "happy."], [["calm"], ["rush"], ["bliss"]], MEANT, strength=7)
    assert "the strength is the one given" in same.notes[0]
    assert "has strength 7, as was asked for. Thresholds are those used" in card(same)
    default = fit(predictor, ["happy", "Happy!", "happy."], [["calm"], ["rush"], ["bliss"]], MEANT)
    assert default.about["strength_by"] == "default"
    assert "the strength is the default" in default.notes[0]
    assert "has strength 3, the default." in card(default)


def test_a_measurement_says_how_thresholds_were_chosen(predictor: Predictor, tmp_path: Path) -> None:
    texts, labels = rows()
    same = ["happy", "Happy!", "happy."], [["calm"], ["rush"], ["bliss"]]  # of which nothing can be held out
    for how, (name, given) in {
        "per label, by cross-validation": ("folds", (texts, labels)),
        "per label, set without labelled texts": ("same", same),
    }.items():
        fit(predictor, *given, MEANT).save(tmp_path / name)
        head = Predictor.load(tmp_path / name, threads=1)
        corpus = Corpus("mine", "test", texts[:1], np.eye(1, 3, dtype=np.uint8), head.label_set, ["1"])
        assert light_reports(head, [corpus])["test tuned"].policy == how


def test_a_start_of_nothing_is_called_that(tmp_path: Path) -> None:
    plain = Predictor.load(build_tiny_light(tmp_path / "plain", match=None, scores="emotion"), threads=1)
    told = card(fit(plain, *rows(), MEANT))
    assert "a Gaussian prior around zero. The pull back to zero has strength" in told
    assert "the model's fixed one, 0.3." in told
    assert "definitions'" not in told
    biases = card(fit(plain, *rows(), MEANT, strength=np.inf))
    assert "The weights stayed at zero; only the biases were fitted, as was asked for." in biases


def test_long_texts_are_counted(predictor: Predictor) -> None:
    texts, labels = rows()
    assert not any("window" in note for note in fit(predictor, texts, labels, MEANT).notes)
    longer = [f"{texts[0]} " + "happy and glad " * 400, *texts[1:]]
    told = fit(predictor, longer, labels, MEANT, dev=(longer[:6], labels[:6]))
    assert any(note.startswith("2 texts are longer than the model's window") for note in told.notes)
    assert "2 texts are longer than the model's window" in card(told)


# The command


@pytest.fixture
def files(put: Callable[[Mapping[str, str | bytes]], Path]) -> Path:
    texts, labels = rows()
    table = "text,label,split\n"
    for number, (text, (label,)) in enumerate(zip(texts, labels, strict=True)):
        part = "test" if number >= 24 and label != "bliss" else "dev" if number % 2 else "train"
        table += f'"{text}",{label},{part}\n'
    toml = "".join(f'{name} = "{meaning}"\n' for name, meaning in MEANT.items())
    return put({"mine.csv": table, "mine.toml": toml})


def test_the_table_has_one_macro_f1_and_says_what_was_chosen_where(files: Path, tiny_light: Path) -> None:
    given = ("fit", "--data", files / "mine.csv", "--labels", files / "mine.toml", "--model", tiny_light)
    more = ("--split-column", "split", "--out", files / "out", "--threads", 1)
    told = " ".join(emodef_command(*given, *more).output.split())
    assert "macro F1: over the labels that occur" in told
    assert "dev: the dev texts, on which its thresholds and the strength were chosen too" in told
    test = json.loads(emodef_command(*given, *more, "--json", "--quiet").stdout)["test"]
    assert test["texts"] == 4
    assert test["macro_f1"] == 1  # of calm and rush: there is no bliss to find


# Saving


def test_a_save_that_is_killed_leaves_no_other_model(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit(predictor, *rows(), MEANT)
    replace, number, left = atomic.os.replace, 0, 0

    def killed(source: Any, target: Any) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        replace(source, target)

    while True:
        out, left = tmp_path / f"after{number}", number
        monkeypatch.setattr(atomic.os, "replace", killed)
        try:
            fitted.save(out)
        except KeyboardInterrupt:
            monkeypatch.setattr(atomic.os, "replace", replace)
        else:
            break
        if (out / "model.onnx").exists():
            assert Predictor.load(out, threads=1).label_set.names == tuple(MEANT)
        else:
            with pytest.raises(DataError):
                Predictor.load(out, threads=1)
        fitted.save(out)  # once more, into the same folder
        assert Predictor.load(out, threads=1).label_set.names == tuple(MEANT)
        number += 1
    assert number == 6  # head.npz, head.json, the model's three files, the card
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.onnx").write_bytes(b"")
    with pytest.raises(SettingsError, match="holds something else"):
        fitted.save(tmp_path / "other")
