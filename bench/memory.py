"""Peak memory of whole training runs, each in a process of its own: steps, resume states, evaluation, saving. Imports nothing heavy.

    python -m bench.memory [--data-dir DIR] [--quick]

Writes bench/results/memory.json and bench/results/training.md. Each run is `emodef.train.run.run_training` on a part of the train split
that has its longest texts, with the whole dev and test splits to evaluate on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.common import about, add_options, load, save

SETUPS = ("none", "cdp", "match")
STEPS = 200
WANTED_MIB = 3 * 1000**3 / 2**20  # 3 GB


def measure(setup: str, steps: int, given: Sequence[str]) -> dict[str, Any]:
    """Run one training in a child process; what it reports, and its peak as the system counted it."""
    command = [sys.executable, "-m", "bench.memory", "--child", setup, "--steps", str(steps), *given]
    began = time.monotonic()
    # Linux starts a child's count at this process's size, so this process must stay small: nothing heavy is imported before.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the run of {setup!r} failed: see above")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    facts: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return {**facts, "peak_mib": round(usage.ru_maxrss / unit), "seconds": round(time.monotonic() - began)}


def child(setup: str, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train `steps` steps on the longest texts and others, with the recipe's evaluation and saving."""
    import numpy as np

    from emodef.train.run import run_training

    settings, corpus = load(options)
    settings = settings.model_copy(update={"setup": setup, "epochs": 1, "save_every": max(1, steps // 2)})
    train, size = corpus["train"], min(len(corpus["train"]), steps * settings.batch_size)
    by_length = np.argsort([-len(text) for text in train.texts], kind="stable")
    longest, others = by_length[: 2 * settings.batch_size], by_length[2 * settings.batch_size :]
    rng = np.random.default_rng(0)
    chosen = np.concatenate([longest, rng.permutation(others)])[:size]
    baseline = _peak_now()
    with tempfile.TemporaryDirectory() as folder:
        run = run_training(settings, {**corpus, "train": train.take(chosen)}, Path(folder) / "run", cpu=True)
        facts = json.loads((Path(folder) / "run" / "metrics.json").read_text(encoding="utf-8"))["training"]
    evaluated = {split: len(corpus[split]) for split in ("dev", "test") if split in corpus}
    return {"setup": setup, "steps": facts["steps"], "parameters": sum(p.numel() for p in run.model.model.parameters()),
            "evaluated_texts": evaluated, "peak_mib_before_training": baseline, "precision": facts["precision"]}  # fmt: skip


def _peak_now() -> int:
    import resource

    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each setup in a process of its own, and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=None, help=f"steps of each run (default: {STEPS})")
    options = parser.parse_args(given)
    steps = options.steps or (4 if options.quick else STEPS)
    if options.child:
        print(json.dumps(child(options.child, steps, options)))
        return
    runs = [measure(setup, steps, given) for setup in SETUPS]
    settings, _ = load(options)
    facts = about("memory", given, options, settings)
    save(
        options.out,
        "memory",
        {
            "about": {**facts, "precision": runs[0]["precision"]},
            "wanted_mib": round(WANTED_MIB),
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
