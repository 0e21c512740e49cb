"""Users' own files as a Corpus: which column is what, and what a label cell says. Imports corpora.core, corpora.tables, labels."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emodef.corpora.cells import LabelCells, UnusableRow, cell, check_characters, is_missing, listed
from emodef.corpora.core import Corpus, Reading, check_on_error
from emodef.corpora.quoted import is_quoted
from emodef.corpora.tables import AS_CSV, SUFFIXES, Table, open_table
from emodef.definitions import read_labels
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet

# columns found without being named, the first that is there; case does not matter
TEXT_COLUMNS = (
    "text",
    "sentence",
    "comment",
    "comment_text",
    "tweet",
    "utterance",
    "content",
    "message",
    "document",
)
LABEL_COLUMNS = ("labels", "label", "emotions", "emotion")
ID_COLUMNS = ("id",)
SPLITS = {  # as files and columns call them -> as splits are called, in their order
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "valid", "validation", "val"), "dev"),
    "test": "test",
}


def read_file(
    path: str | os.PathLike[str],
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    split_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    delimiter: str | None = None,
    label_set: LabelSet | str | os.PathLike[str] | None = None,
    on_error: str = "fail",
    limit: int | None = None,
    allow_unlabelled: bool = False,
    quoting: bool | None = None,
) -> dict[str, Corpus]:
    """Read a CSV, TSV, JSONL or Parquet file, or a folder with train, dev and test files: split name -> Corpus.

    A file is one split, "all", unless `split_column` says which split each row belongs to. In a folder, the files whose
    names are train, dev (or valid, validation, val) and test are read and other files are not.

    text_column, label_column, id_column: by default the first of TEXT_COLUMNS, LABEL_COLUMNS, ID_COLUMNS that is there.
    Texts and ids are taken as they stand; a row without an id gets "file:row".
    label_columns: one column of 0 and 1 for each label; by default, where there is no label column, all columns that
    are named like labels of `label_set`, which must then be all its labels.
    delimiter: what parts the labels of a cell. By default a cell is one label where it is a label's name, a JSON list
    where it starts with "[", and else parted at the first of | ; , that it holds.
    label_set: a LabelSet, the name of a shipped one, or a TOML file as `read_labels` takes it. Labels may then also be numbers,
    counted from 0 in its order, unless a label is called so; case does not matter. Without one, the labels found make one, sorted;
    see `is_derived`.
    on_error: "fail" stops at the first malformed row; "skip" leaves it out and lists it in the `problems` of the file's
    first split. limit: rows taken from each file. allow_unlabelled: rows (or whole files) may have no labels.
    quoting: whether quotes hold fields together in CSV (by default yes) and TSV (by default no).

    Raises DataError naming file and row, SettingsError for options that do not fit, MissingExtraError for Parquet
    without polars.
    """
    check_on_error(on_error)
    if limit is not None and limit < 1:
        raise SettingsError(f"limit is {limit}; it must be 1 or more")
    if delimiter == "":
        raise SettingsError("the delimiter is empty; give the character that parts labels, such as |")
    if label_column is not None and label_columns:
        raise SettingsError(
            "label_column and label_columns exclude each other; name the one column, or the 0/1 columns"
        )
    if split_column is not None and Path(path).is_dir():
        raise SettingsError(
            "in a folder each file is a split; name one file to split by a column, or leave the option out"
        )
    given = label_set if isinstance(label_set, LabelSet | None) else read_labels(label_set).label_set
    cells = LabelCells(given, delimiter)
    wanted = _Columns(text_column, label_column, tuple(label_columns or ()), id_column, split_column)
    splits: dict[str, Reading] = {}
    for split, file in _files(Path(path)).items():
        table = open_table(file, quoting=quoting)
        columns = _find_columns(table, wanted, cells, file, allow_unlabelled)
        rows = _Rows(file, columns, cells, split, allow_unlabelled)
        splits |= _read_table(table, rows, on_error, limit, quoting)
    name = Path(path).stem or str(path)
    labels = _derived(splits, label_columns or (), name, path) if given is None else given
    order = sorted(splits, key=lambda split: (*SPLITS.values(), split).index(split))
    return {split: splits[split].corpus(name, split, labels) for split in order}


def is_derived(label_set: LabelSet) -> bool:
    """Was the set made from the labels found in a file, so that it only repeats their names as definitions?"""
    return label_set.definitions == label_set.names


def skeleton_toml(names: Iterable[str], name: str = "my-labels") -> str:
    """A label set file for `names` with empty definitions to fill in; LabelSet.load refuses it until they are."""
    names = tuple(names)
    return re.sub(r"(?m)^definition = .*$", 'definition = ""', LabelSet(name, names, names).to_toml())


@dataclass(frozen=True)
class _Columns:
    """Which column holds what; None where the user did not say, or where there is none."""

    text: str | None
    label: str | None
    hot: tuple[str, ...]
    id: str | None
    split: str | None

    def all(self) -> list[str]:
        return [
            column for column in (self.text, self.label, *self.hot, self.id, self.split) if column is not None
        ]


def _files(path: Path) -> dict[str | None, Path]:
    """Split -> file; the split is None for a file given by itself."""
    if not path.is_dir():
        return {None: path}
    files: dict[str | None, Path] = {}
    for file in sorted(path.iterdir()):
        split = SPLITS.get(file.stem.lower())
        if split and file.suffix.lower() in SUFFIXES:
            if split in files:
                raise DataError(
                    f"has two files for the split {split!r}: {files[split].name}, {file.name}; move one away",
                    path,
                )
            files[split] = file
    if not files:
        raise DataError(
            f"has no train, dev or test file ({', '.join(SUFFIXES)}); name the file itself, or rename it",
            path,
        )
    return files


def read_texts(path: str | os.PathLike[str]) -> list[str]:
    """The texts of a file as `read_file` finds them, whatever labels it has or has not. Raises DataError for a row that cannot be used."""
    file = Path(path)
    reading = Reading("fail")
    table = open_table(file)
    column = _text_column(table, None, file)
    texts = []
    for row, values in table.rows([column], lambda row, reason: reading.bad(file, row, reason)):
        try:
            texts.append(_text(values, column))
        except UnusableRow as error:
            reading.bad(file, row, str(error))
    return texts


def _find_columns(
    table: Table, wanted: _Columns, cells: LabelCells, path: Path, allow_unlabelled: bool
) -> _Columns:
    """The columns the user named, checked, and the others found by their names."""
    for column in wanted.all():
        if table.columns.count(column) > 1:  # a head with any other name twice is refused
            raise DataError(
                f"has {table.columns.count(column)} columns without a name; name the one that is meant", path
            )
        if column not in table.columns:
            near = difflib.get_close_matches(column, table.columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "name one of these"
            raise DataError(f"has no column {column!r}, it has: {listed(table.columns)}; {hint}", path)
    text = _text_column(table, wanted.text, path)
    label, hot = _find_labels(table, wanted, cells, path, text)
    if label is None and not hot and not (allow_unlabelled and cells.given is not None):
        unlabelled = "; an unlabelled file needs --labels" if allow_unlabelled else ""
        raise DataError(
            f"no column looks like the labels, it has: {listed(table.columns)}; say which with --label-column, or "
            f"--label-columns for one 0/1 column each{unlabelled}",
            path,
        )
    return _Columns(text, label, hot, _first(table.columns, ID_COLUMNS, wanted.id), wanted.split)


def _text_column(table: Table, wanted: str | None, path: Path) -> str:
    text = _first(table.columns, TEXT_COLUMNS, wanted)
    if text is None:
        raise DataError(
            f"no column looks like the text, it has: {listed(table.columns)}; the first row must name the columns: say "
            "which with --text-column",
            path,
        )
    return text


def _find_labels(
    table: Table, wanted: _Columns, cells: LabelCells, path: Path, text: str
) -> tuple[str | None, tuple[str, ...]]:
    """(the label column, the 0/1 columns); at most one of them is there."""
    if wanted.hot:
        if cells.given is None:
            cells.known |= {column.casefold(): column for column in wanted.hot}
        if unknown := [column for column in wanted.hot if column.casefold() not in cells.known]:
            known = listed(list(cells.known.values()))
            raise DataError(f"the column {unknown[0]!r} is named like none of the labels: {known}", path)
        return None, wanted.hot
    label = _first(table.columns, LABEL_COLUMNS, wanted.label)
    if label is not None or cells.given is None:
        return label, ()
    hot = tuple(column for column in table.columns if column.casefold() in cells.known and column != text)
    missing = set(cells.known) - {column.casefold() for column in hot}
    if hot and missing:
        names = listed([cells.known[name] for name in sorted(missing)])
        raise DataError(
            f"has no 0/1 column for {names}; add it, or choose columns with --label-columns", path
        )
    return None, hot


def _derived(
    splits: Mapping[str, Reading], label_columns: Sequence[str], name: str, path: str | os.PathLike[str]
) -> LabelSet:
    """The labels of the rows that were kept, sorted, each with its name as definition."""
    found = {label for reading in splits.values() for labels in reading.labels for label in labels}
    names = tuple(sorted(found | set(label_columns)))
    if not names:
        raise DataError("holds no label at all; name the label set with --labels", path)
    return LabelSet(name, names, names)


@dataclass(frozen=True)
class _Rows:
    """What a row of one file says."""

    path: Path
    columns: _Columns
    cells: LabelCells
    split: str | None
    allow_unlabelled: bool

    def example(self, values: Mapping[str, Any], row: int) -> tuple[str, str, list[str], str]:
        """(split, text, label names, id). Raises UnusableRow."""
        columns, cells, given = self.columns, self.cells, self.cells.given
        text = _text(values, columns.text or "")
        label = columns.label
        if label is not None:  # a JSON object without it is a row without labels
            names = cells.names(values.get(label) if self.allow_unlabelled else cell(values, label))
        else:
            names = cells.hot_names(values, columns.hot)
        if not names and not self.allow_unlabelled:
            raise UnusableRow("has no label; add one, or allow rows without labels with --allow-unlabelled")
        if given is not None and given.exclusive and len(names) > 1:
            raise UnusableRow(
                f"has the labels {listed(names)}, but the label set {given.name!r} allows one a text"
            )
        return self.split or _split(values, columns.split), text, names, self.identifier(values, row)

    def identifier(self, values: Mapping[str, Any], row: int) -> str:
        value = None if self.columns.id is None else values.get(self.columns.id)
        if is_missing(value) or value == "":
            return f"{self.path.stem}:{row}"
        check_characters(identifier := str(value), "the id")
        return identifier


def _read_table(
    table: Table, rows: _Rows, on_error: str, limit: int | None, quoting: bool | None
) -> dict[str, Reading]:
    """The rows of one file by split; what could not be used stands with its first split."""
    unusable = Reading(on_error)
    splits: dict[str, Reading] = {}

    def bad(row: int, reason: str) -> None:
        unusable.bad(rows.path, row, reason)

    kept = 0
    for row, values in table.rows(rows.columns.all(), bad):
        try:
            split, text, names, identifier = rows.example(values, row)
        except UnusableRow as error:
            bad(row, str(error))
            continue
        splits.setdefault(split, Reading(on_error)).add(text, names, identifier)
        kept += 1
        if kept == limit:
            break
    if not splits:
        problems = unusable.problems
        why = (
            f"its {len(problems)} rows are malformed, the first: {problems[0]}" if problems else "it is empty"
        )
        raise DataError(f"has no row to use: {why}", rows.path)
    first = next(iter(splits.values()))
    first.problems.extend(unusable.problems)
    first.notes.extend(_notes(rows.path, splits, quoting))
    return splits


def _notes(path: Path, splits: Mapping[str, Reading], quoting: bool | None) -> list[str]:
    if quoting is not None or path.suffix.lower() != ".tsv":
        return []
    count = sum(is_quoted(text) for reading in splits.values() for text in reading.texts)
    return [f"{path}: {_in_quotes(count)}; if they hold fields together: {AS_CSV}"] if count else []


def _in_quotes(count: int) -> str:
    texts = "1 text stands" if count == 1 else f"{count:,} texts stand"
    return f"{texts} in double quotes, which are read as part of {'it' if count == 1 else 'them'}"


def _text(values: Mapping[str, Any], column: str) -> str:
    text = cell(values, column)
    if is_missing(text) or (isinstance(text, str) and not text.strip()):
        raise UnusableRow("the text is empty")
    if not isinstance(text, str):
        raise UnusableRow(f"the text is {text!r}, not text")
    check_characters(text, "the text")
    return text


def _split(values: Mapping[str, Any], column: str | None) -> str:
    if column is None:
        return "all"
    value = cell(values, column)
    name = "" if is_missing(value) else str(value).strip()
    if not name:
        raise UnusableRow(f"the split, column {column!r}, is empty")
    check_characters(name, "the split")
    return SPLITS.get(name.lower(), name)


def _first(columns: Sequence[str], likely: Sequence[str], wanted: str | None = None) -> str | None:
    """The column that was asked for, be it the one without a name; else the first of `likely` among the columns, as it is written there."""
    if wanted is not None:
        return wanted
    written = {column.casefold(): column for column in reversed(columns)}
    return next((written[name] for name in likely if name in written), None)
