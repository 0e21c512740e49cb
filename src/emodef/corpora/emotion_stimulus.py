"""Emotion-Stimulus: sentences with one of seven emotions, some with its cause marked (CICLing 2015). Imports corpora.core, labels.

Files: emotion-stimulus.csv, the corpus, as CSV with the header Emotion,Text; `Emotion Cause.txt`, those of its sentences that
name the cause, as `<happy>text <cause>cause<\\cause> text<\\happy>`. Tags close with a backslash, so this is not XML, and one
sentence has an opening tag too many.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from emodef.corpora.core import Corpus, Reading, corpus_file, data_root, one_line, read_lines
from emodef.errors import DataError
from emodef.labels import LabelSet

NAME = "emotion_stimulus"
FILE = "emotion-stimulus.csv"
CAUSE_FILE = "Emotion Cause.txt"

_SENTENCE = re.compile(r"<(\w+)>(.*)<\\\1>\s*")
_CAUSE = re.compile(r"<cause>((?:(?!<cause>).)*)<\\cause>")

Span = tuple[int, int]  # first character and the one after the last


def read(data_dir: str | os.PathLike[str] | None = None, on_error: str = "fail") -> dict[str, Corpus]:
    """All rows as one split, "all", numbered from 1; texts stay parted into tokens by blanks, as published.

    `extra["cause"]` has (start, end) character positions of the cause in each text, or None where none is marked. It
    is left out if the folder has no `Emotion Cause.txt`.

    Raises DataError for a missing file, a wrong header and, under on_error="fail", the first malformed row.
    """
    label_set = LabelSet.load(NAME)
    reading = Reading(on_error)
    _read_rows(corpus_file(NAME, FILE, data_dir), label_set, reading)
    extra = {}
    cause_path = data_root(data_dir) / NAME / CAUSE_FILE
    if cause_path.is_file():
        extra["cause"] = _match_causes(cause_path, reading)
    return {"all": reading.corpus(NAME, "all", label_set, extra)}


def _read_rows(path: Path, label_set: LabelSet, reading: Reading) -> None:
    rows = _csv_rows(path, reading)
    header = next(rows, (1, []))[1]
    if header != ["Emotion", "Text"]:
        raise DataError(
            f"the header is {','.join(header)!r}, not 'Emotion,Text'; restore the published file", path, 1
        )
    for row, fields in rows:
        if not fields:
            continue
        if len(fields) != 2:
            reading.bad(
                path, row, f"{len(fields)} fields instead of 2 (emotion, text); quote a text that has commas"
            )
            continue
        label, text = fields[0].strip(), one_line(fields[1])
        if label not in label_set.names:
            reading.bad(path, row, f"the emotion is {label!r}, not one of {', '.join(label_set.names)}")
        elif not text:
            reading.bad(path, row, "the text is empty")
        else:
            reading.add(text, [label], str(row - 1))


def _csv_rows(path: Path, reading: Reading) -> Iterator[tuple[int, list[str]]]:
    """(line a record starts at, its fields); the csv module alone would name no line for broken quoting."""
    lines = list(read_lines(path, reading))
    records = csv.reader((line + "\n" for _, line in lines), strict=True)
    while True:
        start = records.line_num
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            reading.bad(
                path, lines[start][0], f"broken CSV quoting ({error}); double the quotes inside a quoted text"
            )
            continue
        yield lines[start][0], fields


def _match_causes(path: Path, reading: Reading) -> list[Span | None]:
    """The cause of each text gathered, from the tagged sentences; equal sentences are matched in order."""
    waiting: dict[tuple[str, str], list[int]] = {}
    for i, (text, labels) in enumerate(zip(reading.texts, reading.labels, strict=True)):
        waiting.setdefault((labels[0], text), []).append(i)
    causes: list[Span | None] = [None] * len(reading.texts)
    for row, line in read_lines(path, reading):
        if not line.strip():
            continue
        if (parsed := parse_tagged(line)) is None:
            reading.bad(path, row, r"not of the form <emotion>text <cause>cause<\cause> text<\emotion>")
            continue
        label, text, span = parsed
        if line.count("<cause>") > 1:
            reading.count("an opening cause tag too many")
        if places := waiting.get((label, text)):
            causes[places.pop(0)] = span
        else:
            reading.bad(path, row, f"the sentence is not, or not as often, in {FILE} under {label!r}")
    return causes


def parse_tagged(line: str) -> tuple[str, str, Span] | None:
    """(emotion, text, span of the cause) of a tagged sentence, or None if it is not one.

    Of two opening tags before a closing one, the inner counts.
    """
    sentence = _SENTENCE.fullmatch(line.strip())
    cause = _CAUSE.search(sentence[2]) if sentence else None
    if sentence is None or cause is None:
        return None
    before = one_line(_untagged(sentence[2][: cause.start()]))
    text = one_line(_untagged(sentence[2]))
    words = one_line(cause[1])
    start = text.index(words, len(before))
    return sentence[1], text, (start, start + len(words))


def _untagged(text: str) -> str:
    return text.replace("<cause>", "").replace(r"<\cause>", "")
