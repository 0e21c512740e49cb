"""Cells of a table by row and column."""

from __future__ import annotations

from typing import Any

from emodef.bootstrap import Estimate
from emodef.reporting import Table


def by_row(table: Table, key: int = 0) -> dict[Any, dict[str, Any]]:
    titles = [column.title for column in table.columns]
    return {row[key]: dict(zip(titles, row, strict=True)) for row in table.rows}


def value(cell: Any) -> float:
    assert isinstance(cell, Estimate)
    return cell.value
