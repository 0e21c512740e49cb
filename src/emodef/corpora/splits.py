"""Splits of one's own: texts set aside for dev and test, the same ones each time; or all put together. Imports corpora.core, errors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from emodef.corpora.core import Corpus, one_line
from emodef.errors import SettingsError


def hold_out(
    splits: Mapping[str, Corpus],
    *,
    dev: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
    first: str = "dev",
) -> dict[str, Corpus]:
    """Splits to train with: a corpus of one split ("all") becomes "train", less the shares set aside as "dev" and "test".

    Which side a text falls on is a hash of `seed` and the text (case and runs of blanks aside), not its place in the
    file: copies of a text stay together, and adding or removing rows moves no other row. So the shares come out
    roughly, not to the row. Each is cut from an end of its own: a test share that is set aside later holds no text
    of the dev share that something was chosen on before. first: "test" cuts test from the front and dev behind it, as
    runs were read before there was that rule.

    Raises SettingsError for shares that are not between 0 and 1, that leave nothing on a side, or that ask for a split
    the corpus already has.
    """
    if dev < 0 or test < 0 or dev + test >= 1:
        raise SettingsError(
            f"shares of {dev:g} for dev and {test:g} for test; each is 0 or more, both below 1"
        )
    found = dict(splits)
    if set(found) == {"all"}:
        found = {"train": replace(found["all"], split="train")}
    starts = {"test": 1 - test, "dev": 0.0} if first == "dev" else {"test": 0.0, "dev": test}
    wanted = {split: share for split, share in (("test", test), ("dev", dev)) if share}
    if not wanted:
        return found
    if "train" not in found:
        raise SettingsError(f"no training split to set a share of aside; the corpus has {', '.join(found)}")
    for split in wanted:
        if split in found:
            raise SettingsError(f"the corpus has a {split} split already; leave its share out")
    train = found["train"]
    places = [_place(text, seed) for text in train.texts]
    rest = set(range(len(train)))
    for split, share in wanted.items():
        start = starts[split]
        rows = [i for i, place in enumerate(places) if start <= place < start + share]
        if not rows:
            raise SettingsError(
                f"a share of {share:g} of {len(train)} texts leaves none for {split}; raise it"
            )
        found[split] = replace(train.take(rows), split=split)
        rest -= set(rows)
    if not rest:
        raise SettingsError(f"the shares leave none of {len(train)} texts to train on; lower them")
    found["train"] = train.take(sorted(rest))
    return {split: found[split] for split in ("train", "dev", "test", *splits) if split in found}


def join_splits(splits: Mapping[str, Corpus]) -> Corpus:
    """All texts of a corpus as one split, "all"; ids that occur in several splits are told apart by the split's name."""
    first = next(iter(splits.values()))
    ids = [identifier for part in splits.values() for identifier in part.ids]
    if len(set(ids)) < len(ids):
        ids = [f"{split}:{identifier}" for split, part in splits.items() for identifier in part.ids]
    return Corpus(
        name=first.name,
        split="all",
        texts=[text for part in splits.values() for text in part.texts],
        labels=np.concatenate([part.labels for part in splits.values()]),
        label_set=first.label_set,
        ids=ids,
        problems=[problem for part in splits.values() for problem in part.problems],
    )


def _place(text: str, seed: int) -> float:
    """Where a text stands between 0 and 1: uniform, and the same wherever and whenever it is asked."""
    digest = hashlib.sha256(f"{seed}\n{one_line(text).casefold()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
