"""`emodef paper`: the paper's tables from a folder of runs, beside what it printed. Imports typer; emodef.paper only inside the command."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import nullcontext, redirect_stdout
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.cli.evaluating import Form, Policy
from emodef.errors import DataError, EmodefError, SettingsError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from emodef.paper.cells import Parts
    from emodef.paper.statistics import Study


_RESAMPLES = 10_000


class What(StrEnum):
    """What to make."""

    TABLE1 = "table1"
    TABLE2 = "table2"
    TABLE3 = "table3"
    TABLE4 = "table4"
    TABLE5 = "table5"
    FIGURE1 = "figure1"
    FIGURE2 = "figure2"
    FIGURE3 = "figure3"
    SWEEP = "sweep"
    CONFUSION = "confusion"
    CONTROLS = "controls"
    RUNS = "runs"
    ALL = "all"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(paper)


def paper(
    what: Annotated[
        What,
        typer.Argument(
            help="A table or figure of the paper; a plot of the sweep over p; maps of label confusion; the controls the paper lacks; "
            "the runs found; or all of these (figures with --out alone)."
        ),
    ],
    results: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Finished runs, at any depth.", rich_help_panel="Data")
    ] = Path("results"),
    policy: Annotated[
        Policy,
        typer.Option(help="The paper's fixed threshold, thresholds tuned on each run's dev scores, or both."),
    ] = Policy.BOTH,
    resamples: Annotated[
        int, typer.Option(min=0, help="Resamples of the test texts, for intervals and tests; 0 for neither.")
    ] = _RESAMPLES,
    run: Annotated[
        bool,
        typer.Option(
            "--run",
            help="First make the runs that are missing, as 'emodef experiment run' does; this may take days.",
        ),
    ] = False,
    data_dir: options.DataDir = None,
    form: Annotated[
        Form | None,
        typer.Option(
            "--format",
            help="How tables are printed, by default for the terminal; json is a list of them.",
            rich_help_panel="Output",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write here instead: a Markdown page and a LaTeX file for each, a CSV file for each table. Figures are always written, "
            "as SVG and PNG, by default into figures.",
            rich_help_panel="Output",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With table5: write its disagreements as an HTML page to look through.",
            rich_help_panel="Output",
        ),
    ] = None,
    texts: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --page: the most texts it may hold. By default all.", rich_help_panel="Output"
        ),
    ] = None,
    of: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The run that confusion and --page are of. By default that of Table V: the setup best on dev.",
            rich_help_panel="Figures",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="Labels of confusion's maps: groups of a coarser set (by default), clusters of what is confused, or as given.",
            rich_help_panel="Figures",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Figure 2: the recipe whose models are drawn. By default minilm.", rich_help_panel="Figures"
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Figure 2: another encoder than the recipe's.", rich_help_panel="Figures"),
    ] = None,
    setup: Annotated[
        list[str] | None,
        typer.Option(
            help="Figure 2: a setup to draw, such as cdp+mlm; may be repeated.", rich_help_panel="Figures"
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="Figures 1 and 2: a text of your own, with --label.", rich_help_panel="Figures"),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="A label of your text; may be repeated.", rich_help_panel="Figures"),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Build the paper's tables from finished runs: ours beside what it printed, and what was not run said so.

    Mean and standard deviation over seeds, 95% intervals over test texts, paired tests corrected for their number. Runs with the paper's
    settings and runs with another recipe stand in tables of their own. Nothing is trained, unless --run asks for it. Without the corpus
    there are only the figures stored with the runs.

    \b
    [bold]Examples[/bold]
      emodef paper table2
      emodef paper table4 --results runs --policy fixed --format latex
      emodef paper all --out docs/results/paper
      emodef paper table5 --page errors.html
      emodef paper figure2 --setup none --setup cdp --out figures
      emodef paper confusion --of runs/demo --order clusters
    """
    from emodef.cli import papers_figures
    from emodef.paper.figure3 import figure3
    from emodef.paper.tables import FIGURE3, TITLES, build, write, write_figures_page

    _refuse_others(
        what,
        {
            "--policy": (policy is not Policy.BOTH, set(What) - _WITHOUT_POLICY),
            "--page": (page, {What.TABLE5}),
            "--texts": (texts, {What.TABLE5}),
            "--of": (of, {What.CONFUSION, What.ALL} if page is None else {What.TABLE5}),
            "--order": (order, {What.CONFUSION, What.ALL}),
            "--recipe": (recipe, {What.FIGURE2, What.ALL}),
            "--backbone": (backbone, {What.FIGURE2, What.ALL}),
            "--setup": (setup, {What.FIGURE2, What.ALL}),
            "--text": (text, {What.FIGURE1, What.FIGURE2, What.ALL}),
            "--label": (label, {What.FIGURE1, What.FIGURE2, What.ALL}),
        },
    )
    if texts is not None and page is None:
        raise SettingsError("--texts is how many texts a page may hold; name its file with --page")
    if page is not None and (out is not None or run):
        raise SettingsError(
            f"--page writes its file alone; leave out {'--run' if run else '--out'}, or ask for it by itself"
        )
    if form is not None and (out is not None or page is not None):
        raise SettingsError("--format is for printing, and files are written in every form; leave it out")
    if form is Form.CSV and run:
        raise SettingsError(
            "--format csv holds one table, and how many there are is known when all has run; write them to a folder with --out, or choose "
            "another format"
        )
    if form is not None and what.value in papers_figures.FIGURES and what.value not in FIGURE3:
        raise SettingsError(f"--format is for tables, and {what.value} is drawn; leave it out")
    wanted = papers_figures.Wanted(
        results,
        lambda: _study(results, data_dir, 0, quiet, runs=True),
        policy="tuned" if policy is Policy.TUNED else "fixed",
        data_dir=data_dir,
        run=of,
        backbone=backbone,
        recipe=recipe or "minilm",
        setups=setup or (),
        order=order or "groups",
        text=text,
        labels=label or (),
    )
    if page is not None:
        papers_figures.write_page(wanted, page, texts, quiet)
        return
    names = [*TITLES, *FIGURE3] if what is What.ALL else [what.value]
    failed = _run(names, results, data_dir, quiet) if run else None
    if what.value in papers_figures.FIGURES:
        # in another form than these, standard output holds the tables alone
        beside = form in (None, Form.TABLE, Form.MARKDOWN)
        with nullcontext() if beside else redirect_stdout(sys.stderr):
            papers_figures.write_figures([what.value], wanted, out, quiet)
        if what.value not in FIGURE3:
            if failed is not None:
                raise failed
            return

    policies = ("fixed", "tuned") if policy is Policy.BOTH else (policy.value,)
    runs = set(names) - {What.TABLE1.value, *FIGURE3}
    study = _study(results, data_dir, resamples, quiet, runs=bool(runs))
    printed: dict[str, Parts] = {}
    for name in names:
        if name in FIGURE3:
            parts = figure3(results, resamples=resamples, report=_reporter(quiet))
        else:
            parts = build(name, study, policies, data_dir)
        if out is None:
            printed[name] = parts
            if form is not Form.JSON:  # its tables are one list
                _print(parts, form or Form.TABLE)
            continue
        for path in write(name, parts, out, _command(what, results, policy, resamples, data_dir, out)):
            options.notes(quiet).print(f"written: {path}", markup=False)
    if form is Form.JSON:
        _print_json(printed)
    if what is What.ALL and out is not None:
        shown: list[str] = []
        for name in papers_figures.FIGURES:
            try:
                shown += papers_figures.write_figures([name], wanted, out, quiet)
            except (
                EmodefError
            ) as error:  # such as a package that drawing needs: the others are drawn all the same
                typer.echo(f"note: {name} is not drawn: {error}", err=True)
        page = write_figures_page(shown, out, _command(what, results, policy, resamples, data_dir, out))
        options.notes(quiet).print(f"written: {page}", markup=False)
    if failed is not None:
        raise failed


def _run(names: list[str], results: Path, data_dir: Path | None, quiet: bool) -> TrainingError | None:
    """Make the runs of the recipes behind `names`; what failed, to be told when tables and figures are made from what there is."""
    from emodef.cli import experiments
    from emodef.paper.tables import RECIPES
    from emodef.train.processes import Interrupted
    from emodef.train.settings import load_experiment

    recipes = dict.fromkeys(recipe for name in names for recipe in RECIPES.get(name, ()))
    if not recipes:
        raise SettingsError(f"{', '.join(names)}: there is nothing to run for it; leave out --run")
    failed = None
    with redirect_stdout(sys.stderr):  # standard output is for the tables
        for recipe in recipes:
            study = load_experiment(recipe).transfer
            try:
                if study is not None:
                    from emodef.train.transfer import run_transfer

                    choice = options.data_choice(data_dir)
                    run_transfer(study, results, data=choice, console=options.notes(quiet))
                else:
                    experiments.run(recipe, results=results, data_dir=data_dir, quiet=quiet)
            except Interrupted:
                raise
            except TrainingError as error:
                failed = error
            except (DataError, SettingsError) as error:
                if len(recipes) == 1:
                    raise
                # the other recipes' runs have their tables all the same
                failed = TrainingError(f"{recipe}: {error}")
    return failed


def _study(results: Path, data_dir: Path | None, resamples: int, quiet: bool, *, runs: bool) -> Study:
    from emodef.paper.results import find_runs
    from emodef.paper.statistics import Study

    report = _reporter(quiet)
    return Study(
        find_runs(results, report) if runs else [], data_dir=data_dir, resamples=resamples, report=report
    )


def _reporter(quiet: bool) -> Callable[[str], None]:
    def report(message: str) -> None:
        if not quiet:
            typer.echo(f"note: {message}", err=True)

    return report


def _print(parts: Parts, form: Form) -> None:
    from emodef.reporting import print_table, render

    if form is Form.TABLE:
        for table in parts.values():
            print_table(table, options.output())
        return
    if form is Form.CSV and len(parts) > 1:
        raise SettingsError(
            f"csv holds one table, and here are {len(parts)}; write them to a folder with --out, or choose another format"
        )
    typer.echo("\n".join(render(table, form.value) for table in parts.values()), nl=False)


def _print_json(printed: Mapping[str, Parts]) -> None:
    """One list of all tables, each as `render` has it, with its place: "table2", "paper-fixed"."""
    from emodef.reporting import render

    options.print_json(
        [
            {"of": name, "table": slug, **json.loads(render(table, "json"))}
            for name, parts in printed.items()
            for slug, table in parts.items()
        ]
    )


_WITHOUT_POLICY = {What.TABLE1, What.FIGURE1, What.FIGURE2, What.FIGURE3, What.RUNS}


def _refuse_others(what: What, given: Mapping[str, tuple[object, Collection[What]]]) -> None:
    """Raise SettingsError for an option that was given, option -> (value, whose it is), and that `what` has no use for."""
    for option, (value, whose) in given.items():
        if value and what not in whose:
            theirs = [each.value for each in What if each in whose and each is not What.ALL]
            raise SettingsError(
                f"{option} is for {' and '.join(theirs)}, not for {what.value}; leave it out, or ask for: emodef paper {theirs[0]} {option}"
            )


def _command(
    what: What, results: Path, policy: Policy, resamples: int, data_dir: Path | None, out: Path
) -> str:
    extra = [] if results == Path("results") else ["--results", str(results)]
    extra += [] if policy is Policy.BOTH else ["--policy", policy.value]
    extra += [] if resamples == _RESAMPLES else ["--resamples", str(resamples)]
    extra += (
        [] if data_dir is None else ["--data-dir", data_dir.name if data_dir.is_absolute() else str(data_dir)]
    )
    return shlex.join(["emodef", "paper", what.value, *extra, "--out", str(out)])
