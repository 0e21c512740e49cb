"""Figure 1: what the auxiliary corpus makes of one text, drawn from the pairs themselves. Imports pairs, corpora, canvas."""

from __future__ import annotations

from dataclasses import dataclass

from emodef.corpora import Corpus
from emodef.errors import DataError
from emodef.pairs import definition_pairs
from emodef.paper.figures.canvas import (
    BLUE,
    INK,
    LINE,
    SOFT,
    VERMILION,
    WASH,
    Drawing,
    Sheet,
    leading,
    style,
    wrap,
)
from emodef.paper.table1 import PAIR

_EDGE, _GAP, _APART = 8.0, 30.0, 14.0
_OWN, _CARD, _PAD = 172.0, 190.0, 11.0
_SIZE, _SMALL = 9.0, 7.5


@dataclass(frozen=True)
class TextPair:
    """One pair of the auxiliary corpus: the label whose definition stands with the text, and whether the text has that label."""

    label: str
    definition: str
    is_definition: bool


@dataclass(frozen=True)
class Instance:
    """A text of the primary corpus with its labels, and its pairs: for each label the positive one, then the negative one."""

    text: str
    labels: tuple[str, ...]
    pairs: tuple[tuple[TextPair, TextPair | None], ...]


def instance(corpus: Corpus, text_id: str, *, seed: int = 42, epoch: int = 0) -> Instance:
    """The text with this id and the pairs that `definition_pairs` makes of it in the whole corpus.

    Raises DataError where there is no such text.
    """
    if text_id not in corpus.ids:
        raise DataError(f"{corpus.name} {corpus.split} has no text with the id {text_id!r}; give one it has")
    row = corpus.ids.index(text_id)
    made = definition_pairs(corpus.labels, seed, epoch)
    names, definitions = corpus.label_set.names, corpus.label_set.definitions
    found = [
        TextPair(names[k], definitions[k], bool(positive))
        for text, k, positive in zip(made.text, made.label, made.is_definition, strict=True)
        if text == row
    ]
    positive = [pair for pair in found if pair.is_definition]
    negative: list[TextPair | None] = [pair for pair in found if not pair.is_definition]
    negative += [None] * (len(positive) - len(negative))  # a text that has every label gets none
    return Instance(
        corpus.texts[row], tuple(pair.label for pair in positive), tuple(zip(positive, negative, strict=True))
    )


def draw_pairs(found: Instance, *, seed: int = 42) -> Drawing:
    """Figure 1: the text at the left, a row of two pairs for each of its labels at the right."""
    with style():
        cards = [[_card(found.text, pair) for pair in row if pair is not None] for row in found.pairs]
        heights = [max(_height(card) for card in row) for row in cards] or [0.0]
        own = [
            ("Text", wrap(found.text, _OWN - 2 * _PAD, _SIZE), INK),
            (_labels(found), list(found.labels), INK),
        ]
        own_height = _height(own)
        top = 26.0
        body = max(sum(heights) + _APART * (len(heights) - 1), own_height)
        sheet = Sheet(2 * _EDGE + _OWN + _GAP + 2 * _CARD + _APART, top + body + _EDGE)
        sheet.text(_EDGE, 12, "Primary corpus", size=_SMALL, colour=SOFT, bold=True)
        left = _EDGE + _OWN + _GAP
        sheet.text(left, 12, "Auxiliary corpus", size=_SMALL, colour=SOFT, bold=True)
        middle = top + body / 2
        _draw_card(sheet, _EDGE, middle - own_height / 2, _OWN, own_height, own, LINE, WASH)
        y = top
        for row, height in zip(cards, heights, strict=True):
            sheet.arrow((_EDGE + _OWN + 3, middle), (left - 3, y + height / 2))
            for number, card in enumerate(row):
                x = left + number * (_CARD + _APART)
                _draw_card(sheet, x, y, _CARD, height, card, card[-1][2], "white")
            y += height + _APART
    return Drawing(
        "figure1", "From one text to the auxiliary corpus", _alt(found), _caption(found, seed), sheet.figure
    )


_Section = tuple[str, list[str], str]  # what it is, its lines, their colour


def _labels(found: Instance) -> str:
    return "Emotion label" if len(found.labels) == 1 else "Emotion labels"


def _card(text: str, pair: TextPair) -> list[_Section]:
    room = _CARD - 2 * _PAD
    return [
        ("Text", wrap(text, room, _SIZE), INK),
        (f"Definition of {pair.label}", wrap(pair.definition, room, _SIZE), INK),
        ("Label", [PAIR[pair.is_definition]], BLUE if pair.is_definition else VERMILION),
    ]


def _height(card: list[_Section]) -> float:
    return (
        2 * _PAD
        + sum(leading(_SMALL) + leading(_SIZE) * len(lines) for _, lines, _ in card)
        + 6 * (len(card) - 1)
    )


def _draw_card(
    sheet: Sheet, x: float, y: float, width: float, height: float, card: list[_Section], edge: str, fill: str
) -> None:
    sheet.box(x, y, width, height, edge=edge, fill=fill, line=1.2)
    at = y + _PAD
    for number, (name, lines, colour) in enumerate(card):
        if number == len(card) - 1:  # stands at the bottom, also of a shorter card
            at += height - _height(card)
        at = sheet.paragraph(x + _PAD, at, [name], size=_SMALL, colour=SOFT)
        at = sheet.paragraph(x + _PAD, at, lines, size=_SIZE, colour=colour, bold=colour != INK) + 6


def _alt(found: Instance) -> str:
    pairs = [pair for row in found.pairs for pair in row if pair is not None]
    told = [f"A text, “{found.text}”, labelled {' and '.join(found.labels)}, becomes {len(pairs)} pairs"]
    for pair in pairs:
        kind = PAIR[pair.is_definition]
        told.append(f"with the definition of {pair.label}, “{pair.definition}”: {kind}")
    return "; ".join(told) + "."


def _caption(found: Instance, seed: int) -> str:
    return (
        "Each label of a text gives two pairs: the text with that label’s definition, and the text with the definition of a label it "
        f"does not have, drawn anew each epoch (here: seed {seed}, the first epoch)."
    )
