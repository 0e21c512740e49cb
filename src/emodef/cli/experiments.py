"""`emodef experiment run | list | pack | unpack`. Imports typer; emodef.train and emodef.experiments only inside the commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emodef.cli import experimenting, options, transferring
from emodef.errors import SettingsError, TrainingError


class Where(StrEnum):
    """Where processes run."""

    LOCAL = "local"
    RAY = "ray"


group = typer.Typer(
    help="Many runs from one recipe: make them, list them, take them along.", no_args_is_help=True
)

Results = Annotated[
    Path, typer.Option(help="Folder of finished runs; new ones are put there.", rich_help_panel="Output")
]
_DEFAULT = Path("results")


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.add_typer(group, name="experiment")


@group.command()
def run(
    recipe: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A shipped recipe ('emodef recipes') or a TOML file.")
    ],
    results: Results = _DEFAULT,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=1, help="Runs at once, each a process: they share the cores, or the GPU."
        ),
    ] = 1,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            help="Go on with unfinished runs, or start them anew, which loses what they saved.",
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, what is done, and how long it takes.")
    ] = False,
    stop_after: Annotated[
        float | None,
        typer.Option(
            min=0.01, metavar="MINUTES", help="Then save all states and end; the same command goes on."
        ),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="Keep the models, or only what was measured.")
    ] = True,
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting, for all runs: a value or a list, seed=[1,2]. May be repeated.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Only the runs with this setting, setup=cdp. May be repeated."
        ),
    ] = None,
    engine: Annotated[
        Where, typer.Option(help="Where processes run: this machine, or (extra ray) a cluster's machines.")
    ] = Where.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT|ray://HOST:PORT",
            help="A running Ray cluster, for --engine ray; all its machines must see the results folder.",
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=RUN",
            help="For a study of transfer: the run or model of a start, instead of the best one in the results; "
            "or a further start. May be repeated.",
        ),
    ] = None,
    dev_share: options.Share = None,
    test_share: options.Share = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    allow_unlabelled: options.AllowUnlabelled = False,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    cpu: options.Cpu = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make all runs of a recipe that are not done yet, several at once.

    A run is done where a finished one with the same settings, on the same data, is anywhere under the results folder. A run
    that fails does not stop the others. Ctrl-C (or --stop-after) saves all states; the same command goes on. Each run's
    folder can also be used by itself: emodef evaluate, predict, train --resume.

    \b
    [bold]Examples[/bold]
      emodef experiment run minilm_campaign --dry-run
      emodef experiment run minilm_campaign --stop-after 60
      emodef experiment run table3_minilm --set seed=[42,43] --only setup=cdp
      emodef experiment run gpu_campaign --jobs 12 --stop-after 28 --no-weights     # one GPU, shared by 12 processes
      emodef experiment run table3 --engine ray --address auto --jobs 8
      emodef experiment run figure3_minilm --jobs 2 --start none=runs/none     # transfer to other corpora
      emodef experiment run minilm_campaign --set corpus=mine.csv --set label_set=mine.toml --dev-share 0.1
    """
    columns = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    choice = options.data_choice(
        data_dir, on_error, dev_share=dev_share, test_share=test_share, columns=columns
    )
    study = transferring.find_study(recipe, assign or [], start or [])
    if study is not None:
        others = {
            "--engine ray": engine is not Where.LOCAL,
            "--address": address is not None,
            "--only": bool(only),
            "--no-resume": not resume,
            "--no-weights": not weights,
        }
        if refused := [option for option, is_given in others.items() if is_given]:
            raise SettingsError(f"{recipe} is a study of transfer, which does not take {', '.join(refused)}")
        transferring.make_study(
            study, results, start or [], choice, jobs=jobs, cpu=cpu, stop_after=stop_after, dry_run=dry_run, json=json,
            quiet=quiet,
        )  # fmt: skip
        return
    from emodef.experiments.supervisor import FAILED, FINISHED

    if engine is Where.LOCAL and address is not None:
        raise SettingsError("--address is of a Ray cluster; say --engine ray with it, or leave it out")
    ray = None if engine is Where.LOCAL else address or "local"
    wanted = experimenting.chosen_runs(recipe, assign or [], only or [])
    corpora, specs = experimenting.read_specs(wanted, choice, quiet)
    plan, threads = experimenting.planned_runs(specs, corpora, results, jobs, cpu)
    if dry_run:
        experimenting.print_plan(plan, jobs, json)
        return
    order = {"data": asdict(choice), "resume": resume, "weights": weights, "cpu": cpu}
    made, stopped = experimenting.supervise(plan, order, jobs, threads, stop_after, quiet, ray)
    if json:
        options.print_json([experimenting.outcome(planned, made.get(planned.spec.name)) for planned in plan])
    failed = [job for job in made.values() if job.state == FAILED]
    new = sum(job.state == FINISHED for job in made.values())
    before = len(plan) - len(made)
    typer.echo(
        f"{len(plan)} runs: {new} finished now, {before} before, {len(failed)} failed, "
        f"{len(made) - new - len(failed)} to do; in {results}",
        err=json,
    )
    if stopped:
        how = "the same command" if resume else "the same command without --no-resume"
        typer.echo(f"{stopped}; states are saved: {how} goes on", err=True)
    if stopped == "interrupted":
        raise typer.Exit(130)
    if failed:
        told = "; ".join(f"{job.name}: {job.error}" for job in failed[:3])
        raise TrainingError(
            f"{len(failed)} of {len(plan)} runs failed ({told}{'; …' if len(failed) > 3 else ''}). What they said last is in "
            "their folders, output.txt; the same command tries them again"
        )


@group.command(name="list")
def list_(results: Results = _DEFAULT, json: options.Json = False) -> None:
    """List the recipes, and how many runs of each are finished in the results folder (on whatever data).

    \b
    [bold]Examples[/bold]
      emodef experiment list
      emodef experiment run table2 --dry-run     # run by run
    """
    from rich.table import Column, Table
    from rich.text import Text

    from emodef.experiments.results import find_runs
    from emodef.train.settings import load_experiment, recipes

    finished = [run.canonical for run in find_runs(results, experimenting.canonical) if run.is_finished]
    found = {}
    for name in recipes():
        experiment = load_experiment(name)
        if experiment.runs:
            done = sum(run.canonical() in finished for run in experiment.runs)
            found[name] = {
                "runs": len(experiment.runs),
                "finished": done,
                "description": experiment.description,
            }
    if json:
        options.print_json(found)
        return
    numbers = [Column(head, justify="right") for head in ("runs", "finished")]
    table = Table("recipe", *numbers, "what it is for", box=None, pad_edge=False)
    for name, about in found.items():
        table.add_row(name, str(about["runs"]), str(about["finished"]), Text(str(about["description"])))
    options.output().print(table)


@group.command()
def pack(
    results: Annotated[Path, typer.Argument(help="Folder of finished runs.")],
    out: Annotated[Path, typer.Option(help="The file to write: NAME.tar.gz.")],
    weights: Annotated[
        bool, typer.Option("--weights/--no-weights", help="With the models, or only what was measured.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Put finished runs, and the other files beside them, into one file: unfinished runs stay out.

    \b
    [bold]Examples[/bold]
      emodef experiment pack results --out results.tar.gz
    """
    from emodef.experiments.packing import pack as write

    packed = write(results, out, weights=weights)
    if json:
        options.print_json(asdict(packed))
        return
    size = out.stat().st_size / 1e6
    typer.echo(f"{len(packed.runs)} runs and {len(packed.files)} other files in {out} ({size:.1f} MB)")
    _print_left(packed.left)


@group.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="What 'emodef experiment pack' wrote.")],
    results: Results = _DEFAULT,
    json: options.Json = False,
) -> None:
    """Merge packed runs into a results folder. A finished run that is there already stays as it is.

    \b
    [bold]Examples[/bold]
      emodef experiment unpack results.tar.gz
    """
    from emodef.experiments.packing import unpack as merge

    merged = merge(archive, results)
    if json:
        options.print_json(asdict(merged))
        return
    typer.echo(f"{len(merged.runs)} runs and {len(merged.files)} other files put into {results}")
    _print_left(merged.left)


def _print_left(left: Mapping[str, str]) -> None:
    for name, reason in left.items():
        typer.echo(f"left out: {name} {reason}", err=True)
