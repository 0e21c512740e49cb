"""The command line builds only what the command at hand needs, and can be interrupted while it does."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("package", ["onnxruntime", "typer"])
def test_interrupted_while_a_package_is_imported(tmp_path: Path, package: str) -> None:
    """Which takes that for a fault of its own, as onnxruntime does, or lets it pass."""
    (tmp_path / package).mkdir()
    fault = "except KeyboardInterrupt:\n    raise ImportError('initialization failed')\n"
    (tmp_path / package / "__init__.py").write_text(
        "import signal\n"
        f"try:\n    signal.raise_signal(signal.SIGINT)\n{fault if package == 'onnxruntime' else 'finally: pass'}"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-m", "emodef", "predict", "why?"]
    run = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        stdin=None,
    )
    assert (run.returncode, run.stderr) == (130, "error: interrupted\n")
