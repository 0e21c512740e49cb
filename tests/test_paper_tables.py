"""The paper's tables from made-up runs: what stands where, and what was not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emodef import published
from emodef.bootstrap import Mean, holm
from emodef.errors import DataError
from emodef.evaluation import error_analysis
from emodef.labels import LabelSet
from emodef.paper.cells import NOT_RUN
from emodef.paper.controls import controls
from emodef.paper.results import find_runs
from emodef.paper.statistics import Study
from emodef.paper.table1 import find_examples, table1
from emodef.paper.table2 import table2
from emodef.paper.table3 import sweep, table3
from emodef.paper.table4 import table4
from emodef.paper.table5 import errors, table5
from emodef.paper.tables import TITLES, build, runs_table
from emodef.reporting import render
from table_reading import by_row, value
from tiny_results import MINILM, SEEN, write_corpus, write_results, write_run

REPOSITORY = Path(__file__).parent.parent
SAMPLE = REPOSITORY / "examples" / "sample"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return Study(find_runs(root / "results"), data_dir=root / "data", resamples=100)


@pytest.fixture(scope="module")
def nothing(root: Path) -> Study:
    return Study([], data_dir=root / "data")


def scored(study: Study, setup: str, split: str = "test", policy: str = "fixed", **row: Any) -> Mean:
    found = study.value(study.blocks[0].find("BERT", setup, **row), split, policy)
    assert found is not None
    return found


def test_table2_has_the_papers_rows_beside_ours(study: Study) -> None:
    rows = by_row(table2(study)["paper-fixed"])
    paper = published.table(2)
    assert list(rows)[:7] == [
        "Baseline (BERT, 4 epochs, GoEmotions paper)",
        "BERT",
        "XLNet",
        "RoBERTa",
        "ALBERT",
        "MiniLM",
        "MPNet",
    ]
    for name, printed in paper.rows.items():
        theirs = [cell for title, cell in rows[name].items() if title.startswith("paper:")]
        assert theirs == [None if number is None else pytest.approx(number / 100) for number in printed]
    assert rows["BERT+CDP"]["seeds"] == "1, 2"
    assert rows["BERT+CDP"]["test F1 [95%]"] == scored(study, "cdp")
    assert rows["BERT+CDP"]["dev F1"].value == scored(study, "cdp", "dev").value
    assert rows["BERT+CDP"]["dev F1"].low is None
    for missing in ("XLNet", "ALBERT", "BERT+MLM", "MiniLM", "MPNet+match"):
        ours = [cell for title, cell in rows[missing].items() if not title.startswith(("paper:", "model"))]
        assert ours == [NOT_RUN, *[None] * 6]
    assert rows["Baseline (BERT, 4 epochs, GoEmotions paper)"]["seeds"] == "42"
    assert "BERT+match, emotion head" in rows


def test_table2_keeps_recipes_apart(study: Study) -> None:
    parts = table2(study)
    own = by_row(parts["minilm-fixed"])
    assert list(own) == ["MiniLM", "MiniLM+CDP", "MiniLM+MLM", "MiniLM+CDP+MLM", "MiniLM+match"]
    assert own["MiniLM"]["seeds"] == "42"
    assert own["MiniLM+CDP"]["seeds"] == NOT_RUN
    assert not any(column.title.startswith("paper") for column in parts["minilm-fixed"].columns)
    assert "recipe minilm: batch_size 32, epochs 4, learning_rate 0.00015" in parts["minilm-fixed"].title
    assert by_row(parts["paper-fixed"])["MiniLM"]["seeds"] == NOT_RUN
    assert not any(name.startswith("paper-baseline") for name in parts)
    assert not any(column.title.startswith("paper:") for column in parts["paper-tuned"].columns)


def test_table2_gains_are_corrected_for_their_number(study: Study) -> None:
    gains = by_row(table2(study)["paper-gains-fixed"])
    assert list(gains) == [
        "RoBERTa over BERT",
        "BERT+CDP over BERT",
        "BERT+match over BERT",
        "BERT+match, emotion head over BERT",
    ]
    found = study.gain(study.blocks[0].find("BERT", "none"), study.blocks[0].find("BERT", "match"), "fixed")  # type: ignore[arg-type]
    assert found is not None
    assert gains["BERT+match over BERT"]["gain"] == found.summary["macro_f1"].gain
    assert [row["p, Holm"] for row in gains.values()] == pytest.approx(
        list(holm([row["p"] for row in gains.values()]))
    )


def test_table2_without_the_texts_of_train(study: Study) -> None:
    table = table2(study)["paper-unseen"]
    row = by_row(table)["BERT+CDP"]
    other = study.value(study.blocks[0].find("BERT", "cdp"), "test", "tuned", unseen=True)
    assert row["thresholds tuned on dev: without them"] == other
    assert row["at 0.3: all texts"] == scored(study, "cdp")
    assert f"without the {SEEN} of 110 test texts ({SEEN - 1} different ones)" in table.notes[0]


def test_table3_shows_every_p_with_its_steps(study: Study) -> None:
    parts = table3(study)
    table = parts["paper-bert-fixed"]
    rows = {
        (row[0], row[1]): dict(zip([c.title for c in table.columns], row, strict=True)) for row in table.rows
    }
    assert len(rows) == 3 * 9 + 2
    paper = published.table(3)
    for (setup, column), p in [
        (pair, p) for pair in (("BERT+CDP", "cdp"), ("BERT+CDP+MLM", "cdp_mlm")) for p in (0.1, 0.5, 0.9)
    ]:
        for split in ("dev", "test"):
            printed = paper.value(f"{p:g}", f"{column}_{split}")
            assert printed is not None
            assert rows[setup, p][f"paper: {split} F1"] == pytest.approx(printed / 100)
    one = rows["BERT+CDP", 0.1]
    assert (value(one["primary steps"]), one["primary steps"].std) == (
        2.5,
        pytest.approx(np.std([2, 3], ddof=1)),
    )
    assert value(one["all steps"]) == 11.5
    assert value(one["equal: primary steps"]) == 11.5
    assert value(one["equal: all steps"]) == 101.5
    assert one["equal: test F1 [95%]"] == scored(study, "cdp", p=0.1, budget="primary")
    assert one["test F1 [95%]"] == scored(study, "cdp", p=0.1)
    assert rows["BERT+CDP", 0.2]["seeds"] == NOT_RUN
    assert rows["BERT+MLM", 0.5]["equal primary steps: seeds"] == NOT_RUN
    assert rows["BERT, every step primary", None]["test F1 [95%]"] == scored(study, "none")
    fewer = rows["BERT, at the primary steps of p = 0.5", None]
    assert fewer["test F1 [95%]"] == scored(study, "none", steps_as_p=0.5)
    assert value(fewer["all steps"]) == 7.5
    assert any("CDP: best on dev at p = 0.5, of 2 values" in note for note in table.notes)
    gains = by_row(parts["paper-bert-gains-fixed"])
    assert set(gains) == {
        "CDP, p = 0.1 over p = 0.5",
        "CDP, p = 0.1, equal primary steps, over BERT",
        "CDP, p = 0.5, over BERT, at the primary steps of p = 0.5",
        "CDP, p = 0.5, equal primary steps, over BERT",
    }
    assert gains["CDP, p = 0.1 over p = 0.5"]["gain"].value < 0
    assert not any(name.startswith("minilm") for name in parts)  # no sweep there


def test_sweep_as_data(study: Study) -> None:
    points = sweep(study.blocks[0], "BERT")
    assert [(point.setup.name, point.p) for point in points][:2] == [("cdp", 0.1), ("cdp", 0.2)]
    assert points[0].paper == (pytest.approx(0.4457), pytest.approx(0.4405))
    assert points[0].total is not None
    assert points[0].primary is not None
    assert points[1].total is None
    assert sweep(study.blocks[-1], "MiniLM")[0].paper == (None, None)


@pytest.mark.parametrize("policy", ["fixed", "tuned"])
def test_table4_by_label(study: Study, policy: str) -> None:
    table = table4(study)[f"paper-bert-{policy}"]
    rows = by_row(table)
    names = LabelSet.load("goemotions").names
    corpus = study.need()
    support = corpus["train"].labels.sum(axis=0)
    assert list(rows) == [*names, "macro average", "std over labels"]
    assert all(row.mark == " *" for row in list(rows)[: len(names)])  # a tiny corpus
    assert [row["train"] for row in list(rows.values())[: len(names)]] == support.tolist()
    group = study.blocks[0].find("BERT", "cdp")
    assert group is not None
    found = study.scored(group, "test", policy)
    assert found is not None
    ours = [row["BERT+CDP"] for row in list(rows.values())[: len(names)]]
    assert ours == found.labels()
    values = [label.value for label in ours]
    assert value(rows["macro average"]["BERT+CDP"]) == pytest.approx(np.mean(values))
    assert rows["std over labels"]["BERT+CDP"] == pytest.approx(np.std(values, ddof=1))
    assert rows["macro average"]["BERT+MLM"] == NOT_RUN
    paper = published.table(4)
    for name, printed in paper.rows.items():
        theirs = [cell for title, cell in rows[name].items() if title.startswith("paper:")]
        assert theirs == pytest.approx([number / 100 for number in printed if number is not None])
    assert [c for t, c in rows["macro average"].items() if t.startswith("paper:")] == pytest.approx(
        [n / 100 for n in paper.macro_average]
    )
    assert rows["macro average"]["Baseline"].n == 1


def test_table4_marks_only_labels_with_few_texts(monkeypatch: pytest.MonkeyPatch, study: Study) -> None:
    monkeypatch.setitem(study.__dict__, "train_support", [499, 500, *[501] * 26])
    table = table4(study, ["fixed"])["paper-bert-fixed"]
    shown = [line.split(" | ")[0] for line in render(table, "markdown").splitlines() if line.startswith("| ")]
    assert [name for name in shown if name.endswith(r" \*")] == [r"| admiration \*"]
    assert list(by_row(table))[:3] == ["admiration", "amusement", "anger"]


def test_table4_gains_are_corrected_over_all_labels_and_setups(study: Study) -> None:
    table = table4(study)["paper-bert-gains-fixed"]
    titles = [column.title for column in table.columns]
    pairs = {"Baseline": None, "BERT+CDP": None, "BERT+match": None, "BERT+match, emotion head": None}
    assert titles[1::2] == list(pairs)
    raw = []
    alone = study.blocks[0].find("BERT", "none")
    assert alone is not None
    for setup in ("cdp", "match"):
        other = study.blocks[0].find("BERT", setup)
        assert other is not None
        found = study.gain(alone, other, "fixed")
        assert found is not None
        raw.append([gain.p_value for gain in found.label_f1])
        column = titles.index(f"BERT+{'CDP' if setup == 'cdp' else 'match'}")
        assert [row[column] for row in table.rows] == [gain.gain for gain in found.label_f1]
        smallest = int(np.argmin(raw[-1]))
        corrected = table.rows[smallest][column + 1]
        assert isinstance(corrected, float)
        assert corrected >= raw[-1][smallest]
    assert f"{28 * 4} comparisons" in table.notes[0]


def test_table4_says_when_the_resamples_are_too_few_to_tell(study: Study) -> None:
    """112 comparisons: the smallest p, 2 / (R + 1), is below 0.05 / 112 from 4,480 resamples on."""
    note = table4(study)["paper-bert-gains-fixed"].notes[0]
    assert "100 resamples are too few to tell of these 112 comparisons" in note
    assert "take 4,480 or more" in note
    assert 112 * 2 / (4480 + 1) < 0.05 <= 112 * 2 / (4479 + 1)


def test_setups_that_the_paper_has_no_name_for_are_rows_too(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "data")
    made: dict[str, dict[str, Any]] = {
        "none": {},
        "both": {"setup": "match+cdp", "skill": 0.4},
        "both-longer": {"setup": "cdp+match", "budget": "primary"},
        "both-p3": {"setup": "cdp+match", "p": 0.3},
        "own": {"setup": "mlm+match", **MINILM},
    }
    for name, given in made.items():
        write_run(tmp_path / "results" / name, corpus, **given)
    study = Study(find_runs(tmp_path / "results"), data_dir=tmp_path / "data", resamples=20)
    both = scored(study, "cdp+match")
    title, parts = "BERT+match+CDP", table2(study)
    rows = by_row(parts["paper-fixed"])
    assert rows[title]["test F1 [95%]"] == both
    assert f"{title}, emotion head" in rows
    assert "MiniLM+match+MLM" in by_row(parts["minilm-fixed"])
    assert "MiniLM+match+MLM" not in rows
    assert f"{title} over BERT" in by_row(parts["paper-gains-fixed"])
    by_label = table4(study)
    assert title in [column.title for column in by_label["paper-bert-fixed"].columns]
    assert title in [column.title for column in by_label["paper-bert-gains-fixed"].columns]
    points = [point for point in sweep(study.blocks[0], "BERT") if point.setup.name == "cdp+match"]
    assert [(point.p, point.paper) for point in points] == [(0.3, (None, None)), (0.5, (None, None))]
    assert (points[0].primary, points[1].primary is None) == (None, False)
    control = controls(study)
    assert by_row(control["paper-bert-fixed"])[title]["test F1 [95%]"] == both
    assert f"{title}, equal primary steps" in by_row(control["paper-bert-fixed"])
    assert "paper-bert-gains-fixed" not in control  # matching alone, which it is compared with, was not run


def test_table5_shows_the_errors_of_the_setup_best_on_dev(study: Study) -> None:
    found = errors(study)
    assert found is not None
    assert (found.group.title, found.run.seed) == ("BERT+match", 1)
    corpus = study.need()["test"]
    expected = error_analysis(found.run.probabilities("test"), corpus, thresholds=0.3)
    assert found.analysis.disagreements == expected.disagreements
    parts = table5(study)
    assert set(parts) == {"disagreements", "pairs"}  # the paper's texts are not in this corpus
    assert [row[0] for row in parts["disagreements"].rows] == [each.text for each in expected.disagreements]
    assert any(
        "BERT+match, seed 1; the paper's settings; at 0.3" in note for note in parts["disagreements"].notes
    )
    assert any("CC BY 4.0" in note for note in parts["disagreements"].notes)
    other = study.blocks[-1].groups[0]
    asked = errors(study, "tuned", group=other)
    assert asked is not None
    assert asked.run is other.runs[0]
    assert asked.block is study.blocks[-1]


def test_controls(study: Study) -> None:
    parts = controls(study)
    rows = by_row(parts["paper-bert-fixed"])
    assert rows["BERT"]["test F1 [95%]"] == scored(study, "none")
    assert rows["BERT, at their primary steps"]["test F1 [95%]"] == scored(study, "none", steps_as_p=0.5)
    assert value(rows["BERT, at their primary steps"]["primary steps"]) == value(
        rows["BERT+CDP"]["primary steps"]
    )
    assert rows["BERT+CDP, equal primary steps"]["test F1 [95%]"] == scored(study, "cdp", budget="primary")
    assert value(rows["BERT+CDP, equal primary steps"]["all steps"]) == 19.5
    assert value(rows["BERT+CDP"]["minutes"]) == 1.5
    assert rows["BERT+MLM"]["seeds"] == NOT_RUN
    held = rows["BERT+CDP, gradients held to 0.1"]
    assert held["test F1 [95%]"] == scored(study, "cdp", auxiliary_clip=0.1) != scored(study, "cdp")
    assert rows["BERT+MLM, gradients held to 0.1"]["seeds"] == NOT_RUN
    assert any("not to 1 as a primary step's" in note for note in parts["paper-bert-fixed"].notes)
    assert not any("held to" in str(row) for row in by_row(parts["minilm-minilm-fixed"]))
    gains = by_row(parts["paper-bert-gains-fixed"])
    assert set(gains) == {
        "BERT+CDP over BERT: equal steps in all",
        "BERT+CDP over BERT at their primary steps",
        "BERT+CDP, equal primary steps, over BERT",
        "BERT+CDP, gradients held to 0.1, over BERT+CDP",
        "BERT+CDP, gradients held to 0.1, over BERT: equal steps in all",
        "BERT+CDP, gradients held to 0.1, over BERT at their primary steps",
        "BERT+match over BERT: equal steps",
    }
    row = gains["BERT+CDP over BERT at their primary steps"]
    assert row["first"] == pytest.approx(scored(study, "none", steps_as_p=0.5).value)
    assert row["second"] == pytest.approx(scored(study, "cdp").value)


@pytest.mark.parametrize("name", ["table2", "table3", "table4", "table5", "controls", "runs"])
def test_nothing_was_run(nothing: Study, name: str) -> None:
    parts = build(name, nothing, ("fixed", "tuned"))
    text = "".join(render(table, "markdown") for table in parts.values())
    assert NOT_RUN in text
    assert not any("gains" in slug or "tuned" in slug for slug in parts)
    if name in ("table2", "table3", "table4"):
        assert "52.34" in text  # the paper's figures are there all the same


@pytest.mark.parametrize("name", list(TITLES))
def test_without_the_corpus(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    told: list[str] = []
    bare = Study(find_runs(root / "results"), data_dir=root / "nowhere", report=told.append)
    assert any("emodef data fetch goemotions" in message for message in told)
    if name == "table1":
        with pytest.raises(DataError, match="examples/sample"):
            build(name, bare, ["fixed"], root / "nowhere")
        return
    parts = build(name, bare, ["fixed"], root / "nowhere")
    assert not any("gains" in slug or "unseen" in slug for slug in parts)
    text = "".join(render(table, "markdown") for table in parts.values())
    assert str(root) not in text
    if name != "runs":
        assert "the corpus goemotions is not at hand" in text
    if name == "table2":
        assert f"{100 * scored(bare, 'cdp').value:.2f} ± " in text


def test_table1_from_the_sample(root: Path) -> None:
    parts = table1(root / "nowhere", sample=SAMPLE, seed=7)
    examples = parts["examples"]
    assert len(examples.rows) == 5
    labels = [str(row[1]).split(", ") for row in examples.rows]
    assert sorted(map(len, labels)) == [1, 1, 1, 1, 2]
    assert len({name for held in labels for name in held}) == 6
    known = LabelSet.load("goemotions")
    definitions = dict(zip(known.names, known.definitions, strict=True))
    pairs = parts["pairs"].rows
    for text, held in zip([row[0] for row in examples.rows], labels, strict=True):
        own = [row for row in pairs if row[0] == text]
        assert [row[1] for row in own if row[3] == "IsDefinition"] == held
        others = [row[1] for row in own if row[3] == "IsNotDefinition"]
        assert len(others) == len(held)
        assert not set(others) & set(held)
        assert all(row[2] == definitions[str(row[1])] for row in own)
    assert parts["examples"] == table1(root / "nowhere", sample=SAMPLE, seed=7)["examples"]
    assert {row[0] for row in parts["figure1"].rows} == {examples.rows[0][0]}


def test_examples_are_found_by_id_across_splits(study: Study) -> None:
    corpus = study.need()
    found = find_examples(corpus, ("test-3", "train-0", "dev-2"))
    assert found is not None
    assert found.texts == [corpus["test"].texts[3], corpus["train"].texts[0], corpus["dev"].texts[2]]
    assert found.labels.tolist() == [
        corpus["test"].labels[3].tolist(),
        corpus["train"].labels[0].tolist(),
        corpus["dev"].labels[2].tolist(),
    ]
    assert find_examples(corpus, ("test-3", "nowhere")) is None


def test_runs_table(study: Study) -> None:
    rows = by_row(runs_table(study))
    assert len(rows) == len(study.runs) == 20
    assert rows["held-1"]["settings"] == "paper, auxiliary_clip 0.1"
    assert rows["cdp-2"]["p"] == 0.5
    assert rows["longer-1"]["settings"] == "paper, budget primary"
    assert rows["half-1"]["settings"] == "paper, steps_as_p 0.5"
    assert (rows["own-mlm"]["model"], rows["own-mlm"]["settings"]) == ("MiniLM+MLM", "minilm")
    assert rows["none-1"]["p"] is None
