"""The card of a light model: measured, written, and true; and the commands `probe` and `card`."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import emodef_command
from emodef.calibration import Calibration
from emodef.card import Measured, card_text, measure, write_card
from emodef.corpora import load_corpus
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.measuring import light_reports
from emodef.origins import origins
from emodef.predictor import Predictor
from emodef.predictor.head import HeadInfo, LabelHead, hash_of
from emodef.probes import probe
from tiny_light import build_tiny_light

pytestmark = pytest.mark.long

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"
LABELS = LabelSet.load("goemotions")
SETTINGS = {"backbone": "minilm", "setup": "match", "pooling": "mean", "seed": 42, "epochs": 4}


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with GoEmotions' labels; it knows a few words and nothing else."""
    about = {"name": "tiny + words", "corpus": "goemotions", "precision": "fp32", "settings": SETTINGS}
    return build_tiny_light(tmp_path_factory.mktemp("card") / "light", labels=LABELS, about=about)


@pytest.fixture(scope="module")
def written(light: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card's folder, measured on the sample corpus."""
    out = tmp_path_factory.mktemp("written")
    write_card(light, data=str(SAMPLE), corpora=False, license="apache-2.0", out=out)
    return out


@pytest.fixture(scope="module")
def elsewhere(light: Path, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """The model measured on three texts that are not its own corpus's."""
    data = tmp_path_factory.mktemp("elsewhere") / "mine.csv"
    rows = "".join(f"so happy {n},joy,{split}\n" for n, split in enumerate(["train", "dev", "test"]))
    data.write_text("text,label,split\n" + rows, encoding="utf-8")
    return measure(Predictor.load(light), data=str(data), columns={"split_column": "split"}, corpora=False)


@pytest.fixture
def page(written: Path) -> str:
    return (written / "README.md").read_text(encoding="utf-8")


def test_the_figures_are_those_of_the_file(light: Path, written: Path, page: str) -> None:
    content = json.loads((written / "card.json").read_text(encoding="utf-8"))
    splits = load_corpus(SAMPLE, label_set=LABELS)
    predictor = Predictor.load(light)
    again = light_reports(predictor, [splits["dev"], splits["test"]])
    assert content["reports"] == {name: json.loads(json.dumps(r.to_dict())) for name, r in again.items()}
    assert list(again) == ["dev tuned", "dev fixed", "test tuned", "test fixed"]
    tuned = again["test tuned"]
    macro = tuned.summary["macro_f1"]
    assert macro.low is not None
    assert macro.high is not None
    shown = f"{100 * macro.value:.2f} [{100 * macro.low:.1f}, {100 * macro.high:.1f}]"
    assert f"| test | 140 | per label, tuned on dev | {shown} |" in page
    thresholds = predictor.info.thresholds["tuned"][LABELS.name]
    for label, threshold in zip(tuned.labels, thresholds, strict=True):
        assert re.search(rf"^\| {label.name} \| {label.support} \| {threshold:.2f} \|", page, re.M)


def test_the_probes_are_those_of_the_model(light: Path, written: Path, page: str) -> None:
    content = json.loads((written / "card.json").read_text(encoding="utf-8"))
    predictor = Predictor.load(light)
    thresholds = predictor.info.thresholds["tuned"][LABELS.name]
    again = probe(predictor.predict_proba, LABELS, thresholds, corpora=False)
    assert content["probes"] == again.to_dict()
    assert again.material[:12] in page
    for heading in (
        "Names and pronouns",
        "Identity terms",
        "Small changes",
        "Other languages",
        "Other kinds of text",
    ):
        assert f"### {heading}" in page
    assert "### Other corpora" not in page


def test_it_says_what_it_is_made_from_and_for_what_not(page: str) -> None:
    assert "each is the same unknown mark" in page
    front = page.split("---")[1]
    assert "license: apache-2.0" in front
    assert "base_model: sentence-transformers/all-MiniLM-L6-v2" in front
    assert "datasets: [google-research-datasets/go_emotions]" in front
    assert "CC BY 4.0 (data)" in page
    assert "Apache-2.0, as its own model card states" in page
    assert "seed 42" in page
    assert "decisions about a person" in page
    assert "clinical" in page
    assert re.search(
        r"curiosity \(5 test texts, F1 [\d.]+ \[\d+, \d+\]\)", page
    )  # a rare label, with its interval
    assert "cross-validated inside dev" in page
    assert "emodef card light --data sample --no-corpora --license apache-2.0 --out " in page
    assert "nan" not in page
    assert str(Path.cwd()) not in page


def test_every_table_is_whole(page: str) -> None:
    widths = [
        {line.count(" | ") for line in block.splitlines()[2:]}
        for block in re.split(r"\n\n", page)
        if block[:2] == "| "
    ]
    assert len(widths) >= 7
    assert all(len(width) == 1 for width in widths)


def test_the_same_again_byte_for_byte(light: Path, written: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(light, tmp_path / "light")
    (copy / "README.md").write_text("short", encoding="utf-8")
    found = write_card(copy, data=str(SAMPLE), corpora=False, license="apache-2.0")
    assert found.folder == copy
    assert found.notes == ()
    assert (copy / "card.json").read_text().split('"texts"', 1)[1] == (
        written / "card.json"
    ).read_text().split('"texts"', 1)[1]
    mine, other = ((folder / "README.md").read_text(encoding="utf-8") for folder in (copy, written))
    assert mine.partition("## This page")[0] == other.partition("## This page")[0]
    Predictor.load(copy)  # the model is as it was


def test_calibration_is_told(tmp_path: Path) -> None:
    curves = Calibration((1.0,) * len(LABELS), (0.0,) * len(LABELS), 140, 0.0321, 0.0123)
    folder = build_tiny_light(tmp_path / "light", labels=LABELS, calibration=curves)
    page = write_card(folder, data=str(SAMPLE), corpora=False).folder / "README.md"
    text = page.read_text(encoding="utf-8")
    assert "cross-validated inside dev: 0.032 raw, 0.012 calibrated" in text
    assert "fitted on 140 dev texts" in text
    assert "license:" not in text
    assert "**Emoji.**" not in text
    assert "Its terms are its publisher's" in text  # of data and backbone that nothing is known of


def test_without_calibration_and_with_emoji_as_words(light: Path, elsewhere: Measured) -> None:
    info = Predictor.load(light).info
    about = {**info.about, "settings": SETTINGS | {"emoji": "words"}}
    page = card_text(replace(info, calibration=None, about=about), elsewhere, command="emodef card", size=1)
    assert 'not measured as "how likely"' in page
    assert "reads the words that Unicode names them by" in page


def test_a_corpus_that_is_not_at_hand_is_noted(light: Path, tmp_path: Path) -> None:
    found = write_card(light, out=tmp_path / "card", data_dir=tmp_path)
    page = (found.folder / "README.md").read_text(encoding="utf-8")
    assert "Results not measured:" in page
    assert "- isear: not measured, its files are not to be had" in page
    assert len(found.notes) == 4
    assert str(tmp_path) not in page


def test_a_model_of_other_labels_has_a_card_too(tiny_light: Path) -> None:
    measured = measure(Predictor.load(tiny_light), corpora=True)
    assert measured.reports == {}
    assert len(measured.notes) == 1


def test_labels_of_ones_own_in_columns_of_ones_own(tmp_path: Path) -> None:
    """No coarser labels, none called neutral; texts under a name of their own, and a row without one."""
    labels = LabelSet("moods", ("joy", "anger"), ("Being glad", "Being cross"))
    folder = build_tiny_light(tmp_path / "light", labels=labels)
    data = tmp_path / "data"
    data.mkdir()
    rows = ["body,joy,anger", *("I am so happy,1,0", "I am furious,0,1") * 4, ",1,0"]
    for split in ("dev", "test"):
        (data / f"{split}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    options = ["--text-column", "body", "--label-columns", "joy,anger", "--on-error", "skip", "--no-corpora"]
    said = emodef_command("card", folder, "--data", data, *options)
    assert "note: 2 rows of the data could not be used and were left out" in said.stderr
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert f"emodef card light --data data {' '.join(options)}`" in page
    assert "| test | 8 |" in page
    assert "2 rows of the data could not be used" in page
    assert re.search(r"other languages in [^.]*%, without a warning\.", page)
    assert "–%" not in page


def test_a_fitted_head_keeps_its_own_card(light: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(light, tmp_path / "mine")
    head = LabelHead(np.zeros((2, 36), dtype=np.float32), np.zeros(2, dtype=np.float32))
    pets = LabelSet("pets", ("cat", "dog"), ("It purrs", "It barks"))
    head.write(folder, HeadInfo(pets, base_hash=hash_of(folder / "model.onnx")))
    with pytest.raises(DataError, match=r"whose card .* 'emodef fit' wrote"):
        write_card(folder, corpora=False)
    assert not (folder / "card.json").exists()


def test_columns_are_of_data_that_are_named(light: Path) -> None:
    with pytest.raises(SettingsError, match="text_column"):
        measure(Predictor.load(light), columns={"text_column": "body"}, corpora=False)


# the commands


def test_probe_prints_tables_and_writes_json(light: Path, tmp_path: Path) -> None:
    out = tmp_path / "probes.json"
    said = emodef_command("probe", "--model", light, "--no-corpora", "--out", out, "--quiet")
    assert said.stdout == ""
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["format"] == 1
    printed = emodef_command("probe", "--model", light, "--no-corpora", "--json", "--quiet")
    assert json.loads(printed.stdout) == content
    shown = emodef_command("probe", "--model", light, "--no-corpora", "--threshold", "0.5", "--quiet").stdout
    for title in ("Names by gender", "Pronouns", "Identity: religion", "Placeholders", "Other languages"):
        assert title in shown


def test_card_command(light: Path, tmp_path: Path) -> None:
    options = ["--data", SAMPLE, "--no-corpora", "--license", "apache-2.0", "--out", tmp_path / "here"]
    said = emodef_command("card", light, *options)
    assert "README.md" in said.stderr
    assert said.stdout == ""
    page = (tmp_path / "here" / "README.md").read_text(encoding="utf-8")
    assert "emodef card light --data sample --no-corpora --license apache-2.0 --out here" in page
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["README.md", "card.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["card", "nowhere"], 3, "no such folder"),
        (["probe", "--model", "nowhere"], 3, "no such folder"),
        (["probe", "--model", "LIGHT", "--threshold", "high"], 2, "give tuned, fixed, or a number"),
        (["card", "LIGHT", "--data", "none-such"], 3, "no such corpus"),
        (["card", "LIGHT", "--out", __file__], 2, "is a file"),
        (["card", "LIGHT", "--split-column", "part"], 2, "--split-column: this is about other data"),
        (["probe", "--model", "LIGHT", "--seed", "-1"], 2, "--seed"),
    ],
)
def test_command_errors(light: Path, arguments: list[str], code: int, message: str) -> None:
    result = emodef_command(*[light if each == "LIGHT" else each for each in arguments], code=code)
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["probe", "card"])
def test_help_has_examples(command: str) -> None:
    text = emodef_command(command, "--help").stdout
    assert "Examples" in text
    assert f"emodef {command} " in text


def test_what_else_a_model_was_made_from() -> None:
    assert origins(SETTINGS) == []
    taught = SETTINGS | {
        "teacher": ["runs/a", "runs/b"],
        "teacher_weight": 0.7,
        "teacher_hashes": ["1a:match", "2b:emotion"],
    }
    assert origins(taught) == [
        "Learned from 2 other models too: the mean of their probabilities, with a share of 0.7 beside the labels (1a:match, 2b:emotion)."
    ]
    assert "1 other model too" in origins({"teacher": ["runs/a"], "teacher_weight": 1.0})[0]
    further = origins(taught | {"unlabelled": "new.csv", "unlabelled_hash": "3c"})
    assert further[1] == "Further texts, without labels, were labelled by these alone (sha256 3c…)."
    begun = origins(SETTINGS | {"start": "/home/somebody/run", "start_hash": "5e"})
    assert begun == ["Began with another trained model (5e); what that was made from is in here too."]
    mean = origins(SETTINGS | {"average": ["0.1000 untuned", "0.9000 4d"]})
    assert mean == [
        "The weights are a mean: 0.1000 of untuned, 0.9000 of 4d; seed, epochs and teachers said here are those of the first."
    ]


def test_the_page_says_what_else_it_was_made_from(light: Path, elsewhere: Measured) -> None:
    info = Predictor.load(light).info
    settings = SETTINGS | {"average": ["0.1000 untuned", "0.9000 4d"]}
    page = card_text(
        replace(info, about={**info.about, "settings": settings}), elsewhere, command="emodef card", size=1
    )
    assert "\n- The weights are a mean: 0.1000 of untuned, 0.9000 of 4d;" in page


def test_the_page_says_how_thresholds_were_chosen(light: Path, elsewhere: Measured) -> None:
    predictor = Predictor.load(light)
    own = replace(elsewhere, elsewhere=False, texts={"train": 1, "dev": 1, "test": 1})

    def page(measured: Measured, *, exclusive: bool = False, **about: Any) -> str:
        labels = replace(LABELS, exclusive=exclusive)
        info = replace(predictor.info, label_set=labels, about={**predictor.info.about, **about})
        return card_text(info, measured, command="emodef card", size=1)

    assert "Thresholds were tuned on dev, whose own" in page(own)
    assert "- **Texts**: train 1, dev 1, test 1." in page(own)
    there = page(elsewhere)
    assert "Thresholds were tuned on dev of what it was trained on; none was chosen on these texts." in there
    assert "- **Texts measured here**: dev 1, test 1." in there
    for judged, told in {
        "cross-validation": "Thresholds were chosen by cross-validation; none was",
        "": "Thresholds were set without labelled texts; none was",
    }.items():
        assert told in page(own, judged=judged)
        assert "own threshold, tuned on dev" not in page(own, judged=judged)
    assert "The likeliest label is taken" in page(own, exclusive=True)
    assert "were tuned on dev" not in page(own, exclusive=True)
