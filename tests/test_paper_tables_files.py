"""The paper's tables in every form, as files, from the command line, and from the repository's runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from commands import emodef_command
from emodef.bootstrap import Mean
from emodef.errors import MissingExtraError
from emodef.paper.controls import controls
from emodef.paper.results import find_runs
from emodef.paper.statistics import Study
from emodef.paper.table2 import table2
from emodef.paper.table4 import table4
from emodef.paper.tables import RECIPES, TITLES, build, write
from emodef.reporting import RENDERERS, Table, render
from table_reading import by_row, value
from tiny_results import write_corpus, write_results, write_run

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parent.parent
SAMPLE = REPOSITORY / "examples" / "sample"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def study(root: Path) -> Study:
    return Study(find_runs(root / "results"), data_dir=root / "data", resamples=100)


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
    assert {"figure3.svg", "figure3.png", "figures.md"} <= names
    page = (out / "figures.md").read_text(encoding="utf-8")
    assert "](figure3.svg)\n\n**" in page
    assert "(figure1.svg)" not in page  # it could not be drawn
    assert "`emodef paper all" in page
    assert "[runs.md](runs.md)" in (out / "table2.md").read_text(encoding="utf-8")
    assert "runs.md" not in (out / "table1.md").read_text(encoding="utf-8")  # no run is behind it
    assert {f"{name}{suffix}" for name in TITLES for suffix in (".md", ".tex")} <= names
    assert {
        "table2-paper-fixed.csv",
        "table4-paper-bert-gains-fixed.csv",
        "table1-examples.csv",
        "runs-all.csv",
    } <= names
    refused = emodef_command("paper", "table2", *common, "--format", "csv", code=2)
    assert "--out" in refused.stderr
    told = json.loads(emodef_command("paper", "table2", *common, "--format", "json").stdout)
    assert [each["table"] for each in told][:2] == ["paper-fixed", "paper-tuned"]
    assert {each["of"] for each in told} == {"table2"}
    assert all(each["rows"] for each in told)
    assert json.loads(emodef_command("paper", "runs", *common, "--format", "json").stdout)[0]["rows"]
    runs = emodef_command("paper", "runs", *common, "--format", "csv")
    assert len(list(csv.reader(io.StringIO(runs.stdout)))) == 1 + 20
    missing = emodef_command("paper", "table3", "--results", tmp_path / "none", code=3)
    assert "--results" in missing.stderr
    emodef_command("paper", "table9", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table2", "--format", "json", "--out", "somewhere"], "--format is for printing"),
        (["confusion", "--format", "json"], "--format is for tables"),
        (["table2", "--texts", "3"], "--texts is for table5"),
        (["table5", "--texts", "3"], "name its file with --page"),
        (["table2", "--of", "nowhere"], "--of is for confusion"),
        (["table2", "--order", "nonsense"], "--order is for confusion"),
        (["figure1", "--recipe", "minilm"], "--recipe is for figure2"),
        (["table4", "--text", "a text"], "--text is for figure1 and figure2"),
        (["figure3", "--policy", "tuned"], "--policy is for table2"),
        (["figure1", "--policy", "tuned"], "--policy is for table2"),
        (["table5", "--page", "p.html", "--out", "o"], "--page writes its file alone; leave out --out"),
        (["table5", "--page", "p.html", "--run"], "leave out --run"),
        (["table3", "--run", "--format", "csv"], "known when all has run"),
    ],
)
def test_options_of_another_table_are_refused(arguments: list[str], message: str) -> None:
    assert message in " ".join(emodef_command("paper", *arguments, code=2).stderr.split())


def test_command_tells_of_damaged_runs(root: Path, tmp_path: Path) -> None:
    (tmp_path / "results" / "broken").mkdir(parents=True)
    (tmp_path / "results" / "broken" / "settings.json").write_text("{}", encoding="utf-8")
    common = ["--results", tmp_path / "results", "--data-dir", root / "data"]
    shown = emodef_command("paper", "runs", *common)
    assert "broken: is not finished" in shown.stderr
    assert "broken" not in emodef_command("paper", "runs", *common, "--quiet").stderr


def test_command_makes_only_the_runs_that_are_missing(root: Path, tmp_path: Path) -> None:
    """All runs of the recipes are there, by their settings and texts: nothing is trained, and the table is built."""
    pytest.importorskip("pydantic")
    from emodef.train.settings import load_experiment

    corpus = write_corpus(tmp_path / "data")
    wanted = {recipe: load_experiment(recipe).runs for recipe in RECIPES["controls"]}
    for number, settings in enumerate(run for runs in wanted.values() for run in runs):
        changed = settings.model_dump(mode="json", exclude={"description"})
        del changed["corpus"]
        write_run(tmp_path / "results" / str(number), corpus, **changed)
    common = ["--results", tmp_path / "results", "--data-dir", tmp_path / "data", "--resamples", 50]
    shown = emodef_command("paper", "controls", *common, "--run", "--policy", "fixed", "--format", "markdown")
    for runs in wanted.values():
        assert f"{len(runs)} runs: 0 finished now, {len(runs)} before, 0 failed" in shown.stderr
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


@pytest.mark.skipif(
    not (REPOSITORY / "results" / "minilm").is_dir(), reason="a source archive has no results"
)
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
    label = by_row(table4(study)["minilm-minilm-fixed"])["grief"]
    assert (label["train"], label["test"]) == (77, 6)
    assert round(100 * value(label["MiniLM+match"]), 2) == 44.44
