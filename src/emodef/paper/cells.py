"""Parts that the tables share: notes, gains, what a table says of what was not run. Imports statistics, study, reporting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from emodef.bootstrap import Comparison, Mean
from emodef.paper.statistics import Study, mean_of
from emodef.paper.study import Block, Group
from emodef.reporting import Cell, Column, Table, comparison_table

NOT_RUN = "not run here"
F1_ON_TEST = "test F1 [95%]"

# slug, for a file name -> table
Parts = dict[str, Table]


def seeds_cell(group: Group | None) -> str:
    """The seeds a row is the mean of, or that there is none."""
    return NOT_RUN if group is None else ", ".join(map(str, group.seeds))


def score(
    study: Study, group: Group | None, split: str, policy: str, metric: str = "macro_f1"
) -> Mean | None:
    """A metric's mean over seeds; with its interval where a table has room for one: F1 on test."""
    found = study.value(group, split, policy, metric)
    bare = found is not None and not (split == "test" and metric.endswith("_f1"))
    return replace(found, low=None, high=None) if found is not None and bare else found


def steps_cells(group: Group | None) -> tuple[Cell, Cell]:
    """(primary steps, all steps) that a group's runs made, means over its seeds."""
    if group is None:
        return None, None
    steps = [run.steps for run in group.runs]
    return mean_of(each["primary"] for each in steps), mean_of(sum(each.values()) for each in steps)


def fraction(percentage: float | None) -> float | None:
    """A percentage the paper prints, as tables hold it."""
    return None if percentage is None else percentage / 100


def heading(what: str, block: Block, policy: str) -> str:
    """A table's title: what, under which settings, by which thresholds."""
    return f"{what}; {block.title}; {block.words(policy)}"


def notes(study: Study, *, intervals: bool = True) -> tuple[str, ...]:
    """How the figures are to be read."""
    told = ["mean ± standard deviation over seeds (ddof 1), where there are several"]
    if intervals and study.corpus is not None and study.resamples:
        told.append(
            f"95% intervals: percentile bootstrap of the mean over seeds, the same {study.resamples:,} resamples of the test texts "
            f"(seed {study.seed}) for all; they do not contain what another seed would change"
        )
    elif intervals and study.lacking:
        told.append(f"figures as stored with the runs, without paired tests: {study.lacking}")
    return tuple(told)


def gains_table(
    study: Study, pairs: Mapping[str, tuple[Group | None, Group | None]], policy: str, title: str
) -> Table | None:
    """What second groups gain over first ones, name -> (first, second), p-values Holm-corrected over all of them; None where nothing
    can be compared."""
    found: dict[str, Comparison] = {}
    for name, (first, second) in pairs.items():
        compared = None if first is None or second is None else study.gain(first, second, policy)
        if compared is not None:
            found[name] = compared
    if not found:
        return None
    table = comparison_table(found)
    note = (
        f"paired bootstrap of the means over seeds on the same test texts, {study.resamples:,} resamples; "
        f"p corrected (Holm) for the {len(found)} comparisons of this table"
    )
    return replace(table, title=title, notes=(note,))


def shown(block: Block, policies: Sequence[str]) -> Sequence[str]:
    """The policies worth a table: where nothing was run, one says so."""
    return policies if block.groups else policies[:1]


def number_of(titles: Iterable[str], kind: str = "percent") -> tuple[Column, ...]:
    """Columns of one kind."""
    return tuple(Column(title, kind) for title in titles)
