"""`emodef evaluate`: what its options do to JSON, and what it says of a folder that is no run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import emodef_command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = ["text,label", "I am so happy,joy", "I am furious,anger", "I wonder why,curiosity"]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_level_is_the_only_one_in_json_too(tiny_light: Path, data: Path) -> None:
    def levels(*options: str) -> list[str]:
        said = emodef_command("evaluate", tiny_light, "--data", data, "--json", "--quiet", *options)
        (report,) = json.loads(said.stdout)["reports"].values()
        return [level["name"] for level in report["levels"]]

    assert levels() == ["tiny", "sentiment"]
    assert levels("--level", "sentiment") == ["sentiment"]
    refused = emodef_command("evaluate", tiny_light, "--data", data, "--json", "--level", "ekman", code=2)
    assert "measured were tiny, sentiment" in " ".join(refused.stderr.split())


def test_columns_without_data_are_refused_by_the_options_names(tiny_light: Path) -> None:
    refused = emodef_command("evaluate", tiny_light, "--text-column", "body", code=2)
    assert "--text-column: this is about other data" in " ".join(refused.stderr.split())


def test_a_study_is_not_an_unfinished_run(tmp_path: Path) -> None:
    for name in ("settings.json", "rows.jsonl"):
        (tmp_path / name).write_text("{}\n", encoding="utf-8")
    said = " ".join(emodef_command("evaluate", tmp_path, code=3).stderr.split())
    assert "emodef paper figure3 --results" in said
    assert "emodef few-shot table --results" in said
    assert "--resume" not in said
