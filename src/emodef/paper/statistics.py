"""What the tables say of groups of runs: means over seeds, intervals, paired tests. Imports study, bootstrap, metrics, thresholds, corpora.

A group's metric is the mean of its runs' metrics. Its interval, and every comparison, resamples the test texts, the same for all runs of
all groups: what the seeds add is the standard deviation beside it. Without the corpus there are the figures stored with the runs,
and no tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emodef.bootstrap import Comparison, Estimate, Mean, bootstrap, compare_measures, interval
from emodef.corpora import Corpus, load_corpus
from emodef.corpora.describe import normalise
from emodef.errors import DataError
from emodef.metrics import Bools, Floats, Measurement, Measures, decide
from emodef.paper.known import KNOWN
from emodef.paper.results import SPLITS, Run
from emodef.paper.study import BASELINE, Block, Group, beyond, blocks, group_runs
from emodef.runs import fingerprint
from emodef.thresholds import tune_thresholds

RESAMPLES = 10_000
POLICIES = ("fixed", "tuned")


class MeanMeasurement(Measurement):
    """Several predictions of the same texts; its metrics are the means of theirs."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        self.truth, self.texts = measurements[0].truth, measurements[0].texts
        self.measurements = tuple(measurements)

    def measure(self, weights: NDArray | None = None) -> Measures:
        """The mean of every metric under each of R weightings (n, R)."""
        return mean_measures([each.measure(weights) for each in self.measurements])


def shared_seeds(first: Group, second: Group) -> tuple[Group, Group]:
    """Two groups with the runs whose seeds both have; as they are where they share none."""
    shared = set(first.seeds) & set(second.seeds)
    if not shared:
        return first, second
    return (
        replace(first, runs=tuple(run for run in first.runs if run.seed in shared)),
        replace(second, runs=tuple(run for run in second.runs if run.seed in shared)),
    )


def mean_measures(found: Sequence[Measures]) -> Measures:
    """The mean of each metric that all of them have."""
    first = found[0]
    return Measures(
        {name: np.mean([each.summary[name] for each in found], axis=0) for name in first.summary},
        {name: np.mean([each.labels[name] for each in found], axis=0) for name in first.labels},
    )


@dataclass(frozen=True)
class Scored:
    """A group's metrics on one split under one policy: each seed's, and their mean on each resample of the texts (None without the corpus).

    ends: intervals stored with a group's only run, for want of resamples: (summary, F1 of each label).
    """

    seeds: tuple[Measures, ...]
    draws: Measures | None = None
    ends: tuple[dict[str, Estimate], list[Estimate]] | None = None

    def summary(self, metric: str) -> Mean:
        """The mean of a metric such as "macro_f1" over the seeds, with its interval where there is one."""
        drawn = None if self.draws is None else self.draws.summary[metric]
        stored = self.ends[0][metric] if self.ends else None
        return _with_ends([float(each.summary[metric][0]) for each in self.seeds], drawn, stored)

    def labels(self) -> list[Mean]:
        """The mean F1 of each label over the seeds, (K,), likewise."""
        values = np.array([each.labels["f1"][0] for each in self.seeds])
        return [
            _with_ends(
                values[:, k].tolist(),
                None if self.draws is None else self.draws.labels["f1"][:, k],
                self.ends[1][k] if self.ends else None,
            )
            for k in range(values.shape[1])
        ]


class Study:
    """The runs of one corpus, grouped, and what can be said of them.

    data_dir: where the corpus is, as `load_corpus` takes it; where it is not to be had, `lacking` says so.
    resamples: of the test texts, with `seed`; 0 for no intervals and no tests. report: told of what is left out.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        corpus: str = str(KNOWN.settings["corpus"]),
        data_dir: str | os.PathLike[str] | None = None,
        resamples: int = RESAMPLES,
        seed: int = 0,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.corpus_name, self.resamples, self.seed = corpus, resamples, seed
        self.corpus: dict[str, Corpus] | None = None
        self.lacking: str | None = None
        tell = report or (lambda _: None)
        try:
            self.corpus = load_corpus(corpus, data_dir=data_dir)
        except DataError as error:
            self.lacking = f"the corpus {corpus} is not at hand"
            tell(f"no paired tests, and no figures that were not stored with the runs: {error}")
        own = [run for run in runs if run.settings["corpus"] == corpus and not beyond(run.settings)]
        self.runs = self._same_texts(own, tell)
        for run in runs:
            if why := beyond(run.settings):
                tell(f"left out: {run.path}: {why}, which the paper has nothing like")
        if others := len([run for run in runs if run.settings["corpus"] != corpus]):
            tell(f"left out: {others} {'run' if others == 1 else 'runs'} of another corpus than {corpus}")
        self.groups = tuple(group_runs(self.runs, tell))
        self.blocks: tuple[Block, ...] = tuple(blocks(self.groups))
        self._scored: dict[tuple[object, ...], Scored | None] = {}
        self._thresholds: dict[tuple[str, str], Floats] = {}

    @property
    def tabled(self) -> tuple[Block, ...]:
        """The blocks with tables of their own: all but the paper's baseline, a row among its settings'."""
        return tuple(block for block in self.blocks if block.name != BASELINE)

    @property
    def encoders(self) -> list[tuple[Block, str]]:
        """Every block with each of its encoders; what was not run last: of it tables hold the paper's figures at most."""
        found = [(block, backbone) for block in self.tabled for backbone in block.wanted_backbones]
        return sorted(found, key=lambda each: each[1] not in each[0].backbones)

    @property
    def baseline(self) -> Group | None:
        """The paper's baseline; None where it was not run."""
        return next((block.groups[0] for block in self.blocks if block.name == BASELINE), None)

    @cached_property
    def unseen(self) -> Bools:
        """Which test texts, (n,), do not occur in train: case, blanks and punctuation aside. Raises DataError without the corpus."""
        corpus = self.need()
        known = {normalise(text) for text in corpus["train"].texts}
        return np.array([normalise(text) not in known for text in corpus["test"].texts])

    @property
    def seen(self) -> tuple[int, int]:
        """How many test texts occur in train, and how many different ones those are."""
        held = [
            normalise(text)
            for text, new in zip(self.need()["test"].texts, self.unseen, strict=True)
            if not new
        ]
        return len(held), len(set(held))

    @cached_property
    def train_support(self) -> list[int] | None:
        """Training texts of each label, (K,); None where neither the corpus nor a run tells."""
        if self.corpus is not None:
            return [int(number) for number in self.corpus["train"].labels.sum(axis=0)]
        held = (
            [label.train_support for label in self.runs[0].reports["test fixed"].labels] if self.runs else []
        )
        known = [number for number in held if number is not None]
        return known if known and len(known) == len(held) else None

    def scored(self, group: Group, split: str, policy: str, *, unseen: bool = False) -> Scored | None:
        """A group's metrics; on test with resamples. unseen: only the test texts that do not occur in train.

        None where the corpus would be needed and is missing: for another head than the one the runs answer with, and for `unseen`.
        """
        key = (tuple(run.path for run in group.runs), group.scores, split, policy, unseen)
        if key not in self._scored:
            self._scored[key] = self._score(group, split, policy, unseen)
        return self._scored[key]

    def value(
        self, group: Group | None, split: str, policy: str, metric: str = "macro_f1", *, unseen: bool = False
    ) -> Mean | None:
        """One metric of a group, None where there is no group or no figure."""
        found = None if group is None else self.scored(group, split, policy, unseen=unseen)
        return None if found is None else found.summary(metric)

    def gain(self, first: Group, second: Group, policy: str) -> Comparison | None:
        """What the second group gains over the first on test, by paired bootstrap, over the seeds that both have, or over all where they
        share none; None without the corpus.
        """
        scored = [self.scored(group, "test", policy) for group in shared_seeds(first, second)]
        measured = [(mean_measures(each.seeds), each.draws) for each in scored if each is not None]
        (whole_a, drawn_a), (whole_b, drawn_b) = measured if len(measured) == 2 else ((None, None),) * 2
        if whole_a is None or whole_b is None or drawn_a is None or drawn_b is None:
            return None
        return compare_measures((whole_a, whole_b), (drawn_a, drawn_b))

    def thresholds(self, run: Run, scores: str, policy: str) -> float | Floats:
        """The paper's threshold, or one for each label (K,), tuned on the run's own dev probabilities."""
        if policy == "fixed":
            return float(run.settings["threshold"])
        key = (str(run.path), scores)
        if key not in self._thresholds:
            self._thresholds[key] = tune_thresholds(
                self.need()["dev"].labels, run.probabilities("dev", scores)
            )
        return self._thresholds[key]

    def _score(self, group: Group, split: str, policy: str, unseen: bool) -> Scored | None:
        if self.corpus is None:
            stored = group.scores == group.runs[0].scores and not unseen
            return _stored(group, f"{split} {policy}") if stored else None
        labels = self.corpus[split].labels
        rows = self.unseen if unseen else np.ones(len(labels), dtype=bool)
        measurements = []
        for run in group.runs:
            predicted = decide(
                run.probabilities(split, group.scores), self.thresholds(run, group.scores, policy)
            )
            measurements.append(Measurement(labels[rows], predicted[rows]))
        seeds = tuple(each.measure() for each in measurements)
        if split != "test" or not self.resamples:
            return Scored(seeds)
        drawn = bootstrap(MeanMeasurement(measurements), self.resamples, self.seed)
        return Scored(seeds, Measures(drawn.summary, {"f1": drawn.labels["f1"]}))

    def need(self) -> dict[str, Corpus]:
        """The corpus by split. Raises DataError, saying how to get it, where it is not here."""
        if self.corpus is None:
            raise DataError(
                f"{self.lacking}; fetch it with: emodef data fetch {self.corpus_name}, or name the folder it lies in with --data-dir"
            )
        return self.corpus

    def _same_texts(self, runs: Sequence[Run], tell: Callable[[str], None]) -> list[Run]:
        """The runs of one and the same texts and labels: the corpus's, else those of the first run."""
        kept: list[Run] = []
        data = fingerprint(self.corpus) if self.corpus else None
        for run in runs:
            noted = run.training.get("corpus")  # older runs noted none
            if self.corpus is None:
                same = _texts(run) == _texts(runs[0])
            else:
                same = all(run.folder.is_of(split, self.corpus[split]) for split in SPLITS)
            if not same:
                tell(f"left out: {run.path}: its texts are not those of {self.corpus_name} here, but others")
            elif data is not None and noted not in (None, data):
                what = f"{self.corpus_name} here" if self.corpus else "the runs before it"
                tell(
                    f"left out: {run.path}: its training texts, labels or definitions are not those of {what}, but others"
                )
            else:
                data = data or noted
                kept.append(run)
        return kept


def _texts(run: Run) -> list[str | list[str]]:
    """What tells a run's texts from others: digests of them, else their ids."""
    return [run.folder.noted_texts.get(split) or run.ids(split) for split in SPLITS]


def _stored(group: Group, name: str) -> Scored | None:
    """What was measured when the runs ended."""
    reports = [run.reports[name] for run in group.runs if name in run.reports]
    if len(reports) < len(group.runs):
        return None
    seeds = tuple(
        Measures(
            {metric: np.array([found.value]) for metric, found in report.summary.items()},
            {"f1": np.array([[label.f1.value for label in report.labels]])},
        )
        for report in reports
    )
    only = reports[0] if len(reports) == 1 else None
    return Scored(seeds, ends=None if only is None else (only.summary, [label.f1 for label in only.labels]))


def mean_of(numbers: Iterable[float], draws: Floats | None = None) -> Mean:
    """A mean over runs, such as of steps; with its 95% interval where there are `draws` of it, (R,)."""
    values = list(numbers)
    low, high = (None, None) if draws is None else map(float, interval(draws))
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Mean(float(np.mean(values)), low, high, std, len(values))


def _with_ends(values: list[float], draws: Floats | None, stored: Estimate | None) -> Mean:
    found = mean_of(values, draws)
    return found if stored is None or draws is not None else replace(found, low=stored.low, high=stored.high)
