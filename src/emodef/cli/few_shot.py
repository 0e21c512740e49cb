"""`emodef few-shot`: what labelled texts bring, from none to a thousand, run, tabled and drawn. Imports typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emodef.cli import options

group = typer.Typer(
    no_args_is_help=True,
    help="Curves over the number of labelled texts: heads from definitions, from nothing, and a linear probe.",
)
Results = Annotated[Path, typer.Option(help="The folder of results.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.add_typer(group, name="few-shot")


@group.command()
def run(
    results: Results = Path("results/few_shot"),
    corpora: Annotated[
        list[str] | None,
        typer.Option("--corpus", metavar="NAME|FILE", help="By default isear, emoint, emotion_stimulus."),
    ] = None,
    arms: Annotated[
        list[str] | None, typer.Option("--arm", help="By default definitions, zero and probe.")
    ] = None,
    sizes: Annotated[
        list[int] | None, typer.Option("--size", help="Labelled texts; by default 0 to 1,000.")
    ] = None,
    splits: Annotated[int, typer.Option(min=1, help="Random splits of each corpus.")] = 10,
    labels: options.Labels = None,
    model: options.LightModel = None,
    threads: options.Threads = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    allow_unlabelled: options.AllowUnlabelled = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and stop.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit heads to 0 to 1,000 texts of other corpora, on several splits. Without torch; what is made is not made again.

    Splits are those of a transfer study (recipe figure3), so that full fine-tuning can stand beside them:
    emodef experiment run figure3_minilm --set splits=10.

    \b
    [bold]Examples[/bold]
      emodef few-shot run
      emodef few-shot run --corpus isear --size 100 --splits 3
      emodef few-shot run --corpus mine.csv --labels mine.toml --size 0 --size 50 --size 100
      emodef few-shot table --out docs/results/few_shot.md
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from emodef.fitting.curve import CurveSettings, plan_curve, run_curve
    from emodef.predictor import Predictor

    given = {"corpora": corpora, "arms": arms, "sizes": sizes}
    chosen = {key: tuple(value) for key, value in given.items() if value}
    settings = CurveSettings(**chosen, splits=splits, label_set=labels)  # type: ignore[arg-type]
    own = options.columns(text_column, label_column, label_columns, None, None, None, allow_unlabelled)
    labelled = {} if labels is None else {"label_set": labels}
    options.refuse_columns(labelled | own, settings.corpora, "--corpus")
    choice = options.data_choice(data_dir, on_error, columns=own)
    predictor = Predictor.load(model, threads=threads)
    curve = plan_curve(settings, results, predictor, choice)
    options.report_problems(curve.own.values(), quiet)
    if dry_run:
        typer.echo(f"{len(curve.missing)} runs to make, {curve.done} made; in {curve.folder.path}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=options.notes(), disable=quiet) as bar:
        task = bar.add_task("", total=len(curve.missing))

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done)

        run_curve(curve, predictor, progress=tell)
    typer.echo(f"all {curve.done + len(curve.missing)} runs are made; in {curve.folder.path}")


@group.command()
def table(
    results: Results = Path("results/few_shot"),
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FOLDER",
            help="A transfer study on the same splits: full fine-tuning, beside the heads.",
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of such a study show this start only. May be repeated."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, help="Of the bootstrap; 0 for no intervals and no tests.")
    ] = 2000,
    out: Annotated[
        Path | None, typer.Option(help="Write a Markdown page here, and the figure beside it.")
    ] = None,
) -> None:
    """Print the curve as tables, with paired tests; with --out also as a page with its figure.

    \b
    [bold]Examples[/bold]
      emodef few-shot table
      emodef few-shot table --with results/transfer/minilm-mean-1a2b3c4d --start match --out docs/results/few_shot.md
    """
    import shlex

    from emodef.fitting import curve_report
    from emodef.reporting import print_table
    from emodef.transfers import TransferFolder

    folder = curve_report.find_curve(results)
    studies = [TransferFolder(path) for path in beside or ()]
    scores = curve_report.read_curve(folder, studies, starts=start or (), resamples=resamples)
    if out is None:
        for each in (curve_report.curve_table(scores), *curve_report.gains_tables(scores)):
            print_table(each, options.output())
        return
    from emodef.atomic import write_text

    drawing = curve_report.draw_curve(scores, out.stem)
    written = drawing.save(out.parent)
    told = [] if results == curve_report.RESULTS else ["--results", str(results)]
    told += [word for path in beside or () for word in ("--with", str(path))]
    told += [word for name in start or () for word in ("--start", name)]
    told += [] if resamples == curve_report.RESAMPLES else ["--resamples", str(resamples)]
    command = shlex.join(["emodef", "few-shot", "table", *told, "--out", str(out)])
    write_text(out, curve_report.curve_page(scores, drawing, folder, command))
    for path in (out, *written):
        typer.echo(f"written: {path}", err=True)
