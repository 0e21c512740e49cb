"""Reporting: results -> tables -> terminal, Markdown, LaTeX, CSV, JSON. The only package that formats numbers. Imports its modules.

`tables` says which columns and rows; `render` how a table looks.
"""

from emodef.reporting.render import (
    RENDERERS,
    Cell,
    Column,
    Marked,
    Provenance,
    Table,
    format_cell,
    format_duration,
    print_table,
    render,
    result_page,
    write_result,
)
from emodef.reporting.tables import (
    comparison_table,
    disagreement_table,
    label_gains_table,
    labels_table,
    levels_table,
    pairs_table,
    summary_table,
    table4,
)

__all__ = [
    "RENDERERS",
    "Cell",
    "Column",
    "Marked",
    "Provenance",
    "Table",
    "comparison_table",
    "disagreement_table",
    "format_cell",
    "format_duration",
    "label_gains_table",
    "labels_table",
    "levels_table",
    "pairs_table",
    "print_table",
    "render",
    "result_page",
    "summary_table",
    "table4",
    "write_result",
]
