"""Labels held out of training, to be scored later from their definitions alone. Imports labels, errors.

A text keeps the labels that are not held out. Training texts that have held-out labels only are left out. Of dev and test every text
stays, one without a label left as an example of none, so that figures are those of all texts.

Draws are balanced over frequency: the labels, most frequent first, are cut into as many strata as labels are held out, and each of
the draws takes another label of every stratum, so that no two draws share one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from emodef.corpora.core import Corpus
from emodef.errors import SettingsError

DRAWS = 3
FREQUENT = (
    0.2  # a label of a larger share of the texts is never drawn: without it, half of the corpus would go
)
SEED = 0


def draw_labels(train: Corpus, draw: int, count: int) -> tuple[str, ...]:
    """The `count` labels that draw 1, 2 or 3 holds out, most frequent first. The same for the same labels of the same texts.

    Raises SettingsError where there are not enough labels for three draws.
    """
    occurrences = train.labels.sum(axis=0, dtype=np.int64)
    drawn = [k for k in np.argsort(-occurrences, kind="stable") if occurrences[k] <= FREQUENT * len(train)]
    if len(drawn) < DRAWS * count:
        raise SettingsError(
            f"held_out_count = {count}: three draws need {DRAWS * count} labels, each of at most {FREQUENT:.0%} of the texts; "
            f"there are {len(drawn)}: hold fewer out"
        )
    random = np.random.default_rng(SEED)
    chosen = [random.permutation(stratum)[draw - 1] for stratum in np.array_split(np.array(drawn), count)]
    return tuple(train.label_set.names[k] for k in chosen)


def without_labels(corpus: Mapping[str, Corpus], names: Sequence[str]) -> dict[str, Corpus]:
    """The splits without these labels (see the module's text). Raises LabelSetError for an unknown one, SettingsError for all of them."""
    found = {}
    for split, part in corpus.items():
        gone = {part.label_set.index(name) for name in names}
        if len(gone) == len(part.label_set):
            raise SettingsError("held_out names every label; leave some to train on")
        seen = only_labels(part, [n for k, n in enumerate(part.label_set.names) if k not in gone])
        if split == "train":
            left = seen.labels.any(axis=1) | ~part.labels.any(axis=1)
            seen = seen.take(np.flatnonzero(left))
        found[split] = seen
    return found


def only_labels(corpus: Corpus, names: Sequence[str]) -> Corpus:
    """The same texts with some of the labels."""
    columns = [corpus.label_set.index(name) for name in names]
    return replace(corpus, labels=corpus.labels[:, columns], label_set=corpus.label_set.only(names))
