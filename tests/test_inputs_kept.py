"""What a user had is there afterwards: inputs under another name, files in the folder of parts; and streams that are closed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from commands import emodef_command
from emodef.atomic import write_text
from emodef.cli.serving import _keys
from emodef.errors import SettingsError
from emodef.files.job import Interrupted, Watch, predict_file
from emodef.files.parquet import ParquetSource
from emodef.files.predictions import Options
from emodef.files.sources import open_source
from emodef.labels import LabelSet
from emodef.predictor import Predictor
from tiny_light import build_tiny_light

SAMPLE = Path(__file__).parent.parent / "examples" / "sample"


def write_parquet(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame({"text": [f"{text} {number}" for number in range(6)]}).write_parquet(path)
    return f"file://{path}"


def test_an_address_of_a_file_here_is_the_file(predictor: Predictor, tmp_path: Path) -> None:
    given = write_parquet(tmp_path / "a b.parquet", "happy").replace(" ", "%20")
    before = (tmp_path / "a b.parquet").read_bytes()
    with pytest.raises(SettingsError, match="is the input itself"):
        predict_file(open_source(given), tmp_path / "a b.parquet", predictor, Options())
    assert (tmp_path / "a b.parquet").read_bytes() == before
    one = write_parquet(tmp_path / "x" / "one.parquet", "so")
    assert open_source(one.replace("one.parquet", "*.parquet")).rows == 6


class Once(Watch):
    """Ctrl-C after the first part."""

    def advance(self, rows: int) -> None:
        raise KeyboardInterrupt


class Twice(Watch):
    """Ctrl-C after the second part."""

    rows = 0

    def advance(self, rows: int) -> None:
        self.rows += rows
        if self.rows == 4:
            raise KeyboardInterrupt


def test_parts_of_one_file_are_not_anothers(predictor: Predictor, tmp_path: Path) -> None:
    first, second = (write_parquet(tmp_path / name / "x.parquet", name) for name in ("happy", "angry"))
    out = tmp_path / "out.csv"
    with pytest.raises(Interrupted):
        predict_file(open_source(first), out, predictor, Options(), part_size=2, watch=Twice())
    with pytest.raises(SettingsError, match="the content of the input changed"):
        predict_file(open_source(second), out, predictor, Options(), part_size=2)
    patterns = [address.replace("x.parquet", "*.parquet") for address in (first, second)]
    other = tmp_path / "pattern.csv"
    predict_file(open_source(patterns[0]), other, predictor, Options(), part_size=2)
    other.unlink()
    with pytest.raises(Interrupted):
        predict_file(open_source(patterns[0]), other, predictor, Options(), part_size=2, watch=Twice())
    with pytest.raises(SettingsError, match="the input path changed"):
        predict_file(open_source(patterns[1]), other, predictor, Options(), part_size=2)


def test_where_no_part_is_finished_nothing_is_in_the_way(predictor: Predictor, tmp_path: Path) -> None:
    given, out = tmp_path / "in.csv", tmp_path / "out.csv"
    for text in ("text\nso happy\n", "text\nanother file\n"):
        given.write_text(text)
        with pytest.raises(Interrupted):
            predict_file(open_source(str(given)), out, predictor, Options(), watch=Once())
        assert [path.name for path in (tmp_path / "out.csv.parts").glob("*.json")] == ["manifest.json"]
    assert predict_file(open_source(str(given)), out, predictor, Options(threshold=0.5)).rows == 1


@pytest.mark.parametrize("pattern", ["*.parquet", "**/*.parquet", ""])
def test_parts_of_files_that_changed_are_not_gone_on_with(
    predictor: Predictor, tmp_path: Path, pattern: str
) -> None:
    folder, out = tmp_path / "in here", tmp_path / "out.csv"
    for name in "ab":
        write_parquet(folder / f"{name}.parquet", "happy")
    given = f"file://{folder}/{pattern}"

    def going_on(watch: Watch | None = None) -> int:
        return predict_file(
            open_source(given, format="parquet"), out, predictor, Options(), part_size=2, watch=watch
        ).earlier

    with pytest.raises(Interrupted):
        going_on(Once())
    assert going_on() == 0
    with pytest.raises(Interrupted):
        going_on(Twice())
    write_parquet(folder / "b.parquet", "angry")
    with pytest.raises(SettingsError, match="the content of the input changed"):
        going_on()


def test_an_address_elsewhere_is_gone_on_with_and_that_is_told(
    tiny_light: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "in" / "x.parquet", "happy")
    given, out = f"file://{tmp_path}/in/*.parquet", tmp_path / "out.csv"
    monkeypatch.setattr(ParquetSource, "state", lambda self: [])  # as of s3://
    with pytest.raises(Interrupted):
        predict_file(
            open_source(given), out, Predictor.load(tiny_light), Options(), part_size=2, watch=Twice()
        )
    command = ["predict", "--model", tiny_light, "--file", given, "--out", out, "--part-size", 2]
    said = emodef_command(*command).stderr
    assert f"note: of {given} its address and number of rows alone are known" in said
    assert "alone are known" not in emodef_command(*command).stderr


@pytest.mark.parametrize("name", ["part-1.txt", "part-00000.csv", "part-00000.json", "joined.csv"])
def test_a_folder_by_that_name_that_is_the_users(predictor: Predictor, tmp_path: Path, name: str) -> None:
    given, mine = tmp_path / "in.csv", tmp_path / "out.csv.parts" / name
    given.write_text("text\nso happy\n")
    mine.parent.mkdir()
    mine.write_text("mine")
    for restart in (False, True):
        with pytest.raises(SettingsError, match=rf"has not written, such as {name}; move them away"):
            predict_file(open_source(str(given)), tmp_path / "out.csv", predictor, Options(), restart=restart)
        assert [path.name for path in mine.parent.iterdir()] == [name]
        assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--data", "test.jsonl", "--out", "test.jsonl"],
        ["labels", "compare", "mine.toml", "--data", "test.jsonl", "--out", "mine.toml"],
        ["labels", "compare", "mine.toml", "--data", "test.jsonl", "--introduction", "i.md", "--out", "i.md"],
        ["zero-shot", "shipped", "--corpus", "test.jsonl", "--labels", "mine.toml", "--out", "test.jsonl"],
        ["compare", "run", "--introduction", "i.md", "--out", "i.md"],
    ],
    ids=lambda command: f"{command[0]} {command[-1]}",
)
def test_no_command_writes_over_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"mine.toml": 'joy = "Being glad"\nsad = "Being sad"\n', "i.md": "Words"}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "test.jsonl").write_bytes((SAMPLE / "test.jsonl").read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    said = emodef_command(*command, code=2).stderr
    assert "is the input itself" in " ".join(said.split())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_introduction_that_is_not_there_is_told_at_once() -> None:
    said = emodef_command("compare", "run", "--introduction", "none.md", "--out", "x.md", code=2)
    assert "none.md" in said.output


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_of_a_link_the_file_is_written(predictor: Predictor, tmp_path: Path) -> None:
    given, kept, link = tmp_path / "in.csv", tmp_path / "kept" / "mine.csv", tmp_path / "out.csv"
    given.write_text("text\nso happy\nwhy\nso glad\n")
    kept.parent.mkdir()
    link.symlink_to(kept)
    with pytest.raises(Interrupted, match=re.escape(str(kept) + ".parts")):
        predict_file(open_source(str(given)), link, predictor, Options(), part_size=1, watch=Once())
    assert predict_file(open_source(str(given)), link, predictor, Options(), part_size=1).rows == 3
    assert link.is_symlink()
    assert kept.read_text().startswith("text,predicted")
    assert [path.name for path in kept.parent.iterdir()] == ["mine.csv"]
    write_text(link, "new")
    assert link.is_symlink()
    assert kept.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="has no named pipes")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    write_text(pipe, "words")
    reader.join(10)
    assert found == ["words"]
    assert pipe.is_fifo()


@pytest.mark.skipif(os.name == "nt", reason="has no such names")
def test_standard_output_by_its_name_goes_on_where_it_stands(tmp_path: Path) -> None:
    code = "from emodef.atomic import write_text; write_text('/dev/stdout', 'new\\n')"
    line = f'exec >> notes; echo before; "{sys.executable}" -c "{code}"; echo after'
    (tmp_path / "notes").write_text("earlier\n")
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    assert (tmp_path / "notes").read_text().split() == ["earlier", "before", "new", "after"]


@pytest.mark.skipif(os.name == "nt", reason="closes streams as a POSIX shell does")
@pytest.mark.parametrize(
    ("closed", "arguments", "said"),
    [
        (">&-", "predict --file in.csv --out out.csv", "out.csv: 1 rows"),
        ("2>&-", "predict --file in.csv --out out.csv", ""),
        ("<&-", "predict", ""),  # as from an empty file
    ],
)
def test_closed_streams(tiny_light: Path, tmp_path: Path, closed: str, arguments: str, said: str) -> None:
    (tmp_path / "in.csv").write_text("text\nso happy\n")
    line = f'exec "{sys.executable}" -m emodef {arguments} --model "{tiny_light}" {closed}'
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stderr
    assert (tmp_path / "out.csv").exists() == ("--out" in arguments)


def test_letters_that_the_terminals_encoding_lacks(tiny_light: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emodef", "explain", "--model", str(tiny_light), "so happy \N{GRINNING FACE} é"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout.decode("latin-1")
    assert "é" in done.stdout.decode("latin-1")


def test_keys_written_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# mine\nsecret\n", encoding="utf-8-sig")
    assert _keys(tmp_path / "keys") == ("secret",)


def test_keys_in_another_encoding_are_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret\n", encoding="utf-16")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        _keys(tmp_path / "keys")


def test_the_models_labels_in_another_order(tmp_path: Path) -> None:
    """Of a mapping's coarser labels those without a child are not told of."""
    ekman = {"glad": "joy", "cross": "anger", "scared": "fear"}
    labels = LabelSet.from_dict(
        {
            "name": "mine",
            "labels": [{"name": name, "definition": f"Being {name}"} for name in ekman],
            "mappings": {"ekman": ekman},
        }
    )
    model = Predictor.load(build_tiny_light(tmp_path / "light", labels=labels))
    whole = model.label_set.coarse["ekman"].names
    tuned = model.info.thresholds["tuned"]["ekman"]
    turned = model.with_labels(known=["scared", "glad", "cross"])
    found = dict(
        zip(turned.label_set.coarse["ekman"].names, turned.info.thresholds["tuned"]["ekman"], strict=True)
    )
    assert set(found) == set(ekman.values())
    assert found.items() <= dict(zip(whole, tuned, strict=True)).items()
