"""A run's folder, read without torch: its settings, reports, probabilities and data. Imports evaluation, corpora, labels, errors.

RUN/settings.json, data.json     what was asked: settings, and how the corpus was read
RUN/metrics.json                 what was measured when training ended
RUN/probabilities.npz            dev and test probabilities of every head, to measure again
RUN/model/                       the saved model: labels.json and thresholds.json are read here, the weights are not
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.atomic import write_text
from emodef.corpora import CORPORA, Corpus, load_corpus
from emodef.corpora.held_out import without_labels
from emodef.corpora.splits import hold_out, join_splits
from emodef.errors import DataError, SettingsError
from emodef.evaluation import Report, evaluate_probabilities, tune
from emodef.labels import LabelSet

POLICIES = ("tuned", "fixed")
# how thresholds were chosen, in tables
ON_DEV, BY_FOLDS, WITHOUT_TEXTS = "tuned on dev", "by cross-validation", "set without labelled texts"
FOLD_FOLDER = "folds"  # of a run that cross-validates: what each fold's run answered
# of a saved model's folder, what says what it is; the rest (weights, tokenizer) is what it works with
DESCRIBES = ("README.md", "emodef.json", "labels.json", "metrics.json", "thresholds.json")


@dataclass(frozen=True)
class DataChoice:
    """How a run's corpus is read: what a command says of it beside its name and label set.

    columns: options of `emodef.corpora.files.read_file`, for users' files. dev_share, test_share, first: see `hold_out`.
    """

    data_dir: str | None = None
    on_error: str = "fail"
    dev_share: float = 0.0
    test_share: float = 0.0
    columns: dict[str, Any] = field(default_factory=dict)
    first: str = "dev"

    def load(self, corpus: str, label_set: LabelSet | str | None = None) -> dict[str, Corpus]:
        """The corpus by split, shares set aside. A published corpus brings its own label set. Errors: `load_corpus`, `hold_out`."""
        options = dict(self.columns)
        if corpus not in CORPORA:
            options["label_set"] = label_set
        splits = load_corpus(corpus, data_dir=self.data_dir, on_error=self.on_error, **options)
        return hold_out(splits, dev=self.dev_share, test=self.test_share, first=self.first)

    def whole(self, corpus: str, label_set: LabelSet | str | None = None) -> Corpus:
        """All splits of a corpus as one, "all". `columns` and `label_set` are of users' files, and no matter to published ones.

        Raises SettingsError where shares are to be set aside, which has no meaning here; else as `load_corpus`.
        """
        if self.dev_share or self.test_share:
            raise SettingsError("all texts of a corpus are taken together here; set no share of them aside")
        own = {} if corpus in CORPORA else {**self.columns, "label_set": label_set}
        return join_splits(load_corpus(corpus, data_dir=self.data_dir, on_error=self.on_error, **own))

    def save(self, folder: Path) -> None:
        """Write RUN/data.json."""
        write_text(folder / "data.json", json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def saved(cls, folder: Path) -> DataChoice:
        """Read RUN/data.json; a run without one (trained from Python) read its corpus by name alone."""
        path = folder / "data.json"
        if not path.exists():
            return cls()
        try:
            return cls(**{"first": "test", **read_json(path)})  # before it was noted, it was so
        except TypeError as error:
            raise DataError(f"not of this emodef ({error}); train again into another folder", path) from None


@dataclass(frozen=True)
class RunFolder:
    """A finished run. `open` it; everything else is read when asked for."""

    path: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """The run in a folder. Raises DataError, saying what to do, for a folder without one and for an unfinished one."""
        folder = Path(path)
        if not folder.is_dir():
            raise DataError("no such folder; name the one given to 'emodef train --out'", folder)
        if (folder / "rows.jsonl").exists():
            raise DataError(
                f"is a study of many runs, not a run; see one of figure3 with: emodef paper figure3 --results {folder}, one of few-shot "
                f"with: emodef few-shot table --results {folder}",
                folder,
            )
        if not (folder / "settings.json").exists():
            hint = (
                f" (a saved model: did you mean {folder.parent}?)"
                if (folder / "emodef.json").exists()
                else ""
            )
            raise DataError(f"holds no run{hint}; name the folder given to 'emodef train --out'", folder)
        if not (folder / "metrics.json").exists():
            begun = (folder / "state").is_dir() or (folder / FOLD_FOLDER).is_dir()
            way = (
                f"go on with: emodef train --resume --out {folder}"
                if begun
                else "there is no state to go on from"
            )
            raise DataError(f"is not finished; {way}", folder)
        return cls(folder)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings it was trained with."""
        return read_json(self.path / "settings.json")

    @cached_property
    def label_set(self) -> LabelSet:
        """The model's label set."""
        return load_label_set(self.path / "model")

    @property
    def scores(self) -> str:
        """Whose probabilities the model answers with: "match" where matching was trained, else "emotion"."""
        return "match" if "match" in self.settings["setup"].split("+") else "emotion"

    @cached_property
    def reports(self) -> dict[str, Report]:
        """What was measured when training ended: "test tuned", "test fixed", "dev tuned", …"""
        path = self.path / "metrics.json"
        try:
            return {name: Report.from_dict(report) for name, report in read_json(path)["reports"].items()}
        except (KeyError, AttributeError) as error:
            raise DataError(f"lacks {error}; train again into another folder", path) from None

    def heads(self) -> list[str]:
        """The heads whose probabilities are stored."""
        return sorted({key.partition("_")[2] for key in self._arrays} - {"ids"})

    def probabilities(self, split: str, scores: str | None = None) -> NDArray[np.float32]:
        """Stored probabilities (n, K) of a split; `scores` "emotion", "match" or their "mean". Raises SettingsError."""
        scores = scores or self.scores
        self.ids(split)
        heads = self.heads()
        wanted = heads if scores == "mean" and len(heads) > 1 else [scores]
        if not set(wanted) <= set(heads):
            answers = [*heads, "mean"] if len(heads) > 1 else heads
            raise SettingsError(f"the run has no scores {scores!r}; it has: {', '.join(answers)}")
        return np.mean([self._arrays[f"{split}_{head}"].astype(np.float32) for head in wanted], axis=0)

    def splits(self) -> list[str]:
        """The splits whose probabilities are stored; none where there is no file of them."""
        if not (self.path / "probabilities.npz").exists():
            return []
        return [key.removesuffix("_ids") for key in self._arrays if key.endswith("_ids")]

    def ids(self, split: str) -> list[str]:
        """The ids of a split's texts, in the order of its probabilities. Raises SettingsError for a split without any."""
        if f"{split}_ids" not in self._arrays:
            held = ", ".join(self.splits())
            raise SettingsError(
                f"the run has no probabilities of a split {split!r}, it has: {held or 'none'}"
            )
        ids: list[str] = self._arrays[f"{split}_ids"].tolist()
        return ids

    def is_of(self, split: str, part: Corpus) -> bool:
        """Whether the stored probabilities of a split are of these texts, in this order.

        Ids do not tell where they are the rows of a file; of a run that noted no digest of its texts they are all there is.
        """
        noted = self.noted_texts.get(split)
        return self.ids(split) == part.ids if noted is None else noted == digest_of(part.texts)

    @cached_property
    def noted_texts(self) -> dict[str, str]:
        """Split -> digest of the texts that it was measured on; empty where an earlier emodef noted none."""
        training = read_json(self.path / "metrics.json").get("training")
        return dict(training.get("texts", {})) if isinstance(training, dict) else {}

    def measured(self) -> list[str]:
        """The splits that it was measured on: those whose texts are noted, be there probabilities or not, else those that have some."""
        return [*self.noted_texts] or self.splits()

    def corpus(self, data_dir: str | os.PathLike[str] | None = None) -> dict[str, Corpus]:
        """The corpus it was trained on, read as it was then. Raises DataError where it has other labels now."""
        choice = DataChoice.saved(self.path)
        if data_dir is not None:
            choice = DataChoice(**{**asdict(choice), "data_dir": os.fspath(data_dir)})
        lacks_some = self.settings.get("held_out") or self.settings.get("held_out_draw")
        whole = self.settings.get("label_set") if lacks_some else None  # the file is written in all labels
        corpus = choice.load(self.settings["corpus"], whole or self.label_set)
        known = {name for part in corpus.values() for name in part.label_set.names}
        if held_out := known - set(self.label_set.names):
            corpus = without_labels(corpus, sorted(held_out))
        check_labels(corpus, self.label_set, self.path)
        return corpus

    def measure(
        self, split: str, scores: str, data_dir: str | os.PathLike[str] | None = None
    ) -> dict[str, Report]:
        """Measure stored probabilities of a split anew, against the corpus: policy -> report.

        Thresholds are tuned on dev for the very scores that are asked for. Raises DataError where the corpus is missing
        or not the one of the run, SettingsError where split or scores are not to be had.
        """
        answers = {split: self.probabilities(split, scores)}
        if "dev_ids" in self._arrays:
            answers["dev"] = self.probabilities("dev", scores)
        corpus = self.corpus(data_dir)
        for name in answers:
            if name not in corpus or not self.is_of(name, corpus[name]):
                given = self.settings["corpus"]
                raise DataError(
                    f"the texts of {given} {name} are not those of this run any more; predict them anew with: "
                    f"emodef evaluate {self.path} --data {given} --split {name}",
                    self.path,
                )
        _, reports = evaluate_splits(answers, corpus, self.settings["threshold"], only=split)
        return {name.removeprefix(f"{split} "): found for name, found in reports.items()}

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        path = self.path / "probabilities.npz"
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except FileNotFoundError:
            raise DataError("is not there; without it a run cannot be measured again", path) from None
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(f"cannot be read ({error}); train again into another folder", path) from None


def check_labels(corpus: Mapping[str, Corpus], label_set: LabelSet, run: str | os.PathLike[str]) -> None:
    """Raise DataError naming `run` where its corpus has other labels than its model, or the same in another order."""
    for part in corpus.values():
        if part.label_set.names != label_set.names:
            raise DataError(
                f"{part.name} has other labels now, or in another order; put them back as they were in training",
                run,
            )


def check_texts(
    run: RunFolder,
    corpus: Mapping[str, Corpus],
    splits: Collection[str],
    remedy: str = "put them back as they were",
) -> None:
    """Raise DataError where these splits are not those that the run was measured on: it may have been trained on their texts."""
    for split in splits:
        if split not in corpus or not run.is_of(split, corpus[split]):
            raise DataError(
                f"the {split} texts are not those of this run, which may have been trained on them; {remedy}",
                run.path,
            )


def fingerprint(corpus: Mapping[str, Corpus], splits: Collection[str] = ("train", "dev", "test")) -> str:
    """A digest of the texts, labels and label set of these splits; those that there are not do not count."""
    digest = hashlib.sha256()
    for split in splits:
        if split in corpus:
            part = corpus[split]
            digest.update(json.dumps([split, part.texts, part.label_set.to_dict()]).encode())
            digest.update(part.labels.tobytes())
    return digest.hexdigest()[:16]


def digest_of(texts: Sequence[str]) -> str:
    """A digest of texts in their order."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]


def started(folder: Path) -> bool:
    """Whether a run in `folder` has come far enough to be lost: one that failed before its first steps may be started anew."""
    if not (folder / "settings.json").exists():
        return False
    kept = [*(folder / "state").glob("step-*"), *(folder / FOLD_FOLDER).glob("*/*.npy")]
    return bool(kept) or _logged_steps(folder / "log.jsonl")


def _logged_steps(path: Path) -> bool:
    """Whether a log tells of steps: one that failed before them may have left notes."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return False
    return any('"step":' in line or '"epoch":' in line for line in lines)


def evaluate_splits(
    answers: Mapping[str, ArrayLike], corpus: Mapping[str, Corpus], fixed: float, *, only: str | None = None
) -> tuple[dict[str, Any], dict[str, Report]]:
    """Thresholds ("fixed": one number; "tuned": level -> numbers, from dev) and a report of each split under each of them.

    answers: split -> probabilities (n, K). only: report this split alone. Without a dev split in which some text has a label there
    are no tuned thresholds, nor for a label set with one label a text, which needs none.
    """
    thresholds: dict[str, Any] = {"fixed": fixed}
    if "dev" in answers and not corpus["dev"].label_set.exclusive and corpus["dev"].labels.any():
        tuned = tune(answers["dev"], corpus["dev"])
        thresholds["tuned"] = {level: values.tolist() for level, values in tuned.items()}
    train = corpus["train"].labels if "train" in corpus else None
    reports = {
        f"{split} {policy}": report(probabilities, corpus[split], thresholds, policy, train)
        for split, probabilities in answers.items()
        if only in (None, split)
        for policy in thresholds
    }
    return thresholds, reports


def report(
    probabilities: ArrayLike,
    corpus: Corpus,
    thresholds: Mapping[str, Any],
    policy: str,
    train_labels: ArrayLike | None = None,
    *,
    tuned: str = ON_DEV,
) -> Report:
    """One split under one policy of a model's thresholds, as they stand in its thresholds.json. tuned: how those per label were chosen."""
    values = thresholds[policy]
    words = f"fixed {values:g}" if policy == "fixed" else f"per label, {tuned}"
    return evaluate_probabilities(
        probabilities,
        corpus,
        thresholds=values,
        policy=None if corpus.label_set.exclusive else words,
        train_labels=train_labels,
    )


def check_policies(reports: Mapping[str, Report], wanted: Collection[str]) -> dict[str, Report]:
    """The reports of the policies that are wanted, in that order. Raises SettingsError, with the reason, if one is missing."""
    if missing := [policy for policy in wanted if policy not in reports]:
        raise SettingsError(
            f"no {missing[0]} thresholds here: they are tuned on a dev split, for the scores a model answers with, where "
            "texts may have several labels; use --policy fixed"
        )
    return {policy: reports[policy] for policy in wanted}


def model_folder(path: str | os.PathLike[str]) -> Path:
    """The saved model of a run's folder, or of its own. Raises DataError for a folder with neither."""
    folder = Path(path)
    for candidate in (folder / "model", folder):
        if (candidate / "emodef.json").is_file():
            return candidate
    if (folder / "settings.json").exists():
        raise DataError(f"has no model yet; go on with: emodef train --resume --out {folder}", folder)
    raise DataError(
        "holds no model; name a folder that 'emodef train --out' wrote, or its model folder", folder
    )


def load_label_set(model: Path) -> LabelSet:
    """The label set of a saved model."""
    path = model / "labels.json"
    return LabelSet.from_dict(read_json(path), source=str(path))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of ours. Raises DataError naming the file and what to do."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}; train again or copy the run again", path
        ) from None
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error}); train again or copy the run again", path) from None
    if not isinstance(content, dict):
        raise DataError("holds no JSON object; train again or copy the run again", path)
    return content
