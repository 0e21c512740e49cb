"""What an experiment still has to run, where, and how long that may take. Imports results.

Times are those of finished runs like the planned ones: same backbone, tasks and batch size on the same hardware. Where there is none,
nothing is said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from emodef.corpora import Corpus
from emodef.errors import DataError
from emodef.experiments.results import Found, RunSpec
from emodef.runs import started

FINISHED, UNFINISHED, NEW = "finished", "unfinished", "new"


@dataclass(frozen=True)
class Planned:
    """A run of the experiment: where it is or will be, and how far it is."""

    spec: RunSpec
    folder: Path
    state: str  # FINISHED, UNFINISHED or NEW
    step: int = 0  # of the last saved state
    seconds: float | None = None  # still to be spent, if like the finished runs; None: unknown

    def to_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "run": self.spec.name,
            "folder": str(self.folder),
            "state": self.state,
            "hash": self.spec.hash,
            "steps": self.spec.steps,
            "step": self.step,
            "seconds": self.seconds,
            "settings": dict(self.spec.settings),
        }


def make_plan(
    specs: Sequence[RunSpec],
    corpora: Mapping[str, Mapping[str, Corpus]],
    results: Path,
    found: Sequence[Found],
    *,
    hardware: Mapping[str, Any],
    threads: int,
) -> list[Planned]:
    """Each run with what is known of it.

    corpora: fingerprint -> corpus. found: the runs under `results`. hardware: of this machine, as versions.json has it.
    threads: of each process that will train. Raises DataError for a folder that should be a run's and is another's.
    """
    paces = _paces(found)
    by_folder = {run.folder: run for run in found}
    # a run begun by a release that named it otherwise: names end with the hash
    by_hash = {folder.name.rpartition("-")[2]: folder for folder in by_folder if folder.parent == results}
    plan = []
    for spec in specs:
        done = next((run for run in found if run.is_finished and run.is_run(spec, corpora[spec.data])), None)
        if done is not None:
            plan.append(Planned(spec, done.folder, FINISHED, spec.steps))
            continue
        folder = results / spec.name
        if not folder.exists():
            folder = by_hash.get(spec.hash[:8], folder)
        there = by_folder.get(folder)
        if folder.exists() and (
            there.canonical != spec.canonical if there else (folder / "settings.json").exists()
        ):
            raise DataError(
                "is where a run of this experiment goes, and holds something else; move it away", folder
            )
        step = _saved_step(folder)
        pace = paces.get(_kind(spec.settings, hardware))
        seconds = None if pace is None else (spec.steps - step) * pace / _share(hardware, threads)
        plan.append(Planned(spec, folder, UNFINISHED if started(folder) else NEW, step, seconds))
    return plan


def _kind(settings: Mapping[str, Any], hardware: Mapping[str, Any]) -> tuple[Any, ...]:
    """What runs have in common that take the same time for a step."""
    tasks = "+".join(sorted(str(settings["setup"]).split("+")))
    device = hardware.get("gpu") or (hardware.get("cpu"), hardware.get("cores"))
    return (settings["backbone"], tasks, settings["batch_size"], device)


def _share(hardware: Mapping[str, Any], threads: int) -> float:
    """Of a processor, the number of threads; a GPU is shared in ways that are not known."""
    return 1.0 if "gpu" in hardware else float(threads)


def _paces(found: Sequence[Found]) -> dict[tuple[Any, ...], float]:
    """Kind of run -> its seconds a step, on one thread where that is what is shared."""
    seen = defaultdict(list)
    for run in found:
        hardware = run.about.get("hardware", {})
        steps = sum(run.training.get("steps", {}).values())
        if steps and "earlier" not in run.about:
            pace = run.training["seconds"] / steps * _share(hardware, hardware.get("threads", 1))
            seen[_kind(run.settings, hardware)].append(pace)
    return {kind: median(paces) for kind, paces in seen.items()}


def _saved_step(folder: Path) -> int:
    states = [path.name.removeprefix("step-") for path in (folder / "state").glob("step-*")]
    return max((int(state) for state in states if state.isdigit()), default=0)
