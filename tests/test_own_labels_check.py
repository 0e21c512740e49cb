"""`emodef labels check`: words that say nothing, definitions a model takes for each other, labels it confuses on data."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from commands import emodef_command
from emodef.checking import check, of_words, on_data
from emodef.corpora import Corpus
from emodef.corpora.held_out import only_labels
from emodef.definitions import read_labels
from emodef.errors import DataError
from emodef.labels import shipped
from emodef.predictor import Predictor
from tiny_light import build_tiny_light

EXAMPLES = Path(__file__).parent.parent / "examples" / "labels"
OWN = {
    "glee": "so happy, so glad, lovely, great thanks, happy, glad, lovely",
    "mirth": "so glad, so happy, great thanks, lovely, glad, happy, lovely!",
    "rage": "angry, furious, hate it",
    "place": "the meeting in the platform",
}
ROWS = [
    ("I am so happy and glad", "glee"),
    ("so lovely, happy", "glee"),
    ("happy and glad", "mirth"),
    ("glad and lovely", "mirth"),
    ("so furious, hate this", "rage"),
    ("angry and furious", "rage|place"),
    ("the meeting", "place"),
    ("so happy in it", "place"),
    ("so happy", "place"),
    ("the platform", "place"),
]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(f"{name} = {json.dumps(text)}" for name, text in OWN.items()))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "labels"), *ROWS])
    return path


@pytest.mark.parametrize(
    ("name", "definition", "kind"),
    [
        ("sadness", "Being sad", "circular"),
        ("awe", "The feeling of awe", "circular"),
        ("joy", "A state in which someone feels joyful", "circular"),
        ("annoyance", "A strong emotion of annoyance", "circular"),
        ("home sickness", "Being sick of home", "circular"),
        ("weariness", "Being weary", "circular"),
        ("dread", "Dark fear", "short"),
        ("dread", "A very strong feeling", "empty"),
        ("dread", "5 !", "empty"),
        ("annoyance", "Mild anger, irritation", None),
        ("joy", "Joy at another's good fortune", None),
        ("awe", "Wonder mixed with respect", None),
    ],
)
def test_words(name: str, definition: str, kind: str | None) -> None:
    found = of_words(read_labels({name: definition, "other": "Something else that is fine"}))
    assert [f.kind for f in found] == ([kind] if kind else [])
    assert all(f.labels == (name,) and repr(definition) in f.message for f in found)


def test_near_duplicates_are_measured_by_the_models_own_pairs(predictor: Predictor) -> None:
    found = check(read_labels(OWN), predictor)
    assert {finding.labels for finding in found.findings if finding.kind == "similar"} == {("glee", "mirth")}
    message = next(f.message for f in found.findings if f.kind == "similar")
    assert f"{found.known[0].cosine:.2f}" in message
    assert found.similar[0].cosine > found.known[0].cosine
    assert [p.cosine for p in found.similar] == sorted((p.cosine for p in found.similar), reverse=True)
    assert found.data is None
    # the model's own labels are what others are measured by
    assert not [f for f in check(read_labels(predictor.label_set), predictor).findings if f.kind == "similar"]


def test_long_definitions(predictor: Predictor) -> None:
    found = check(read_labels({"glee": "happy " * 100, "rage": "angry, furious, hate"}), predictor)
    assert [f.labels for f in found.findings if f.kind == "long"] == [("glee",)]


def test_on_data(predictor: Predictor) -> None:
    definitions = read_labels(OWN)
    own = predictor.with_labels(definitions)
    texts = [text for text, _ in ROWS]
    hot = definitions.label_set.multi_hot([names.split("|") for _, names in ROWS])
    corpus = Corpus("few", "all", texts, hot, definitions.label_set, [str(i) for i in range(len(ROWS))])
    found = on_data(own, corpus)
    values = own.predict_proba(texts)
    for k, name in enumerate(definitions.names):
        assert found.auc[name] == pytest.approx(roc_auc_score(hot[:, k], values[:, k]))
    assert found.support == {"glee": 2, "mirth": 2, "rage": 2, "place": 5}
    place = [c for c in found.confusions if c.label == "place" and c.instead == "glee"]
    expected = (values[hot[:, 3] == 1, 0] > values[hot[:, 3] == 1, 3]).mean()
    assert place[0].share == pytest.approx(expected)
    assert place[0].texts == 5
    shares = [c.share * c.texts for c in found.confusions]
    assert shares == sorted(shares, reverse=True)
    told = check(definitions, predictor, corpus)
    assert ("place", "glee") in {f.labels for f in told.findings if f.kind == "confused"}
    turned = only_labels(corpus, definitions.names[::-1])  # as a published corpus has an order of its own
    assert on_data(own, turned) == found
    empty = Corpus("few", "all", texts[:2], hot[:2], definitions.label_set, ["a", "b"])
    assert on_data(own, empty).auc["rage"] is None
    with pytest.raises(DataError, match="few is labelled with glee, mirth"):
        on_data(predictor, corpus)


def test_the_command(tiny_light: Path, labels: Path, rows: Path) -> None:
    common = ["labels", "check", labels, "--model", tiny_light]
    shown = emodef_command(*common).stdout
    assert "mine: 4 labels, each defined, several a text" in shown
    assert "glee and mirth mean much the same to the model" in shown
    content = json.loads(emodef_command(*common, "--data", rows, "--json").stdout)
    assert content["labels"] == 4
    assert {finding["kind"] for finding in content["findings"]} >= {"similar", "confused"}
    assert content["data"]["texts"] == len(ROWS)
    assert len(content["known_similar"]) == 5
    table = emodef_command(*common, "--data", rows).stdout
    assert "AUC" in table
    assert "10 texts, macro-F1" in table
    emodef_command(*common, "--strict", code=3)
    emodef_command(
        "labels", "check", labels, "--model", tiny_light, "--data", labels.parent / "no.csv", code=3
    )


def test_rows_without_a_label_count_where_they_may(tiny_light: Path, labels: Path, rows: Path) -> None:
    with open(rows, "a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow(["nothing of all this", ""])
    for command in ("check", "compare"):
        given = ["labels", command, labels, "--data", rows, "--model", tiny_light]
        assert "--allow-unlabelled" in emodef_command(*given, code=3).stderr
        assert "11 texts" in emodef_command(*given, "--allow-unlabelled").stdout
    assert "--allow-unlabelled" in emodef_command("labels", "skeleton", rows, code=3).stderr
    begun = emodef_command("labels", "skeleton", rows, "--allow-unlabelled").stdout
    assert begun.count("[[labels]]") == len(OWN)


def test_labels_that_are_numbers(tiny_light: Path, tmp_path: Path) -> None:
    stars, meant = tmp_path / "stars.csv", tmp_path / "stars.toml"
    stars.write_text("text,stars\nso happy,2\nhate it,1\nangry,1\nlovely,2\n")
    failed = emodef_command("labels", "skeleton", stars, "--label-column", "stars", code=3).stderr
    assert "the label 2 is a number; say what each means in a label file" in failed
    meant.write_text('1 = "Very bad, hate it"\n2 = "Very good, lovely"\n')  # what it says to write
    checked = ["labels", "check", meant, "--data", stars, "--label-column", "stars", "--model", tiny_light]
    found = json.loads(emodef_command(*checked, "--json").stdout)
    assert found["data"]["support"] == {"1": 2, "2": 2}


def test_labels_without_a_finding(tiny_light: Path, tmp_path: Path) -> None:
    file = tmp_path / "fine.toml"
    file.write_text('glee = "so happy, so glad, lovely"\nrage = "angry, furious, hate it"\n')
    assert "Nothing to correct." in emodef_command(
        "labels", "check", file, "--model", tiny_light, "--strict"
    ).stdout  # fmt: skip


def test_a_model_that_never_read_definitions(tmp_path: Path, labels: Path, rows: Path) -> None:
    plain = build_tiny_light(tmp_path / "plain", match=None, scores="emotion")
    shown = emodef_command("labels", "check", labels, "--model", plain)
    assert "their words alone were checked" in shown.stderr
    assert "Nothing to correct." in shown.stdout
    failed = emodef_command("labels", "check", labels, "--model", plain, "--data", rows, code=2)
    assert "never learned to compare" in failed.stderr


def test_shipped_sets_have_sound_definitions() -> None:
    for name in ("ekman", "isear", "emoint", "emotion_stimulus"):
        kinds = {f.kind for f in of_words(read_labels(name))}
        assert not kinds - {"short"}, name


FOREIGN = {
    "german": [
        "Ein starkes Gefühl von Ärger oder Wut",
        "Freude über etwas Schönes",
        "Sehnsucht nach der Heimat",
    ],
    "russian": ["Сильное чувство гнева", "Чувство радости и счастья", "Страх перед опасностью"],
    "japanese": [
        "何かが思い通りにならず腹が立つ気持ち",
        "嬉しくて幸せな気持ち",
        "これから起こることへの恐れ",
    ],
    "thai": ["ความรู้สึกโกรธอย่างรุนแรง"],
}


@pytest.fixture(scope="module")
def brought() -> Predictor:
    """The model that comes with the package: what it knows of words is what this is about."""
    return Predictor.load()


@pytest.mark.parametrize("language", list(FOREIGN))
def test_definitions_in_other_languages_are_told(brought: Predictor, language: str) -> None:
    labels = {f"label {number}": text for number, text in enumerate(FOREIGN[language])}
    found = check(read_labels(labels), brought).findings
    assert [(each.kind, each.labels) for each in found if each.kind != "similar"] == [
        ("language", tuple(labels))
    ]
    mixed = {"anger": "A strong feeling of displeasure", **labels}
    (told,) = (each for each in check(read_labels(mixed), brought).findings if each.kind == "language")
    assert told.labels == tuple(labels)
    assert "is English" in told.message


@pytest.mark.parametrize("name", [*shipped(), *map(str, sorted(EXAMPLES.rglob("*.toml")))])
def test_english_definitions_are_not(brought: Predictor, name: str) -> None:
    assert not [each for each in check(read_labels(name), brought).findings if each.kind == "language"]


def test_rare_and_short_english_words_are_not(brought: Predictor) -> None:
    labels = {
        "glee": "Schadenfreude, gloating",
        "calm": "To be as it is, at ease",
        "hangry": "Hungriness gone cantankerous",
    }
    assert not [each for each in check(read_labels(labels), brought).findings if each.kind == "language"]
