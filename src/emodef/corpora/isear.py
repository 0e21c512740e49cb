"""ISEAR: situations in which people felt one of seven emotions (Scherer and Wallbott, 1994). Imports corpora.core, labels.

File: isear.csv, fields parted by `|`, with a header; the label is in Field1, the text in SIT, the id in MYKEY. The file
went through several hands, and its marks are mended here: `á` stands where a line of the original ended; quotes were
taken for CSV quoting, so that the first of a text is left as `\\`, the others as `\\"`, a stray `"` stands at the end of
the row, and a line end inside such a text became a further `|`; `÷` and `¦` are ö and ° read in another code page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from emodef.corpora.core import Corpus, Reading, corpus_file, one_line, read_lines
from emodef.errors import DataError
from emodef.labels import LabelSet

NAME = "isear"
FILE = "isear.csv"

_BEFORE_TEXT = ("ID", "Field1", "MYKEY")  # read by position from the left
_NO_RESPONSE = {
    "no response",
    "doesn't apply",
    "not applicable",
    "not applicable to myself",
    "nothing",
    "none",
    "blank",
}


def _mend_quotes(text: str) -> str:
    if "\\" not in text:
        return text
    text = text.rstrip()
    if text.endswith('"') and not text.endswith('\\"'):
        text = text[:-1]
    return text.replace('\\"', '"').replace("\\", '"')


_REPAIRS = {
    "a further | where a line of a quoted text ended": lambda text: text.replace("|", " "),
    "á where a line of the original ended": lambda text: re.sub(r"á(?!\w)", " ", text),
    "quotes mangled by CSV quoting": _mend_quotes,
    "÷ in place of ö": lambda text: text.replace("÷", "ö"),
    "¦ in place of °": lambda text: text.replace("¦", "°"),
}


def read(data_dir: str | os.PathLike[str] | None = None, on_error: str = "fail") -> dict[str, Corpus]:
    """All rows as one split, "all"; `extra["subject"]` says who answered, for splits that keep people apart.

    Blank answers ("NO RESPONSE") and the coders' remarks in brackets are left out and listed in `problems`; doubled
    texts stay, also under different labels.

    Raises DataError for a missing file, a header without the columns needed and, under on_error="fail", the first
    malformed row.
    """
    label_set = LabelSet.load(NAME)
    reading = Reading(on_error)
    subjects = _read_rows(corpus_file(NAME, FILE, data_dir), label_set, reading)
    return {"all": reading.corpus(NAME, "all", label_set, extra={"subject": subjects})}


def _read_rows(path: Path, label_set: LabelSet, reading: Reading) -> list[str]:
    """Fill `reading`; returns the subject of each row kept."""
    lines = read_lines(path, reading)
    header = next(lines, (1, ""))[1].split("|")
    missing = [column for column in (*_BEFORE_TEXT, "SIT") if column not in header]
    if missing or max(map(header.index, _BEFORE_TEXT)) > header.index("SIT"):
        raise DataError(
            f"the header has no column {', '.join(missing)} before SIT; restore the published file", path, 1
        )
    subject_at, label_at, id_at = map(header.index, _BEFORE_TEXT)
    text_at = header.index("SIT")
    after = (
        len(header) - text_at - 1
    )  # the text may hold further |, so what follows it is counted from the right
    subjects = []
    for row, line in lines:
        if not line.strip():
            continue
        fields = line.split("|")
        if len(fields) < len(header):
            reading.bad(path, row, f"{len(fields)} fields instead of at least {len(header)} (| between)")
            continue
        label, raw = fields[label_at].strip(), "|".join(fields[text_at : len(fields) - after])
        if label not in label_set.names:
            reading.bad(path, row, f"Field1 is {label!r}, not one of {', '.join(label_set.names)}")
        elif not fields[id_at].strip():
            reading.bad(path, row, "MYKEY, the id, is empty")
        elif reason := _no_example(one_line(raw.replace("á", " "))):
            reading.drop(path, row, reason)
        else:
            reading.add(one_line(reading.mend(raw, _REPAIRS)), [label], fields[id_at].strip())
            subjects.append(fields[subject_at].strip())
    return subjects


def _no_example(text: str) -> str | None:
    """Why an answer is not an example of its emotion, or None if it is one."""
    if not text.strip('"'):
        return "empty answer"
    if text.startswith("["):
        return "remark in brackets"
    if text.rstrip('."').casefold() in _NO_RESPONSE:
        return "no response"
    return None
