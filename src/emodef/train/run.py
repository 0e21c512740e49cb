"""One run: corpus and settings in, a run directory out, with model, metrics, probabilities, log and versions. Imports torch.

RUN/settings.json, versions.json, log.jsonl   what was asked, with what, how it went
RUN/model/                                    the saved model (checkpoint.py)
RUN/probabilities.npz                         dev and test probabilities of every head, float16, with the texts' ids
RUN/metrics.json                              the evaluation of each split under each threshold policy; written last
RUN/state/, folds/                            while it runs: what --resume goes on from
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.console import Console

from emodef.atomic import write_bytes, write_text
from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.evaluation import Report
from emodef.runs import (
    BY_FOLDS,
    DESCRIBES,
    FOLD_FOLDER,
    DataChoice,
    digest_of,
    evaluate_splits,
    fingerprint,
    report,
    started,
)
from emodef.train.card import model_card
from emodef.train.checkpoint import TrainedModel
from emodef.train.few_shot import CrossValidated, by_folds, check_patience, cross_validate, remove_folds
from emodef.train.held_out import check_held_out, held_out_labels, training_corpus
from emodef.train.identities import moved
from emodef.train.logs import TrainingLog
from emodef.train.loop import Trained, train
from emodef.train.processes import locked, on_main, use_cpu
from emodef.train.resume import EARLIER_BEST, precision_of, remove_leftovers, writing
from emodef.train.settings import TrainSettings
from emodef.train.starting import check_start
from emodef.train.teachers import with_hashes
from emodef.train.versions import as_json, note_versions, peak_memory

# what a run that did not come to its first steps may have left
_OURS = (
    *("settings.json", "data.json", "versions.json", "log.jsonl", "output.txt"),
    *("state", "tensorboard", EARLIER_BEST, FOLD_FOLDER),
)


@dataclass
class Run:
    """A finished run. Where several processes train, only the main one measures: the others' `reports` are empty."""

    folder: Path
    model: TrainedModel
    reports: dict[str, Report]  # "dev fixed", "test tuned", …


def run_training(
    settings: TrainSettings,
    corpus: Mapping[str, Corpus],
    folder: str | os.PathLike[str],
    *,
    resume: bool = False,
    cpu: bool = False,
    console: Console | None = None,
    tensorboard: bool = False,
    weights: bool = True,
    choice: DataChoice | None = None,
) -> Run:
    """Train, evaluate and save into `folder`. Only the main process writes.

    choice: how the corpus was read, for RUN/data.json; without it whoever measures the run reads it by its name alone.
    With `weights` False the model's folder keeps what describes it (`DESCRIBES`): the run can be measured, not used.

    Raises SettingsError for a folder that holds a run already (unless `resume` with the same settings), a finished one, something else, or
    one another process trains in; MissingExtraError where TensorBoard is asked for and not installed; and what `train` raises.
    """
    folder = Path(folder)
    if settings.average:
        raise SettingsError(
            "a mean of models is made by 'emodef average', not by training; leave average out"
        )
    settings, data = with_hashes(settings), fingerprint(corpus)
    check_held_out(settings, held_out_labels(settings, corpus) if "train" in corpus else ())
    corpus = training_corpus(settings, corpus)
    if not resume:  # a run that an earlier emodef began without these checks goes on as it was
        check_start(settings)
        check_patience(settings, corpus)
    with ExitStack() as stack:

        def enter() -> None:
            with writing(folder):
                stack.enter_context(locked(folder))
                _open(folder, settings, resume, choice)
                device = PartialState().device
                precision = precision_of(settings.precision, device, folder / "state" if resume else None)
                about.update(note_versions(folder, device, precision))

        about: dict[str, Any] = {}
        on_main(enter, cpu=cpu)
        main = PartialState(cpu=use_cpu(cpu)).is_main_process
        log = TrainingLog(
            folder / "log.jsonl" if main else None,
            console=console if main else None,
            tensorboard=folder / "tensorboard" if tensorboard and main else None,
        )
        folded = None
        if by_folds(settings, corpus):
            folded = cross_validate(settings, corpus, folder, cpu=cpu, log=log)
            last = settings.model_copy(update={"keep": "last", "patience": None})
            trained = train(
                last,
                corpus,
                folder,
                resume=resume,
                cpu=cpu,
                log=log,
                last_epoch=folded.epoch,
                save_epochs=False,
            )
            trained.model.settings = settings
        else:
            trained = train(settings, corpus, folder, resume=resume, cpu=cpu, log=log)
        if not main:
            return Run(folder, trained.model, {})
        with writing(folder):
            return finish_run(trained, settings, corpus, folder, about | {"data": data}, weights, folded)


def _open(folder: Path, settings: TrainSettings, resume: bool, choice: DataChoice | None) -> None:
    """Check that `folder` is free, or holds the run to be resumed; then note in it the settings, and how the corpus was read."""
    settings_file = folder / "settings.json"
    if (folder / "metrics.json").exists():
        _remove_states(folder)
        raise SettingsError(f"{folder} holds a finished run; give another folder (--out) to train again")
    if started(folder):
        if not resume:
            raise SettingsError(
                f"{folder} holds a run already; go on with it (--resume), or give another folder (--out)"
            )
        if changed := _changed(settings_file, settings):
            raise SettingsError(
                f"{folder} was started with other settings ({', '.join(changed)}); resume it with those, or give another folder"
            )
    elif resume and not settings_file.exists():
        raise SettingsError(f"{folder} holds no run to resume; leave --resume out to start one")
    else:
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        if foreign := [name for name in others if name not in _OURS]:
            told = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
            raise SettingsError(
                f"{folder} is not empty (it has {told}); give the run a folder of its own (--out)"
            )
        (folder / "log.jsonl").unlink(missing_ok=True)
        if choice is not None:
            choice.save(folder)
    remove_leftovers(folder)
    write_text(settings_file, as_json(settings.model_dump(mode="json")))


def _changed(settings_file: Path, settings: TrainSettings) -> list[str]:
    """The keys whose values differ from the saved ones; a key that the saved ones lack had its default.

    None where the result does not depend on what differs.
    """
    try:
        saved = TrainSettings(**json.loads(settings_file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        problems = error.errors() if isinstance(error, ValidationError) else []
        reason = ", ".join(str(problem["loc"][0]) for problem in problems if problem["loc"]) or error
        raise SettingsError(
            f"{settings_file} is not of this emodef ({reason}); start the run anew in another folder"
        ) from None
    if saved.canonical() == settings.canonical():
        return []
    now = settings.model_dump()
    before = moved(saved.model_dump(), now)
    return sorted(key for key in now if now[key] != before[key])


def finish_run(
    trained: Trained,
    settings: TrainSettings,
    corpus: Mapping[str, Corpus],
    folder: Path,
    about: Mapping[str, Any],
    weights: bool,
    folded: CrossValidated | None = None,
) -> Run:
    """Measure and save; metrics.json, last, marks the run as finished."""
    heads = ("emotion", "match") if "match" in settings.tasks else ("emotion",)
    # Rounded as they are stored, so that measuring the stored ones gives the same figures.
    by_head = {
        split: {
            head: trained.model.predict_proba(corpus[split].texts, scores=head).astype(np.float16)
            for head in heads
        }
        for split in ("dev", "test")
        if split in corpus
    }
    _save_probabilities(folder / "probabilities.npz", by_head, corpus)
    answers = {split: found[settings.scores].astype(np.float32) for split, found in by_head.items()}
    thresholds, reports = evaluate_splits(answers, corpus, settings.threshold)
    if folded is not None and folded.thresholds:
        thresholds["tuned"] = folded.thresholds
        reports |= {
            f"{split} tuned": report(
                found, corpus[split], thresholds, "tuned", corpus["train"].labels, tuned=BY_FOLDS
            )
            for split, found in answers.items()
        }
    trained.model.thresholds = thresholds
    trained.model.metrics = {name: found.to_dict()["levels"][0]["summary"] for name, found in reports.items()}
    facts = training_facts(trained)
    facts |= {"texts": {split: digest_of(corpus[split].texts) for split in by_head}}
    facts |= {"corpus": about["data"], "peak_memory_mib": peak_memory(PartialState().device)}
    if folded is not None:
        facts["cross_validation"] = folded.to_dict()
    trained.model.save(folder / "model", model_card(trained.model, facts, reports, corpus, about))
    if not weights:
        for path in (folder / "model").iterdir():
            if path.name not in DESCRIBES:
                path.unlink()
    measured = {name: found.to_dict() for name, found in reports.items()}
    content = {"training": facts, "epochs": trained.epochs, "reports": measured}
    write_text(folder / "metrics.json", as_json(content))
    remove_folds(folder)
    _remove_states(folder)
    return Run(folder, trained.model, reports)


def training_facts(trained: Trained) -> dict[str, Any]:
    """What the training did, for metrics.json, the model card and result tables."""
    return {
        "steps": trained.steps,
        "kept_epoch": trained.kept_epoch,
        "seconds": round(trained.seconds, 1),
        "real_tokens": round(trained.real_tokens, 4),
        "truncated_texts": trained.truncated,
        "precision": trained.precision,
    }


def _save_probabilities(
    path: Path, by_head: Mapping[str, Mapping[str, NDArray[np.float16]]], corpus: Mapping[str, Corpus]
) -> None:
    arrays: dict[str, Any] = {}
    for split, heads in by_head.items():
        # as text, not as objects, which would be pickled
        arrays[f"{split}_ids"] = np.array(corpus[split].ids, dtype=np.str_)
        arrays.update({f"{split}_{head}": values for head, values in heads.items()})
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def _remove_states(folder: Path) -> None:
    shutil.rmtree(folder / "state", ignore_errors=True)
    (folder / EARLIER_BEST).unlink(missing_ok=True)
