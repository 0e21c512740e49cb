"""`emodef labels`: label sets to look at, to start from and to check. Imports typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emodef.cli import options
from emodef.errors import SettingsError

app = typer.Typer(
    no_args_is_help=True, help="Label sets: what each label means, in the order models know them."
)
LabelSetName = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A shipped label set, or a TOML file.")
]


@app.command("list")
def list_sets(json: options.Json = False) -> None:
    """List the label sets that come with emodef.

    \b
    [bold]Example[/bold]
      emodef labels list
    """
    from emodef.labels import LabelSet, shipped

    sets = [LabelSet.load(name) for name in shipped()]
    if json:
        about = [
            {"name": s.name, "labels": len(s), "exclusive": s.exclusive, "mappings": list(s.mappings)}
            for s in sets
        ]
        options.print_json(about)
        return
    from rich.table import Table

    table = Table("label set", "labels", "labels a text", "maps to", box=None, pad_edge=False)
    for s in sets:
        table.add_row(s.name, str(len(s)), "one" if s.exclusive else "several", ", ".join(s.mappings) or "-")
    options.output().print(table)


@app.command()
def show(name: LabelSetName, json: options.Json = False) -> None:
    """Show the labels of a label set with their definitions, and how they map to coarser sets.

    \b
    [bold]Examples[/bold]
      emodef labels show goemotions
      emodef labels show my-labels.toml --json
    """
    from emodef.labels import LabelSet

    labels = LabelSet.load(name)
    if json:
        options.print_json(labels.to_dict())
        return
    from rich.table import Table
    from rich.text import Text

    kind = "one label a text" if labels.exclusive else "several labels a text"
    table = Table("label", "definition", *labels.mappings, box=None, pad_edge=False)
    for label, definition in zip(labels.names, labels.definitions, strict=True):
        table.add_row(*map(Text, (label, definition, *(m[label] for m in labels.mappings.values()))))
    console = options.output()
    console.print(f"{labels.name}: {len(labels)} labels, {kind}", markup=False)
    console.print(table)


@app.command()
def skeleton(
    file: Annotated[str, typer.Argument(help="A CSV, TSV, JSONL or Parquet file, or a folder of them.")],
    out: Annotated[Path | None, typer.Option(help="Write here instead of printing.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the label set. By default the file's.")] = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    delimiter: options.Delimiter = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
) -> None:
    """Start a label set for your own data: its labels, with definitions left for you to write.

    A definition is one line on what the label means; the model reads it. Writes a new TOML file (--out), or prints it.

    \b
    [bold]Example[/bold]
      emodef labels skeleton tickets.csv --out tickets.toml
      (fill in the definitions)
      emodef labels check tickets.toml
      emodef train --data tickets.csv --labels tickets.toml --dev-share 0.1 --out runs/tickets
    """
    from emodef.atomic import write_text
    from emodef.corpora.files import read_file, skeleton_toml

    if out is not None and out.exists():
        raise SettingsError(
            f"{out} exists already, perhaps with definitions; remove it, or name another file"
        )
    columns = options.columns(text_column, label_column, label_columns, None, None, delimiter)
    splits = read_file(file, on_error=on_error.value, **columns)
    options.report_problems(splits.values())
    found = next(iter(splits.values())).label_set
    content = skeleton_toml(found.names, name or found.name)
    if out is None:
        typer.echo(content, nl=False)
        return
    write_text(out, content)
    typer.echo(
        f"{out}: {len(found)} labels; write their definitions, then: emodef labels check {out}", err=True
    )


@app.command()
def check(file: LabelSetName, json: options.Json = False) -> None:
    """Check a label set file: every label named once and defined, every mapping complete. Says what to correct.

    \b
    [bold]Example[/bold]
      emodef labels check my-labels.toml
    """
    from emodef.corpora.files import is_derived
    from emodef.labels import LabelSet

    labels = LabelSet.load(file)
    if is_derived(labels):
        raise SettingsError(
            f"{file}: the definitions only repeat the names; write a line on what each label means"
        )
    if json:
        about = {"name": labels.name, "labels": len(labels), "exclusive": labels.exclusive}
        options.print_json({**about, "mappings": list(labels.mappings)})
        return
    mapped = f", mapped to {', '.join(labels.mappings)}" if labels.mappings else ""
    kind = "one" if labels.exclusive else "several"
    typer.echo(f"{labels.name}: {len(labels)} labels, each defined, {kind} a text{mapped}")
