"""Runs beside each other on the same texts: how each was made, what it scores, what it gains. Imports runs, evaluation, reporting."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.bootstrap import Comparison
from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.evaluation import Report, compare
from emodef.reporting import Cell, Column, Table, comparison_table, summary_table
from emodef.runs import RunFolder, check_policies, evaluate_splits, read_json

RESAMPLES = 10_000
PAPERS_CORPUS = "goemotions"


@dataclass(frozen=True)
class Contender:
    """One column of a comparison: a run, and whose scores of it."""

    name: str
    run: RunFolder
    scores: str

    @classmethod
    def parse(cls, text: str) -> Contender:
        """`RUN` or `RUN:emotion`, `RUN:match`, `RUN:mean`; named after the folder. Errors: `RunFolder.open`."""
        path, _, scores = (
            text.rpartition(":")
            if text.rpartition(":")[2] in ("emotion", "match", "mean")
            else (text, "", "")
        )
        run = RunFolder.open(path)
        return cls(
            Path(path).resolve().name + (f" ({scores} head)" if scores else ""), run, scores or run.scores
        )


def compare_runs(
    contenders: Sequence[Contender],
    *,
    split: str = "test",
    policies: Collection[str] = ("tuned", "fixed"),
    data_dir: str | os.PathLike[str] | None = None,
    paper_rows: Sequence[str] = (),
) -> list[Table]:
    """Tables of several runs on one split: how they were made; their scores under each policy; what each gains over the
    first, by paired bootstrap; F1 by label. Thresholds are tuned on each run's own dev probabilities.

    Raises SettingsError for a name given twice and a split that a run has not predicted, DataError where the runs are not of the same
    texts and labels or the corpus is missing.
    """
    names = [contender.name for contender in contenders]
    if len(set(names)) < len(names):
        raise SettingsError(
            f"two runs are called the same ({', '.join(names)}); rename a folder, or name each run once"
        )
    if paper_rows and (split != "test" or "fixed" not in policies):
        raise SettingsError(
            "the paper's figures are of test, at its fixed threshold; leave --paper out, or ask for these"
        )
    for contender in contenders:
        contender.run.ids(split)  # refuses a split that was not predicted
    corpus = contenders[0].run.corpus(data_dir)
    if split not in corpus:
        raise DataError(
            f"its corpus has no {split} any more; put it back as it was in training", contenders[0].run.path
        )
    if paper_rows and corpus[split].name != PAPERS_CORPUS:
        raise SettingsError(
            f"the paper's figures are of {PAPERS_CORPUS}, and these runs of {corpus[split].name}; leave --paper out"
        )
    tables = [made_table(contenders)]
    reports: dict[str, dict[str, Report]] = {}
    thresholds: dict[str, dict[str, Any]] = {}
    answers: dict[str, NDArray[np.float32]] = {}
    for contender in contenders:
        found = _probabilities(contender, corpus, split, "tuned" in policies)
        thresholds[contender.name], by_policy = evaluate_splits(
            found, corpus, contender.run.settings["threshold"], only=split
        )
        reports[contender.name] = check_policies(
            {
                policy: by_policy[f"{split} {policy}"]
                for policy in policies
                if f"{split} {policy}" in by_policy
            },
            policies,
        )
        answers[contender.name] = found[split]
    for policy in policies:
        by_run = {name: reports[name][policy] for name in names}
        tables.append(summary_table(by_run, paper_rows=paper_rows if policy == "fixed" else ()))
        gains = _gains(names, answers, thresholds, corpus[split], policy)
        for metric in ("macro_f1", "micro_f1") if gains else ():
            table = comparison_table(gains, metric)
            tables.append(replace(table, title=f"{table.title}, {by_run[names[0]].policy}"))
        tables.append(label_table(by_run))
    return tables


def made_table(contenders: Sequence[Contender]) -> Table:
    """How each run was made: settings that may differ, steps by task, time, numbers and code."""
    columns = (
        Column("run"), Column("setup"), Column("pooling"), Column("p", "number", 1), Column("seed", "count"),
        Column("primary steps", "count"), Column("auxiliary steps", "count"), Column("kept epoch"),
        Column("minutes", "number", 0), Column("precision"), Column("code"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    notes = set()
    for path, run in {each.run.path.resolve(): each.run for each in contenders}.items():
        settings = run.settings
        facts = read_json(run.path / "metrics.json")["training"]
        about = read_json(run.path / "versions.json")
        hardware = about["hardware"]
        notes.add(
            f"hardware: {hardware.get('gpu') or hardware['cpu']}, {hardware['threads']} threads; "
            f"torch {about['versions']['torch']}, transformers {about['versions']['transformers']}"
        )
        rows.append(
            (
                path.name, settings["setup"], settings["pooling"],
                settings["p"] if {"cdp", "mlm"} & set(settings["setup"].split("+")) else None, settings["seed"],
                facts["steps"]["primary"], facts["steps"]["auxiliary"], f"{facts['kept_epoch']} of {settings['epochs']}",
                facts["seconds"] / 60, facts["precision"], about.get("code"),
            )
        )  # fmt: skip
    return Table("How the runs were made", columns, tuple(rows), tuple(sorted(notes)))


def label_table(reports: Mapping[str, Report]) -> Table:
    """F1 of every label, run by run, with the label's support in train and in the split; under it the macro average."""
    first = next(iter(reports.values()))
    columns = (
        Column("label"), Column("train", "count"), Column(first.split, "count"), *(Column(name, "percent", 1) for name in reports)
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (
            label.name,
            label.train_support,
            label.support,
            *(report.labels[k].f1 for report in reports.values()),
        )
        for k, label in enumerate(first.labels)
    ]
    rows.append(("macro average", None, None, *(report.summary["macro_f1"] for report in reports.values())))
    return Table(f"F1 by label, {first.corpus} {first.split}, {first.policy}", columns, tuple(rows), footer=1)


def _probabilities(
    contender: Contender, corpus: Mapping[str, Corpus], split: str, tuned: bool
) -> dict[str, NDArray[np.float32]]:
    found = {}
    if contender.run.label_set.names != corpus[split].label_set.names:
        raise DataError(
            "has other labels than the first run, or in another order; compare runs of one label set",
            contender.run.path,
        )
    for name in (split, "dev") if tuned and "dev" in corpus else (split,):
        found[name] = contender.run.probabilities(name, contender.scores)
        if not contender.run.is_of(name, corpus[name]):
            raise DataError(
                f"its {name} texts are not those of the first run's corpus as it is now; compare runs of one corpus, unchanged",
                contender.run.path,
            )
    return found


def _gains(
    names: Sequence[str],
    answers: Mapping[str, NDArray[np.float32]],
    thresholds: Mapping[str, Mapping[str, Any]],
    corpus: Corpus,
    policy: str,
) -> dict[str, Comparison]:
    first, *others = names
    return {
        f"{other} over {first}": compare(
            answers[first], answers[other], corpus,
            first_thresholds=thresholds[first][policy], second_thresholds=thresholds[other][policy], bootstrap=RESAMPLES,
        )
        for other in others
    }  # fmt: skip
