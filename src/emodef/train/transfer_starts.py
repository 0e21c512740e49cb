"""Where a transfer study starts from: saved models by name, or found among finished runs, and the untuned encoder. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.paper.study import beyond
from emodef.runs import model_folder, read_json
from emodef.train.checkpoint import WEIGHTS, TrainedModel
from emodef.train.identities import hash_of_file
from emodef.train.settings import TrainSettings
from emodef.train.transfer_settings import UNTUNED, TransferSettings, check_name


@dataclass(frozen=True)
class Start:
    """A start: the untuned encoder (no `model`) or a saved model's folder, with what it scored on dev when it was trained.

    weights: a hash of the weights' file. run: the folder it was found in, as given.
    """

    name: str
    model: Path | None
    weights: str
    run: str | None = None
    dev_macro_f1: float | None = None

    @property
    def run_name(self) -> str | None:
        """The run's folder by name alone: where a machine keeps it says nothing to anyone else."""
        path = None if self.run is None else Path(self.run).resolve()
        return None if path is None else path.parent.name if path.name == "model" else path.name

    def load(self, settings: TransferSettings, corpus: Corpus) -> TrainedModel:
        """The model on the CPU, whatever heads it has. Raises DataError, and SettingsError for a model of another encoder."""
        if self.model is None:
            torch.manual_seed(settings.seed)  # a pooling projection may be new
            return TrainedModel.untrained(_encoder(settings), corpus.label_set)
        trained = TrainedModel.load(self.model)
        _check_encoder(self.name, trained.settings.model_dump(), settings)
        return trained


def find_starts(
    settings: TransferSettings,
    given: Mapping[str, str | os.PathLike[str]],
    results: str | os.PathLike[str],
) -> list[Start]:
    """The starts that `settings` names, in its order, and behind them what else is `given` (name -> a run's or model's folder).

    One that is not given is the finished run of that setup below `results`, with this backbone and pooling, that did best on dev (as the
    paper takes its best models); controls, students, means, and runs without some labels do not count. Raises SettingsError, with what to
    do, where there is none with its weights; DataError for a folder without a model.
    """
    for name in given:
        try:
            check_name(name)
        except ValueError as error:
            raise SettingsError(str(error)) from None
    if UNTUNED in given:
        raise SettingsError(
            f"'{UNTUNED}' is the backbone itself: set backbone, or give the model another name"
        )
    names = dict.fromkeys((*settings.starts, *given))
    return [_start(name, settings, given, Path(results)) for name in names]


def _start(
    name: str, settings: TransferSettings, given: Mapping[str, str | os.PathLike[str]], results: Path
) -> Start:
    if name == UNTUNED:
        return Start(name, None, _known_by(Path(_encoder(settings).backbone_path()) / WEIGHTS))
    if name in given:
        found_model = _described(name, Path(given[name]), str(given[name]))
        assert found_model.model is not None
        # now, and not when the study has come to it
        _check_encoder(name, read_json(found_model.model / "emodef.json").get("settings", {}), settings)
        return found_model
    found = list(_runs(name, settings, results))
    whole = [start for start in found if start.weights]
    if not whole:
        lacking = f"{found[0].run} has lost its weights" if found else "there is no finished run of it"
        raise SettingsError(
            f"start {name!r}: {lacking} in {results} (backbone {settings.backbone!r}, pooling {settings.pooling!r}); train it, name "
            f"a model (--start {name}=RUN), or leave it out of starts"
        )
    return max(whole, key=lambda start: start.dev_macro_f1 or 0.0)


def _runs(setup: str, settings: TransferSettings, results: Path) -> Iterator[Start]:
    """Finished runs of a setup, those without weights too (`weights` empty)."""
    wanted = (frozenset(setup.split("+")) - {"none"}, settings.backbone, settings.pooling)
    for path in sorted(results.rglob("metrics.json")):
        run = path.parent
        try:
            about = TrainSettings(**read_json(run / "settings.json"))
            read_json(path)
        except (DataError, ValidationError):  # a model's own metrics; an unfinished run
            continue
        if (about.tasks, about.backbone, about.pooling) != wanted or about.corpus != "goemotions":
            continue
        if (
            about.steps_as_p is not None or about.budget != "total" or about.auxiliary_clip is not None
        ):  # controls
            continue
        if beyond(about.model_dump()):
            continue
        if (run / "model" / WEIGHTS).is_file():
            yield _described(setup, run, str(run))
        else:
            yield Start(setup, run, "", str(run))


def _check_encoder(name: str, about: Mapping[str, Any], settings: TransferSettings) -> None:
    """Raise SettingsError where a start's settings are of another encoder than the study's."""
    for key in ("backbone", "pooling"):
        theirs, ours = about.get(key), getattr(settings, key)
        if theirs != ours:
            raise SettingsError(
                f"start {name!r} was trained with {key} = {theirs!r}, this study's untuned encoder has {ours!r}: their curves cannot be "
                f"compared; give another model, or set {key}"
            )


def _described(name: str, folder: Path, run: str) -> Start:
    model = model_folder(folder)
    metrics = read_json(model / "metrics.json") if (model / "metrics.json").is_file() else {}
    found: Any = metrics.get("dev fixed", {}).get("macro_f1")
    dev = found.get("value") if isinstance(found, dict) else found
    weights = _known_by(model / WEIGHTS)
    if not weights:
        raise SettingsError(
            f"start {name!r}: {model} has no weights ({WEIGHTS}); train it again, or name another model"
        )
    return Start(name, model, weights, run, None if dev is None else float(dev))


def _known_by(path: Path) -> str:
    """A hash of a file, "" where it is not there (a name on the model hub)."""
    return hash_of_file(path) if path.is_file() else ""


def _encoder(settings: TransferSettings) -> TrainSettings:
    """The untuned encoder as training would begin with it."""
    given: dict[str, Any] = {name: getattr(settings, name) for name in ("backbone", "pooling", "dropout")}
    return TrainSettings(**given)
