"""Own labels on the command line and in files: every output, going on with the same labels only, other processes."""

from __future__ import annotations

import csv
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import emodef_command
from emodef.cluster import _Model
from emodef.definitions import read_labels
from emodef.errors import SettingsError
from emodef.files.job import Watch, local, predict_file
from emodef.files.predictions import Options
from emodef.files.sources import open_source
from emodef.predictor import Predictor
from emodef.reporting.page import open_predictions
from tiny_files import Stop, finished_parts, rows_of, stopping, write_rows
from tiny_light import LABELS, build_tiny_light

EXAMPLE = Path(__file__).parent.parent / "examples" / "labels" / "travel.toml"
TEXTS = ["I am so happy and glad", "this is awful, why", "the meeting"]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text('glee = "so happy and glad"\n[rage]\ndefinition = "awful"\nthreshold = 0.05\n')
    return path


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_example_can_be_read() -> None:
    found = read_labels(EXAMPLE)
    assert len(found) == 5
    assert any(found.examples)
    assert list(found.label_set.mappings) == ["sentiment"]


def test_predict_texts(tiny_light: Path, labels: Path) -> None:
    predictor = Predictor.load(tiny_light)
    common = ["predict", "--model", tiny_light, "--labels", labels, "--form", "probabilities"]
    rows = json_lines(emodef_command(*common, "--json", *TEXTS).stdout)
    expected = predictor.score(TEXTS, labels)
    found = np.array([[row["probabilities"][name] for name in ("glee", "rage")] for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert all(("rage" in row["predicted"]) == (p[1] > 0.05) for row, p in zip(rows, expected, strict=True))
    shown = emodef_command(*common, "--known-labels", "fear, joy", "--output-format", "csv", *TEXTS).stdout
    header, *values = csv.reader(io.StringIO(shown))
    assert [name for name in header if name.startswith("p_")] == ["p_glee", "p_rage", "p_fear", "p_joy"]
    known = predictor.predict_proba(TEXTS)
    np.testing.assert_allclose([float(row[header.index("p_joy")]) for row in values], known[:, 0], rtol=1e-3)
    every = json_lines(emodef_command(*common, "--known", "--json", TEXTS[0]).stdout)
    assert set(every[0]["probabilities"]) == {"glee", "rage", *LABELS.names}


def test_known_labels_without_own_ones(tiny_light: Path) -> None:
    rows = json_lines(
        emodef_command(
            "predict", "--model", tiny_light, "--known-labels", "fear,joy", "--form", "probabilities", "--json", *TEXTS
        ).stdout
    )  # fmt: skip
    assert [set(row["probabilities"]) for row in rows] == [{"fear", "joy"}] * 3


def test_explain(tiny_light: Path, labels: Path) -> None:
    shown = emodef_command(
        "explain", "--model", tiny_light, "--labels", labels, "--label", "glee", "--json", "so happy, the meeting"
    )  # fmt: skip
    row = json_lines(shown.stdout)[0]
    assert [label["name"] for label in row["labels"]] == ["glee"]
    best = max(row["words"], key=lambda word: word["contributions"]["glee"])
    assert best["text"] == "happy"


def test_what_does_not_fit_is_said(tiny_light: Path, labels: Path, tmp_path: Path) -> None:
    def failed(*options: object, code: int = 2) -> str:
        return emodef_command("predict", *options, TEXTS[0], code=code).stderr

    both = failed("--model", tiny_light, "--labels", labels, "--known", "--known-labels", "joy")
    assert "--known and --known-labels exclude each other" in both
    assert "no such labels" in failed("--labels", tmp_path / "none.toml", code=3)
    labels.write_text("glee = 'x'\nrage = ''\n")
    assert f"{labels}:2: label 'rage' has an empty definition" in failed("--labels", labels, code=3)
    labels.write_text("joy = 'x'\n")
    assert "in your labels and among the model's" in failed(
        "--model", tiny_light, "--labels", labels, "--known", code=3
    )
    plain = build_tiny_light(tmp_path / "plain", match=None, scores="emotion")
    assert "never learned to compare" in failed("--model", plain, "--labels", labels)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file(tiny_light: Path, labels: Path, tmp_path: Path, suffix: str) -> None:
    given = write_rows(tmp_path / "in.csv", 120)
    out = tmp_path / f"out.{suffix}"
    emodef_command(
        "predict", "--model", tiny_light, "--labels", labels, "--known-labels", "joy", "--file", given, "--out", out,
        "--part-size", 50, "--form", "probabilities", "-q",
    )  # fmt: skip
    rows = [row for row in rows_of(out) if row["predicted"] is not None and row["text"]]
    expected = (
        Predictor.load(tiny_light)
        .with_labels(labels, known=["joy"])
        .predict_proba([str(row["text"]) for row in rows])
    )
    for k, name in enumerate(("glee", "rage", "joy")):
        values = [
            row["probabilities"][name] if suffix == "jsonl" else float(row[f"p_{name}"]) for row in rows
        ]
        np.testing.assert_allclose(values, expected[:, k], rtol=1e-3, atol=1e-4)


def test_going_on_needs_the_same_labels(tiny_light: Path, labels: Path, tmp_path: Path) -> None:
    given, out, whole = write_rows(tmp_path / "in.csv", 300), tmp_path / "out.csv", tmp_path / "whole.csv"
    source = open_source(str(given), None, None)
    base = Predictor.load(tiny_light, threads=1)

    def run(predictor: Predictor, to: Path, stop: int | None = None) -> None:
        engine = None if stop is None else stopping(lambda plan: local(predictor, plan, Watch()), stop)
        predict_file(source, to, predictor, Options(), part_size=50, engine=engine)

    own = base.with_labels(labels, known=["joy"])
    run(own, whole)
    with pytest.raises(Stop):
        run(own, out, 2)
    assert finished_parts(out) == 2
    changed = [
        base.with_labels({"glee": "so happy, glad", "rage": {"definition": "awful", "threshold": 0.05}}, known=["joy"]),
        base.with_labels({"glee": "so happy and glad", "rage": "awful"}, known=["joy"]),
        base.with_labels(labels, known=["joy"], policy="mean_tuned"),
    ]  # fmt: skip
    for other in changed:
        with pytest.raises(SettingsError, match="the content of the labels changed"):
            run(other, out)
    with pytest.raises(SettingsError, match="labels"):
        run(base, out)
    assert finished_parts(out) == 2
    # another process, which encodes the definitions anew
    run(Predictor.load(tiny_light, threads=2).with_labels(labels, known=["joy"]), out)
    assert out.read_bytes() == whole.read_bytes()


def test_a_worker_has_the_same_labels(tiny_light: Path, labels: Path) -> None:
    own = Predictor.load(tiny_light).with_labels(labels, known=["joy"])
    sent = pickle.loads(pickle.dumps(_Model.of(own, None)))  # noqa: S301  # as Ray sends it
    there = sent.load()
    np.testing.assert_array_equal(there.predict_proba(TEXTS), own.predict_proba(TEXTS))
    assert [label.name for label in there.predict(TEXTS[0]).labels] == [
        label.name for label in own.predict(TEXTS[0]).labels
    ]


@pytest.mark.parametrize("names", [("a|b", "rage"), ("[sad]", "rage"), ("so, glad", "rage;much")])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("form", ["labels", "long"])
def test_names_that_hold_what_parts_them(
    tiny_light: Path, tmp_path: Path, names: tuple[str, str], suffix: str, form: str
) -> None:
    """What is written is read again by a report, whatever labels are called."""
    given, out = tmp_path / "in.csv", tmp_path / f"out.{suffix}"
    given.write_text("id;text\n1;so happy\n2;awful\n3;\n", encoding="utf-8")
    own = Predictor.load(tiny_light).with_labels({names[0]: "so happy", names[1]: "awful"})
    options = Options(threshold=0.0, form=form)
    predict_file(open_source(str(given)), out, own, options)
    found = list(open_predictions(out, text_column="text", needs_texts=True).rows())
    assert [row.scores.keys() for row in found[:2]] == [set(names), set(names)]
    expected = own.predict_proba(["so happy", "awful"])
    for row, probabilities in zip(found, expected, strict=False):
        assert row.scores == pytest.approx(dict(zip(names, probabilities.tolist(), strict=True)), rel=1e-3)


def test_labels_are_shown_and_reported_on_as_users_write_them(
    tiny_light: Path, labels: Path, tmp_path: Path
) -> None:
    labels.write_text(
        labels.read_text()
        + '[wonder]\ndefinitions = ["why is it", "how is it"]\nexamples = ["why, I asked"]\n'
    )
    shown = " ".join(emodef_command("labels", "show", labels).stdout.split())
    assert "glee so happy and glad" in shown
    assert "wonder why is it how is it as in: why, I asked" in shown
    (tmp_path / "in.csv").write_text("text\nso happy\nawful\n", encoding="utf-8")
    out = tmp_path / "out.csv"
    common = ("--model", tiny_light, "--labels", labels, "--at-least-one", "--quiet")
    emodef_command("predict", *common, "--file", tmp_path / "in.csv", "--out", out)
    emodef_command("report", out, "--labels", labels, "--out", tmp_path / "report.html", "--quiet")
    assert "so happy and glad" in (tmp_path / "report.html").read_text(encoding="utf-8")  # what glee means
