"""A folder of runs: which are finished, and which of them is a planned one. Imports runs.

RESULTS/any/depth/RUN/ is a finished run if `emodef.runs` can read it. A run is known by its canonical settings and its data; who or
what made it, and when, does not matter, nor, of a finished one, where its data lay (an unfinished one's folder has that in its hash).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from emodef.corpora import Corpus
from emodef.errors import EmodefError
from emodef.runs import RunFolder, read_json

Canonical = Callable[[Mapping[str, Any]], dict[str, Any] | None]  # of settings.json; None for another kind's

_NOT_RUNS = {"model", "state", "tensorboard"}


@dataclass(frozen=True)
class RunSpec:
    """A planned run.

    settings: all of them, as settings.json has them. canonical: those its result depends on. data: the corpus' fingerprint.
    steps: how many it makes.
    """

    settings: Mapping[str, Any]
    canonical: Mapping[str, Any]
    data: str
    steps: int

    @cached_property
    def hash(self) -> str:
        """What the run is known by."""
        content = json.dumps([self.canonical, self.data], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def name(self) -> str:
        """Its folder's name: for people, with enough of the hash to be unique."""
        given = self.settings
        backbone = str(given["backbone"]).replace("\\", "/").rstrip("/").rpartition("/")[2]
        parts = [backbone, given["setup"]]
        parts += [
            key if isinstance(value, bool | str) else f"{key}{value:g}"
            for key, value in sorted(self.canonical.items())
            if key in ("p", "steps_as_p", "auxiliary_clip") or key.startswith("match_")
        ]
        parts += [f"{self.canonical['budget']}-steps"] if "budget" in self.canonical else []
        parts += (
            [f"without-draw{self.canonical['held_out_draw']}"] if "held_out_draw" in self.canonical else []
        )
        parts += ["distilled"] if "teacher_hashes" in self.canonical else []
        parts += [f"seed{given['seed']}", self.hash[:8]]
        return "-".join("".join(c if c.isalnum() or c in ".+_-" else "_" for c in part) for part in parts)


@dataclass(frozen=True)
class Found:
    """A run's folder under the results, finished or not."""

    folder: Path
    settings: Mapping[str, Any]
    canonical: Mapping[str, Any]
    training: Mapping[str, Any] = field(
        default_factory=dict
    )  # what metrics.json says of it; empty: not finished

    @property
    def is_finished(self) -> bool:
        """Whether it can be measured."""
        return bool(self.training)

    @cached_property
    def about(self) -> Mapping[str, Any]:
        """Versions, code and hardware; empty where they were not noted."""
        path = self.folder / "versions.json"
        return read_json(path) if path.is_file() else {}

    def is_run(self, spec: RunSpec, corpus: Mapping[str, Corpus]) -> bool:
        """Whether this is the planned run, on the same data, wherever its files lay then.

        A run that noted no fingerprint is judged by its texts' ids and labels, and by the data's name.
        """
        if _but_data(self._as_planned(spec)) != _but_data(spec.canonical):
            return False
        noted = self.training.get("corpus")
        if noted is not None:
            return noted == spec.data
        return self._as_planned(spec) == spec.canonical and self._has_texts_of(corpus)

    def _as_planned(self, spec: RunSpec) -> Mapping[str, Any]:
        """Its `canonical`, with the encoder by name where the planned run's is not here to be known by its content."""
        if "backbone_hash" not in self.canonical or "backbone_hash" in spec.canonical:
            return self.canonical
        kept = {key: value for key, value in self.canonical.items() if key != "backbone_hash"}
        return kept | {"backbone": self.settings["backbone"]}

    def _has_texts_of(self, corpus: Mapping[str, Corpus]) -> bool:
        try:
            run = RunFolder.open(self.folder)
            same = [run.is_of(split, part) for split, part in corpus.items() if split in ("dev", "test")]
            return all(same) and run.label_set == corpus["train"].label_set
        except EmodefError:
            return False


def _but_data(canonical: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's result depends on beside its data, of which a fingerprint says more than the names of files."""
    return {key: value for key, value in canonical.items() if key not in ("corpus", "label_set")}


def find_runs(results: str | os.PathLike[str], canonical: Canonical) -> list[Found]:
    """Every run under `results`, by folder; what is damaged or of another kind is left out."""
    found = []
    for folder in _folders(Path(results)):
        try:
            settings = read_json(folder / "settings.json")
            known_by = canonical(settings)
            if known_by is not None:
                found.append(Found(folder, settings, known_by, _training(folder)))
        except EmodefError:
            continue
    return found


def _folders(results: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(results):
        if "settings.json" in files:
            folders.clear()  # runs do not hold runs
            yield Path(path)
        else:
            folders[:] = sorted(f for f in folders if f not in _NOT_RUNS and not f.startswith("."))


def _training(folder: Path) -> Mapping[str, Any]:
    """What metrics.json, which is written last, says of the training."""
    if not ((folder / "metrics.json").is_file() and (folder / "probabilities.npz").is_file()):
        return {}
    training = read_json(folder / "metrics.json").get("training")
    return training if isinstance(training, dict) else {}
