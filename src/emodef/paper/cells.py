"""Parts that the tables share: notes, gains, what a table says of what was not run. Imports statistics, study, reporting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from emodef.bootstrap import Comparison, Mean
from emodef.paper.known import KNOWN
from emodef.paper.statistics import Study, mean_of
from emodef.paper.study import Block, Group
from emodef.reporting import Cell, Column, Table, comparison_table

NOT_RUN = "not run here"
HELD = "gradients held to"
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


def held(title: str, clip: float | None) -> str:
    """A title of runs whose auxiliary steps' gradients were held to a limit of their own; None where to that of all steps."""
    return title if clip is None else f"{title}, {HELD} {clip:g}"


def held_note(clips: Iterable[float | None]) -> tuple[str, ...]:
    """What rows with such a title are, where there are any."""
    if not any(clip is not None for clip in clips):
        return ()
    usual = KNOWN.settings["gradient_clip"]
    return (
        f"“{HELD}”: the norm of an auxiliary step's gradient is limited to that (auxiliary_clip), not to {usual:g} as a primary step's",
    )


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


def notes(study: Study, *, intervals: bool = True, dev: str = "fixed") -> tuple[str, ...]:
    """How the figures are to be read. dev: the policy of a table that has figures of dev."""
    told = ["mean ± standard deviation over seeds (ddof 1), where there are several"]
    if dev == "tuned":
        told.append("dev: of the texts that the thresholds were tuned on, and so too high by about a point")
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
        f"p corrected (Holm) for the {len(found)} comparisons of this table; only seeds that both sides have, where they share any; what "
        "other seeds would change is not in intervals and p"
    )
    return replace(table, title=title, notes=(note, *_unlike(pairs, found)))


def _unlike(pairs: Mapping[str, tuple[Group | None, Group | None]], names: Iterable[str]) -> Iterator[str]:
    """Which of the comparisons are of runs in different precisions."""
    unlike = []
    for name in names:
        first, second = pairs[name]
        if first is not None and second is not None and precisions(first) != precisions(second):
            unlike.append(f"{name} ({precisions(second)} over {precisions(first)})")
    if unlike:
        yield f"trained in different precisions, and so on different processors: {'; '.join(unlike)}"


def precisions(group: Group) -> str:
    """What a group's runs were trained in: "bf16", or several joined by "/"."""
    return "/".join(sorted({run.precision or "unknown" for run in group.runs}))


def precisions_note(rows: Mapping[str, Group | None]) -> tuple[str, ...]:
    """Which rows were trained in which precision, where they differ."""
    found: dict[str, list[str]] = {}
    for title, group in rows.items():
        if group is not None:
            found.setdefault(precisions(group), []).append(title)
    if len(found) < 2:
        return ()
    return ("trained in " + "; in ".join(f"{name}: {', '.join(titles)}" for name, titles in found.items()),)


def shown(policies: Sequence[str], *, run: bool) -> Sequence[str]:
    """The policies worth a table: where nothing was run, one says so."""
    return policies if run else policies[:1]


def number_of(titles: Iterable[str], kind: str = "percent") -> tuple[Column, ...]:
    """Columns of one kind."""
    return tuple(Column(title, kind) for title in titles)
