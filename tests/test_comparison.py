"""Runs beside each other: tables of real run folders over a small corpus of our own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from emodef.cli.app import app
from emodef.comparison import Contender, compare_runs
from emodef.corpora import Corpus, load_corpus
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.runs import DataChoice, RunFolder, digest_of, evaluate_splits

LABELS = LabelSet(
    "weather", ("sun", "rain", "wind"), ("light from above", "water from above", "air that moves"), {}
)


def write_corpus(folder: Path, texts: int) -> dict[str, Corpus]:
    draw = np.random.default_rng(3)
    folder.mkdir()
    for split in ("train", "dev", "test"):
        rows = []
        for i in range(texts):
            labels = [name for name in LABELS.names if draw.random() < 0.4]
            rows.append(
                json.dumps({"id": f"{split}{i}", "text": f"{split} text {i}", "labels": labels or ["sun"]})
            )
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return load_corpus(str(folder), label_set=LABELS)


def write_run(folder: Path, corpus_path: Path, corpus: dict[str, Corpus], setup: str, skill: float) -> Path:
    """A run folder as training leaves it, whose scores see the right labels through more or less noise."""
    draw = np.random.default_rng(len(setup))
    heads = ("emotion", "match") if setup == "match" else ("emotion",)
    arrays, answers = {}, {}
    for split in ("dev", "test"):
        arrays[f"{split}_ids"] = np.array(corpus[split].ids)
        for head in heads:
            noise = draw.random(corpus[split].labels.shape)
            strength = skill if head == heads[-1] else 0.0
            scores = (strength * corpus[split].labels + (1 - strength) * noise).astype(np.float16)
            arrays[f"{split}_{head}"] = scores
            answers[split] = scores.astype(np.float64)
    (folder / "model").mkdir(parents=True)
    np.savez_compressed(folder / "probabilities.npz", **arrays)
    thresholds, reports = evaluate_splits(answers, corpus, 0.3)
    facts = {"steps": {"primary": 12, "auxiliary": 8}, "kept_epoch": 2, "seconds": 90.0, "precision": "fp32"}
    facts["texts"] = {split: digest_of(corpus[split].texts) for split in answers}
    settings = {
        "corpus": str(corpus_path),
        "setup": setup,
        "pooling": "mean",
        "p": 0.5,
        "seed": 7,
        "epochs": 3,
        "threshold": 0.3,
    }
    about = {
        "versions": {"torch": "2", "transformers": "5"},
        "code": "abc",
        "hardware": {"cpu": "a cpu", "threads": 1},
    }
    found = {name: report.to_dict() for name, report in reports.items()}
    for path, content in {
        "settings.json": settings,
        "versions.json": about,
        "metrics.json": {"training": facts, "reports": found},
        "model/labels.json": LABELS.to_dict(),
        "model/thresholds.json": thresholds,
    }.items():
        (folder / path).write_text(json.dumps(content), encoding="utf-8")
    DataChoice().save(folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    corpus = write_corpus(root / "corpus", 300)
    skills = {"none": 0.1, "cdp": 0.1, "match": 0.4}
    return {
        setup: write_run(root / setup, root / "corpus", corpus, setup, skill)
        for setup, skill in skills.items()
    }


def test_the_better_run_gains_and_the_equal_one_does_not(runs: dict[str, Path]) -> None:
    tables = compare_runs(
        [Contender.parse(str(runs[name])) for name in ("none", "match", "cdp")], policies=("tuned",)
    )
    gains = next(table for table in tables if table.title == "Gain in macro f1, per label, tuned on dev")
    titles = [column.title for column in gains.columns]
    by_name = {str(row[0]): dict(zip(titles, row, strict=True)) for row in gains.rows}
    p = next(title for title in titles if title.startswith("p"))
    assert float(by_name["match over none"][p]) < 0.01 < float(by_name["cdp over none"][p])  # type: ignore[arg-type]


def test_how_each_run_was_made_is_beside_its_scores(runs: dict[str, Path]) -> None:
    made, *_ = compare_runs([Contender.parse(str(runs["none"])), Contender.parse(str(runs["cdp"]))])
    rows = {row[0]: dict(zip([c.title for c in made.columns], row, strict=True)) for row in made.rows}
    assert rows["none"]["p"] is None  # without an auxiliary task it means nothing
    assert rows["cdp"]["p"] == 0.5
    assert (rows["cdp"]["primary steps"], rows["cdp"]["auxiliary steps"], rows["cdp"]["seed"]) == (12, 8, 7)


def test_one_run_may_stand_for_each_of_its_heads(runs: dict[str, Path]) -> None:
    contenders = [Contender.parse(str(runs["match"])), Contender.parse(f"{runs['match']}:emotion")]
    assert [c.name for c in contenders] == ["match", "match (emotion head)"]
    made, scores, *_ = compare_runs(contenders, policies=("fixed",))
    assert len(made.rows) == 1
    f1 = {row[0]: row[[c.title for c in scores.columns].index("macro F1")] for row in scores.rows}
    assert f1["match"].value > f1["match (emotion head)"].value + 0.1  # type: ignore[union-attr]


def test_runs_of_other_texts_or_the_same_name_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    other = write_run(
        tmp_path / "other", tmp_path / "corpus", write_corpus(tmp_path / "corpus", 20), "none", 0.1
    )
    with pytest.raises(DataError, match="not those of the first run's corpus"):
        compare_runs([Contender.parse(str(runs["none"])), Contender.parse(str(other))])
    permuted = shutil.copytree(runs["none"], tmp_path / "permuted")
    labels = LABELS.only(["rain", "sun", "wind"]).to_dict()
    (permuted / "model" / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    with pytest.raises(DataError, match=r"permuted: has other labels than the first run"):
        compare_runs([Contender.parse(str(runs["none"])), Contender.parse(str(permuted))])
    with pytest.raises(SettingsError, match="called the same"):
        compare_runs([Contender.parse(str(runs["none"]))] * 2)


def test_ids_that_are_alike_are_not_taken_for_the_same_texts(runs: dict[str, Path], tmp_path: Path) -> None:
    """Ids may be the rows of a file, and another file may have as many."""
    corpus = write_corpus(tmp_path / "corpus", 300)
    other = write_run(tmp_path / "other", tmp_path / "corpus", corpus, "none", 0.1)
    path = tmp_path / "corpus" / "test.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("test text 7", "another text"), encoding="utf-8")
    changed = load_corpus(str(tmp_path / "corpus"), label_set=LABELS)
    assert changed["test"].ids == corpus["test"].ids
    run = RunFolder.open(other)
    assert run.is_of("dev", changed["dev"])
    assert not run.is_of("test", changed["test"])
    with pytest.raises(DataError, match="are not those of this run any more"):
        run.measure("test", "emotion")
    assert run.measure("dev", "emotion")
    with pytest.raises(DataError, match="not those of the first run's corpus"):
        compare_runs([Contender.parse(str(other)), Contender.parse(str(runs["none"]))])
    metrics = json.loads((other / "metrics.json").read_text(encoding="utf-8"))
    del metrics["training"]["texts"]  # as an earlier release left it
    (other / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert RunFolder.open(other).is_of("test", changed["test"])


def test_the_papers_figures_stand_where_they_belong(runs: dict[str, Path]) -> None:
    contenders = [Contender.parse(str(runs["none"]))]
    for given in ({"split": "dev"}, {"policies": ("tuned",)}):
        with pytest.raises(SettingsError, match="are of test, at its fixed threshold"):
            compare_runs(contenders, paper_rows=["BERT"], **given)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="are of goemotions, and these runs of corpus"):
        compare_runs(contenders, paper_rows=["BERT"])


def test_the_command_writes_one_page(runs: dict[str, Path], tmp_path: Path) -> None:
    words = tmp_path / "words.md"
    words.write_text("What was asked.\n", encoding="utf-8")
    page = tmp_path / "page.md"
    arguments = [
        "compare",
        str(runs["none"]),
        str(runs["match"]),
        "--heading",
        "A page",
        "--introduction",
        str(words),
    ]
    result = CliRunner().invoke(app, [*arguments, "--out", str(page)])
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# A page\n\nWhat was asked.\n")
    assert text.count("macro average") == 2  # a table by label for each policy
    assert "match over none" in text
    assert "Gain in macro f1, fixed 0.3" in text
    assert "Gain in macro f1, per label, tuned on dev" in text


def test_a_run_has_one_row_wherever_it_is_named(runs: dict[str, Path]) -> None:
    named = [str(runs["match"]), str(runs["none"]), f"{runs['match']}:emotion"]
    made, *_ = compare_runs([Contender.parse(each) for each in named], policies=("fixed",))
    assert [row[0] for row in made.rows] == ["match", "none"]


def test_a_split_that_is_not_there_is_named(runs: dict[str, Path], tmp_path: Path) -> None:
    contenders = [Contender.parse(str(runs["none"])), Contender.parse(str(runs["cdp"]))]
    with pytest.raises(SettingsError, match="split 'train', it has: dev, test"):
        compare_runs(contenders, split="train")
    later = shutil.copytree(runs["none"].parent / "corpus", tmp_path / "corpus")
    (later / "test.jsonl").unlink()
    moved = shutil.copytree(runs["none"], tmp_path / "none")
    settings = json.loads((moved / "settings.json").read_text(encoding="utf-8"))
    (moved / "settings.json").write_text(json.dumps(settings | {"corpus": str(later)}), encoding="utf-8")
    with pytest.raises(DataError, match="its corpus has no test any more"):
        compare_runs([Contender.parse(str(moved))])


def test_in_a_pipe_no_figure_is_cut_off(runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    arguments = ["compare", str(runs["none"]), str(runs["match"]), "--policy", "fixed"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "…" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) > 80


def test_what_only_a_page_has_is_refused_without_one(runs: dict[str, Path]) -> None:
    for option in (["--heading", "A page"], ["--introduction", __file__]):
        result = CliRunner().invoke(app, ["compare", str(runs["none"]), str(runs["match"]), *option])
        assert result.exit_code == 2
        assert "name its file with --out" in " ".join(result.stderr.split())
