"""Controls where the paper's encoder was not run; those of setups with auxiliary steps beside matching, which are over matching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from emodef.paper.cells import Parts
from emodef.paper.controls import controls
from emodef.paper.results import find_runs
from emodef.paper.statistics import POLICIES, Study
from emodef.paper.table3 import sweep, table3
from emodef.paper.table4 import table4
from table_reading import by_row, value
from tiny_results import MINILM, write_corpus, write_run


def test_matching_with_the_papers_tasks_beside_it(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data")
    for name, given in {
        "none": {},
        "match": {"setup": "match", "skill": 0.5},
        "half": {"setup": "match", "steps_as_p": 0.5, "skill": 0.3},
        "mlm": {"setup": "mlm+match", "skill": 0.4},
        "held": {"setup": "match+cdp", "auxiliary_clip": 0.1, "skill": 0.6},
    }.items():
        write_run(tmp_path / "results" / name, corpus, **MINILM, **given)
    study = Study(find_runs(tmp_path / "results"), data_dir=tmp_path / "data", resamples=20)
    parts = controls(study)
    rows, gains = by_row(parts["minilm-minilm-fixed"]), by_row(parts["minilm-minilm-gains-fixed"])
    matching, held = "MiniLM+match", "MiniLM+match+CDP, gradients held to 0.1"
    assert [title for title, row in rows.items() if row["seeds"] == "42" and "match" in title] == [
        matching,
        f"{matching}, at their primary steps",
        held,
        f"{matching}+MLM",
    ]
    assert set(gains) == {
        f"{matching} over MiniLM: equal steps",
        f"{matching}+MLM over {matching}: equal steps in all",
        f"{matching}+MLM over {matching} at their primary steps",
        f"{held}, over {matching}: equal steps in all",
        f"{held}, over {matching} at their primary steps",
    }
    tested = {
        title: value(row["test F1 [95%]"])
        for title, row in rows.items()
        if title.startswith(matching) or title == held
    }
    gain = gains[f"{held}, over {matching} at their primary steps"]
    assert gain["first"] == tested[f"{matching}, at their primary steps"]
    assert gain["second"] == tested[held]
    assert gains[f"{held}, over {matching}: equal steps in all"]["first"] == tested[matching]
    points = sweep(study.tabled[-1], "MiniLM")
    assert [point.setup.title for point in points if point.total] == ["match+MLM"]
    assert "match+CDP" not in {point.setup.title for point in points}  # its steps are others than the sweep's


@pytest.mark.parametrize("made", [controls, table3, table4])
def test_what_was_not_run_comes_last_and_once(
    tmp_path: Path, made: Callable[[Study, Sequence[str]], Parts]
) -> None:
    corpus = write_corpus(tmp_path / "data")
    for p in (0.5, 0.7):
        write_run(tmp_path / "results" / f"cdp-{p}", corpus, **MINILM, setup="cdp", p=p)
    study = Study(find_runs(tmp_path / "results"), data_dir=tmp_path / "data", resamples=20)
    names = list(made(study, POLICIES))
    assert names[0] == "minilm-minilm-fixed"
    assert "minilm-minilm-tuned" in names
    assert [name for name in names if name.startswith("paper-")] == names[-1:] == ["paper-bert-fixed"]


def test_the_sweep_with_smaller_gradients(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data")
    for number, given in enumerate(
        [
            {"setup": "none", "steps_as_p": 0.7},
            *({"setup": "mlm", "p": p} for p in (0.5, 0.7)),
            *({"setup": "mlm", "p": p, "auxiliary_clip": 0.1} for p in (0.5, 0.7)),
            {"setup": "cdp", "p": 0.5, "auxiliary_clip": 0.1},  # alone: no sweep, a row of the controls
        ]
    ):
        write_run(tmp_path / "results" / f"run-{number}", corpus, **MINILM, skill=0.1 * number, **given)
    study = Study(find_runs(tmp_path / "results"), data_dir=tmp_path / "data", resamples=20)
    points = sweep(study.tabled[-1], "MiniLM")
    assert [(point.title, point.p) for point in points if point.clip] == [
        ("MLM, gradients held to 0.1", 0.5),
        ("MLM, gradients held to 0.1", 0.7),
    ]
    parts = table3(study, ["fixed"])
    table = parts["minilm-minilm-fixed"]
    rows = {row[:2]: row for row in table.rows}
    assert rows["MiniLM+MLM, gradients held to 0.1", 0.7][2] == "42"
    assert rows["MiniLM+MLM", 0.7][4] != rows["MiniLM+MLM, gradients held to 0.1", 0.7][4]
    assert any("gradients held to" in note and "auxiliary_clip" in note for note in table.notes)
    assert any(note.startswith("MLM, gradients held to 0.1: best on dev at p = ") for note in table.notes)
    small = "MLM, gradients held to 0.1, p = 0.7"
    gains = by_row(parts["minilm-minilm-gains-fixed"])
    assert set(gains) == {
        "MLM, p = 0.7 over p = 0.5",
        "MLM, p = 0.7, over MiniLM, at the primary steps of p = 0.7",
        "MLM, gradients held to 0.1, p = 0.5, over MLM at the same p",
        f"{small} over p = 0.5",
        f"{small}, over MLM at the same p",
        f"{small}, over MiniLM, at the primary steps of p = 0.7",
    }
    assert gains[f"{small}, over MLM at the same p"]["first"] == value(rows["MiniLM+MLM", 0.7][4])
    assert gains[f"{small} over p = 0.5"]["first"] == value(rows["MiniLM+MLM, gradients held to 0.1", 0.5][4])
