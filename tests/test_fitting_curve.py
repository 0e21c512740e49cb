"""The curve over labelled texts on a small corpus: its runs, what resumes, its tables and figure, fine-tuning beside it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("sklearn")

from sklearn.metrics import f1_score

from commands import emodef_command
from emodef.definitions import Definitions, read_labels
from emodef.errors import DataError, SettingsError
from emodef.fitting import curve, curve_report
from emodef.fitting.curve import CurveSettings, Material, plan_curve, run_curve
from emodef.labels import LabelSet
from emodef.predictor import Predictor
from emodef.predictor.head import unit
from emodef.runs import DataChoice
from emodef.transfers import TransferFolder
from tiny_light import build_tiny_light


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(build_tiny_light(tmp_path_factory.mktemp("light")), threads=1)


def asked(moods: tuple[str, str], **changed: Any) -> CurveSettings:
    given: dict[str, Any] = {"sizes": (0, 6, 20), "splits": 2, "smallest": 12, "max_eval": 30}
    return CurveSettings(corpora=(moods[0],), label_set=moods[1], **{**given, **changed})


def made_ready(moods: tuple[str, str], predictor: Predictor) -> Material:
    corpus = DataChoice().whole(*moods)
    return Material.of(corpus, curve.draw(corpus, asked(moods)), predictor)


@pytest.fixture(scope="module")
def made(
    moods: tuple[str, str], predictor: Predictor, tmp_path_factory: pytest.TempPathFactory
) -> TransferFolder:
    return run_curve(plan_curve(asked(moods), tmp_path_factory.mktemp("r"), predictor), predictor)


def test_every_arm_is_run_on_the_same_texts(made: TransferFolder) -> None:
    rows = made.rows()
    assert len(rows) == 2 * (1 + 2 * 3)
    splits = made.splits("moods")
    for row in rows:
        test = splits.test(row.split, row.size, 30)
        predicted = made.predictions(row.start, "moods", 3)[row.size, row.split, "softmax"]
        truth = np.eye(3, dtype=bool)[splits.labels[test]]
        assert row.test_ids_hash == splits.digest(test)
        assert row.train_texts == len(splits.train(row.split, row.size)) <= row.size
        expected = f1_score(truth, predicted, average="macro", zero_division=0)
        assert row.macro_f1 == pytest.approx(expected, abs=1e-6)
    assert {row.start for row in rows if row.size == 0} == {"definitions"}


def test_without_a_text_definitions_are_zero_shot(
    made: TransferFolder, moods: tuple[str, str], predictor: Predictor
) -> None:
    material = made_ready(moods, predictor)
    alone = predictor.with_labels(Definitions.of(material.corpus.label_set))
    expected = alone.predict_proba(material.corpus.texts).argmax(1)
    splits = made.splits("moods")
    for split in (1, 2):
        found = made.predictions("definitions", "moods", 3)[0, split, "softmax"].argmax(1)
        np.testing.assert_array_equal(found, expected[splits.test(split, 0, 30)])


def test_the_probe_is_scikit_learns(
    made: TransferFolder, moods: tuple[str, str], predictor: Predictor
) -> None:
    from sklearn.linear_model import LogisticRegression

    material = made_ready(moods, predictor)
    x, splits = unit(predictor.embed(material.corpus.texts)), made.splits("moods")
    train, test = splits.train(1, 20), splits.test(1, 20, 30)
    expected = LogisticRegression(max_iter=1000).fit(x[train], splits.labels[train]).predict(x[test])
    found = made.predictions("probe", "moods", 3)[20, 1, "softmax"].argmax(1)
    np.testing.assert_array_equal(found, expected)


def test_what_is_made_is_not_made_again(
    made: TransferFolder, moods: tuple[str, str], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = made.path.parent
    before = made.rows()
    with (made.path / "rows.jsonl").open("a") as handle:
        handle.write('{"start": "definitions", "cor')  # as a killed process may leave it
    more = plan_curve(asked(moods, splits=3, sizes=(6,)), results, predictor)
    assert (more.done, len(more.missing)) == (6, 3)
    run_curve(more, predictor)
    assert made.rows()[: len(before)] == before
    assert len(made.rows()) == len(before) + 3
    assert curve_report.read_curve(made, resamples=0).splits == "2 to 3"
    settings = json.loads((made.path / "settings.json").read_text())
    assert (settings["splits"], settings["sizes"], settings["corpora"]) == (3, [0, 6, 20], ["moods"])
    monkeypatch.setattr(curve, "_run", lambda *given: pytest.fail("made twice"))
    run_curve(plan_curve(asked(moods), results, predictor), predictor)
    assert plan_curve(asked(moods, seed=1), results, predictor).folder.path != made.path


def test_other_definitions_or_another_file_of_that_name_are_other_runs(
    made: TransferFolder, moods: tuple[str, str], predictor: Predictor, tmp_path: Path
) -> None:
    results = made.path.parent
    whole = LabelSet.load(moods[1])
    swapped = LabelSet(whole.name, whole.names, whole.definitions[::-1], exclusive=True)
    (tmp_path / "labels.toml").write_text(swapped.to_toml(), encoding="utf-8")
    other = plan_curve(asked((moods[0], str(tmp_path / "labels.toml"))), results, predictor)
    assert (other.done, len(other.missing)) == (0, 14)
    file = tmp_path / Path(moods[0]).name
    lines = Path(moods[0]).read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-1]), encoding="utf-8")
    assert plan_curve(asked((str(file), moods[1])), results, predictor).done == 0
    file.write_text("".join(lines), encoding="utf-8")  # the same, elsewhere
    assert plan_curve(asked((str(file), moods[1])), results, predictor).missing == []
    with pytest.raises(SettingsError, match="two corpora are called 'moods'"):
        CurveSettings(corpora=(moods[0], str(file)), label_set=moods[1])


def test_tables_and_figure_say_what_the_rows_do(made: TransferFolder, tmp_path: Path) -> None:
    scores = curve_report.read_curve(made, resamples=50)
    table = curve_report.curve_table(scores)
    assert [row[1] for row in table.rows] == list(curve_report.TITLES.values())
    cell: Any = table.rows[0][2 + scores.sizes.index(20)]
    rows = [r.macro_f1 for r in made.rows() if (r.start, r.size) == ("definitions", 20)]
    assert cell.value == pytest.approx(np.mean(rows), abs=1e-6)
    assert table.rows[1][2] is None  # from nothing, without texts
    gains = curve_report.gains_tables(scores)
    assert len(gains) == 2
    assert all("mean of all sizes" in str(each.rows[-1][0]) for each in gains)
    drawing = curve_report.draw_curve(scores)
    assert "definitions alone, no text" in drawing.svg()
    assert "head from definitions" in drawing.alt
    page = curve_report.curve_page(scores, drawing, made, "emodef few-shot table")
    assert page.count("**Gain") == 2
    assert curve_report.gains_tables(curve_report.read_curve(made, resamples=0)) == []


def test_fine_tuning_on_the_same_texts_stands_beside(
    made: TransferFolder, moods: tuple[str, str], study: Any, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from emodef.train.transfer import run_transfer

    tuned = run_transfer(study(sizes=[20], smallest=12, max_eval=30, epochs=1), tmp_path, cpu=True)
    scores = curve_report.read_curve(made, [tuned], resamples=0)
    assert scores.arms["tuned untuned"].startswith("fine-tuned: ")
    assert scores.find("moods", "tuned untuned", 20) is not None
    assert "fine-tuned" in curve_report.draw_curve(scores).alt
    assert "the two differ in method and in model" in curve_report.curve_table(scores).notes[0]
    alone = curve_report.read_curve(made, resamples=0)
    assert "fine-tuned" not in curve_report.curve_table(alone).notes[0]
    assert curve_report.read_curve(made, [tuned], starts=["untuned"], resamples=0) == scores
    with pytest.raises(
        SettingsError, match="no start 'match' in the transfer studies given; they have: untuned"
    ):
        curve_report.read_curve(made, [tuned], starts=["match"], resamples=0)
    other = run_transfer(study(sizes=[20], smallest=12, max_eval=10, epochs=1), tmp_path, cpu=True)
    with pytest.raises(DataError, match="tested on other texts"):
        curve_report.read_curve(made, [other], resamples=0)


def test_what_does_not_fit_is_refused(tmp_path: Path, predictor: Predictor, moods: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match="no arm 'random'"):
        CurveSettings(arms=("random",))
    with pytest.raises(DataError, match="no few-shot curve"):
        curve_report.find_curve(tmp_path)
    several = tmp_path / "several.csv"
    several.write_text("text,labels\none,glad|cross\ntwo,glad\n")
    labels = tmp_path / "several.toml"
    labels.write_text('glad = "joy"\ncross = "anger"\n')
    with pytest.raises(SettingsError, match="several labels a text"):
        run_curve(plan_curve(asked((str(several), str(labels))), tmp_path, predictor), predictor)


def test_the_command_runs_and_writes_a_page(
    moods: tuple[str, str], predictor: Predictor, tmp_path: Path
) -> None:
    table, labels = moods
    model = predictor.graph.path.parent
    given = ("few-shot", "run", "--results", tmp_path / "r", "--labels", labels, "--model", model)
    sizes = ("--size", 0, "--size", 40, "--splits", 1)
    chosen = (*given, *sizes, "--corpus", table, "--quiet")
    assert "4 runs to make" in emodef_command(*chosen, "--dry-run").output
    assert "all 4 runs are made" in emodef_command(*chosen).output
    renamed = tmp_path / "moods.csv"  # the same texts and labels, in other columns: the same runs
    rows = Path(table).read_text(encoding="utf-8").replace("text,label", "body,mood", 1)
    renamed.write_text(rows + "no label,\n", encoding="utf-8")
    columns = ("--text-column", "body", "--label-column", "mood")
    told = emodef_command(
        *given, *sizes, "--corpus", renamed, *columns, "--on-error", "skip", "--dry-run"
    ).output
    assert "0 runs to make, 4 made" in told
    assert f"moods.csv:{len(rows.splitlines()) + 1}: skipped" in told
    refused = emodef_command(
        *given, *columns, code=2
    )  # no file of one's own: isear, emoint, emotion_stimulus
    words = " ".join(refused.output.split())
    assert "--labels, --text-column, --label-column: for a file of your own" in words
    absent = ("few-shot", "run", "--corpus", "isear", "--labels", tmp_path / "absent.toml", "--dry-run")
    refused = emodef_command(*absent, "--model", model, code=2)
    assert "--labels: for a file of your own" in " ".join(refused.output.split())
    shown = emodef_command("few-shot", "table", "--results", tmp_path / "r", "--resamples", 0)
    assert "linear probe" in shown.output
    page = tmp_path / "page" / "curve.md"
    emodef_command("few-shot", "table", "--results", tmp_path / "r", "--resamples", 20, "--out", page)
    assert "(curve.svg)" in page.read_text()
    told_there = re.search(r"Command: `(emodef few-shot run .*?)`", page.read_text())
    assert told_there
    again = shlex.split(told_there[1])[1:]
    made_again = emodef_command(*again, "--dry-run")
    assert "0 runs to make, 4 made" in made_again.output
    shown_there = re.search(r"then `(emodef few-shot table .*?)`", page.read_text())
    assert shown_there
    before = page.read_text()
    emodef_command(*shlex.split(shown_there[1])[1:])
    assert page.read_text() == before
    assert (tmp_path / "page" / "curve.png").exists()


def test_a_page_says_where_splits_are_missing(tmp_path: Path) -> None:
    (whole,) = (Path(__file__).parent.parent / "results" / "few_shot").glob("heads-*")
    assert curve_report._fewer_splits(TransferFolder(whole)) == ""
    shutil.copy(whole / "settings.json", tmp_path)
    rows = [json.loads(line) for line in (whole / "rows.jsonl").read_text().splitlines()]
    kept = [json.dumps(row) + "\n" for row in rows if row["size"] < 500 or row["split"] <= 3]
    (tmp_path / "rows.jsonl").write_text("".join(kept))
    assert curve_report._fewer_splits(TransferFolder(tmp_path)) == "3 with 500 texts, 3 with 1,000 texts"


def test_a_page_names_the_command_of_its_runs(predictor: Predictor, moods: tuple[str, str]) -> None:
    usual: dict[str, Any] = {
        "corpora": ["isear", "emoint", "emotion_stimulus"],
        "starts": ["definitions", "zero", "probe"],
        "sizes": [0, 10, 20, 50, 100, 200, 500, 1000],
        "splits": 3,
    }
    assert curve_report.run_command(usual) == "emodef few-shot run --splits 3"
    given = {
        "corpora": {"mine": "my data/mine.csv"},
        "labels": "mine.toml",
        "model": "runs/mine",
        "columns": {"label_columns": ["calm", "rush, and hurry"], "allow_unlabelled": True},
    }
    other = {
        **usual,
        "corpora": ["isear", "mine"],
        "starts": ["definitions"],
        "sizes": [0, 50],
        "given": given,
    }
    words = (
        "few-shot run --corpus isear --corpus|my data/mine.csv|--arm definitions --size 0 --size 50 --splits 3 --labels mine.toml "
        '--model runs/mine --label-columns|calm,"rush, and hurry"|--allow-unlabelled'
    )
    parts = [part.split() if k % 2 == 0 else [part] for k, part in enumerate(words.split("|"))]
    assert shlex.split(curve_report.run_command(other)) == [
        "emodef",
        *(word for part in parts for word in part),
    ]


def test_all_definitions_and_examples_are_read(
    made: TransferFolder, moods: tuple[str, str], predictor: Predictor, tmp_path: Path
) -> None:
    more = tmp_path / "more.toml"
    more.write_text(
        'name = "moods"\nexclusive = true\n'
        'glad = ["a feeling of joy", "happy and lovely"]\ncross = "a feeling of anger"\n'
        'afraid = {definition = "a feeling of fear", examples = ["I am so scared of it"]}\n',
        encoding="utf-8",
    )
    first = tmp_path / "first.toml"  # the same first definitions
    first.write_text(
        'name = "moods"\nexclusive = true\n'
        'glad = "a feeling of joy"\ncross = "a feeling of anger"\nafraid = "a feeling of fear"\n',
        encoding="utf-8",
    )
    results = made.path.parent
    assert plan_curve(asked((moods[0], str(first))), results, predictor).missing == []
    planned = plan_curve(asked((moods[0], str(more)), sizes=(0,)), results, predictor)
    assert planned.done == 0
    folder = run_curve(planned, predictor)
    corpus = DataChoice().whole(*moods)
    expected = predictor.with_labels(read_labels(more).not_exclusive()).predict_proba(corpus.texts).argmax(1)
    found = folder.predictions("definitions", "moods", 3)[0, 1, "softmax"].argmax(1)
    np.testing.assert_array_equal(found, expected[folder.splits("moods").test(1, 0, 30)])
    plain = made.predictions("definitions", "moods", 3)[0, 1, "softmax"].argmax(1)
    assert (found != plain).any()


def test_what_does_not_fit_is_told_before_the_first_run(
    moods: tuple[str, str], predictor: Predictor, tmp_path: Path
) -> None:
    small = tmp_path / "small.csv"
    rows = Path(moods[0]).read_text(encoding="utf-8").splitlines(keepends=True)
    small.write_text("".join(rows[:25]), encoding="utf-8")
    both = replace(asked(moods), corpora=(moods[0], str(small)), sizes=(6, 24))
    with pytest.raises(SettingsError, match=r"--size 24: small has 24 texts"):
        plan_curve(both, tmp_path, predictor)
    small.write_text(
        "".join(rows[:20]) + "".join(row for row in rows[20:] if "afraid" not in row), encoding="utf-8"
    )
    rare = replace(asked(moods), corpora=(moods[0], str(small)), sizes=(6,), smallest=2)
    with pytest.raises(SettingsError, match="being rare; label more texts with it, or take it out"):
        run_curve(plan_curve(rare, tmp_path, predictor), predictor)


def test_the_legend_names_an_arm_that_the_first_corpus_lacks(made: TransferFolder) -> None:
    scores = curve_report.read_curve(made, resamples=0)
    points = {
        (corpus, size): found for (_, size), found in scores.points.items() for corpus in ("first", "second")
    }
    for size in scores.sizes:
        points["first", size] = {arm: p for arm, p in points["first", size].items() if arm != "probe"}
    figure = curve_report.draw_curve(replace(scores, points=points, corpora=("first", "second"))).figure
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["definitions alone, no text", *curve_report.TITLES.values()]
