"""Emoji as the words Unicode names them by, for encoders whose vocabulary has none. Imports the standard library only.

Written for English vocabularies: 😂 becomes "face with tears of joy". A run of one emoji is named once; skin tones, variation selectors,
joiners and the signs of gender behind one are left out. Emoji newer than Python's Unicode tables stay as they are, so that an emoji may be
words on one machine and a sign on another: Python 3.11 knows Unicode 14.0, 3.12 15.0, 3.13 15.1, 3.14 16.0. Names once given do not change.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_JOINER = "\u200d"
_PICTURE = (
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff\u231a-\u23ff\u2600-\u27bf\u2b05-\u2bff"
)
_DROPPED = "\U0001f3fb-\U0001f3ff\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f"  # tones, selectors, keycap, tags
_LETTER = "[\U0001f1e6-\U0001f1ff]"  # of a flag's country
_ONE = f"[{_PICTURE}][{_DROPPED}]*(?:{_JOINER}[{_PICTURE}][{_DROPPED}]*)*"
_FOUND = re.compile(f"(?P<one>{_ONE})(?:\\s*(?P=one))*|(?P<flag>{_LETTER}{{2}})|[{_DROPPED}{_JOINER}]+")
_GENDER = "♀♂"
# what these say of how a sign is drawn is nothing about what it means: ❤ is HEAVY BLACK HEART
_DRAWING = frozenset({"black", "white", "heavy", "sign", "symbol", "ornament"})
_OLD = 0x1F000  # where the signs end that are named by how they are drawn


@dataclass(frozen=True)
class Rewritten:
    """A text with words for its emoji, and which characters of the original each of its characters stands for."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where in the original the characters [start, end) of `text` stand."""
        if start >= end:
            return (start and self.ends[start - 1],) * 2
        return self.starts[start], self.ends[end - 1]


def emoji_words(text: str) -> str:
    """The text with words for its emoji."""
    return text if text.isascii() else _FOUND.sub(_words, text)


def rewrite(text: str) -> Rewritten:
    """The same, with the places in the original."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []

    def keep(first: int, last: int) -> None:
        parts.append(text[first:last])
        starts.extend(range(first, last))
        ends.extend(range(first + 1, last + 1))

    at = 0
    for match in _FOUND.finditer(text):
        keep(at, match.start())
        words, at = _words(match), match.end()
        parts.append(words)
        starts.extend([match.start()] * len(words))
        ends.extend([at] * len(words))
    keep(at, len(text))
    return Rewritten("".join(parts), starts, ends)


def _words(match: re.Match[str]) -> str:
    """What stands for a match: words between spaces, so that they join nothing; nothing for a sign that only changes another."""
    if match["flag"]:
        return " flag "
    if not match["one"]:
        return ""
    named = [_name(sign) for sign in match["one"] if sign not in _GENDER or len(match["one"]) == 1]
    words = " ".join(name for name in named if name)
    return f" {words} " if words else match[0]


def _name(sign: str) -> str:
    """The words of a sign; none for what only changes another."""
    if sign == _JOINER or re.match(f"[{_DROPPED}]", sign):
        return ""
    words = unicodedata.name(sign, "").lower().split()
    if ord(sign) < _OLD:
        words = [word for word in words if word not in _DRAWING] or words
    return " ".join(words).replace("-", " ")
