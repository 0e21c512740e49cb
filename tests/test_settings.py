"""Settings and recipes: all shipped ones load, all mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pydantic")

import torch
from pydantic import ValidationError

from emodef.corpora import CORPORA
from emodef.errors import SettingsError
from emodef.labels import shipped as label_sets
from emodef.train.performance import resolve_precision
from emodef.train.settings import TrainSettings, load_recipe, parse_overrides, recipes


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipes())
def test_every_shipped_recipe_loads(name: str) -> None:
    settings = load_recipe(name)
    assert settings.description, "a recipe says what it is for"
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


def _cpu_flags() -> set[str]:
    """What the system says of the processor; empty where it does not (only Linux on x86 does)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())


def test_the_default_backbone_is_found_in_its_package() -> None:
    folder = Path(load_recipe("minilm").backbone_path())
    assert (folder / "config.json").is_file()
    assert TrainSettings(backbone="some/model").backbone_path() == "some/model"
