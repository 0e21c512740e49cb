"""Predictions as a page to look at: one HTML file, drawn from counts that were gathered a row at a time. Imports its modules.

`reading` takes a predictions file apart, `summary` counts, `content` arranges, `html` writes.
"""

from emodef.reporting.page.content import page_content, timeline_notes
from emodef.reporting.page.html import is_page, render_page, write_page
from emodef.reporting.page.reading import Predictions, open_predictions
from emodef.reporting.page.summary import Prediction, Summary, shipped_sets

__all__ = [
    "Prediction",
    "Predictions",
    "Summary",
    "is_page",
    "open_predictions",
    "page_content",
    "render_page",
    "shipped_sets",
    "timeline_notes",
    "write_page",
]
