"""The readers of EmoInt and Emotion-Stimulus: every quirk of their files, on lines written for these tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from emodef.corpora import load_corpus
from emodef.corpora.emotion_stimulus import parse_tagged
from emodef.errors import DataError
from emodef.labels import LabelSet

Put = Callable[[Mapping[str, str | bytes]], Path]


# EmoInt


def emoint(anger: str = "1\tGrr\tanger\t0.5\n", **train: str) -> dict[str, str]:
    files = {}
    for emotion in LabelSet.load("emoint").names:
        for ending in ("train", "dev.gold", "test.gold"):
            row = (
                train.get(emotion, f"9\tHm\t{emotion}\t0.250\n")
                if ending == "train"
                else f"8\tHm\t{emotion}\t1\n"
            )
            files[f"emoint/{emotion}-ratings-0to1.{ending}.txt"] = row
    return files | {"emoint/anger-ratings-0to1.train.txt": anger}


def test_emoint_reads_all_files_with_intensities(put: Put) -> None:
    splits = load_corpus("emoint", data_dir=put(emoint("10\tGo away #mad\tanger\t0.938\n")))
    assert [(split, len(corpus)) for split, corpus in splits.items()] == [
        ("train", 4),
        ("dev", 4),
        ("test", 4),
    ]
    train = splits["train"]
    assert train.label_lists() == [["anger"], ["fear"], ["joy"], ["sadness"]]
    assert (train.texts[0], train.ids[0]) == ("Go away #mad", "10")
    assert train.intensity is not None
    assert train.intensity.dtype == np.float32
    assert train.intensity.tolist() == pytest.approx([0.938, 0.25, 0.25, 0.25])


def test_emoint_mends_written_line_ends_and_entities(put: Put) -> None:
    tweet = r"First\nsecond\r\r third &amp; &lt;3 &#39;so&#39; R&D &amp;amp; AT&T;"
    train = load_corpus("emoint", data_dir=put(emoint(f'1\t{tweet} "x\tanger\t0\n')))["train"]
    assert train.texts[0] == "First second third & <3 'so' R&D &amp; AT&T; \"x"
    assert train.repairs == {r"\n or \r written out": 1, "HTML entities": 1}


def test_emoint_keeps_a_tweet_under_two_emotions_as_two_texts(put: Put) -> None:
    rows = emoint("1\tWhat a day\tanger\t0.2\n", fear="2\tWhat a day\tfear\t0.7\n")
    train = load_corpus("emoint", data_dir=put(rows))["train"]
    same = [i for i, text in enumerate(train.texts) if text == "What a day"]
    assert [train.label_lists()[i] for i in same] == [["anger"], ["fear"]]
    assert [train.ids[i] for i in same] == ["1", "2"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("5\tGrr anger 0.5", "2 fields instead of 4"),
        ("5\tGrr\tfear\t0.5", "the emotion is 'fear', not 'anger' as the file's name says"),
        ("5\tGrr\tanger\tNONE", "the intensity is 'NONE', not a number from 0 to 1"),
        ("5\tGrr\tanger\t1.5", "the intensity is '1.5'"),
        ("5\tGrr\tanger\tnan", "the intensity is 'nan'"),
        ("\tGrr\tanger\t0.5", "the id is empty"),
        ("5\t \tanger\t0.5", "the tweet is empty"),
    ],
)
def test_emoint_malformed_rows(row: str, message: str, put: Put) -> None:
    folder = put(emoint("1\tGrr\tanger\t0.5\n" + row + "\n\n"))
    with pytest.raises(DataError, match=rf"anger-ratings-0to1\.train\.txt:2: {message}"):
        load_corpus("emoint", data_dir=folder)
    train = load_corpus("emoint", data_dir=folder, on_error="skip")["train"]
    assert (len(train), [p.row for p in train.problems]) == (4, [2])
    assert train.intensity is not None
    assert len(train.intensity) == 4


# Emotion-Stimulus


def stimulus(rows: str, causes: str | None = None) -> dict[str, str]:
    files = {"emotion_stimulus/emotion-stimulus.csv": "Emotion,Text\r\n" + rows}
    return files if causes is None else files | {"emotion_stimulus/Emotion Cause.txt": causes}


def test_emotion_stimulus_reads_the_csv(put: Put) -> None:
    rows = 'happy,I like it . \r\nsad,"Well , "" no "" , he left ; ` bye \' . "\r\n'
    corpus = load_corpus("emotion_stimulus", data_dir=put(stimulus(rows)))["all"]
    assert corpus.texts == ["I like it .", 'Well , " no " , he left ; ` bye \' .']
    assert (corpus.label_lists(), corpus.ids) == ([["happy"], ["sad"]], ["1", "2"])
    assert corpus.extra == {}


def test_emotion_stimulus_finds_the_causes(put: Put) -> None:
    rows = "happy,I am happy to  swim . \nhappy,I am happy to swim . \nfear,I fear it .\nsad,to swim is sad\n"
    causes = (
        "<happy>I am happy <cause>to swim<\\cause> . <\\happy>\n<sad><cause>to swim<\\cause> is sad<\\sad>\n"
    )
    corpus = load_corpus("emotion_stimulus", data_dir=put(stimulus(rows, causes)))["all"]
    assert corpus.extra["cause"] == [(11, 18), None, None, (0, 7)]  # equal sentences: the first
    assert [
        text[slice(*span)] for text, span in zip(corpus.texts, corpus.extra["cause"], strict=True) if span
    ] == [
        "to swim",
        "to swim",
    ]
    assert corpus.take([3]).extra["cause"] == [(0, 7)]


def test_emotion_stimulus_an_opening_tag_too_many(put: Put) -> None:
    causes = '<sad>` <cause>I am sad <cause>we lost<\\cause> , " he said . <\\sad>\n'
    rows = 'sad,"` I am sad we lost , "" he said . "\n'
    corpus = load_corpus("emotion_stimulus", data_dir=put(stimulus(rows, causes)))["all"]
    (span,) = corpus.extra["cause"]
    assert corpus.texts[0][slice(*span)] == "we lost"
    assert corpus.repairs == {"an opening cause tag too many": 1}


def test_the_cause_is_the_one_tagged_not_an_earlier_equal_word() -> None:
    assert parse_tagged(r"<fear>it is it that <cause>it<\cause> fears<\fear>") == (
        "fear",
        "it is it that it fears",
        (14, 16),
    )


@pytest.mark.parametrize(
    "line",
    [
        "<sad>no end tag",
        r"<sad>no cause<\sad>",
        r"<sad>a <cause>b<\cause><\happy>",
        "<sad>XML <cause>x</cause></sad>",
    ],
)
def test_lines_that_are_not_tagged_so(line: str, put: Put) -> None:
    assert parse_tagged(line) is None
    folder = put(stimulus("sad,I wept .\n", f"\n{line}\n"))
    with pytest.raises(DataError, match=r"Emotion Cause\.txt:2: not of the form <emotion>text"):
        load_corpus("emotion_stimulus", data_dir=folder)
    corpus = load_corpus("emotion_stimulus", data_dir=folder, on_error="skip")["all"]
    assert (corpus.extra["cause"], [p.row for p in corpus.problems]) == ([None], [2])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("happy,Well , yes", "3 fields instead of 2 .* quote a text that has commas"),
        ("bored,I yawn", "the emotion is 'bored', not one of sad, anger"),
        ("sad,  ", "the text is empty"),
        ('sad,"He "left" ."', "broken CSV quoting .* double the quotes"),
    ],
)
def test_emotion_stimulus_malformed_rows(row: str, message: str, put: Put) -> None:
    folder = put(stimulus('happy,"two\nlines"\n' + row + "\nsad,I wept .\n"))
    with pytest.raises(DataError, match=rf"emotion-stimulus\.csv:4: {message}"):
        load_corpus("emotion_stimulus", data_dir=folder)
    corpus = load_corpus("emotion_stimulus", data_dir=folder, on_error="skip")["all"]
    assert corpus.texts == ["two lines", "I wept ."]
    assert [p.row for p in corpus.problems] == [4]


def test_emotion_stimulus_a_quote_that_never_closes(put: Put) -> None:
    folder = put(stimulus('happy,Yes .\nsad,"I wept .\nfear,Help .\n'))
    with pytest.raises(
        DataError, match=r"emotion-stimulus\.csv:3: broken CSV quoting \(unexpected end of data\)"
    ):
        load_corpus("emotion_stimulus", data_dir=folder)


@pytest.mark.parametrize("content", ["", "happy,Yes .\n"])
def test_emotion_stimulus_without_its_header(content: str, put: Put) -> None:
    with pytest.raises(DataError, match=r"emotion-stimulus\.csv:1: the header is .*, not 'Emotion,Text'"):
        load_corpus("emotion_stimulus", data_dir=put({"emotion_stimulus/emotion-stimulus.csv": content}))


def test_emotion_stimulus_a_cause_without_its_sentence(put: Put) -> None:
    causes = "<sad>I <cause>wept<\\cause> .<\\sad>\n" * 2
    with pytest.raises(
        DataError, match=r"Emotion Cause\.txt:2: the sentence is not, or not as often, in emotion-"
    ):
        load_corpus("emotion_stimulus", data_dir=put(stimulus("sad,I wept .\n", causes)))
