"""Zero-shot: the ways of scoring against plain arithmetic, results that are measured once, and the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import emodef_command
from emodef.bootstrap import Estimate, Mean
from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.metrics import averages, count
from emodef.predictor import Predictor
from emodef.predictor.head import unit
from emodef.zeroshot.measuring import Data, background_texts, held_out_data, measure, own_labels
from emodef.zeroshot.methods import COSINE_SCALE, Scorer, Task, mapping
from emodef.zeroshot.rows import METRICS, Row, RowFile
from emodef.zeroshot.sources import LightSource
from emodef.zeroshot.tables import POLICIES, zero_shot_tables

MOODS = LabelSet(
    "moods",
    ("glad", "cross", "scared"),
    ("A feeling of pleasure", "A strong feeling of displeasure", "Being afraid"),
    exclusive=True,
)
TEXTS = ["so happy today", "this makes me angry", "i am afraid of it", "happy and glad", "what a mad rage"]


@pytest.fixture
def source(tiny_light: Path) -> LightSource:
    return LightSource("tiny", tiny_light)


@pytest.fixture
def moods_corpus() -> Corpus:
    labels = np.eye(3, dtype=np.uint8)[[0, 1, 2, 0, 1]]
    return Corpus("moods", "all", TEXTS, labels, MOODS, [str(i) for i in range(5)])


def scores_of(source: LightSource, task: Task, method: str) -> dict[str, Any]:
    return {found.policy: found for found in Scorer(source, task).methods()[method]()}


def test_matching_by_hand(source: LightSource, tiny_light: Path) -> None:
    predictor = Predictor.load(tiny_light)
    assert predictor.info.match is not None
    task = Task(TEXTS, MOODS, background=TEXTS[:3])
    found = scores_of(source, task, "matching")
    assert set(found) == {"mean", "neighbours", "centred", "background", "moments"}
    definitions = [f"{n}: {d}" for n, d in zip(MOODS.names, MOODS.definitions, strict=True)]
    cosine = unit(predictor.embed(TEXTS)) @ unit(predictor.embed(definitions)).T
    bias = np.mean(predictor.info.match.bias)
    np.testing.assert_allclose(
        found["mean"].logits, predictor.info.match.scale * cosine + bias, rtol=1e-4, atol=1e-5
    )
    usual = predictor.with_labels(MOODS).head
    assert usual is not None
    np.testing.assert_allclose(
        found["centred"].logits, usual.logits(predictor.embed(TEXTS)), rtol=1e-4, atol=1e-4
    )
    several = replace(task, labels=replace(MOODS, exclusive=False), background=())
    assert set(scores_of(source, several, "matching")) == {"mean", "mean_tuned", "neighbours", "centred"}
    assert scores_of(source, several, "matching")["mean"].thresholds.tolist() == [0.3] * 3


def test_every_text_is_read_with_every_definition(source: LightSource, tiny_light: Path) -> None:
    found = scores_of(source, Task(TEXTS, MOODS), "cross-encoder")["0.5"].logits
    assert found.shape == (5, 3)
    predictor = Predictor.load(tiny_light)
    for k, definition in enumerate(MOODS.definitions):
        each = predictor.definition_proba(TEXTS, [definition] * len(TEXTS)).astype(np.float64)
        np.testing.assert_allclose(found[:, k], np.log(each / (1 - each)), rtol=1e-3, atol=1e-3)


def test_cosines_of_an_untuned_encoder(source: LightSource) -> None:
    assert "cosine with name" not in Scorer(source, Task(TEXTS, MOODS)).methods()
    source.label_set, source.match, source.crossing = None, None, False  # as an untuned encoder is
    task = Task(TEXTS, MOODS, background=TEXTS, rate=0.4)
    assert set(Scorer(source, task).methods()) == {
        f"cosine with {what}" for what in ("name", "definition", "both")
    }
    found = scores_of(source, task, "cosine with definition")
    wanted = COSINE_SCALE * source.embed(TEXTS) @ source.embed(MOODS.definitions).T
    np.testing.assert_allclose(found["plain"].logits, wanted, atol=1e-4)
    level = found["levelled"].logits
    np.testing.assert_allclose((1 / (1 + np.exp(-level))).mean(axis=0), 0.4, atol=1e-3)
    above = 1 / (1 + np.exp(-level)) > found["levelled"].thresholds
    assert (above.sum(axis=0) <= 2).all()  # two of five texts
    for background, policy in ((TEXTS, "levelled"), ((), "plain")):
        several = Task(TEXTS, replace(MOODS, exclusive=False), background=background, rate=0.4)
        assert set(scores_of(source, several, "cosine with definition")) == {policy}


def test_mapping_takes_the_largest(source: LightSource, monkeypatch: pytest.MonkeyPatch) -> None:
    known = source.label_set
    assert known is not None
    assert mapping(known, MOODS) is None
    table = {"glad": known.names[:2], "cross": known.names[2:3], "scared": known.names[1:4]}
    (scores,) = Scorer(source, Task(TEXTS, MOODS)).mapped(known, table)
    probabilities = source.probabilities(TEXTS)
    wanted = np.stack(
        [probabilities[:, :2].max(1), probabilities[:, 2], probabilities[:, 1:4].max(1)], axis=1
    )
    np.testing.assert_allclose(1 / (1 + np.exp(-scores.logits)), wanted, atol=1e-4)


@pytest.mark.parametrize("corpus", ["isear", "emoint", "emotion_stimulus"])
def test_shipped_mappings_name_labels_that_exist(corpus: str) -> None:
    goemotions, wanted = LabelSet.load("goemotions"), LabelSet.load(corpus)
    table = mapping(goemotions, wanted)
    assert table is not None
    assert list(table) == list(wanted.names)
    given = [name for names in table.values() for name in names]
    assert len(given) == len(set(given))
    assert mapping(goemotions.only(["joy", "fear"]), wanted) is None  # of labels that were held out


def test_results_are_measured_once(source: LightSource, moods_corpus: Corpus, tmp_path: Path) -> None:
    said: list[str] = []
    data = Data("moods all", moods_corpus, TEXTS)
    rows = measure(source, data, RowFile(tmp_path / "rows.jsonl"), tell=said.append)
    assert {row.method for row in rows} == {"matching", "cross-encoder"}
    assert len(said) == 2
    again = RowFile(tmp_path / "rows.jsonl")
    assert [row.key for row in again.rows] == [row.key for row in rows]
    assert measure(source, data, again, tell=said.append) == []
    assert len(said) == 2
    first = again.rows[0]
    found = scores_of(source, Task(TEXTS, MOODS, TEXTS), first.method)[first.policy].logits
    predicted = np.eye(3, dtype=bool)[found.argmax(axis=1)]
    assert first.measures["macro_f1"].value == pytest.approx(
        averages(count(moods_corpus.labels, predicted))["macro_f1"]
    )
    assert set(first.measures) == set(METRICS)
    newer = replace(again.rows[0], data="changed since")
    assert again.current([*again.rows, newer]) == again.rows  # what is asked for now, not what was last
    later = RowFile(tmp_path / "rows.jsonl")
    assert later.current([*again.rows, newer]) == [newer]
    assert later.current(again.rows) == again.rows
    (table,) = zero_shot_tables(again.rows)
    assert len(table.rows) == len(rows)
    (tmp_path / "rows.jsonl").write_text('{"task": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:1: is no result"):
        RowFile(tmp_path / "rows.jsonl")


def test_without_background_texts_what_needs_them_waits_for_them(
    source: LightSource, moods_corpus: Corpus, tmp_path: Path
) -> None:
    source.label_set, source.match, source.crossing = None, None, False  # as an untuned encoder is
    path = tmp_path / "rows.jsonl"
    measure(source, Data("moods", moods_corpus), RowFile(path))
    assert "levelled" not in {row.policy for row in RowFile(path).rows}
    assert measure(source, Data("moods", moods_corpus), RowFile(path)) == []
    later = measure(source, Data("moods", moods_corpus, TEXTS), RowFile(path))
    assert "levelled" in {row.policy for row in later}
    assert len({row.key for row in RowFile(path).rows}) == len(RowFile(path).rows)
    assert measure(source, Data("moods", moods_corpus, TEXTS), RowFile(path)) == []
    assert measure(source, Data("moods", moods_corpus), RowFile(path)) == []


def held(source: LightSource, corpus: dict[str, Corpus], names: Sequence[str]) -> LightSource:
    """The source as if it had been trained on some of the labels."""
    assert source.label_set is not None
    columns = [source.label_set.index(name) for name in names]
    assert source.match is not None
    whole = source.probabilities
    source.match = replace(source.match, biases=source.match.biases[columns])
    source.tuned = None if source.tuned is None else source.tuned[columns]
    source.label_set = source.label_set.only(names)
    source.probabilities = lambda texts: whole(texts)[:, columns]  # type: ignore[method-assign]
    return source


def test_held_out_labels(source: LightSource, tmp_path: Path) -> None:
    known = source.label_set
    assert known is not None
    labels = np.eye(len(known), dtype=np.uint8)[np.arange(10) % len(known)]
    texts = [f"{TEXTS[i % 5]} {i}" for i in range(10)]
    splits = {
        split: Corpus("made", split, texts, labels, known, [f"{split}{i}" for i in range(10)])
        for split in ("train", "dev", "test")
    }
    with pytest.raises(SettingsError, match="held no label"):
        held_out_data(source, splits, "run")
    splits["dev"] = splits["dev"].take(range(9))
    seen_names = known.names[1:]
    few = held(source, splits, seen_names)
    assert [len(each.corpus) for each in held_out_data(few, splits, "run", "dev")] == [9, 9]
    assert held_out_data(few, splits, "run", "dev")[0].task == "run, dev: labels trained"
    with pytest.raises(SettingsError, match="no split 'dev', and held-out labels are scored on dev"):
        held_out_data(few, {key: splits[key] for key in ("train", "test")}, "run", "dev")
    seen, unseen = held_out_data(few, splits, "run")
    assert seen.corpus.label_set.names == seen_names
    assert unseen.corpus.label_set.names == known.names[:1]
    assert len(unseen.corpus) == len(seen.corpus) == 10
    assert unseen.rate == pytest.approx(0.2)
    assert unseen.background == background_texts(splits["train"]) == texts
    file = RowFile(tmp_path / "rows.jsonl")
    (row,) = own_labels(few, seen, file)
    assert (row.method, row.policy) == ("trained", "tuned")
    assert own_labels(few, seen, file) == []
    rows = measure(few, unseen, file)
    assert {row.policy for row in rows if row.method == "matching"} >= {"mean", "mean_tuned", "moments"}


def row_of(run: str, data: str, model: str, score: float, policy: str = "mean") -> Row:
    measures = {metric: Estimate(score, score - 0.1, score + 0.1) for metric in METRICS}
    return Row(
        f"{run}, test: labels held out",
        data,
        model,
        f"{model} {data}",
        "matching",
        policy,
        10,
        ["joy"],
        measures,
    )


def test_draws_are_averaged() -> None:
    rows = [
        row_of(f"a, draw {n}", f"data {n}", f"a, draw {n}", score)
        for n, score in ((1, 0.2), (2, 0.3), (3, 0.7))
    ]
    rows += [row_of("a, draw 1", "data 1", "untuned", 0.1), row_of("b, draw 1", "data 1", "untuned", 0.1)]
    rows += [row_of("a, draw 2", "data 2", "untuned", 0.5)]
    rows += [row_of("b, draw 1", "data 1", "b, draw 1", 0.4, policy="tuned")]
    mean, *each = zero_shot_tables(rows)
    assert mean.title == "test: labels held out, mean over 3 draws"
    assert len(each) == 4
    cells = {(row[0], row[2]): row[3] for row in mean.rows}
    found = {key: (cell.value, cell.n) for key, cell in cells.items() if isinstance(cell, Mean)}
    of_mean, of_tuned = POLICIES["mean"], POLICIES["tuned"]
    assert found == {
        ("a", of_mean): (pytest.approx(0.4), 3),
        ("untuned", of_mean): (pytest.approx(0.3), 2),
        ("b", of_tuned): (pytest.approx(0.4), 1),
    }
    assert cells[("a", of_mean)].std == pytest.approx(np.std([0.2, 0.3, 0.7], ddof=1))  # type: ignore[union-attr]
    assert cells[("b", of_tuned)].std is None  # type: ignore[union-attr]
    assert "draw" not in zero_shot_tables([row_of("run", "data", "m", 0.1)])[0].title


def write_corpus(folder: Path, corpus: dict[str, Corpus]) -> None:
    """A corpus as a user has it: a file for each split, and its labels."""
    folder.mkdir()
    for split, part in corpus.items():
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "label"])
            rows = zip(part.texts, part.label_lists(), strict=True)
            table.writerows([text, "|".join(names)] for text, names in rows)
    (folder / "labels.toml").write_text(corpus["train"].label_set.to_toml(), encoding="utf-8")


def test_checkpoints_and_untuned_encoders(
    tiny_backbone: Callable[..., Path], tiny_corpus: dict[str, Corpus], tmp_path: Path
) -> None:
    """From the command line: a run that held labels out, beside the encoder it began with."""
    pytest.importorskip("torch")
    from emodef.train.run import run_training
    from emodef.train.settings import TrainSettings
    from emodef.train.zeroshot import TorchSource

    write_corpus(tmp_path / "mine", tiny_corpus)
    backbone = str(tiny_backbone("bert", initializer_range=0.3))
    made: dict[str, Any] = {
        "backbone": backbone,
        "setup": "cdp+match",
        "pooling": "mean",
        "epochs": 1,
        "precision": "fp32",
        "corpus": str(tmp_path / "mine"),
        "label_set": str(tmp_path / "mine" / "labels.toml"),
        "held_out": ["fear"],
    }
    run_training(TrainSettings(**made), tiny_corpus, tmp_path / "run", cpu=True)
    source = TorchSource.load("run", tmp_path / "run", cpu=True)
    assert source.match is not None
    texts, label_set = tiny_corpus["test"].texts[:6], tiny_corpus["test"].label_set.only(["anger", "joy"])
    own = source.trained.predict_proba(texts)
    read = [f"{n}: {d}" for n, d in zip(label_set.names, label_set.definitions, strict=True)]
    logits = source.match.scale * source.embed(texts) @ source.embed(read).T
    columns = [source.trained.label_set.index(name) for name in label_set.names]
    np.testing.assert_allclose(
        1 / (1 + np.exp(-logits - source.match.biases[columns])), own[:, columns], atol=1e-4
    )
    order = source.definition_proba(
        [*texts, *texts], [label_set.definitions[0]] * 6 + [label_set.definitions[1]] * 6
    )
    alone = [source.definition_proba([text], [label_set.definitions[1]])[0] for text in texts]
    np.testing.assert_allclose(order[6:], alone, atol=1e-5)
    arguments: list[Any] = [
        "zero-shot",
        "--held-out",
        tmp_path / "run",
        "--untuned",
        backbone,
        "--cpu",
        "--quiet",
    ]
    found = json.loads(emodef_command(*arguments, "--rows", tmp_path / "rows.jsonl", "--json").stdout)
    assert {(row["task"].partition(": ")[2], row["method"]) for row in found} == {
        ("labels trained", "trained"),
        ("labels held out", "matching"),
        ("labels held out", "cross-encoder"),
        ("labels held out", "cosine with name"),
        ("labels held out", "cosine with definition"),
        ("labels held out", "cosine with both"),
    }
    assert {tuple(row["labels"]) for row in found if row["method"] != "trained"} == {("fear",)}
    emodef_command(*arguments, "--rows", tmp_path / "rows.jsonl", "--out", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "labels held out, 40 texts: fear" in page
    nothing = emodef_command("zero-shot", "--rows", tmp_path / "none.jsonl", code=2)
    assert "nothing to measure" in nothing.stderr


def test_a_file_of_ones_own_needs_definitions(
    tiny_light: Path, put: Callable[[Mapping[str, str | bytes]], Path]
) -> None:
    names = "\n".join(LabelSet.load("goemotions").names)
    parts = {f"goemotions/{part}.tsv": "so happy\t0\ta\nso sad\t1\tb\n" for part in ("train", "dev", "test")}
    folder = put(
        {
            **parts,
            "goemotions/labels.txt": names,
            "mine.csv": "text,mood\nso happy,glad\nhate it,cross\nlovely,glad\nthe meeting,\n",
            "mine.toml": 'glad = "A feeling of pleasure"\ncross = "Being angry at something"\n',
        }
    )
    given = [
        "zero-shot",
        f"tiny={tiny_light}",
        "--data-dir",
        folder,
        "--rows",
        folder / "rows.jsonl",
        "--quiet",
    ]
    own = ["--corpus", folder / "mine.csv", "--label-column", "mood", "--allow-unlabelled"]
    failed = emodef_command(*given, *own, code=2).stderr
    assert "names and no definitions" in failed
    assert "--labels labels.toml" in failed
    assert not (folder / "rows.jsonl").exists()
    labels = ["--labels", folder / "mine.toml"]
    found = json.loads(emodef_command(*given, *own, *labels, "--json").stdout)
    assert {row["texts"] for row in found} == {4}
    assert {tuple(row["labels"]) for row in found} == {("glad", "cross")}
    before = (folder / "rows.jsonl").read_bytes()
    renamed = [part if part != f"tiny={tiny_light}" else f"other={tiny_light}" for part in given]
    again = json.loads(emodef_command(*renamed, *own, *labels, "--json").stdout)
    assert again == [{**row, "model": "other"} for row in found]  # not measured again, and named as asked
    assert (folder / "rows.jsonl").read_bytes() == before
    for asked in (own, labels):  # would tell of what was measured before
        told = emodef_command("zero-shot", *given[2:], *asked, code=2).stderr
        assert "no model to score with" in told
    elsewhere = [part if part is not folder else folder / "nothing" for part in given[:-1]]
    elsewhere[elsewhere.index("--rows") + 1] = folder / "other.jsonl"
    page = folder / "page.md"
    both = emodef_command(*elsewhere, *own, *labels, "--json", "--out", page)
    assert "GoEmotions is not at hand" in both.stderr
    assert {row["texts"] for row in json.loads(both.stdout)} == {4}
    assert "matching" in page.read_text(encoding="utf-8")
    unused = emodef_command(*given, "--corpus", "isear", *labels, code=2).stderr
    assert "name that file with --corpus" in unused


def test_soft_labels(
    tiny_backbone: Callable[..., Path], tiny_corpus: dict[str, Corpus], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from emodef.train.run import run_training
    from emodef.train.settings import TrainSettings

    write_corpus(tmp_path / "mine", tiny_corpus)
    made: dict[str, Any] = {
        "backbone": str(tiny_backbone("bert")),
        "epochs": 1,
        "precision": "fp32",
        "corpus": str(tmp_path / "mine"),
        "label_set": str(tmp_path / "mine" / "labels.toml"),
    }
    run_training(TrainSettings(**made), tiny_corpus, tmp_path / "run", cpu=True)
    found = json.loads(emodef_command("soft-labels", tmp_path / "run", "--cpu", "--json").stdout)
    assert found[0]["texts"] == 120
    assert Path(found[0]["file"]).is_file()
    assert "120 texts, 5 labels" in emodef_command("soft-labels", tmp_path / "run", "--cpu").stdout
