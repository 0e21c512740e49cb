"""The paper's tables from made-up runs and from the repository's: what stands where, what was not run, every form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import emodef_command
from emodef import published
from emodef.bootstrap import Estimate, Mean, holm
from emodef.errors import DataError, MissingExtraError
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
from emodef.paper.tables import RECIPES, TITLES, build, runs_table, write
from emodef.reporting import RENDERERS, Table, render
from tiny_results import MINILM, SEEN, write_corpus, write_run

REPOSITORY = Path(__file__).parent.parent
SAMPLE = REPOSITORY / "examples" / "sample"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tables")
    corpus = write_corpus(root / "data")
    runs: dict[str, dict[str, Any]] = {
        "none": {"skill": 0.25},
        "cdp": {"setup": "cdp", "skill": 0.3, "steps": (6, 4)},
        "match": {"setup": "match", "skill": 0.6},
        "half": {"steps_as_p": 0.5, "steps": (6, 0)},
        "longer": {"setup": "cdp", "budget": "primary", "steps": (10, 8)},
        "p1": {"setup": "cdp", "p": 0.1, "skill": 0.1, "steps": (1, 9)},
        "p1-longer": {"setup": "cdp", "p": 0.1, "budget": "primary", "steps": (10, 90)},
    }
    for name, given in runs.items():
        for seed in (1, 2):
            skill, (primary, auxiliary) = given.get("skill", 0.2), given.get("steps", (10, 0))
            changed = {key: value for key, value in given.items() if key not in ("skill", "steps")}
            steps = (primary + seed, auxiliary)
            write_run(
                root / "results" / f"{name}-{seed}", corpus, skill=skill, steps=steps, seed=seed, **changed
            )
    write_run(root / "results" / "baseline", corpus, epochs=4, keep="last")
    write_run(root / "results" / "roberta", corpus, backbone="roberta-base")
    write_run(root / "results" / "own", corpus, **MINILM, skill=0.3)
    write_run(root / "results" / "own-mlm", corpus, **MINILM, setup="mlm")
    return root


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return Study(find_runs(root / "results"), data_dir=root / "data", resamples=100)


@pytest.fixture(scope="module")
def nothing(root: Path) -> Study:
    return Study([], data_dir=root / "data")


def by_row(table: Table, key: int = 0) -> dict[Any, dict[str, Any]]:
    titles = [column.title for column in table.columns]
    return {row[key]: dict(zip(titles, row, strict=True)) for row in table.rows}


def value(cell: Any) -> float:
    assert isinstance(cell, Estimate)
    return cell.value


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
    assert len(rows) == 3 * 9 + 1
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
    assert any("CDP: best on dev at p = 0.5, of 2 values" in note for note in table.notes)
    gains = by_row(parts["paper-bert-gains-fixed"])
    assert set(gains) == {
        "CDP, p = 0.1 over p = 0.5",
        "CDP, p = 0.1, equal primary steps, over BERT",
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
    assert [str(row).removesuffix(" *") for row in rows] == [*names, "macro average", "std over labels"]
    assert all(str(row).endswith(" *") for row in list(rows)[: len(names)])  # a tiny corpus
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
        theirs = [cell for title, cell in rows[f"{name} *"].items() if title.startswith("paper:")]
        assert theirs == pytest.approx([number / 100 for number in printed if number is not None])
    assert [c for t, c in rows["macro average"].items() if t.startswith("paper:")] == pytest.approx(
        [n / 100 for n in paper.macro_average]
    )
    assert rows["macro average"]["Baseline"].n == 1


def test_table4_marks_only_labels_with_few_texts(monkeypatch: pytest.MonkeyPatch, study: Study) -> None:
    monkeypatch.setitem(study.__dict__, "train_support", [499, 500, *[501] * 26])
    names = [str(row) for row in by_row(table4(study, ["fixed"])["paper-bert-fixed"])]
    assert names[:3] == ["admiration *", "amusement", "anger"]
    assert sum(name.endswith("*") for name in names) == 1


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
    gains = by_row(parts["paper-bert-gains-fixed"])
    assert set(gains) == {
        "BERT+CDP over BERT: equal steps in all",
        "BERT+CDP over BERT at their primary steps",
        "BERT+CDP, equal primary steps, over BERT",
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
    assert len(rows) == len(study.runs) == 18
    assert rows["cdp-2"]["p"] == 0.5
    assert rows["longer-1"]["settings"] == "paper, budget primary"
    assert rows["half-1"]["settings"] == "paper, steps_as_p 0.5"
    assert (rows["own-mlm"]["model"], rows["own-mlm"]["settings"]) == ("MiniLM+MLM", "minilm")
    assert rows["none-1"]["p"] is None


@pytest.mark.parametrize("form", list(RENDERERS))
def test_every_table_has_every_form(study: Study, form: str) -> None:
    for name in ("table2", "table3", "table4", "controls"):
        for table in build(name, study, ["fixed"]).values():
            text = render(table, form)
            if form == "csv":
                check_csv(table, list(csv.reader(io.StringIO(text))))
            elif form == "json":
                assert len(json.loads(text)["rows"]) == len(table.rows)
            elif form == "latex":
                assert text.count(r"\\") >= len(table.rows)
                assert "±" not in text
            elif form == "markdown":
                assert sum(line.startswith("|") for line in text.splitlines()) == len(table.rows) + 2
            else:
                assert table.title.split(";")[0].split(",")[0] in text


def check_csv(table: Table, read: list[list[str]]) -> None:
    assert len(read) == len(table.rows) + 1
    for row, written in zip(table.rows, read[1:], strict=True):
        held = dict(zip(read[0], written, strict=True))
        for column, cell in zip(table.columns, row, strict=True):
            if isinstance(cell, Mean):
                assert float(held[column.title]) == cell.value
                if cell.std is not None:
                    assert float(held[f"{column.title} std"]) == cell.std
                if cell.low is not None:
                    assert float(held[f"{column.title} low"]) == cell.low
            elif cell is None:
                assert held[column.title] == ""


def test_a_mean_is_written_with_its_deviation() -> None:
    from emodef.reporting import Column, format_cell

    assert format_cell(Mean(0.5, 0.4, 0.6, 0.01, 3), Column("F1", "percent")) == "50.00 ± 1.00 [40.0, 60.0]"
    assert format_cell(Mean(0.5, n=1), Column("F1", "percent")) == "50.00"
    assert format_cell(Mean(12.4, std=1.6, n=2), Column("steps", "count")) == "12 ± 2"
    assert format_cell(Mean(0.5, std=0.01, n=2), Column("gain", "gain")) == "+50.00 ± 1.00"


def test_written_files(study: Study, tmp_path: Path) -> None:
    parts = build("table2", study, ["fixed"])
    paths = write("table2", parts, tmp_path / "new" / "folder", "emodef paper table2 --out x")
    assert sorted(path.name for path in paths) == sorted(
        ["table2.md", "table2.tex", *(f"table2-{slug}.csv" for slug in parts)]
    )
    assert all(path.is_file() for path in paths)
    page = (tmp_path / "new" / "folder" / "table2.md").read_text(encoding="utf-8")
    assert page.startswith("# Table II")
    assert "`emodef paper table2 --out x`" in page
    before = {path: path.read_bytes() for path in paths}
    write(
        "table2",
        build("table2", study, ["fixed"]),
        tmp_path / "new" / "folder",
        "emodef paper table2 --out x",
    )
    assert {path: path.read_bytes() for path in paths} == before


def test_command(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emodef.cli import papers_figures

    def cannot(_: object) -> Any:
        raise MissingExtraError("needs a package that is not here")

    figures = {
        "figure1": cannot,
        "figure3": papers_figures.FIGURES["figure3"],
    }  # the others have tests of their own
    monkeypatch.setattr(papers_figures, "FIGURES", figures)
    common = ["--results", root / "results", "--data-dir", root / "data", "--resamples", 50]
    shown = emodef_command("paper", "table2", *common, "--policy", "fixed", "--format", "markdown")
    assert "| BERT+CDP | 1, 2 |" in shown.stdout
    assert "tuned" not in shown.stdout
    out = tmp_path / "out"
    made = emodef_command("paper", "all", *common, "--policy", "fixed", "--out", out, "--quiet")
    assert "figure1 is not drawn: needs a package" in made.stderr
    names = {path.name for path in out.iterdir()}
    assert {"figure3.svg", "figure3.png"} <= names
    assert {f"{name}{suffix}" for name in TITLES for suffix in (".md", ".tex")} <= names
    assert {
        "table2-paper-fixed.csv",
        "table4-paper-bert-gains-fixed.csv",
        "table1-examples.csv",
        "runs-all.csv",
    } <= names
    refused = emodef_command("paper", "table2", *common, "--format", "csv", code=2)
    assert "--out" in refused.stderr
    runs = emodef_command("paper", "runs", *common, "--format", "csv")
    assert len(list(csv.reader(io.StringIO(runs.stdout)))) == 1 + 18
    missing = emodef_command("paper", "table3", "--results", tmp_path / "none", code=3)
    assert "--results" in missing.stderr
    emodef_command("paper", "table9", code=2)


def test_command_tells_of_damaged_runs(root: Path, tmp_path: Path) -> None:
    (tmp_path / "results" / "broken").mkdir(parents=True)
    (tmp_path / "results" / "broken" / "settings.json").write_text("{}", encoding="utf-8")
    common = ["--results", tmp_path / "results", "--data-dir", root / "data"]
    shown = emodef_command("paper", "runs", *common)
    assert "broken: is not finished" in shown.stderr
    assert "broken" not in emodef_command("paper", "runs", *common, "--quiet").stderr


def test_command_makes_only_the_runs_that_are_missing(root: Path, tmp_path: Path) -> None:
    """All runs of the recipe are there, by their settings and texts: nothing is trained, and the table is built."""
    pytest.importorskip("pydantic")
    from emodef.train.settings import load_experiment

    corpus = write_corpus(tmp_path / "data")
    wanted = load_experiment("minilm_campaign").runs
    for number, settings in enumerate(wanted):
        changed = settings.model_dump(mode="json", exclude={"description"})
        del changed["corpus"]
        write_run(tmp_path / "results" / str(number), corpus, **changed)
    common = ["--results", tmp_path / "results", "--data-dir", tmp_path / "data", "--resamples", 50]
    shown = emodef_command("paper", "controls", *common, "--run", "--policy", "fixed", "--format", "markdown")
    assert f"{len(wanted)} runs: 0 finished now, {len(wanted)} before, 0 failed" in shown.stderr
    assert shown.stdout.startswith("**")
    assert "| MiniLM, at their primary steps | 42, 43 |" in shown.stdout
    refused = emodef_command("paper", "table1", *common, "--run", code=2)
    assert "leave out --run" in refused.stderr


def test_every_table_knows_its_recipes() -> None:
    pytest.importorskip("pydantic")
    from emodef.train.settings import load_experiment

    assert {"table2", "table3", "table4", "table5", "controls", "figure3"} <= set(RECIPES)
    for recipe in {recipe for recipes in RECIPES.values() for recipe in recipes}:
        experiment = load_experiment(recipe)
        assert experiment.runs or experiment.transfer


def figures(table: Table, titles: Mapping[str, str]) -> dict[str, float]:
    rows = by_row(table)
    return {name: round(100 * value(rows[name][title]), 2) for name, title in titles.items()}


def test_the_repositorys_runs_give_the_figures_they_are_reported_with() -> None:
    """Without the corpus: the figures stored with them. docs/results/minilm.md has the same."""
    runs = [run for run in find_runs(REPOSITORY / "results" / "minilm") if run.seed == 42]
    study = Study(runs, data_dir=REPOSITORY / "nowhere")
    title = "test F1 [95%]"
    wanted = {"MiniLM": title, "MiniLM+CDP": title, "MiniLM+match": title}
    assert figures(table2(study)["minilm-fixed"], wanted) == {
        "MiniLM": 47.64,
        "MiniLM+CDP": 39.53,
        "MiniLM+match": 52.55,
    }
    row = by_row(controls(study)["minilm-minilm-fixed"])["MiniLM+CDP"]
    assert (value(row["primary steps"]), value(row["all steps"])) == (2702, 5428)
    label = by_row(table4(study)["minilm-minilm-fixed"])["grief *"]
    assert (label["train"], label["test"]) == (77, 6)
    assert round(100 * value(label["MiniLM+match"]), 2) == 44.44
