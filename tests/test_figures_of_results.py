"""The figures that are of results, the sweep and Figure 3: what they show is what was run; and the commands that draw."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import emodef_command
from drawings import texts_of
from emodef import published
from emodef.labels import LabelSet
from emodef.paper.figures.sweep import PAPER, PRIMARY, SMALL, TOTAL, draw_sweep, paper_curves, sweeps
from emodef.paper.figures.transfer import draw_transfer, transfer_curves
from emodef.paper.results import find_runs
from emodef.paper.statistics import Study
from emodef.transfers import Row
from tiny_results import MINILM, write_corpus, write_run

pytestmark = pytest.mark.long

GOEMOTIONS = LabelSet.load("goemotions")


# the sweep


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sweep")
    corpus = write_corpus(root / "data")
    for seed in (1, 2):
        for p in (0.3, 0.5, 0.7):
            options = {"setup": "cdp", "p": p, "seed": seed, **MINILM}
            steps = (int(100 * p) + seed, 50)
            write_run(root / "results" / f"cdp-{p}-{seed}", corpus, skill=p / 2, steps=steps, **options)
        write_run(
            root / "results" / f"equal-{seed}",
            corpus,
            setup="cdp",
            p=0.3,
            budget="primary",
            seed=seed,
            **MINILM,
        )
        write_run(root / "results" / f"none-{seed}", corpus, setup="none", seed=seed, **MINILM)
        for p in (0.3, 0.7):
            options = {"setup": "cdp", "p": p, "auxiliary_clip": 0.1, "seed": seed, **MINILM}
            write_run(root / "results" / f"small-{p}-{seed}", corpus, skill=p, **options)
    return root


def test_the_papers_curves_are_its_table() -> None:
    printed = published.table(3)
    curves = {(curve.setup.column, curve.split): curve.points for curve in paper_curves()}
    for number, column in enumerate(printed.columns):
        name, _, split = column.rpartition("_")
        points = curves[name, split]
        assert [(f"{p:g}", round(100 * value.value, 2)) for p, value in points] == [
            (p, row[number]) for p, row in printed.rows.items()
        ]


def test_the_sweep_shows_what_was_run(results: Path) -> None:
    study = Study(find_runs(results / "results"), data_dir=results / "data", resamples=0)
    (found,) = sweeps(study)
    assert found.seeds == (1, 2)
    block = next(block for block in study.blocks if block.groups)
    ours = {(c.setup.name, c.split, c.kind): c for c in found.curves if c.kind != PAPER}
    assert set(ours) == {
        ("cdp", split, kind) for split in ("dev", "test") for kind in (TOTAL, PRIMARY, SMALL)
    }
    for split in ("dev", "test"):
        curve = ours["cdp", split, TOTAL]
        for p, value in curve.points:
            assert value == study.value(block.find("MiniLM", "cdp", p=p), split, "fixed")
            assert value.std is not None
        assert curve.steps == (31.5, 51.5, 71.5)
        for p, value in ours["cdp", split, SMALL].points:
            assert value == study.value(block.find("MiniLM", "cdp", p=p, auxiliary_clip=0.1), split, "fixed")
        assert found.alone[split, TOTAL] == study.value(block.find("MiniLM", "none"), split, "fixed")
    drawing = draw_sweep(found)
    shown = texts_of(drawing)
    assert "primary steps made" in shown
    assert {"32", "52", "72"} <= set(shown)
    assert "MiniLM, same steps in all, auxiliary gradients held to 0.1" in shown
    assert "ours: not run here" in shown  # MLM and CDP+MLM
    value = 100 * ours["cdp", "test", TOTAL].points[0][1].value
    assert f"{value:.2f} at 0.3" in drawing.alt
    assert "CDP, ours, auxiliary gradients held to 0.1: " in drawing.alt
    assert drawing.svg() == draw_sweep(found).svg()


def test_without_runs_the_papers_curves_stand_alone(results: Path) -> None:
    (found,) = sweeps(Study([], data_dir=results / "data", resamples=0))
    assert {curve.kind for curve in found.curves} == {PAPER}
    drawing = draw_sweep(found)
    assert texts_of(drawing).count("ours: not run here") == 6
    assert "primary steps made" not in texts_of(drawing)
    assert "not run here" in drawing.alt


# Figure 3


def transfer_rows() -> list[Row]:
    whole = Row("x", "isear", 100, 1, "softmax", 1, 0.0, 0.5, 50, 100, 0, 9, 1.0, "", "", "", "")
    return [
        replace(
            whole,
            corpus=corpus,
            start=start,
            size=size,
            split=split,
            train_texts=texts,
            macro_f1=0.2 + 0.01 * split + number / 50,
        )
        for corpus in ("isear", "emoint")
        for start in ("untuned", "none", "mine")
        for number, (size, texts) in enumerate(((100, 100), (0.8, 640), (500, 500)))
        for split in (1, 2, 3)
    ]


def test_figure3_shows_means_over_splits() -> None:
    rows = transfer_rows()
    curves = transfer_curves([*rows, replace(rows[0], policy="sigmoid", macro_f1=0.9)])
    assert [(c.corpus, c.start) for c in curves][:3] == [
        ("isear", start) for start in ("untuned", "none", "mine")
    ]
    assert [size for size, *_ in curves[0].points] == [100, 500, 0.8]
    for curve in curves:
        for size, texts, value in curve.points:
            mine = [r for r in rows if (r.corpus, r.start, r.size) == (curve.corpus, curve.start, size)]
            assert value.value == pytest.approx(np.mean([row.macro_f1 for row in mine]))
            assert value.std == pytest.approx(np.std([row.macro_f1 for row in mine], ddof=1))
            assert texts == mine[0].train_texts
    settings = {
        "backbone": "minilm",
        "starts": ["untuned", "none", "mine"],
        "sizes": [100, 500, 0.8],
        "epochs": 10,
    }
    drawing = draw_transfer(curves, {**settings, "corpora": ["isear", "emoint", "emotion_stimulus"]})
    shown = texts_of(drawing)
    assert {"MiniLM, untuned", "MiniLM, emotion task", "mine", "80%", "not run here"} <= set(shown)
    assert "9 of 27 points: not run here" in drawing.caption
    assert "epochs 10" in drawing.caption
    assert (
        drawing.svg()
        == draw_transfer(curves, {**settings, "corpora": ["isear", "emoint", "emotion_stimulus"]}).svg()
    )


def test_figure3_without_rows_says_so() -> None:
    drawing = draw_transfer([])
    assert texts_of(drawing).count("not run here") == 3
    assert "not run here" in drawing.alt


# commands


def test_the_commands(results: Path, tmp_path: Path, tiny_bert_dir: Path) -> None:
    common = ("--results", results / "results", "--data-dir", results / "data", "--out", tmp_path)
    text = ("--text", "<b>Thanks</b>, I owe you $5!", "--label", "gratitude", "--label", "love")
    for arguments in (
        ("figure1", *common, *text),
        ("figure2", *common, *text, "--backbone", tiny_bert_dir, "--setup", "mlm", "--setup", "match"),
        ("figure3", *common),
        ("sweep", *common),
        ("confusion", *common, "--of", results / "results" / "none-1", "--order", "clusters"),
    ):
        result = emodef_command("paper", *arguments)
        assert re.search(r"^!\[.+\]\(\w.*\.svg\)$", result.stdout, re.MULTILINE)
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {
        "figure1",
        "figure2",
        "figure3",
        "figure3-macro-f1",
        "sweep-minilm-minilm",
        "confusion",
        "cooccurrence",
    }
    figure2 = (tmp_path / "figure2.svg").read_text(encoding="utf-8")
    assert "auxiliary step: a text and a definition, words masked" in figure2
    assert f"and each of the {len(GOEMOTIONS)} labels" in figure2
    assert f"Linear 32 → {len(GOEMOTIONS)}" in figure2


def test_what_the_commands_say_of_mistakes(results: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path, "--data-dir", results / "data")
    assert "--label" in emodef_command("paper", "figure1", "--text", "x", *out, code=2).stderr
    assert (
        "no label 'glee'"
        in emodef_command("paper", "figure1", "--text", "x", "--label", "glee", *out, code=3).stderr
    )
    assert "'beauty'" in emodef_command(
        "paper", "confusion", "--of", results / "results" / "none-1", "--order", "beauty", *out, code=2
    ).stderr  # fmt: skip
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert "not run here" in emodef_command("paper", "confusion", "--results", nothing, *out, code=3).stderr
    result = emodef_command(
        "paper", "figure2", "--backbone", nothing, "--text", "x", "--label", "joy", *out, code=2
    )
    assert "cannot be loaded" in result.stderr
    assert not list(tmp_path.glob("*.svg"))


@pytest.mark.parametrize(
    ("split", "remedy"), [("test", "name a run that was tested"), ("dev", "use --policy fixed")]
)
def test_a_run_without_a_split_says_so(results: Path, tmp_path: Path, split: str, remedy: str) -> None:
    run = shutil.copytree(results / "results" / "none-1", tmp_path / "run")
    with np.load(run / "probabilities.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if not name.startswith(split)}
    np.savez(run / "probabilities.npz", **arrays)
    given = (
        "paper",
        "confusion",
        "--of",
        run,
        "--policy",
        "tuned",
        "--data-dir",
        results / "data",
        "--out",
        tmp_path,
    )
    said = emodef_command(*given, code=3)
    assert f"has no probabilities of a {split} split; {remedy}" in " ".join(said.stderr.split())
