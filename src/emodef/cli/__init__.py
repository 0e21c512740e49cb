"""The command line: each command parses, calls one function, prints. Imports typer; everything heavy only inside commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (by default the process's own), and exit."""
    from emodef.cli.app import build

    given = list(sys.argv[1:] if arguments is None else arguments)
    build(given[0] if given else None)(args=given, prog_name="emodef")
