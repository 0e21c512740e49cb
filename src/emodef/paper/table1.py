"""Table I and Figure 1 as data: examples, and the auxiliary pairs that `emodef.pairs` builds from them. Imports corpora, pairs, labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emodef.corpora import Corpus, load_corpus
from emodef.corpora.sources import SOURCES
from emodef.errors import DataError
from emodef.pairs import definition_pairs
from emodef.paper.cells import Parts
from emodef.paper.known import KNOWN
from emodef.reporting import Cell, Column, Table

SAMPLE = Path("examples") / "sample"  # of a checkout
PAIR = {True: "IsDefinition", False: "IsNotDefinition"}


def table1(
    data_dir: str | os.PathLike[str] | None = None, *, sample: str | os.PathLike[str] = SAMPLE, seed: int = 42
) -> Parts:
    """The paper's own examples where GoEmotions is at hand, else examples of the sample corpus; and each one's auxiliary pairs.

    seed: of the draw of the definitions that are not the label's. Raises DataError where neither corpus is there.
    """
    examples, figure, about = _examples(data_dir, sample, seed)
    texts: tuple[tuple[Cell, ...], ...] = tuple(
        (text, ", ".join(labels)) for text, labels in zip(examples.texts, examples.label_lists(), strict=True)
    )
    return {
        "examples": Table(
            f"Table I: examples from {examples.name}", (Column("text"), Column("label(s)")), texts, about
        ),
        "pairs": pairs_table(
            examples, seed, f"The auxiliary pairs of Table I's examples, seed {seed}", about
        ),
        "figure1": pairs_table(
            figure, seed, f"Figure 1 as a table: an instance and its auxiliary pairs, seed {seed}", about
        ),
    }


def pairs_table(corpus: Corpus, seed: int, title: str, notes: tuple[str, ...]) -> Table:
    """The pairs of the first epoch of a run with this seed over just these texts, by text."""
    made = definition_pairs(corpus.labels, seed)
    labels = corpus.label_set
    rows: list[tuple[Cell, ...]] = []
    for i in np.argsort(made.text, kind="stable"):
        label = int(made.label[i])
        kind = PAIR[bool(made.is_definition[i])]
        rows.append((corpus.texts[made.text[i]], labels.names[label], labels.definitions[label], kind))
    columns = (Column("text"), Column("definition of"), Column("definition"), Column("pair"))
    drawn = "a text with several labels is an instance for each; other definitions are drawn anew every epoch"
    return Table(title, columns, tuple(rows), (*notes, drawn))


def corpus_or_sample(
    data_dir: str | os.PathLike[str] | None, remedy: str, sample: str | os.PathLike[str] = SAMPLE
) -> dict[str, Corpus]:
    """The paper's corpus, else the sample corpus, by split. Raises DataError, `remedy` in it, where neither is there."""
    name = str(KNOWN.settings["corpus"])
    try:
        return load_corpus(name, data_dir=data_dir)
    except DataError as error:
        if not Path(sample).is_dir():
            raise DataError(f"{error}; or {remedy}") from None
        return load_corpus(sample, label_set=name)


def find_examples(splits: Mapping[str, Corpus], ids: tuple[str, ...]) -> Corpus | None:
    """The texts with these ids, in this order, whatever split they are of; None unless all are there."""
    places = {
        identifier: (split, row)
        for split, corpus in splits.items()
        for row, identifier in enumerate(corpus.ids)
    }
    if not set(ids) <= set(places):
        return None
    taken = [splits[places[each][0]].take([places[each][1]]) for each in ids]
    first = taken[0]
    return Corpus(
        name=first.name,
        split="examples",
        texts=[text for corpus in taken for text in corpus.texts],
        labels=np.concatenate([corpus.labels for corpus in taken]),
        label_set=first.label_set,
        ids=list(ids),
    )


def credit(corpus: str) -> tuple[str, ...]:
    """Whose texts a published corpus's are, and under which terms."""
    if corpus not in SOURCES:
        return ()
    source = SOURCES[corpus]
    return (f"Texts: {source.title}, {source.cite}; {source.terms}",)


def _examples(
    data_dir: str | os.PathLike[str] | None, sample: str | os.PathLike[str], seed: int
) -> tuple[Corpus, Corpus, tuple[str, ...]]:
    """(examples of Table I, the one of Figure 1, notes)."""
    splits = corpus_or_sample(data_dir, f"run this in a checkout, which has {SAMPLE.as_posix()}", sample)
    about = (*credit(splits["train"].name),)
    examples, figure = find_examples(splits, KNOWN.table1), find_examples(splits, (KNOWN.figure1,))
    if examples is not None and figure is not None:
        return examples, figure, (*about, "the paper's own examples, found by their ids")
    chosen = _choose(splits["train"], seed)
    about = (
        *about,
        f"the paper's own examples are not in {splits['train'].name}: these are drawn from its train split, seed {seed}",
    )
    return splits["train"].take(chosen), splits["train"].take(chosen[:1]), about


def _choose(corpus: Corpus, seed: int) -> list[int]:
    """As many texts as the paper shows, of different labels, one of them with two."""
    order = np.random.default_rng(seed).permutation(len(corpus))
    several = corpus.labels.sum(axis=1)
    chosen: list[int] = []
    used = np.zeros(corpus.labels.shape[1], dtype=bool)
    doubles = 0
    for row in map(int, order):
        labels = corpus.labels[row].astype(bool)
        double = several[row] > 1
        if (used & labels).any() or not labels.any() or (double and doubles) or several[row] > 2:
            continue
        if not double and not doubles and len(chosen) == len(KNOWN.table1) - 1:
            continue  # the last place is for one with two labels
        chosen.append(row)
        used |= labels
        doubles += bool(double)
        if len(chosen) == len(KNOWN.table1):
            break
    return chosen
