"""Figure 3 in numbers: how well each start learns other corpora, with paired tests. Imports transfers, cells, figures.transfer, bootstrap.

A score is the mean over random splits. Its interval and every comparison know of two sources of chance. The corpus's texts are resampled,
the same for all starts and splits, so that splits that are tested on the same texts do not count as if they had texts of their own. What
other splits would have drawn is Student's t with one degree of freedom less than there are splits, as wide as the splits differ; both are
added, draw by draw. Resampling the splits instead, as a crossed bootstrap does (Owen, Annals of Applied Statistics 1, 2007), makes too
little of three of them: their mean has only ten different values, and whenever all three agree the p-value is the least there is.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.bootstrap import Comparison, Mean, compare_measures, resample_weights
from emodef.errors import DataError
from emodef.metrics import Floats, Measurement, Measures
from emodef.paper.cells import NOT_RUN, Parts
from emodef.paper.figures.transfer import CORPORA, UNTUNED, start_title
from emodef.paper.known import KNOWN
from emodef.paper.results import processor
from emodef.paper.statistics import mean_of
from emodef.reporting import Cell, Column, Table, comparison_table
from emodef.runs import read_json
from emodef.transfers import Row, Size, Splits, TransferFolder, find_studies

RESAMPLES = 10_000
METRICS = {"macro_f1": "macro F1", "subset_accuracy": "accuracy"}
SIZES: tuple[Size, ...] = (100, 200, 500, 1000, 0.8)
STARTS = (UNTUNED, *(setup.name for setup in KNOWN.setups))
BASELINE = "none"
# how intervals and tests are made, in words
INTERVAL = "texts resampled, other splits by Student's t"
PAIRED = (
    "paired over the same splits and the same texts of a corpus: texts resampled, other splits by Student's t"
)

Cut = tuple[str, Size]  # corpus and size: what starts are compared on


@dataclass(frozen=True)
class Point:
    """One start on one corpus with one size: its metrics on each split, split -> name -> value, and on each resample of the texts, (R,)."""

    values: dict[int, dict[str, float]]
    drawn: dict[int, dict[str, Floats]]
    train_texts: int
    seed: int

    @property
    def splits(self) -> tuple[int, ...]:
        """The splits it was run on."""
        return tuple(sorted(self.values))

    def mean(self, metric: str) -> Mean:
        """Mean and standard deviation over the splits, and the 95% interval."""
        values = [self.values[split][metric] for split in self.splits]
        if not self.drawn:
            return mean_of(values)
        texts = np.mean([self.drawn[split][metric] for split in self.splits], axis=0)
        return mean_of(values, np.clip(texts + other_splits(values, len(texts), self.seed), 0, 1))


def other_splits(values: Sequence[float], draws: int, seed: int) -> Floats:
    """How far the mean over other random splits may be from that over these, (draws,): of one split nothing is known, and it is 0."""
    if len(values) < 2:
        return np.zeros(draws)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return error * np.random.default_rng([seed, len(values)]).standard_t(len(values) - 1, draws)


def gain(pairs: Iterable[tuple[Point, Point]]) -> Comparison | None:
    """What the second of each pair gains over the first, on the splits that all were run on; the mean over the pairs, such as sizes.

    None where there is nothing to compare.
    """
    both = [pair for pair in pairs if set(pair[0].drawn) & set(pair[1].drawn)]
    splits = sorted(set.intersection(*(set(point.drawn) for pair in both for point in pair))) if both else []
    if not splits:
        return None
    whole: list[dict[str, Floats]] = [{}, {}]
    drawn: list[dict[str, Floats]] = [{}, {}]
    for metric in METRICS:
        first, second = (
            np.mean([[pair[side].values[split][metric] for split in splits] for pair in both], axis=0)
            for side in (0, 1)
        )
        for side, values in enumerate((first, second)):
            whole[side][metric] = np.atleast_1d(values.mean())
            texts = [pair[side].drawn[split][metric] for pair in both for split in splits]
            drawn[side][metric] = np.mean(texts, axis=0)
        # of the gains, not of each side: the two are tuned and tested on the same splits
        drawn[1][metric] += other_splits((second - first).tolist(), len(drawn[1][metric]), both[0][0].seed)
    first_whole, second_whole, first_drawn, second_drawn = (
        Measures(found, {"f1": np.empty((len(found["macro_f1"]), 0))}) for found in (*whole, *drawn)
    )
    return compare_measures((first_whole, second_whole), (first_drawn, second_drawn))


@dataclass(frozen=True)
class TransferScores:
    """A study under one policy: (corpus, size) -> start -> Point."""

    settings: dict[str, Any]
    policy: str
    points: dict[Cut, dict[str, Point]]
    resamples: int
    seed: int
    made: tuple[str, ...] = ()  # of which models and with what, in words

    def find(self, corpus: str, start: str, size: Size) -> Point | None:
        """One start on one corpus with one size; None where it has not been run."""
        return self.points.get((corpus, size), {}).get(start)

    def pairs(self, corpus: str, first: str, second: str) -> dict[Size, tuple[Point, Point]]:
        """The sizes that both starts were run with on a corpus, ascending, a share last."""
        found = {
            size: (points[first], points[second])
            for (name, size), points in self.points.items()
            if name == corpus and first in points and second in points
        }
        return dict(sorted(found.items(), key=lambda item: (item[0] < 1, item[0])))

    def named(self, what: str, known: Iterable[Any]) -> list[Any]:
        """All corpora, starts or sizes: the paper's, then what else was asked for."""
        return list(dict.fromkeys((*known, *self.settings.get(what, ()))))


def read_scores(
    folder: TransferFolder, policy: str, *, resamples: int = RESAMPLES, seed: int = 0
) -> TransferScores:
    """Measure a study's stored predictions. resamples: 0 for no intervals and no tests. Raises DataError where they are damaged."""
    by_corpus: dict[str, dict[tuple[str, Size, int], Row]] = {}
    for row in folder.rows():
        if row.policy == policy:
            by_corpus.setdefault(row.corpus, {})[row.start, row.size, row.split] = row
    points: dict[Cut, dict[str, Point]] = {}
    for corpus, rows in by_corpus.items():
        splits = folder.splits(corpus)
        weights = list(resample_weights(len(splits), resamples, seed)) if resamples else []
        stored: dict[str, Any] = {}
        for (start, size, split), row in rows.items():
            if start not in stored:
                stored[start] = folder.predictions(start, corpus, len(splits.names))
            values, drawn = _measure(folder, splits, row, stored[start], weights)
            empty = Point({}, {}, row.train_texts, seed)
            point = points.setdefault((corpus, size), {}).setdefault(start, empty)
            point.values[split] = values
            if drawn:
                point.drawn[split] = drawn
    return TransferScores(folder.settings, policy, points, resamples, seed, tuple(_made(folder, policy)))


def figure3(
    results: str | os.PathLike[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Parts:
    """Tables of every study below `results`: slug -> table; one that says that nothing was run, where there is none."""
    parts: Parts = {}
    names: Counter[str] = Counter()
    for folder in find_studies(results):
        found = []
        name = folder.path.name
        names[name] += 1
        if names[name] > 1:  # the same study, made in several folders of results
            name = f"{name}-{names[name]}"
        try:
            for policy in dict.fromkeys(row.policy for row in folder.rows()):
                found.append(read_scores(folder, policy, resamples=resamples, seed=seed))
        except DataError as error:
            if report is not None:
                report(f"left out: {error}")
        for scores in found:
            start = f"{name}-{scores.policy}"
            for metric in METRICS:
                parts[f"{start}-{metric.replace('_', '-')}"] = scores_table(scores, metric)
            for slug, table in gains_tables(scores).items():
                parts[f"{start}-{slug}"] = table
    if not parts:
        nothing = TransferScores({"backbone": KNOWN.settings["backbone"]}, "softmax", {}, 0, seed)
        parts["macro-f1"] = scores_table(nothing, "macro_f1")
    return parts


def scores_table(scores: TransferScores, metric: str = "macro_f1") -> Table:
    """A row for each corpus and start, a column for each size."""
    sizes = scores.named("sizes", SIZES)
    sizes.sort(key=lambda size: (size < 1, size))
    columns = (
        Column("corpus"),
        Column("start"),
        Column("splits"),
        *(Column(_size(size), "percent", 1) for size in sizes),
    )
    rows: list[tuple[Cell, ...]] = []
    for corpus in scores.named("corpora", CORPORA):
        for start in scores.named("starts", STARTS):
            found = [scores.find(corpus, start, size) for size in sizes]
            numbers = sorted({len(point.splits) for point in found if point is not None})
            cells = [NOT_RUN if point is None else point.mean(metric) for point in found]
            made = NOT_RUN if not numbers else "–".join(map(str, dict.fromkeys((numbers[0], numbers[-1]))))
            rows.append((corpus, start_title(start, scores.settings), made, *cells))
    return Table(
        f"Figure 3: {METRICS[metric]} by training texts{_how(scores)}", columns, tuple(rows), _notes(scores)
    )


def gains_tables(scores: TransferScores) -> Parts:
    """What each start gains over the one tuned on GoEmotions without definitions, and over the untuned encoder: by corpus, and by size."""
    parts: Parts = {}
    starts = scores.named("starts", STARTS)
    for base in (BASELINE, UNTUNED):
        others = [start for start in starts if start not in (base, UNTUNED)]
        by_size: dict[str, Comparison] = {}
        by_corpus: dict[str, Comparison] = {}
        for corpus in scores.named("corpora", CORPORA):
            for start in others:
                title, pairs = start_title(start, scores.settings), scores.pairs(corpus, base, start)
                for size, pair in pairs.items():
                    if (found := gain([pair])) is not None:
                        by_size[f"{corpus}, {_size(size)}: {title}"] = found
                if (found := gain(pairs.values())) is not None:
                    sizes = ", ".join(map(_size, pairs))
                    by_corpus[f"{corpus}, mean of {sizes}: {title}"] = found
        for slug, comparisons in (("", by_corpus), ("-by-size", by_size)):
            if comparisons and (
                slug or len(by_size) > len(by_corpus)
            ):  # a mean over one size says nothing new
                parts[f"over-{base}{slug}"] = _gains_table(scores, base, comparisons)
    return parts


def _gains_table(scores: TransferScores, base: str, comparisons: Mapping[str, Comparison]) -> Table:
    note = (
        f"{PAIRED}, {scores.resamples:,} draws (seed {scores.seed}); p corrected (Holm) for the {len(comparisons)} comparisons of this "
        "table. One trained model a start: what another seed of its training would change is not in these intervals"
    )
    title = f"Figure 3: gain in macro F1 over {start_title(base, scores.settings)}{_how(scores)}"
    return replace(comparison_table(comparisons), title=title, notes=(note,))


def _measure(
    folder: TransferFolder,
    splits: Splits,
    row: Row,
    stored: Mapping[tuple[Size, int, str], NDArray[np.bool_]],
    weights: Sequence[NDArray[Any]],
) -> tuple[dict[str, float], dict[str, Floats]]:
    """A run's metrics, and those on each resample of the corpus's texts."""
    test = splits.test(row.split, row.size, folder.settings.get("max_eval"))
    predicted = stored.get((row.size, row.split, row.policy))
    if splits.digest(test) != row.test_ids_hash or predicted is None or len(predicted) != len(test):
        raise DataError(
            f"the predictions of {row.start} on {row.corpus}, size {row.size:g}, split {row.split} are not those of its test texts; "
            "remove the study's folder and run it again",
            folder.path,
        )
    measurement = Measurement(np.eye(len(splits.names), dtype=bool)[splits.labels[test]], predicted)
    values = measurement.measure().summary
    parts = [measurement.measure(block[test]).summary for block in weights]
    drawn = {metric: np.concatenate([part[metric] for part in parts]) for metric in METRICS} if parts else {}
    return {metric: float(values[metric][0]) for metric in METRICS}, drawn


def _size(size: Size) -> str:
    return f"{size:,}" if size >= 1 else f"{size:.0%}"


def _how(scores: TransferScores) -> str:
    words = {
        "softmax": "softmax, the likeliest label",
        "sigmoid": f"sigmoid, labels above {scores.settings.get('threshold', 0.3):g}",
    }
    return f"; {words[scores.policy]}" if scores.points else ""


def _notes(scores: TransferScores) -> tuple[str, ...]:
    if not scores.points:
        return ()
    settings = scores.settings
    told = [
        "mean ± standard deviation over random splits (ddof 1)"
        + (
            f" [95% interval: {INTERVAL}, {scores.resamples:,} draws, seed {scores.seed}]"
            if scores.resamples
            else ""
        )
        + "; copies of a text are on one side; all starts are tuned and tested on the same texts",
        f"tested on the rest, {settings['max_eval']:,} texts at most"
        if settings.get("max_eval")
        else "tested on the rest",
        f"{settings['epochs']} epochs, batch {settings['batch_size']}, learning rate {settings['learning_rate']:g}, warm-up "
        f"{settings['warmup']:.0%}, the last epoch's weights: our assumption, the paper gives no settings. It draws ten splits and calls "
        "its metric F1-score; its figures are in a plot only",
    ]
    return (*told, *scores.made)


def _made(folder: TransferFolder, policy: str) -> Iterator[str]:
    """The models that were tuned, and what made the runs, as far as it was noted."""
    models = {row.start: row.start_run for row in folder.rows() if row.policy == policy and row.start_run}
    if models:
        settings = folder.settings
        yield "starts: " + "; ".join(
            f"{start_title(start, settings)}: {run}" for start, run in models.items()
        )
    path = folder.path / "versions.json"
    if path.exists():
        about = read_json(path)
        kinds = dict.fromkeys(map(_made_with, (*about.get("earlier", ()), about)))
        yield f"made on {'; '.join(kinds)}"


def _made_with(about: Mapping[str, Any]) -> str:
    return f"{processor(about)}, {about.get('precision')}, code {about.get('code')}"
