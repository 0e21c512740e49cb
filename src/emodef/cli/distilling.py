"""`emodef soft-labels`. Imports typer; emodef.train only inside the command."""

from __future__ import annotations

from typing import Annotated

import typer

from emodef.cli import options


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command(name="soft-labels")(soft_labels)


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
    from emodef.train.teachers import Teacher, probabilities_of

    found = []
    for given in runs:
        teacher = Teacher(given)
        train = RunFolder.open(teacher.path).corpus(data_dir)["train"]
        console = options.notes(quiet)
        names, probabilities = probabilities_of(teacher, train, cpu=cpu, tell=console.print)
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
