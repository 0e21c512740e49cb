"""What `emodef experiment run` does, step by step: a recipe's runs, their corpora, the plan, the processes. Imports typer."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import typer

from emodef.cli import options
from emodef.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from emodef.corpora import Corpus
    from emodef.experiments.plan import Planned
    from emodef.experiments.processes import Spawn
    from emodef.experiments.results import RunSpec
    from emodef.experiments.supervisor import Job
    from emodef.runs import DataChoice
    from emodef.train.settings import TrainSettings


def canonical(saved: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the result of a run with these saved settings depends on; None where they are another kind's."""
    from pydantic import ValidationError

    from emodef.train.settings import TrainSettings

    with suppress(ValidationError, TypeError):
        return TrainSettings(**saved).canonical()
    return None


def chosen_runs(recipe: str, assign: list[str], only: list[str]) -> list[TrainSettings]:
    """The recipe's runs, those left by --only."""
    from emodef.train.settings import load_experiment, parse_overrides

    experiment = load_experiment(recipe, parse_overrides(assign))
    if not experiment.runs:
        raise SettingsError(f"{recipe} is a study of transfer; run it with: emodef paper figure3 --run")
    wanted: dict[str, list[Any]] = {}
    for each in only:
        for key, value in parse_overrides([each]).items():
            if key not in type(experiment.runs[0]).model_fields:
                raise SettingsError(
                    f"--only {each}: there is no setting {key!r}; 'emodef recipes {recipe}' lists them"
                )
            # as --set takes them: a list is of several values, or the value of a setting that is a list
            several = [*value, tuple(value)] if isinstance(value, list) else [value]
            wanted.setdefault(key, []).extend([*several, *([None] if "none" in several else [])])
    chosen = [
        run for run in experiment.runs if all(getattr(run, key) in values for key, values in wanted.items())
    ]
    if not chosen:
        raise SettingsError(f"--only {' --only '.join(only)}: none of the {len(experiment.runs)} runs is so")
    return chosen


def read_specs(
    wanted: Sequence[TrainSettings], choice: DataChoice, quiet: bool
) -> tuple[dict[str, Mapping[str, Corpus]], list[RunSpec]]:
    """The corpora by fingerprint, and the runs planned on them. Raises what reading a corpus raises, and SettingsError."""
    from emodef.cli.asking import check_settings
    from emodef.cli.training import check_corpus
    from emodef.experiments.results import RunSpec
    from emodef.runs import fingerprint
    from emodef.train.held_out import training_corpus
    from emodef.train.sampling import total_steps
    from emodef.train.teachers import unlabelled_texts, with_hashes

    read: dict[tuple[str, str | None], tuple[str, Mapping[str, Corpus]]] = {}
    specs = []
    for settings in map(with_hashes, wanted):
        check_settings(settings)
        source = settings.corpus, settings.label_set
        if source not in read:
            corpus = choice.load(*source)
            options.report_problems(corpus.values(), quiet)
            read[source] = fingerprint(corpus), corpus
        data, splits = read[source]
        check_corpus(splits, settings)
        trained_on = training_corpus(settings, splits)
        train = trained_on["train"]
        texts = len(train) + len(unlabelled_texts(settings, trained_on))
        steps = total_steps(
            settings,
            -(-texts // settings.batch_size),
            auxiliary=settings.auxiliary and bool(train.labels.any()),
        )
        specs.append(RunSpec(settings.model_dump(mode="json"), settings.canonical(), data, steps))
    return dict(read.values()), specs


def planned_runs(
    specs: Sequence[RunSpec], corpora: Mapping[str, Mapping[str, Corpus]], results: Path, jobs: int, cpu: bool
) -> tuple[list[Planned], int]:
    """What is to be done, and the threads of each process."""
    from emodef.cli.training import check_new
    from emodef.experiments.plan import FINISHED, NEW, make_plan
    from emodef.experiments.results import find_runs
    from emodef.predictor.session import usable_cores
    from emodef.train.held_out import training_corpus
    from emodef.train.settings import TrainSettings
    from emodef.train.versions import this_hardware

    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # OpenMP's, one for each level
    fixed = int(given) if given.isdecimal() else 0

    def shared(runs: int) -> int:
        return fixed or max(1, usable_cores() // min(jobs, max(1, runs)))

    found, hardware = find_runs(results, canonical), this_hardware(cpu=cpu)
    plan = make_plan(specs, corpora, results, found, hardware=hardware, threads=shared(len(specs)))
    for planned in plan:
        if planned.state == NEW:
            settings = TrainSettings(**planned.spec.settings)
            check_new(training_corpus(settings, corpora[planned.spec.data]), settings.corpus)
    left = sum(planned.state != FINISHED for planned in plan)
    if (threads := shared(left)) != shared(len(specs)):  # fewer are left, and share the cores among them
        plan = make_plan(specs, corpora, results, found, hardware=hardware, threads=threads)
    return plan, threads


def supervise(
    plan: Sequence[Planned],
    order: Mapping[str, Any],
    at_once: int,
    threads: int,
    stop_after: float | None,
    quiet: bool,
    ray: str | None,
) -> tuple[dict[str, Job], str]:
    """Make the runs that are not finished: name -> job, and why they were stopped, if so. ray: address of a cluster, or "local"."""
    from emodef.experiments.display import Display
    from emodef.experiments.plan import FINISHED
    from emodef.experiments.processes import LocalProcess, environments
    from emodef.experiments.supervisor import Job, Supervisor
    from emodef.train.versions import visible_gpus

    jobs = [
        Job(
            planned.spec.name,
            planned.folder,
            {**order, "settings": planned.spec.settings, "fingerprint": planned.spec.data},
            planned.spec.steps,
            step=planned.step if order["resume"] else 0,
        )
        for planned in plan
        if planned.state != FINISHED
    ]
    if not jobs:
        return {}, ""
    gpus = 0 if order["cpu"] or ray else visible_gpus()
    console = options.notes(quiet)
    display = Display(console)
    with ExitStack() as stack:
        spawn: Spawn = LocalProcess
        if ray is not None:
            from emodef.experiments.cluster import ray_processes

            spawn, threads = stack.enter_context(ray_processes(None if ray == "local" else ray, at_once))
        console.print(
            f"{len(jobs)} of {len(plan)} runs to make, {at_once} at once; threads of each: {threads}"
        )
        stack.enter_context(display.use())
        supervisor = Supervisor(
            jobs,
            at_once,
            environments(threads, gpus),
            None if stop_after is None else 60 * stop_after,
            spawn=spawn,
            watch=display.watch,
            started=display.started,
            ended=display.ended,
        )
        supervisor.run()
    return {job.name: job for job in jobs}, supervisor.stopped


def outcome(planned: Planned, job: Job | None) -> dict[str, Any]:
    """One run, for scripts."""
    about = planned.to_dict()
    if job is not None:
        about |= {"state": job.state, "step": job.step, "seconds": round(job.seconds, 1), "error": job.error}
    return about


def print_plan(plan: Sequence[Planned], jobs: int, json: bool) -> None:
    """What would be run, what is done, and how long it takes."""
    from collections import Counter

    from rich.table import Column, Table
    from rich.text import Text

    from emodef.experiments.display import duration
    from emodef.experiments.plan import FINISHED

    if json:
        options.print_json([planned.to_dict() for planned in plan])
        return
    table = Table(
        "run", "state", Column("steps", justify="right"), "takes", "folder", box=None, pad_edge=False
    )
    for planned in plan:
        state = planned.state + (f" (step {planned.step:,})" if 0 < planned.step < planned.spec.steps else "")
        takes = (
            "" if planned.state == FINISHED else "?" if planned.seconds is None else duration(planned.seconds)
        )
        table.add_row(
            Text(planned.spec.name), state, f"{planned.spec.steps:,}", takes, Text(str(planned.folder))
        )
    options.output().print(table)
    counts = Counter(planned.state for planned in plan)
    typer.echo(f"{len(plan)} runs: " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    open_ = [planned for planned in plan if planned.state != FINISHED]
    known = [planned.seconds for planned in open_ if planned.seconds is not None]
    if known:
        rest = len(open_) - len(known)
        whole = max(sum(known) / jobs, *known)  # the longest run is not shared out
        typer.echo(
            f"time: about {duration(whole)} with {jobs} at once, as fast as the finished runs on this hardware"
            + (f"; {rest} more of unknown length" if rest else "")
        )
    elif open_:
        typer.echo("time: unknown, no finished run here is like these on this hardware")
