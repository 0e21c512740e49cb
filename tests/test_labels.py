"""Label sets: the shipped ones, round trips, arrays, and every way a label set can be wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.definitions import read_labels
from emodef.errors import LabelSetError
from emodef.labels import LabelSet, shipped

WEATHER = """
name = "weather"

[[labels]]
name = "sunny"
definition = "The sky is clear"

[[labels]]
name = "drizzle"
definition = "It rains a little"

[[labels]]
name = "storm"
definition = "Wind and much rain"

[mappings.wet]
sunny = "dry"
drizzle = "wet"
storm = "wet"

[[coarse.wet.labels]]
name = "wet"
definition = "Water falls"

[[coarse.wet.labels]]
name = "dry"
definition = "No water falls"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


# shipped sets


def test_the_six_sets_are_shipped() -> None:
    assert shipped() == ["ekman", "emoint", "emotion_stimulus", "goemotions", "isear", "sentiment"]


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_set_is_sound_and_round_trips(name: str, tmp_path: Path) -> None:
    labels = LabelSet.load(name)
    assert labels.name == name
    assert all(len(definition.split()) >= 2 for definition in labels.definitions)
    assert LabelSet.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels
    assert LabelSet.load(write(tmp_path, labels.to_toml())) == labels
    assert pickle.loads(pickle.dumps(labels)) == labels  # noqa: S301, workers of other processes get it so
    assert hash(LabelSet.load(name)) == hash(labels)


def test_goemotions_has_the_published_labels_and_groups() -> None:
    labels = LabelSet.load("goemotions")
    assert len(labels) == 28
    assert labels.names[0] == "admiration"
    assert labels.names[-1] == "neutral"
    assert not labels.exclusive
    assert labels.definitions[labels.index("grief")] == "Intense sorrow, especially caused by someone's death"
    ekman, to_ekman = labels.groups("ekman")
    # sizes of the groups in the authors' ekman_mapping.json, neutral added
    sizes = dict(zip(ekman.names, np.bincount(to_ekman).tolist(), strict=True))
    assert sizes == {
        "anger": 3,
        "disgust": 1,
        "fear": 2,
        "joy": 12,
        "sadness": 5,
        "surprise": 4,
        "neutral": 1,
    }
    sentiment, to_sentiment = labels.groups("sentiment")
    sizes = dict(zip(sentiment.names, np.bincount(to_sentiment).tolist(), strict=True))
    assert sizes == {"positive": 12, "negative": 11, "ambiguous": 4, "neutral": 1}
    assert labels.mappings["ekman"]["embarrassment"] == "sadness"


@pytest.mark.parametrize("name", ["isear", "emoint", "emotion_stimulus"])
def test_single_label_corpora_are_exclusive_and_mapped(name: str) -> None:
    labels = LabelSet.load(name)
    assert labels.exclusive
    assert set(labels.mappings) == {"ekman", "sentiment"}


def test_the_mapping_through_ekman_agrees_with_the_direct_one() -> None:
    for name in ("goemotions", "isear", "emoint", "emotion_stimulus"):
        labels = LabelSet.load(name)
        through = {
            f: LabelSet.load("ekman").mappings["sentiment"][e] for f, e in labels.mappings["ekman"].items()
        }
        assert through == labels.mappings["sentiment"]


# what a label set does


def test_index_and_its_error_with_near_names() -> None:
    labels = LabelSet.load("goemotions")
    assert [labels.index(name) for name in labels.names] == list(range(28))
    with pytest.raises(LabelSetError, match="'goemotions' has no label 'greif'; did you mean grief"):
        labels.index("greif")
    with pytest.raises(LabelSetError, match="it has wet, dry"):
        LabelSet("w", ("wet", "dry"), ("Water", "None")).index("zzz")


def test_multi_hot() -> None:
    labels = LabelSet("w", ("sun", "rain", "wind"), ("It shines", "It falls", "It blows"))
    hot = labels.multi_hot([["rain", "sun"], [], ["wind", "wind"]])
    assert hot.dtype == np.uint8
    assert hot.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert labels.multi_hot([]).shape == (0, 3)
    with pytest.raises(LabelSetError, match="no label 'snow'"):
        labels.multi_hot([["snow"]])
    with pytest.raises(LabelSetError, match="a list of names"):
        labels.multi_hot(["sun"])


def test_groups_of_a_users_file(tmp_path: Path) -> None:
    labels = LabelSet.load(write(tmp_path, WEATHER))
    coarse, positions = labels.groups("wet")
    assert coarse.names == ("wet", "dry")
    assert positions.tolist() == [1, 0, 0]
    with pytest.raises(
        LabelSetError, match=r"no mapping to 'ekman' \(it has: wet\); add a \[mappings\.ekman\]"
    ):
        labels.groups("ekman")


def test_a_saved_set_carries_its_coarse_sets(tmp_path: Path) -> None:
    saved = LabelSet.load(write(tmp_path, WEATHER)).to_dict()
    (tmp_path / "mine.toml").unlink()
    assert LabelSet.from_dict(saved).groups("wet")[0].definitions == ("Water falls", "No water falls")
    assert "ekman" in LabelSet.load("isear").to_dict()["coarse"]


def test_a_byte_order_mark_and_padding_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "x"\n[[labels]]\nname = " a "\ndefinition = " An a "\n')
    labels = LabelSet.load(path)
    assert (labels.names, labels.definitions) == (("a",), ("An a",))


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda s: s == s.strip())


@settings(deadline=None)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=5, unique_by=lambda pair: pair[0].casefold()))
def test_any_text_survives_toml_and_json(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    names, definitions = zip(*pairs, strict=True)
    one = LabelSet("one", ("all",), ("Everything",))
    labels = LabelSet("any", names, definitions, {"one": dict.fromkeys(names, "all")}, True, {"one": one})
    path = write(tmp_path_factory.getbasetemp(), labels.to_toml())
    assert LabelSet.load(path) == labels
    assert LabelSet.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels


# what can be wrong


def test_an_unknown_set_names_the_shipped_ones() -> None:
    with pytest.raises(
        LabelSetError, match=r"'goemotion' is neither one of the shipped \(ekman, .*\) nor a file"
    ):
        LabelSet.load("goemotion")


def test_a_folder_is_not_a_label_set(tmp_path: Path) -> None:
    with pytest.raises(LabelSetError, match="cannot be read: Is a directory; give a TOML file"):
        LabelSet.load(tmp_path)


def test_toml_errors_name_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "x"\n\n[[labels]\n')
    with pytest.raises(LabelSetError, match=r"mine\.toml:3: is not valid TOML: .*; correct that line"):
        LabelSet.load(path)
    path = write(tmp_path, 'name = "x"\nexclusive = ')
    with pytest.raises(LabelSetError, match=r"mine\.toml:2: is not valid TOML"):
        LabelSet.load(path)


def test_toml_nested_without_end_is_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(LabelSetError, match="deep"):
        LabelSet.load(path)


def test_a_file_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'name = "x"\n# caf\xe9\n')
    with pytest.raises(LabelSetError, match=r"mine\.toml:2: is not UTF-8"):
        LabelSet.load(path)


LABEL = '[[labels]]\nname = "a"\ndefinition = "An a"\n'
SECOND = '[[labels]]\nname = "b"\ndefinition = "A b"\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LABEL, "the key 'name' is missing; add a line"),
        ('name = "x"', r"the key 'labels' is missing; add \[\[labels\]\] tables"),
        ('name = "x"\nlabels = []', r"'x' has no labels; add \[\[labels\]\] tables"),
        ('name = "x"\nlabels = "a, b"', r"labels must be \[\[labels\]\] tables"),
        ('name = "x"\nlabels = ["a"]', "label 1 must be a table with name and definition, not 'a'"),
        ('name = ""\n' + LABEL, "a label set needs a name"),
        ("name = 3\n" + LABEL, "a label set needs a name"),
        ('name = "x"\nexclusve = true\n' + LABEL, "unknown key 'exclusve'; did you mean 'exclusive'"),
        ('name = "x"\nlicence = "?"\n' + LABEL, "unknown key 'licence'; it can have: name, exclusive"),
        ('name = "x"\nexclusive = "yes"\n' + LABEL, "exclusive = 'yes' must be true .* or false"),
        ('name = "x"\n' + LABEL + 'synonyms = "aa"', "label 1 has the unknown key 'synonyms'"),
        ('name = "x"\n' + LABEL + '[[labels]]\nname = "b"', r"label 2 \('b'\) needs a text definition; add"),
        ('name = "x"\n[[labels]]\ndefinition = "?"', r"label 1 \('unnamed'\) needs a text name; add"),
        ('name = "x"\n[[labels]]\nname = " "\ndefinition = "?"', "name of label 1, '', is empty"),
        (
            'name = "x"\n' + LABEL + SECOND + LABEL,
            "label 3 has the same name as label 1, 'a'; rename or remove",
        ),
        ('name = "x"\n' + LABEL + LABEL.replace('"a"', '"A"'), "label 2 has the same name as label 1, 'A'"),
        (
            'name = "x"\n' + LABEL.replace("An a", " "),
            "label 1, 'a', has an empty definition; .* write a line",
        ),
        (
            'name = "x"\n' + LABEL + '[mappings.ekman]\na = "joy"\nc = "joy"',
            "'c' is not a label; correct it to one of a",
        ),
        (
            'name = "x"\n' + LABEL + '[mappings.ekman]\na = "glee"',
            "'a' is mapped to 'glee', .* choose one of anger",
        ),
        (
            'name = "x"\n' + LABEL + SECOND + '[mappings.ekman]\na = "joy"',
            "is incomplete; map these labels too: b",
        ),
        (
            'name = "x"\n' + LABEL + '[mappings.mood]\na = "up"',
            r"unknown set 'mood'; .* \[\[coarse\.mood\.labels\]\]",
        ),
        ('name = "x"\n' + LABEL + "[mappings]\nekman = 3", "mappings.ekman must be a table"),
        ('name = "x"\n' + LABEL + "[mappings.ekman]\na = 3", "mappings.ekman must be a table"),
        ('name = "x"\nmappings = 3\n' + LABEL, r"mappings must be a table, such as \[mappings\.ekman\]"),
        (
            WEATHER.split("[mappings", 1)[0] + "[[coarse.wet" + WEATHER.split("[[coarse.wet", 1)[1],
            "has no mapping to it",
        ),
        (WEATHER + '[coarse.wet]\nname = "wett"', "'wet' calls itself 'wett'"),
        (WEATHER.replace('storm = "wet"', 'storm = "soaked"'), "'wet' does not have; choose one of wet, dry"),
        (WEATHER + '[coarse.wet]\nlable = "wett"', "unknown key 'lable'; did you mean 'labels'"),
    ],
)
def test_every_contradiction_is_refused_with_file_and_remedy(
    content: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(LabelSetError, match=message) as error:
        LabelSet.load(write(tmp_path, content))
    assert str(error.value).startswith(str(tmp_path / "mine.toml"))


def test_a_set_made_in_code_is_checked_too() -> None:
    with pytest.raises(LabelSetError, match="2 names but 1 definitions"):
        LabelSet("x", ("a", "b"), ("An a",))
    with pytest.raises(LabelSetError, match="' a', is empty or padded"):
        LabelSet("x", (" a",), ("An a",))
    with pytest.raises(LabelSetError, match="saved: the key 'labels' is missing"):
        LabelSet.from_dict({"name": "x"}, source="saved")
    wrong: Any = ["a"]
    with pytest.raises(LabelSetError, match="a label set is a table"):
        LabelSet.from_dict(wrong)


@pytest.mark.parametrize("line", ['Ärger = "Wut"', 'mild fear = "Uneasy"', 'a&b = "Both"'])
def test_names_that_need_quotes(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(
        LabelSetError, match="with other than letters from A to Z, digits, - and _ stands in quotes"
    ):
        read_labels(path)
    name, _, text = line.partition(" = ")
    path.write_text(f'"{name}" = {text}', encoding="utf-8")
    assert read_labels(path).names == (name,)
