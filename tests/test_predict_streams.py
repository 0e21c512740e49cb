"""Pipes in, lines out: rows in order and as they come, whatever the format."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from emodef.errors import SettingsError
from emodef.files.job import Summary, predict_file, predict_stream
from emodef.files.predictions import Options
from emodef.files.sources import TextSource, open_source
from emodef.predictor import Predictor
from tiny_files import TEXTS


def piped(
    predictor: Predictor, content: bytes, format: str, output: str, **options: Any
) -> tuple[bytes, Summary]:
    sink = io.BytesIO()
    source = TextSource(format, None, stream=io.BytesIO(content))
    summary = predict_stream(source, sink.write, output, predictor, Options(**options), part_size=2)
    return sink.getvalue(), summary


def test_streams(predictor: Predictor) -> None:
    lines, _ = piped(predictor, "\n".join(TEXTS).encode(), "txt", "tsv")
    assert lines.decode().splitlines()[0].split("\t") == ["predicted", "probabilities", "text"]
    assert [line.split("\t")[2] for line in lines.decode().splitlines()[1:]] == TEXTS
    rows, summary = piped(predictor, b'\xef\xbb\xbfa,text\n007,"so\nhappy"\n8,\n9,why\n', "csv", "jsonl")
    assert [json.loads(line)["a"] for line in rows.splitlines()] == ["007", "8", "9"]
    assert [problem.row for problem in summary.shown] == [4]
    rows, _ = piped(predictor, b'\xef\xbb\xbf{"text": "why"}\n', "jsonl", "jsonl")
    assert json.loads(rows)["predicted"] == ["curiosity"]
    with pytest.raises(SettingsError, match="not written to standard output"):
        piped(predictor, b"why", "txt", "parquet")


def test_a_stream_is_predicted_as_it_comes(predictor: Predictor) -> None:
    """After each part its rows are out: `tail -f | emodef predict --part-size 1` answers at once."""
    taken: list[int] = []

    class Slow(io.RawIOBase):
        def readline(self, size: int | None = -1, /) -> bytes:
            taken.append(1)
            return b"so happy\n" if len(taken) < 6 else b""

    seen: list[int] = []
    source = TextSource("txt", None, stream=Slow())  # type: ignore[arg-type]
    predict_stream(source, lambda _: seen.append(len(taken)), "jsonl", predictor, Options(), part_size=1)
    assert seen == [1, 2, 3, 4, 5]


def test_windows_of_a_long_text_are_said(predictor: Predictor) -> None:
    content, summary = piped(predictor, b"happy " * 200 + b"\nhappy\n", "txt", "jsonl")
    long, short = map(json.loads, content.splitlines())
    assert long["windows"] == predictor.predict("happy " * 200).windows > 1
    assert "windows" not in short
    assert summary.long_texts == 1


def test_keys_that_the_first_row_lacks(predictor: Predictor, tmp_path: Path) -> None:
    """A file's keys are all columns; of a pipe's, whose header is out already, it is said which are left out."""
    rows = b'{"text": "so happy"}\n{"id": 7, "text": "why"}\n{"id": 8, "text": "why", "no": 1}\n'
    (tmp_path / "in.jsonl").write_bytes(rows)
    sink = io.BytesIO()
    predict_stream(
        open_source(str(tmp_path / "in.jsonl")), sink.write, "csv", predictor, Options(), part_size=2
    )
    assert [row["id"] for row in csv.DictReader(io.StringIO(sink.getvalue().decode()))] == ["", "7", "8"]
    content, summary = piped(predictor, rows, "jsonl", "csv")
    assert content.decode().splitlines()[0] == "text,predicted,probabilities"
    assert summary.left_out == {"id": 2, "no": 3}
    assert piped(predictor, rows, "jsonl", "jsonl")[1].left_out == {}
    out = tmp_path / "out.csv"
    into_file = predict_file(TextSource("jsonl", None, stream=io.BytesIO(rows)), out, predictor, Options())
    assert into_file.left_out == {"id": 2, "no": 3}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
@pytest.mark.parametrize("format", ["csv", "txt"])
def test_a_named_pipe_is_a_stream(predictor: Predictor, tmp_path: Path, format: str) -> None:
    """As `--file <(command)` gives one: it can be read once."""
    rows = ["text", *(f"so happy {i}" for i in range(3_000))]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("\n".join(rows) + "\n",), daemon=True)
    writer.start()
    source = open_source(str(pipe), format=format)
    sink = io.BytesIO()
    summary = predict_stream(source, sink.write, "jsonl", predictor, Options(), part_size=100)
    writer.join()
    texts = [json.loads(line)["text"] for line in sink.getvalue().splitlines()]
    assert texts == (rows[1:] if format == "csv" else rows)
    assert (summary.rows, source.table.name) == (len(texts), str(pipe))
    with pytest.raises(SettingsError, match="not read from a pipe"):
        open_source(str(pipe), format="parquet")
    with pytest.raises(SettingsError, match="is read without it"):
        open_source("-", format="csv")
