"""`emodef labels`: label sets to look at, to start from and to check. Imports typer."""

from __future__ import annotations

from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.atomic import write_bytes
from emodef.cli import options
from emodef.cli.wordings import compare, labelled
from emodef.errors import DataError, SettingsError, option_names

if TYPE_CHECKING:
    from emodef.checking import Check
    from emodef.definitions import Definitions
    from emodef.predictor import Predictor
    from emodef.similarity import Pair

MAP_PAIRS = 5  # most and least similar ones that `map` prints

app = typer.Typer(
    no_args_is_help=True, help="Label sets: what each label means, in the order models know them."
)
app.command()(compare)
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
    from emodef.definitions import read_labels

    definitions = read_labels(name)
    labels = definitions.label_set
    if json:
        options.print_json(_described(definitions))
        return
    from rich.table import Table
    from rich.text import Text

    kind = "one label a text" if labels.exclusive else "several labels a text"
    table = Table("label", "definition", *labels.mappings, box=None, pad_edge=False)
    for k, label in enumerate(labels.names):
        told = [*definitions.definitions[k], *(f"as in: {example}" for example in definitions.examples[k])]
        table.add_row(*map(Text, (label, "\n".join(told), *(m[label] for m in labels.mappings.values()))))
    console = options.output()
    console.print(f"{labels.name}: {len(labels)} labels, {kind}", markup=False)
    console.print(table)


def _described(definitions: Definitions) -> dict[str, Any]:
    """The set as a label set's file has it, with what each label has besides its first definition."""
    content = definitions.label_set.to_dict()
    for k, label in enumerate(content["labels"]):
        several, examples = definitions.definitions[k], definitions.examples[k]
        label |= {"definitions": list(several)} if len(several) > 1 else {}
        label |= {"examples": list(examples)} if examples else {}
        label |= {} if definitions.thresholds[k] is None else {"threshold": definitions.thresholds[k]}
    return content


@app.command()
def skeleton(
    file: Annotated[str, typer.Argument(help="A CSV, TSV, JSONL or Parquet file, or a folder of them.")],
    out: Annotated[Path | None, typer.Option(help="Write here instead of printing.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the label set. By default the file's.")] = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    delimiter: options.Delimiter = None,
    allow_unlabelled: options.AllowUnlabelled = False,
    on_error: options.OnErrorOption = options.OnError.FAIL,
) -> None:
    """Start a label set for your own data: its labels, with definitions left for you to write.

    A definition is one line on what the label means; the model reads it. Writes a new TOML file (--out), or prints it. Labels that
    are numbers say nothing yet: write the file yourself, with lines such as 1 = "Very bad".

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
    columns = options.columns(
        text_column, label_column, label_columns, None, None, delimiter, allow_unlabelled
    )
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
def check(
    file: LabelSetName,
    data: Annotated[
        str | None,
        typer.Option(
            help="Texts labelled with these labels, a CSV, TSV, JSONL or Parquet file or a folder: says which labels the model confuses."
        ),
    ] = None,
    model: options.LightModel = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 3 where there is a finding.")
    ] = False,
    threads: options.Threads = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    delimiter: options.Delimiter = None,
    allow_unlabelled: options.AllowUnlabelled = False,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    json: options.Json = False,
) -> None:
    """Check labels of your own: each named once and defined, and each definition one that a model can work with.

    Says which definitions are too short or only repeat their name, and which mean much the same to the model, measured by the most
    similar of the labels it was trained on. With --data, also which labels it confuses on your texts.

    \b
    [bold]Examples[/bold]
      emodef labels check my-labels.toml
      emodef labels check my-labels.toml --data labelled.csv --strict
    """
    from emodef.checking import check as checked
    from emodef.corpora.files import is_derived
    from emodef.definitions import read_labels

    definitions = read_labels(file)
    labels = definitions.label_set
    if is_derived(labels):
        raise DataError("the definitions only repeat the names; write a line on what each label means", file)
    columns = options.columns(
        text_column, label_column, label_columns, None, None, delimiter, allow_unlabelled
    )
    if columns and data is None:
        raise SettingsError(
            f"{option_names(columns)}: of labelled texts; name these with --data, or leave this out"
        )
    corpus = None if data is None else labelled(data, labels, columns, on_error)
    found = checked(definitions, _matching(model, threads, data is not None), corpus)
    if json:
        about = {"name": labels.name, "labels": len(labels), "exclusive": labels.exclusive}
        options.print_json({**about, "mappings": list(labels.mappings), **found.to_dict()})
    else:
        mapped = f", mapped to {', '.join(labels.mappings)}" if labels.mappings else ""
        kind = "one" if labels.exclusive else "several"
        typer.echo(f"{labels.name}: {len(labels)} labels, each defined, {kind} a text{mapped}")
        _show_check(found)
    if strict and found.findings:
        raise typer.Exit(DataError.exit_code)


def _matching(model: Path | None, threads: int | None, needed: bool) -> Predictor | None:
    """The model, where it was trained to match texts with definitions; None, said so, where it was not and need not be."""
    from emodef.predictor import Predictor

    predictor = Predictor.load(model, threads=threads)
    if predictor.root.info.match is None and not needed:
        typer.echo(
            "note: this model was not trained to match definitions, so their words alone were checked",
            err=True,
        )
        return None
    return predictor


def _show_check(found: Check) -> None:
    from rich.table import Table
    from rich.text import Text

    for finding in found.findings:
        typer.echo(f"- {finding.message}")
    if not found.findings:
        typer.echo("Nothing to correct.")
    console = options.output()
    if found.similar:
        pairs = Table(
            "most similar",
            "",
            "of the model's own labels",
            "",
            box=None,
            pad_edge=False,
            title_justify="left",
        )
        for own, known in zip_longest(found.similar, found.known):
            pairs.add_row(*(Text(cell) for pair in (own, known) for cell in _cells(pair)))
        console.print()
        console.print(pairs)
    if found.data is not None:
        table = Table("label", "texts", "AUC", "most often behind", box=None, pad_edge=False)
        for name, texts in found.data.support.items():
            area = found.data.auc[name]
            before = [c for c in found.data.confusions if c.label == name and c.share > 0][:2]
            told = ", ".join(f"{c.instead} in {c.share:.0%}" for c in before)
            table.add_row(Text(name), str(texts), "-" if area is None else f"{area:.2f}", Text(told or "-"))
        console.print()
        console.print(table)
        typer.echo(
            f"{found.data.texts:,} texts, macro-F1 {100 * found.data.macro_f1:.1f} at the thresholds that predict uses"
        )


def _cells(pair: Pair | None) -> tuple[str, str]:
    return ("", "") if pair is None else (f"{pair.first}, {pair.second}", f"{pair.cosine:.2f}")


@app.command("map")
def draw_map(
    labels: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|FILE]", help="Labels of your own. By default those of the model."),
    ] = None,
    model: options.LightModel = None,
    known: options.Known = False,
    known_labels: options.KnownLabels = None,
    level: Annotated[
        str | None,
        typer.Option(help="Colour by this coarser set. By default the first that the labels map to."),
    ] = None,
    wheel: Annotated[
        str | None, typer.Option(help="Say how well the map agrees with this wheel of emotions: plutchik.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw here: .svg or .png.", rich_help_panel="Output")
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Draw how similar labels are to a model: a map in two dimensions, and all cosines. Prints the most and least similar pairs.

    Drawing needs the extra train (matplotlib); without --out nothing is drawn.

    \b
    [bold]Examples[/bold]
      emodef labels map --wheel plutchik --out map.svg
      emodef labels map my-labels.toml --known --json
      emodef labels map my-labels.toml --known-labels joy,anger,sadness
    """
    from emodef.definitions import read_labels
    from emodef.errors import require
    from emodef.predictor import Predictor
    from emodef.similarity import cosines, layout, load_wheel, on_wheel, pairs

    if out is not None and out.suffix not in (".svg", ".png"):
        raise SettingsError(f"--out {out}: name a .svg or a .png")
    if out is not None:
        require("matplotlib", extra="train")
    round_one = None if wheel is None else load_wheel(wheel)
    # a map is of meanings alone: how many labels a text has does not matter
    own = None if labels is None else read_labels(labels).not_exclusive()
    predictor = options.with_labels(Predictor.load(model, threads=threads), own, known, known_labels)
    head, names = predictor.head, predictor.label_set.names
    if head is None:
        raise SettingsError(
            "this model was not trained to match definitions; its labels have no place to be drawn at"
        )
    of = level or next(iter(predictor.levels), None)
    places = (
        None if of is None else predictor.label_set.groups(of)
    )  # also where nothing is drawn: there may be no such level
    cosine = cosines(head.weight)
    on = None if round_one is None else on_wheel(names, cosine, round_one)
    if round_one is not None and on is None:
        raise SettingsError(f"fewer than five of these labels are on {round_one.title}; leave --wheel out")
    found = pairs(names, cosine)
    if out is not None:
        from emodef.paper.figures.similarity import draw_similarity

        groups = None if places is None else [places[0].names[k] for k in places[1]]
        about = f"Definitions as {predictor.info.about.get('name', 'the model')} reads them"
        drawing = draw_similarity(names, cosine, groups=groups, wheel=on, about=about)
        write_bytes(out, drawing.svg().encode() if out.suffix == ".svg" else drawing.png())
        typer.echo(f"{out}: {drawing.caption}", err=True)
    if json:
        where, share = layout(cosine)
        options.print_json(
            {
                "labels": list(names),
                "cosines": cosine.round(4).tolist(),
                "layout": where.round(4).tolist(),
                "layout_share": share,
                "wheel": None if on is None else asdict(on),
            }
        )
        return
    for title, some in (("most similar", found[:MAP_PAIRS]), ("least similar", found[: -MAP_PAIRS - 1 : -1])):
        typer.echo(title)
        for pair in some:
            typer.echo(f"  {pair.cosine:+.2f}  {pair.first}, {pair.second}")
    if on is not None:
        typer.echo(
            f"{on.title}, {len(on.names)} labels: distances correlate at {on.distances:.2f} (p = {on.distances_p:.2g}), directions agree "
            f"at {on.angles:.2f} of 1 (p = {on.angles_p:.2g})"
        )
