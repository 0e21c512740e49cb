"""Few labelled texts and no dev split: which epoch to stop after, and thresholds, by cross-validation. Imports torch.

The texts are dealt into folds (`emodef.fitting.folds`), and the same run is made without each of them, judged after every epoch on the
fold it did not see. The epoch with the best macro-F1 over all folds, smoothed over its neighbours, is where the run on all texts stops;
thresholds are tuned on the held-out probabilities of that epoch, drawn towards the fixed one as `emodef fit` draws them. It costs twice
the run itself with three folds; of many texts one fold in five is held out once, which costs four fifths of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.atomic import write_bytes
from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.fitting.folds import stratified_folds, text_groups
from emodef.fitting.selection import macro_f1, shrunk_thresholds
from emodef.labels import LabelSet
from emodef.metrics import coarsen_labels, coarsen_probabilities, decide
from emodef.runs import FOLD_FOLDER, fingerprint
from emodef.train.checkpoint import TrainedModel
from emodef.train.logs import TrainingLog
from emodef.train.loop import train
from emodef.train.processes import Interrupted
from emodef.train.resume import writing
from emodef.train.settings import TrainSettings
from emodef.train.starting import starting_model
from emodef.train.teachers import Lessons, lessons

FOLDS = 3
MANY, SHARE = 1_000, 5  # texts from which on one of so many folds is held out, once
MOST_STEPS = 400  # of a run with the recipe's own epochs: for more texts they become fewer
LEAST_EPOCHS = 3


@dataclass(frozen=True)
class CrossValidated:
    """Where to stop, and thresholds. scores: macro-F1 on held-out texts after each epoch, thresholds tuned on all of them.

    thresholds: level -> a number a label; none for a label set with one label a text.
    """

    epoch: int
    scores: tuple[float, ...]
    thresholds: dict[str, list[float]]
    folds: int
    texts: int
    macro_f1: float

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "folds": self.folds,
            "texts": self.texts,
            "epoch": self.epoch,
            "macro_f1_by_epoch": [round(score, 6) for score in self.scores],
            "macro_f1": self.macro_f1,
        }


@dataclass
class Recording(TrainedModel):
    """A model that keeps what it answers: the loop asks it once an epoch, for the fold that is held out."""

    answers: list[NDArray[np.float32]] = field(default_factory=list)

    def predict_proba(self, texts: Sequence[str], **options: Any) -> NDArray[np.float32]:
        """As the model's own; kept."""
        found = super().predict_proba(texts, **options)
        self.answers.append(found)
        return found


def by_folds(settings: TrainSettings, corpus: Mapping[str, Corpus]) -> bool:
    """Whether a run chooses its epoch and thresholds by cross-validation: it starts from a trained model, and there is no dev split."""
    return settings.start is not None and settings.keep == "best" and "dev" not in corpus


def check_patience(settings: TrainSettings, corpus: Mapping[str, Corpus]) -> None:
    """Raise SettingsError for `patience` where folds choose the epoch: every fold's run is judged after each epoch, to the last."""
    if settings.patience is not None and by_folds(settings, corpus):
        raise SettingsError(
            f"patience = {settings.patience} needs a dev split to judge epochs by; set one aside (--dev-share 0.2), or leave patience out "
            "(--set patience=none): without a dev split the epoch is chosen by cross-validation"
        )


def few_epochs(settings: TrainSettings, texts: int) -> TrainSettings:
    """The settings with fewer epochs where so many texts would make more than `MOST_STEPS`."""
    an_epoch = -(-texts // settings.batch_size)
    epochs = min(settings.epochs, max(LEAST_EPOCHS, MOST_STEPS // an_epoch))
    return settings.model_copy(update={"epochs": epochs})


def cross_validate(
    settings: TrainSettings,
    splits: Mapping[str, Corpus],
    folder: Path,
    *,
    cpu: bool = False,
    log: TrainingLog | None = None,
) -> CrossValidated:
    """Make the run on all training texts but a fold, for each fold, below `folder`/folds; finished ones are not made again.

    Raises SettingsError for several processes and for texts that are all the same, TrainingError where the disk is full; else as `train`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError(
            "cross-validation runs in one process; set a dev split aside (--dev-share 0.2), or keep the last epoch (--set keep=last)"
        )
    corpus = splits["train"]
    many = len(corpus) >= MANY
    fold = stratified_folds(
        corpus.labels, text_groups(corpus.texts), folds=SHARE if many else FOLDS, seed=settings.seed
    )
    number = int(fold.max(initial=0)) + 1
    if number < 2:
        raise SettingsError(
            "the texts are all the same but for case and punctuation: nothing can be held out; add others, or keep the last epoch "
            "(--set keep=last)"
        )
    held_out = range(1 if many else number)
    what = json.dumps([settings.canonical(), fingerprint({"train": corpus})], sort_keys=True)
    work = (
        folder / FOLD_FOLDER / hashlib.sha256(what.encode()).hexdigest()[:16]
    )  # of other settings, other folds
    taught = lessons(settings, splits, cpu=cpu, tell=(log or TrainingLog(None)).note)
    answers = []
    for held in held_out:
        if log is not None and not _answers(work, held).exists():
            sizes = f"{int((fold != held).sum()):,} texts, {int((fold == held).sum()):,} held out"
            log.note(f"fold {held + 1} of {len(held_out)}: {sizes}")
        try:
            answers.append(_fold(settings, corpus, fold == held, work, held, cpu, taught))
        except Interrupted:
            raise Interrupted(
                f"stopped in fold {held + 1} of {len(held_out)}, which is made again; finished ones are kept: go on with --resume"
            ) from None
    rows = np.concatenate([np.flatnonzero(fold == held) for held in held_out])
    by_epoch = np.concatenate(answers, axis=1)  # (epochs, texts, labels)
    return choose(by_epoch, corpus.labels[rows], corpus.label_set, settings.threshold, len(held_out))


def choose(
    by_epoch: NDArray[np.float32],
    labels: NDArray[np.uint8],
    label_set: LabelSet,
    fixed: float,
    folds: int,
) -> CrossValidated:
    """The epoch and thresholds for held-out probabilities after each epoch, (epochs, n, K), and their texts' labels, (n, K)."""
    truth = labels.astype(bool)

    def judged(probabilities: NDArray[np.float32]) -> float:
        if label_set.exclusive:
            return macro_f1(truth, decide(probabilities, 0.0, exclusive=True))
        tuned = shrunk_thresholds(truth, probabilities.astype(np.float64), np.full(len(label_set), fixed))
        return macro_f1(truth, decide(probabilities, tuned))

    scores = np.array([judged(each) for each in by_epoch])
    padded = np.pad(scores, 1, mode="edge")
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    best = len(smooth) - 1 - int(np.argmax(smooth[::-1]))  # of equal ones the last
    thresholds: dict[str, list[float]] = {}
    if not label_set.exclusive:
        kept = by_epoch[best].astype(np.float64)
        thresholds[label_set.name] = shrunk_thresholds(truth, kept, np.full(len(label_set), fixed)).tolist()
        for level in label_set.mappings:
            coarse, groups = label_set.groups(level)
            wide = np.asarray(coarsen_labels(truth, groups, len(coarse)), dtype=bool)
            values = np.asarray(coarsen_probabilities(kept, groups, len(coarse)), dtype=np.float64)
            thresholds[level] = shrunk_thresholds(wide, values, np.full(len(coarse), fixed)).tolist()
    return CrossValidated(
        best + 1, tuple(scores.tolist()), thresholds, folds, len(truth), float(scores[best])
    )


def _answers(work: Path, number: int) -> Path:
    return work / f"{number}.npy"


def _fold(
    settings: TrainSettings,
    corpus: Corpus,
    out: NDArray[np.bool_],
    work: Path,
    number: int,
    cpu: bool,
    taught: Lessons,
) -> NDArray[np.float32]:
    """Probabilities of the held-out texts after each epoch, (epochs, texts, labels)."""
    path = _answers(work, number)
    if path.exists():
        kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return kept
    run = path.with_suffix("")
    shutil.rmtree(run, ignore_errors=True)
    models: list[Recording] = []

    def begin(settings: TrainSettings, label_set: LabelSet) -> TrainedModel:
        made = starting_model(settings, label_set)
        models.append(Recording(made.model, made.tokenizer, made.label_set, made.settings))
        return models[0]

    inside, outside = corpus.take(np.flatnonzero(~out)), corpus.take(np.flatnonzero(out))
    last = settings.model_copy(update={"keep": "last", "patience": None, "save_every": 1_000_000_000})
    train(
        last, {"train": inside, "dev": outside}, run, cpu=cpu, begin=begin, save_epochs=False,
        taught=taught.without(~out, outside.texts),
    )  # fmt: skip
    shutil.rmtree(run, ignore_errors=True)
    answers = np.stack(models[0].answers)
    buffer = BytesIO()
    np.save(buffer, answers)
    with writing(path):
        write_bytes(path, buffer.getvalue())
    return answers


def remove_folds(folder: Path) -> None:
    """Remove what the folds left."""
    shutil.rmtree(folder / FOLD_FOLDER, ignore_errors=True)
