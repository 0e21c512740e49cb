"""`emodef labels compare`: several files of definitions against the same labelled texts. Imports typer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.cli import options
from emodef.errors import SettingsError

if TYPE_CHECKING:
    from emodef.corpora import Corpus
    from emodef.definitions import Definitions
    from emodef.labels import LabelSet

EVERY = "all"  # policies


def compare(
    files: Annotated[
        list[str], typer.Argument(metavar="[NAME=]FILE…", help="Label files, or shipped label sets.")
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Texts labelled with these labels: a CSV, TSV, JSONL or Parquet file, a folder, or a corpus."
        ),
    ],
    split: Annotated[str | None, typer.Option(help="Of a corpus with splits; by default all texts.")] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="How a label without data gets its bias: mean, neighbours, centred, ... May be repeated; 'all' for all of them."
        ),
    ] = None,
    model: options.LightModel = None,
    threads: options.Threads = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    delimiter: options.Delimiter = None,
    allow_unlabelled: options.AllowUnlabelled = False,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    heading: Annotated[
        str, typer.Option(help="Title of the page.", rich_help_panel="Output")
    ] = "Definitions compared",
    introduction: Annotated[
        Path | None,
        typer.Option(
            help="A Markdown file to put under the title.",
            rich_help_panel="Output",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the table here, as Markdown.", rich_help_panel="Output")
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare definitions of the same labels: how well the model scores your labelled texts from each, without learning from them.

    \b
    [bold]Examples[/bold]
      emodef labels compare short.toml long.toml --data labelled.csv
      emodef labels compare wordings/*.toml --data isear --policy all --out wordings.md
    """
    from emodef.definitions import read_labels
    from emodef.evaluation import without_nan
    from emodef.predictor import Predictor
    from emodef.predictor.unseen import DEFAULT, POLICIES, policy_of
    from emodef.reporting import print_table
    from emodef.wordings import compare_wordings, wordings_table

    options.refuse_input(out, data, introduction)
    wordings: dict[str, Definitions] = {}
    for given in files:
        name, sign, path = given.partition("=")
        options.refuse_input(out, path if sign else given)
        name = name if sign else Path(given).stem
        if name in wordings:
            raise SettingsError(f"two are called {name!r}; give one another name: NAME={path or given}")
        wordings[name] = read_labels(path if sign else given)
    policies = policy or [DEFAULT]
    for each in policies:
        if each != EVERY:
            policy_of(each)
    chosen = options.columns(
        text_column, label_column, label_columns, None, None, delimiter, allow_unlabelled
    )
    corpus = labelled(data, next(iter(wordings.values())).label_set, chosen, on_error, split)
    if EVERY in policies:  # where the likeliest label is taken, thresholds decide nothing
        policies = [name for name in POLICIES if name != "mean_tuned" or not corpus.label_set.exclusive]
    predictor = Predictor.load(model, threads=threads)
    found = compare_wordings(wordings, corpus, predictor, policies=policies)
    table = wordings_table(found, corpus)
    if json:
        options.print_json([without_nan(asdict(each)) for each in found])
    elif out is None:
        print_table(table, options.output())
    if out is not None:
        options.write_page(out, heading, introduction, [table])


def labelled(
    data: str,
    labels: LabelSet,
    columns: dict[str, Any],
    on_error: options.OnError,
    split: str | None = None,
) -> Corpus:
    """All labelled texts of a file or folder, whatever their split, or those of one split."""
    from emodef.corpora import CORPORA, load_corpus
    from emodef.corpora.splits import join_splits
    from emodef.measuring import choose_split

    given = columns if data in CORPORA else {**columns, "label_set": labels}
    splits = load_corpus(data, on_error=on_error.value, **given)
    options.report_problems(splits.values())
    return join_splits(splits) if split is None else choose_split(splits, data, split)
