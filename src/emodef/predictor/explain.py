"""Which words carry a label: each word left out once, all else kept (occlusion). Imports numpy, encoding, errors.

A word's contribution to a label is the text's probability with all words less its probability without that one. Its tokens are
taken out of the tokens of the whole text, so that leaving out one word never changes how the others are read.

Method: Zeiler and Fergus (2014) for images; leave-one-out for text, Li, Monroe and Jurafsky (2016).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emodef.encoding import Ids, Indices, Tokens, offsets_of
from emodef.errors import SettingsError
from emodef.labels import LabelSet
from emodef.predictor.decisions import Threshold, choose, coarsen, labels_of, resolve_thresholds
from emodef.predictor.prediction import Label
from emodef.predictor.session import PROBABILITIES
from emodef.predictor.windows import Windows, cut

if TYPE_CHECKING:
    from emodef.predictor.core import Predictor

# a word with its apostrophes; one mark of punctuation, repeated or not; a run of emoji and other signs
WORD = re.compile(r"\w+(?:['’]\w+)*|([!-/:-@\[-`{-~])\1*|[^\w\s!-/:-@\[-`{-~]+")
MOST_WORDS = 400  # left out one by one in a text; where there are more, neighbours are left out together
GROUP = 1024  # sequences, from one text or several, that are computed together


@dataclass(frozen=True)
class Word:
    """`text[start:end]` of the explained text, and what it adds to each explained label's probability."""

    text: str
    start: int
    end: int
    contributions: dict[str, float]


@dataclass(frozen=True)
class Explanation:
    """What each word of a text adds to its labels.

    labels: those explained, best first. predicted: the names of those predicted; may be none. words: in the order of the
    text, also what stands between words (punctuation, emoji). together: how many neighbouring words were left out at a time;
    1 but in long texts. windows: how many the text was read in.
    """

    text: str = field(repr=False)
    labels: tuple[Label, ...]
    predicted: tuple[str, ...]
    words: tuple[Word, ...] = field(repr=False)
    together: int = 1
    windows: int = 1

    def strongest(self, label: str, count: int | None = None) -> list[Word]:
        """The words with the largest contributions to a label, up or down, largest first."""
        return sorted(self.words, key=lambda word: -abs(word.contributions[label]))[:count]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.text,
            "labels": [{"name": name, "score": round(score, 6)} for name, score in self.labels],
            "predicted": list(self.predicted),
            "words": [
                {
                    "text": word.text,
                    "start": word.start,
                    "end": word.end,
                    "contributions": {name: round(value, 6) for name, value in word.contributions.items()},
                }
                for word in self.words
            ],
            "together": self.together,
            "windows": self.windows,
        }


def explain(
    predictor: Predictor,
    texts: Sequence[str],
    *,
    labels: Sequence[str] | None = None,
    level: str | None = None,
    threshold: Threshold = None,
) -> list[Explanation]:
    """Explain checked texts; see `Predictor.explain`."""
    at_level = labels_of(level, predictor.info)
    wanted = None if labels is None else [at_level.index(name) for name in labels]
    if wanted == []:
        raise SettingsError("no label to explain; name one, or leave labels out for those predicted")
    thresholds = resolve_thresholds(threshold, level, predictor.info)
    found: list[Explanation] = []
    for group in _groups(_Occlusion.of(predictor, text) for text in texts):
        values = _values(predictor, group)
        ends = np.cumsum([text.size for text in group])
        for text, part in zip(group, np.split(values, ends[:-1]), strict=True):
            whole, without = (coarsen(p, level, predictor.info) for p in text.conclude(part))
            found.append(_explanation(text, whole, without, at_level, wanted, thresholds))
    return found


def _explanation(
    text: _Occlusion,
    whole: NDArray[np.float32],
    without: NDArray[np.float32],
    at_level: LabelSet,
    wanted: list[int] | None,
    thresholds: NDArray[np.float64] | None,
) -> Explanation:
    """From the probabilities of the whole text (1, K) and of the text without each of its words (words, K)."""
    best = np.argsort(-whole[0], kind="stable").tolist()
    chosen = choose(whole, thresholds)[0]
    predicted = [k for k in best if chosen[k]]
    explained = [k for k in best if k in wanted] if wanted else predicted or best[:1]
    names = [at_level.names[k] for k in explained]
    contributions = (whole - without)[:, explained].tolist()
    return Explanation(
        text.text,
        tuple(Label(at_level.names[k], float(whole[0, k])) for k in explained),
        tuple(at_level.names[k] for k in predicted),
        tuple(
            Word(text.text[start:end], start, end, dict(zip(names, each, strict=True)))
            for (start, end), each in zip(text.spans, contributions, strict=True)
        ),
        text.together,
        len(text.windows.tokens),
    )


@dataclass(frozen=True)
class _Occlusion:
    """One text: its windows, where its words lie, and every window without every word in it."""

    text: str
    windows: Windows
    spans: list[tuple[int, int]]  # of each word, or of neighbouring words that go together, in characters
    shortened: list[Ids]  # windows without a word
    of_window: Indices  # which window each of these was
    of_word: Indices  # and which word it lacks
    together: int

    @classmethod
    def of(cls, predictor: Predictor, text: str) -> _Occlusion:
        ids, places = predictor.encoder.located(text)
        windows = cut(Tokens(ids, np.array([0, len(ids)])), predictor.room)
        words = _words(text, places)
        together = max(1, -(-len(words) // MOST_WORDS))
        groups = [words[i : i + together] for i in range(0, len(words), together)]
        shortened, pairs = [], []
        for number, group in enumerate(groups):
            held = [word.tokens for word in group if word.tokens[1] > word.tokens[0]]
            if not held:  # words that no token stands for, such as a zero-width space
                continue
            first, last = held[0][0], held[-1][1]
            for w, start in enumerate(windows.starts.tolist()):
                tokens = windows.tokens[w]
                if start < last and start + len(tokens) > first:
                    shortened.append(np.delete(tokens, slice(max(first - start, 0), last - start)))
                    pairs.append((w, number))
        of_window, of_word = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        spans = [(group[0].place[0], group[-1].place[1]) for group in groups]
        return cls(text, windows, spans, shortened, of_window, of_word, together)

    @property
    def size(self) -> int:
        """How many sequences it needs computed: its windows, then what they are without words."""
        return len(self.windows.tokens) + len(self.shortened)

    def sequences(self) -> list[Ids]:
        """These sequences."""
        whole = self.windows.tokens
        return [*(whole[w] for w in range(len(whole))), *self.shortened]

    def conclude(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities of the sequences (size, K) -> those of the text (1, K), and without each of its words (words, K)."""
        whole, shortened = np.split(values, [len(self.windows.tokens)])
        text = whole.mean(axis=0, keepdims=True)
        without = np.repeat(text, len(self.spans), axis=0)
        np.add.at(without, self.of_word, (shortened - whole[self.of_window]) / len(whole))
        return text, without


class _Place(NamedTuple):
    """A word's place in characters and in tokens."""

    place: tuple[int, int]
    tokens: tuple[int, int]


def _words(text: str, offsets: Indices) -> list[_Place]:
    """The words of a text and the tokens of each; words that share a token, such as [NAME]'s three, are one.

    offsets: where each token begins and ends in the text, (tokens, 2).
    """
    spans = np.array([match.span() for match in WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)
    first = np.searchsorted(spans[:, 1], offsets[:, 0], side="right")  # the first word ending after it begins
    last = np.searchsorted(spans[:, 0], offsets[:, 1], side="left") - 1  # the last beginning before it ends
    held = np.flatnonzero((first <= last) & (offsets[:, 0] < offsets[:, 1]))
    joined = np.zeros(len(spans), dtype=bool)  # to the word before
    for token in held[first[held] < last[held]]:
        joined[first[token] + 1 : last[token] + 1] = True
    word = np.cumsum(~joined) - 1
    tokens = word[first[held]]
    begins = np.flatnonzero(~joined)
    ends = np.append(begins, len(spans))[1:]
    found = []
    for number, (a, b) in enumerate(zip(begins, ends, strict=True)):
        own = held[np.searchsorted(tokens, number) : np.searchsorted(tokens, number, side="right")]
        places = (int(own[0]), int(own[-1]) + 1) if len(own) else (0, 0)
        found.append(_Place((int(spans[a, 0]), int(spans[b - 1, 1])), places))
    return found


def _groups(texts: Iterable[_Occlusion]) -> Iterator[list[_Occlusion]]:
    """Texts that are computed together."""
    group: list[_Occlusion] = []
    size = 0
    for text in texts:
        group.append(text)
        size += text.size
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _values(predictor: Predictor, group: list[_Occlusion]) -> NDArray[np.float32]:
    """Probabilities of all sequences of some texts."""
    sequences = [sequence for text in group for sequence in text.sequences()]
    offsets = offsets_of([len(sequence) for sequence in sequences])
    found: list[NDArray[np.float32]] = []
    block = predictor.block(Tokens(np.concatenate(sequences), offsets))
    predictor.compute([block], [PROBABILITIES], lambda whole: found.append(whole.values[0]))
    return found[0]
