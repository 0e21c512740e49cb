"""Figure 3 in numbers: means, intervals and paired tests against slow loops, on made-up predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from emodef.bootstrap import Mean, resample_weights
from emodef.metrics import averages, count
from emodef.paper.figure3 import METRICS, Point, figure3, gain, gains_tables, read_scores, scores_table
from emodef.transfers import Row, TransferFolder, draw_splits

TEXTS, LABELS = 400, ("glad", "cross", "afraid")
SKILL = {"untuned": 0.3, "none": 0.6, "cdp": 0.75, "match": 0.6}


def write_study(
    path: Path, *, sizes: Any = (20, 0.5), splits: int = 3, policy: str = "softmax", skip: Any = ()
) -> TransferFolder:
    """A study with made-up predictions: a start is right as often as SKILL says, and match says what none says."""
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 3, TEXTS).astype(np.uint8)
    texts = [f"text {i // 2 if i % 10 == 1 else i}" for i in range(TEXTS)]
    made = draw_splits(
        "moods", LABELS, texts, [f"m{i}" for i in range(TEXTS)], labels, numbers=range(1, splits + 1), seed=0, covered=20
    )  # fmt: skip
    folder = TransferFolder(path)
    path.mkdir(parents=True)
    settings = {
        "backbone": "minilm",
        "max_eval": 150,
        "epochs": 1,
        "batch_size": 1,
        "learning_rate": 1.0,
        "warmup": 0.1,
    }
    settings |= {
        "corpora": ["moods"],
        "starts": list(SKILL),
        "sizes": list(sizes),
        "splits": splits,
        "threshold": 0.3,
    }
    (path / "settings.json").write_text(json.dumps(settings))
    folder.save_splits(made)
    for size in sizes:
        for split in range(1, splits + 1):
            test = made.test(split, size, 150)
            said: dict[str, Any] = {}
            for start, skill in SKILL.items():
                right = draw.random(len(test)) < skill + 0.05 * split
                answers = np.where(right, labels[test], draw.integers(0, 3, len(test)))
                said[start] = said["none"] if start == "match" else np.eye(3, dtype=bool)[answers]
                if policy == "sigmoid" and start != "match":
                    said[start] |= draw.random(said[start].shape) < 0.2
                if (start, size, split) in skip:
                    continue
                truth = np.eye(3, dtype=bool)[labels[test]]
                row = Row(
                    start, "moods", size, split, policy, split, f1_score(truth, said[start], average="macro", zero_division=0),
                    accuracy_score(truth, said[start]), len(test), len(made.train(split, size)), 0, 9, 1.0,
                    made.digest(made.train(split, size)), made.digest(test), "s", start,
                )  # fmt: skip
                folder.append(row, said[start])
    return folder


@pytest.mark.parametrize("policy", ["softmax", "sigmoid"])
def test_scores_are_those_of_the_rows(tmp_path: Path, policy: str) -> None:
    folder = write_study(tmp_path / "study", policy=policy)
    scores = read_scores(folder, policy, resamples=50)
    for row in folder.rows():
        point = scores.find("moods", row.start, row.size)
        assert point is not None
        assert point.values[row.split]["macro_f1"] == pytest.approx(row.macro_f1)
        assert point.values[row.split]["subset_accuracy"] == pytest.approx(row.accuracy)
    for start in SKILL:
        point = scores.find("moods", start, 0.5)
        assert point is not None
        values = [row.macro_f1 for row in folder.rows() if (row.start, row.size) == (start, 0.5)]
        mean = point.mean("macro_f1")
        assert (mean.value, mean.std, mean.n) == (
            pytest.approx(np.mean(values)),
            pytest.approx(np.std(values, ddof=1)),
            3,
        )
        assert mean.low is not None
        assert mean.high is not None
        assert mean.low < mean.value < mean.high


def test_texts_are_resampled_the_same_in_every_split_and_other_splits_are_students_t(tmp_path: Path) -> None:
    """Against a loop over resamples that draws texts one by one and adds up splits one by one."""
    folder = write_study(tmp_path / "study")
    resamples = 70
    scores = read_scores(folder, "softmax", resamples=resamples, seed=3)
    splits = folder.splits("moods")
    weights = np.concatenate(list(resample_weights(TEXTS, resamples, 3)), axis=1)
    times = np.random.default_rng([3, 3]).standard_t(2, resamples)  # of three splits
    texts: dict[str, list[float]] = {start: [] for start in SKILL}
    for start in SKILL:
        stored = folder.predictions(start, "moods", 3)
        for r in range(resamples):
            total = 0.0
            for split in (1, 2, 3):
                test = splits.test(split, 20, 150)
                rows = np.repeat(np.arange(len(test)), weights[test, r])
                truth = np.eye(3, dtype=bool)[splits.labels[test]]
                total += float(averages(count(truth[rows], stored[20, split, "softmax"][rows]))["macro_f1"])
            texts[start].append(total / 3)
        point = scores.find("moods", start, 20)
        assert point is not None
        values = [point.values[split]["macro_f1"] for split in (1, 2, 3)]
        low, high = np.quantile(texts[start] + times * np.std(values, ddof=1) / 3**0.5, (0.025, 0.975))
        mean = point.mean("macro_f1")
        assert (mean.low, mean.high) == (pytest.approx(max(0, low)), pytest.approx(min(1, high)))
    pair = scores.pairs("moods", "none", "cdp")[20]
    found = gain([pair])
    assert found is not None
    by_split = [pair[1].values[s]["macro_f1"] - pair[0].values[s]["macro_f1"] for s in (1, 2, 3)]
    gains = np.array(texts["cdp"]) - np.array(texts["none"]) + times * np.std(by_split, ddof=1) / 3**0.5
    low, high = np.quantile(gains, (0.025, 0.975))
    difference = found.summary["macro_f1"]
    assert difference.gain.value == pytest.approx(np.mean(by_split))
    assert (difference.gain.low, difference.gain.high) == (pytest.approx(low), pytest.approx(high))
    assert difference.p_value == pytest.approx(min(1, 2 * (1 + (gains <= 0).sum()) / (1 + resamples)))


def test_three_splits_that_agree_by_chance_are_no_finding() -> None:
    """Two starts that are equally good, on splits that differ at random: a gain is found as often as it is asked for, 5 times in 100."""
    draw = np.random.default_rng(7)

    def point(values: Any) -> Point:
        by_split = {s: dict.fromkeys(METRICS, float(v)) for s, v in enumerate(values, 1)}
        drawn = {s: {m: np.full(400, v) for m, v in named.items()} for s, named in by_split.items()}
        return Point(by_split, drawn, 100, int(draw.integers(1 << 30)))

    found = [gain([(point(np.zeros(3)), point(draw.normal(0, 0.02, 3)))]) for _ in range(400)]
    claimed = np.mean([each is not None and each.summary["macro_f1"].p_value < 0.05 for each in found])
    assert 0.02 < claimed < 0.08


def test_sizes_are_compared_on_the_splits_that_all_have(tmp_path: Path) -> None:
    scores = read_scores(write_study(tmp_path / "study", skip={("cdp", 20, 2)}), "softmax", resamples=50)
    pairs = scores.pairs("moods", "none", "cdp")
    found = gain(pairs.values())
    assert found is not None
    gains = [
        [pair[1].values[s]["macro_f1"] - pair[0].values[s]["macro_f1"] for s in (1, 3)]
        for pair in pairs.values()
    ]
    assert found.summary["macro_f1"].gain.value == pytest.approx(np.mean(gains))
    few = read_scores(
        write_study(tmp_path / "few", splits=2, skip={("cdp", 20, 2), ("cdp", 0.5, 1)}),
        "softmax",
        resamples=50,
    )
    assert gain(few.pairs("moods", "none", "cdp").values()) is None


def test_gains_tell_what_is_there_from_what_is_not(tmp_path: Path) -> None:
    scores = read_scores(write_study(tmp_path / "study", splits=5), "softmax", resamples=400)
    tables = gains_tables(scores)
    assert set(tables) == {"over-none", "over-none-by-size", "over-untuned", "over-untuned-by-size"}
    rows = {str(row[0]): row for row in tables["over-none"].rows}
    assert list(rows) == ["moods, mean of 20, 50%: MiniLM+CDP", "moods, mean of 20, 50%: MiniLM+match"]
    better, same = rows.values()
    assert better[4] < 0.01  # type: ignore[operator]
    assert same[3].value == 0 == same[3].low == same[3].high  # type: ignore[union-attr]
    assert same[4] == 1.0
    assert len(tables["over-untuned-by-size"].rows) == 2 * 3
    for table in tables.values():
        assert f"for the {len(table.rows)} comparisons" in table.notes[0]


def test_only_splits_that_both_ran_are_compared(tmp_path: Path) -> None:
    skip = {("cdp", 20, 2), ("match", 20, 1), ("match", 20, 2), ("match", 20, 3)}
    scores = read_scores(write_study(tmp_path / "study", skip=skip), "softmax", resamples=50)
    none, cdp = scores.find("moods", "none", 20), scores.find("moods", "cdp", 20)
    assert none is not None
    assert cdp is not None
    found = gain([(none, cdp)])
    assert found is not None
    expected = np.mean([cdp.values[s]["macro_f1"] - none.values[s]["macro_f1"] for s in (1, 3)])
    assert found.summary["macro_f1"].gain.value == pytest.approx(expected)
    assert gain([]) is None
    table = scores_table(scores)
    cells = {str(row[1]): row for row in table.rows if row[0] == "moods"}
    assert cells["MiniLM+match"][2:5] == (
        "3",
        "not run here",
        "not run here",
    )  # sizes of the paper that are not here
    titles = [column.title for column in table.columns]
    assert cells["MiniLM+match"][titles.index("20")] == "not run here"
    assert isinstance(cells["MiniLM+match"][titles.index("50%")], Mean)
    assert cells["MiniLM+CDP"][2] == "2–3"


def test_tables_say_what_made_the_runs(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    rows = [json.loads(line) for line in (folder.path / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        row["start_run"] = None if row["start"] == "untuned" else f"runs/{row['start']}-seed42"
    (folder.path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert not any(
        "made on" in note for note in scores_table(read_scores(folder, "softmax", resamples=0)).notes
    )
    now = {"code": "b2", "hardware": {"cpu": "a cpu"}, "precision": "bf16"}
    before = {"code": "a1", "hardware": {"cpu": "a cpu", "gpu": "a card"}, "precision": "tf32"}
    (folder.path / "versions.json").write_text(json.dumps(now | {"earlier": [before, before]}))
    notes = scores_table(read_scores(folder, "softmax", resamples=0)).notes
    assert (
        "starts: MiniLM, emotion task: runs/none-seed42; MiniLM+CDP: runs/cdp-seed42; MiniLM+match: runs/match-seed42"
        in notes
    )
    assert "made on a card, tf32, code a1; a cpu, bf16, code b2" in notes


def test_tables_of_all_studies_and_of_none(tmp_path: Path) -> None:
    nothing = figure3(tmp_path)
    assert list(nothing) == ["macro-f1"]
    assert {cell for row in nothing["macro-f1"].rows for cell in row[2:]} == {"not run here"}
    assert len(nothing["macro-f1"].rows) == 3 * 6
    write_study(tmp_path / "transfer" / "a")
    write_study(tmp_path / "transfer" / "more" / "a")  # as made on two machines
    broken = write_study(tmp_path / "transfer" / "b")
    path = broken.path / "predictions" / "cdp moods.npz"
    path.write_bytes(path.read_bytes()[:-40])
    damaged = write_study(tmp_path / "transfer" / "c")
    (damaged.path / "rows.jsonl").write_text("{\n" + (damaged.path / "rows.jsonl").read_text())
    few = tmp_path / "few_shot"  # rows of another kind beside them are no part of it
    few.mkdir()
    (few / "rows.jsonl").write_text((broken.path / "rows.jsonl").read_text())
    (few / "settings.json").write_text(json.dumps({"kind": "few_shot"}))
    told: list[str] = []
    parts = figure3(tmp_path, resamples=20, report=told.append)
    assert {slug.split("-")[0] for slug in parts} == {"a"}
    assert len(told) == 2
    assert "cdp moods.npz" in told[0]
    assert "rows.jsonl:1" in told[1]
    assert {"a-softmax-subset-accuracy", "a-2-softmax-subset-accuracy"} <= parts.keys()


def test_predictions_of_other_texts_are_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    settings = json.loads((folder.path / "settings.json").read_text())
    (folder.path / "settings.json").write_text(json.dumps(settings | {"max_eval": 140}))
    from emodef.errors import DataError

    with pytest.raises(DataError, match="not those of its test texts"):
        read_scores(TransferFolder(folder.path), "softmax", resamples=0)


def test_without_resamples_there_are_no_intervals(tmp_path: Path) -> None:
    scores = read_scores(write_study(tmp_path / "study"), "softmax", resamples=0)
    assert gains_tables(scores) == {}
    point = scores.find("moods", "cdp", 20)
    assert point is not None
    assert point.mean("macro_f1").low is None
