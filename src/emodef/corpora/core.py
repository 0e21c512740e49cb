"""Corpus: texts, labels, their label set, and what the reading left out; data folders. Imports numpy, labels, errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet


@dataclass(frozen=True)
class Problem:
    """A row that is not in the corpus, and why."""

    path: str
    row: int  # line of the file, from 1
    reason: str
    kind: str = "skipped"  # "skipped": malformed, on_error="skip"; "dropped": well formed but not an example

    def __str__(self) -> str:
        return f"{self.path}:{self.row}: {self.kind}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Corpus:
    """One split of a corpus: n texts with labels from one label set.

    labels: uint8 (n, K), 1 where the text has the label. ids: n identifiers, the source's own if it has any.
    intensity: float32 (n,), strength of the emotion between 0 and 1, for corpora that rate it.
    extra: further columns; every value is a list or array of length n.
    problems: the rows of the source that are not here. repairs: what was mended -> in how many texts. notes: what else is to be
    known of the source, a sentence each.

    Raises DataError if the parts do not fit together.
    """

    name: str
    split: str
    texts: list[str]
    labels: NDArray[np.uint8]
    label_set: LabelSet
    ids: list[str]
    intensity: NDArray[np.float32] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        what, n = f"corpus {self.name!r}, split {self.split!r}", len(self.texts)
        if self.labels.dtype != np.uint8 or self.labels.shape != (n, len(self.label_set)):
            raise DataError(
                f"{what}: labels are {self.labels.dtype} {self.labels.shape}, "
                f"not uint8 ({n}, {len(self.label_set)}): one row a text, one column a label"
            )
        if self.labels.size and self.labels.max() > 1:
            raise DataError(f"{what}: labels hold {self.labels.max()}; only 0 and 1 have a meaning")
        if self.label_set.exclusive and (several := np.flatnonzero(self.labels.sum(axis=1) > 1)).size:
            raise DataError(
                f"{what}: text {several[0] + 1} has several labels, but the label set "
                f"{self.label_set.name!r} is exclusive; give it one label, or set exclusive = false in the label set's file"
            )
        columns = {"ids": self.ids, "intensity": self.intensity, **self.extra}
        for column, values in columns.items():
            if values is not None and len(values) != n:
                raise DataError(f"{what}: {column} has {len(values)} entries for {n} texts")

    def __len__(self) -> int:
        return len(self.texts)

    def label_lists(self) -> list[list[str]]:
        """The label names of each text, in the label set's order."""
        names = self.label_set.names
        return [[names[k] for k in np.flatnonzero(row)] for row in self.labels]

    def take(self, indices: ArrayLike) -> Corpus:
        """The texts at `indices`, in that order, with their columns; problems, repairs and notes stay those of the whole."""
        rows = np.asarray(indices, dtype=np.intp).ravel()
        return Corpus(
            name=self.name,
            split=self.split,
            texts=[self.texts[i] for i in rows],
            labels=self.labels[rows],
            label_set=self.label_set,
            ids=[self.ids[i] for i in rows],
            intensity=None if self.intensity is None else self.intensity[rows],
            extra={
                k: v[rows] if isinstance(v, np.ndarray) else [v[i] for i in rows]
                for k, v in self.extra.items()
            },
            problems=self.problems,
            repairs=self.repairs,
            notes=self.notes,
        )


@dataclass
class Reading:
    """What a reader gathers for one split, row by row, and what it does with a row it cannot use."""

    on_error: str = "fail"
    texts: list[str] = field(default_factory=list)
    labels: list[Sequence[str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    intensity: list[float] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_on_error(self.on_error)

    def add(self, text: str, labels: Sequence[str], identifier: str) -> None:
        """Keep a row."""
        self.texts.append(text)
        self.labels.append(labels)
        self.ids.append(identifier)

    def bad(self, path: str | os.PathLike[str], row: int, message: str) -> None:
        """A malformed row: DataError under on_error="fail"; under "skip" it is noted and left out."""
        if self.on_error == "fail":
            raise DataError(
                f"{message}; correct the row, or leave such rows out with --on-error skip", path, row
            )
        self.problems.append(Problem(os.fspath(path), row, message))

    def drop(self, path: str | os.PathLike[str], row: int, reason: str) -> None:
        """A well-formed row that is not an example, such as an answer left blank: noted and left out."""
        self.problems.append(Problem(os.fspath(path), row, reason, kind="dropped"))

    def mend(self, text: str, repairs: Mapping[str, Callable[[str], str]]) -> str:
        """Apply `repairs` (what is mended -> function) in order and count those that changed the text."""
        for what, repair in repairs.items():
            mended = repair(text)
            if mended != text:
                self.count(what)
                text = mended
        return text

    def count(self, what: str) -> None:
        """Note that `what` was mended in one more text."""
        self.repairs[what] = self.repairs.get(what, 0) + 1

    def corpus(
        self, name: str, split: str, label_set: LabelSet, extra: dict[str, Any] | None = None
    ) -> Corpus:
        """The rows gathered so far as a Corpus."""
        return Corpus(
            name=name,
            split=split,
            texts=self.texts,
            labels=label_set.multi_hot(self.labels),
            label_set=label_set,
            ids=self.ids,
            intensity=np.array(self.intensity, dtype=np.float32) if self.intensity else None,
            extra=extra or {},
            problems=self.problems,
            repairs=self.repairs,
            notes=self.notes,
        )


def check_on_error(on_error: str) -> None:
    """Raise SettingsError unless `on_error` is "fail" or "skip"."""
    if on_error not in ("fail", "skip"):
        raise SettingsError(
            f"on_error is {on_error!r}; it can be 'fail' (stop at a malformed row) or 'skip' (leave it out)"
        )


def data_root(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder with a folder for each corpus: `data_dir`, else $EMODEF_DATA, else the user's cache."""
    if data_dir is not None:
        return Path(data_dir).expanduser()
    if given := os.environ.get("EMODEF_DATA"):
        return Path(given).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "emodef" / "data"


def corpus_file(name: str, file: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The path of one file of a shipped corpus. Raises DataError, with both ways to get it, if it is missing."""
    path = data_root(data_dir) / name / file
    if not path.is_file():
        raise DataError(
            f"the corpus {name!r} is not here; fetch it with: emodef data fetch {name}, or name the folder "
            f"that holds {name}/{file} with --data-dir or the variable EMODEF_DATA",
            path,
        )
    return path


def one_line(text: str) -> str:
    """`text` with every run of blanks and line ends as one space, and none at its ends."""
    return " ".join(text.split())


def read_lines(path: str | os.PathLike[str], reading: Reading) -> Iterator[tuple[int, str]]:
    """(row from 1, line without its end) of a UTF-8 file; a line that is not UTF-8 goes to `reading.bad`.

    Lines end at LF or CRLF only: the separators Unicode adds occur inside texts. A byte order mark is dropped.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}; check the path and its permissions", path
        ) from None
    if lines[-1] == b"":
        lines.pop()
    for row, raw in enumerate(lines, start=1):
        try:
            yield row, raw.removesuffix(b"\r").decode("utf-8-sig" if row == 1 else "utf-8")
        except UnicodeDecodeError:
            reading.bad(path, row, "the line is not UTF-8")
