"""Text or (text, definition) to token ids: encoded once, kept flat, padded only within a batch. Imports numpy, tokenizers, emoji.

Nothing here knows an architecture: where special tokens and segments go is read off the tokenizer's own output for a probe pair, so
`[CLS] a [SEP] b [SEP]`, `<s> a </s></s> b </s>` and XLNet's `a <sep> b <sep> <cls>` are all built as their tokenizer builds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from emodef.emoji import emoji_words, rewrite
from emodef.errors import DataError

Ids = NDArray[np.int32]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Tokens:
    """Token ids of n texts without special tokens: one flat array, text i at `flat[offsets[i]:offsets[i + 1]]`."""

    flat: Ids
    offsets: Indices  # (n + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Ids:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> Indices:
        """Tokens per text, (n,)."""
        return np.diff(self.offsets)


def offsets_of(lengths: Sequence[int] | Indices) -> Indices:
    """Where each of n texts begins that stand behind one another, and the end of the last, (n + 1,)."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


@dataclass(frozen=True)
class Padded:
    """One batch: all arrays (batch, length). `special` marks special tokens and padding, which are never masked for MLM."""

    input_ids: Indices
    attention_mask: Indices
    segments: Indices
    special: NDArray[np.bool_]

    def rows(self, chosen: slice) -> Padded:
        """The same batch cut to some of its rows (a process's share)."""
        return Padded(
            self.input_ids[chosen], self.attention_mask[chosen], self.segments[chosen], self.special[chosen]
        )


@dataclass(frozen=True)
class _Template:
    """Special tokens before, between and after the sequences, and the segment of every part."""

    specials: tuple[Ids, ...]
    special_segments: tuple[Indices, ...]
    sequence_segments: tuple[int, ...]

    @property
    def size(self) -> int:
        return sum(len(part) for part in self.specials)


class Encoder:
    """Builds batches for one tokenizer.

    `left` pads on the left (XLNet); `pad_id` and `pad_segment` fill the padding. `emoji`: it reads emoji as words
    (`emodef.emoji`). The tokenizer is copied, because ours never truncates or pads; `copy=False` changes the one given, which
    saves the copy's time.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        pad_id: int,
        left: bool = False,
        pad_segment: int = 0,
        emoji: bool = False,
        copy: bool = True,
    ) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str()) if copy else tokenizer
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.pad_id, self.left, self.pad_segment, self.emoji = pad_id, left, pad_segment, emoji
        self._single = _template(self.tokenizer, pair=False)
        self._pair = _template(self.tokenizer, pair=True)

    @property
    def single_overhead(self) -> int:
        """Special tokens a lone text gets."""
        return self._single.size

    @property
    def pair_overhead(self) -> int:
        """Special tokens a (text, definition) pair gets."""
        return self._pair.size

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids of each text, without special tokens or truncation. Raises DataError naming what is no text."""
        check_texts(texts)
        given = [emoji_words(text) for text in texts] if self.emoji else list(texts)
        ids = [e.ids for e in self.tokenizer.encode_batch_fast(given, add_special_tokens=False)]
        offsets = offsets_of([len(i) for i in ids])
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(offsets[-1]))
        return Tokens(flat, offsets)

    def located(self, text: str) -> tuple[Ids, Indices]:
        """Token ids of a text, as `tokenize` gives them, and where in the text each begins and ends, (tokens, 2)."""
        read = rewrite(text) if self.emoji else None
        found = self.tokenizer.encode(text if read is None else read.text, add_special_tokens=False)
        places = found.offsets if read is None else [read.place(*place) for place in found.offsets]
        return np.array(found.ids, dtype=np.int32), np.array(places, dtype=np.int64).reshape(-1, 2)

    def texts(
        self, tokens: Tokens, chosen: Sequence[int] | Indices, max_length: int, *, multiple: int = 1
    ) -> Padded:
        """A padded batch of lone texts, each cut to `max_length` tokens, special tokens included.

        Its length is the longest one's, or, within `max_length`, the next that is a multiple of `multiple`: then batches have few shapes.
        """
        room = max_length - self._single.size
        return self._pad(self._single, [(tokens[int(i)][:room],) for i in chosen], multiple, max_length)

    def pairs(
        self,
        tokens: Tokens,
        chosen: Sequence[int] | Indices,
        definitions: Tokens,
        labels: Sequence[int] | Indices,
        max_length: int,
        *,
        multiple: int = 1,
    ) -> Padded:
        """A padded batch of (text, definition) pairs; where a pair exceeds `max_length`, its text is cut, not its definition.

        multiple: as for `texts`.
        """
        rows: list[tuple[Ids, ...]] = []
        for text, label in zip(chosen, labels, strict=True):
            definition = definitions[int(label)][: max_length - self._pair.size]
            room = max_length - self._pair.size - len(definition)
            rows.append((tokens[int(text)][:room], definition))
        return self._pad(self._pair, rows, multiple, max_length)

    def _pad(
        self, template: _Template, rows: list[tuple[Ids, ...]], multiple: int, max_length: int
    ) -> Padded:
        lengths = np.array([template.size + sum(map(len, row)) for row in rows], dtype=np.int64)
        longest = int(lengths.max(initial=0))
        shape = (len(rows), max(longest, min(-(-longest // multiple) * multiple, max_length)))
        ids = np.full(shape, self.pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        segments = np.full(shape, self.pad_segment, dtype=np.int64)
        special = np.ones(shape, dtype=np.bool_)
        for r, row in enumerate(rows):
            at = shape[1] - int(lengths[r]) if self.left else 0
            mask[r, at : at + lengths[r]] = 1
            for part, specials in enumerate(template.specials):
                end = at + len(specials)
                ids[r, at:end] = specials
                segments[r, at:end] = template.special_segments[part]
                at = end
                if part < len(row):
                    end = at + len(row[part])
                    ids[r, at:end] = row[part]
                    segments[r, at:end] = template.sequence_segments[part]
                    special[r, at:end] = False
                    at = end
        return Padded(ids, mask, segments, special)


def check_texts(texts: Sequence[str]) -> None:
    """Raise DataError, naming the first that is none by its number, where not all are texts that can be encoded."""
    if isinstance(texts, str):
        raise DataError(f"one text where a list of texts is expected: give [{texts[:20]!r}…]")
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except (AttributeError, UnicodeEncodeError):
            kind = (
                "broken Unicode (half of a surrogate pair)" if isinstance(text, str) else type(text).__name__
            )
            raise DataError(
                f"text {number} of {len(texts)} is {kind}, not a text: {text!r:.40}; correct or remove it"
            ) from None


def _template(tokenizer: Tokenizer, *, pair: bool) -> _Template:
    probe = tokenizer.encode("a", "b") if pair else tokenizer.encode("a")
    specials: list[list[int]] = [[]]
    special_segments: list[list[int]] = [[]]
    sequence_segments: list[int] = []
    previous: int | None = None
    for token, segment, sequence, is_special in zip(
        probe.ids, probe.type_ids, probe.sequence_ids, probe.special_tokens_mask, strict=True
    ):
        if is_special or sequence is None:
            specials[-1].append(token)
            special_segments[-1].append(segment)
        elif sequence != previous:
            sequence_segments.append(segment)
            specials.append([])
            special_segments.append([])
            previous = sequence
    return _Template(
        tuple(np.array(s, dtype=np.int32) for s in specials),
        tuple(np.array(s, dtype=np.int64) for s in special_segments),
        tuple(sequence_segments),
    )


def budget_batches(lengths: Indices, token_budget: int) -> Iterator[Indices]:
    """Length-sorted batches (longest first) whose padded size stays within `token_budget`; a longer text gets a batch of its own."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, token_budget // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size
