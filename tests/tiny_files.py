"""Files of texts for the tests that predict them with the tiny light model, and reading what was written."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

import tiny_light
from emodef.files.job import Engine, Summary, predict_file
from emodef.files.predictions import Options, Plan
from emodef.files.sources import Part, open_source
from emodef.predictor import Predictor

TEXTS = ["I am so happy and glad", "this is awful", "why is it so lovely", "the platform", "xyz"]
OUTPUTS = ("csv", "tsv", "jsonl", "parquet")
WORDS = [*chain.from_iterable(tiny_light.WORDS.values()), "the", "is", "in", "it", "and", "you"]


def predict_in(
    folder: Path, predictor: Predictor, name: str, content: str | bytes | pl.DataFrame, out: str, *, part_size: int = 2,
    column: str | None = None, format: str | None = None, **options: Any,
) -> tuple[Path, Summary]:  # fmt: skip
    """Write an input of that name and content, predict it: path of the output, summary."""
    path, target = folder / name, folder / out
    if isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = open_source(str(path), column, format)
    summary = predict_file(source, target, predictor, Options(**options), part_size=part_size)
    assert not target.with_name(out + ".parts").exists()
    return target, summary


def rows_of(path: Path, separator: str = ",") -> list[dict[str, Any]]:
    """The rows of an output, whatever its format; lists and probabilities as Python values."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path).to_dicts()
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n")[:-1]]
    if path.suffix == ".tsv":
        return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator))


def predicted(row: dict[str, Any]) -> list[str] | None:
    found = row["predicted"]
    return [name for name in found.split("|") if name] if isinstance(found, str) else found


def write_rows(path: Path, count: int, seed: int = 0) -> Path:
    """A CSV with an id, a text, now and then over two lines or empty, and a ragged row."""
    draw = random.Random(seed)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("id,text\n")
        for n in range(count):
            text = " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))
            text = {0: f'"{text},\nsays ""I"""', 1: "", 2: "é " + text}.get(n % 50, text)
            file.write(f"{n:07d},{text}\n" if n % 777 else f"{n:07d},{text},too,many\n")
    return path


def finished_parts(out: Path) -> int:
    return len(list(out.with_name(out.name + ".parts").glob("part-*.json")))


class Stop(Exception):
    """What `stopping` raises."""


def stopping(engine: Callable[[Plan], Engine], after: int) -> Callable[[Plan], Engine]:
    """An engine that fails after so many parts."""

    def make(plan: Plan) -> Engine:
        def run(parts: Iterator[Part]) -> Iterator[Any]:
            for number, part in enumerate(engine(plan)(parts)):
                if number == after:
                    raise Stop
                yield part

        return run

    return make
