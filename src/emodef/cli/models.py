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

WITH_BAR = 256  # texts from which on a progress bar is worth its place


def load_model(path: Path, cpu: bool) -> TrainedModel:
    """The model of a run's folder or of its own."""
    from emodef.runs import model_folder

    folder = model_folder(path)
    from emodef.train import inference

    return inference.load_model(folder, cpu=cpu)


def predict_all(
    model: TrainedModel, texts: Sequence[str], quiet: bool, scores: str | None = None
) -> NDArray[np.float32]:
    """Probabilities (n, K) of texts, with a progress bar where there are many; says on standard error which were cut."""
    notice = TooLong(model, quiet)
    notice.look(texts)
    with progress(len(texts), quiet or len(texts) < WITH_BAR) as advance:
        probabilities = model.predict_proba(texts, scores=scores, progress=advance)
    notice.tell()
    return probabilities


@contextmanager
def progress(total: int | None, hidden: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; call what it gives with the number of texts just done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=options.notes(), transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


class TooLong:
    """Counts the texts a model cuts because they have more tokens than it takes."""

    def __init__(self, model: TrainedModel, quiet: bool) -> None:
        self.model, self.quiet = model, quiet
        self.count, self.first, self.seen = 0, "", 0

    def look(self, texts: Sequence[str]) -> None:
        """Look at some more texts."""
        from emodef.train.inference import too_long

        found = too_long(self.model, texts)
        if len(found) and not self.count:
            self.first = (
                f"the first is text {self.seen + int(found[0]) + 1}, {texts[int(found[0])][:40]!r}..."
            )
        self.count += len(found)
        self.seen += len(texts)

    def tell(self) -> None:
        """Say on standard error how many there were, and which was the first."""
        if self.count and not self.quiet:
            limit = self.model.tokenizer.longest
            what = (
                "text is longer than the model takes and was"
                if self.count == 1
                else "texts are longer than the model takes and were"
            )
            typer.echo(f"note: {self.count:,} {what} cut to its first {limit} tokens: {self.first}", err=True)
