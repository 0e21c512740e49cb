"""The command line without training: labels, data, recipes, help, errors and their exit codes, and what importing costs."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import emodef
from emodef.cli.app import app
from emodef.labels import LabelSet, shipped
from local_server import serving

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"
ROWS = "text,labels\nThe tap drips again.,weary\nWe won the cup!,glad|loud\nLate once more,weary\n"


def emodef_command(*arguments: object, code: int = 0, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin, env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def in_process(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emodef", *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", [["--help"], ["labels", "show", "goemotions"], ["--version"]])
def test_start_up_is_light(command: list[str]) -> None:
    code = (
        "import sys\nfrom emodef.cli import main\ntry: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'transformers', 'polars', 'onnxruntime', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "if '--version' in sys.argv: assert 'numpy' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout


def test_version() -> None:
    assert emodef_command("--version").stdout == f"emodef {emodef.__version__}\n"


def test_public_names_are_what_they_say() -> None:
    from emodef.corpora import load_corpus
    from emodef.evaluation import evaluate

    assert emodef.load_corpus is load_corpus
    assert emodef.evaluate is evaluate
    assert emodef.LabelSet is LabelSet
    assert set(emodef.__all__) <= set(dir(emodef))
    with pytest.raises(AttributeError, match="no attribute 'predictor_of_doom'"):
        emodef.predictor_of_doom


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name))


EVERY = sorted(commands(typer.main.get_command(app)))


def test_there_are_commands() -> None:
    assert {"predict", "train", "labels compare", "experiment run"} < set(EVERY)


@pytest.mark.parametrize("command", EVERY)
def test_every_command_has_help_with_an_example(command: str) -> None:
    text = emodef_command(*command.split(), "--help").stdout
    assert re.search(r"Examples?\b", text)
    assert f"emodef {command} " in text or f"emodef {command}\n" in text


# labels


def test_labels_show() -> None:
    labels = LabelSet.load("ekman")
    shown = emodef_command("labels", "show", "ekman").stdout
    for name, definition in zip(labels.names, labels.definitions, strict=True):
        assert re.search(rf"^{name} +{re.escape(definition)}", shown, re.M)
    content = json.loads(emodef_command("labels", "show", "ekman", "--json").stdout)
    assert content["labels"] == [
        {"name": n, "definition": d} for n, d in zip(labels.names, labels.definitions, strict=True)
    ]
    assert LabelSet.from_dict(content) == labels


def test_labels_list() -> None:
    found = json.loads(emodef_command("labels", "list", "--json").stdout)
    assert [each["name"] for each in found] == shipped()
    assert {each["name"]: each["labels"] for each in found}["goemotions"] == len(LabelSet.load("goemotions"))
    assert all(name in emodef_command("labels", "list").stdout for name in shipped())


def test_skeleton_is_refused_until_filled_in(rows: Path, tmp_path: Path, tiny_light: Path) -> None:
    file = tmp_path / "mine.toml"
    emodef_command("labels", "skeleton", rows, "--out", file, "--name", "moods")
    assert "empty definition" in emodef_command("labels", "check", file, code=3).stderr
    assert "exists already" in emodef_command("labels", "skeleton", rows, "--out", file, code=2).stderr
    printed = emodef_command("labels", "skeleton", rows, "--name", "moods").stdout
    assert printed == file.read_text(encoding="utf-8")
    lines = iter(("Bright and pleased", "Making much noise", "Tired of all this"))
    file.write_text(
        re.sub('(?<=definition = )""', lambda _: json.dumps(next(lines)), printed), encoding="utf-8"
    )
    content = json.loads(emodef_command("labels", "check", file, "--json", "--model", tiny_light).stdout)
    assert {key: content[key] for key in ("name", "labels", "exclusive", "mappings")} == {
        "name": "moods", "labels": 3, "exclusive": False, "mappings": []
    }  # fmt: skip
    assert LabelSet.load(file).names == ("glad", "loud", "weary")


def test_definitions_that_only_repeat_names_are_none(tmp_path: Path) -> None:
    file = tmp_path / "lazy.toml"
    file.write_text(LabelSet("lazy", ("up", "down"), ("up", "down")).to_toml(), encoding="utf-8")
    assert "only repeat the names" in emodef_command("labels", "check", file, code=3).stderr


# data


def test_data_show_counts(rows: Path) -> None:
    content = json.loads(emodef_command("data", "show", rows, "--json").stdout)
    assert content["splits"]["all"]["label_counts"] == {"glad": 1, "loud": 1, "weary": 2}
    assert "We won the cup!" in emodef_command("data", "show", rows).stdout


def test_data_show_lists_bad_rows_and_can_stop_at_them(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(ROWS + ",weary\n", encoding="utf-8")
    shown = emodef_command("data", "show", path).stdout
    assert re.search(r"bad\.csv:5: skipped: the text is empty", shown.replace("\n", ""))
    stopped = emodef_command("data", "show", path, "--on-error", "fail", code=3).stderr
    assert stopped.startswith(f"error: {path}:5: the text is empty")


def test_data_pairs_are_two_for_every_label(rows: Path) -> None:
    found = json.loads(emodef_command("data", "pairs", rows, "--limit", "50", "--json").stdout)
    assert found["count"] == len(found["pairs"]) == 8
    truth = {
        "The tap drips again.": {"weary"},
        "We won the cup!": {"glad", "loud"},
        "Late once more": {"weary"},
    }
    for pair in found["pairs"]:
        assert (pair["label"] in truth[pair["text"]]) == (pair["pair"] == "IsDefinition")
    assert [pair["text"] for pair in found["pairs"][:2]] == ["The tap drips again."] * 2


def test_data_pairs_are_those_of_the_epoch(rows: Path) -> None:
    def pairs(*options: str) -> list[dict[str, str]]:
        return json.loads(emodef_command("data", "pairs", rows, "--limit", "50", "--json", *options).stdout)[
            "pairs"
        ]

    assert pairs() == pairs("--epoch", "0", "--seed", "42")
    assert len({json.dumps(pairs("--epoch", str(epoch))) for epoch in range(5)}) > 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_data_pairs_written(rows: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"pairs.{suffix}"
    emodef_command("data", "pairs", rows, "--out", out)
    text = out.read_text(encoding="utf-8")
    read = (
        list(csv.DictReader(text.splitlines()))
        if suffix == "csv"
        else [json.loads(line) for line in text.splitlines()]
    )
    assert (
        read == json.loads(emodef_command("data", "pairs", rows, "--limit", "50", "--json").stdout)["pairs"]
    )
    emodef_command("data", "pairs", rows, "--out", out, "--limit", "3")
    assert len(out.read_text(encoding="utf-8").splitlines()) == (4 if suffix == "csv" else 3)


def test_data_pairs_as_in_figure_1() -> None:
    shown = emodef_command("data", "pairs", SAMPLE, "--labels", "goemotions", "--limit", "2").stdout
    assert "IsDefinition" in shown
    assert "IsNotDefinition" in shown
    definitions = LabelSet.load("goemotions").definitions
    assert sum(definition in shown for definition in definitions) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["data", "pairs", SAMPLE, "--labels", "goemotions", "--split", "dev2"], 2, "has no split 'dev2'; choose one of train, dev, test"),
        (["data", "pairs", SAMPLE, "--labels", "goemotions", "--out", "pairs.xls"], 2, "name the file so"),
        (["data", "show", "no-such-corpus"], 3, "neither one of goemotions"),
        (["data", "show", "goemotions", "--text-column", "body"], 2, "has its own columns"),
        (["labels", "show", "nothing"], 3, "neither a file nor one of the shipped"),
        (["data", "fetch", "nothing"], 2, "no corpus 'nothing' to fetch"),
        (["data", "fetch"], 2, "Missing argument"),
        (["data", "show", SAMPLE, "--examples", "-1"], 2, "--examples"),
        (["evaluate", "no-such-run"], 3, "no such folder"),
        (["evaluate", SAMPLE], 3, "holds no run"),
        (["predict", "A text", "--model", SAMPLE], 3, "holds no light model"),
    ],
)  # fmt: skip
def test_errors_are_one_message_and_a_code(arguments: list[object], code: int, message: str) -> None:
    result = emodef_command(*arguments, code=code)
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_data_dir_by_option_and_by_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data" / "goemotions"
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_text("\n".join(LabelSet.load("goemotions").names), encoding="utf-8")
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text(f"How lovely, {split}\t18\tid1{split}\n", encoding="utf-8")
    by_option = emodef_command("data", "show", "goemotions", "--data-dir", folder.parent, "--json").stdout
    assert json.loads(by_option)["splits"]["dev"]["texts"] == 1
    monkeypatch.setenv("EMODEF_DATA", str(folder.parent))
    assert emodef_command("data", "show", "goemotions", "--json").stdout == by_option
    monkeypatch.setenv("EMODEF_DATA", str(tmp_path / "none"))
    assert "emodef data fetch goemotions" in emodef_command("data", "show", "goemotions", code=3).stderr


def test_fetch_from_a_mirror_and_without_one(tmp_path: Path) -> None:
    with serving() as server:
        server.answers = [404] * 20
        failed = emodef_command(
            "data", "fetch", "goemotions", "--base-url", server.base, "--data-dir", tmp_path, code=6
        )
        assert "404" in failed.stderr
        assert server.asked
        server.answers = []
        from emodef.corpora.sources import SOURCES

        server.files = {f"/{file.path}": b"How lovely\t18\tid1\n" for file in SOURCES["goemotions"].files}
        options = ["--base-url", server.base, "--data-dir", tmp_path, "--accept-changed", "--quiet"]
        fetched = emodef_command("data", "fetch", "goemotions", *options)
    assert Path(fetched.stdout.strip()) == tmp_path / "goemotions"
    assert fetched.stderr == ""
    assert (tmp_path / "goemotions" / "train.tsv").read_bytes() == b"How lovely\t18\tid1\n"


# recipes


def test_recipes_are_listed_and_explained() -> None:
    found = json.loads(emodef_command("recipes", "--json").stdout)
    assert {"paper", "minilm", "demo"} <= set(found)
    assert all(found.values())
    from emodef.train.settings import TrainSettings

    shown = emodef_command("recipes", "demo").stdout
    assert all(re.search(rf"^{key}\b", shown, re.M) for key in TrainSettings.model_fields)
    assert json.loads(emodef_command("recipes", "demo", "--json").stdout)["label_set"] == "goemotions"
    assert "no recipe 'none-such'" in emodef_command("recipes", "none-such", code=2).stderr


# processes


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m emodef labels show goemotions | head -1"
    run = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert run.stdout.startswith("goemotions: 28 labels")
    assert run.stderr == ""
    for arguments in ("--help", "train --help"):  # gone before a word is written
        command = f"{sys.executable} -m emodef {arguments} | true"
        run = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
        )
        assert (run.returncode, run.stderr) == (0, "")


def test_unexpected_errors_say_how_to_see_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the gears are stuck")

    monkeypatch.setattr("emodef.labels.shipped", broken)
    message = emodef_command("labels", "list", code=1).stderr
    assert "unexpected RuntimeError: the gears are stuck" in message
    assert "EMODEF_DEBUG=1" in message
    monkeypatch.setenv("EMODEF_DEBUG", "1")
    result = CliRunner().invoke(app, ["labels", "list"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_a_file_that_cannot_be_written_is_an_error_without_a_traceback(rows: Path) -> None:
    message = emodef_command("data", "pairs", rows, "--out", rows / "below" / "pairs.csv", code=3).stderr
    assert message.startswith("error: ")
    assert str(rows) in message


def test_as_a_module() -> None:
    run = in_process("labels", "show", "nothing")
    assert run.returncode == 3
    assert run.stderr.startswith("error: ")
    assert run.stdout == ""
