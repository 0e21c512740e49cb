"""`emodef report`: predictions as a page to look at. Imports typer; emodef.reporting.page only inside the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.errors import DataError, SettingsError

if TYPE_CHECKING:
    from emodef.reporting.page import Predictions, Summary

BAR_FROM = 200_000  # rows: fewer take a second
STEP = 5000


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(report)


def report(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="What 'emodef predict --out' has written: .csv, .tsv, .jsonl or .parquet.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page, .html. By default beside the predictions, with their name; a file there that is no such page stays.",
            rich_help_panel="Output",
        ),
    ] = None,
    title: Annotated[
        str, typer.Option(help="What stands at its top.", rich_help_panel="Output")
    ] = "Emotion report",
    examples: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            help="Texts shown for each emotion, the strongest. With 0 the page has none of your texts in it.",
            rich_help_panel="Output",
        ),
    ] = 20,
    text_column: Annotated[
        str | None,
        typer.Option(
            help="The texts. By default the first of text, sentence, comment, ...", rich_help_panel="Data"
        ),
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option(
            help="Their times: ISO 8601, or epoch seconds or milliseconds; UTC where they name no offset. By default the "
            "first of time, timestamp, date, created_at, ...",
            rich_help_panel="Data",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="The label set, for definitions and coarser levels: a TOML file, or a shipped one's name. By default the "
            "shipped one that the labels belong to.",
            rich_help_panel="Data",
        ),
    ] = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    quiet: options.Quiet = False,
) -> None:
    """Draw predictions as one HTML page: shares, emotions that come together, change over time, strongest examples.

    The page is a single file that loads nothing: it opens without a network, can be sent by mail, and its data stay in it.

    \b
    [bold]Examples[/bold]
      emodef predict --file comments.csv --out labelled.csv
      emodef report labelled.csv --out report.html
      emodef report labelled.parquet --time-column posted_at --title "Comments, May" --examples 10
    """
    from emodef.definitions import read_labels
    from emodef.reporting.page import (
        Summary,
        is_page,
        open_predictions,
        page_content,
        shipped_sets,
        timeline_notes,
        write_page,
    )

    if predictions.is_dir():
        raise DataError("is a folder; give the file that 'emodef predict --out' has written", predictions)
    if out is None:
        out = predictions.with_suffix(".html")
        if out.is_file() and not is_page(out):
            raise SettingsError(
                f"{out} is there and is no page that emodef made; name the page with --out, {out} itself to replace it"
            )
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--out {out}: the page is HTML; name the file so, such as report.html")
    sets = shipped_sets() if labels is None else [read_labels(labels).label_set]
    source = open_predictions(
        predictions,
        text_column=text_column,
        time_column=time_column,
        needs_texts=examples > 0,
        on_error=on_error.value,
    )
    summary = Summary(examples=examples, label_sets=sets, known=source.labels)
    with _progress(source, quiet) as advance:
        for row in source.rows():
            summary.add(row)
            if summary.texts % STEP == 0:
                advance()
    _check(summary, source, time_column, labels)
    content = page_content(summary)
    notes = [*source.notes(), *timeline_notes(summary, content)]
    write_page(out, content, title=title, facts=[predictions.name], notes=notes)
    if not quiet:
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        typer.echo(f"{out}: {summary.texts:,} text{'' if summary.texts == 1 else 's'}", err=True)


def _check(summary: Summary, source: Predictions, time_column: str | None, labels: str | None) -> None:
    """Raise DataError where what was asked for is not in the file."""
    gaps = source.gaps
    if time_column is not None and gaps.unreadable_times and not summary.dated:
        raise DataError(
            f"no time in the column {source.time_column!r} can be read; the first: {gaps.first_time}. Say which column "
            "with --time-column",
            source.path,
        )
    summary.fold()
    if labels is None:
        return
    (label_set,) = summary.label_sets
    if foreign := sorted(summary.seen - set(label_set.names)):
        raise DataError(
            f"has labels that the set {label_set.name!r} does not have, such as {foreign[0]!r}; leave --labels out, or name "
            "the set it was predicted with",
            source.path,
        )


@contextmanager
def _progress(source: Predictions, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on standard error for a long file; call what it gives now and then."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    hidden = quiet or source.size < BAR_FROM
    with Progress(*columns, console=options.notes(), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=source.size)
        yield lambda: bar.update(task, completed=source.at)
