"""`emodef compare`: several runs side by side, with paired tests. Imports typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emodef.cli import options
from emodef.cli.evaluating import Policy
from emodef.errors import SettingsError


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(compare)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Folders of finished runs; RUN:emotion or RUN:match for the scores of one head, RUN:mean for their mean."
        ),
    ],
    split: Annotated[str, typer.Option(help="The split to compare on.")] = "test",
    policy: Annotated[
        Policy, typer.Option(help="Thresholds tuned on each run's dev scores, the fixed one, or both.")
    ] = Policy.BOTH,
    paper: Annotated[
        list[str] | None,
        typer.Option(
            help="A row of the paper's Table II to add, such as BERT+CDP; of GoEmotions' test split at the fixed threshold."
        ),
    ] = None,
    data_dir: options.DataDir = None,
    heading: Annotated[
        str | None, typer.Option(help="With --out: title of the page. By default Runs compared.")
    ] = None,
    introduction: Annotated[
        Path | None,
        typer.Option(help="With --out: a Markdown file to put under the title.", exists=True, dir_okay=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the tables here, as one Markdown page.")] = None,
) -> None:
    """Compare finished runs on the same texts: scores with intervals, gains over the first run with paired tests, F1 by label.

    Example: emodef compare runs/none runs/cdp runs/match runs/match:emotion --out compared.md
    """
    if out is None and (heading is not None or introduction is not None):
        raise SettingsError("--heading and --introduction are for a page; name its file with --out")
    options.refuse_input(out, introduction)
    from emodef.comparison import Contender, compare_runs
    from emodef.reporting import print_table

    options.notes().print("measuring, with intervals and paired tests …")
    policies = ("tuned", "fixed") if policy is Policy.BOTH else (policy.value,)
    tables = compare_runs(
        [Contender.parse(run) for run in runs],
        split=split,
        policies=policies,
        data_dir=data_dir,
        paper_rows=paper or (),
    )
    if out is None:
        for table in tables:
            print_table(table, options.output())
        return
    options.write_page(out, heading or "Runs compared", introduction, tables)
