"""Reading a results folder, and putting its runs in order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from emodef.corpora import Corpus
from emodef.errors import DataError
from emodef.paper.known import KNOWN
from emodef.paper.results import Run, find_runs
from emodef.paper.study import Block, blocks, differences, effective, group_runs
from emodef.runs import RunFolder
from tiny_results import MINILM, settings_of, write_corpus, write_run

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    return write_corpus(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, corpus: dict[str, Corpus]) -> Path:
    return write_run(tmp_path_factory.mktemp("whole") / "run", corpus, steps=(7, 5), setup="cdp", seed=3)


def a_run(name: str = "run", **changed: object) -> Run:
    """A run by its settings alone."""
    training = {"steps": {"primary": 1, "auxiliary": 0}, "seconds": 1.0}
    setup = {"settings": {"setup": changed.get("setup", "none")}}
    folder = RunFolder(Path(name))
    folder.__dict__.update(setup)
    return Run(name, folder, settings_of(**changed), training, {})


def found_blocks(*runs: Run) -> list[Block]:
    return blocks(group_runs(runs))


def test_runs_are_found_at_any_depth_in_order(tmp_path: Path, whole: Path, corpus: dict[str, Corpus]) -> None:
    for name in ("b", "a/deep/down", "c/x"):
        shutil.copytree(whole, tmp_path / name)
    (tmp_path / "c" / "README.md").write_text("no run", encoding="utf-8")
    shutil.copytree(whole, tmp_path / ".staged" / "run")
    (tmp_path / "transfer" / "abc").mkdir(parents=True)
    (tmp_path / "transfer" / "abc" / "settings.json").write_text('{"kind": "transfer"}', encoding="utf-8")
    (tmp_path / "transfer" / "abc" / "rows.jsonl").write_text("", encoding="utf-8")
    told: list[str] = []
    runs = find_runs(tmp_path, told.append)
    assert [run.name for run in runs] == ["a/deep/down", "b", "c/x"]
    assert told == []
    run = runs[0]
    assert (run.setup, run.seed, run.steps, run.seconds) == ("cdp", 3, {"primary": 7, "auxiliary": 5}, 90.0)
    assert (run.hardware, run.scores, run.heads()) == ("a cpu, 2 threads", "emotion", ["emotion"])
    assert run.ids("test") == corpus["test"].ids
    assert run.probabilities("dev").shape == corpus["dev"].labels.shape
    assert find_runs(tmp_path / "b")[0].name == "b"


def test_a_run_stored_before_a_setting_existed_counts_as_the_same(
    tmp_path: Path, corpus: dict[str, Corpus]
) -> None:
    write_run(tmp_path / "old", corpus, leave_out=KNOWN.added, seed=1)
    write_run(tmp_path / "new", corpus, seed=2)
    (group,) = group_runs(find_runs(tmp_path))
    assert group.seeds == (1, 2)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: (run / "metrics.json").unlink(), "is not finished"),
        (lambda run: (run / "settings.json").unlink(), "holds no run"),
        (lambda run: (run / "settings.json").write_text("{"), "is not valid JSON"),
        (lambda run: (run / "metrics.json").write_text('{"training": {}}'), "not whole"),
        (lambda run: (run / "metrics.json").write_text("[]"), "holds no JSON object"),
        (lambda run: (run / "probabilities.npz").unlink(), "is not there"),
        (
            lambda run: (run / "probabilities.npz").write_bytes(
                (run / "probabilities.npz").read_bytes()[:-40]
            ),
            "cannot be read",
        ),
        (lambda run: change(run, "dev_emotion", lambda values: values[1:]), "not one row a text"),
        (lambda run: change(run, "test_emotion", lambda values: values[:, 1:]), "not one row a text"),
        (lambda run: change(run, "test_emotion", lambda values: values * np.nan), "not all between 0 and 1"),
        (lambda run: change(run, "test_emotion", lambda values: values + 1), "not all between 0 and 1"),
        (lambda run: unset(run, "epochs"), "lack epochs"),
        (lambda run: unset(run, "setup"), "lack setup"),
        (lambda run: drop_report(run, "test"), "has no test results"),
    ],
)
def test_a_damaged_run_is_told_of_and_left_out(
    tmp_path: Path, whole: Path, damage: object, said: str
) -> None:
    shutil.copytree(whole, tmp_path / "bad")
    shutil.copytree(whole, tmp_path / "good")
    damage(tmp_path / "bad")  # type: ignore[operator]
    told: list[str] = []
    assert [run.name for run in find_runs(tmp_path, told.append)] == ["good"]
    (message,) = told
    assert str(tmp_path / "bad") in message
    assert said in message


def change(run: Path, key: str, how: object) -> None:
    with np.load(run / "probabilities.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays[key] = how(arrays[key])  # type: ignore[operator]
    np.savez(run / "probabilities.npz", **arrays)


def unset(run: Path, key: str) -> None:
    path = run / "settings.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    del settings[key]
    path.write_text(json.dumps(settings), encoding="utf-8")


def drop_report(run: Path, split: str) -> None:
    path = run / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["reports"] = {
        name: found for name, found in metrics["reports"].items() if not name.startswith(split)
    }
    path.write_text(json.dumps(metrics), encoding="utf-8")


def test_no_folder_of_results(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--results"):
        find_runs(tmp_path / "none")
    assert find_runs(tmp_path) == []


@pytest.mark.skipif(
    not (REPOSITORY / "results" / "minilm").is_dir(), reason="a source archive has no results"
)
def test_the_repositorys_own_runs() -> None:
    told: list[str] = []
    runs = find_runs(REPOSITORY / "results" / "minilm", told.append)
    by_name = {run.name: run for run in runs}
    assert {"none-seed42", "cdp-seed42", "match-seed42"} <= set(by_name)
    assert any("none-own-pooling-seed42" in message and "not finished" in message for message in told)
    assert by_name["cdp-seed42"].steps == {"primary": 2702, "auxiliary": 2726}
    assert by_name["match-seed42"].heads() == ["emotion", "match"]
    minilm = next(block for block in blocks(group_runs(runs)) if block.name == "minilm")
    assert minilm.title == "recipe minilm: batch_size 32, epochs 4, learning_rate 0.00015"
    for setup in ("none", "cdp", "match"):
        group = minilm.find("MiniLM", setup)
        assert group is not None
        assert 42 in group.seeds


def test_the_papers_settings_are_those_of_its_recipe() -> None:
    pytest.importorskip("pydantic")
    from emodef.train.settings import load_recipe

    recipe = load_recipe("paper").model_dump(mode="json")
    del recipe["description"]
    assert recipe == dict(KNOWN.settings)


def test_every_run_of_the_recipes_has_a_row() -> None:
    """What the shipped experiments make is what the tables look for."""
    pytest.importorskip("pydantic")
    from emodef.train.settings import load_experiment

    for recipe, expected in {
        "table2": {"paper", "paper-baseline"},
        "table3": {"paper"},
        "table3_minilm": {"paper"},
        "table3_primary": {"paper"},
        "table3_small": {"paper", "minilm_short"},
        "table4": {"paper", "paper-baseline"},
        "gpu_campaign": {"paper"},
        "minilm_campaign": {"paper", "minilm"},
        "minilm_bounded": {"paper", "minilm"},
    }.items():
        runs = []
        for number, settings in enumerate(load_experiment(recipe).runs):
            run = a_run(f"run{number:03}", setup=settings.setup)
            runs.append(Run(run.name, run.folder, settings.model_dump(mode="json"), run.training, {}))
        made = found_blocks(*runs)
        assert {block.name for block in made} == expected, recipe
        for block in made:
            for group in block.groups:
                settings = group.settings
                keys = ("p", "budget", "steps_as_p", "auxiliary_clip")
                row = {key: settings[key] for key in keys if key in settings}
                if block.name != "paper-baseline":
                    assert block.find(group.backbone, group.setup.name, **row) is group
                assert len(group.runs) == len({run.seed for run in group.runs})


def test_what_has_no_effect_does_not_part_runs() -> None:
    same = [
        a_run("a", setup="cdp+mlm", seed=1),
        a_run("b", setup="mlm+cdp", seed=2, save_every=7, precision="fp32"),
        a_run("c", setup="cdp+mlm", seed=3, match_scale=5.0),
    ]  # fmt: skip
    assert [group.seeds for group in group_runs(same)] == [(1, 2, 3)]
    alone = [
        a_run("a", seed=1),
        a_run("b", seed=2, p=0.1, mlm_rate=0.3, max_pair_length=60, budget="primary"),
    ]
    assert [group.seeds for group in group_runs(alone)] == [(1, 2)]
    parted = [
        a_run("a", setup="mlm", seed=1),
        a_run("b", setup="mlm", seed=2, mlm_rate=0.3),
        a_run("c", setup="mlm", seed=3, p=0.4),
    ]
    assert len(group_runs(parted)) == 3
    assert "mlm_rate" not in effective(settings_of(setup="cdp"))
    assert len(group_runs([a_run("a", seed=1), a_run("b", seed=2, label_set="goemotions")])) == 1
    encoders = [f"dapt/{name}/checkpoint-5000" for name in ("news", "reddit", "news/")]
    apart = group_runs(a_run(str(n), seed=n, backbone=each) for n, each in enumerate(encoders[:2]))
    assert {group.backbone for group in apart} == set(encoders[:2])


def test_the_same_run_twice_counts_once() -> None:
    told: list[str] = []
    (group,) = group_runs([a_run("b", seed=1), a_run("a", seed=1), a_run("c", seed=2)], told.append)
    assert [run.name for run in group.runs] == ["a", "c"]
    (message,) = told
    assert "left out: b: the same settings and seed as a" in message


def test_another_encoder_in_the_same_folder_is_no_further_seed() -> None:
    told: list[str] = []
    runs = [a_run(name, seed=n, backbone="own/encoder", backbone_hash=known)
            for n, (name, known) in enumerate([("a", "1a"), ("b", "1a"), ("c", "2b"), ("d", None)])]  # fmt: skip
    (group,) = group_runs(runs, told.append)
    assert [run.name for run in group.runs] == ["a", "b", "d"]
    assert told == ["left out: c: its encoder, own/encoder, is another than that of a"]


def test_blocks_keep_recipes_apart() -> None:
    runs = [
        a_run("a", **MINILM),
        a_run("b", **MINILM, setup="cdp"),
        a_run("c", backbone="minilm", pooling="mean"),  # the paper's settings as this encoder needs them
        a_run("d", backbone="minilm"),  # pooling own: another recipe
        a_run("e", backbone="hub/BERT-base-cased"),
        a_run("f", epochs=4, keep="last"),
        a_run("g", backbone="/somewhere/all-mpnet-base-v2/", pooling="mean", epochs=3, dropout=0.2),
    ]
    made = {block.name: block for block in found_blocks(*runs)}
    assert list(made) == ["paper", "paper-baseline", "minilm", "settings2", "settings3"]
    assert made["paper"].backbones == ["BERT", "MiniLM"]
    assert [group.runs[0].name for group in made["paper-baseline"].groups] == ["f"]
    assert {group.title for group in made["minilm"].groups} == {"MiniLM", "MiniLM+CDP"}
    assert made["settings2"].title == "other settings: dropout 0.2, epochs 3"
    assert made["settings3"].title == "other settings: pooling own"
    assert made["settings2"].backbones == ["MPNet"]
    assert found_blocks()[0].groups == ()


def test_the_baseline_stands_beside_what_it_does_not_use() -> None:
    """Settings of matching or of auxiliary steps have no effect on the emotion task alone, and do not part it from them."""
    varied = a_run("b", **MINILM, setup="match", match_vary=True)
    masked = a_run("c", **MINILM, setup="mlm", mlm_rate=0.3)
    made = found_blocks(a_run("a", **MINILM), varied, masked)
    assert [sorted(group.title for group in block.groups) for block in made] == [
        [],
        ["MiniLM", "MiniLM+match"],
        ["MiniLM", "MiniLM+MLM"],
    ]
    # a block that is dropped for a wider one, and one that comes after it and would stand in both
    wide = a_run("d", **MINILM, setup="match+mlm", match_vary=True, mlm_rate=0.3)
    (*_, widest) = found_blocks(varied, wide, a_run("z", **MINILM))
    assert sorted(group.runs[0].name for group in widest.groups) == ["b", "d", "z"]
    others = found_blocks(a_run("a", **MINILM, emoji="words"), varied)
    assert [len(block.groups) for block in others] == [0, 1, 1], "emoji matter to both"
    paper = found_blocks(a_run("a"), a_run("b", setup="match", match_vary=True))
    assert [[group.title for group in block.groups] for block in paper] == [["BERT"], ["BERT+match", "BERT"]]


def test_a_table_says_the_runs_own_threshold() -> None:
    paper, other = found_blocks(a_run("a", threshold=0.5))
    assert [block.words("fixed") for block in (paper, other)] == ["at 0.3", "at 0.5"]
    assert other.words("tuned") == "thresholds tuned on dev"


def test_rows_are_told_apart_by_sampling() -> None:
    (block,) = found_blocks(
        a_run("a", setup="cdp"),
        a_run("b", setup="cdp", p=0.1),
        a_run("c", setup="cdp", budget="primary"),
        a_run("d"),
        a_run("e", steps_as_p=0.5),
    )
    rows = {
        "a": block.find("BERT", "cdp"),
        "b": block.find("BERT", "cdp", p=0.1),
        "c": block.find("BERT", "cdp", budget="primary"),
        "d": block.find("BERT", "none"),
        "e": block.find("BERT", "none", steps_as_p=0.5),
    }
    assert {name: group.runs[0].name for name, group in rows.items() if group} == {
        name: name for name in rows
    }
    assert block.find("BERT", "none", steps_as_p=0.4) is None
    assert block.find("BERT", "mlm") is None
    assert block.find("RoBERTa", "none") is None


def test_differences_name_what_is_changed() -> None:
    assert differences(settings_of(backbone="minilm", pooling="mean", setup="match")) == {}
    assert differences(settings_of(setup="match", match_scale=10.0, seed=9)) == {"match_scale": 10.0}
    assert differences(settings_of(patience=2)) == {"patience": 2}
