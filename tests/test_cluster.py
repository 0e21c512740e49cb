"""Parts predicted over Ray: the same bytes as without it, whatever happens to workers, models and the driver."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import emodef_command
from emodef.cluster import Worker, ray_engine
from emodef.errors import DataError, EmodefError, SettingsError
from emodef.files.job import Interrupted, Watch, names_of, predict_file
from emodef.files.predictions import Options, Plan, predict_part
from emodef.files.sources import Part, open_source
from emodef.predictor import Predictor
from tiny_files import WORDS

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", autouse=True)
def short_folder() -> Iterator[str]:
    """Ray's files go here (its sockets need a short path), and it writes no token into the home folder."""
    folder = tempfile.mkdtemp(dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def two_cores(short_folder: str) -> Iterator[None]:
    """Ray with two cores, as another part of a program may have started it."""
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="CRITICAL",
        _temp_dir=short_folder,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def predictor(tiny_light: Path) -> Predictor:
    return Predictor.load(tiny_light, threads=2)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A CSV of 600 rows, some without a text, one ragged."""
    draw = random.Random(0)
    rows = [
        f"{n:04d},{'' if n % 90 == 7 else ' '.join(draw.choices([*WORDS, 'é'], k=1 + n % 59))}"
        for n in range(600)
    ]
    rows[333] += ",too,many"
    path = tmp_path / "in.csv"
    path.write_text("\n".join(["id,text", *rows, ""]), encoding="utf-8")
    return path


class Deadly:
    """Whoever unpickles this calls a function: a worker that gets it dies, or fails, for real."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


def planned(given: Path, predictor: Predictor, size: int = 100) -> tuple[Plan, list[Part]]:
    source = open_source(str(given))
    plan = Plan(source.table, "csv", Options(), names_of(predictor, Options()))
    return plan, list(source.parts(size, {}))


def test_the_same_bytes_as_without_ray(
    two_cores: None, predictor: Predictor, given: Path, tmp_path: Path
) -> None:
    shown = []

    class Seen(Watch):
        def advance(self, rows: int) -> None:
            shown.append(rows)

    for suffix in ("csv", "parquet"):
        made = {}
        for name in ("here", "there"):
            out = tmp_path / f"{name}.{suffix}"
            options, source = Options(form="probabilities"), open_source(str(given))
            if name == "here":
                summary = predict_file(source, out, predictor, options, part_size=70)
            else:
                with ray_engine(predictor, watch=Seen()) as engine:
                    summary = predict_file(source, out, predictor, options, part_size=70, engine=engine)
            assert (summary.rows, summary.problems, summary.dropped) == (600, 8, 1)
            assert summary.long_texts > 0
            problems = (tmp_path / f"{name}.{suffix}.problems.jsonl").read_bytes()
            made[name] = out.read_bytes(), problems, [problem.row for problem in summary.shown]
        assert made["here"] == made["there"]
        assert sum(shown) == 600
        shown.clear()
    assert ray.is_initialized()  # it was not started by the engine


@pytest.mark.parametrize("there", ["nothing", "another model"])
def test_the_model_is_sent_where_it_is_not(
    two_cores: None, tiny_light: Path, given: Path, tmp_path: Path, there: str
) -> None:
    """What a machine without a shared disk sees."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_light, folder)
    predictor = Predictor.load(folder, threads=1)
    plan, parts = planned(given, predictor)
    expected = {part.number: predict_part(part, predictor, plan) for part in parts}
    with ray_engine(predictor, workers=1) as engine:
        info = folder / "model.json"
        if there == "nothing":
            shutil.rmtree(folder)
        else:
            info.write_text(info.read_text().replace("0.3", "0.9"))
        assert {part.number: part for part in engine(plan)(iter(parts))} == expected


def test_a_lost_worker_costs_nothing_but_time(
    two_cores: None, predictor: Predictor, given: Path, tmp_path: Path
) -> None:
    plan, parts = planned(given, predictor)
    expected = {part.number: predict_part(part, predictor, plan) for part in parts}
    for number, how in ((1, "os._exit(9)"), (2, "raise MemoryError('full')")):
        mark = str(tmp_path / f"{number}")
        code = f"import os, pathlib; p = pathlib.Path({mark!r}); there = p.exists(); p.touch()\nif not there: {how}"
        parts[number].frame = Deadly(exec, code)
    told: list[str] = []
    with ray_engine(predictor, tell=told.append) as engine:
        assert {part.number: part for part in engine(plan)(iter(parts))} == expected
    assert len(told) == 2
    lost, failed = sorted(told)
    assert f"{given}: part 1 (rows 102 to 201): " in lost  # how Ray puts it depends on when it hears of it
    assert "part 2 (rows 202 to 301)" in failed
    assert "full" in failed
    assert all(sentence.endswith("; it is tried again") for sentence in told)


def test_a_part_that_kills_every_worker(two_cores: None, predictor: Predictor, given: Path) -> None:
    plan, parts = planned(given, predictor)
    parts[1].frame = Deadly(os._exit, 1)
    done: list[int] = []
    with ray_engine(predictor) as engine, pytest.raises(EmodefError) as caught:
        done.extend(part.number for part in engine(plan)(iter(parts)))
    assert "part 1 (rows 102 to 201): " in str(caught.value)
    assert "the last of 3 tries" in str(caught.value)
    assert 0 in done  # what is under way is finished first
    assert 1 not in done


def test_a_bad_row_stops_as_it_does_without_ray(
    two_cores: None, predictor: Predictor, given: Path, tmp_path: Path
) -> None:
    said = []
    for name in ("here", "there"):
        source, options = open_source(str(given)), Options(on_error="fail")
        with ray_engine(predictor) as engine, pytest.raises(DataError) as caught:
            predict_file(
                source,
                tmp_path / f"{name}.csv",
                predictor,
                options,
                part_size=3,
                engine=engine if name == "there" else None,
            )
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert f"{given}:9: the text is empty" in said[0]


def test_only_as_many_parts_are_read_as_workers_are_there(
    two_cores: None, predictor: Predictor, given: Path
) -> None:
    plan, parts = planned(given, predictor, 10)
    read = 0

    def counted() -> Iterator[Part]:
        nonlocal read
        for part in parts:
            read += 1
            yield part

    with ray_engine(predictor) as engine:
        for done, _ in enumerate(engine(plan)(counted()), start=1):
            assert read - done <= 2
    assert done == read == len(parts) == 60


def test_interrupted(two_cores: None, predictor: Predictor, given: Path, tmp_path: Path) -> None:
    class Impatient(Watch):
        def advance(self, rows: int) -> None:
            raise KeyboardInterrupt

    source = open_source(str(given))
    with (
        ray_engine(predictor, watch=Impatient()) as engine,
        pytest.raises(Interrupted, match="goes on from there"),
    ):
        predict_file(source, tmp_path / "out.csv", predictor, Options(), part_size=50, engine=engine)
    until = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert ray.available_resources()["CPU"] == 2  # its workers are gone


def test_workers_that_do_not_start(two_cores: None, predictor: Predictor, given: Path) -> None:
    plan, parts = planned(given, predictor)
    deadly = Plan(plan.table, plan.output, plan.options, (Deadly(os._exit, 1),))  # type: ignore[arg-type]
    with (
        ray_engine(predictor) as engine,
        pytest.raises(EmodefError, match=r"did not start.*pip install 'emodef\[ray\]=="),
    ):
        list(engine(deadly)(iter(parts)))


def test_no_core_is_free(
    two_cores: None, predictor: Predictor, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emodef.cluster.PATIENCE", 0.5)
    plan, parts = planned(given, predictor)
    held = ray.remote(num_cpus=2)(threading.Event).remote()
    try:
        ray.get(held.is_set.remote())  # it has both cores now
        with ray_engine(predictor) as engine, pytest.raises(EmodefError, match="no core free"):
            list(engine(plan)(iter(parts)))
    finally:
        ray.kill(held)


def test_an_address_beside_a_connection(two_cores: None, predictor: Predictor) -> None:
    with (
        pytest.raises(SettingsError, match="connected to Ray already"),
        ray_engine(predictor, address="auto"),
    ):
        pass


def test_a_worker_of_another_release(predictor: Predictor, given: Path) -> None:
    plan, _ = planned(given, predictor)
    with pytest.raises(SettingsError, match=r"Ray worker on .* has emodef .* the driver has 0\.0\.0"):
        Worker().load("0.0.0", None, plan)  # type: ignore[arg-type]


def command(model: Path, *options: object) -> list[str]:
    start = [sys.executable, "-m", "emodef", "predict", "--model", model, *options]
    return [str(part) for part in start]


def test_the_command_is_killed_and_goes_on(tiny_light: Path, tmp_path: Path) -> None:
    draw = random.Random(1)
    given, whole, out = tmp_path / "in.csv", tmp_path / "whole.csv", tmp_path / "out.csv"
    given.write_text("text\n" + "".join(" ".join(draw.choices(WORDS, k=9)) + "\n" for _ in range(6000)))
    source, form = open_source(str(given)), Options(form="probabilities")
    predict_file(source, whole, Predictor.load(tiny_light), form, part_size=20)
    options = ["--file", given, "--part-size", 20, "--form", "probabilities"]
    over_ray = command(tiny_light, *options, "--out", out, "--engine", "ray", "--threads", 2)
    process = subprocess.Popen(over_ray, stderr=subprocess.PIPE, text=True)
    parts, until = tmp_path / "out.csv.parts", time.monotonic() + 300
    while len(list(parts.glob("part-*.json"))) < 9 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, said
    finished = len(list(parts.glob("part-*.json")))
    assert 9 <= finished < 300
    assert not out.exists()
    again = subprocess.run(over_ray, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert again.stdout == ""
    assert again.stderr.startswith(f"{out}: 6,000 rows, {20 * finished:,} of them by an earlier run")
    assert out.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_options_that_do_not_fit(tiny_light: Path, given: Path, tmp_path: Path) -> None:
    start = ("predict", "--model", tiny_light)
    files = ("--file", given, "--out", tmp_path / "out.csv")
    assert "--engine ray" in emodef_command(*start, *files, "--address", "auto", code=2).stderr
    for wrong in (("--file", given), ("why",), ("--out", tmp_path / "out.csv")):
        said = emodef_command(*start, *wrong, "--engine", "ray", code=2, stdin="why\n").stderr
        assert "give --file and --out" in said
    # nothing listens there; a process of its own, since this one may be connected to Ray
    nowhere = command(tiny_light, *files, "--engine", "ray", "--address", "127.0.0.1:1")
    done = subprocess.run(nowhere, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "no Ray cluster answers at '127.0.0.1:1'" in done.stderr
    assert not (tmp_path / "out.csv.parts").exists()


def test_without_ray(tiny_light: Path, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    files = ("--file", given, "--out", tmp_path / "out.csv")
    said = emodef_command("predict", "--model", tiny_light, *files, "--engine", "ray", code=4).stderr
    assert "pip install 'emodef[ray]'" in said
