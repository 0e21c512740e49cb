"""What a transfer study is to run: corpora, splits and starts put together, less the runs that are made already. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from emodef.errors import SettingsError
from emodef.runs import DataChoice
from emodef.train.performance import resolve_precision
from emodef.train.transfer_runs import TransferCorpus
from emodef.train.transfer_settings import TransferSettings
from emodef.train.transfer_starts import Start, find_starts
from emodef.transfers import Row, Size, Splits, TransferFolder, draw_splits

_EVALUATED = 24  # test texts predicted in the time of one training step, roughly: for the time left


@dataclass(frozen=True)
class Unit:
    """The runs of one start on one corpus, (size, split, policy), which share a workbench."""

    start: Start
    corpus: str
    runs: tuple[tuple[Size, int, str], ...]


@dataclass
class Study:
    """A study made ready: where its results go, what is to be run, and what that costs."""

    settings: TransferSettings
    folder: TransferFolder
    precision: str
    device: torch.device
    corpora: dict[str, TransferCorpus]
    splits: dict[str, Splits]
    starts: tuple[str, ...]
    units: list[Unit]
    done: int

    @property
    def pending(self) -> int:
        """Runs to be made, when it was planned."""
        return sum(len(unit.runs) for unit in self.units)

    def left(self) -> int:
        """How many of them the folder does not hold now."""
        made = {row.key for row in self.folder.rows()}
        return sum(
            (unit.start.name, unit.corpus, *run) not in made for unit in self.units for run in unit.runs
        )

    def steps(self, corpus: str, size: Size) -> int:
        """Training steps of a run."""
        texts = self.splits[corpus].count(size)
        return self.settings.epochs * -(-texts // self.settings.batch_size)

    def cost(self, corpus: str, size: Size) -> float:
        """A run's time, in training steps; evaluation counted as about as many."""
        rest = len(self.splits[corpus]) - self.splits[corpus].count(size)
        return self.steps(corpus, size) + min(rest, self.settings.max_eval or rest) / _EVALUATED

    @property
    def total(self) -> float:
        """The cost of all runs to be made."""
        return sum(self.cost(unit.corpus, size) for unit in self.units for size, _, _ in unit.runs)

    def seconds(self, jobs: int = 1) -> float | None:
        """How long they take on `jobs` idle cores or so, as those made so far did; None before the first."""
        made = [row for row in self.folder.rows() if row.corpus in self.splits]
        if not made:
            return None
        pace = sum(row.seconds for row in made) / sum(self.cost(row.corpus, row.size) for row in made)
        return pace * self.total / jobs


def plan_transfer(
    settings: TransferSettings,
    results: str | os.PathLike[str],
    starts: Mapping[str, str | os.PathLike[str]] | None = None,
    *,
    cpu: bool = False,
    data: DataChoice | None = None,
) -> Study:
    """What `run_transfer` would run; nothing is written. Errors: as `run_transfer`, before its first run."""
    device = torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
    precision = resolve_precision(settings.precision, device)
    found = find_starts(settings, starts or {}, results)
    digest = settings.digest(precision)
    place = Path(settings.backbone).name + f"-{settings.pooling}-{digest[:8]}"
    folder = TransferFolder(Path(results) / "transfer" / place)
    corpora = {}
    for name in settings.corpora:
        texts = TransferCorpus.load(name, settings.label_set, data)
        if texts.corpus.name in corpora:
            raise SettingsError(f"corpora: two are called {texts.corpus.name!r}; rename one's file")
        corpora[texts.corpus.name] = texts
    splits = {name: _draw(texts, settings) for name, texts in corpora.items()}
    for drawn in splits.values():
        for size in settings.sizes:
            drawn.count(size)
    rows = folder.rows()
    _check_starts(found, rows, folder)
    made = {row.key for row in rows}
    wanted = [
        (size, n, policy)
        for n in range(1, settings.splits + 1)
        for size in settings.sizes
        for policy in settings.policies
    ]
    units = []
    for corpus in corpora:
        for start in found:
            missing = tuple(run for run in wanted if (start.name, corpus, *run) not in made)
            if missing:
                units.append(Unit(start, corpus, missing))
    all_runs = len(wanted) * len(corpora) * len(found)
    left = sum(len(unit.runs) for unit in units)
    names = tuple(start.name for start in found)
    return Study(settings, folder, precision, device, corpora, splits, names, units, all_runs - left)


def _draw(texts: TransferCorpus, settings: TransferSettings) -> Splits:
    corpus = texts.corpus
    return draw_splits(
        corpus.name,
        corpus.label_set.names,
        corpus.texts,
        corpus.ids,
        texts.answers.astype(np.uint8),
        numbers=range(1, settings.splits + 1),
        seed=settings.seed,
        covered=settings.smallest,
    )


def _check_starts(starts: Sequence[Start], rows: Sequence[Row], folder: TransferFolder) -> None:
    """A name stands for one model: SettingsError where this folder knows it for another."""
    known = {row.start: row for row in rows}
    for start in starts:
        row = known.get(start.name)
        if row is not None and row.start_hash != start.weights:
            raise SettingsError(
                f"start {start.name!r}: {folder.path} has rows of another model by that name ({row.start_run}, weights {row.start_hash}); "
                f"give this one another name: --start {start.name}@2=MODEL, or another results folder"
            )
