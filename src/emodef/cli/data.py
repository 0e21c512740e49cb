"""`emodef data`: corpora to fetch and to look at, and the definition pairs made from them. Imports typer."""

from __future__ import annotations

import csv
import json as jsonlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.cli import options
from emodef.errors import SettingsError

if TYPE_CHECKING:
    from emodef.corpora import Corpus

app = typer.Typer(no_args_is_help=True, help="Corpora: fetch, look at, and the paper's definition pairs.")
CorpusName = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE", help="goemotions, isear, emoint, emotion_stimulus, or your own file."
    ),
]


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="goemotions, isear, emoint or emotion_stimulus.")],
    data_dir: options.DataDir = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            help="A mirror that serves a data folder. By default $EMODEF_DATA_URL, else the public source."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch again and replace what is there.")] = False,
    accept_changed: Annotated[
        bool, typer.Option("--accept-changed", help="Take files whose sha256 is not the known one.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Download a corpus from where its authors publish it, under the terms they state.

    Writes DATA_DIR/NAME/ and prints that folder. A cut download is gone on from; a file is checked before it takes its
    place. What is there and right is left alone.

    \b
    [bold]Examples[/bold]
      emodef data fetch goemotions
      EMODEF_DATA=~/corpora emodef data fetch isear
    """
    from emodef.corpora.fetch import fetch as fetch_files
    from emodef.corpora.fetch import fetch_with_progress

    run = fetch_files if quiet else fetch_with_progress
    typer.echo(run(name, data_dir=data_dir, base_url=base_url, force=force, accept_changed=accept_changed))


@app.command()
def show(
    name: CorpusName,
    labels: options.Labels = None,
    examples: Annotated[int, typer.Option(min=0, help="Examples shown of each split.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Which examples are drawn.")] = 0,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.SKIP,
    allow_unlabelled: options.AllowUnlabelled = False,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    json: options.Json = False,
) -> None:
    """Show what is in a corpus: counts, label shares, lengths, duplicates, texts two splits share, examples.

    Rows that cannot be used are listed with file and row. Writes nothing.

    \b
    [bold]Examples[/bold]
      emodef data show goemotions
      emodef data show examples/sample --labels goemotions
      emodef data show mine.csv --text-column body --label-column tags --json
    """
    from emodef.corpora import load_corpus
    from emodef.corpora.describe import describe, render

    columns = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    columns |= {"label_set": labels}
    splits = load_corpus(name, data_dir=data_dir, on_error=on_error.value, **columns)
    options.report_notes(splits.values())
    found = describe(splits, examples=examples, seed=seed)
    if json:
        options.print_json(found.to_dict())
    else:
        options.output().print(render(found))


@app.command()
def recombine(
    name: CorpusName,
    out: Annotated[Path, typer.Option(help="The file to write: .csv or .jsonl.")],
    count: Annotated[
        int | None, typer.Option(min=1, help="New texts. By default as many as there are.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which split. By default train; of a file without splits, all of it.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which parts are drawn.")] = 42,
    labels: options.Labels = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    allow_unlabelled: options.AllowUnlabelled = False,
) -> None:
    """Make new texts of parts of a corpus's own: texts without labels, for teachers to label (setting unlabelled).

    \b
    [bold]Examples[/bold]
      emodef data recombine goemotions --count 40000 --out recombined.csv
      emodef experiment run distilled --set 'teacher=["runs/mpnet", "runs/match"]' --set unlabelled=recombined.csv
    """
    from emodef.corpora import load_corpus
    from emodef.corpora.recombined import recombine as make

    options.refuse_input(out, name)
    columns = options.columns(
        text_column, label_column, label_columns, None, split_column, delimiter, allow_unlabelled
    )
    splits = load_corpus(name, data_dir=data_dir, on_error=on_error.value, label_set=labels, **columns)
    options.report_problems(splits.values())
    corpus = _split_of(splits, split, name)
    new = make(corpus, len(corpus) if count is None else count, seed=seed)
    rows = ({"id": f"recombined:{number}", "text": text} for number, text in enumerate(new, 1))
    typer.echo(f"{out}: {_write_rows(out, rows, ('id', 'text'), None):,} texts", err=True)


@app.command()
def pairs(
    name: CorpusName,
    split: Annotated[
        str | None, typer.Option(help="Which split. By default train; of a file without splits, all of it.")
    ] = None,
    epoch: Annotated[
        int, typer.Option(min=0, help="Negatives are drawn anew each epoch, counted from 0.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the run whose pairs these are.")] = 42,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Pairs shown, or written. By default 6 shown, all written.")
    ] = None,
    labels: options.Labels = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    allow_unlabelled: options.AllowUnlabelled = False,
    out: Annotated[
        Path | None, typer.Option(help="Write them all: .csv or .jsonl.", rich_help_panel="Output")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show or write the (text, definition) pairs that the definition tasks train on, as the paper's Figure 1 does.

    For every label of a text there are two pairs: with that label's definition (IsDefinition), and with the definition
    of a label it does not have (IsNotDefinition). Writes a file only with --out.

    \b
    [bold]Examples[/bold]
      emodef data pairs goemotions
      emodef data pairs examples/sample --labels goemotions --epoch 1 --out pairs.csv
    """
    from emodef.corpora import load_corpus

    if out is not None:
        if json:
            raise SettingsError("--json prints pairs and --out writes them: give one")
        options.refuse_input(out, name)
    columns = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    splits = load_corpus(name, data_dir=data_dir, on_error=on_error.value, label_set=labels, **columns)
    options.report_problems(splits.values())
    corpus = _split_of(splits, split, name)
    total, rows = _pairs(corpus, seed, epoch)
    if out is not None:
        written = _write_rows(out, rows, ("id", "text", "label", "definition", "pair"), limit)
        typer.echo(f"{out}: {written:,} pairs", err=True)
        return
    shown = [row for row, _ in zip(rows, range(limit or 6), strict=False)]
    if json:
        about = {"corpus": name, "split": corpus.split, "seed": seed, "epoch": epoch}
        options.print_json({**about, "count": total, "pairs": shown})
        return
    from rich.table import Table
    from rich.text import Text

    title = f"{total:,} pairs, epoch {epoch}, seed {seed}"
    table = Table("text", "label", "definition", "pair", title=title, show_lines=True)
    for row in shown:
        table.add_row(*(Text(row[key]) for key in ("text", "label", "definition", "pair")))
    options.output().print(table)


def _split_of(splits: Mapping[str, Corpus], split: str | None, name: str) -> Corpus:
    """The split that was asked for; by default train, or all of a file that has no splits. Raises SettingsError."""
    from emodef.measuring import choose_split

    return choose_split(splits, name, split or ("all" if set(splits) == {"all"} else "train"))


def _pairs(corpus: Corpus, seed: int, epoch: int) -> tuple[int, Iterator[dict[str, Any]]]:
    """How many pairs, and each as a row; a text's pairs stand together, the positive ones first."""
    import numpy as np

    from emodef.pairs import definition_pairs

    made = definition_pairs(corpus.labels, seed, epoch)
    labels = corpus.label_set

    def rows() -> Iterator[dict[str, Any]]:
        for i in np.argsort(made.text, kind="stable"):
            text, label = int(made.text[i]), int(made.label[i])
            yield {
                "id": corpus.ids[text],
                "text": corpus.texts[text],
                "label": labels.names[label],
                "definition": labels.definitions[label],
                "pair": "IsDefinition" if made.is_definition[i] else "IsNotDefinition",
            }

    return len(made), rows()


def _write_rows(
    path: Path, rows: Iterator[dict[str, Any]], columns: tuple[str, ...], limit: int | None
) -> int:
    """Write up to `limit` rows and say how many."""
    from itertools import islice

    from emodef.atomic import open_atomic

    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise SettingsError(f"--out {path}: this is written as .csv or .jsonl; name the file so")
    count = 0
    with open_atomic(path) as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        as_csv = path.suffix.lower() == ".csv"
        if as_csv:
            table.writeheader()
        for row in islice(rows, limit):
            if as_csv:
                table.writerow(row)
            else:
                file.write(jsonlib.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
