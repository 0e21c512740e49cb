"""What the README says works: its quickstart, its commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from commands import emodef_command

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_s_quickstart_runs(
    tiny_bert_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its very lines, with a tiny encoder and one epoch in place of the demo's minutes."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    tiny = f'load_recipe("demo", {{"backbone": {str(tiny_bert_dir)!r}, "epochs": 1, "setup": "none"}})'
    changes = {
        'load_recipe("demo")': tiny,
        '"examples/sample"': repr(str(README.parent / "examples" / "sample")),
        '"runs/python"': repr(str(tmp_path / "run")),
    }
    for before, after in changes.items():
        assert before in code
        code = code.replace(before, after)
    names: dict[str, object] = {}
    exec(code, names)
    assert "Estimate" in capsys.readouterr().out
    assert names["report"].texts == 140


def test_the_readme_s_commands_exist() -> None:
    """Every emodef command line in the README has a command and options that are there."""
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        line
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.S)
        for line in block.splitlines()
    ]
    commands = [found[1] for line in lines if (found := re.search(r"(?:^|\| |\$ )emodef ([^|#]*)", line))]
    assert len(commands) > 15
    for command in commands:
        emodef_command(*shlex.split(command.replace("...", "")), "--help")
