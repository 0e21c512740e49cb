"""GoEmotions: Reddit comments with one or more emotions, or neutral (Demszky et al., ACL 2020). Imports corpora.core, labels.

Files: train.tsv, dev.tsv, test.tsv, one comment a line: text, comma-joined label numbers, comment id, parted by
tabs, with no header and no quoting (a quote is part of the text). labels.txt names the numbers, one a line from 0.
"""

from __future__ import annotations

import os
from pathlib import Path

from emodef.corpora.core import Corpus, Reading, corpus_file, read_lines
from emodef.errors import DataError
from emodef.labels import LabelSet

NAME = "goemotions"
SPLITS = ("train", "dev", "test")


def read(data_dir: str | os.PathLike[str] | None = None, on_error: str = "fail") -> dict[str, Corpus]:
    """The three splits as the authors made them; outer blanks of texts are cut, [NAME] and [RELIGION] kept.

    Raises DataError for a missing file or, under on_error="fail", the first malformed row.
    """
    label_set = LabelSet.load(NAME)
    numbered = _numbered_labels(corpus_file(NAME, "labels.txt", data_dir), label_set)
    splits = {}
    for split in SPLITS:
        reading = Reading(on_error)
        _read_split(corpus_file(NAME, f"{split}.tsv", data_dir), numbered, reading)
        splits[split] = reading.corpus(NAME, split, label_set)
    return splits


def _numbered_labels(path: Path, label_set: LabelSet) -> dict[str, str]:
    """Number, as text -> name. They must be the label set's, in any order, for the definitions to fit."""
    names = [line.strip() for _, line in read_lines(path, Reading("fail")) if line.strip()]
    if sorted(names) != sorted(label_set.names):
        odd = sorted(set(names) ^ set(label_set.names))
        raise DataError(
            f"does not list the {len(label_set)} labels of GoEmotions (not in both: {', '.join(odd) or 'none'}); "
            "restore the published file",
            path,
        )
    return {str(number): name for number, name in enumerate(names)}


def _read_split(path: Path, numbered: dict[str, str], reading: Reading) -> None:
    for row, line in read_lines(path, reading):
        fields = [field.strip() for field in line.split("\t")]
        if fields == [""]:
            continue
        if len(fields) != 3:
            reading.bad(path, row, f"{len(fields)} fields instead of 3 (text, labels, id; tabs between)")
            continue
        text, numbers, identifier = fields
        labels = [numbered[n] for n in numbers.split(",") if n in numbered]
        if len(labels) != numbers.count(",") + 1:
            last = len(numbered) - 1
            reading.bad(
                path, row, f"the labels are {numbers!r}, not numbers from 0 to {last} with commas between"
            )
        elif not text:
            reading.bad(path, row, "the text is empty")
        elif not identifier:
            reading.bad(path, row, "the id is empty")
        else:
            reading.add(text, labels, identifier)
