"""The command line: each command parses, calls one function, prints. Imports typer; everything heavy only inside commands."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (by default the process's own), and exit."""
    from emodef.cli.app import app

    app(args=None if arguments is None else list(arguments), prog_name="emodef")
