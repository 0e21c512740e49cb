"""One run: corpus and settings in, a run directory out, with model, metrics, probabilities, log and versions. Imports torch.

RUN/settings.json, versions.json, log.jsonl   what was asked, with what, how it went
RUN/model/                                    the saved model (checkpoint.py)
RUN/probabilities.npz                         dev and test probabilities of every head, float16, with the texts' ids
RUN/metrics.json                              the evaluation of each split under each threshold policy
RUN/state/, best.safetensors                  while it runs: what --resume goes on from
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from emodef.atomic import write_bytes, write_text
from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.evaluation import Report, evaluate_probabilities, tune
from emodef.train.card import model_card
from emodef.train.checkpoint import TrainedModel
from emodef.train.logs import TrainingLog
from emodef.train.loop import Trained, train
from emodef.train.settings import TrainSettings
from emodef.train.versions import code_version, hardware, versions

@dataclass
class Run:
    """A finished run."""

    folder: Path
    model: TrainedModel
    reports: dict[str, Report]  # "dev fixed", "test tuned", …


def run_training(
    settings: TrainSettings,
    corpus: Mapping[str, Corpus],
    folder: Path,
    *,
    resume: bool = False,
    cpu: bool = False,
    console: Console | None = None,
    tensorboard: bool = False,
) -> Run:
    """Train, evaluate and save into `folder`. A folder that holds a run already is refused unless `resume`."""
    settings_file = folder / "settings.json"
    if settings_file.exists():
        before = json.loads(settings_file.read_text(encoding="utf-8"))
        if not resume:
            raise SettingsError(f"{folder} holds a run already; go on with it (--resume), or give another folder (--out)")
        if before != settings.model_dump(mode="json"):
            changed = sorted(k for k in before if before[k] != settings.model_dump(mode="json").get(k))
            raise SettingsError(f"{folder} was started with other settings ({', '.join(changed)}); resume it with those, or give another folder")
        if (folder / "metrics.json").exists():
            raise SettingsError(f"{folder} is a finished run; there is nothing to resume")
    elif resume:
        raise SettingsError(f"{folder} holds no run to resume; leave --resume out to start one")
    write_text(settings_file, _json(settings.model_dump(mode="json")))
    log = TrainingLog(folder / "log.jsonl", console=console, tensorboard=folder / "tensorboard" if tensorboard else None)
    trained = train(settings, corpus, folder, resume=resume, cpu=cpu, log=log)
    about = {"versions": versions(), "code": code_version(), "hardware": hardware(trained.model.device), "precision": trained.precision}
    write_text(folder / "versions.json", _json(about))
    heads = ("emotion", "match") if "match" in settings.tasks else ("emotion",)
    by_head = {
        split: {head: trained.model.predict_proba(corpus[split].texts, scores=head) for head in heads}
        for split in ("dev", "test")
        if split in corpus
    }
    _save_probabilities(folder / "probabilities.npz", by_head, corpus)
    answers = {split: found[settings.scores] for split, found in by_head.items()}
    thresholds, reports = evaluate_splits(answers, corpus, settings.threshold)
    trained.model.thresholds = thresholds
    trained.model.metrics = {name: report.to_dict()["levels"][0]["summary"] for name, report in reports.items()}
    facts = training_facts(trained)
    trained.model.save(folder / "model", model_card(trained.model, facts, reports, corpus, about))
    write_text(
        folder / "metrics.json",
        _json({"training": facts, "epochs": trained.epochs, "reports": {name: r.to_dict() for name, r in reports.items()}}),
    )
    shutil.rmtree(folder / "state", ignore_errors=True)
    (folder / "best.safetensors").unlink(missing_ok=True)
    return Run(folder, trained.model, reports)


def evaluate_splits(
    answers: Mapping[str, NDArray[np.floating[Any]]], corpus: Mapping[str, Corpus], fixed: float
) -> tuple[dict[str, Any], dict[str, Report]]:
    """Thresholds ("fixed": one number, "tuned": level -> numbers, from dev) and a report of every split under each of them.

    `answers` holds each split's probabilities (n, K). Without a dev split, or for one-label sets, there are no tuned thresholds.
    """
    thresholds: dict[str, Any] = {"fixed": fixed}
    if "dev" in answers and not corpus["dev"].label_set.exclusive:
        thresholds["tuned"] = {level: values.tolist() for level, values in tune(answers["dev"], corpus["dev"]).items()}
    reports = {}
    for split, probabilities in answers.items():
        for policy, values in thresholds.items():
            words = f"fixed {fixed:g}" if policy == "fixed" else "per label, tuned on dev"
            reports[f"{split} {policy}"] = evaluate_probabilities(
                probabilities,
                corpus[split],
                thresholds=values,
                policy=None if corpus[split].label_set.exclusive else words,
                train_labels=corpus["train"].labels if "train" in corpus else None,
            )
    return thresholds, reports


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
    path: Path, by_head: Mapping[str, Mapping[str, NDArray[np.float32]]], corpus: Mapping[str, Corpus]
) -> None:
    arrays: dict[str, Any] = {}
    for split, heads in by_head.items():
        arrays[f"{split}_ids"] = np.array(corpus[split].ids)
        arrays.update({f"{split}_{head}": values.astype(np.float16) for head, values in heads.items()})
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
