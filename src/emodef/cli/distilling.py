"""`emodef soft-labels` and `emodef average`. Imports typer; emodef.train only inside the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emodef.cli import options
from emodef.errors import DataError, SettingsError


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command(name="soft-labels")(soft_labels)
    app.command()(average)


def soft_labels(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…", help="Runs to learn from; RUN:emotion, RUN:match or RUN:mean names a head."
        ),
    ],
    data_dir: options.DataDir = None,
    cpu: options.Cpu = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compute runs' probabilities of their training texts, for other runs to learn from (setting teacher).

    They are kept in RUN/train_probabilities.npz (float16), computed once, and enough to learn from where the weights are not
    there any more. Training with a teacher computes them itself where they are missing; this does it beforehand.

    \b
    [bold]Examples[/bold]
      emodef soft-labels runs/none runs/match:mean
      emodef train --recipe minilm --setup match --set 'teacher=["runs/none", "runs/match:mean"]' --out runs/student
    """
    from emodef.runs import RunFolder
    from emodef.train.teachers import Teacher, is_stored, probabilities_of

    found = []
    for given in runs:
        teacher = Teacher(given)
        train = RunFolder.open(teacher.path).corpus(data_dir)["train"]
        console = options.notes(quiet)
        names, probabilities = probabilities_of(teacher, train.texts, cpu=cpu, tell=console.print)
        if not is_stored(teacher, train.texts):  # of a run that only learns from them this is no error
            raise DataError(
                "could not be written; make room there, and give the command again", teacher.store
            )
        found.append(
            {
                "teacher": given,
                "known_by": teacher.known_by(),
                "file": str(teacher.store),
                "texts": len(probabilities),
                "labels": len(names),
            }
        )
    if json:
        options.print_json(found)
        return
    for each in found:
        typer.echo(f"{each['file']}: {each['texts']:,} texts, {each['labels']} labels ({each['known_by']})")


def average(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Finished runs with their weights, of one encoder.")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the new model, as a run's.")],
    untuned: Annotated[
        str,
        typer.Option(
            metavar="SHARE|choose",
            help="Share of the encoder before any training; 'choose' the best one on dev.",
        ),
    ] = "0",
    data_dir: options.DataDir = None,
    cpu: options.Cpu = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Average the weights of finished runs into one model, measured as a run: often better than each, and as fast.

    The mean of one run and the untuned encoder (--untuned) takes back what training forgot, which labels of your own need.

    \b
    [bold]Examples[/bold]
      emodef average runs/match-42 runs/match-43 runs/match-44 --out runs/mean
      emodef average runs/match-42 --untuned choose --out runs/milder
    """
    from emodef.train.averaging import SHARES
    from emodef.train.averaging import average as make

    shares = SHARES if untuned == "choose" else (_share(untuned),)
    directory = None if data_dir is None else str(data_dir)
    run, tried = make(runs, out, shares=shares, data_dir=directory, cpu=cpu, tell=options.notes(quiet).print)
    if json:
        options.print_json(
            {
                "run": str(out),
                "average": list(run.model.settings.average),
                "tried": [vars(each) for each in tried],
                "dev": {
                    name: report.summary["macro_f1"].value
                    for name, report in run.reports.items()
                    if name.startswith("dev")
                },
            }
        )
        return
    for line in run.model.settings.average:
        typer.echo(line)
    for name, report in run.reports.items():
        if name.startswith("dev"):
            typer.echo(f"{name}: macro-F1 {100 * report.summary['macro_f1'].value:.2f}")
    typer.echo(f"saved in {out}; next: emodef export {out}")


def _share(given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise SettingsError(f"--untuned {given}: give a share from 0 to below 1, or 'choose'")
    return share
