"""EmoInt: tweets with one of four emotions and its intensity (WASSA-2017 shared task). Imports corpora.core, labels.

Files: EMOTION-ratings-0to1.{train,dev.gold,test.gold}.txt, one tweet a line: id, tweet, emotion, intensity from 0 to 1,
parted by tabs, with no header. Line ends inside tweets are written as `\\n` or `\\r`, and &, < and > as HTML entities.
The corpus holds pairs of tweets with and without their emotion hashtag, and some tweets under two emotions, each with its
own id and intensity: every row is kept as a text of its own.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

from emodef.corpora.core import Corpus, Reading, corpus_file, one_line, read_lines
from emodef.labels import LabelSet

NAME = "emoint"
SPLITS = {"train": "train", "dev": "dev.gold", "test": "test.gold"}

_REPAIRS = {
    r"\n or \r written out": lambda text: re.sub(r"\\[nr]", " ", text),
    "HTML entities": lambda text: re.sub(
        r"&(?:#\d+|#[xX][\da-fA-F]+|\w+);", lambda m: html.unescape(m[0]), text
    ),
}


def read(data_dir: str | os.PathLike[str] | None = None, on_error: str = "fail") -> dict[str, Corpus]:
    """The task's three splits, each with `intensity`; the emotions' files one after another, in label order.

    Raises DataError for a missing file or, under on_error="fail", the first malformed row.
    """
    label_set = LabelSet.load(NAME)
    splits = {}
    for split, ending in SPLITS.items():
        reading = Reading(on_error)
        for emotion in label_set.names:
            _read_rows(corpus_file(NAME, f"{emotion}-ratings-0to1.{ending}.txt", data_dir), emotion, reading)
        splits[split] = reading.corpus(NAME, split, label_set)
    return splits


def _read_rows(path: Path, emotion: str, reading: Reading) -> None:
    for row, line in read_lines(path, reading):
        fields = [field.strip() for field in line.split("\t")]
        if fields == [""]:
            continue
        if len(fields) != 4:
            reading.bad(
                path, row, f"{len(fields)} fields instead of 4 (id, tweet, emotion, intensity; tabs between)"
            )
            continue
        identifier, tweet, label, score = fields
        intensity = _intensity(score)
        if label != emotion:
            reading.bad(path, row, f"the emotion is {label!r}, not {emotion!r} as the file's name says")
        elif intensity is None:
            reading.bad(path, row, f"the intensity is {score!r}, not a number from 0 to 1")
        elif not identifier:
            reading.bad(path, row, "the id is empty")
        elif not tweet:
            reading.bad(path, row, "the tweet is empty")
        else:
            reading.add(one_line(reading.mend(tweet, _REPAIRS)), [label], identifier)
            reading.intensity.append(intensity)


def _intensity(score: str) -> float | None:
    try:
        value = float(score)
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None
