"""`emodef predict`: texts from the command line, a file or a pipe, to labels. Imports typer; emodef.train only inside the command."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.cli import options
from emodef.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from emodef.cli.texts import Row
    from emodef.train.checkpoint import TrainedModel

CHUNK = 2048  # texts predicted and written together


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(predict)


def predict(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Texts; - reads them from standard input, a line each."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="A run's folder, as given to 'emodef train --out'.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Or a saved model's folder.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Texts from a file: .txt (a line each), .csv, .tsv, .jsonl or .parquet.",
            rich_help_panel="Data",
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(
            help="Its column of texts. By default the first of text, sentence, comment, ...",
            rich_help_panel="Data",
        ),
    ] = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="N|tuned|fixed",
            help="Labels whose probability exceeds this are predicted. By default each label's own, tuned on dev.",
        ),
    ] = None,
    at_least_one: Annotated[
        bool, typer.Option("--at-least-one", help="Where no label passes, give the likeliest.")
    ] = False,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also give the probability of every label.", rich_help_panel="Output"),
    ] = False,
    cpu: options.Cpu = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON object a line, for scripts.", rich_help_panel="Output"),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write here: .csv, .tsv or .jsonl, with all columns of the input.", rich_help_panel="Output"
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Predict the emotions of texts: from the command line, a file, or a pipe.

    Prints a table; in a pipe, tab-separated lines; with --json, an object a line. Writes a file only with --out. Labels
    stand likeliest first. Blank lines are left out; a text longer than the model takes is cut, and said so.

    \b
    [bold]Examples[/bold]
      emodef predict --run runs/demo "Thank you so much!" "What a joke."
      emodef predict --run runs/demo --file comments.csv --text-column body --out labelled.csv
      cat comments.txt | emodef predict --run runs/demo --threshold 0.5 --json
    """
    from emodef.cli import texts as text_files
    from emodef.cli.models import TooLong, load_model, progress

    if (run is None) == (model is None):
        raise SettingsError("give one model: a run's folder (--run) or a saved model's (--model)")
    form = text_files.form_of(out, json)
    source = text_files.read(texts or [], file, text_column, on_error.value)
    loaded = load_model(run or model or Path(), cpu)
    thresholds = _thresholds(threshold, loaded)
    names = loaded.label_set.names
    too_long = TooLong(loaded, quiet)
    first = list(islice(source.rows, CHUNK))
    few = len(first) < CHUNK or quiet
    with (
        text_files.writer(out, form, source, names if every else ()) as write,
        progress(None, hidden=few) as advance,
    ):
        for chunk in _chunks(first, source.rows):
            batch = [row[source.text_column] for row in chunk]
            too_long.look(batch)
            probabilities = loaded.predict_proba(batch, progress=advance)
            chosen = _choose(probabilities, thresholds, at_least_one)
            write(_predictions(chunk, probabilities, chosen, names, every))
    too_long.tell()
    source.tell(quiet)
    if out is not None and not quiet:
        typer.echo(f"{out}: {too_long.seen:,} texts", err=True)


def _chunks(first: list[Row], rest: Iterator[Row]) -> Iterator[list[Row]]:
    chunk = first
    while chunk:
        yield chunk
        chunk = list(islice(rest, CHUNK))


def _thresholds(given: str | None, model: TrainedModel) -> NDArray[np.float64] | None:
    """A threshold for each label; None where a text has one label, the likeliest."""
    import numpy as np

    labels, known = model.label_set, model.thresholds
    if labels.exclusive:
        if given is not None:
            raise SettingsError("this model gives each text its likeliest label; leave --threshold out")
        return None
    given = given or ("tuned" if "tuned" in known else "fixed")
    if given == "tuned":
        if "tuned" not in known:
            raise SettingsError(
                "this model has no tuned thresholds, it was trained without a dev split; use fixed, or a number"
            )
        return np.asarray(known["tuned"][labels.name])
    try:
        value = float(known["fixed"] if given == "fixed" else given)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise SettingsError(f"--threshold {given}: give tuned, fixed, or a number from 0 to below 1")
    return np.full(len(labels), value)


def _choose(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float64] | None, at_least_one: bool
) -> NDArray[np.bool_]:
    """Which labels are predicted, (n, K)."""
    from emodef.metrics import decide

    likeliest = decide(probabilities, 0.0, exclusive=True)
    if thresholds is None:
        return likeliest
    chosen = decide(probabilities, thresholds)
    if at_least_one:
        chosen |= likeliest & ~chosen.any(axis=1, keepdims=True)
    return chosen


def _predictions(
    rows: list[Row],
    probabilities: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    names: tuple[str, ...],
    every: bool,
) -> Iterator[dict[str, Any]]:
    """Each row with what was predicted: `predicted`, labels likeliest first, and `probabilities` of these, or of all."""
    for row, values, predicted in zip(rows, probabilities, chosen, strict=True):
        order = (-values).argsort(kind="stable")
        yield {
            **row,
            "predicted": [names[k] for k in order if predicted[k]],
            "probabilities": {names[k]: round(float(values[k]), 6) for k in order if every or predicted[k]},
        }
