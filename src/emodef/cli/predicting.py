"""`emodef predict`: texts from the command line, a file or a pipe, to labels. Imports typer; emodef.files only inside the command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.errors import SettingsError

if TYPE_CHECKING:
    from emodef.files.job import Engine, Summary, Watch
    from emodef.files.predictions import Plan
    from emodef.files.sources import Source
    from emodef.predictor import Predictor

_DATA, _OUTPUT, _LONG = "Data", "Output", "Long runs"


class Format(StrEnum):
    """What standard input holds."""

    TXT = "txt"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"


class Form(StrEnum):
    """What is written of a prediction."""

    LABELS = "labels"
    PROBABILITIES = "probabilities"
    LONG = "long"


class OnBadRow(StrEnum):
    """What to do with a row whose text cannot be used."""

    KEEP = "keep"
    SKIP = "skip"
    FAIL = "fail"


class Where(StrEnum):
    """What predicts the parts of a file."""

    LOCAL = "local"
    RAY = "ray"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(predict)


def predict(
    texts: options.Texts = None,
    model: options.LightModel = None,
    threshold: options.Threshold = None,
    at_least_one: Annotated[
        bool, typer.Option("--at-least-one", help="Where no label passes, give the likeliest.")
    ] = False,
    level: options.Level = None,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated",
            help="Show probabilities that say how often a label is right. What is predicted stays the same.",
        ),
    ] = False,
    threads: options.Threads = None,
    labels: options.OwnLabels = None,
    known: options.Known = False,
    known_labels: options.KnownLabels = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Texts from a file: .txt (a line each), .csv, .tsv (as it stands, quotes too; with --input-format csv they hold "
            "fields together), .jsonl or .parquet. Parquet also from an address that "
            "polars reads (s3://, gs://, az://: not tested here; file:// is).",
            rich_help_panel=_DATA,
        ),
    ] = None,
    input_format: Annotated[
        Format | None,
        typer.Option(
            help="What a pipe holds, by default lines of text; or a file whose name does not tell.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(
            help="The column of texts. By default the first of text, sentence, comment, ...",
            rich_help_panel=_DATA,
        ),
    ] = None,
    on_error: Annotated[
        OnBadRow,
        typer.Option(
            help="A row whose text is missing, empty or broken: keep it, without a prediction; leave it out; or stop at it. "
            "A row that cannot be taken apart is left out by keep, too. All are listed in OUT.problems.jsonl.",
            rich_help_panel=_DATA,
        ),
    ] = OnBadRow.KEEP,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write here: .csv, .tsv, .jsonl or .parquet, with all columns of the input.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    form: Annotated[
        Form,
        typer.Option(
            help="labels: columns predicted, probabilities. probabilities: also p_LABEL for every label. long: a row for each "
            "predicted label, columns label, probability.",
            rich_help_panel=_OUTPUT,
        ),
    ] = Form.LABELS,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON object a line, for scripts.", rich_help_panel=_OUTPUT),
    ] = False,
    output_format: Annotated[
        Format | None,
        typer.Option(
            metavar="csv|tsv|jsonl",
            help="What to print in a pipe, by default tsv.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    prefix: Annotated[
        str,
        typer.Option(help="Put this before the names of the new columns.", rich_help_panel=_OUTPUT),
    ] = "",
    quiet: options.Quiet = False,
    part_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows that are predicted and put by together. By default 8192 of a file, 1024 of a pipe.",
            rich_help_panel=_LONG,
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart", help="Begin anew where parts of an earlier run are kept.", rich_help_panel=_LONG
        ),
    ] = False,
    engine: Annotated[
        Where,
        typer.Option(
            help="What predicts the parts of a --file: this process; or Ray (extra ray), a process on each core here, or on a "
            "cluster's machines with --address.",
            rich_help_panel=_LONG,
        ),
    ] = Where.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT|ray://HOST:PORT",
            help="A running Ray cluster, for --engine ray; --threads then says how many of its cores, by default all.",
            rich_help_panel=_LONG,
        ),
    ] = None,
) -> None:
    """Predict the emotions of texts: from the command line, a file, or a pipe.

    Prints texts and labels, likeliest first; in a pipe, tab-separated lines; with --json, an object a line. A file's other
    columns stay as they are, to the letter where input and output have one format. A text longer than the model's window
    is read in several, and said so. With --labels, labels of your own are scored, from a definition of each.

    A --file with --out of any size is predicted in parts, kept in OUT.parts until all are done. Stopped at any point, even
    by a power cut, the same command goes on from there. A pipe cannot be gone on with.

    \b
    [bold]Examples[/bold]
      emodef predict "Thank you so much!" "What a joke."
      emodef predict --file comments.csv --text-column body --out labelled.csv
      cat comments.csv | emodef predict --input-format csv --text-column body --json > labelled.jsonl
      cat comments.txt | emodef predict --threshold 0.5 --at-least-one
      emodef predict --labels mine.toml --known-labels joy,anger --file comments.csv --out labelled.csv
      emodef predict --file comments.parquet --out labelled.parquet --engine ray --address auto
    """
    from emodef.files.job import PART_SIZE, STREAM_SIZE, predict_file, predict_stream
    from emodef.files.predictions import Options
    from emodef.files.progress import shown

    printed = _printed(out, json, output_format)
    if restart and out is None:
        raise SettingsError("--restart is of the parts of an --out; give one with it, or leave it out")
    if out is None and not printed and (form is Form.LONG or prefix):
        raise SettingsError(
            "--form long and --prefix are of columns, and a terminal is shown none; name a file with --out, or print "
            "columns with --output-format tsv"
        )
    _check_engine(engine, address, file, out)
    source = _source(texts or [], file, text_column, input_format)
    wanted = Options(threshold, at_least_one, level, calibrated, form.value, on_error.value, prefix)
    from emodef.predictor import Predictor

    # with Ray, others compute
    loaded = Predictor.load(model, threads=threads if engine is Where.LOCAL else 1)
    predictor = options.with_labels(loaded, labels, known, known_labels)
    few = source.rows is not None and source.rows < options.WITH_BAR
    hidden = quiet or few or not sys.stderr.isatty() or (out is None and sys.stdout.isatty())
    with shown(hidden) as watch:
        if out is not None:
            size = part_size or PART_SIZE
            with _mapping(engine, predictor, address, threads, watch) as mapping:
                summary = predict_file(
                    source,
                    out,
                    predictor,
                    wanted,
                    part_size=size,
                    restart=restart,
                    engine=mapping,
                    watch=watch,
                )
        elif printed:
            summary = predict_stream(
                source, _write, printed, predictor, wanted, part_size=part_size or STREAM_SIZE, watch=watch
            )
        else:
            from emodef.cli.texts import show

            summary = show(source, predictor, wanted, part_size or STREAM_SIZE)
    if not quiet:
        _tell(summary, source)


def _check_engine(engine: Where, address: str | None, file: str | None, out: Path | None) -> None:
    """Raises SettingsError, or MissingExtraError for Ray."""
    from emodef.errors import require

    if engine is Where.LOCAL:
        if address is not None:
            raise SettingsError("--address is of a Ray cluster; say --engine ray with it, or leave it out")
        return
    if file is None or out is None:
        raise SettingsError(
            "--engine ray predicts a file into a file; give --file and --out, or leave it out for arguments, pipes and "
            "what is printed"
        )
    require("ray", extra="ray")


@contextmanager
def _mapping(
    engine: Where, predictor: Predictor, address: str | None, cores: int | None, watch: Watch
) -> Iterator[Callable[[Plan], Engine] | None]:
    """What maps the parts; None where `predict_file` does so itself."""
    if engine is Where.LOCAL:
        yield None
        return
    from emodef.cluster import ray_engine

    def tell(what: str) -> None:
        typer.echo(f"note: {what}", err=True)

    with (
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),  # where Ray writes pages when a worker is lost, and nothing else is written
        ray_engine(predictor, address=address, workers=cores, watch=watch, tell=tell) as mapping,
    ):
        yield mapping


def _source(given: list[str], file: str | None, text_column: str | None, format: Format | None) -> Source:
    """The rows that the command was given, from one place. Raises SettingsError for none or several."""
    from emodef.corpora.tables import SUFFIXES
    from emodef.files.sources import GivenTexts, TextSource, open_source

    if given and file is not None:
        raise SettingsError("texts and --file exclude each other; give one")
    kind = None if format is None else format.value
    if file is not None:
        return open_source(file, text_column, kind)
    if given == ["-"] or (not given and not sys.stdin.isatty()):
        return TextSource(kind or "txt", text_column, stream=sys.stdin.buffer)
    if not given:
        raise SettingsError("no texts; give them as arguments, name a --file, or pipe them in")
    if "-" in given:
        raise SettingsError("- (standard input) stands alone; leave the other texts out")
    if text_column is not None or format is not None:
        raise SettingsError("--text-column and --input-format are for a --file or a pipe")
    for text in given:
        if Path(text).suffix in SUFFIXES and Path(text).is_file():
            typer.echo(
                f"note: {text} is taken as a text; to predict the rows of that file: --file {text}", err=True
            )
    return GivenTexts(given)


def _printed(out: Path | None, json: bool, format: Format | None) -> str:
    """The format to print; "" for a terminal's table, and where a file is written."""
    from emodef.files.job import output_format

    if out is not None:
        if format is not None:
            raise SettingsError("--output-format is for what is printed; the name of --out tells its own")
        if json and output_format(out) != "jsonl":
            raise SettingsError(
                f"--json writes .jsonl, not {out.suffix}; name the file so, or leave --json out"
            )
        return ""
    if json and format not in (None, Format.JSONL):
        raise SettingsError("--json and --output-format exclude each other; give one")
    if format is Format.TXT:
        raise SettingsError("--output-format can be csv, tsv or jsonl")
    if json or format is not None:
        return "jsonl" if format is None else format.value
    return "" if sys.stdout.isatty() else "tsv"


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _tell(summary: Summary, source: Source) -> None:
    """Say on standard error what was done, and what was not."""
    for problem in summary.shown:
        typer.echo(f"note: {source.table.name}:{problem.row}: {problem.reason}", err=True)
    if summary.problems:
        left_out = f"; {summary.dropped:,} of them left out" if summary.dropped else ""
        where = f": {summary.problems_file}" if summary.problems_file else ""
        rows = "1 row has" if summary.problems == 1 else f"{summary.problems:,} rows have"
        typer.echo(f"note: {rows} no prediction{left_out}{where}", err=True)
    for key, row in list(summary.left_out.items())[:5]:
        typer.echo(
            f"note: {source.table.name}:{row}: the key {key!r} is left out, the first row lacks it; write JSON (--json), or give the "
            "rows as a --file",
            err=True,
        )
    if summary.in_quotes:
        typer.echo(
            f"note: {source.table.name}:{summary.in_quotes}: a field stands in double quotes, which are read as part of it; if they "
            "hold fields together: --input-format csv",
            err=True,
        )
    if summary.long_texts:
        texts = "1 text was" if summary.long_texts == 1 else f"{summary.long_texts:,} texts were"
        typer.echo(f"note: {texts} longer than the model's window and read in several", err=True)
    if summary.earlier and not source.state():
        typer.echo(
            f"note: of {source.table.name} its address and number of rows alone are known; if its content changed since those "
            f"{summary.earlier:,} rows were predicted: --restart",
            err=True,
        )
    if summary.out is not None:
        from emodef.reporting import format_duration

        earlier = f", {summary.earlier:,} of them by an earlier run" if summary.earlier else ""
        typer.echo(
            f"{summary.out}: {summary.rows - summary.dropped:,} rows{earlier}, in {format_duration(summary.seconds)}",
            err=True,
        )
