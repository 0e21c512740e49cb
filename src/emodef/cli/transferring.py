"""A study of transfer (figure3), as `emodef experiment run` makes it. Imports typer; emodef.train only inside the functions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emodef.cli import options
from emodef.errors import SettingsError

if TYPE_CHECKING:
    from emodef.runs import DataChoice
    from emodef.train.transfer_plan import Study
    from emodef.train.transfer_settings import TransferSettings


def find_study(recipe: str, assign: list[str], starts: list[str]) -> TransferSettings | None:
    """The study that a recipe stands for; None where it stands for training runs. Raises SettingsError."""
    from emodef.train.settings import load_experiment, parse_overrides

    study: TransferSettings | None = load_experiment(recipe, parse_overrides(assign)).transfer
    if study is None and starts:
        raise SettingsError(f"--start is for a study of transfer; {recipe} stands for training runs")
    return study


def make_study(
    settings: TransferSettings,
    results: Path,
    starts: list[str],
    data: DataChoice,
    *,
    jobs: int = 1,
    cpu: bool = False,
    stop_after: float | None = None,
    dry_run: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Make the study's missing runs, or say what they are. starts: NAME=RUN each. data: how corpora are read. Errors: as `run_transfer`."""
    from emodef.train.transfer import OutOfTime, plan_transfer, run_study

    options.refuse_columns(data.columns, settings.corpora, "--set 'corpora=[\"FILE\"]'")
    deadline = None if stop_after is None else time.monotonic() + 60 * stop_after
    study = plan_transfer(settings, results, parse_starts(starts), cpu=cpu, data=data)
    options.report_problems((texts.corpus for texts in study.corpora.values()), quiet)
    if dry_run:
        _print_plan(study, jobs, json)
        return
    stopped = None
    try:
        run_study(study, jobs=jobs, deadline=deadline, console=None if quiet else options.notes())
    except OutOfTime as error:
        stopped = str(error)
    left = study.left()
    done = study.done + study.pending - left
    if json:
        options.print_json({"folder": str(study.folder.path), "done": done, "left": left})
    typer.echo(stopped or f"all {done} runs are made; in {study.folder.path}", err=json)


def parse_starts(given: list[str]) -> Mapping[str, str]:
    """`["none=runs/none"]` as a dict. Raises SettingsError."""
    starts: dict[str, str] = {}
    for each in given:
        name, sign, folder = each.partition("=")
        if not (sign and name and folder):
            raise SettingsError(f"--start {each}: write it as NAME=RUN, for example --start none=runs/none")
        if name in starts:
            raise SettingsError(f"--start {name} is given twice; give each start a name of its own")
        starts[name] = folder
    return starts


def _print_plan(study: Study, jobs: int, json: bool) -> None:
    from emodef.reporting import Column, Table, print_table
    from emodef.reporting.render import format_duration

    seconds = study.seconds(jobs)
    if json:
        runs = [
            {"start": unit.start.name, "corpus": unit.corpus, "size": size, "split": split, "policy": policy}
            for unit in study.units
            for size, split, policy in unit.runs
        ]
        plan = {"folder": str(study.folder.path), "done": study.done, "runs": runs, "seconds": seconds}
        options.print_json(plan)
        return
    columns = (
        Column("corpus"),
        Column("start"),
        Column("from"),
        Column("runs", "count"),
        Column("steps", "count"),
    )
    rows = tuple(
        (
            unit.corpus,
            unit.start.name,
            unit.start.run or study.settings.backbone,
            len(unit.runs),
            sum(study.steps(unit.corpus, size) for size, _, _ in unit.runs),
        )
        for unit in study.units
    )
    if not rows:
        typer.echo(f"all {study.done} runs are made; in {study.folder.path}")
        return
    print_table(Table("Runs to be made", columns, rows), options.output())
    time = (
        "how long they take shows once one is made"
        if seconds is None
        else f"about {format_duration(seconds)}"
    )
    typer.echo(f"{study.pending} runs to make, {study.done} made; {time}; in {study.folder.path}")
