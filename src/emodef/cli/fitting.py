"""`emodef fit`: labels of one's own from their definitions and some labelled texts, without torch. Imports typer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.cli import options
from emodef.errors import DataError, SettingsError

if TYPE_CHECKING:
    from emodef.corpora import Corpus
    from emodef.definitions import Definitions
    from emodef.fitting import FittedHead


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(fit)


def fit(
    data: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Labelled texts: a file, a folder with train, dev and test files, or a published corpus's name. In .tsv quotes are part "
            "of the text; in .csv, parted by tabs too, they hold fields together.",
            rich_help_panel="Data",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write: use it as --model.")],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help='What the labels mean: a TOML file with a line for each, awe = "Wonder mixed with respect", or a shipped label '
            "set's name. A published corpus brings its own.",
            rich_help_panel="Data",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="The light model whose text embeddings are read. By default the one emodef brings."
        ),
    ] = None,
    known: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="A label that the model knows by the same name: begin as it learned it. May be repeated.",
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            help="How strongly weights are held to the definitions; inf fits biases alone. By default chosen on the dev split, else by "
            "cross-validation."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the folds.")] = 0,
    threads: options.Threads = None,
    dev_share: options.Share = None,
    test_share: options.Share = None,
    allow_unlabelled: options.AllowUnlabelled = False,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit labels of your own to some labelled texts: seconds for a hundred rows, no torch, no GPU.

    It begins with what the definitions say and moves away from them as far as the texts bear out. How far, and each label's
    threshold, is chosen on the dev split, or by cross-validation where there is none. A label without a text stays as its
    definition has it. Writes head.npz, head.json and a card, and the light model beside them where it is not emodef's own.

    \b
    [bold]Examples[/bold]
      emodef fit --data mine.csv --labels mine.toml --out models/mine
      emodef predict --model models/mine "What a day!"
      emodef evaluate models/mine --data test.csv
    """
    from emodef.corpora.held_out import only_labels
    from emodef.fitting import check_free
    from emodef.fitting import fit as fit_head
    from emodef.predictor import Predictor

    check_free(out)
    columns = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    meant, label_set = _meant(labels, data)
    choice = options.data_choice(
        data_dir, on_error, dev_share=dev_share, test_share=test_share, columns=columns
    )
    corpus = choice.load(data, label_set)
    options.report_problems(corpus.values(), quiet)
    if "train" not in corpus:
        raise DataError(f"no split to fit to, it has: {', '.join(corpus)}; name one of them train", data)
    options.report_unused(corpus, quiet)
    if meant is not None and set(meant.names) == set(corpus["train"].label_set.names):
        corpus = {split: only_labels(part, meant.names) for split, part in corpus.items()}
    train, dev = corpus["train"], corpus.get("dev")
    if meant is None:
        from emodef.definitions import Definitions

        meant = Definitions.of(train.label_set)
    elif meant.names != train.label_set.names:
        raise SettingsError(f"{data} brings its own labels; leave --labels out, or give a file of your own")
    predictor = Predictor.load(model, threads=threads)
    with options.stages(quiet) as tell:
        fitted = fit_head(
            predictor,
            train.texts,
            train.labels,
            meant,
            dev=None if dev is None else (dev.texts, dev.labels),
            known=known or (),
            strength=strength,
            seed=seed,
            source=Path(data).name,
            progress=tell,
        )
    folder = fitted.save(out)
    _print(fitted, folder, _tested(fitted, corpus), json, quiet)


def _meant(labels: str | None, data: str) -> tuple[Definitions | None, Any]:
    """What the labels mean, and the label set the file is read with."""
    from emodef.corpora import CORPORA
    from emodef.definitions import read_labels

    if labels is not None:
        meant = read_labels(labels)
        return meant, meant.label_set
    if data not in CORPORA:
        raise SettingsError(
            f"{data}: a head begins with what its labels mean. Start their definitions with 'emodef labels skeleton {data} --out "
            "labels.toml', write a line for each label, and pass --labels labels.toml"
        )
    return None, None


def _tested(fitted: FittedHead, corpus: Mapping[str, Corpus]) -> dict[str, Any]:
    """Macro-F1 over the labels that occur, as of held-out texts, and micro-F1 on the test split, where there is one."""
    from emodef.fitting.selection import macro_f1
    from emodef.metrics import averages, count, decide

    if "test" not in corpus:
        return {}
    test = corpus["test"]
    probabilities = fitted.predictor().predict_proba(test.texts)
    tuned = fitted.info.thresholds.get("tuned", {}).get(fitted.label_set.name, 0.0)
    predicted = decide(probabilities, tuned, exclusive=fitted.label_set.exclusive)
    micro = float(averages(count(test.labels, predicted))["micro_f1"])
    return {
        "texts": len(test),
        "macro_f1": macro_f1(test.labels.astype(bool), predicted),
        "micro_f1": micro,
    }


def _print(fitted: FittedHead, folder: Path, tested: Mapping[str, Any], json: bool, quiet: bool) -> None:
    about = fitted.about
    if json:
        options.print_json(
            {"model": str(folder), **about, "thresholds": fitted.info.thresholds, "test": tested}
        )
        return
    from emodef.fitting.card import held_out, judged_on
    from emodef.reporting import Cell, Column, Table, print_table

    if not quiet:
        for note in fitted.notes:
            typer.echo(f"note: {note}", err=True)
    rows: list[tuple[Cell, ...]] = []
    measured, explained = about["macro_f1"], ["macro F1: over the labels that occur"]
    if about["judged"]:
        one = held_out(fitted.info)
        where = "dev" if about["judged"] == "dev" else "one fold held out" if one else "cross-validated"
        explained.append(f"{where}: {judged_on(fitted.info)}")
        if measured["definitions"] is not None:
            same = "dev" if about["judged"] == "dev" else "on the same texts"
            rows.append((f"definitions alone, {same}", measured["definitions"]))
        rows.append((f"fitted, {where}", measured["fitted"]))
    if tested:
        rows.append((f"fitted, on the {tested['texts']:,} test texts", tested["macro_f1"]))
    if rows:
        title = (
            f"{fitted.label_set.name}: {len(fitted.label_set)} labels, {about['fitted_on']['texts']:,} texts"
        )
        columns = (Column("head"), Column("macro F1", "percent", 1))
        print_table(Table(title, columns, tuple(rows), tuple(explained)), options.output())
    typer.echo(f'saved in {folder}\nnext: emodef predict --model {folder} "What a day!"')
