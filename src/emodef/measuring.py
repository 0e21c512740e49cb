"""A light model measured on a labelled corpus, by the same code as a run. Imports predictor, runs, evaluation, corpora.

Thresholds are those saved in the model, tuned on dev for this very file; nothing is tuned here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emodef.corpora import CORPORA, Corpus, load_corpus
from emodef.errors import DataError, SettingsError
from emodef.evaluation import Report
from emodef.labels import LabelSet
from emodef.runs import BY_FOLDS, ON_DEV, POLICIES, WITHOUT_TEXTS, report

if TYPE_CHECKING:
    from emodef.predictor import Predictor


def read_corpus(
    data: str,
    labels: LabelSet,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    on_error: str = "fail",
    **columns: Any,
) -> dict[str, Corpus]:
    """A published corpus or a user's file, labelled with a model's own labels: split -> Corpus.

    columns: as `load_corpus` takes them, for files. Raises DataError where the labels are others, and what `load_corpus` raises.
    """
    options = {} if data in CORPORA else {"label_set": labels}
    splits = load_corpus(data, data_dir=data_dir, on_error=on_error, **columns, **options)
    for corpus in splits.values():
        if corpus.label_set.names != labels.names:
            raise DataError(
                f"its labels ({corpus.label_set.name}) are not the model's ({labels.name}); the two must have the same names "
                "in the same order",
                data,
            )
    return splits


def choose_split(splits: Mapping[str, Corpus], data: str, split: str | None = None) -> Corpus:
    """The split asked for; by default test, else all of a file. Raises SettingsError for one that is not there."""
    name = split or next((each for each in ("test", "all") if each in splits), "test")
    if name not in splits:
        raise SettingsError(f"{data} has no split {name!r}; choose one of {', '.join(splits)} with --split")
    return splits[name]


def choose_own_split(splits: Mapping[str, Corpus], data: str, split: str | None = None) -> Corpus:
    """The same of the corpus that a model was trained on, where by default it is none that it may have learned. Raises SettingsError."""
    if split is None and "test" not in splits:
        raise SettingsError(
            f"{data} has no test split, so the model may have learned from any of its texts; name others with --data, or measure these all "
            f"the same with --split {next(iter(splits))}"
        )
    return choose_split(splits, data, split)


def own_corpus(predictor: Predictor) -> str:
    """The published corpus a light model was trained on. Raises SettingsError for a model of another one."""
    name = str(predictor.info.about.get("corpus", ""))
    if name not in CORPORA:
        trained = f"was trained on {name}" if name else "does not say what it was trained on"
        raise SettingsError(
            f"the model {trained}, which has no place of its own here; name the texts with --data"
        )
    return name


def light_reports(
    predictor: Predictor,
    splits: Sequence[Corpus],
    *,
    train: Corpus | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Report]:
    """ "test tuned", "test fixed", ... -> report of each split under each of the model's policies.

    train: the training split, for the training support of each label.
    """
    thresholds, tuned = predictor.info.thresholds, how_tuned(predictor.info.about)
    reports = {}
    for corpus in splits:
        probabilities = predictor.predict_proba(corpus.texts, progress=progress)
        for policy in policies(predictor):
            reports[f"{corpus.split} {policy}"] = report(
                probabilities,
                corpus,
                thresholds,
                policy,
                None if train is None else train.labels,
                tuned=tuned,
            )
    return reports


def how_tuned(about: Mapping[str, Any]) -> str:
    """How a light model's thresholds were chosen: an export says what it measured on dev, a fitted head how it was judged."""
    if about.get("judged") == "":  # nothing could be held out
        return WITHOUT_TEXTS
    dev = about.get("dev", {})
    by_folds = about.get("judged") == "cross-validation" or (bool(dev) and set(dev) == {"texts"})
    return BY_FOLDS if by_folds else ON_DEV


def policies(predictor: Predictor) -> Collection[str]:
    """The policies the model has thresholds for; a label set with one label a text needs none, and answers alike under each."""
    return (
        ("fixed",)
        if predictor.label_set.exclusive
        else [p for p in POLICIES if p in predictor.info.thresholds]
    )
