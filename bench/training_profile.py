"""Where the time of a training step goes, for the setups none, cdp and match. Imports torch.

    python -m bench.training_profile [--data-dir DIR] [--quick]

Writes bench/results/training_profile.json and bench/results/training.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from bench.common import about, add_options, load, save
from bench.steps import CPU, Knobs, Trainer, batches_of
from bench.timing import Epoch, Size
from emodef.corpora import Corpus
from emodef.train.performance import resolve_precision, tune_process
from emodef.train.settings import TrainSettings

SETUPS = ("none", "cdp", "match")
STEP, MAKE, CLIP = "bench::step", "bench::make", "bench::clip"
# An operation belongs to the outermost of these that it ran in, …
WITHIN = {
    MAKE: "making the batch",
    CLIP: "gradient norm and clipping",
    "Optimizer.step": "optimiser",
    "aten::embedding_dense_backward": "word table's gradient (zero-filled)",
}
# … else to the group of its own name, the first that fits.
GROUPS = (
    (
        "matrix products",
        ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "linear", "mkldnn", "flash_attention"),
    ),
    ("dropout: random numbers", ("bernoulli", "aten::rand")),
    ("dropout: applying it", ("dropout",)),
    ("layer norm", ("layer_norm",)),
    ("GELU", ("gelu",)),
    ("softmax and attention's rest", ("softmax", "scaled_dot_product")),
    ("casts and copies", ("copy_", "_to_copy", "aten::to", "contiguous", "clone", "cat")),
    (
        "elementwise arithmetic and sums",
        ("aten::add", "aten::mul", "aten::div", "aten::sum", "aten::mean", "masked_fill", "aten::neg"),
    ),
    ("allocating and filling", ("empty", "zero", "fill_", "ones")),
    ("Python and autograd, between operations", (STEP, "autograd::", "Backward", "AccumulateGrad")),
)


def group(names: Sequence[str]) -> str:
    """The group of an operation, from its own name and its callers' (innermost first)."""
    for name in reversed(names):
        for start, label in WITHIN.items():
            if name.startswith(start):
                return label
    for label, parts in GROUPS:
        if any(part in names[0] for part in parts):
            return label
    return "rest"


def _callers(event: Any) -> list[str]:
    names = []
    while event is not None:
        names.append(event.name)
        event = event.cpu_parent
    return names


def shares(events: Iterable[Any]) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Time by group, and the costliest operations, as shares of the whole; every moment counts once, where it was spent itself."""
    groups: dict[str, float] = defaultdict(float)
    operations: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0])
    for event in events:
        names = _callers(event)
        if names[-1] != STEP:
            continue  # not of a step
        label = group(names)
        groups[label] += event.self_cpu_time_total
        entry = operations[names[0], label]
        entry[0] += event.self_cpu_time_total
        entry[1] += 1
    whole = sum(groups.values()) or 1.0
    top = sorted(operations.items(), key=lambda item: -item[1][0])[:15]
    return (
        {
            label: round(value / whole, 4)
            for label, value in sorted(groups.items(), key=lambda item: -item[1])
        },
        [
            {"operation": name, "group": label, "share": round(value / whole, 4), "calls": int(calls)}
            for (name, label), (value, calls) in top
        ],
    )


def profiled(
    corpus: Corpus, settings: TrainSettings, setup: str, steps: int, epoch_steps: int | None
) -> dict[str, Any]:
    """Profile `steps` steps of `setup`, spread over the sizes of an epoch; cdp: steps on pairs."""
    trainer = Trainer(settings.model_copy(update={"setup": setup}), corpus)
    trainer.use(Knobs(precision=resolve_precision(settings.precision, CPU)))
    batches = batches_of(trainer, pairs=setup == "cdp")
    epoch = len(batches.auxiliary) if setup == "cdp" else batches.epoch_steps
    numbers = Epoch.survey(batches, min(epoch, epoch_steps or epoch)).rounds(Size(3, steps))
    for step in numbers[0]:
        trainer.step([batches.make(step)])
    start = time.perf_counter()
    for step in numbers[1]:
        trainer.step([batches.make(step)])
    plain = (time.perf_counter() - start) / len(numbers[1])
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for step in numbers[2]:
            with record_function(STEP):
                with record_function(MAKE):
                    made = batches.make(step)
                trainer.step([made])
    under = (time.perf_counter() - start) / len(numbers[2])
    by_group, top = shares(seen.events() or [])
    return {"steps": len(numbers[2]), "ms_per_step": round(1000 * plain, 1), "ms_per_step_profiled": round(1000 * under, 1),
            "groups": by_group, "operations": top}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m bench.training_profile", description=__doc__.splitlines()[0]
    )
    add_options(parser)
    options = parser.parse_args(given)
    tune_process()
    settings, corpus = load(options)
    facts = about("training_profile", given, options, settings)
    steps, epoch_steps = (2, 20) if options.quick else (16, None)
    setups = {setup: profiled(corpus["train"], settings, setup, steps, epoch_steps) for setup in SETUPS}
    precision = resolve_precision(settings.precision, CPU)
    save(options.out, "training_profile", {"about": {**facts, "precision": precision}, "setups": setups})


if __name__ == "__main__":
    main()
