"""A user's labels: every form in which they may be written, and every mistake, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emodef.definitions import Definitions, read_labels
from emodef.errors import LabelSetError
from emodef.labels import LabelSet, shipped

FLAT = """\
# what we look for
awe = "Wonder mixed with respect"
"home sickness" = "Longing for a place one comes from"
"""
TABLES = """\
name = "travel"

[awe]
definitions = ["Wonder mixed with respect", "Being struck by something vast"]
examples = ["I stood under that dome and forgot to breathe"]
threshold = 0.4

["home sickness"]
definition = "Longing for a place one comes from"
"""
SET = """\
name = "travel"
exclusive = true

[[labels]]
name = "awe"
definitions = ["Wonder mixed with respect", "Being struck by something vast"]

[[labels]]
name = "home sickness"
definition = "Longing for a place one comes from"

[mappings.sentiment]
awe = "positive"
"home sickness" = "negative"
"""


def read(folder: Path, content: str, name: str = "mine.toml") -> Definitions:
    (folder / name).write_text(content, encoding="utf-8")
    return read_labels(folder / name)


def test_lines(tmp_path: Path) -> None:
    found = read(tmp_path, FLAT)
    assert found.name == "mine"
    assert found.names == ("awe", "home sickness")
    assert found.definitions == (
        ("Wonder mixed with respect",),
        ("Longing for a place one comes from",),
    )
    assert found.examples == ((), ())
    assert found.thresholds == (None, None)
    assert found.label_set.definitions[0] == "Wonder mixed with respect"
    assert not found.label_set.exclusive


def test_tables(tmp_path: Path) -> None:
    found = read(tmp_path, TABLES)
    assert found.name == "travel"
    assert found.definitions[0] == ("Wonder mixed with respect", "Being struck by something vast")
    assert found.examples == (("I stood under that dome and forgot to breathe",), ())
    assert found.thresholds == (0.4, None)
    assert found.texts(0, "{name}: {definition}") == (
        ["awe: Wonder mixed with respect", "awe: Being struck by something vast"],
        ["awe: I stood under that dome and forgot to breathe"],
    )


def test_a_label_set_file(tmp_path: Path) -> None:
    found = read(tmp_path, SET)
    assert found.label_set.exclusive
    assert found.label_set.groups("sentiment")[1].tolist() == [
        found.label_set.coarse["sentiment"].index("positive"),
        found.label_set.coarse["sentiment"].index("negative"),
    ]
    assert len(found.definitions[0]) == 2
    whole = read(tmp_path, found.label_set.to_toml(), "again.toml")
    assert whole.label_set == found.label_set


@pytest.mark.parametrize("name", shipped())
def test_shipped_sets(name: str) -> None:
    assert read_labels(name).label_set == LabelSet.load(name)


def test_from_python() -> None:
    short = read_labels({"awe": "Wonder mixed with respect"})
    assert short == read_labels({"awe": ["Wonder mixed with respect"]})
    assert short == read_labels({"awe": {"definition": "Wonder mixed with respect"}})
    assert hash(short) == hash(read_labels({"awe": "Wonder mixed with respect"}))
    assert read_labels(short) is short
    assert read_labels(short.label_set) == short
    mapped = read_labels(
        {
            "awe": "Wonder mixed with respect",
            "exclusive": True,
            "mappings": {"sentiment": {"awe": "positive"}},
        }
    )
    assert mapped.names == ("awe",)
    assert list(mapped.label_set.mappings) == ["sentiment"]
    table = read_labels({"name": {"definition": "What somebody is called"}})
    assert table.names == ("name",)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(categories=["L"]), min_size=1, max_size=8),
        st.text(st.characters(categories=["L"]), min_size=1, max_size=20),
        min_size=1,
        max_size=6,
    )
)
def test_any_names_come_back_from_toml(tmp_path_factory: pytest.TempPathFactory, labels: dict) -> None:
    folded = [text.casefold() for text in labels.values()]
    if len({name.casefold() for name in labels}) < len(labels) or len(set(folded)) < len(folded):
        return
    given_labels = {name: {"definition": definition} for name, definition in labels.items()}
    found = read_labels(given_labels)
    again = read(tmp_path_factory.mktemp("toml"), found.label_set.to_toml())
    assert again.names == tuple(labels)
    assert again.definitions == tuple((text,) for text in labels.values())


MISTAKES = [
    ("awe = 'Wonder'\njoy = ''\n", 2, "'joy' has an empty definition; write a line"),
    ("awe = 'Wonder'\n[joy]\n", 2, "'joy' has an empty definition"),
    ("[awe]\ndefinitions = []\n", 1, "'awe' has an empty definition"),
    ("awe = 'Wonder'\nAwe = 'Respect'\n", 2, "'Awe' stands there twice"),
    ("awe = 'Wonder'\nawe = 'Respect'\n", 2, "a second time: keep one"),
    ("awe = 'Wonder'\n[awe]\ndefinition = 'x'\n", 2, "a second time"),
    ("awe = 'Wonder'\n\nrespect = 'wonder.'\n", 3, r"same definition as label 'awe' \(line 1\)"),
    ("awe = ['Wonder', ' wonder']\n", 1, "has the definition 'wonder' twice"),
    (
        "exclusive = true\n[a]\ndefinition='x'\nexamples=['t']\n[b]\ndefinition='y'\nexamples=['T']\n",
        5,
        "same example",
    ),
    ("[awe]\ndefinition = 'Wonder'\nexamples = ['']\n", 1, "empty example"),
    ("[awe]\ndefinition = 'Wonder'\nthreshold = 1\n", 1, r"threshold = 1\.0; give a number from 0"),
    ("[awe]\ndefinition = 'Wonder'\nthreshold = true\n", 1, "not a number"),
    ("[awe]\ndefinition = 'Wonder'\nthreshhold = 0.3\n", 1, "did you mean 'threshold'"),
    ("[awe]\ndefinition = 'Wonder'\ndefinitions = ['x']\n", 1, "definition and definitions"),
    ("[awe]\ndefinition = ['Wonder']\n", 1, "several go into definitions"),
    ("[awe]\ndefinition = 'Wonder'\nexamples = 'one'\n", 1, "examples are texts"),
    ("joy = 'x'\nawe = 7\n", 2, "'awe' is 7, not a definition"),
    ("[[labels]]\nname = 'awe'\ndefinition = 'x'\n[[labels]]\nname = 'joy'\n", 5, "'joy' has an empty"),
    ("[[labels]]\ndefinition = 'x'\n", None, "label 1 needs a name"),
    ("colour = 'red'\n[[labels]]\nname = 'awe'\ndefinition = 'x'\n", None, "unknown key 'colour'"),
    ("awe = 'x'\nexclusive = 'yes'\n[mappings.sentiment]\nawe = 'positive'\n", None, "incomplete"),
    (
        "awe = 'x'\nexclusive = 'True'\n",
        2,
        'exclusive = "True" is a text; write exclusive = true, without quotes',
    ),
    ("exclusive = 'false'\n[[labels]]\nname = 'awe'\ndefinition = 'x'\n", 1, "write exclusive = false"),
    ("threshold = 0.4\n[awe]\ndefinition = 'x'\n", 1, "put it into a label's table"),
    ("# nothing\n", None, "no labels; add a line"),
    ("[labels]\nawe = 'Wonder'\n", 1, r"labels need no \[labels\] above them"),
    ("awe = 'x'\n[mapping.sentiment]\nawe = 'positive'\n", None, r"did you mean \[mappings"),
    (
        "name = 'sentiment'\nawe = 'x'\n[mappings.sentiment]\nawe = 'positive'\n",
        None,
        "coarser set of its own name",
    ),
    (
        "exclusive = true\njoy = 'y'\n[awe]\ndefinition = 'x'\nthreshold = 0.4\n",
        3,
        "decides nothing where a text has one",
    ),
    ("awe = Wonder\n", 1, "is not valid TOML"),
]


@pytest.mark.parametrize(("content", "line", "said"), MISTAKES)
def test_mistakes_are_named_with_their_line(
    tmp_path: Path, content: str, line: int | None, said: str
) -> None:
    with pytest.raises(LabelSetError, match=said) as raised:
        read(tmp_path, content)
    place = f"{tmp_path / 'mine.toml'}:" + (f"{line}: " if line else " ")
    assert str(raised.value).startswith(place)


def test_no_file_and_no_labels(tmp_path: Path) -> None:
    with pytest.raises(LabelSetError, match=r"no such labels: .*neither a file nor one of the shipped"):
        read_labels(tmp_path / "none.toml")
    with pytest.raises(LabelSetError, match="cannot be read"):
        read_labels(tmp_path)
    with pytest.raises(LabelSetError, match="not int"):
        read_labels(3)  # type: ignore[arg-type]
    with pytest.raises(LabelSetError, match="labels: label 'awe' has an empty definition"):
        read_labels({"awe": " "})


def test_made_in_python_is_checked() -> None:
    two = LabelSet("two", ("a", "b"), ("x", "y"))
    with pytest.raises(LabelSetError, match="2 labels, and definitions of 1"):
        Definitions(two, (("x",),))
    with pytest.raises(LabelSetError, match="same definition"):
        Definitions(two, (("x",), ("y", "X.")))
    with pytest.raises(LabelSetError, match="threshold"):
        Definitions(two, (("x",), ("y",)), thresholds=(0.3, 2.0))
