"""Predictions, a row at a time, to what the page shows: counts, pairs, times, strongest examples. Imports labels, corpora.

Memory does not grow with the number of rows: label combinations are counted and now and then folded into tables of
labels and pairs, times fall into a bounded number of buckets, and each label keeps its best few texts.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations

from emodef.labels import LabelSet, shipped
from emodef.reporting.page.times import TEXTS, TimeCounts

Combination = tuple[str, ...]
Level = tuple[str, str]  # a label set's name, and that of the coarser set it maps to
FINEST: Level = ("", "")  # the labels as they are in the file
MANY = 50_000  # combinations held until they are folded
Z95 = 1.959964


@dataclass(frozen=True)
class Prediction:
    """One text's row: predicted label -> its probability (NaN where the file has none), best first."""

    scores: Mapping[str, float]
    text: str | None = None
    time: datetime | None = None


@dataclass(order=True)
class Example:
    """A text that shows a label strongly. Of equal scores the earlier row is the stronger."""

    score: float
    order: int  # minus the row's place in the file
    text: str = field(compare=False)
    time: datetime | None = field(compare=False)
    scores: Mapping[str, float] = field(compare=False)


@dataclass
class Strongest:
    """The `most` strongest examples of one label, each text once, whatever its case and blanks."""

    most: int
    held: dict[str, Example] = field(default_factory=dict)
    heap: list[tuple[Example, str]] = field(default_factory=list)  # weakest first

    def offer(self, score: float, order: int, row: Prediction) -> None:
        """Keep a text if it is among the strongest."""
        full = len(self.heap) >= self.most
        if full and (not self.most or (score, order) <= (self.heap[0][0].score, self.heap[0][0].order)):
            return
        text = row.text or ""
        key = " ".join(text.casefold().split())
        if not key:
            return
        example = Example(score, order, text, row.time, row.scores)
        if key in self.held:
            if example > self.held[key]:
                self.held[key] = example
                self.heap = [(found, k) for k, found in self.held.items()]
                heapq.heapify(self.heap)
            return
        self.held[key] = example
        if full:
            _, weakest = heapq.heappushpop(self.heap, (example, key))
            del self.held[weakest]
        else:
            heapq.heappush(self.heap, (example, key))

    def best_first(self) -> list[Example]:
        """The examples, strongest first."""
        return sorted(self.held.values(), reverse=True)


@dataclass
class Tally:
    """Counts at one level of labels. sizes: number of labels of a text -> texts. pairs: two labels, sorted -> texts with both."""

    labels: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)  # texts with this label and no other

    def add(self, labels: Combination, texts: int) -> None:
        """Count `texts` texts that have exactly these labels."""
        self.sizes[len(labels)] += texts
        if len(labels) == 1:
            self.alone[labels[0]] += texts
        for label in labels:
            self.labels[label] += texts
        for pair in combinations(labels, 2):
            self.pairs[pair] += texts


@dataclass
class Summary:
    """What `add` has seen so far; `fold` before reading the counts.

    examples: texts kept for each label. label_sets: sets whose coarser levels are counted as long as every label seen is
    theirs. known: labels that count as seen from the start (those of the p_LABEL columns).
    tallies: level -> counts; FINEST has the labels as they are in the file.
    """

    examples: int = 20
    label_sets: Sequence[LabelSet] = ()
    known: tuple[str, ...] = ()
    texts: int = 0
    dated: int = 0
    first: datetime | None = None
    last: datetime | None = None
    tallies: dict[Level, Tally] = field(default_factory=dict)
    times: TimeCounts = field(default_factory=TimeCounts)
    strongest: dict[str, Strongest] = field(default_factory=dict)
    _combinations: Counter[Combination] = field(default_factory=Counter)
    _timed: Counter[tuple[int, Combination]] = field(default_factory=Counter)
    _maps: dict[Level, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for labels in self.label_sets:
            for level, mapping in labels.mappings.items():
                self._maps[labels.name, level] = mapping
        self.tallies = {key: Tally() for key in (FINEST, *self._maps)}

    def add(self, row: Prediction) -> None:
        """Count one text."""
        self.texts += 1
        labels = tuple(sorted(row.scores))
        self._combinations[labels] += 1
        if row.time is not None:
            self.dated += 1
            self.first = row.time if self.first is None else min(self.first, row.time)
            self.last = row.time if self.last is None else max(self.last, row.time)
            self._timed[self.times.bucket(row.time), labels] += 1
        if self.examples and row.text:
            for label, score in row.scores.items():
                found = self.strongest.get(label)
                if found is None:
                    found = self.strongest[label] = Strongest(self.examples)
                found.offer(-math.inf if math.isnan(score) else score, -self.texts, row)
        if len(self._combinations) > MANY or len(self._timed) > MANY:
            self.fold()

    def fold(self) -> None:
        """Bring the tables up to date with all rows added."""
        self._drop_levels({label for labels in self._combinations for label in labels} | set(self.known))
        at: dict[Combination, list[tuple[Level, Combination]]] = {}
        for labels, texts in self._combinations.items():
            at[labels] = [(key, self._at(key, labels)) for key in self.tallies]
            for key, found in at[labels]:
                self.tallies[key].add(found, texts)
        unit = self.times.unit
        for (bucket, labels), texts in self._timed.items():
            counts: dict[Hashable, int] = {TEXTS: texts}
            counts.update(((key, label), texts) for key, found in at[labels] for label in found)
            self.times.add(bucket, counts, unit)
        self._combinations.clear()
        self._timed.clear()

    @property
    def seen(self) -> set[str]:
        """The labels that occur, and those known from the start."""
        return set(self.tallies[FINEST].labels) | set(self.known)

    def label_set(self) -> LabelSet | None:
        """The set that the labels are from: one that has just these, else the largest that has all of them, else None."""
        seen = self.seen
        fitting = [labels for labels in self.label_sets if seen and seen <= set(labels.names)]
        return max(fitting, key=lambda labels: (set(labels.names) == seen, len(labels)), default=None)

    def _drop_levels(self, seen: set[str]) -> None:
        """Give up the levels of label sets that lack one of these labels."""
        for labels in self.label_sets:
            if not seen <= set(labels.names):
                for level in labels.mappings:
                    self.tallies.pop((labels.name, level), None)

    def _at(self, key: Level, labels: Combination) -> Combination:
        if key == FINEST:
            return labels
        mapping = self._maps[key]
        return tuple(sorted({mapping[label] for label in labels}))


def shipped_sets() -> list[LabelSet]:
    """The label sets that come with the package."""
    return [LabelSet.load(name) for name in shipped()]


def wilson(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share (Wilson 1927, score interval without continuity correction); (0, 1) for no texts."""
    if not total:
        return 0.0, 1.0
    share, z2 = count / total, Z95**2
    centre = share + z2 / (2 * total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    scale = 1 + z2 / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
