"""`emodef probe`: how a light model behaves beyond its test set; `emodef card`: that and its results as its card. Imports typer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.errors import SettingsError, option_names

if TYPE_CHECKING:
    from emodef.probes import ProbeReport

Corpora = Annotated[
    bool,
    typer.Option(
        "--corpora/--no-corpora",
        help="Measure ISEAR, EmoInt and Emotion-Stimulus too, where they are at hand.",
        rich_help_panel="Data",
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(probe)
    app.command()(card)


def probe(
    model: options.LightModel = None,
    threshold: Annotated[
        str | None,
        typer.Option(metavar="N|tuned|fixed", help="How labels are decided. By default as the model does."),
    ] = None,
    corpora: Corpora = True,
    data_dir: options.DataDir = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals and floors.")] = 0,
    json: options.Json = False,
    out: Annotated[
        Path | None, typer.Option(help="Write everything here, as JSON.", rich_help_panel="Output")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure how a model reacts to names, pronouns, identity terms, small changes, other languages and other kinds of text.

    Each swap stands in the same 64 sentences; its shift is set beside a floor, what exchanging words that mean nothing does.
    All sentences are this project's own and come with it. The same model and seed give the same figures.

    \b
    [bold]Examples[/bold]
      emodef probe
      emodef probe --model runs/demo/light --no-corpora --out probes.json
    """
    report = _probe(model, threshold, corpora, data_dir, seed, quiet)
    if out is not None:
        from emodef.atomic import write_text

        write_text(out, report.to_json())
        typer.echo(f"written: {out}", err=True)
    if json:
        options.print_json(report.to_dict())
    elif out is None:
        from emodef.probes.tables import probe_tables
        from emodef.reporting import print_table

        for table in probe_tables(report):
            print_table(table, options.output())
        for note in report.notes:
            typer.echo(f"note: {note}", err=True)


def card(
    model: Annotated[Path, typer.Argument(metavar="FOLDER", help="A light model's folder, or a run's.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Measure on this corpus's dev and test. By default on the one it was trained on.",
            rich_help_panel="Data",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    allow_unlabelled: options.AllowUnlabelled = False,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    corpora: Corpora = True,
    license: Annotated[
        str | None,
        typer.Option(metavar="SPDX", help="The terms you give the model away under, such as apache-2.0."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write into this folder instead of the model's.", rich_help_panel="Output"),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure a light model and write its card: README.md, and all the figures as card.json.

    The card says what the model is made from, what it is for and what not, its limits, its results on dev and test with
    intervals, label by label, and its measured biases (see 'emodef probe'). It names the command that makes it again.

    \b
    [bold]Examples[/bold]
      emodef card runs/demo/light --data examples/sample --no-corpora
      emodef card exported --license apache-2.0 --out cards/exported
    """
    given = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    if data is None and given:
        raise SettingsError(f"{option_names(given)}: this is about other data; name it with --data")
    from emodef.card import write_card
    from emodef.cli.models import progress

    with progress(None, quiet) as advance:
        written = write_card(
            model,
            data=data,
            data_dir=data_dir,
            columns=given,
            on_error=on_error.value,
            corpora=corpora,
            license=license,
            out=out,
            progress=advance,
        )
    for note in written.notes:
        typer.echo(f"note: {note}", err=True)
    if not quiet:
        typer.echo(f"written: {written.folder / 'README.md'}, card.json", err=True)


def _probe(
    model: Path | None, threshold: str | None, corpora: bool, data_dir: Path | None, seed: int, quiet: bool
) -> ProbeReport:
    from emodef.cli.models import progress
    from emodef.predictor import Predictor
    from emodef.predictor.decisions import resolve_thresholds
    from emodef.probes import probe

    predictor = Predictor.load(model)
    thresholds = resolve_thresholds(threshold, None, predictor.info)
    with progress(None, quiet) as advance:
        return probe(
            lambda texts: predictor.predict_proba(texts, progress=advance),
            predictor.label_set,
            thresholds,
            corpora=corpora,
            data_dir=data_dir,
            seed=seed,
        )
