"""Drawing: style, wrapping, boxes and arrows, and files of the same bytes every time. Imports atomic, errors; matplotlib when it draws."""

from __future__ import annotations

import html
import os
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from emodef import atomic
from emodef.errors import require

INK, SOFT, LINE, WASH = "#1d1f24", "#5a5f69", "#c9cbd0", "#f4f3f0"
# Okabe and Ito's colours, which stay apart for colour-blind eyes; lines differ in their marks too
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#AA4A88", "#56B4E9"
DPI = 160
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": [
        "DejaVu Sans",
        "Verdana",
        "Arial",
    ],  # the first comes with matplotlib: one layout on every machine
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e6",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.frameon": False,
    "figure.facecolor": "white",  # a page in the dark shows it as a sheet
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a text with $ in it is a text
    "svg.fonttype": "none",  # text stays text: it can be read, searched and copied
    "svg.hashsalt": "emodef",
    "path.simplify": False,
}
_FONTS = "font-family: 'DejaVu Sans', 'Verdana', 'Arial', sans-serif"
_TAG = re.compile("<(?:text|path|use|g|rect)[^<>]*>")  # in an SVG file's text, < and > are written otherwise
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Drawing:
    """A finished figure. name: of its files; alt: all it says, for who cannot see it; caption: what stands under it."""

    name: str
    title: str
    alt: str
    caption: str
    figure: Any

    def __post_init__(self) -> None:
        with style():  # laid out once: each further drawing would move things by a hair
            self.figure.draw_without_rendering()
            self.figure.set_layout_engine("none")

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write NAME.svg and NAME.png: the same bytes for the same drawing. Raises OSError where the folder cannot be written."""
        written = []
        for form, content in (("svg", self.svg().encode()), ("png", self.png())):
            path = Path(folder) / f"{self.name}.{form}"
            atomic.write_bytes(path, content)
            written.append(path)
        return written

    def svg(self) -> str:
        """The drawing as an SVG document that carries its description."""
        unset = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        text = self._rendered("svg", metadata={"Title": sound(self.title), **unset}).decode()
        text = _TAG.sub(lambda tag: _plain(tag.group()), text)
        label = html.escape(sound(" ".join(self.alt.split())), quote=True)
        return text.replace("<svg ", f'<svg role="img" aria-label="{label}" style="{_FONTS}" ', 1)

    def png(self) -> bytes:
        """The drawing as a PNG image."""
        return self._rendered("png", dpi=DPI, metadata={"Software": None})

    def markdown(self) -> str:
        """The figure as a Markdown page shows it: the image with its description, and the caption."""
        alt = " ".join(re.sub(r"[\[\]\\<`]", " ", sound(self.alt)).split())
        return f"![{alt}]({self.name}.svg)\n\n**{self.title}.** {self.caption}\n"

    def _rendered(self, form: str, **options: Any) -> bytes:
        buffer = BytesIO()
        with style():
            self.figure.savefig(buffer, format=form, bbox_inches="tight", pad_inches=0.08, **options)
        return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Inside, matplotlib draws in our style, whatever its user has set. Raises MissingExtraError where it is not installed."""
    looks = require("matplotlib.style", extra="train")
    with looks.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a rare letter: the SVG shows it
        yield


def new_figure(width: float, height: float, layout: str | None = "constrained") -> Any:
    """An empty figure; width and height in points."""
    figure: Any = require("matplotlib.figure", extra="train").Figure(
        figsize=(width / 72, height / 72), layout=layout
    )
    return figure


def sound(text: str) -> str:
    """Text that an XML file can hold: what it cannot is replaced."""
    return _UNPRINTABLE.sub("\ufffd", text)


def width_of(text: str, size: float, bold: bool = False) -> float:
    """Points that a line of text takes at a font size in points."""
    renderer, font = _measure(size, bold)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        return float(renderer.get_text_width_height_descent(sound(text), font, ismath=False)[0])


def wrap(text: str, width: float, size: float, *, bold: bool = False, lines: int | None = None) -> list[str]:
    """The text in lines no wider than `width` points; a longer word is cut, and with `lines` what does not fit becomes an ellipsis."""
    found: list[str] = []
    words = sound(text).split()
    line = ""
    while words:
        word = words.pop(0)
        joined = f"{line} {word}" if line else word
        if (
            len(joined) <= width and width_of(joined, size, bold) <= width
        ):  # hardly a letter is under a point wide
            line = joined
        elif line:
            found.append(line)
            line = ""
            words.insert(0, word)
        else:
            most = range(min(len(word), int(width) + 1))
            fits = max(1, bisect_right(most, width, key=lambda k: width_of(word[:k], size, bold)) - 1)
            found.append(word[:fits])
            if word[fits:]:
                words.insert(0, word[fits:])
    found = [*found, line] if line else found
    if lines is not None and len(found) > lines:
        last = found[lines - 1]
        while last and width_of(f"{last} …", size, bold) > width:
            last = last[:-1]
        found = [*found[: lines - 1], f"{last.rstrip()} …"]
    return found


class Sheet:
    """A blank sheet of `width` by `height` points, origin at the top left, y downwards, to put boxes, text and arrows on."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = new_figure(width, height, layout=None)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.axis("off")

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "white",
        edge: str = LINE,
        line: float = 1.0,
        radius: float = 5.0,
        dashed: bool = False,
    ) -> None:
        """A box with round corners, (x, y) its top left corner."""
        patches = require("matplotlib.patches", extra="train")
        rounded = f"round,pad=0,rounding_size={radius}"
        self.axes.add_patch(
            patches.FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle=rounded,
                facecolor=fill,
                edgecolor=edge,
                linewidth=line,
                linestyle=(0, (3, 2)) if dashed else "-",
            )
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9.0,
        bold: bool = False,
        italic: bool = False,
        colour: str = INK,
        align: str = "left",
    ) -> None:
        """One line of text; y is its middle."""
        self.axes.text(
            x,
            y,
            sound(text),
            fontsize=size,
            fontweight="bold" if bold else "normal",
            fontstyle="italic" if italic else "normal",
            color=colour,
            ha=align,
            va="center_baseline",
        )

    def paragraph(self, x: float, y: float, lines: list[str], *, size: float = 9.0, **options: Any) -> float:
        """Lines of text below each other, the first one's top at y; the y below the last."""
        step = leading(size)
        for number, line in enumerate(lines):
            self.text(x, y + step * (number + 0.5), line, size=size, **options)
        return y + step * len(lines)

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        *,
        colour: str = SOFT,
        bend: float = 0.0,
        dashed: bool = False,
    ) -> None:
        """An arrow from one point to another."""
        patches = require("matplotlib.patches", extra="train")
        self.axes.add_patch(
            patches.FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=8,
                color=colour,
                linewidth=1.1,
                linestyle=(0, (3, 2)) if dashed else "-",
                connectionstyle=f"arc3,rad={bend}",
                shrinkA=0,
                shrinkB=0,
            )
        )


def leading(size: float) -> float:
    """Points from one line to the next."""
    return 1.36 * size


def _plain(tag: str) -> str:
    """A tag without what only lengthens the file: the font, which the whole document has, turns by nothing, far decimals."""
    tag = tag.replace("\n", "").replace(f" {_FONTS};", "").replace(f"; {_FONTS}", "")
    tag = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", tag)
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number.group()):.2f}", tag)


@cache
def _measure(size: float, bold: bool) -> tuple[Any, Any]:
    agg = require("matplotlib.backends.backend_agg", extra="train")
    fonts = require("matplotlib.font_manager", extra="train")
    font = fonts.FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    return agg.RendererAgg(8, 8, 72), font  # at 72 dots an inch a dot is a point
