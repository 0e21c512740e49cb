"""`emodef export` and `emodef pack`: a checkpoint as a light model, or in half precision. Imports typer; emodef.train only when called."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.errors import SettingsError, option_names

if TYPE_CHECKING:
    from emodef.reporting import Table
    from emodef.train.export import Exported
    from emodef.train.parity import Parity


class Precision(StrEnum):
    """How the graph's large products are computed."""

    INT8 = "int8"
    FP32 = "fp32"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(export)
    app.command()(pack)


def export(
    run: Annotated[
        Path, typer.Argument(help="The folder given to 'emodef train --out', or with --data a saved model's.")
    ],
    out: Annotated[Path | None, typer.Option(help="The light model's folder. By default RUN/light.")] = None,
    precision: Annotated[
        Precision, typer.Option(help="int8 is a quarter of the size and faster; fp32 is exact.")
    ] = Precision.INT8,
    name: Annotated[
        str | None, typer.Option(help="What its card calls it. By default backbone, setup and corpus.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="The corpus, where it is not to be had as the run had it. Its dev split is measured.",
            rich_help_panel="Data",
        ),
    ] = None,
    dev_share: options.Share = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    allow_unlabelled: options.AllowUnlabelled = False,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn a trained model into a light one: no torch needed, small, and several times faster.

    The light model is checked against the checkpoint on the corpus's dev split, where its thresholds and its calibration
    are fitted too; if it does not answer alike, nothing is written. Writes OUT/model.onnx, tokenizer.json, model.json and
    README.md. A light model that stands there is replaced, anything else is not.

    \b
    [bold]Examples[/bold]
      emodef export runs/demo
      emodef export runs/demo --precision fp32 --out models/demo-exact
      emodef predict --model runs/demo "Thank you so much!"
    """
    from emodef.train.export import check_free, export, load_source

    given = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    read = {"dev_share": dev_share, "on_error": on_error is options.OnError.SKIP}
    if data is None and (told := [*given, *(name for name, value in read.items() if value)]):
        raise SettingsError(
            f"{option_names(told)}: the run's own data is read as it was; name other data with --data"
        )
    if out is None:
        if not (run / "settings.json").exists():
            raise SettingsError(f"{run} is not a run's folder: say where the light model goes (--out)")
        out = run / "light"
    check_free(out)
    choice = options.data_choice(data_dir, on_error, dev_share=dev_share, columns=given)
    trained, corpus = load_source(run, data=data, choice=choice)
    options.report_problems(corpus.values(), quiet)
    with options.stages(quiet) as progress:
        made = export(trained, corpus, out, precision=precision.value, name=name, progress=progress)
    _print(made, json)


def pack(
    run: Annotated[
        Path, typer.Argument(help="The folder given to 'emodef train --out', or a saved model's.")
    ],
    out: Annotated[Path, typer.Option(help="The copy's folder.")],
) -> None:
    """Copy a checkpoint in half precision: half the size, and trained on from there with --set backbone=OUT.

    It is read like any saved model, and computes in single precision.

    \b
    [bold]Examples[/bold]
      emodef pack runs/demo --out models/demo
      emodef train --recipe minilm --set backbone=models/demo --data mine.csv --labels mine.toml --out runs/mine
    """
    from emodef.runs import model_folder
    from emodef.train.packing import pack

    made = pack(model_folder(run), out)
    size = sum(path.stat().st_size for path in made.iterdir())
    typer.echo(f"saved in {made} ({size / 1e6:.1f} MB)")


def _print(made: Exported, json: bool) -> None:
    if json:
        content = {
            "folder": str(made.folder),
            "bytes": made.size,
            "parity": made.parity.to_dict(),
            "dev": made.info.about["dev"],
        }
        options.print_json(content)
        return
    from emodef.reporting import print_table

    print_table(_table(made.parity), options.output())
    typer.echo(
        f"saved in {made.folder} (model.onnx {made.size / 1e6:.1f} MB)\n"
        f'next: emodef predict --model {made.folder} "Thank you so much!"'
    )


def _table(parity: Parity) -> Table:
    from emodef.reporting import Column, Table

    rows = tuple(
        (check.measure, f"{check.found:.2g}", "–" if check.limit is None else f"{check.limit:.2g}")
        for check in parity.checks
    )
    pairs = f" and {parity.pairs:,} pairs" if parity.pairs else ""
    return Table(
        f"Checked on {parity.texts:,} dev texts{pairs}",
        (Column("difference"), Column("found"), Column("limit")),
        rows,
    )
