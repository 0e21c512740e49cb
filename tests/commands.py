"""Running the command line in a test."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from emodef.cli.app import app


def emodef_command(*arguments: object, code: int = 0, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result
