"""What the page holds, as JSON-able data, made from a Summary. Imports labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from emodef.labels import LabelSet
from emodef.reporting.page.summary import FINEST, Example, Level, Summary, Tally, wilson
from emodef.reporting.page.times import TEXTS, Series

MOST_GROUPS = 6  # colours that stay distinct
WANTED_PER_BIN = 200  # texts, on average: shorter bins show little but chance
FEWEST_BINS = 10  # fewer show no course
FEWEST_STEPS, MOST_STEPS = 3, 200  # of a timeline
LONGEST = 1200  # characters of a text shown


def page_content(summary: Summary) -> dict[str, Any]:
    """Everything the page draws. Labels are referred to by their place in their level's list, the most frequent first.

    levels[0] has the labels of the file; the others coarser ones where the labels are those of a known set: `children`
    are the places of a label's fine ones. groups: the labels of the coarsest level, by which labels are coloured.
    """
    summary.fold()
    label_set = summary.label_set()
    levels = _levels(summary, label_set)
    groups, group_of = grouping(label_set) or ((), {})
    lists = {key: _ordered(summary, key, names) for key, names in levels.items()}
    content = {
        "texts": summary.texts,
        "groups": list(groups),
        "levels": [
            _level(summary.tallies[key], key, lists, label_set, group_of, summary.texts) for key in lists
        ],
        "time": _time(summary, lists),
    }
    return content | _examples(summary.strongest, lists[FINEST])


def _levels(summary: Summary, label_set: LabelSet | None) -> dict[Level, tuple[str, ...]]:
    """Level -> its labels, in the order of the label set, or of the alphabet where it is unknown."""
    seen = summary.seen
    if label_set is None:
        return {FINEST: tuple(sorted(seen))}
    found: dict[Level, tuple[str, ...]] = {FINEST: tuple(n for n in label_set.names if n in seen)}
    for level, mapping in label_set.mappings.items():
        reached = {mapping[name] for name in seen}
        names = tuple(name for name in label_set.coarse[level].names if name in reached)
        if set(names) != seen:
            found[label_set.name, level] = names
    return found


def _ordered(summary: Summary, key: Level, names: Sequence[str]) -> list[str]:
    counts = summary.tallies[key].labels
    return sorted(names, key=lambda name: -counts[name])


def grouping(label_set: LabelSet | None) -> tuple[tuple[str, ...], dict[str, int]] | None:
    """(groups, label of any level -> its group's place): the groups are the coarsest level; None if there are too many."""
    if label_set is None:
        return None
    coarsest = min(label_set.coarse.values(), key=len, default=label_set)
    if len(coarsest) > MOST_GROUPS:
        return None
    to_group = label_set.mappings.get(coarsest.name, {name: name for name in label_set.names})
    group_of: dict[str, int] = {}
    for mapping in label_set.mappings.values():
        for (
            name
        ) in label_set.names:  # of a coarser label: that of its first fine one, of most where they differ
            peers = [to_group[n] for n in label_set.names if mapping[n] == mapping[name]]
            group_of[mapping[name]] = coarsest.index(max(peers, key=peers.count))
    group_of |= {name: coarsest.index(to_group[name]) for name in label_set.names}
    return coarsest.names, group_of


def _level(
    tally: Tally,
    key: Level,
    lists: Mapping[Level, list[str]],
    label_set: LabelSet | None,
    group_of: Mapping[str, int],
    texts: int,
) -> dict[str, Any]:
    names = lists[key]
    place = {name: k for k, name in enumerate(names)}
    labels = []
    for name in names:
        low, high = wilson(tally.labels[name], texts)
        label: dict[str, Any] = {
            "name": sound(name),
            "count": tally.labels[name],
            "low": round(low, 6),
            "high": round(high, 6),
            "alone": tally.alone[name],
        }
        if name in group_of:
            label["group"] = group_of[name]
        if definition := _definition(label_set, key, name):
            label["definition"] = definition
        if key != FINEST and label_set is not None:
            mapping = label_set.mappings[key[1]]
            label["children"] = [k for k, fine in enumerate(lists[FINEST]) if mapping[fine] == name]
        labels.append(label)
    return {
        "name": sound(key[1]),
        "labels": labels,
        "sizes": [tally.sizes[size] for size in range(max(tally.sizes, default=0) + 1)],
        "pairs": sorted([*sorted((place[a], place[b])), n] for (a, b), n in tally.pairs.items()),
    }


def _definition(label_set: LabelSet | None, key: Level, name: str) -> str:
    if label_set is None:
        return ""
    labels = label_set if key == FINEST else label_set.coarse[key[1]]
    return labels.definitions[labels.index(name)]


def _time(summary: Summary, lists: Mapping[Level, list[str]]) -> dict[str, Any] | None:
    """The timeline in up to three units, `opens` the one to open with; None where the times make too few bins or too many."""
    series = summary.times.series(FEWEST_STEPS, MOST_STEPS)
    if not series or summary.first is None or summary.last is None:
        return None
    opens = next(
        (k for k, found in enumerate(series) if summary.dated >= WANTED_PER_BIN * len(found.counts)),
        len(series) - 1,
    )
    while opens > 0 and len(series[opens].counts) < FEWEST_BINS:
        opens -= 1
    shown = series[max(0, opens - 1) : opens + 2]
    return {
        "first": _instant(summary.first),
        "last": _instant(summary.last),
        "texts": summary.dated,
        "opens": shown.index(series[opens]),
        "series": [_series(found, lists) for found in shown],
    }


def timeline_notes(summary: Summary, content: Mapping[str, Any]) -> list[str]:
    """What to say where texts have times and `content`, made from `summary`, has no timeline."""
    if content["time"] is not None or summary.first is None or summary.last is None:
        return []
    return [
        f"Times read: {summary.dated:,}, from {_instant(summary.first)} to {_instant(summary.last)}. They make no timeline, "
        f"which takes {FEWEST_STEPS} to {MOST_STEPS} steps of a minute to a year each; if another column has the times of "
        "the texts, name it with --time-column."
    ]


def _series(series: Series, lists: Mapping[Level, list[str]]) -> dict[str, Any]:
    return {
        "unit": series.unit,
        "starts": [_instant(start) for start in series.starts],
        "texts": [counts[TEXTS] for counts in series.counts],
        "outside": series.outside[TEXTS],
        "levels": [  # level, label, bin
            [[counts[key, name] for counts in series.counts] for name in names]
            for key, names in lists.items()
        ],
    }


def _examples(strongest: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """`examples`: each text once, best labels first; `strongest`: for each label of the file, the places of its examples."""
    place = {name: k for k, name in enumerate(names)}
    kept: dict[int, int] = {}  # row -> place in `examples`
    examples: list[dict[str, Any]] = []
    lists = []
    for name in names:
        found: list[Example] = strongest[name].best_first() if name in strongest else []
        for example in found:
            if example.order not in kept:
                kept[example.order] = len(examples)
                examples.append(_example(example, place))
        lists.append([kept[example.order] for example in found])
    return {"examples": examples, "strongest": lists}


def _example(example: Example, place: Mapping[str, int]) -> dict[str, Any]:
    scores = sorted(example.scores.items(), key=lambda item: (math.isnan(item[1]), -item[1]))
    found: dict[str, Any] = {
        **shortened(example.text),
        "labels": [place[name] for name, _ in scores],
        "scores": [None if math.isnan(score) else round(score, 4) for _, score in scores],
    }
    if example.time is not None:
        found["time"] = _instant(example.time)
    return found


def _instant(time: datetime) -> str:
    return (
        time.strftime("%Y-%m-%dT%H:%M")
        if time.year >= 1000
        else f"{time.year:04}" + time.strftime("-%m-%dT%H:%M")
    )


def shortened(text: str) -> dict[str, Any]:
    """A text as the page shows it, and how many characters are cut off, where any are."""
    text = sound(text)
    return {"text": text[:LONGEST]} | ({"cut": len(text) - LONGEST} if len(text) > LONGEST else {})


def sound(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair is replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
