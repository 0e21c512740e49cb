"""The paper's published figures, as data, to stand beside ours. Imports only the standard library.

Source: Singh, Brahma, Rai, Modi, "Fine-Grained Emotion Prediction by Modeling Emotion Definitions", ACII 2021 (arXiv 2107.12135),
Tables II, III and IV, as printed there: percentages on the GoEmotions splits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper: `rows` row name -> one percentage a column, None where the paper has none.

    macro_average, std: the last two lines of Table IV, one value a column; empty for the others.
    """

    columns: tuple[str, ...]
    rows: dict[str, tuple[float | None, ...]]
    macro_average: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def value(self, row: str, column: str) -> float | None:
        """One printed percentage. Raises KeyError for a row or column the table does not have."""
        if column not in self.columns:
            raise KeyError(column)
        return self.rows[row][self.columns.index(column)]


def table(number: int) -> PaperTable:
    """Table II, III or IV of the paper, by number: 2 backbones and setups, 3 the sweep over p, 4 each emotion's F1.

    Raises KeyError for another number.
    """
    content = _content()[f"table{number}"]
    return PaperTable(
        columns=tuple(content["columns"]),
        rows={name: tuple(values) for name, values in content["rows"].items()},
        macro_average=tuple(content.get("macro_average", ())),
        std=tuple(content.get("std", ())),
    )


def source() -> str:
    """The citation of the paper."""
    return str(_content()["source"])


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        resources.files("emodef").joinpath("published.json").read_text("utf-8")
    )
    return content
