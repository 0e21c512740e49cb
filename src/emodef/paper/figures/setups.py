"""Figure 2: the shared encoder and the heads of each setup, drawn from models that were really built. Imports architecture, canvas."""

from __future__ import annotations

from collections.abc import Sequence

from emodef.paper.figures.architecture import AUXILIARY, LOSSES, Architecture, Input, Part
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
    width_of,
    wrap,
)

_PANEL, _GAP, _EDGE, _PAD = 300.0, 18.0, 8.0, 10.0
_SIZE, _SMALL = 8.0, 7.0
_PALE = {BLUE: "#e6f1f8", VERMILION: "#fbeae0", SOFT: WASH}
_TITLES = {
    "emotion": "emotion head",
    "match": "matching head",
    "cdp": "definition head",
    "mlm": "masked words head",
}
_GUIDE = 44.0  # height of the colours' key
_SHORT = 4  # tokens of a text or a definition that are shown


def draw_setups(models: Sequence[Architecture]) -> Drawing:
    """Figure 2: a panel for each model, two beside each other, inputs below and losses above."""
    with style():
        columns = min(2, len(models))
        rows = [models[k : k + columns] for k in range(0, len(models), columns)]
        heights = [max(_Panel(model).height for model in row) for row in rows]
        width = 2 * _EDGE + columns * _PANEL + (columns - 1) * _GAP
        sheet = Sheet(width, _GUIDE + sum(heights) + _GAP * (len(rows) - 1) + _EDGE)
        _draw_key(sheet, models[0])
        y = _GUIDE
        for row, height in zip(rows, heights, strict=True):
            for number, model in enumerate(row):
                _Panel(model).draw(sheet, _EDGE + number * (_PANEL + _GAP), y, height)
            y += height + _GAP
    titles = " and ".join(dict.fromkeys(model.backbone for model in models))
    return Drawing(
        "figure2", f"Shared encoder and heads: {titles}", _alt(models), _caption(models), sheet.figure
    )


def _colour(task: str) -> str:
    return VERMILION if task in AUXILIARY else BLUE


def _draw_key(sheet: Sheet, model: Architecture) -> None:
    x = _EDGE
    key = (
        (BLUE, "emotion prediction (primary task)"),
        (VERMILION, "definitions (auxiliary tasks)"),
        (SOFT, "shared by both"),
    )
    for colour, words in key:
        sheet.box(x, 6, 11, 11, fill=_PALE[colour], edge=colour, radius=2)
        sheet.text(x + 16, 12, words, size=_SIZE)
        x += 16 + width_of(words, _SIZE) + 20
    told = f"With auxiliary tasks, each step is a primary one with probability p = {model.p:g}, else an auxiliary one."
    sheet.text(_EDGE, 29, told, size=_SIZE, colour=SOFT)


class _Panel:
    """One model: what is drawn, from top to bottom, and how high it is."""

    def __init__(self, model: Architecture) -> None:
        self.model = model
        number = len(model.heads)
        self.head_width = (_PANEL - 2 * _PAD - 8 * (number - 1)) / number
        self.heads = {task: self._lines(task, part) for task, part in model.heads.items()}
        self.head_height = 12 + max(
            sum(leading(size) for _, size, _ in lines) for lines in self.heads.values()
        )
        self.encoder_height = 12 + leading(_SIZE) + leading(_SMALL) * (1 + len(model.blocks))
        self.outputs_height = 18.0 + (leading(_SMALL) if model.projection else 0)
        self.input_height = 26 + leading(_SMALL)
        self.height = (
            26 + 16 + 12 + self.head_height + 24 + self.outputs_height + 14 + self.encoder_height + 16
            + len(model.inputs) * self.input_height + _PAD / 2
        )  # fmt: skip

    def _lines(self, task: str, part: Part) -> list[tuple[str, float, bool]]:
        """(line, size, whether it is the title) of a head's box."""
        room = self.head_width - 12
        found = [(line, _SIZE, True) for line in wrap(_TITLES[task], room, _SIZE, bold=True)]
        if part.kind not in [layer.kind for layer in part.layers]:
            found += [(line, _SMALL, False) for line in wrap(part.kind, room, _SMALL)]
        for layer in part.layers:
            found += [(line, _SMALL, False) for line in wrap(str(layer), room, _SMALL)]
        found += [(line, _SMALL, False) for line in wrap(_count(part.parameters), room, _SMALL)]
        return found

    def draw(self, sheet: Sheet, x: float, y: float, height: float) -> None:
        """Put the panel on the sheet, (x, y) its top left corner."""
        model = self.model
        sheet.box(x, y, _PANEL, height, edge=LINE, line=0.8, radius=7)
        sheet.text(x + _PAD, y + 15, _setup_title(model.setup), size=10, bold=True)
        sheet.text(
            x + _PANEL - _PAD, y + 15, _count(model.parameters), size=_SMALL, colour=SOFT, align="right"
        )
        top = y + 26 + (height - self.height) / 2
        losses, heads = top + 8, top + 16 + 12
        outputs = heads + self.head_height + 24
        encoder = outputs + self.outputs_height + 14
        inputs = encoder + self.encoder_height + 16
        pooled = (x + _PAD, (_PANEL - 2 * _PAD - 8) / 2)
        tokens = (pooled[0] + pooled[1] + 8, pooled[1])
        self._draw_outputs(sheet, outputs, pooled, tokens)
        for number, (task, lines) in enumerate(self.heads.items()):
            at = x + _PAD + number * (self.head_width + 8)
            colour = _colour(task)
            middle = at + self.head_width / 2
            sheet.box(at, heads, self.head_width, self.head_height, fill=_PALE[colour], edge=colour)
            self._draw_lines(sheet, middle, heads + 6, lines)
            for place, line in enumerate(wrap(LOSSES[task], self.head_width, _SMALL)[:2]):
                sheet.text(middle, losses + 8.5 * place - 3, line, size=_SMALL, colour=colour, align="center")
            sheet.arrow((middle, heads - 1), (middle, heads - 10), colour=colour)
            by_token = task == "mlm" or (task == "match" and model.pooling != "mean")
            source = tokens if by_token else pooled
            start = min(max(middle, source[0] + 12), source[0] + source[1] - 12)
            sheet.arrow((start, outputs - 1), (middle, heads + self.head_height + 1), colour=colour)
        for box in (pooled, tokens):
            middle = box[0] + box[1] / 2
            sheet.arrow((middle, encoder - 1), (middle, outputs + self.outputs_height + 1))
        self._draw_encoder(sheet, x + _PAD, encoder)
        sheet.arrow((x + _PANEL / 2, inputs - 3), (x + _PANEL / 2, encoder + self.encoder_height + 1))
        for number, each in enumerate(model.inputs):
            _draw_input(sheet, x + _PAD, inputs + number * self.input_height, each)

    def _draw_lines(
        self, sheet: Sheet, middle: float, y: float, lines: list[tuple[str, float, bool]]
    ) -> None:
        for line, size, title in lines:
            sheet.text(middle, y + leading(size) / 2, line, size=size, bold=title, align="center", colour=INK)
            y += leading(size)

    def _draw_outputs(
        self, sheet: Sheet, y: float, pooled: tuple[float, float], tokens: tuple[float, float]
    ) -> None:
        model = self.model
        made = "mean of the tokens" if model.pooling == "mean" else "pooled"
        for (x, width), words in (
            (pooled, f"{made}: {model.hidden}"),
            (tokens, f"token vectors: {model.hidden} each"),
        ):
            sheet.box(x, y, width, self.outputs_height, fill="white", edge=SOFT, radius=3)
            sheet.text(x + width / 2, y + 9, words, size=_SMALL, align="center")
        if model.projection:
            words = f"{', '.join(map(str, model.projection.layers))}: {model.projection.parameters:,}"
            sheet.text(
                pooled[0] + pooled[1] / 2,
                y + 9 + leading(_SMALL),
                words,
                size=_SMALL,
                colour=SOFT,
                align="center",
            )

    def _draw_encoder(self, sheet: Sheet, x: float, y: float) -> None:
        model, width = self.model, _PANEL - 2 * _PAD
        sheet.box(x, y, width, self.encoder_height, fill=WASH, edge=SOFT, line=1.2)
        sheet.text(
            x + width / 2,
            y + 6 + leading(_SIZE) / 2,
            f"{model.encoder.kind} ({model.backbone})",
            size=_SIZE,
            bold=True,
            align="center",
        )
        lines = [
            _count(model.encoder.parameters),
            *(f"{part.name}: {part.kind}, {part.parameters:,}" for part in reversed(model.blocks)),
        ]
        for number, line in enumerate(lines):
            at = y + 6 + leading(_SIZE) + leading(_SMALL) * (number + 0.5)
            sheet.text(x + width / 2, at, line, size=_SMALL, align="center", colour=INK if number else SOFT)


def _draw_input(sheet: Sheet, x: float, y: float, given: Input) -> None:
    """The tokens in a row of boxes, long stretches shortened."""
    sheet.text(
        x, y + leading(_SMALL) / 2, given.title, size=_SMALL, colour=VERMILION if given.auxiliary else BLUE
    )
    y += leading(_SMALL) + 2
    room = _PANEL - 2 * _PAD
    shown = _shorten(given)
    widths = [width_of(token, _SMALL) + 5 for token, _ in shown]
    squeeze = min(2.5, (room - sum(widths)) / max(1, len(shown) - 1))
    for (token, source), width in zip(shown, widths, strict=True):
        if token == "…":
            sheet.text(x + width / 2, y + 7, token, size=_SMALL, colour=SOFT, align="center")
        else:
            edge = VERMILION if source == 1 and given.auxiliary else BLUE if source == 1 else SOFT
            sheet.box(
                x,
                y,
                width,
                14,
                fill=_PALE[edge] if source is not None else "white",
                edge=edge,
                line=0.7,
                radius=2,
            )
            sheet.text(x + width / 2, y + 7, token, size=_SMALL, align="center")
        x += width + squeeze


def _shorten(given: Input) -> list[tuple[str, int | None]]:
    """Tokens to show: of each stretch of one source the first few and the last, as many as there is room for."""
    for most in range(_SHORT, 0, -1):
        found: list[tuple[str, int | None]] = []
        start = 0
        pairs = list(zip(given.tokens, given.sources, strict=True))
        while start < len(pairs):
            end = start
            while end < len(pairs) and pairs[end][1] == pairs[start][1]:
                end += 1
            stretch = pairs[start:end]
            if stretch[0][1] is not None and len(stretch) > most + 2:
                stretch = [*stretch[:most], ("…", stretch[0][1]), stretch[-1]]
            found += stretch
            start = end
        if sum(width_of(token, _SMALL) + 6 for token, _ in found) <= _PANEL - 2 * _PAD:
            return found
    return found


def _setup_title(setup: str) -> str:
    return {"none": "Emotion only", "match": "Matching (ours)"}.get(setup, setup.upper())


def _count(number: int) -> str:
    return f"{number:,} parameters"


def _alt(models: Sequence[Architecture]) -> str:
    told = []
    for model in models:
        heads = "; ".join(
            f"{_TITLES[task]}, {', '.join(map(str, part.layers))}, {part.parameters:,} parameters, {LOSSES[task]}"
            for task, part in model.heads.items()
        )
        encoder = f"a {model.encoder.kind} of {model.encoder.parameters:,} parameters"
        told.append(f"{_setup_title(model.setup)}: {model.backbone}, {encoder}, shared by: {heads}")
    return ". ".join(told) + "."


def _caption(models: Sequence[Architecture]) -> str:
    caption = (
        "All tasks share the encoder. Modules, shapes and parameter counts are read off the models; weights that a head shares with "
        "the encoder are counted in the encoder."
    )
    if any("mlm" in model.heads for model in models):
        caption += (
            " MLM alone sees pairs of a text with its own definitions only; beside CDP it sees all pairs, and the two losses "
            "are added."
        )
    return caption
