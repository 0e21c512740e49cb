"""Tables: what they say, and that every form of them reads back as the same table."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emodef import paper
from emodef.bootstrap import Estimate
from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.evaluation import Report, compare, error_analysis, evaluate_probabilities, tune
from emodef.labels import LabelSet
from emodef.reporting import (
    RENDERERS,
    Column,
    Marked,
    Provenance,
    Table,
    comparison_table,
    disagreement_table,
    format_cell,
    format_duration,
    label_gains_table,
    labels_table,
    levels_table,
    pairs_table,
    render,
    result_page,
    summary_table,
    table4,
    write_result,
)

NAMES = list(paper.table(4).rows)
TRAIN_SUPPORT = {name: 77 if name == "grief" else 500 + k for k, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def goemotions() -> tuple[Corpus, np.ndarray]:
    """Random labels of the paper's label set, and probabilities that know something of them."""
    random = np.random.default_rng(0)
    label_set = LabelSet.load("goemotions")
    labels = (random.random((500, len(label_set))) < 0.08).astype(np.uint8)
    texts = [f"text {row}" for row in range(len(labels))]
    corpus = Corpus("goemotions", "test", texts, labels, label_set, ids=texts)
    return corpus, np.clip(0.4 * labels + 0.5 * random.random(labels.shape), 0, 1)


@pytest.fixture(scope="module")
def report(goemotions: tuple[Corpus, np.ndarray]) -> Report:
    corpus, probabilities = goemotions
    return evaluate_probabilities(probabilities, corpus, bootstrap=50)


@pytest.fixture
def small() -> Table:
    columns = (Column("label"), Column("texts", "count"), Column("F1", "percent"), Column("p", "p"))
    rows = (
        ("joy & <awe> | 100%_", 1787, Estimate(0.52344, 0.5011, 0.545), 0.0004),
        ("*grief*", 6, Estimate(math.nan, math.nan, math.nan), None),
        ("average", None, Estimate(0.5), 0.25),
    )
    return Table("A title", columns, rows, notes=("a note\nof two lines",), footer=1)


def markdown_rows(text: str) -> list[list[str]]:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


@pytest.mark.parametrize(
    ("cell", "column", "expected"),
    [
        (0.52344, Column("F1", "percent"), "52.34"),
        (Estimate(0.52344, 0.5011, 0.545), Column("F1", "percent"), "52.34 [50.1, 54.5]"),
        (Estimate(0.52344), Column("F1", "percent", 1), "52.3"),
        (Estimate(0.042, -0.001, 0.0849), Column("gain", "gain", 1), "+4.2 [-0, +8]"),
        (1787, Column("texts", "count"), "1,787"),
        (0.1234, Column("threshold", "number", 3), "0.123"),
        (0.00049, Column("p", "p"), "< 0.001"),
        (0.25, Column("p", "p"), "0.250"),
        (math.nan, Column("AUC", "percent"), "–"),
        (Estimate(0.5, math.nan, math.nan), Column("AUC", "percent"), "50.00"),
        (None, Column("AUC", "percent"), "–"),
        ("", Column("label"), "–"),
        ("joy", Column("label"), "joy"),
    ],
)
def test_cells(cell: str | float | Estimate | None, column: Column, expected: str) -> None:
    assert format_cell(cell, column) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.84, "0.8 s"), (42, "42 s"), (1623, "27 min 3 s"), (7530, "2 h 5 min")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected


def test_markdown(small: Table) -> None:
    assert render(small, "markdown").splitlines() == [
        "**A title**",
        "",
        "| label | texts | F1 | p |",
        "| :-- | --: | --: | --: |",
        r"| joy & \<awe> \| 100%_ | 1,787 | 52.34 [50.1, 54.5] | \< 0.001 |",
        r"| \*grief\* | 6 | – | – |",
        "| *average* | *–* | *50.00* | *0.250* |",
        "",
        "a note of two lines",
    ]


def test_latex(small: Table) -> None:
    text = render(small, "latex")
    assert r"joy \& \textless{}awe\textgreater{} \textbar{} 100\%\_ & 1,787 & 52.34 [50.1, 54.5] &" in text
    assert r"\begin{tabular}{lrrr}" in text
    # the star is not the one of the line end before it
    assert "\n{}*grief* & 6 & -- & -- \\\\\n\\midrule\naverage" in text
    assert "–" not in text


def test_csv_keeps_full_precision(small: Table) -> None:
    header, *rows = csv.reader(io.StringIO(render(small, "csv")))
    assert header == ["label", "texts", "F1", "F1 low", "F1 high", "p"]
    assert rows[0] == ["joy & <awe> | 100%_", "1787", "0.52344", "0.5011", "0.545", "0.0004"]
    assert rows[1] == ["*grief*", "6", "", "", "", ""]
    assert rows[2] == ["average", "", "0.5", "", "", "0.25"]


def test_json_keeps_full_precision(small: Table) -> None:
    content = json.loads(render(small, "json"))
    assert content["title"] == "A title"
    assert content["rows"][0]["F1"] == {"value": 0.52344, "low": 0.5011, "high": 0.545}
    assert content["rows"][1]["F1"] == {"value": None, "low": None, "high": None}
    assert content["rows"][2]["texts"] is None


def test_terminal(small: Table) -> None:
    lines = render(small, "terminal").splitlines()
    joy = next(k for k, line in enumerate(lines) if "joy" in line)
    assert "52.34 [50.1, 54.5]" in lines[joy]
    assert lines[joy + 2].startswith("├")  # the footer is set apart
    assert any("a note" in line for line in lines)


def test_the_reason_for_an_empty_table_has_the_terminals_width() -> None:
    why = "the corpus is not on this machine, so the texts cannot be shown; get it with: emodef data download"
    lines = render(Table("Table V", (Column("text"),), (), (why,)), "terminal").splitlines()
    assert any(why in line for line in lines)


def test_unknown_forms_and_ragged_rows_are_refused(small: Table) -> None:
    with pytest.raises(SettingsError, match=r"'html'.*markdown"):
        render(small, "html")
    with pytest.raises(ValueError, match="3 cells in a table of 4"):
        replace(small, rows=(("joy", 1, 0.5),))


def test_table4_is_the_papers_with_ours_beside_it(report: Report) -> None:
    table = table4(report, TRAIN_SUPPORT)
    header, _, *rows = markdown_rows(render(table, "markdown"))
    assert header[:6] == ["label", "train", "test", "P", "R", "F1 [95% interval]"]
    assert header[6:] == [f"paper: {name}" for name in paper.table(4).columns]
    assert len(rows) == len(NAMES) + 2
    by_label = {row[0]: row for row in rows}
    result = {label.name: label for label in report.labels}["admiration"]
    own = by_label["admiration"]
    assert own[1:3] == ["500", str(result.support)]
    assert own[3:5] == [f"{100 * result.precision.value:.2f}", f"{100 * result.recall.value:.2f}"]
    assert result.f1.low is not None
    assert own[5].startswith(f"{100 * result.f1.value:.2f} [{100 * result.f1.low:.1f}, ")
    assert own[6:] == ["65.00", "66.85", "66.54", "67.42", "68.56"]
    assert r"grief \*" in by_label  # 77 training examples
    assert sum(label.endswith(r"\*") for label in by_label) == 1
    assert "fewer than 500 training examples" in render(table, "markdown")


def test_marks_are_for_people(report: Report) -> None:
    table = table4(report, TRAIN_SUPPORT)
    assert [row[0] for row in csv.reader(io.StringIO(render(table, "csv")))][1:29] == NAMES
    content = json.loads(render(table, "json"))
    assert [row["label"] for row in content["rows"]][:28] == NAMES
    assert not [note for note in content["notes"] if note.startswith("*")]
    assert len(content["notes"]) == len(table.notes) - 1
    assert "grief *" in render(table, "terminal")
    assert "grief * &" in render(table, "latex")
    marked = Table("", (Column("label"),), ((Marked("joy", " *"),), ("own *",)))
    assert render(marked, "csv") == "label\njoy\nown *\n"


def test_table4_ends_with_average_and_deviation(report: Report) -> None:
    *_, average, deviation = markdown_rows(render(table4(report), "markdown"))
    f1 = [label.f1.value for label in report.labels]
    assert average[0] == "*macro average*"
    assert average[4].strip("*").startswith(f"{100 * np.mean(f1):.2f} [")
    assert [cell.strip("*") for cell in average[-4:]] == ["50.17", "52.34", "51.25", "51.96"]
    assert deviation[4].strip("*") == f"{100 * np.std(f1, ddof=1):.2f}"
    assert [cell.strip("*") for cell in deviation[-4:]] == ["16.95", "15.60", "18.14", "15.47"]


def test_the_papers_figures_stand_only_beside_its_labels(
    report: Report, goemotions: tuple[Corpus, np.ndarray]
) -> None:
    assert len(table4(report).columns) == 5 + 5
    assert len(table4(report, paper=False).columns) == 5
    coarse = table4(report, level="ekman")
    assert "paper" not in render(coarse, "markdown")
    assert [row[0] for row in coarse.rows][:7] == list(LabelSet.load("ekman").names)
    assert "ekman labels" in coarse.title
    corpus, probabilities = goemotions
    with_train = evaluate_probabilities(
        probabilities, corpus, train_labels=corpus.labels, bootstrap=0, levels=[]
    )
    table = table4(with_train, paper=False)
    assert [column.title for column in table.columns][:3] == ["label", "train", "test"]
    assert table.columns[-1].title == "F1"
    assert "No intervals." in table.notes[0]


def test_train_support_must_fit(report: Report) -> None:
    with pytest.raises(SettingsError, match="no training support for grief"):
        table4(report, {name: 1 for name in NAMES if name != "grief"})
    with pytest.raises(SettingsError, match="28 labels"):
        table4(report, [1, 2, 3])
    assert table4(report, list(TRAIN_SUPPORT.values())) == table4(report, TRAIN_SUPPORT)


def test_runs_side_by_side(report: Report, goemotions: tuple[Corpus, np.ndarray]) -> None:
    corpus, probabilities = goemotions
    tuned = evaluate_probabilities(
        probabilities,
        corpus,
        thresholds=tune(probabilities, corpus),
        policy="per label, tuned on dev",
        bootstrap=50,
    )
    table = summary_table({"none": report, "none, tuned": tuned}, paper_rows=["BERT+CDP"])
    header, _, *rows = markdown_rows(render(table, "markdown"))
    assert [row[:2] for row in rows] == [
        ["none", "fixed 0.3"],
        ["none, tuned", "per label, tuned on dev"],
        ["paper: BERT+CDP", "fixed 0.3"],
    ]
    place = header.index("macro F1")
    assert rows[0][place].startswith(f"{100 * report.summary['macro_f1'].value:.2f} [")
    assert rows[1][place] != rows[0][place]
    assert rows[2][place] == "52.34"
    assert rows[2][header.index("macro P")] == "54.66"
    assert rows[2][header.index("micro F1")] == "–"
    coarse = summary_table({"none": report}, level="sentiment")
    sentiment = report.level("sentiment").summary["macro_f1"]
    assert coarse.rows[0][place] == sentiment
    with pytest.raises(SettingsError, match="no row 'GPT'"):
        summary_table({"none": report}, paper_rows=["GPT"])
    with pytest.raises(SettingsError, match="at least one run"):
        summary_table({})


def test_levels_and_labels(report: Report) -> None:
    rows = levels_table(report).rows
    assert [(row[0], row[1]) for row in rows] == [("goemotions", 28), ("ekman", 7), ("sentiment", 4)]
    table = labels_table(report)
    assert table.rows[0][:4] == ("admiration", 0.3, report.labels[0].support, report.labels[0].predicted)
    assert "Thresholds: fixed 0.3" in table.notes[0]
    assert "50 resamples, seed 0" in table.notes[0]


def test_an_undefined_label_is_said(goemotions: tuple[Corpus, np.ndarray]) -> None:
    corpus, probabilities = goemotions
    labels = corpus.labels.copy()
    labels[:, 3] = 0
    report = evaluate_probabilities(probabilities, replace(corpus, labels=labels), bootstrap=0, levels=[])
    text = render(labels_table(report), "markdown")
    assert "1 of 28 labels have no defined roc auc and are left out of its macro mean" in text
    assert table4(report).rows[3][:5] == (NAMES[3], 0, 0.0, 0.0, Estimate(0.0))
    assert all(render(table4(report), form) for form in RENDERERS)


def test_comparisons_are_corrected_for_their_number(goemotions: tuple[Corpus, np.ndarray]) -> None:
    corpus, probabilities = goemotions
    noise = np.random.default_rng(1).random(probabilities.shape)
    worse = np.clip(probabilities + noise - 0.5, 0, 1)
    gains = compare(worse, probabilities, corpus, bootstrap=200)
    nothing = compare(probabilities, probabilities, corpus, bootstrap=200)
    rows = comparison_table({"better": gains, "same": nothing}).rows
    assert rows[0][0] == "better"
    p, corrected = rows[0][4], rows[0][5]
    assert isinstance(p, float)
    assert p < 0.05
    assert corrected == pytest.approx(2 * p)
    assert rows[1][3] == Estimate(0, 0, 0)
    assert rows[1][4:] == (1, 1)
    labels = label_gains_table(gains, corpus.label_set.names)
    assert [row[0] for row in labels.rows] == NAMES
    with pytest.raises(SettingsError, match="do not have the metric"):
        comparison_table({"better": gains}, metric="mood")


def test_disagreements(goemotions: tuple[Corpus, np.ndarray]) -> None:
    corpus, probabilities = goemotions
    found = error_analysis(probabilities, corpus, top=4)
    table = disagreement_table(found)
    assert len(table.rows) == 4
    first = found.disagreements[0]
    assert table.rows[0] == (
        first.text,
        ", ".join(first.labels),
        ", ".join(first.predictions),
        first.confidence,
    )
    assert first.predicted in str(table.rows[0][2])
    assert len(pairs_table(found, top=3).rows) == 3


def test_a_result_page_says_how_to_get_it_again(small: Table, tmp_path: Path) -> None:
    provenance = Provenance(
        command="emodef evaluate runs/none",
        data="GoEmotions test",
        seeds=(42, 43),
        hardware="2 cores",
        commit="abc1234",
        seconds=1623,
        date="2026-11-23",
    )
    text = result_page("A result", [small, small], provenance, "What it shows.")
    assert text.startswith("# A result\n\nWhat it shows.\n\n**A title**\n\n| label |")
    assert text.count("**A title**") == 2
    for fact in (
        "`emodef evaluate runs/none`",
        "GoEmotions test",
        "42, 43",
        "2 cores",
        "`abc1234`",
        "27 min 3 s",
    ):
        assert fact in text.rpartition("a note of two lines")[2]  # under the tables
    write_result(tmp_path / "results" / "a.md", "A result", [small, small], provenance, "What it shows.")
    assert (tmp_path / "results" / "a.md").read_text(encoding="utf-8") == text


def test_the_papers_tables_agree_with_themselves() -> None:
    table = paper.table(4)
    figures = np.array(list(table.rows.values()))
    assert "2107.12135" in paper.source()
    # the baseline column was published in whole percent
    assert np.abs(figures.mean(axis=0) - table.macro_average)[1:].max() < 0.006
    assert np.abs(figures.std(axis=0, ddof=1) - table.std)[1:].max() < 0.006
    for name in ("BERT", "BERT+CDP", "BERT+MLM", "BERT+CDP+MLM"):
        assert paper.table(2).value(name, "test_f1") == table.macro_average[table.columns.index(name)]
    assert paper.table(3).value("0.5", "cdp_test") == paper.table(2).value("BERT+CDP", "test_f1")
    assert paper.table(2).value("Baseline (BERT, 4 epochs, GoEmotions paper)", "dev_f1") is None
    assert set(NAMES) == set(LabelSet.load("goemotions").names)
    with pytest.raises(KeyError):
        paper.table(2).value("BERT", "accuracy")
