"""What is in a corpus: `describe` counts, `render` lays the counts out for a terminal. Imports corpora.core, numpy and rich."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from emodef.corpora.core import Corpus, Problem, one_line

_MARKS = re.compile(r"[^\w\s]")


@dataclass(frozen=True)
class Lengths:
    """How long texts are, in one unit (words between blanks, or characters)."""

    min: int
    median: float
    mean: float
    p95: float
    max: int


@dataclass(frozen=True)
class Example:
    """A text with its labels."""

    id: str
    text: str
    labels: list[str]
    intensity: float | None = None


@dataclass(frozen=True)
class SplitDescription:
    """One split. Duplicates are texts that `normalise` makes equal.

    label_counts: texts with each label, in label order. labels_per_text: number of labels -> texts.
    words, characters: None for an empty split.
    duplicates: texts that repeat an earlier one. conflicting: distinct texts that occur with different labels.
    conflicting_surplus: those of `duplicates` that repeat a conflicting text.
    left_out: rows that are not in the corpus, by kind and reason. repairs: what was mended -> texts.
    """

    texts: int
    label_counts: dict[str, int]
    labels_per_text: dict[int, int]
    words: Lengths | None
    characters: Lengths | None
    intensity: dict[str, float] | None
    duplicates: int
    conflicting: int
    conflicting_surplus: int
    left_out: dict[str, int]
    repairs: dict[str, int]
    examples: list[Example]


@dataclass(frozen=True)
class Description:
    """A corpus: its splits, what they share, and the rows left out.

    shared_texts: "train & test" -> distinct texts, normalised, that are in both.
    problems: rows left out of any split, as "file:row: kind: reason", the malformed first, `max_problems` at most
        of the `problem_count` there are.
    """

    name: str
    label_set: str
    exclusive: bool
    labels: list[str]
    splits: dict[str, SplitDescription]
    shared_texts: dict[str, int]
    problems: list[str]
    problem_count: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the keys of `labels_per_text` become text, as JSON wants them."""
        d = asdict(self)
        for split in d["splits"].values():
            split["labels_per_text"] = {str(k): v for k, v in split["labels_per_text"].items()}
        return d


def normalise(text: str) -> str:
    """What makes two texts the same one: case, blanks and punctuation do not count, unless there is nothing else."""
    folded = one_line(text).casefold()
    return one_line(_MARKS.sub("", folded)) or folded


def describe(
    splits: Mapping[str, Corpus], *, examples: int = 4, seed: int = 0, max_problems: int = 10
) -> Description:
    """Count what the splits of one corpus hold. `splits` is not empty; `seed` picks the `examples` of each split."""
    first = next(iter(splits.values()))
    distinct = {split: {normalise(text) for text in corpus.texts} for split, corpus in splits.items()}
    # a reader that cuts one file into splits may give all of them the same list
    problems = dict.fromkeys(problem for corpus in splits.values() for problem in corpus.problems)
    malformed_first = sorted(problems, key=lambda problem: problem.kind == "dropped")
    return Description(
        name=first.name,
        label_set=first.label_set.name,
        exclusive=first.label_set.exclusive,
        labels=list(first.label_set.names),
        splits={split: _describe_split(corpus, examples, seed) for split, corpus in splits.items()},
        shared_texts={f"{a} & {b}": len(distinct[a] & distinct[b]) for a, b in combinations(splits, 2)},
        problems=[str(problem) for problem in malformed_first[:max_problems]],
        problem_count=len(problems),
    )


def _describe_split(corpus: Corpus, examples: int, seed: int) -> SplitDescription:
    counts = corpus.labels.sum(axis=0, dtype=np.int64).tolist()
    per_text = Counter(corpus.labels.sum(axis=1, dtype=np.int64).tolist())
    duplicates, conflicting, surplus = _duplicates(corpus)
    return SplitDescription(
        texts=len(corpus),
        label_counts=dict(zip(corpus.label_set.names, counts, strict=True)),
        labels_per_text=dict(sorted(per_text.items())),
        words=_lengths([len(text.split()) for text in corpus.texts]),
        characters=_lengths([len(text) for text in corpus.texts]),
        intensity=_mean_intensity(corpus),
        duplicates=duplicates,
        conflicting=conflicting,
        conflicting_surplus=surplus,
        left_out=_left_out(corpus.problems),
        repairs=dict(corpus.repairs),
        examples=_examples(corpus, examples, seed),
    )


def _duplicates(corpus: Corpus) -> tuple[int, int, int]:
    """(texts that repeat an earlier one, distinct texts with different labels, repeats among the latter)."""
    seen: defaultdict[str, list[bytes]] = defaultdict(list)
    for text, row in zip(corpus.texts, corpus.labels, strict=True):
        seen[normalise(text)].append(row.tobytes())
    conflicts = [rows for rows in seen.values() if len(set(rows)) > 1]
    return len(corpus) - len(seen), len(conflicts), sum(len(rows) - 1 for rows in conflicts)


def _lengths(values: Sequence[int]) -> Lengths | None:
    if not values:
        return None
    a = np.array(values)
    return Lengths(
        int(a.min()), float(np.median(a)), float(a.mean()), float(np.percentile(a, 95)), int(a.max())
    )


def _mean_intensity(corpus: Corpus) -> dict[str, float] | None:
    """Label -> mean intensity of its texts, for labels that have any."""
    if corpus.intensity is None:
        return None
    columns = zip(corpus.label_set.names, corpus.labels.T.astype(bool), strict=True)
    return {name: float(corpus.intensity[has].mean(dtype=np.float64)) for name, has in columns if has.any()}


def _left_out(problems: Iterable[Problem]) -> dict[str, int]:
    return dict(Counter(f"{problem.kind}: {problem.reason}" for problem in problems).most_common())


def _examples(corpus: Corpus, count: int, seed: int) -> list[Example]:
    """Texts drawn at random, in corpus order, none with the same labels as another while there are others."""
    rng = np.random.default_rng(seed)
    fresh: dict[bytes, int] = {}
    repeated = []
    for i in rng.permutation(len(corpus)).tolist():
        if fresh.setdefault(corpus.labels[i].tobytes(), i) != i:
            repeated.append(i)
    chosen = corpus.take(sorted([*fresh.values(), *repeated][:count]))
    strengths: Sequence[float | None] = [None] * len(chosen)
    if chosen.intensity is not None:
        strengths = chosen.intensity.astype(float).round(3).tolist()
    columns = zip(chosen.ids, chosen.texts, chosen.label_lists(), strengths, strict=True)
    return [Example(*column) for column in columns]


def render(description: Description) -> RenderableType:
    """Tables for `rich.console.Console.print`; texts are shown as they are, never read as markup."""
    kind = "one label a text" if description.exclusive else "several labels a text"
    head = Text(
        f"{description.name}: {len(description.labels)} labels ({description.label_set}), {kind}", "bold"
    )
    parts: list[RenderableType] = [head, _overview(description)]
    if description.shared_texts:
        parts.append(Text("Distinct texts in two splits", "italic"))
        parts += [Text(f"  {pair}: {count:,}") for pair, count in description.shared_texts.items()]
    parts += [_length_table(description), _label_table(description)]
    if any(d.intensity for d in description.splits.values()):
        parts.append(_intensity_table(description))
    parts += [_example_table(split, d.examples) for split, d in description.splits.items() if d.examples]
    if description.problems:
        shown, count = len(description.problems), description.problem_count
        title = "Rows left out" if shown == count else f"Rows left out ({shown} of {count:,})"
        parts.append(Text(title, "italic"))
        parts += [Text(f"  {problem}") for problem in description.problems]
    return Group(*parts)


def _overview(description: Description) -> Table:
    table = Table(title="Splits", title_justify="left")
    table.add_column("")
    for split in description.splits:
        table.add_column(split, justify="right")
    splits = list(description.splits.values())
    _add(table, "texts", [f"{d.texts:,}" for d in splits])
    for n in sorted({n for d in splits for n in d.labels_per_text}):
        counts = [d.labels_per_text.get(n, 0) for d in splits]
        name = f"with {n} label{'' if n == 1 else 's'}"
        _add(table, name, [_count_and_share(c, d.texts) for c, d in zip(counts, splits, strict=True)])
    table.add_section()
    _add(table, "texts that repeat an earlier one", [f"{d.duplicates:,}" for d in splits])
    _add(table, "texts with conflicting labels", [f"{d.conflicting:,}" for d in splits])
    for title, columns in (("", [d.left_out for d in splits]), ("mended: ", [d.repairs for d in splits])):
        if any(columns):
            table.add_section()
        for reason in dict.fromkeys(reason for column in columns for reason in column):
            _add(table, title + reason, [f"{column.get(reason, 0):,}" for column in columns])
    return table


def _label_table(description: Description) -> Table:
    table = Table(title="Texts with each label", title_justify="left")
    table.add_column("label")
    for split in description.splits:
        table.add_column(split, justify="right")
    for label in description.labels:
        _add(
            table,
            label,
            [_count_and_share(d.label_counts[label], d.texts) for d in description.splits.values()],
        )
    return table


def _intensity_table(description: Description) -> Table:
    table = Table(title="Mean intensity, from 0 to 1", title_justify="left")
    table.add_column("label")
    rated = {split: d.intensity for split, d in description.splits.items() if d.intensity is not None}
    for split in rated:
        table.add_column(split, justify="right")
    for label in description.labels:
        _add(table, label, [f"{means[label]:.3f}" if label in means else "-" for means in rated.values()])
    return table


def _length_table(description: Description) -> Table:
    table = Table(title="Lengths of texts", title_justify="left")
    table.add_column("")
    for column in ("min", "median", "mean", "95%", "max"):
        table.add_column(column, justify="right")
    for split, d in description.splits.items():
        for unit, n in (("words", d.words), ("characters", d.characters)):
            if n is not None:
                cells = [f"{n.min}", f"{n.median:g}", f"{n.mean:.1f}", f"{n.p95:g}", f"{n.max:,}"]
                _add(table, f"{split}, {unit}", cells)
    return table


def _example_table(split: str, examples: Sequence[Example]) -> Table:
    table = Table(title=f"Examples from {split}", title_justify="left", show_lines=True)
    table.add_column("text", ratio=3)
    table.add_column("labels", ratio=1)
    for example in examples:
        strength = "" if example.intensity is None else f" ({example.intensity:.3f})"
        table.add_row(Text(example.text), Text(", ".join(example.labels) + strength))
    return table


def _add(table: Table, name: str, cells: Iterable[str]) -> None:
    table.add_row(Text(name), *cells)


def _count_and_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:6.1%})" if total else f"{count:,}"
