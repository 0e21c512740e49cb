"""Rows of a predictions file, as `emodef predict --out` writes them to one `Prediction` a text. Imports corpora; polars for Parquet.

Labels and probabilities forms: `predicted` (labels joined by |, or a list) and `probabilities` (in the same order, joined
or a list, or label -> probability). Long form: a row for each label of a text, with `label` and `probability`; the rows
of a text follow each other. The names of these columns may have a prefix.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from emodef.corpora.cells import UnusableRow, check_characters, is_missing, listed
from emodef.corpora.core import Reading
from emodef.corpora.files import TEXT_COLUMNS
from emodef.corpora.tables import Table, open_table
from emodef.errors import DataError, require
from emodef.reporting.page.scores import long_score, wide_scores
from emodef.reporting.page.summary import Prediction
from emodef.reporting.page.times import parse_time

TIME_COLUMNS = (
    "time",
    "timestamp",
    "datetime",
    "date",
    "created_at",
    "created_utc",
    "created",
    "posted_at",
    "published_at",
    "published",
)
WIDE, LONG = ("predicted", "probabilities"), ("label", "probability")
BATCH = 1 << 16  # rows of a Parquet file in memory at a time
Numbered = Iterator[tuple[int, Mapping[str, Any]]]


@dataclass
class Gaps:
    """What rows lack that were read, in numbers."""

    predictions: int = 0  # rows that predict kept although there was nothing to predict
    undecided: int = 0  # rows that nothing tells to be such, or texts without a label
    times: int = 0
    unreadable_times: int = 0
    first_time: str = ""  # the first unreadable one, and where it is


@dataclass
class Predictions:
    """A predictions file, opened. `rows()` goes through it once; meanwhile `at` of `size` lines are behind.

    columns: those that hold the predictions (two). text_column, time_column: None where there is none. labels: those
    that have a column of probabilities. reading: the rows left out. gaps: what others lacked.
    """

    path: Path
    columns: tuple[str, str]
    is_long: bool
    text_column: str | None
    time_column: str | None
    labels: tuple[str, ...]
    size: int
    reading: Reading
    gaps: Gaps = field(default_factory=Gaps)
    at: int = 0

    def rows(self) -> Iterator[Prediction]:
        """One `Prediction` a text. Raises DataError for a row that cannot be used, if such rows are not to be left out."""
        return self._long_rows() if self.is_long else self._wide_rows()

    def notes(self) -> list[str]:
        """What a reader of the page should know of rows that are not in it, a sentence each."""
        gaps, found = self.gaps, []
        if problems := self.reading.problems:
            one = len(problems) == 1
            found.append(
                f"{len(problems):,} {'row' if one else 'rows'} could not be used and {'is' if one else 'are'} left out; "
                f"the first: {problems[0]}."
            )
        if gaps.predictions:
            found.append(f"Rows without a prediction, left out: {gaps.predictions:,}.")
        if gaps.undecided:
            found.append(
                f"Rows without labels and probabilities, counted as texts without a label: {gaps.undecided:,}. Any that "
                "had no text to predict are among these; say which column has the texts with --text-column, and they are "
                "left out."
            )
        if gaps.times:
            found.append(f"Texts without a time, not in the timeline: {gaps.times:,}.")
        if gaps.unreadable_times:
            found.append(
                f"Times that cannot be read, not in the timeline: {gaps.unreadable_times:,}; the first: {gaps.first_time}."
            )
        return found

    def _wide_rows(self) -> Iterator[Prediction]:
        for row, values in self._values():
            try:
                scores = wide_scores(values, *self.columns)
                text = self._text(values, scores)
            except UnusableRow as error:
                self._bad(row, str(error))
                continue
            if text == "" or (not scores and self._is_unpredicted(values, text)):
                self.gaps.predictions += 1
            else:
                yield Prediction(scores, text, self._time(values, row))

    def _long_rows(self) -> Iterator[Prediction]:
        """A text ends where another one comes or a label recurs: a text that is repeated has the same labels again."""
        open_text: str | None = None
        scores: dict[str, float] = {}
        time: datetime | None = None
        waiting = False
        for row, values in self._values():
            try:
                found = long_score(values, *self.columns)
                text = self._text(values, found)
            except UnusableRow as error:
                self._bad(row, str(error))
                continue
            if waiting and (text != open_text or not found or not scores or found.keys() & scores.keys()):
                yield Prediction(scores, open_text, time)
                waiting = False
            if text == "":
                self.gaps.predictions += 1
            elif waiting:
                scores |= found
            else:
                open_text, scores, time, waiting = text, found, self._time(values, row), True
        if waiting:
            yield Prediction(scores, open_text, time)

    def _values(self) -> Numbered:
        telling = self._probability_column
        wanted = [c for c in (*self.columns, self.text_column, self.time_column, telling) if c is not None]
        if self.path.suffix.lower() == ".parquet":
            found = _parquet(self.path, wanted, self.size)
        else:
            found = open_table(self.path).rows(wanted, self._bad)
        for row, values in found:
            self.at = row
            yield row, values

    def _bad(self, row: int, reason: str) -> None:
        self.reading.bad(self.path, row, reason)

    def _text(self, values: Mapping[str, Any], scores: Mapping[str, float]) -> str | None:
        """The text, "" where the row has none. Raises UnusableRow for anything else that has labels."""
        if self.text_column is None:
            return None
        text = values.get(self.text_column)
        blank = is_missing(text) or (isinstance(text, str) and (not text or text.isspace()))
        if scores and (blank or not isinstance(text, str)):  # no prediction was made of that
            what = "it has labels and no text" if blank else f"the text is {text!r}"
            raise UnusableRow(f"{what}; say which column has the texts with --text-column")
        if not isinstance(text, str) or blank:
            return ""
        if not text.isascii():
            check_characters(text, "the text")
        return text

    @property
    def _probability_column(self) -> str | None:
        """One of the p_LABEL columns, which are empty in rows without a prediction only."""
        return f"{_mark(self.columns)}{self.labels[0]}" if self.labels else None

    def _is_unpredicted(self, values: Mapping[str, Any], text: str | None) -> bool:
        """Whether a row without labels has no prediction, as far as that shows: a text, too, may hold nothing to predict."""
        cells = [values.get(column) for column in self.columns]
        if all(map(is_missing, cells)):  # in JSONL and Parquet: a text without labels has empty lists
            return True
        if any(not is_missing(cell) and cell != "" for cell in cells):
            return False
        telling = self._probability_column
        if telling is not None:
            return is_missing(values.get(telling)) or values[telling] == ""
        self.gaps.undecided += text is None
        return False

    def _time(self, values: Mapping[str, Any], row: int) -> datetime | None:
        if self.time_column is None:
            return None
        try:
            found = parse_time(values.get(self.time_column))
        except ValueError as error:
            self.gaps.unreadable_times += 1
            self.gaps.first_time = self.gaps.first_time or f"row {row}, {error}"
            return None
        self.gaps.times += found is None
        return found


def open_predictions(
    path: str | os.PathLike[str],
    *,
    text_column: str | None = None,
    time_column: str | None = None,
    needs_texts: bool = True,
    on_error: str = "fail",
) -> Predictions:
    """Look at the head of a predictions file and say what it has.

    text_column, time_column: by default the first of the usual names that is there. A file may do without times, and
    without texts unless `needs_texts`. on_error: "fail" stops at the first row that cannot be used, "skip" leaves it out.

    Raises DataError for a file that holds no predictions, or lacks a column.
    """
    path = Path(path)
    table = open_table(path)
    columns = table.columns
    ours, is_long = _prediction_columns(_columns_of_first(table, path), path)
    text = _column(columns, text_column, TEXT_COLUMNS, path, "--text-column")
    if text is None and (needs_texts or is_long):
        less = "" if is_long else ", or leave the texts out with --examples 0"
        raise DataError(
            f"no column looks like the text, it has: {listed(columns)}; say which with --text-column{less}",
            path,
        )
    time = _column(columns, time_column, TIME_COLUMNS, path, "--time-column")
    mark = _mark(ours)
    behind = columns[columns.index(ours[1]) + 1 :]
    labels = [name.removeprefix(mark) for name in behind if name.startswith(mark) and name != mark]
    size = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _lines(path)
    return Predictions(
        path, ours, is_long, text, time, () if is_long else tuple(labels), size, Reading(on_error)
    )


def _columns_of_first(table: Table, path: Path) -> Sequence[str]:
    """The columns of the first row. predict writes its own into every row; what later JSON objects have more is the user's."""
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        return table.columns
    first = next(table.rows((), lambda row, reason: None), None)
    return table.columns if first is None else list(first[1])


def _prediction_columns(columns: Sequence[str], path: Path) -> tuple[tuple[str, str], bool]:
    """The two columns of predictions, and whether they are of the long form. predict puts its columns last, and before
    their names a prefix where the input had columns of these names."""
    found, known = [], set(columns)
    for form in (WIDE, LONG):
        for place, name in enumerate(columns):
            other = name.removesuffix(form[0]) + form[1]
            if name.endswith(form[0]) and other in known:
                found.append((place, form is LONG, (name, other)))
    if not found:
        raise DataError(
            f"has neither the columns {' and '.join(map(repr, WIDE))} nor {' and '.join(map(repr, LONG))}, it has: "
            f"{listed(columns)}; give a file that 'emodef predict --out' has written",
            path,
        )
    _, is_long, ours = max(found)
    return ours, is_long


def _mark(columns: tuple[str, str]) -> str:
    """What the names of the p_LABEL columns begin with, beside these columns of predictions."""
    return columns[0].removesuffix(WIDE[0]) + "p_"


def _column(
    columns: Sequence[str], given: str | None, usual: Sequence[str], path: Path, option: str
) -> str | None:
    if given is not None and given not in columns:
        raise DataError(f"has no column {given!r} ({option}), it has: {listed(columns)}", path)
    written = {column.casefold(): column for column in reversed(columns)}
    return next((written[name] for name in usual if name in written), None) if given is None else given


def _parquet(path: Path, columns: Sequence[str], size: int) -> Numbered:
    """A batch at a time: `open_table` would read the columns whole."""
    wanted = _scan(path).select(list(dict.fromkeys(columns)))
    for start in range(0, size, BATCH):
        batch = _collected(path, wanted.slice(start, BATCH))
        yield from enumerate(batch.iter_rows(named=True), start=start + 1)


def _parquet_rows(path: Path) -> int:
    return int(_collected(path, _scan(path).select(require("polars", extra="data").len())).item())


def _scan(path: Path) -> Any:
    return require("polars", extra="data").scan_parquet(path, glob=False)


def _collected(path: Path, query: Any) -> Any:
    try:
        return query.collect()
    except require("polars", extra="data").exceptions.PolarsError as error:
        raise DataError(f"cannot be read as Parquet: {str(error).splitlines()[0]}", path) from None


def _lines(path: Path) -> int:
    with open(path, "rb") as file:
        blocks: Callable[[], bytes] = lambda: file.read(1 << 20)  # noqa: E731
        return sum(block.count(b"\n") for block in iter(blocks, b""))
