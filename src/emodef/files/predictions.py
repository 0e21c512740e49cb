"""One part of the rows: which have a text, what the model finds in them, and the finished part as bytes. Imports numpy, errors, corpora.

`predict_part` is all that a worker needs, on this machine or another one: a part, a predictor and the plan give bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emodef.corpora.cells import UnusableRow, check_characters, is_missing
from emodef.errors import DataError, SettingsError
from emodef.files.heads import CONVERT, Table
from emodef.files.records import Position, Record
from emodef.files.sources import Part

if TYPE_CHECKING:
    from emodef.predictor import Predictor

FORMS = ("labels", "probabilities", "long")
ON_ERROR = ("keep", "skip", "fail")
OUTPUTS = ("csv", "tsv", "jsonl", "parquet")
TERMINAL = "terminal"  # the output of what is shown and has no columns


@dataclass(frozen=True)
class Options:
    """What is predicted and how it is written; see `emodef predict --help`.

    form: "labels": the columns `predicted` and `probabilities` (of what is predicted); "probabilities": also p_LABEL for
    every label (in JSONL: `probabilities` of all labels); "long": a row for each predicted label, with `label` and
    `probability`, and one without for a row without labels. prefix: goes before the names of these columns.
    on_error: "keep" leaves a row without a usable text in the output, without predictions; "skip" leaves it out; "fail"
    stops. most_characters: of a text; a row with a longer one has no usable text. threshold, at_least_one, level,
    calibrated: as for `Predictor.predict`.
    """

    threshold: float | str | None = None
    at_least_one: bool = False
    level: str | None = None
    calibrated: bool = False
    form: str = "labels"
    on_error: str = "keep"
    prefix: str = ""
    most_characters: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("form", self.form, FORMS), ("on_error", self.on_error, ON_ERROR)):
            if value not in known:
                raise SettingsError(f"{name} is {value!r}; it can be {', '.join(known)}")
        if self.most_characters is not None and self.most_characters < 1:
            raise SettingsError(f"most_characters is {self.most_characters}; it must be 1 or more")
        if isinstance(self.threshold, str):
            with suppress(ValueError):  # "tuned", "fixed", or what the predictor will refuse
                object.__setattr__(self, "threshold", float(self.threshold))

    @property
    def of_predict(self) -> dict[str, Any]:
        """Those that are options of `Predictor.predict`."""
        return {name: getattr(self, name) for name in ("threshold", "at_least_one", "level", "calibrated")}


@dataclass(frozen=True)
class Plan:
    """What becomes of a source's rows. names: the labels that are predicted, K of them.

    ours_first: the added columns stand before the input's. types: for Parquet from text, a polars type by column.
    """

    table: Table
    output: str
    options: Options
    names: tuple[str, ...]
    ours_first: bool = False
    types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.output not in (*OUTPUTS, TERMINAL):
            raise SettingsError(f"the output format {self.output!r} is not one of {', '.join(OUTPUTS)}")
        columns = set(self.table.columns)
        for name in self.added:
            if name in columns:
                raise SettingsError(
                    f"{self.table.name} has a column {name!r} already, and predictions go there; put something before "
                    "the names of the new columns with --prefix, say --prefix emodef_"
                )

    @property
    def added(self) -> list[str]:
        """The columns that predictions add."""
        if self.output == TERMINAL:
            return []
        if self.options.form == "long":
            names = ["label", "probability"]
        else:
            names = ["predicted", "probabilities"]
            if self.output == "jsonl":
                names.append("windows")  # only where there are several
            elif self.options.form == "probabilities":
                names += [f"p_{name}" for name in self.names]
        return [self.options.prefix + name for name in names]


@dataclass(frozen=True)
class Problem:
    """A row without predictions. raw: the row as it stands in the input, where it stands nowhere in the output as it was."""

    row: int
    reason: str
    kept: bool
    raw: str | None = None


@dataclass
class Predictions:
    """What the model found in a part. Lists are as long as `rows`, the part's rows that go to the output, by index.

    chosen: the predicted labels by index, best first; None where there is no prediction.
    probabilities: float32 (rows, K), NaN where there is no prediction. windows: how many windows each text took.
    """

    rows: list[int] = field(default_factory=list)
    chosen: list[list[int] | None] = field(default_factory=list)
    probabilities: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    windows: list[int] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Finished:
    """A part as bytes of its output format, without a header, and what is worth telling of it.

    has_text: whether any of its rows has the text column; of JSON objects none may.
    """

    number: int
    data: bytes
    end: Position
    rows: int
    problems: list[Problem]
    long_texts: int
    has_text: bool = True


def predict_part(
    part: Part, predictor: Predictor, plan: Plan, progress: Callable[[int], None] | None = None
) -> Finished:
    """Predict a part and write it in the plan's format. Raises DataError at a bad row where the plan says "fail"."""
    from emodef.files.writers import encode

    is_there = has_text(part, plan.table)
    found = predict_rows(part, predictor, plan, progress)
    long_texts = sum(count > 1 for count in found.windows)
    data = encode(part, found, plan)
    return Finished(part.number, data, part.end, len(part.records), found.problems, long_texts, is_there)


def has_text(part: Part, table: Table) -> bool:
    """Whether any row has the text column, empty or not; a table that is no JSON has it by its header."""
    return table.format != "jsonl" or any(
        isinstance(record.values, dict) and table.text_column in record.values for record in part.records
    )


def predict_rows(
    part: Part, predictor: Predictor, plan: Plan, progress: Callable[[int], None] | None = None
) -> Predictions:
    """What the model finds in the rows of a part."""
    told = [text_of(record, plan) for record in part.records]
    texts = [text for text, reason in told if not reason]
    answers = iter(predictor.predict(texts, **plan.options.of_predict, progress=progress))
    if progress is not None:
        progress(len(told) - len(texts))
    found, number_of = Predictions(), {name: k for k, name in enumerate(plan.names)}
    values: list[NDArray[np.float32]] = []
    for index, (record, (_, reason)) in enumerate(zip(part.records, told, strict=True)):
        answer = None if reason else next(answers)
        if answer is not None and not answer.tokens:
            answer, reason = None, "the text holds nothing that the model can read"
        if answer is None:
            found.problems.append(problem := _problem(record, reason, plan))
            if not problem.kept:
                continue
        found.rows.append(index)
        found.windows.append(answer.windows if answer else 0)
        found.chosen.append([number_of[label.name] for label in answer.labels] if answer else None)
        values.append(answer.probabilities if answer else np.full(len(plan.names), np.nan, np.float32))
    found.probabilities = np.array(values, np.float32).reshape(len(found.rows), len(plan.names))
    return found


def text_of(record: Record, plan: Plan) -> tuple[str, str]:
    """(text, why it cannot be predicted); one of them is empty."""
    if isinstance(record.values, dict) and (
        taken := next((name for name in plan.added if name in record.values), None)
    ):
        record.values = None  # a row that is kept for another fault would have the key twice
        return "", f"has a column {taken!r}, where predictions go; rename it, or use --prefix"
    if record.problem:
        return "", f"{record.problem}; {CONVERT}" if "not UTF-8" in record.problem else record.problem
    if isinstance(record.values, dict) and plan.table.text_column not in record.values:
        return "", f"the column {plan.table.text_column!r} is missing from this row"
    text = plan.table.text(record)
    if not isinstance(text, str):
        return "", "the text is empty" if is_missing(text) else f"the text is {str(text)[:60]!r}, not text"
    if not text or text.isspace():
        return "", "the text is empty"
    most = plan.options.most_characters
    if most is not None and len(text) > most:
        return "", (
            f"the text has {len(text):,} characters, and a text may have at most {most:,} here; is a quote missing, "
            "or part it"
        )
    if not text.isascii():
        try:
            check_characters(text, "the text")
        except UnusableRow as error:
            return "", str(error)
    return text, ""


def _problem(record: Record, reason: str, plan: Plan) -> Problem:
    table, on_error = plan.table, plan.options.on_error
    if on_error == "fail":
        raise DataError(
            f"{reason}. Mend the row, or say --on-error keep (it stays, without a prediction) or --on-error skip",
            table.name,
            record.row,
        )
    kept = on_error == "keep" and record.values is not None
    raw = None
    if not kept or "not UTF-8" in reason:
        raw = record.raw if record.raw or table.format != "parquet" else None
    return Problem(record.row, reason, kept, raw)
