"""New texts made of parts of a corpus's own, for teachers to label. Imports numpy only.

Not a method of the paper. A teacher knows its training texts by heart, so that its labels of them say little that the gold ones do not;
of a text that it never saw they say what it thinks. Parts of real texts read as people write, unlike texts with words swapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from emodef.corpora.core import Corpus
from emodef.errors import DataError

LONGEST = 25  # words of a new text
_BETWEEN = re.compile(r"(?<=[.!?;,:…])\s+|\n+")


def parts(text: str) -> list[str]:
    """A text's sentences and clauses, punctuation kept; a single word goes with what follows it."""
    found: list[str] = []
    short = ""
    for piece in _BETWEEN.split(text.strip()):
        piece = f"{short} {piece}".strip()
        if len(piece.split()) < 2:
            short = piece
        else:
            found.append(piece)
            short = ""
    if short and found:
        found[-1] = f"{found[-1]} {short}"
    elif short:
        found.append(short)
    return found


def recombine(corpus: Corpus, count: int, *, seed: int = 42) -> list[str]:
    """`count` new texts: a stretch of one text's parts alone, or before or after a stretch of another's; none twice, none of the corpus.

    Texts with rare labels are drawn more often: by 1/√(the share of their rarest label). The same for the same corpus and seed.
    Raises DataError where the corpus is too small for so many.
    """
    rng = np.random.default_rng([seed, 5])
    split = [parts(text) for text in corpus.texts]
    weights = _weights(corpus.labels) * [bool(pieces) for pieces in split]
    seen = {_key(text) for text in corpus.texts}
    drawn = _draws(weights, rng)
    new: list[str] = []
    for _ in range(50 * count + 1000 if weights.any() else 0):
        if len(new) == count:
            return new
        first, second = split[next(drawn)], split[next(drawn)]
        if len(first) > 1 and rng.random() < 0.4:
            text = _stretch(first[rng.integers(0, 2) :], rng, whole=0.0)
        else:
            text = " ".join([_stretch(first, rng, whole=0.5), _stretch(second, rng, whole=0.5)])
        if 2 <= len(text.split()) <= LONGEST and (key := _key(text)) not in seen:
            seen.add(key)
            new.append(text)
    raise DataError(
        f"{len(corpus):,} texts are too few to make {count:,} new ones of (only {len(new):,} were found); ask for fewer"
    )


def _stretch(pieces: list[str], rng: np.random.Generator, whole: float) -> str:
    """Some neighbouring parts, all of them with the probability `whole`."""
    if len(pieces) == 1 or rng.random() < whole:
        return " ".join(pieces)
    start = int(rng.integers(0, len(pieces)))
    return " ".join(pieces[start : int(rng.integers(start + 1, len(pieces) + 1))])


def _weights(labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = labels.sum(0).clip(1, None) / max(1, len(labels))
    return np.asarray(np.where(labels > 0, 1 / np.sqrt(share), 1.0).max(1), dtype=np.float64)


def _draws(weights: NDArray[np.float64], rng: np.random.Generator) -> Iterator[int]:
    chances = weights / weights.sum()
    while True:
        yield from rng.choice(len(weights), 4096, p=chances).tolist()


def _key(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
