"""Pipes in, lines out: rows in order and as they come, whatever the format."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from emodef.errors import SettingsError
from emodef.files.job import Summary, predict_stream
from emodef.files.predictions import Options
from emodef.files.sources import TextSource
from emodef.predictor import Predictor
from tiny_files import TEXTS


@pytest.fixture(scope="module")
def predictor(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=1)


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
