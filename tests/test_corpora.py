"""Corpus and the readers of the four published corpora: every quirk of their files, on lines written for these tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emodef.corpora import CORPORA, Corpus, Problem, data_root, load_corpus
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet

REAL = os.environ.get("EMODEF_DATA")  # read now: a fixture takes it out of every test's environment
real_data = pytest.mark.skipif(not REAL, reason="EMODEF_DATA does not name a folder with the real corpora")

Put = Callable[[Mapping[str, str | bytes]], Path]


# the door


def test_an_unknown_corpus_names_what_there_is() -> None:
    with pytest.raises(
        DataError, match=r"'goemotion' is neither one of goemotions, .* nor a file; give one of"
    ):
        load_corpus("goemotion")


@pytest.mark.parametrize("name", CORPORA)
def test_a_missing_corpus_names_both_ways(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"emodef data fetch {name}, or .* --data-dir or the variable EMODEF_DATA"
    ):
        load_corpus(name, data_dir=tmp_path)


def test_options_that_do_not_fit() -> None:
    with pytest.raises(SettingsError, match=r"on_error is 'ignore'; it can be 'fail' .* or 'skip'"):
        load_corpus("isear", on_error="ignore")
    with pytest.raises(
        SettingsError,
        match=r"'isear' has its own columns and labels; leave out text_column \(--text-column\)",
    ):
        load_corpus("isear", text_column="SIT", label_column=None, allow_unlabelled=False, label_columns=[])


def test_a_users_file_comes_through_the_same_door(put: Put) -> None:
    path = put({"mine.csv": "text,label\nWe won.,joy\nIt leaks.,anger\n"}) / "mine.csv"
    corpus = load_corpus(path, label_set="isear")["all"]
    assert (corpus.texts, corpus.label_lists()) == (["We won.", "It leaks."], [["joy"], ["anger"]])


def test_where_the_data_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root() == tmp_path / "cache" / "emodef" / "data"
    monkeypatch.setenv("EMODEF_DATA", str(tmp_path / "variable"))
    assert data_root() == tmp_path / "variable"
    assert data_root(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("EMODEF_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root() == tmp_path / ".cache" / "emodef" / "data"
    assert data_root("~/here") == tmp_path / "here"


def test_the_variable_is_used(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMODEF_DATA", str(put({"isear/isear.csv": isear(("joy", "1", "We won."))})))
    assert load_corpus("isear")["all"].texts == ["We won."]


# Corpus


def small(**changes: Any) -> Corpus:
    labels = LabelSet("w", ("sun", "rain"), ("It shines", "It falls"))
    parts: dict[str, Any] = {
        "texts": ["a", "b", "c"],
        "labels": np.array([[1, 0], [1, 1], [0, 0]], dtype=np.uint8),
        "ids": ["1", "2", "3"],
    }
    return Corpus(name="w", split="all", label_set=labels, **(parts | changes))


def test_take_keeps_every_column_together() -> None:
    corpus = small(
        intensity=np.array([0.1, 0.2, 0.3], dtype=np.float32),
        extra={"list": ["x", "y", "z"], "array": np.arange(3)},
        problems=[Problem("f", 9, "why")],
        repairs={"what": 1},
    )
    taken = corpus.take(np.array([2, 0]))
    assert (taken.texts, taken.ids, taken.label_lists()) == (["c", "a"], ["3", "1"], [[], ["sun"]])
    assert taken.intensity is not None
    assert taken.intensity.tolist() == pytest.approx([0.3, 0.1])
    assert (taken.extra["list"], taken.extra["array"].tolist()) == (["z", "x"], [2, 0])
    assert (taken.problems, taken.repairs) == (corpus.problems, corpus.repairs)
    assert corpus.label_lists() == [["sun"], ["sun", "rain"], []]
    assert len(corpus.take([])) == 0
    assert corpus.take([]).labels.shape == (0, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros((3, 3), dtype=np.uint8)}, r"labels are uint8 \(3, 3\), not uint8 \(3, 2\)"),
        ({"labels": np.zeros((3, 2))}, r"labels are float64"),
        ({"labels": np.full((3, 2), 2, dtype=np.uint8)}, "labels hold 2; only 0 and 1"),
        ({"ids": ["1"]}, "ids has 1 entries for 3 texts"),
        ({"intensity": np.zeros(2, dtype=np.float32)}, "intensity has 2 entries for 3 texts"),
        ({"extra": {"cause": []}}, "cause has 0 entries for 3 texts"),
    ],
)
def test_a_corpus_whose_parts_do_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"corpus 'w', split 'all': {message}"):
        small(**changes)


def test_an_exclusive_label_set_refuses_a_text_with_two_labels() -> None:
    exclusive = LabelSet("w", ("sun", "rain"), ("It shines", "It falls"), exclusive=True)
    with pytest.raises(
        DataError, match="text 2 has several labels, but the label set 'w' is exclusive; give it one"
    ):
        Corpus("w", "all", ["a", "b"], np.array([[1, 0], [1, 1]], dtype=np.uint8), exclusive, ["1", "2"])


# GoEmotions


def goemotions(train: str | bytes, labels: str | None = None) -> dict[str, str | bytes]:
    names = LabelSet.load("goemotions").names
    files: dict[str, str | bytes] = {f"goemotions/{split}.tsv": "Fine.\t27\tz\n" for split in ("dev", "test")}
    return files | {"goemotions/train.tsv": train, "goemotions/labels.txt": labels or "\n".join(names)}


def test_goemotions_rows_as_they_are(put: Put) -> None:
    rows = '"Quoted, and only here\t0\ta1\n Two feelings about [NAME] \t3,2\ta2\nA \u2028 line\x85 inside\t27\ta3\n\n'
    splits = load_corpus("goemotions", data_dir=put(goemotions(rows)))
    assert list(splits) == ["train", "dev", "test"]
    train = splits["train"]
    assert train.texts == ['"Quoted, and only here', "Two feelings about [NAME]", "A \u2028 line\x85 inside"]
    assert train.label_lists() == [["admiration"], ["anger", "annoyance"], ["neutral"]]
    assert train.ids == ["a1", "a2", "a3"]
    assert train.problems == []
    assert (splits["test"].name, splits["test"].split) == ("goemotions", "test")


def test_goemotions_with_windows_line_ends_and_byte_order_mark(put: Put) -> None:
    train = load_corpus("goemotions", data_dir=put(goemotions(b"\xef\xbb\xbfOne\t0\ta\r\nTwo\t1\tb\r\n")))[
        "train"
    ]
    assert (train.texts, train.ids) == (["One", "Two"], ["a", "b"])


def test_goemotions_numbers_follow_labels_txt(put: Put) -> None:
    backwards = "\n".join(reversed(LabelSet.load("goemotions").names)) + "\n"
    splits = load_corpus("goemotions", data_dir=put(goemotions("So so.\t0\ta\n", labels=backwards)))
    assert splits["train"].label_lists() == [["neutral"]]


def test_goemotions_with_other_labels_is_refused(put: Put) -> None:
    other = "\n".join(LabelSet.load("goemotions").names).replace("grief", "gloom")
    with pytest.raises(
        DataError, match=r"labels\.txt: does not list the 28 labels .* \(not in both: gloom, grief\)"
    ):
        load_corpus("goemotions", data_dir=put(goemotions("So so.\t0\ta\n", labels=other)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"No labels here\ta9", r"2 fields instead of 3 \(text, labels, id; tabs between\)"),
        (b"Too\tmany\t1\ta9", "4 fields instead of 3"),
        (b"Number out of range\t28\ta9", "labels are '28', not numbers from 0 to 27"),
        (b"Words for numbers\tjoy\ta9", "labels are 'joy', not numbers"),
        (b"Cut off\t1,\ta9", "labels are '1,', not numbers"),
        (b" \t1\ta9", "the text is empty"),
        (b"No id\t1\t", "the id is empty"),
        (b"Caf\xe9\t1\ta9", "the line is not UTF-8"),
    ],
)
def test_goemotions_malformed_rows_stop_or_are_listed(row: bytes, message: str, put: Put) -> None:
    folder = put(goemotions(b"Good\t0\ta1\n" + row + b"\nAlso good\t1\ta3\n"))
    path = folder / "goemotions" / "train.tsv"
    with pytest.raises(DataError, match=f"{message}.*; correct the row, or .* --on-error skip") as error:
        load_corpus("goemotions", data_dir=folder)
    assert str(error.value).startswith(f"{path}:2: ")
    train = load_corpus("goemotions", data_dir=folder, on_error="skip")["train"]
    assert train.ids == ["a1", "a3"]
    assert [(p.path, p.row, p.kind) for p in train.problems] == [(str(path), 2, "skipped")]
    assert str(train.problems[0]).startswith(f"{path}:2: skipped: ")


# ISEAR: few of its columns, in the order of the real file

ISEAR_HEADER = "ID|CITY|Field1|Field3|MYKEY|SIT|STATE|"


def isear(*rows: tuple[str, str, str], state: str = "1") -> str:
    return (
        "\n".join([ISEAR_HEADER, *(f"7|1|{label}|4|{key}|{text}|{state}|" for label, key, text in rows)])
        + "\n"
    )


def isear_text(put: Put, text: str, state: str = "1") -> str:
    corpus = load_corpus("isear", data_dir=put({"isear/isear.csv": isear(("joy", "k", text), state=state)}))[
        "all"
    ]
    assert corpus.problems == []
    return corpus.texts[0]


def test_isear_reads_label_id_subject_and_text(put: Put) -> None:
    rows = isear(("joy", "0071", "We won."), ("guilt", "0072", "I lied to her."))
    corpora = load_corpus("isear", data_dir=put({"isear/isear.csv": rows}))
    assert list(corpora) == ["all"]
    corpus = corpora["all"]
    assert (corpus.texts, corpus.label_lists()) == (["We won.", "I lied to her."], [["joy"], ["guilt"]])
    assert (corpus.ids, corpus.extra) == (["0071", "0072"], {"subject": ["7", "7"]})
    assert corpus.repairs == {}


@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        ("The dog ran and á the cat  hid. á", "The dog ran and the cat hid."),
        ("We slept.á Then it rained.á", "We slept. Then it rained."),
        ("At the Café Málaga", "At the Café Málaga"),
        ("He is called Bj÷rn", "He is called Björn"),
        ("It was 30¦ in the shade", "It was 30° in the shade"),
        (r'I was \late\" again and á|had to say \"sorry\"."', 'I was "late" again and had to say "sorry".'),
        (r'They sang \Happy birthday\""', 'They sang "Happy birthday"'),
        (r'A \three\" is bad.|NB: it is not \"the worst\"."', 'A "three" is bad. NB: it is not "the worst".'),
    ],
)
def test_isear_repairs(raw: str, mended: str, put: Put) -> None:
    assert isear_text(put, raw) == mended


def test_isear_stray_quote_in_the_last_column(put: Put) -> None:
    assert (
        isear_text(put, r"He said \I am not a á|radiator\".", state='1"') == 'He said "I am not a radiator".'
    )
    assert isear_text(put, r"He whispered \no\"", state='1"') == 'He whispered "no"'


def test_isear_counts_what_it_mends(put: Put) -> None:
    rows = isear(("joy", "1", "a á b"), ("joy", "2", "c á d á e"), ("fear", "3", r'a \b\" á|c"'))
    repairs = load_corpus("isear", data_dir=put({"isear/isear.csv": rows}))["all"].repairs
    assert sorted(repairs.values()) == [1, 1, 3]
    assert repairs["á where a line of the original ended"] == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[ No response.]", "remark in brackets"),
        (r'[ The same á|as in \fear\".]"', "remark in brackets"),
        ("NO RESPONSE.", "no response"),
        ("Doesn't apply.", "no response"),
        ("Blank.", "no response"),
        (" á ", "empty answer"),
        ("", "empty answer"),
    ],
)
def test_isear_answers_that_are_none_are_left_out_and_listed(text: str, reason: str, put: Put) -> None:
    folder = put({"isear/isear.csv": isear(("joy", "1", "We won."), ("shame", "2", text))})
    corpus = load_corpus("isear", data_dir=folder)["all"]
    assert corpus.ids == ["1"]
    assert corpus.problems == [Problem(str(folder / "isear" / "isear.csv"), 3, reason, "dropped")]


def test_isear_keeps_doubled_and_conflicting_texts(put: Put) -> None:
    rows = isear(("joy", "1", "The exam."), ("fear", "2", "The exam."), ("fear", "3", "The exam."))
    corpus = load_corpus("isear", data_dir=put({"isear/isear.csv": rows}))["all"]
    assert corpus.label_lists() == [["joy"], ["fear"], ["fear"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7|1|joy|4|k|cut off", "6 fields instead of at least 8"),
        ("7|1|envy|4|k|He has a boat.|1|", "Field1 is 'envy', not one of joy, fear"),
        ("7|1|joy|4||We won.|1|", "MYKEY, the id, is empty"),
    ],
)
def test_isear_malformed_rows(row: str, message: str, put: Put) -> None:
    folder = put({"isear/isear.csv": isear(("joy", "1", "We won.")) + row + "\n\n"})
    with pytest.raises(DataError, match=rf"isear\.csv:3: {message}"):
        load_corpus("isear", data_dir=folder)
    corpus = load_corpus("isear", data_dir=folder, on_error="skip")["all"]
    assert (len(corpus), [p.row for p in corpus.problems]) == (1, [3])


@pytest.mark.parametrize("content", ["", "ID|Field1|SIT|\n7|joy|We won.|\n", "SIT|ID|Field1|MYKEY|\n"])
def test_isear_without_its_header(content: str, put: Put) -> None:
    with pytest.raises(
        DataError, match=r"isear\.csv:1: the header .* before SIT; restore the published file"
    ):
        load_corpus("isear", data_dir=put({"isear/isear.csv": content}))


# the real files: counts as their authors and the literature give them


@real_data
def test_the_real_corpora_have_their_known_sizes() -> None:
    sizes = {
        f"{name} {split}": len(c) for name in CORPORA for split, c in load_corpus(name, data_dir=REAL).items()
    }
    assert sizes == {
        "goemotions train": 43410,
        "goemotions dev": 5426,
        "goemotions test": 5427,
        "isear all": 7666 - 217,
        "emoint train": 3613,
        "emoint dev": 347,
        "emoint test": 3142,
        "emotion_stimulus all": 2414,
    }


@real_data
def test_the_real_isear_is_mended() -> None:
    corpus = load_corpus("isear", data_dir=REAL)["all"]
    assert not [text for text in corpus.texts if any(mark in text for mark in "\\|á÷¦")]
    assert not [text for text in corpus.texts if text.count('"') % 2]
    assert len(corpus.problems) == 217
    assert all(problem.kind == "dropped" for problem in corpus.problems)


@real_data
def test_the_real_labels_have_their_known_counts() -> None:
    test = load_corpus("goemotions", data_dir=REAL)["test"]
    counts = dict(zip(test.label_set.names, test.labels.sum(axis=0).tolist(), strict=True))
    assert {name: counts[name] for name in ("grief", "relief", "pride", "nervousness", "neutral")} == {
        "grief": 6,
        "relief": 11,
        "pride": 16,
        "nervousness": 23,
        "neutral": 1787,
    }
    stimuli = load_corpus("emotion_stimulus", data_dir=REAL)["all"]
    counts = dict(zip(stimuli.label_set.names, stimuli.labels.sum(axis=0).tolist(), strict=True))
    assert counts == {
        "sad": 575,
        "anger": 483,
        "happy": 479,
        "fear": 423,
        "surprise": 213,
        "shame": 146,
        "disgust": 95,
    }
    assert sum(span is not None for span in stimuli.extra["cause"]) == 820
