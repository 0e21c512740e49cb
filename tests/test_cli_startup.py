"""The command line builds only what the command at hand needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from emodef.cli.app import MODULES, app, build


def names(tree: typer.Typer) -> list[str]:
    return list(typer.main.get_group(tree).commands)


def test_the_table_names_every_command() -> None:
    assert names(app) == list(MODULES)
    assert names(build("no such command")) == list(MODULES)


@pytest.mark.parametrize("command", MODULES)
def test_one_command_alone(command: str) -> None:
    assert names(build(command)) == [name for name, module in MODULES.items() if module == MODULES[command]]


def test_predicting_imports_no_other_command(tiny_light: Path) -> None:
    code = (
        "import sys; from emodef.cli import main\n"
        "try: main(['predict', '--model', sys.argv[1], 'why?'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted(name for name in sys.modules if name.startswith('emodef.cli.')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tiny_light)], capture_output=True, text=True, check=False, stdin=None
    )
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.splitlines()[-1]
    assert "emodef.cli.predicting" in loaded
    for other in set(MODULES.values()) - {"predicting"}:
        assert f"'emodef.cli.{other}'" not in loaded
