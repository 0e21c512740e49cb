"""Finished runs below a results folder, whatever depth they lie at. Imports runs, errors.

A folder with settings.json, metrics.json and probabilities.npz is a finished run, as `emodef.runs.RunFolder` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.errors import DataError
from emodef.evaluation import Report
from emodef.paper.known import KNOWN
from emodef.runs import RunFolder, read_json

SPLITS = ("dev", "test")
_TRANSFER = "rows.jsonl"  # a folder with it holds transfer results, which are read elsewhere


@dataclass(frozen=True)
class Run:
    """A finished run. `name`: its place below the results folder.

    settings: with the paper's value for a setting that did not exist yet when the run was stored.
    training: steps, kept epoch, seconds, precision; about: versions, code and hardware, as versions.json has them.
    """

    name: str
    folder: RunFolder
    settings: dict[str, Any]
    training: dict[str, Any]
    about: dict[str, Any] = field(repr=False)

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.folder.path

    @property
    def setup(self) -> str:
        """ "none", or its tasks joined by +."""
        return str(self.settings["setup"])

    @property
    def seed(self) -> int:
        """The seed it was trained with."""
        return int(self.settings["seed"])

    @property
    def scores(self) -> str:
        """Whose probabilities it answers with: "match" or "emotion"."""
        return self.folder.scores

    @property
    def steps(self) -> dict[str, int]:
        """Steps made, by task: "primary" and "auxiliary"."""
        return {task: int(number) for task, number in self.training["steps"].items()}

    @property
    def seconds(self) -> float:
        """How long training took, by the clock."""
        return float(self.training["seconds"])

    @property
    def hardware(self) -> str:
        """The accelerator, else the processor, and its threads."""
        return f"{processor(self.about)}, {self.about.get('hardware', {}).get('threads', '?')} threads"

    @property
    def precision(self) -> str:
        """What its matrix products were rounded to: "fp32", "tf32" or "bf16"; empty where it was not noted."""
        return str(self.training.get("precision", ""))

    @property
    def made(self) -> tuple[str, ...]:
        """What else than settings and seed may change a result: precision, accelerator or processor, versions, code."""
        versions = self.about.get("versions", {})
        return (
            self.precision,
            processor(self.about),
            *(str(versions.get(name)) for name in ("torch", "transformers")),
            str(self.about.get("code")),
        )

    @property
    def reports(self) -> dict[str, Report]:
        """What was measured when training ended: "test tuned", "test fixed", "dev tuned", …"""
        return self.folder.reports

    def heads(self) -> list[str]:
        """The heads whose probabilities are stored."""
        return self.folder.heads()

    def probabilities(self, split: str, scores: str | None = None) -> NDArray[np.float32]:
        """Stored probabilities (n, K) of "dev" or "test"; by default of the head it answers with."""
        return self.folder.probabilities(split, scores)

    def ids(self, split: str) -> list[str]:
        """The ids of a split's texts, in the order of its probabilities."""
        return self.folder.ids(split)


def processor(about: Mapping[str, Any]) -> str:
    """The accelerator, else the processor, that versions.json names."""
    hardware = about.get("hardware", {})
    return str(hardware.get("gpu") or hardware.get("cpu", "unknown"))


def find_runs(folder: str | os.PathLike[str], report: Callable[[str], None] | None = None) -> list[Run]:
    """Every finished run below `folder`, by name. Unfinished and damaged ones are left out; `report` is told of each, and why.

    Raises DataError where there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError("no such folder of results; name it with --results, or make runs first", root)
    runs = []
    for path in _candidates(root):
        name = path.relative_to(root).as_posix() if path != root else path.resolve().name
        try:
            runs.append(_read(path, name))
        except DataError as error:
            if report is not None:
                report(f"left out: {error}")
    return runs


def _candidates(root: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if _TRANSFER in files:
            folders.clear()
        elif "settings.json" in files or "metrics.json" in files:
            folders.clear()  # what lies below is the run's own
            yield Path(place)


def _read(path: Path, name: str) -> Run:
    folder = RunFolder.open(path)
    settings = {**{key: KNOWN.settings[key] for key in KNOWN.added}, **folder.settings}
    if missing := [key for key in KNOWN.settings if key not in settings]:
        raise DataError(f"its settings lack {', '.join(missing)}; train again into another folder", path)
    metrics = read_json(path / "metrics.json")
    about = read_json(path / "versions.json") if (path / "versions.json").exists() else {}
    run = Run(name, folder, settings, metrics.get("training", {}), about)
    _check(run)
    return run


def _check(run: Run) -> None:
    """Raise DataError unless everything the tables need is there and whole."""
    folder = run.folder
    try:
        _ = run.setup, run.seed, run.steps["primary"], run.steps["auxiliary"], run.seconds, run.hardware
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"its settings or metrics are not whole ({error!r}); train again into another folder", run.path
        ) from None
    measured = {name.split()[0] for name in folder.reports}
    for split in SPLITS:
        if split not in measured:
            raise DataError(
                f"has no {split} results, as the tables need; its corpus has no such split", run.path
            )
        rows = len(folder.label_set) if (run.path / "model" / "labels.json").exists() else None
        for head in folder.heads():
            values = folder.probabilities(split, head)
            if (
                values.ndim != 2
                or len(values) != len(folder.ids(split))
                or rows not in (None, values.shape[1])
            ):
                raise DataError(
                    f"its {split} probabilities are not one row a text and one column a label", run.path
                )
            if not ((values >= 0) & (values <= 1)).all():
                raise DataError(f"its {split} probabilities are not all between 0 and 1", run.path)
