"""Long runs: killed and continued, interrupted, changed input and settings, two at once."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emodef.errors import DataError, SettingsError
from emodef.files import job
from emodef.files.folder import PartsFolder
from emodef.files.job import Engine, Interrupted, Summary, Watch, predict_file, predict_stream
from emodef.files.predictions import Options, Plan
from emodef.files.sources import TextSource, open_source
from emodef.predictor import Predictor
from tiny_files import Stop, finished_parts, stopping, write_rows

pytestmark = pytest.mark.long

ROWS, PART = 24_000, 100


def start(model: Path, given: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "emodef", "predict", "--model", model, "--file", given, "--out", out, "--part-size", PART,
        "--threads", 1, *options,
    ]  # fmt: skip
    return subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)


def stop_at(process: subprocess.Popen[str], out: Path, parts: int, by: signal.Signals) -> str:
    """Send the signal as soon as so many parts are finished; what the process said."""
    deadline = time.monotonic() + 60
    while finished_parts(out) < parts and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(by)
    return process.communicate(timeout=60)[1]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_killed_several_times(tiny_light: Path, tmp_path: Path, suffix: str) -> None:
    rows = ROWS // 2 if suffix == "parquet" else ROWS  # its parts take longer
    given = write_rows(tmp_path / "in.csv", rows)
    whole, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    process = start(tiny_light, given, whole, "--form", "probabilities")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    # all stops come early: the process must not be done, even where the signal is sent a second late
    stops = [
        (1, signal.SIGKILL),
        (4, signal.SIGKILL),
        (5, signal.SIGINT),
        (8, signal.SIGKILL),
        (12, signal.SIGKILL),
    ]
    for parts, by in stops:
        process = start(tiny_light, given, out, "--form", "probabilities")
        said = stop_at(process, out, parts, by)
        assert process.returncode == (130 if by is signal.SIGINT else -signal.SIGKILL), said
        if by is signal.SIGINT:
            assert "the same command goes on from there" in said
        assert parts <= finished_parts(out) < rows // PART
        assert not out.exists()
    process = start(tiny_light, given, out, "--form", "probabilities")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert "of them by an earlier run" in said
    assert out.read_bytes() == whole.read_bytes()
    assert (tmp_path / f"out.{suffix}.problems.jsonl").read_text() == (
        tmp_path / f"whole.{suffix}.problems.jsonl"
    ).read_text()
    dropped = [n for n in range(rows) if n % 777 == 0]
    ids = [f"{n:07d}" for n in range(rows) if n not in dropped]
    assert _ids(out) == ids
    left = {path.name for path in tmp_path.iterdir()}
    names = (given.name, out.name, whole.name, f"{out.name}.problems.jsonl", f"{whole.name}.problems.jsonl")
    assert left == set(names)


def _ids(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)["id"].to_list()
    if path.suffix == ".csv":
        return pl.read_csv(path, infer_schema=False)["id"].to_list()
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


@pytest.fixture
def local(predictor: Predictor) -> Callable[[Plan], Engine]:
    return lambda plan: job.local(predictor, plan, Watch())


@pytest.fixture
def begun(predictor: Predictor, local: Any, tmp_path: Path) -> Callable[..., Summary]:
    """A run over in.csv, stopped after three of ten parts; begun(...) goes on with it."""
    given = write_rows(tmp_path / "in.csv", 1000)
    out = tmp_path / "out.csv"
    with pytest.raises(Stop):
        predict_file(
            open_source(str(given)), out, predictor, Options(), part_size=100, engine=stopping(local, 3)
        )
    assert finished_parts(out) == 3

    def go_on(
        source: str = "in.csv", model: Predictor = predictor, part_size: int = 100, restart: bool = False, **options: Any
    ) -> Summary:  # fmt: skip
        return predict_file(
            open_source(str(tmp_path / source)),
            out,
            model,
            Options(**options),
            part_size=part_size,
            restart=restart,
        )

    return go_on


def test_going_on_does_not_begin_anew(begun: Callable[..., Summary]) -> None:
    summary = begun()
    assert (summary.rows, summary.earlier) == (1000, 300)
    assert summary.problems == 20 + 2
    assert summary.problems_file is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.5}, "the settings threshold changed from null to 0.5"),
        ({"form": "long"}, 'the settings form changed from "labels" to "long"'),
        ({"on_error": "skip"}, 'the settings on error changed from "keep" to "skip"'),
        ({"part_size": 50}, "the settings part size changed from 100 to 50"),
    ],
)
def test_changed_settings(begun: Callable[..., Summary], change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        begun(**change)
    assert "--restart" in str(caught.value)
    assert begun(**change, restart=True).earlier == 0


def test_changed_input(begun: Callable[..., Summary], tmp_path: Path) -> None:
    given = tmp_path / "in.csv"
    before = given.read_bytes()
    given.write_bytes(before.replace(b"happy", b"angry", 1))
    with pytest.raises(SettingsError, match="the content of the input changed"):
        begun()
    given.write_bytes(before + b"x,happy\n")
    with pytest.raises(SettingsError, match="the input size changed from"):
        begun()
    given.rename(tmp_path / "moved.csv")
    (tmp_path / "moved.csv").write_bytes(before)
    assert begun("moved.csv").earlier == 300  # the same bytes in another place are the same input


def test_a_copy_of_the_model_is_the_model(
    begun: Callable[..., Summary], tiny_light: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_light, tmp_path / "other")
    assert begun(model=Predictor.load(tmp_path / "other")).earlier == 300


def test_another_model_is_said(begun: Callable[..., Summary], tiny_light: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_light, other)
    content = json.loads((other / "model.json").read_text())
    content["thresholds"]["fixed"] = 0.4
    (other / "model.json").write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="the content of the model changed"):
        begun(model=Predictor.load(other))


def test_stopped_at_a_bad_row_and_continued_leniently(predictor: Predictor, tmp_path: Path) -> None:
    given, out = tmp_path / "in.csv", tmp_path / "out.csv"
    given.write_text("text\n" + "happy\n" * 50 + '""\n' + "why\n" * 49)
    with pytest.raises(DataError, match=r"in\.csv:52: the text is empty"):
        predict_file(open_source(str(given)), out, predictor, Options(on_error="fail"), part_size=10)
    assert finished_parts(out) == 5
    summary = predict_file(open_source(str(given)), out, predictor, Options(on_error="keep"), part_size=10)
    assert (summary.earlier, summary.rows, summary.problems) == (50, 100, 1)


def test_a_process_keeps_others_away(begun: Callable[..., Summary], tmp_path: Path) -> None:
    with (
        PartsFolder.locked(tmp_path / "out.csv"),
        pytest.raises(SettingsError, match=f"another 'emodef predict' .process {os.getpid()}"),
    ):
        begun()
    assert begun().earlier == 300


def test_a_folder_in_which_nothing_was_begun_goes(tmp_path: Path) -> None:
    with PartsFolder.locked(tmp_path / "out.csv") as folder:
        assert folder.path.exists()
    assert not folder.path.exists()


def test_what_is_not_ours_stays(begun: Callable[..., Summary], tmp_path: Path) -> None:
    (tmp_path / "out.csv.parts" / "notes.txt").write_text("mine")
    begun()
    assert [path.name for path in (tmp_path / "out.csv.parts").iterdir()] == ["notes.txt"]


def test_half_written_and_damaged_parts_are_made_again(begun: Callable[..., Summary], tmp_path: Path) -> None:
    parts = tmp_path / "out.csv.parts"
    (parts / ".part-00003.csv.abc.part").write_text("half")
    (parts / "part-00001.csv").write_text("cut")  # shorter than its facts say
    (parts / "part-00002.json").unlink()
    assert begun().earlier == 100
    ids = pl.read_csv(tmp_path / "out.csv", infer_schema=False)["id"].to_list()
    assert ids == [f"{n:07d}" for n in range(1000) if n % 777]


def test_stopped_while_joining(
    begun: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parts are there, and so is half a joined file; the output is not."""

    def dies(*_: object) -> None:
        raise Stop

    monkeypatch.setattr(PartsFolder, "_write_problems", dies)
    with pytest.raises(Stop):
        begun()
    assert not (tmp_path / "out.csv").exists()
    assert (tmp_path / "out.csv.parts" / "joined.csv").exists()
    monkeypatch.undo()
    assert begun().earlier == 1000


def test_interrupted(predictor: Predictor, tmp_path: Path) -> None:
    class Impatient(Watch):
        def advance(self, rows: int) -> None:
            raise KeyboardInterrupt

    given = write_rows(tmp_path / "in.csv", 20)
    with pytest.raises(Interrupted, match="the same command goes on from there") as caught:
        predict_file(open_source(str(given)), tmp_path / "out.csv", predictor, Options(), watch=Impatient())
    assert caught.value.exit_code == 130
    with pytest.raises(Interrupted, match="cannot be gone on with; a --file with --out can"):
        predict_stream(
            open_source(str(given)), len, "csv", predictor, Options(), part_size=5, watch=Impatient()
        )


def test_a_pipe_says_that_it_cannot_be_gone_on_with(tiny_light: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    options = ["--model", tiny_light, "--out", out, "--part-size", 1]
    command = [str(part) for part in (sys.executable, "-m", "emodef", "predict", *options)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write("happy\nwhy\nangry\n")
    process.stdin.flush()
    said = stop_at(process, out, 2, signal.SIGINT)
    assert process.returncode == 130
    assert "cannot be gone on with" in said
    assert "--file" in said


def test_a_pipe_does_not_take_a_file_s_finished_parts(
    begun: Callable[..., Summary], predictor: Predictor, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"

    def piped(**options: Any) -> Summary:
        source = TextSource("txt", None, stream=io.BytesIO(b"so happy\n"))
        return predict_file(source, out, predictor, Options(), **options)

    with pytest.raises(SettingsError, match=r"holds finished parts, .* or begin anew with --restart"):
        piped()
    assert finished_parts(out) == 3
    assert begun().earlier == 300
    assert piped().rows == 1
    assert piped(restart=True).rows == 1


def test_parts_of_a_version_without_a_limit_of_characters(
    begun: Callable[..., Summary], tmp_path: Path
) -> None:
    """What they were made with says nothing of it, nor whether a row had the text: that is as if there were none."""
    parts = tmp_path / "out.csv.parts"
    for path in parts.glob("*.json"):
        content = json.loads(path.read_text())
        content.get("settings", {}).pop("most_characters", None)
        content.pop("has_text", None)
        path.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="the settings most characters changed from null to 5"):
        begun(most_characters=5)
    assert begun().earlier == 300
