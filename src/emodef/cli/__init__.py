"""The command line: each command parses, calls one function, prints. Imports typer; everything heavy only inside commands."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (by default the process's own), and exit."""
    try:
        from emodef.cli.app import build

        _open_streams()
        given = list(sys.argv[1:] if arguments is None else arguments)
        commands = build(given[0] if given else None)
    except KeyboardInterrupt:  # before there is a command that would say so
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)
    commands(args=given, prog_name="emodef")


def _open_streams() -> None:
    """A stream that was closed (`>&-`, some services) is an empty one; what a terminal's encoding has no letter for is a question mark."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")
