"""`emodef zero-shot`. Imports typer; emodef.train and emodef.zeroshot only inside the command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.cli import options
from emodef.errors import DataError, SettingsError

if TYPE_CHECKING:
    from emodef.zeroshot.measuring import Data
    from emodef.zeroshot.sources import Source

SHIPPED = "shipped"
_CORPORA = ["isear", "emoint", "emotion_stimulus"]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command(name="zero-shot")(zero_shot)


def zero_shot(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]MODEL…",
            help="Light models, runs or saved models, each with a name of its own if wished; 'shipped' is the one emodef brings.",
        ),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A corpus to score from definitions alone. May be repeated; by default three published ones.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="What the labels of your own file mean, a TOML file; of several definitions of a label the first is read.",
        ),
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A run that held labels out of its training: score these on its own test texts. May be repeated.",
        ),
    ] = None,
    untuned: Annotated[
        str | None,
        typer.Option(
            metavar="BACKBONE", help="Beside them this encoder as it is, 'minilm' for the default one."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Of --corpus, and of a run with held-out labels. By default test, else all of a file."
        ),
    ] = None,
    rows: Annotated[
        Path,
        typer.Option(help="File of results: what is there is not measured again.", rich_help_panel="Output"),
    ] = Path("zero_shot.jsonl"),
    out: Annotated[
        Path | None, typer.Option(help="Write the tables here, as Markdown.", rich_help_panel="Output")
    ] = None,
    heading: Annotated[str, typer.Option(help="Title of the page.", rich_help_panel="Output")] = "Zero-shot",
    introduction: Annotated[
        Path | None,
        typer.Option(
            help="A Markdown file to put under the title.",
            rich_help_panel="Output",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    data_dir: options.DataDir = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    delimiter: options.Delimiter = None,
    allow_unlabelled: options.AllowUnlabelled = False,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    cpu: options.Cpu = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Score corpora, or labels held out of training, from the labels' definitions alone, and measure it.

    Every way a model can do it is measured: its matching head under each policy for biases and thresholds, its definition head
    (one pass for each text and label), plain cosines with names and definitions, and a mapping of its labels made by hand.

    \b
    [bold]Examples[/bold]
      emodef zero-shot shipped cdp=runs/cdp --untuned minilm --out zero_shot.md
      emodef zero-shot shipped --corpus labelled.csv --labels mine.toml
      emodef zero-shot --held-out runs/draw1 --held-out runs/draw2 --untuned minilm --rows held_out.jsonl
    """
    from emodef.reporting import print_table
    from emodef.zeroshot.measuring import UNSEEN, measure, own_labels
    from emodef.zeroshot.rows import RowFile
    from emodef.zeroshot.tables import zero_shot_tables

    options.refuse_input(out, introduction, labels, rows, *(corpus or ()))
    file, console = RowFile(rows), options.notes(quiet)
    directory = None if data_dir is None else str(data_dir)
    own = options.columns(text_column, label_column, label_columns, None, None, delimiter, allow_unlabelled)
    if labels is not None:
        own["label_set"] = labels
    if (corpus or own) and not (models or untuned):
        raise SettingsError(
            "no model to score with; name some ('shipped' is the one emodef brings), or --untuned minilm, or leave out --corpus, --labels "
            "and options of columns"
        )
    scored: list[Data] = []
    if models or (corpus and untuned):
        # what is measured where none is named has no splits
        scored = _corpora(corpus or _CORPORA, directory, own, on_error, quiet, split if corpus else None)
    bare: list[Source] = [] if untuned is None else [_untuned(untuned)]
    names: dict[str, str] = {}
    for source in (
        *(_source(given, cpu) for given in models or ()),
        *(bare if models or corpus else ()),
    ):
        names[source.weights] = source.name
        for data in scored:
            measure(source, data, file, tell=console.print)
    for run in held_out or ():
        source = _source(run, cpu)
        names.setdefault(source.weights, source.name)
        for data in _held_out(source, run, split or "test", directory):
            if not data.task.endswith(UNSEEN):
                own_labels(source, data, file)
                continue
            for each in (source, *bare):
                measure(each, data, file, tell=console.print)
    if not file.rows:
        raise SettingsError(
            "none of these models can score these labels; name one that was trained with match or cdp"
            if names
            else "nothing to measure; name models, or runs that held labels out (--held-out)"
        )
    found = file.named(names)
    shown = file.current(found)
    if len(shown) < len(found):
        console.print(
            f"{len(found) - len(shown)} older rows of {rows}, on other texts or labels by that name, are left out",
            markup=False,
        )
    tables = zero_shot_tables(shown)
    if json:
        typer.echo("[" + ",\n".join(row.to_line() for row in shown) + "]")
    elif out is None:
        for table in tables:
            print_table(table, options.output())
    if out is not None:
        options.write_page(out, heading, introduction, tables)


def _source(given: str, cpu: bool) -> Source:
    """A light model where there is one, else the checkpoint."""
    from emodef.errors import DataError
    from emodef.predictor.model_file import find
    from emodef.zeroshot.sources import LightSource

    name, sign, path = given.partition("=")
    path = path if sign else name
    if path == SHIPPED:
        return LightSource(name)
    name = name if sign else Path(path).name
    try:
        find(path)
    except DataError:
        from emodef.train.zeroshot import TorchSource

        return TorchSource.load(name, path, cpu=cpu)
    return LightSource(name, path)


def _untuned(backbone: str) -> Source:
    from emodef.train.settings import TrainSettings
    from emodef.train.zeroshot import TorchSource

    chosen: dict[str, Any] = {"backbone": backbone, "pooling": "mean", "placeholders": ()}
    settings = TrainSettings(**chosen)
    return TorchSource.untuned(f"{backbone}, untuned", settings)


def _corpora(
    names: list[str],
    data_dir: str | None,
    own: dict[str, Any],
    on_error: options.OnError,
    quiet: bool,
    split: str | None = None,
) -> list[Data]:
    """What to score. own: how files of the user's are read. Raises SettingsError for one whose labels have no definitions."""
    from emodef.corpora import CORPORA, load_corpus
    from emodef.corpora.files import is_derived
    from emodef.measuring import choose_split
    from emodef.zeroshot.measuring import Data, background_texts

    options.refuse_columns(own, names, "--corpus")
    found = []
    for name in names:
        given = {} if name in CORPORA else own
        splits = load_corpus(name, data_dir=data_dir, on_error=on_error.value, **given)
        options.report_problems(splits.values(), quiet)
        corpus = choose_split(splits, name, None if set(splits) == {"all"} else split)
        if is_derived(corpus.label_set):
            raise SettingsError(
                f"{name}: its labels have names and no definitions to score by; start a file of these with 'emodef labels skeleton {name} "
                "--out labels.toml', and pass --labels labels.toml"
            )
        found.append(corpus)
    try:
        texts = background_texts(load_corpus("goemotions", data_dir=data_dir)["train"])
    except DataError:
        texts = []
        if not quiet:
            typer.echo(
                "note: GoEmotions is not at hand; ways that need some of its texts are left out", err=True
            )
    return [Data(f"{name} {corpus.split}", corpus, texts) for name, corpus in zip(names, found, strict=True)]


def _held_out(source: Source, run: str, split: str, data_dir: str | None) -> tuple[Data, Data]:
    from emodef.runs import DataChoice, RunFolder, check_texts
    from emodef.zeroshot.measuring import held_out_data

    folder = RunFolder.open(run.rpartition("=")[2])
    choice = DataChoice.saved(folder.path)
    splits = DataChoice(**{**vars(choice), "data_dir": data_dir or choice.data_dir}).load(
        folder.settings["corpus"], folder.settings.get("label_set")
    )
    check_texts(folder, splits, {split} & {*folder.measured()})
    return held_out_data(source, splits, source.name, split)
