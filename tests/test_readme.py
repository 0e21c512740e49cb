"""What the README says works: its quickstart, its commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from commands import emodef_command

README = Path(__file__).parent.parent / "README.md"
FEW_SHOT = README.parent / "docs" / "few_shot.md"


def blocks(kind: str, page: Path = README) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def test_the_readme_s_first_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    """With the shipped model, and they print what the README says."""
    names: dict[str, object] = {}
    predicting, own_labels, _ = blocks("python")
    exec(predicting, names)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("(Label(name='surprise', score=0.74")
    assert second.startswith("(Label(name='neutral'")
    assert names["probabilities"].shape == (1, 28)  # type: ignore[attr-defined]
    exec(own_labels, names)
    shown = re.search(r"# \[\[([\d.]*\d)\.\.\.\]\]", own_labels)
    assert shown
    assert float(capsys.readouterr().out.strip().strip("[]")) == pytest.approx(float(shown[1]), abs=2e-3)


def test_the_readme_s_answers_are_the_model_s() -> None:
    command, *answers = blocks("console")[0].splitlines()
    prompt, _, said = command.partition("predict ")
    assert prompt == "$ emodef "
    _, *lines = emodef_command("predict", *shlex.split(said)).stdout.splitlines()
    for answer, line in zip(answers, lines, strict=True):
        labels, scores, text = line.split("\t")  # no terminal: tab-separated, and scores with more digits
        shown = answer.removeprefix(text).strip()
        assert [part.split()[0] for part in shown.split(", ")] == labels.split("|")
        for part, score in zip(shown.split(", "), scores.split("|"), strict=True):
            assert abs(float(part.split()[1]) - float(score)) <= 0.006


def test_the_readme_s_training_runs(
    tiny_bert_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its very lines, with a tiny encoder and one epoch in place of the demo's minutes."""
    code = blocks("python")[2]
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
    shown = [*blocks("sh"), *blocks("console")]
    lines = [line for block in shown for line in block.replace("\\\n", " ").splitlines()]
    commands = [found[1] for line in lines if (found := re.search(r"(?:^|\| |\$ )emodef ([^|#]*)", line))]
    assert len(commands) > 15
    for command in commands:
        emodef_command(*shlex.split(command.replace("...", "")), "--help")


def test_own_labels_of_the_readme_and_of_few_shot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their very commands on the files that they show, with a file of texts that has the columns they name."""
    monkeypatch.chdir(tmp_path)
    (rows,), (labels,) = blocks("csv", FEW_SHOT), blocks("toml", FEW_SHOT)
    for name, content in {
        "mine.csv": rows,
        "mine.toml": labels,
        "test.csv": 'text,labels\n"The queue has not moved for an hour",boredom\n',
        "comments.csv": "id,body\n1,What a view!\n",
    }.items():
        Path(name).write_text(content, encoding="utf-8")
    known = next(line for line in blocks("console")[2].splitlines() if "--known-labels" in line)
    for line in [known.removeprefix("$ "), *blocks("sh", FEW_SHOT)[0].splitlines()]:
        emodef_command(*shlex.split(line)[1:])
    assert Path("scored.csv").read_text(encoding="utf-8").startswith("id,body,predicted,")
