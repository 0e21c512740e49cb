"""`emodef predict` on the command line: texts, pipes, files, terminals, and what it says when something does not fit."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from commands import emodef_command
from emodef.predictor import Predictor

TEXTS = ["I am so happy and glad", "this is awful, why"]


@pytest.fixture
def model(tiny_light: Path) -> Path:
    return tiny_light


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_has_every_label_by_form(model: Path) -> None:
    shown = emodef_command("predict", "--model", model, *TEXTS, "--form", "probabilities", "--json")
    rows = json_lines(shown.stdout)
    assert [row["text"] for row in rows] == TEXTS
    for row, answer in zip(rows, Predictor.load(model).predict(TEXTS), strict=True):
        assert row["predicted"] == [label.name for label in answer.labels]
        assert list(row["probabilities"]) == list(answer.scores)
        assert row["probabilities"] == pytest.approx(answer.scores, abs=1e-6)
    assert shown.stderr == ""


def test_thresholds_and_levels(model: Path) -> None:
    def predicted(*options: object) -> list[list[str]]:
        lines = emodef_command("predict", "--model", model, *TEXTS, "--json", *options).stdout
        return [row["predicted"] for row in json_lines(lines)]

    assert predicted("--threshold", "0.9999") == [[], []]
    assert [len(labels) for labels in predicted("--threshold", "0.9999", "--at-least-one")] == [1, 1]
    assert [len(labels) for labels in predicted("--threshold", "0")] == [5, 5]
    assert predicted("--threshold", "fixed") == predicted("--threshold", "0.3")
    assert predicted("--threshold", "tuned") == predicted() == predicted("--calibrated")
    assert predicted("--level", "sentiment")[0] == ["positive"]


def test_a_run_has_its_model_in_a_folder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "light").symlink_to(model)
    assert emodef_command("predict", "--model", tmp_path, *TEXTS).stdout
    (tmp_path / "light").unlink()
    (tmp_path / "settings.json").write_text("{}")
    assert "emodef export" in emodef_command("predict", "--model", tmp_path, *TEXTS, code=3).stderr


def test_a_pipe(model: Path) -> None:
    direct = emodef_command("predict", "--model", model, *TEXTS).stdout
    assert direct.splitlines()[0].split("\t") == ["predicted", "probabilities", "text"]
    piped = "\n".join(TEXTS) + "\n"
    assert emodef_command("predict", "--model", model, stdin=piped).stdout == direct
    assert emodef_command("predict", "-", "--model", model, stdin=piped).stdout == direct
    kept = emodef_command("predict", "--model", model, stdin=b"happy\n\xff\n\nwhy\n")
    assert len(kept.stdout.splitlines()) == 5
    assert "standard input:2: is not UTF-8" in kept.stderr
    assert "2 rows have no prediction" in kept.stderr
    stopped = emodef_command(
        "predict", "--model", model, "--on-error", "fail", stdin=b"happy\n\xff\n", code=3
    )
    assert "standard input:2: is not UTF-8" in stopped.stderr


def test_a_pipe_of_csv(model: Path, tmp_path: Path) -> None:
    rows = 'id,body\n007,"so\nhappy"\n08,why\n'
    options = ["predict", "--model", model, "--input-format", "csv", "--text-column", "body"]
    shown = json_lines(emodef_command(*options, "--json", stdin=rows).stdout)
    assert [(row["id"], row["predicted"]) for row in shown] == [("007", ["joy"]), ("08", ["curiosity"])]
    as_csv = emodef_command(*options, "--output-format", "csv", stdin=rows).stdout
    assert as_csv.startswith('id,body,predicted,probabilities\n007,"so\nhappy",joy,')
    emodef_command(*options, "--out", tmp_path / "out.csv", stdin=rows)
    assert (tmp_path / "out.csv").read_text() == as_csv


def test_a_terminal(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("emodef.cli.predicting._printed", lambda *_: "")
    shown = emodef_command("predict", "--model", model, *TEXTS, "\x1b[31m漢字" * 40, "happy " * 100).stdout
    assert "\x1b" not in shown
    assert "\n" + TEXTS[1] + " " in "\n" + shown
    assert "joy 0." in shown.splitlines()[0]
    flat = " ".join(shown.split())
    assert "(a long text," in flat
    every = emodef_command("predict", "--model", model, TEXTS[0], "--form", "probabilities")
    assert "joy 0.96*, " in every.stdout
    assert "neutral 0.0" in every.stdout
    assert every.stderr == "* predicted\n"


def test_a_terminal_has_no_columns(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So those of the input are in nobody's way, and options of columns are refused."""
    monkeypatch.setattr("emodef.cli.predicting._printed", lambda *_: "")
    (tmp_path / "in.csv").write_text("text,predicted,probabilities\nso happy,x,y\n")
    (tmp_path / "in.jsonl").write_text('{"text": "so happy", "predicted": ["x"]}\n')
    for name in ("in.csv", "in.jsonl"):
        found = emodef_command("predict", "--model", model, "--file", tmp_path / name)
        assert "so happy" in found.stdout
        assert "joy 0." in found.stdout
        assert found.stderr == ""
    for options in (["--form", "long"], ["--prefix", "my_"]):
        said = emodef_command("predict", "--model", model, TEXTS[0], *options, code=2).stderr
        assert "a terminal is shown none; name a file with --out" in " ".join(said.split())
    (tmp_path / "in.jsonl").write_text('{"body": "so happy"}\n' * 1_001)
    said = emodef_command(
        "predict", "--model", model, "--file", tmp_path / "in.jsonl", "--text-column", "bdoy", code=3
    )
    assert "has no column 'bdoy' in any of its rows, the first has: 'body'" in said.stderr


def test_a_terminal_of_any_width() -> None:
    from emodef.cli.texts import _width, _wrapped, printable

    for text in ("plain words that go on " * 9, "漢字" * 50, "e\u0301" * 70, "x" * 300):
        for width in (20, 33):
            rows = _wrapped(printable(text), width)
            assert max(map(_width, rows)) <= width
            assert "".join("".join(rows).split()) == "".join(text.split())


def test_a_file_keeps_its_columns(model: Path, tmp_path: Path) -> None:
    given, out = tmp_path / "given.csv", tmp_path / "labelled.csv"
    given.write_text(f'when,body\n007,"{TEXTS[0]}"\nTuesday,"{TEXTS[1]}, they\ndid"\n', encoding="utf-8")
    options = ["predict", "--model", model, "--file", given, "--text-column", "body"]
    said = emodef_command(*options, "--out", out, "--threshold", "0.1", "--form", "probabilities")
    assert said.stderr.startswith(f"{out}: 2 rows, in ")
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["when"] for row in rows] == ["007", "Tuesday"]
    assert rows[1]["body"] == f"{TEXTS[1]}, they\ndid"
    for row in rows:
        labels = [label for label in row["predicted"].split("|") if label]
        assert labels
        assert [row[f"p_{label}"] for label in labels] == row["probabilities"].split("|")
    again = emodef_command(*options[:-3], out, "--text-column", "body", "--out", tmp_path / "b.csv", code=2)
    assert "has a column 'predicted' already" in again.stderr
    quiet = emodef_command(*options, "--out", tmp_path / "b.csv", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")


def test_bad_rows_of_a_file(model: Path, tmp_path: Path) -> None:
    given, out = tmp_path / "given.jsonl", tmp_path / "out.jsonl"
    given.write_text('{"text": "happy"}\n{"text": ""}\n{"text": 7}\nnonsense\n', encoding="utf-8")
    options = ["predict", "--model", model, "--file", given, "--out", out]
    assert f"{given}:2: the text is empty" in emodef_command(*options, "--on-error", "fail", code=3).stderr
    assert not out.exists()
    said = emodef_command(*options, "--on-error", "skip").stderr
    assert [f"{given}:{row}: " in said for row in (2, 3, 4)] == [True] * 3
    assert f"3 rows have no prediction; 3 of them left out: {out}.problems.jsonl" in said
    assert len(out.read_text(encoding="utf-8").splitlines()) == 1
    emodef_command(*options)
    assert len(out.read_text(encoding="utf-8").splitlines()) == 3


def test_a_file_s_name_given_as_a_text_is_told(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "comments.csv"
    path.write_text("text\nso happy\n", encoding="utf-8")
    said = emodef_command("predict", "--model", model, path, "comments.csv", "so happy")
    assert f"{path} is taken as a text; to predict the rows of that file: --file {path}" in said.stderr
    assert said.stderr.count("is taken as a text") == 1


def test_rows_that_are_left_out_are_not_counted(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "so happy"}\n{"text": \n', encoding="utf-8")
    out = tmp_path / "out.jsonl"
    said = emodef_command("predict", "--model", model, "--file", tmp_path / "in.jsonl", "--out", out)
    assert "1 row has no prediction; 1 of them left out" in said.stderr
    assert f"{out}: 1 rows, in" in said.stderr
    assert len(out.read_text(encoding="utf-8").splitlines()) == 1


def test_a_text_needs_little(model: Path) -> None:
    """What files need is not imported for a text: it costs more than the text."""
    code = (
        "import sys\nfrom emodef.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'polars', 'rich.table', 'rich.progress', 'emodef.corpora.files', 'emodef.files.parquet'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, "predict", "--model", str(model), *TEXTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_long_texts_are_said(model: Path) -> None:
    said = emodef_command("predict", "--model", model, TEXTS[0], "happy " * 100, "--json")
    assert ["windows" in row for row in json_lines(said.stdout)] == [False, True]
    assert "1 text was longer than the model's window and read in several" in said.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["A text", "--file", "x.csv"], 2, "exclude each other"),
        (["A text", "--threshold", "high"], 2, "give tuned, fixed, or a number from 0 to below 1\n"),
        (["A text", "--threshold", "1"], 2, "give tuned, fixed, or a number from 0 to below 1\n"),
        (["A text", "--threshold", "0.5,0.6"], 2, "give tuned, fixed, or a number from 0 to below 1\n"),
        (
            ["A text", "--level", "ekman"],
            3,
            "have no level 'ekman'; there are tiny, sentiment; to labels of your own",
        ),
        (["A text", "--restart"], 2, "--restart is of the parts of an --out"),
        (["A text", "--out", "x.xls"], 2, ".csv, .tsv, .jsonl"),
        (["A text", "--json", "--out", "x.csv"], 2, "--json writes .jsonl"),
        (["A text", "--json", "--output-format", "csv"], 2, "exclude each other"),
        (["A text", "--out", "x.csv", "--output-format", "csv"], 2, "the name of --out"),
        (["A text", "--text-column", "x"], 2, "for a --file or a pipe"),
        (["A text", "-"], 2, "stands alone"),
        (["  "], 3, "text 1 is empty"),
        (["--file", "x.pdf"], 3, "format of .pdf is not known"),
        (["--file", "x.csv"], 3, "cannot be read"),
        (["A text", "--form", "wide"], 2, "--form"),
        (["A text", "--part-size", "0"], 2, "--part-size"),
    ],
)
def test_errors(model: Path, options: list[str], code: int, message: str) -> None:
    result = emodef_command("predict", "--model", model, *options, code=code)
    assert message in " ".join(result.stderr.split()) + "\n"
    assert result.stdout == ""


def test_a_model_that_is_none(tmp_path: Path) -> None:
    assert "holds no light model" in emodef_command("predict", "A text", "--model", tmp_path, code=3).stderr
    assert (
        "no such folder" in emodef_command("predict", "A text", "--model", tmp_path / "none", code=3).stderr
    )


def test_no_texts(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from emodef.cli.predicting import _source
    from emodef.errors import SettingsError

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(SettingsError, match="no texts"):
        _source([], None, None, None)


@pytest.mark.parametrize("text", ["-5 degrees, awful", "--- awful", "--really, awful"])
def test_a_text_that_begins_like_an_option(model: Path, text: str) -> None:
    for command in ("predict", "explain"):
        said = " ".join(
            emodef_command(command, "--model", model, text, code=2).output.replace("│", " ").split()
        )
        assert f'a text that begins with - stands behind --, as in: emodef {command} -- "-5 degrees"' in said
    assert (
        json_lines(emodef_command("predict", "--model", model, "--json", "--", text).stdout)[0]["text"]
        == text
    )
    assert "stands behind" not in emodef_command("predict", "--treshold", "1", text, code=2).output
    assert "stands behind" not in emodef_command("report", "-5", code=2).output
