"""A saved model for the commands that predict: progress, and a word on texts that are too long. Imports typer; torch only when called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emodef.cli import options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from emodef.train.checkpoint import TrainedModel


def load_model(path: Path, cpu: bool) -> TrainedModel:
    """The model of a run's folder or of its own."""
    from emodef.runs import model_folder

    folder = model_folder(path)  # says what is missing before torch is imported
    from emodef.train import inference

    return inference.load_model(folder, cpu=cpu)


def predict_all(
    model: TrainedModel, texts: Sequence[str], quiet: bool, scores: str | None = None
) -> NDArray[np.float32]:
    """Probabilities (n, K) of texts, with a progress bar where there are many; says on standard error which were cut."""
    with progress(len(texts), quiet or len(texts) < options.WITH_BAR) as advance:
        probabilities = model.predict_proba(texts, scores=scores, progress=advance)
    if not quiet:
        _say_cut(model, texts)
    return probabilities


@contextmanager
def progress(total: int | None, hidden: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; call what it gives with the number of texts just done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=options.notes(), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


def _say_cut(model: TrainedModel, texts: Sequence[str]) -> None:
    """Say on standard error how many texts have more tokens than the model takes, and which is the first."""
    from emodef.train.inference import too_long

    found = too_long(model, texts)
    if not len(found):
        return
    what = (
        "text is longer than the model takes and was"
        if len(found) == 1
        else "texts are longer than the model takes and were"
    )
    first = int(found[0])
    typer.echo(
        f"note: {len(found):,} {what} cut to its first {model.tokenizer.longest} tokens: "
        f"the first is text {first + 1}, {texts[first][:40]!r}...",
        err=True,
    )
