"""From the shell's prompt to an answer: `emodef predict "…"` against a script with `transformers.pipeline`. Imports nothing heavy.

    python -m bench.start_up [--model DIR] [--checkpoint DIR] [--quick]

Writes bench/results/start_up.json and .md. Whole processes, disk warm, in turn; and, in further processes, where our time goes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import light
from bench.pipelines import add_checkpoint, same_model
from bench.report import table
from bench.rounds import interleaved, median, ratio, shown

TEXT = "Thank you so much, you saved my whole week!"
NOTHING, OURS, PIPELINE = "python -c pass", 'emodef predict "…"', "script with transformers.pipeline"
ROUNDS = 7
WANTED = 10
SCRIPT = """\
import sys
from transformers import pipeline
classify = pipeline("text-classification", model=sys.argv[1], top_k=None, device="cpu")
print(classify(sys.argv[2]))
"""
# The predictor's imports and calls as the command makes them, with a clock between them; what is imported first pays for what others
# share. Building the command line, reading its arguments, printing and ending are not in it.
STAGES = """\
import sys, time
seen = [("", time.perf_counter())]
import emodef.cli.app; seen.append(("import of the command line (typer, rich)", time.perf_counter()))
import numpy; seen.append(("import of numpy", time.perf_counter()))
import onnxruntime; seen.append(("import of onnxruntime", time.perf_counter()))
import tokenizers; seen.append(("import of tokenizers", time.perf_counter()))
from emodef import Predictor; seen.append(("import of the predictor", time.perf_counter()))
predictor = Predictor.load(*sys.argv[2:]); seen.append(("model read and made ready", time.perf_counter()))
predictor.predict(sys.argv[1]); seen.append(("prediction", time.perf_counter()))
import json
print(json.dumps([[name, now - before] for (_, before), (name, now) in zip(seen, seen[1:])]))
"""


def command(model: Path | None) -> list[str]:
    """`emodef predict`, as it is installed beside this Python; else by the interpreter."""
    script = shutil.which("emodef", path=str(Path(sys.executable).parent))
    start = [script] if script else [sys.executable, "-m", "emodef"]
    return [*start, "predict", *(["--model", str(model)] if model else []), TEXT]


def stages(model: Path | None, rounds: int) -> dict[str, float]:
    """Median seconds of each stage inside our process."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        given = [sys.executable, "-c", STAGES, TEXT, *([str(model)] if model else [])]
        done = subprocess.run(given, capture_output=True, text=True, check=True, env=light.compiled())
        for name, taken in json.loads(done.stdout.splitlines()[-1]):
            found.setdefault(name, []).append(taken)
    return {name: median(values) for name, values in found.items()}


def page(found: Mapping[str, Any]) -> list[str]:
    """The result in Markdown."""
    rows = [[name, f"{value:.3f}"] for name, value in found["seconds"].items()]
    known = {"Python itself": found["seconds"][NOTHING], **found["stages"]}
    rest = found["seconds"][OURS] - sum(known.values())
    steps = [
        [name, f"{1000 * value:.0f}"]
        for name, value in {
            **known,
            "the rest: the command line built and read, output, ending": rest,
        }.items()
    ]
    return [
        "# Start-up: whole processes",
        "",
        "One text, disk warm; medians over rounds in which the processes take turns.",
        "",
        *table(["", "seconds"], rows),
        "",
        f"The script ({found['same']}) takes {shown(found['ratio'], 1)} times as long as emodef (wanted: {WANTED}).",
        "",
        "Where our process's time goes, measured inside it, ms; what is imported first pays for what others use as well:",
        "",
        *table(["", "ms"], steps),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = light.parser("start_up", __doc__)
    add_checkpoint(parser)
    options = parser.parse_args(given)
    run = light.Run("start_up", given, options)
    same, rounds = same_model(light.light_folder(options), options), 2 if options.quick else ROUNDS
    with tempfile.TemporaryDirectory() as made:
        same.save(Path(made) / "model")
        script = Path(made) / "script.py"
        script.write_text(SCRIPT, encoding="utf-8")
        commands = {
            NOTHING: [sys.executable, "-c", "pass"],
            OURS: command(options.model),
            PIPELINE: [sys.executable, str(script), str(Path(made) / "model"), TEXT],
        }
        for each in commands.values():  # bring the files into memory
            light.seconds(each)
        taken = interleaved({name: partial(light.seconds, each) for name, each in commands.items()}, rounds)
    found = {
        "seconds": {name: round(median(values), 4) for name, values in taken.items()},
        "rounds": {name: [round(value, 4) for value in values] for name, values in taken.items()},
        "ratio": ratio(taken[PIPELINE], taken[OURS]),
        "wanted": WANTED,
        "same": same.described,
        "stages": {name: round(value, 4) for name, value in stages(options.model, rounds).items()},
    }
    run.save(found, page(found))


if __name__ == "__main__":
    main()
