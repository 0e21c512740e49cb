"""What the page counts, against counting the slow way; memory that stays flat; what becomes of times and label sets."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from emodef.labels import LabelSet
from emodef.reporting.page import Prediction, Summary, page_content, shipped_sets, timeline_notes
from emodef.reporting.page import summary as summary_module
from emodef.reporting.page.summary import wilson
from emodef.reporting.page.times import TEXTS, Series, TimeCounts

GOEMOTIONS = LabelSet.load("goemotions")
START = datetime(2024, 1, 1, tzinfo=UTC)


def rows(number: int, names: tuple[str, ...] = GOEMOTIONS.names, hours: float = 24 * 100) -> list[Prediction]:
    draw = random.Random(7)
    found = []
    for k in range(number):
        chosen = draw.sample(names, min(draw.choice((0, 1, 1, 1, 2, 3)), len(names)))
        scores = {name: round(draw.random(), 3) for name in chosen}
        time = None if draw.random() < 0.1 else START + timedelta(hours=hours * draw.random())
        found.append(Prediction(scores, f"text {k % (number // 2)}", time))
    return found


def summarized(predictions: list[Prediction], **options: Any) -> Summary:
    summary = Summary(**{"label_sets": shipped_sets(), **options})
    for row in predictions:
        summary.add(row)
    return summary


@pytest.mark.parametrize("many", [5, 50_000])
def test_counts_are_those_of_counting_by_hand(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each level, in total and by time; folded often or once."""
    monkeypatch.setattr(summary_module, "MANY", many)
    predictions = rows(600)
    content = page_content(summarized(predictions))
    assert content["texts"] == 600
    assert [level["name"] for level in content["levels"]] == ["", "ekman", "sentiment"]
    for place, level in enumerate(content["levels"]):
        mapping = GOEMOTIONS.mappings[level["name"]] if level["name"] else {n: n for n in GOEMOTIONS.names}
        sets = [{mapping[name] for name in row.scores} for row in predictions]
        names = [label["name"] for label in level["labels"]]
        assert {label["name"]: label["count"] for label in level["labels"]} == Counter(
            n for s in sets for n in s
        )
        assert [label["count"] for label in level["labels"]] == sorted(
            (label["count"] for label in level["labels"]), reverse=True
        )
        assert {label["name"]: label["alone"] for label in level["labels"]} == {
            name: sum(s == {name} for s in sets) for name in names
        }
        assert dict(enumerate(level["sizes"])) == Counter(map(len, sets))
        pairs = Counter(pair for s in sets for pair in combinations(sorted(names.index(n) for n in s), 2))
        assert {(a, b): n for a, b, n in level["pairs"]} == pairs

        for series in content["time"]["series"]:
            starts = [datetime.fromisoformat(start + "+00:00") for start in series["starts"]]
            for k, (start, end) in enumerate(
                zip(starts, [*starts[1:], datetime.max.replace(tzinfo=UTC)], strict=True)
            ):
                inside = [
                    s
                    for s, row in zip(sets, predictions, strict=True)
                    if row.time and start <= row.time < end
                ]
                assert series["texts"][k] == len(inside)
                for label, name in enumerate(names):
                    assert series["levels"][place][label][k] == sum(name in s for s in inside)
    assert content["time"]["texts"] == sum(row.time is not None for row in predictions)


def test_children_and_groups_follow_the_label_set() -> None:
    content = page_content(summarized(rows(300)))
    fine, ekman, sentiment = content["levels"]
    assert content["groups"] == list(LabelSet.load("sentiment").names)
    for label in fine["labels"]:
        assert content["groups"][label["group"]] == GOEMOTIONS.mappings["sentiment"][label["name"]]
        assert label["definition"] == GOEMOTIONS.definitions[GOEMOTIONS.index(label["name"])]
    for level in (ekman, sentiment):
        for label in level["labels"]:
            children = [fine["labels"][k]["name"] for k in label["children"]]
            assert sorted(children) == sorted(
                n for n in GOEMOTIONS.names if GOEMOTIONS.mappings[level["name"]][n] == label["name"]
            )
    assert [content["groups"][label["group"]] for label in sentiment["labels"]] == [
        label["name"] for label in sentiment["labels"]
    ]


def test_strongest_are_the_strongest_each_text_once() -> None:
    predictions = rows(800)
    content = page_content(summarized(predictions, examples=7))
    names = [label["name"] for label in content["levels"][0]["labels"]]
    for name, places in zip(names, content["strongest"], strict=True):
        best: dict[str, float] = {}
        for row in predictions:
            if name in row.scores:
                best[str(row.text)] = max(best.get(str(row.text), 0), row.scores[name])
        shown = [content["examples"][place] for place in places]
        scores = [example["scores"][example["labels"].index(names.index(name))] for example in shown]
        assert scores == sorted(best.values(), reverse=True)[:7]
        assert len({example["text"] for example in shown}) == len(shown)
        for example, score in zip(shown, scores, strict=True):
            assert best[example["text"]] == score
    for example in content["examples"]:
        assert example["scores"] == sorted(example["scores"], reverse=True)


def test_texts_that_differ_in_case_and_blanks_are_one() -> None:
    texts = ["Thank  you", "thank you ", "THANK YOU", "thanks"]
    found = page_content(summarized([Prediction({"joy": 0.5 + k / 10}, t) for k, t in enumerate(texts)]))
    assert [example["text"] for example in found["examples"]] == ["thanks", "THANK YOU"]


def test_equal_scores_keep_the_first_rows() -> None:
    found = page_content(summarized([Prediction({"joy": 0.9}, f"t{k}") for k in range(50)], examples=3))
    assert [example["text"] for example in found["examples"]] == ["t0", "t1", "t2"]


def test_examples_without_probabilities_come_in_order() -> None:
    found = page_content(summarized([Prediction({"joy": math.nan}, f"t{k}") for k in range(9)], examples=2))
    assert [(e["text"], e["scores"]) for e in found["examples"]] == [("t0", [None]), ("t1", [None])]


def test_no_texts_wanted() -> None:
    content = page_content(summarized(rows(100), examples=0))
    assert content["examples"] == []
    assert "text 1" not in json.dumps(content)


def test_long_texts_are_cut_and_said_so() -> None:
    example = page_content(summarized([Prediction({"joy": 0.9}, "ab" * 5000)]))["examples"][0]
    assert len(example["text"]) + example["cut"] == 10_000
    assert len(example["text"]) < 2000


@pytest.mark.parametrize("known", [(), ("joy", "fear")])
def test_empty(known: tuple[str, ...]) -> None:
    content = page_content(summarized([], known=known))
    assert (content["texts"], content["time"], content["examples"]) == (0, None, [])
    assert [label["count"] for label in content["levels"][0]["labels"]] == [0] * len(known)


def test_one_label_of_nobodys_set() -> None:
    content = page_content(summarized([Prediction({"Überraschung": 0.5}, "x"), Prediction({}, "y")]))
    assert len(content["levels"]) == 1
    (label,) = content["levels"][0]["labels"]
    assert (label["name"], label["count"], content["groups"]) == ("Überraschung", 1, [])
    assert "definition" not in label
    assert content["levels"][0]["sizes"] == [1, 1]


def test_a_foreign_label_ends_the_coarser_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_module, "MANY", 3)
    predictions = [*rows(50), Prediction({"saudade": 0.9}, "z"), *rows(50)]
    content = page_content(summarized(predictions))
    assert [level["name"] for level in content["levels"]] == [""]


@pytest.mark.parametrize("name", ["goemotions", "ekman", "sentiment", "isear", "emoint", "emotion_stimulus"])
def test_the_label_set_is_recognised(name: str) -> None:
    labels = LabelSet.load(name)
    summary = summarized([], known=labels.names)
    summary.fold()
    assert summary.label_set() == labels
    levels = [level["name"] for level in page_content(summary)["levels"]]
    coarser = [
        level for level, mapping in labels.mappings.items() if set(mapping.values()) != set(labels.names)
    ]
    assert levels == ["", *coarser]


def test_a_label_set_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'name = "own"\n[[labels]]\nname = "up"\ndefinition = "Up"\n[[labels]]\nname = "down"\ndefinition = "Down"\n'
        '[mappings.kind]\nup = "move"\ndown = "move"\n[[coarse.kind.labels]]\nname = "move"\ndefinition = "Move"\n',
        encoding="utf-8",
    )
    own = LabelSet.load(tmp_path / "own.toml")
    content = page_content(summarized([Prediction({"up": 0.5}, "x")], label_sets=[own]))
    assert [[label["name"] for label in level["labels"]] for level in content["levels"]] == [["up"], ["move"]]


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Combinations, times and texts that never come again leave a bounded number of things behind."""
    monkeypatch.setattr(summary_module, "MANY", 200)
    summary = Summary(examples=5, label_sets=[GOEMOTIONS], times=TimeCounts(most=50))
    draw = random.Random(1)
    for k in range(5000):
        labels = draw.sample(GOEMOTIONS.names, 5)
        summary.add(
            Prediction(dict.fromkeys(labels, draw.random()), f"text {k}", START + timedelta(minutes=37 * k))
        )
        assert len(summary._combinations) <= 201
        assert len(summary._timed) <= 201
    summary.fold()
    assert len(summary.times.buckets) <= 50
    assert sum(counts[TEXTS] for counts in summary.times.buckets.values()) == 5000
    assert all(len(found.held) == len(found.heap) == 5 for found in summary.strongest.values())


@pytest.mark.parametrize(
    ("hours", "units"),
    [
        (1, ["minute"]),
        (30, ["hour"]),
        (24 * 20, ["day"]),
        (24 * 100, ["week"]),
        (24 * 2000, ["month"]),
        (24 * 36500, ["year"]),
    ],
)
def test_the_unit_follows_the_span(hours: float, units: list[str]) -> None:
    time = page_content(summarized(rows(2000, hours=hours)))["time"]
    assert time["series"][time["opens"]]["unit"] in units
    for series in time["series"]:
        assert 3 <= len(series["starts"]) <= 200
        assert sum(series["texts"]) + series["outside"] == time["texts"]


def test_gaps_stay_and_weeks_begin_on_monday() -> None:
    times = TimeCounts()
    for day in (1, 2, 3, 25):
        times.add(times.bucket(START.replace(day=day)), {TEXTS: 10}, "minute")
    days, weeks = times.series()[-3:-1] if times.series()[-1].unit == "month" else times.series()[-2:]
    assert [counts[TEXTS] for counts in days.counts] == [10, 10, 10, *[0] * 21, 10]
    assert [start.weekday() for start in weeks.starts] == [0] * 4
    assert [counts[TEXTS] for counts in weeks.counts] == [30, 0, 0, 10]


def test_a_stray_time_does_not_squeeze_the_rest() -> None:
    predictions = [*rows(2000), Prediction({"joy": 0.5}, "x", datetime(1973, 3, 4, tzinfo=UTC))]
    time = page_content(summarized(predictions))["time"]
    shown = time["series"][time["opens"]]
    assert shown["unit"] == "week"
    assert shown["outside"] == 1
    assert shown["starts"][0] >= "2023-12"
    assert time["first"].startswith("1973-03-04")


@pytest.mark.parametrize(("year", "texts"), [(1970, 140), (1, 140), (9999, 20)])
def test_one_stray_time_among_few_texts(year: int, texts: int) -> None:
    stray = Prediction({"joy": 0.5}, "x", datetime(year, 1, 1, tzinfo=UTC))
    some = [Prediction({"joy": 0.5}, "x", START + timedelta(hours=700 * k / texts)) for k in range(texts)]
    summary = summarized([stray, *some])
    content = page_content(summary)
    shown = content["time"]["series"][content["time"]["opens"]]
    assert (shown["unit"], shown["outside"]) == ("day", 1)
    assert len(shown["starts"]) <= 31
    assert timeline_notes(summary, content) == []


@pytest.mark.parametrize(("texts", "outside"), [(10, 0), (19, 1)])
def test_among_very_few_texts_none_is_stray(texts: int, outside: int) -> None:
    years = {1970: Counter({TEXTS: 1}), 2024: Counter({TEXTS: texts})}
    assert Series.of("year", years).outside[TEXTS] == outside


def test_one_moment_makes_no_timeline_and_that_is_said() -> None:
    summary = summarized([Prediction({"joy": 0.5}, "x", START)] * 30)
    content = page_content(summary)
    assert content["time"] is None
    (note,) = timeline_notes(summary, content)
    assert note.startswith("Times read: 30, from 2024-01-01T00:00 to 2024-01-01T00:00. They make no timeline")
    assert "--time-column" in note
    undated = summarized([Prediction({"joy": 0.5}, "x")])
    assert timeline_notes(undated, page_content(undated)) == []


def test_units_change_within_a_fold() -> None:
    times = TimeCounts(most=10)
    moments = [START + timedelta(minutes=k) for k in range(0, 60 * 24 * 400, 777)]
    for bucket in [times.bucket(moment) for moment in moments]:
        times.add(bucket, {TEXTS: 1}, "minute")
    assert times.unit in ("month", "year")
    assert sum(counts[TEXTS] for counts in times.buckets.values()) == len(moments)


def test_wilson() -> None:
    for count, total in ((0, 10), (1, 10), (10, 10), (37, 5427), (0, 1)):
        expected = binomtest(count, total).proportion_ci(0.95, method="wilson")
        assert np.allclose(wilson(count, total), (expected.low, expected.high), atol=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)
