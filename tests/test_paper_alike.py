"""What is compared was made alike, or the tables say that it was not: one run a seed, shared seeds, precisions, dev that was tuned on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from emodef.paper.controls import controls
from emodef.paper.figures.sweep import ALONE, TOTAL, draw_sweep, sweeps
from emodef.paper.results import Run, find_runs
from emodef.paper.statistics import Study, shared_seeds
from emodef.paper.study import group_runs
from emodef.paper.table2 import table2
from emodef.paper.table3 import table3
from emodef.reporting import render
from table_reading import by_row, value
from test_paper_results import a_run
from tiny_results import MINILM, write_corpus, write_run


def made(name: str, seed: int, precision: str, torch: str = "2.13") -> Run:
    run = a_run(name, seed=seed)
    about = {"versions": {"torch": torch}, "hardware": {"cpu": "a cpu"}, "code": "abc"}
    return replace(run, training={**run.training, "precision": precision}, about=about)


def test_of_two_runs_with_a_seed_the_one_made_as_the_others_is_kept() -> None:
    told: list[str] = []
    runs = [made("a", 42, "bf16"), made("a-gpu", 42, "tf32"), made("b", 43, "tf32"), made("c", 44, "tf32")]
    (group,) = group_runs(runs, told.append)
    assert [run.name for run in group.runs] == ["a-gpu", "b", "c"]
    assert told == ["left out: a: the same settings and seed as a-gpu"]
    (group,) = group_runs([made("a", 42, "bf16"), made("b", 42, "tf32")])  # nothing to be like
    assert [run.name for run in group.runs] == ["a"]
    (group,) = group_runs([made("a", 42, "bf16", "2.11"), made("b", 42, "bf16"), made("c", 43, "bf16")])
    assert [run.name for run in group.runs] == ["b", "c"]


def test_groups_are_compared_on_the_seeds_that_both_have() -> None:
    (first,) = group_runs([a_run("a", seed=42), a_run("b", seed=43)])
    (second,) = group_runs([a_run("c", seed=43), a_run("d", seed=44)])
    assert [group.seeds for group in shared_seeds(first, second)] == [(43,), (43,)]
    (apart,) = group_runs([a_run("e", seed=7)])
    assert shared_seeds(first, apart) == (first, apart)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("alike")
    corpus = write_corpus(root / "data")
    for name, given in {
        "none": {},
        "none-43": {"seed": 43, "skill": 0.5},
        "cdp": {"setup": "cdp", "skill": 0.3, "steps": (6, 4)},
        "cdp-p1": {"setup": "cdp", "p": 0.1, "skill": 0.1, "steps": (1, 9)},
        "as-p1": {"steps_as_p": 0.1, "skill": 0.15, "steps": (1, 0)},
        "as-p5": {"steps_as_p": 0.5, "skill": 0.2, "steps": (6, 0)},
    }.items():
        folder = write_run(root / "results" / name, corpus, **MINILM, **given)
        if name.startswith("cdp"):
            metrics = json.loads((folder / "metrics.json").read_text())
            metrics["training"]["precision"] = "bf16"
            (folder / "metrics.json").write_text(json.dumps(metrics))
    return Study(find_runs(root / "results"), data_dir=root / "data", resamples=20)


def test_a_gain_is_over_the_same_seeds(study: Study) -> None:
    parts = controls(study)
    rows, gains = by_row(parts["minilm-minilm-fixed"]), by_row(parts["minilm-minilm-gains-fixed"])
    assert rows["MiniLM"]["seeds"] == "42, 43"
    alone = next(run for run in study.runs if run.name == "none")
    gain = gains["MiniLM+CDP over MiniLM: equal steps in all"]
    assert gain["first"] == pytest.approx(alone.reports["test fixed"].summary["macro_f1"].value, abs=1e-6)
    assert gain["first"] != pytest.approx(value(rows["MiniLM"]["test F1 [95%]"]), abs=1e-3)


def test_tables_say_what_was_trained_in_another_precision(study: Study) -> None:
    for parts in (controls(study), table2(study)):
        fixed = next(
            table
            for slug, table in parts.items()
            if slug.startswith("minilm") and slug.endswith("fixed") and "gains" not in slug
        )
        note = next(note for note in fixed.notes if note.startswith("trained in "))
        assert "fp32: MiniLM" in note
        assert "bf16: MiniLM+CDP" in note
        gains = next(
            table
            for slug, table in parts.items()
            if slug.startswith("minilm") and slug.endswith("gains-fixed")
        )
        assert "(bf16 over fp32)" in gains.notes[1]


def test_dev_figures_of_tuned_thresholds_say_so(study: Study) -> None:
    for parts in (controls(study), table2(study), table3(study)):
        for policy, told in (("fixed", False), ("tuned", True)):
            slug = next(
                slug
                for slug in parts
                if slug.startswith("minilm") and slug.endswith(f"-{policy}") and "gains" not in slug
            )
            assert any("tuned on, and so too high" in note for note in parts[slug].notes) is told


def test_the_sweep_has_the_control_of_each_p(study: Study) -> None:
    parts = table3(study)
    rows, gains = by_row(parts["minilm-minilm-fixed"]), by_row(parts["minilm-minilm-gains-fixed"])
    for p, steps in ((0.1, 1), (0.5, 6)):
        row = rows[f"MiniLM, at the primary steps of p = {p:g}"]
        assert value(row["primary steps"]) == steps
        gain = gains[f"CDP, p = {p:g}, over MiniLM, at the primary steps of p = {p:g}"]
        assert gain["first"] == value(row["test F1 [95%]"])
    (found,) = [each for each in sweeps(study) if each.backbone == "MiniLM"]
    curves = {(curve.split, curve.kind): curve for curve in found.curves if curve.setup.name == "cdp"}
    assert (
        [p for p, _ in curves["test", ALONE].points]
        == [0.1, 0.5]
        == [p for p, _ in curves["test", TOTAL].points]
    )
    assert not any(
        curve.kind == ALONE for curve in found.curves if curve.setup.name == "mlm"
    )  # that was not run
    drawing = draw_sweep(found)
    assert "the emotion task alone with as many primary steps: " in drawing.alt
    assert "10 epochs of batches of 16" in drawing.caption
    assert "only the curves’ shapes compare" in drawing.caption


def test_latex_has_signs_that_it_knows(study: Study) -> None:
    text = render(table3(study)["minilm-minilm-fixed"], "latex")
    assert r"epochs $\times$ $\lceil$texts / batch$\rceil$" in text
    assert not set("×⌈⌉±–") & set(text)
