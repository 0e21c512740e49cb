"""Table V as a page to look through: where a model disagrees with the annotators, one HTML file. Imports its modules.

`content` counts and arranges, `html` writes.
"""

from emodef.paper.errors_page.content import errors_content
from emodef.paper.errors_page.html import render_errors_page, write_errors_page

__all__ = ["errors_content", "render_errors_page", "write_errors_page"]
