"""Parts of long runs: workers in any order, on other machines, memory, progress."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emodef.errors import DataError
from emodef.files import job
from emodef.files.job import Engine, Watch, predict_file
from emodef.files.predictions import Options, Plan, predict_part
from emodef.files.progress import Pace
from emodef.files.sources import Part, open_source
from emodef.predictor import Predictor
from tiny_files import Stop, stopping, write_rows

pytestmark = pytest.mark.long


@pytest.fixture
def local(predictor: Predictor) -> Callable[[Plan], Engine]:
    return lambda plan: job.local(predictor, plan, Watch())


def test_workers_may_finish_in_any_order(predictor: Predictor, local: Any, tmp_path: Path) -> None:
    """What Ray does: parts come back as they are done, and a run that stops leaves gaps."""
    given = write_rows(tmp_path / "in.csv", 1000)

    def shuffled(plan: Plan) -> Engine:
        def run(parts: Iterator[Part]) -> Iterator[Any]:
            held = list(parts)
            random.Random(1).shuffle(held)
            return local(plan)(iter(held))

        return run

    for suffix in ("csv", "parquet"):
        out, other = tmp_path / f"out.{suffix}", tmp_path / f"other.{suffix}"
        predict_file(open_source(str(given)), out, predictor, Options(), part_size=70)
        with pytest.raises(Stop):
            predict_file(
                open_source(str(given)),
                other,
                predictor,
                Options(),
                part_size=70,
                engine=stopping(shuffled, 6),
            )
        source = open_source(str(given))
        summary = predict_file(source, other, predictor, Options(), part_size=70, engine=shuffled)
        assert summary.earlier > 0
        assert out.read_bytes() == other.read_bytes()


def test_parts_and_plans_travel(predictor: Predictor, tmp_path: Path) -> None:
    """A worker on another machine gets them pickled."""
    import pickle

    from emodef.files.job import names_of

    given = write_rows(tmp_path / "in.csv", 100)
    pl.read_csv(given, infer_schema=False, truncate_ragged_lines=True).write_parquet(tmp_path / "in.parquet")
    for name in ("in.csv", "in.parquet"):
        source = open_source(str(tmp_path / name))
        plan = Plan(source.table, "jsonl", Options(), names_of(predictor, Options()))
        part = next(source.parts(100, {}))
        there, its_plan = pickle.loads(pickle.dumps((part, plan)))  # noqa: S301
        assert predict_part(there, predictor, its_plan) == predict_part(part, predictor, plan)


def test_an_input_that_changes_meanwhile(predictor: Predictor, local: Any, tmp_path: Path) -> None:
    given = write_rows(tmp_path / "in.csv", 200)

    def meddling(plan: Plan) -> Engine:
        def run(parts: Iterator[Part]) -> Iterator[Any]:
            yield from local(plan)(parts)
            with open(given, "a", encoding="utf-8") as file:
                file.write("x,happy\n")

        return run

    with pytest.raises(DataError, match="changed while it was read"):
        predict_file(open_source(str(given)), tmp_path / "out.csv", predictor, Options(), engine=meddling)
    assert not (tmp_path / "out.csv").exists()


def test_memory_is_flat(predictor: Predictor, tmp_path: Path) -> None:
    def peak(count: int, out: str) -> int:
        given = write_rows(tmp_path / f"{count}.csv", count)
        tracemalloc.start()
        predict_file(open_source(str(given)), tmp_path / out, predictor, Options(), part_size=500)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    for out in ("out.csv", "out.jsonl"):
        peak(1000, out)  # what is imported and cached
        assert peak(12_000, out) < 2 * peak(3000, out)  # a megabyte or two: how far threads read ahead shows


def test_long_rows_make_small_parts(tmp_path: Path) -> None:
    from emodef.files.sources import PART_BYTES

    given = tmp_path / "in.txt"
    given.write_text(("x" * (PART_BYTES // 3) + "\n") * 7)
    source = open_source(str(given))
    parts = list(source.parts(1000, {}))
    assert [len(part.records) for part in parts] == [3, 3, 1]
    rest = list(source.parts(1000, {0: parts[0].end, 1: parts[1].end}))
    assert [(part.number, part.records) for part in rest] == [(2, parts[2].records)]


def test_progress_estimates_from_the_share_that_is_read() -> None:
    pace = Pace()
    pace.begin(1000)
    assert str(pace) == "1,000 rows"
    pace.estimate(2000, 0.5)
    assert str(pace) == "1,000 of about 4,000 rows"
    pace._began -= 10
    pace.advance(500)
    words = str(pace).split(", ")
    assert words[0] == "1,500 of about 4,000 rows"
    assert words[1:] == ["50/s", "0:00:50 left"]
    pace.estimate(2000, None)
    assert str(pace) == "1,500 rows, 50/s"
