"""Texts to predict, from arguments, pipes and files, and predictions to terminals and files. Imports typer, corpora, atomic."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import typer

from emodef.atomic import open_atomic
from emodef.cli import options
from emodef.corpora.cells import UnusableRow, cell, check_characters, is_missing, listed
from emodef.corpora.core import Reading, one_line, read_lines
from emodef.corpora.files import TEXT_COLUMNS
from emodef.corpora.tables import SUFFIXES, open_table
from emodef.errors import DataError, SettingsError

Row = dict[str, Any]  # column -> value; the text is one of them
Write = Callable[[Iterable[Row]], None]

FORMS = (".csv", ".tsv", ".jsonl")
ADDED = ("predicted", "probabilities")  # columns that predictions add


@dataclass
class Texts:
    """Rows with a text each, read as they are taken; `reading` gathers the ones left out."""

    rows: Iterator[Row]
    columns: list[str] = field(default_factory=lambda: ["text"])
    text_column: str = "text"
    reading: Reading = field(default_factory=Reading)

    def tell(self, quiet: bool) -> None:
        """Say on standard error what was left out."""
        problems = self.reading.problems
        if problems and not quiet:
            for problem in problems[: options.SHOWN_PROBLEMS]:
                typer.echo(f"note: {problem}", err=True)
            if len(problems) > options.SHOWN_PROBLEMS:
                typer.echo(f"note: {len(problems):,} rows left out in all", err=True)


def read(texts: Sequence[str], file: Path | None, text_column: str | None, on_error: str) -> Texts:
    """The texts that a command was given, from one place. Raises SettingsError for none or several, DataError for bad rows."""
    if texts and file is not None:
        raise SettingsError("texts and --file exclude each other; give one")
    reading = Reading(on_error)
    if file is not None and file.suffix.lower() in SUFFIXES:
        return _table(file, text_column, reading)
    if text_column is not None:
        raise SettingsError("--text-column is for files with columns (.csv, .tsv, .jsonl, .parquet)")
    if file is not None:
        if file.suffix.lower() not in (".txt", ""):
            raise DataError(
                f"the format of {file.suffix} is not known; give one of .txt, {', '.join(SUFFIXES)}", file
            )
        return Texts(_lines(file, reading), reading=reading)
    if list(texts) == ["-"] or (not texts and not sys.stdin.isatty()):
        return Texts(_piped(reading), reading=reading)
    if not texts:
        raise SettingsError("no texts; give them as arguments, name a --file, or pipe them in")
    if "-" in texts:
        raise SettingsError("- (standard input) stands alone; leave the other texts out")
    return Texts(_given(texts), reading=reading)


def form_of(out: Path | None, as_json: bool) -> str:
    """How predictions are written: one of FORMS, or "" for a terminal's table."""
    if out is None:
        return ".jsonl" if as_json else "" if sys.stdout.isatty() else ".tsv"
    form = out.suffix.lower()
    if form not in FORMS:
        raise SettingsError(f"--out {out}: predictions are written as {', '.join(FORMS)}; name the file so")
    if as_json and form != ".jsonl":
        raise SettingsError(f"--json writes .jsonl, not {form}; name the file so, or leave --json out")
    return form


@contextmanager
def writer(out: Path | None, form: str, source: Texts, every: Sequence[str]) -> Iterator[Write]:
    """What writes rows with their predictions, to `out` (atomically) or standard output. `every`: labels with a column each.

    Raises SettingsError where a column of the input has the name of one that predictions add.
    """
    extra = [*ADDED, *(f"p_{name}" for name in every)] if form in (".csv", ".tsv") else list(ADDED)
    if taken := [name for name in extra if name in source.columns]:
        raise SettingsError(
            f"the input has a column {taken[0]!r} already; rename it, since predictions go there"
        )
    if form == "":
        yield _to_terminal(source.text_column, bool(every))
    elif out is None:
        yield _to_file(sys.stdout, form, source, every)
    else:
        with open_atomic(out) as file:
            yield _to_file(file, form, source, every)


def _given(texts: Sequence[str]) -> Iterator[Row]:
    for number, text in enumerate(texts, start=1):
        try:
            check_characters(text, f"text {number}")
        except UnusableRow as error:
            raise DataError(str(error)) from None
        if not text.strip():
            raise DataError(f"text {number} is empty; leave it out")
        yield {"text": text}


def _piped(reading: Reading) -> Iterator[Row]:
    for row, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            reading.bad("standard input", row, "the line is not UTF-8")
            continue
        if text.strip():
            yield {"text": text}


def _lines(file: Path, reading: Reading) -> Iterator[Row]:
    return ({"text": line} for _, line in read_lines(file, reading) if line.strip())


def _table(file: Path, text_column: str | None, reading: Reading) -> Texts:
    table = open_table(file)
    written = {column.casefold(): column for column in reversed(table.columns)}
    column = text_column or next((written[name] for name in TEXT_COLUMNS if name in written), None)
    if column is None or column not in table.columns:
        problem = "no column looks like the text" if column is None else f"has no column {column!r}"
        raise DataError(f"{problem}, it has: {listed(table.columns)}; say which with --text-column", file)

    def rows() -> Iterator[Row]:
        for row, values in table.rows(table.columns, lambda row, reason: reading.bad(file, row, reason)):
            try:
                text = cell(values, column)
                if is_missing(text) or not isinstance(text, str) or not text.strip():
                    raise UnusableRow(
                        "the text is empty" if is_missing(text) or text == "" else f"the text is {text!r}"
                    )
                check_characters(text, "the text")
            except UnusableRow as error:
                reading.bad(file, row, str(error))
                continue
            yield values

    return Texts(rows(), table.columns, column, reading)


def _to_terminal(text_column: str, every: bool) -> Write:
    from rich.table import Table
    from rich.text import Text

    from emodef.reporting import Column, format_cell

    number = Column("", "number", 2)

    def write(rows: Iterable[Row]) -> None:
        table = Table(
            "text", "every label" if every else "predicted", box=None, pad_edge=False, padding=(0, 2, 0, 0)
        )
        for row in rows:
            labels = ", ".join(
                f"{name} {format_cell(value, number)}{'*' if every and name in row['predicted'] else ''}"
                for name, value in row["probabilities"].items()
            )
            table.add_row(Text(row[text_column]), Text(labels or "-"))
        options.output().print(table)
        if every:
            typer.echo("* predicted", err=True)

    return write


def _to_file(file: IO[Any], form: str, source: Texts, every: Sequence[str]) -> Write:
    if form == ".jsonl":

        def write_json(rows: Iterable[Row]) -> None:
            file.writelines(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)

        return write_json

    tabs = form == ".tsv"
    columns = [*source.columns, *ADDED, *(f"p_{name}" for name in every)]
    if file is sys.stdout:  # read by people, too: what was predicted before the text
        columns = [*ADDED, *(f"p_{name}" for name in every), *source.columns]
    quotes = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if tabs else {}
    lines = csv.writer(file, lineterminator="\n", **quotes)  # type: ignore[arg-type]
    lines.writerow([one_line(column) for column in columns] if tabs else columns)

    def write(rows: Iterable[Row]) -> None:
        for row in rows:
            found = row["probabilities"]
            values = {
                **row,
                "predicted": "|".join(row["predicted"]),
                "probabilities": "|".join(f"{found[name]:.4g}" for name in row["predicted"]),
                **{f"p_{name}": f"{found[name]:.4g}" for name in every},
            }
            cells = [_flat(values.get(column)) for column in columns]
            lines.writerow([one_line(text) for text in cells] if tabs else cells)

    return write


def _flat(value: Any) -> str:
    """A cell as text: nothing for None, JSON for lists and objects."""
    if is_missing(value):
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
