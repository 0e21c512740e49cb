"""Peak memory of `emodef predict --file` for few rows and for many. Imports numpy.

    python -m bench.file_memory [--model DIR] [--rows 10000,1000000] [--format csv] [--quick]

Writes bench/results/file_memory.json and .md. The rows are made here. A million rows take as long as they take: ten minutes and more.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import light
from bench.report import table

ROWS = (10_000, 1_000_000)
WANTED = 1.3
OPENINGS = (
    "Well,", "So", "Honestly,", "This morning", "After the match", "On the bus", "Again:", "As of today", "Oh,", "Now", "Look,",
    "To be fair,", "Last night", "In the end", "Back home", "At work",
)  # fmt: skip
CLAUSES = (
    "I am so happy with the new garden", "we danced and laughed all evening", "what a lovely day it was", "I miss her",
    "I am furious with the landlord", "they lied to us and it makes my blood boil", "how dare he shout at her", "thanks a lot",
    "I am scared to open the letter", "that noise in the cellar terrifies me", "I worry that the bridge will not hold",
    "how does the old clock work", "I wonder who lived here before", "tell me more about the map", "the shop opens at nine",
    "there are two chairs in the hall", "the train stops at platform four", "nobody told me about the meeting",
    "you should be proud of what you did", "it could have been worse", "I did not see that coming", "they cancelled it again",
)  # fmt: skip
JOINTS = (" and ", ", but ", "; ", ", so ", " - ")
# The command as it is, in a process that says at its end how much memory it held at most.
CHILD = """\
import sys
from bench.file_memory import peak_mib
from emodef.cli import main
try:
    code = main(sys.argv[2:])
except SystemExit as end:
    code = end.code
open(sys.argv[1], "w").write(str(peak_mib()))
sys.exit(code)
"""


def peak_mib() -> float:
    """The most memory this process has held, in MiB: of its own, where the system tells (Linux), else as it counts it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)


def sentences(count: int, seed: int = 0) -> Iterator[str]:
    """Made-up texts of 1 to 6 clauses, nearly all different."""
    draw = np.random.default_rng(seed)
    for number in range(count):
        clauses = draw.choice(CLAUSES, min(6, 1 + int(draw.exponential(1.2))))
        text = str(clauses[0])
        for clause in clauses[1:]:
            text += str(draw.choice(JOINTS)) + str(clause)
        yield f"{draw.choice(OPENINGS)} {text} {number % 9973}{draw.choice(('.', '!', '', '...'))}"


def write_rows(path: Path, count: int) -> None:
    """A file of `count` rows with columns id, text, stars; its ending says which kind, csv or jsonl."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            for number, text in enumerate(sentences(count)):
                row = {"id": f"{number:09d}", "text": text, "stars": number % 5}
                file.write(json.dumps(row) + "\n")
            return
        writer = csv.writer(file)
        writer.writerow(["id", "text", "stars"])
        writer.writerows([f"{number:09d}", text, number % 5] for number, text in enumerate(sentences(count)))


def measure(rows: int, form: str, model: Path | None) -> dict[str, Any]:
    """Predict a file of `rows` rows in a child process. Raises RuntimeError where that fails or loses rows."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        given, wanted, noted = folder / f"in.{form}", folder / f"out.{form}", folder / "peak"
        write_rows(given, rows)
        command = [sys.executable, "-c", CHILD, str(noted), "predict", "--file", str(given)]
        command += ["--text-column", "text", "--out", str(wanted), "--quiet"]
        command += ["--model", str(model)] if model else []
        taken = light.seconds(command, cwd=light.ROOT)
        with wanted.open(encoding="utf-8", newline="") as file:
            written = sum(1 for _ in (file if form == "jsonl" else csv.reader(file))) - (form == "csv")
        if written != rows:
            raise RuntimeError(f"{written:,} rows written of {rows:,}")
        return {
            "rows": rows,
            "peak_mib": round(float(noted.read_text(encoding="ascii")), 1),
            "seconds": round(taken, 2),
            "input_mib": round(given.stat().st_size / 2**20, 1),
        }


def page(found: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = [
        [
            f"{each['rows']:,}",
            f"{each['input_mib']:,.1f}",
            f"{each['peak_mib']:,.0f}",
            f"{each['seconds']:,.1f}",
            f"{each['rows'] / each['seconds']:,.0f}",
        ]
        for each in found["runs"]
    ]
    return [
        "# Memory of `emodef predict --file`",
        "",
        f"Made-up rows as {found['form']}, in and out. Peak resident memory of the whole process; seconds with start-up and joining.",
        "",
        *table(["rows", "input, MiB", "peak, MiB", "seconds", "rows/s"], rows),
        "",
        f"Most rows over fewest: **{found['ratio']:.3f}** (wanted: at most {WANTED}).",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("file_memory", __doc__)
    parser.add_argument(
        "--rows", default=",".join(map(str, ROWS)), help="how many rows each file has, separated by commas"
    )
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    options = parser.parse_args(given)
    run = light.Run("file_memory", given, options)
    counts = [200, 2000] if options.quick else [int(count) for count in options.rows.split(",")]
    runs = [measure(count, options.format, options.model) for count in counts]
    by_rows = sorted(runs, key=lambda each: each["rows"])
    found = {
        "form": options.format,
        "runs": runs,
        "ratio": round(by_rows[-1]["peak_mib"] / by_rows[0]["peak_mib"], 4),
        "wanted": WANTED,
    }
    run.save(found, page(found))


if __name__ == "__main__":
    main()
