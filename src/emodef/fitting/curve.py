"""How much labelled texts bring: heads fitted to 0 to 1,000 texts of other corpora, each on several splits. Imports transfers, fitting.

The splits are those of a transfer study (`emodef.transfers.draw_splits`, the same seed and first 100 texts), and so are the folder and its
rows, so that full fine-tuning, run as such a study, stands beside heads on the same texts. A run counts once its line is written.

Arms: "definitions" begins with the definitions (at 0 texts they are all there is); "zero" is the same code with a start of nothing; "probe"
is scikit-learn's logistic regression with its defaults. All read the same embeddings, which are computed once for a corpus.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emodef
from emodef.atomic import write_text
from emodef.corpora import CORPORA, Corpus
from emodef.definitions import Definitions, read_labels
from emodef.errors import SettingsError, require
from emodef.fitting.fitted import starting_head
from emodef.fitting.regression import Linear, probabilities
from emodef.fitting.selection import BIAS_STRENGTH, FEW, LOOSE_BIAS, REPEATS, STRENGTHS, select
from emodef.metrics import averages, count, decide
from emodef.predictor.core import SHIPPED, Predictor
from emodef.predictor.head import hash_of, unit
from emodef.predictor.unseen import DEFAULT
from emodef.runs import DataChoice, fingerprint
from emodef.transfers import Row, Rows, Size, Splits, TransferFolder, draw_splits

ARMS = ("definitions", "zero", "probe")
SIZES = (0, 10, 20, 50, 100, 200, 500, 1000)
POLICY = "softmax"  # the likeliest label; as transfer studies call it
FORMAT = 1  # of what a run is: raise it when an arm's code changes what it answers

Told = Callable[[str, int, int], None]  # what, runs done, of how many


@dataclass(frozen=True)
class CurveSettings:
    """What a curve runs. smallest: the first so many training texts of a split, but at most half of all, hold every label; max_eval: test
    texts at most."""

    corpora: tuple[str, ...] = ("isear", "emoint", "emotion_stimulus")
    arms: tuple[str, ...] = ARMS
    sizes: tuple[int, ...] = SIZES
    splits: int = 10
    smallest: int = 100
    max_eval: int = 2000
    seed: int = 42
    label_set: str | None = None  # of corpora of one's own

    def __post_init__(self) -> None:
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            raise SettingsError(f"no arm {unknown[0]!r}; there are {', '.join(ARMS)}")
        if not self.sizes or min(self.sizes) < 0 or self.splits < 1:
            raise SettingsError("sizes are whole numbers from 0 on, splits at least 1")
        names = [corpus_name(given) for given in self.corpora]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SettingsError(f"two corpora are called {twice[0]!r}; rename a file, or give each once")

    def shared(self, model: str, own: Mapping[str, str]) -> dict[str, Any]:
        """What every run of a folder has in common. model: hash of the light model's graph; own: of users' corpora, by name."""
        return {
            "kind": "few_shot",
            "format": FORMAT,
            "model": model,
            "seed": self.seed,
            "smallest": self.smallest,
            "max_eval": self.max_eval,
            "strengths": ["inf" if np.isinf(each) else each for each in STRENGTHS],
            "bias_strength": [BIAS_STRENGTH, LOOSE_BIAS],
            "repeats": [REPEATS, FEW],
            "unseen": DEFAULT,  # how labels are scored without a text
            **({"own": dict(own)} if own else {}),
        }


@dataclass
class Material:
    """A corpus made ready: unit embeddings (n, H), 0/1 labels (n, K), its splits, and the head its definitions make."""

    corpus: Corpus
    vectors: NDArray[np.float32]
    splits: Splits
    start: Linear

    @classmethod
    def of(
        cls, corpus: Corpus, splits: Splits, predictor: Predictor, meant: Definitions | None = None
    ) -> Material:
        """A corpus, all its splits together, made ready. meant: all that is said of its labels; by default a definition each."""
        head, _ = starting_head(predictor.root, meant or Definitions.of(corpus.label_set))
        start = Linear(head.weight.astype(np.float64), head.bias.astype(np.float64))
        return cls(corpus, unit(predictor.root.embed(corpus.texts)), splits, start)

    def predict(self, arm: str, train: Rows, test: Rows, seed: int) -> NDArray[np.bool_]:
        """What an arm predicts for the rows `test`, having learned from the rows `train`, (texts, labels)."""
        x, truth = self.vectors[train], self.corpus.labels[train]
        if arm == "probe":
            return self._probe(x, truth, test)
        head, begins = self.start, arm == "definitions"
        if not begins:
            head = Linear(np.zeros_like(head.weight), np.zeros_like(head.bias))
        if len(train):
            chosen = select(
                x,
                truth,
                np.unique(self.splits.groups[train], return_inverse=True)[1],
                head,
                exclusive=True,
                keep_unseen=begins,
                seed=seed,
            )
            head = chosen.head
        return decide(probabilities(head.logits(self.vectors[test]), True), 0.0, exclusive=True)

    def _probe(self, x: NDArray[np.float32], truth: NDArray[np.uint8], test: Rows) -> NDArray[np.bool_]:
        linear = require("sklearn.linear_model", extra="train")
        answers = truth.argmax(1)
        predicted = np.zeros((len(test), truth.shape[1]), dtype=bool)
        if len(np.unique(answers)) == 1:  # it refuses a single class
            predicted[:, answers[0]] = True
            return predicted
        probe = linear.LogisticRegression(max_iter=1000).fit(x, answers)
        predicted[np.arange(len(test)), probe.predict(self.vectors[test])] = True
        return predicted


@dataclass
class Curve:
    """A curve made ready: where its rows go, and the runs that are missing, (corpus, arm, size, split) each.

    own: users' corpora by name, read already; meant: what their labels mean, where that was given. known_by: digests of their texts,
    labels and definitions. given: the options that name all this on the command line.
    """

    settings: CurveSettings
    folder: TransferFolder
    model: str
    choice: DataChoice
    own: dict[str, Corpus]
    meant: Definitions | None
    known_by: dict[str, str]
    given: dict[str, Any]
    missing: list[tuple[str, str, Size, int]] = field(default_factory=list)
    done: int = 0


def plan_curve(
    settings: CurveSettings,
    results: str | os.PathLike[str],
    predictor: Predictor,
    choice: DataChoice | None = None,
) -> Curve:
    """What `run_curve` would run; nothing is written. choice: how corpora are read. Raises what reading users' corpora raises, and
    SettingsError for one of them that does not fit."""
    choice = choice or DataChoice()
    files = {corpus_name(given): given for given in settings.corpora if given not in CORPORA}
    meant = None if settings.label_set is None or not files else read_labels(settings.label_set)
    labels = None if meant is None else meant.label_set
    own = {name: choice.whole(given, labels) for name, given in files.items()}
    for corpus in own.values():
        _check_fits(corpus, settings)
    more = _digest_of_more(meant)
    known_by = {name: fingerprint({"all": corpus}, ("all",)) + more for name, corpus in own.items()}
    model = hash_of(predictor.root.graph.path)
    shared = json.dumps(settings.shared(model, known_by), sort_keys=True)
    digest = hashlib.sha256(shared.encode()).hexdigest()[:8]
    folder = TransferFolder(Path(results) / f"heads-{digest}")
    given = _given(settings, files, choice, predictor)
    curve = Curve(settings, folder, model, choice, own, meant, known_by, given)
    made = {(row.corpus, row.start, row.size, row.split) for row in curve.folder.rows()}
    for run in _runs(settings):
        if run in made:
            curve.done += 1
        else:
            curve.missing.append(run)
    return curve


def run_curve(curve: Curve, predictor: Predictor, *, progress: Told | None = None) -> TransferFolder:
    """Make a curve's missing runs. Raises what reading a corpus raises, and SettingsError for one that does not fit, before the first."""
    folder, settings = curve.folder, curve.settings
    tell = progress or (lambda what, done, total: None)
    total, done = len(curve.missing), 0
    ready: dict[str, tuple[Corpus, Splits]] = {}
    for name in dict.fromkeys(run[0] for run in curve.missing):
        corpus = curve.own[name] if name in curve.own else curve.choice.whole(name)
        ready[name] = corpus, draw(corpus, settings)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.cut_unfinished()
    _write_about(curve)
    for name, (read, splits) in ready.items():
        tell(f"{name}: embeddings", done, total)
        material = Material.of(read, splits, predictor, curve.meant if name in curve.own else None)
        folder.save_splits(splits)
        for whose, arm, size, split in curve.missing:
            if whose == name:
                row, predicted = _run(material, curve, arm, size, split)
                folder.append(row, predicted)
                done += 1
                tell(f"{name}, {arm}, {size} texts: macro-F1 {100 * row.macro_f1:.1f}", done, total)
    return folder


def draw(corpus: Corpus, settings: CurveSettings) -> Splits:
    """The splits of a corpus. Raises SettingsError for one that does not fit the settings."""
    _check_fits(corpus, settings)
    return draw_splits(
        corpus.name,
        corpus.label_set.names,
        corpus.texts,
        corpus.ids,
        corpus.labels.argmax(1).astype(np.uint8),
        numbers=range(1, settings.splits + 1),
        seed=settings.seed,
        covered=min(settings.smallest, len(corpus) // 2),
        remedy="label more texts with it, or take it out with its texts",
    )


def _check_fits(corpus: Corpus, settings: CurveSettings) -> None:
    """Raise SettingsError unless every text has one label, and each size leaves texts to test on."""
    if not corpus.label_set.exclusive or (corpus.labels.sum(1) != 1).any():
        raise SettingsError(
            f"{corpus.name} may have several labels a text, or none; the curve is of corpora with one: label every text once, and write "
            "exclusive = true into the labels file"
        )
    if (most := max(settings.sizes)) >= len(corpus):
        raise SettingsError(
            f"--size {most}: {corpus.name} has {len(corpus):,} texts, which leaves none to test on; give sizes below that with --size"
        )


def _run(material: Material, curve: Curve, arm: str, size: Size, split: int) -> tuple[Row, NDArray[np.bool_]]:
    began = time.perf_counter()
    splits, settings = material.splits, curve.settings
    train, test = splits.train(split, size), splits.test(split, size, settings.max_eval)
    predicted = material.predict(arm, train, test, settings.seed + split - 1)
    seconds = time.perf_counter() - began
    truth = material.corpus.labels[test]
    row = Row(
        start=arm,
        corpus=material.corpus.name,
        size=size,
        split=split,
        policy=POLICY,
        seed=settings.seed + split - 1,
        macro_f1=round(float(averages(count(truth, predicted))["macro_f1"]), 6),
        accuracy=round(float((predicted == truth).all(axis=1).mean()), 6),
        texts=len(test),
        train_texts=len(train),
        cut_texts=0,
        steps=0,
        seconds=round(seconds, 3),
        train_ids_hash=splits.digest(train),
        test_ids_hash=splits.digest(test),
        settings_hash=curve.folder.path.name.rpartition("-")[2],
        start_hash=curve.model[:16],
    )
    return row, predicted


def _runs(settings: CurveSettings) -> Iterator[tuple[str, str, Size, int]]:
    for name in map(corpus_name, settings.corpora):
        for split in range(1, settings.splits + 1):
            for size in sorted(settings.sizes):
                for arm in settings.arms:
                    if size or arm == "definitions":  # without a text, the others have nothing to say
                        yield name, arm, size, split


def _write_about(curve: Curve) -> None:
    """settings.json: what all runs share, and all that was ever asked for."""
    path = curve.folder.path / "settings.json"
    settings = curve.settings
    asked: dict[str, Any] = {
        "corpora": [corpus_name(given) for given in settings.corpora],
        "starts": list(settings.arms),
        "sizes": list(settings.sizes),
    }
    splits = settings.splits
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        asked = {name: list(dict.fromkeys((*before.get(name, ()), *new))) for name, new in asked.items()}
        splits = max(splits, before.get("splits", 0))
    asked["sizes"] = sorted(asked["sizes"])
    content = {
        **settings.shared(curve.model, curve.known_by),
        **asked,
        "splits": splits,
        **({"given": curve.given} if curve.given else {}),
        "emodef": emodef.__version__,
    }
    write_text(path, json.dumps(content, indent=1) + "\n")


def _given(
    settings: CurveSettings, files: Mapping[str, str], choice: DataChoice, predictor: Predictor
) -> dict[str, Any]:
    """Options of the command line that rows do not tell: files by corpus, what they were read with, a model of one's own."""
    model = predictor.root.graph.path.parent
    found: dict[str, Any] = {} if model.resolve() == SHIPPED.resolve() else {"model": str(model)}
    if files:
        found |= {"corpora": dict(files), "labels": settings.label_set, "columns": dict(choice.columns)}
    return found if choice.on_error == "fail" else {**found, "on_error": choice.on_error}


def _digest_of_more(meant: Definitions | None) -> str:
    """What tells labels from those with the same first definitions: further definitions, and examples; empty where there are none."""
    if meant is None or not (any(map(len, meant.examples)) or any(len(own) > 1 for own in meant.definitions)):
        return ""
    more = json.dumps([meant.definitions, meant.examples])
    return f"-{hashlib.sha256(more.encode()).hexdigest()[:16]}"


def corpus_name(given: str) -> str:
    """A corpus's name as its rows have it, of a published one or a file."""
    return given if given in CORPORA else Path(given).stem
