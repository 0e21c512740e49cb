"""How many steps a run makes: the paper's rule, equal primary steps for every p, and as many as another p's primary ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import json

from commands import emodef_command
from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.train.loop import Interrupted, train
from emodef.train.sampling import count_primary, draw_tasks, epoch_ends, steps_until, total_steps
from emodef.train.settings import TrainSettings, load_recipe
from tiny_training import train_and_save

Splits = dict[str, Corpus]
GOEMOTIONS = 43_410  # training texts


@pytest.fixture(scope="module")
def make(tiny_bert_dir: Path) -> Callable[..., TrainSettings]:
    """`make(setup="cdp")`: settings of a run over 8 batches an epoch, 3 epochs, each step logged."""

    def settings(**changes: Any) -> TrainSettings:
        base: dict[str, Any] = {"backbone": str(tiny_bert_dir), "epochs": 3, "precision": "fp32"}
        return TrainSettings(**base | {"learning_rate": 1e-3, "save_every": 4} | changes)

    return settings


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_control_makes_the_primary_steps_of_the_others() -> None:
    """MiniLM's recipe on GoEmotions: at p = 0.5 and seed 42 the runs with definitions make 2,702 of 5,428 steps on emotions."""
    per_epoch = -(-GOEMOTIONS // 32)
    others = load_recipe("minilm", {"setup": "cdp", "seed": 42})
    steps = total_steps(others, per_epoch, auxiliary=True)
    control = load_recipe("minilm", {"steps_as_p": others.p, "seed": 42})
    assert steps == 4 * 1357 == total_steps(load_recipe("minilm"), per_epoch, auxiliary=False)
    assert total_steps(control, per_epoch, auxiliary=False) == count_primary(42, steps, 0.5) == 2702


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", [0, 42])
def test_equal_primary_steps_for_every_p(p: float, seed: int) -> None:
    settings = load_recipe("minilm", {"setup": "cdp", "seed": seed, "p": p, "budget": "primary"})
    steps = total_steps(settings, 1357, auxiliary=True)
    tasks = draw_tasks(seed, steps, p)
    assert int(tasks.sum()) == 4 * 1357
    assert tasks[-1], "not a step more than needed"
    assert steps == pytest.approx(4 * 1357 / p, rel=0.05)
    assert steps_until(seed, 1, p) == 1 + int(np.argmax(draw_tasks(seed, 100, p)))


def test_without_auxiliary_examples_the_budgets_are_the_same() -> None:
    for setup in ("none", "match"):
        settings = load_recipe("minilm", {"setup": setup, "budget": "primary", "p": 0.3})
        assert total_steps(settings, 10, auxiliary=False) == 40


def test_dev_is_measured_as_often_whatever_the_budget() -> None:
    assert epoch_ends(5428, 4) == [1357, 2714, 4071, 5428]
    assert epoch_ends(2702, 4) == [675, 1351, 2026, 2702]
    assert epoch_ends(7, 7) == [1, 2, 3, 4, 5, 6, 7]
    assert epoch_ends(11, 8) == sorted(set(epoch_ends(11, 8)))


def test_too_few_steps_are_refused() -> None:
    settings = load_recipe("minilm", {"steps_as_p": 0.01, "seed": 1})
    with pytest.raises(SettingsError, match=r"steps_as_p = 0\.01.*too few for 4 epochs"):
        total_steps(settings, 3, auxiliary=False)


@pytest.mark.parametrize("other", [{"setup": "cdp"}, {"setup": "match+mlm"}, {"budget": "primary"}])
def test_steps_as_p_is_for_setups_without_auxiliary_steps(other: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"steps_as_p = 0\.5 is for a setup that has neither cdp nor mlm"):
        load_recipe("minilm", {"steps_as_p": 0.5, **other})
    assert load_recipe("minilm", {"steps_as_p": "none", **other}).steps_as_p is None


@pytest.mark.parametrize(
    ("changes", "primary"),
    [({"steps_as_p": 0.5}, None), ({"setup": "cdp+mlm", "p": 0.4, "budget": "primary"}, 24)],
)
def test_a_run_makes_them_and_its_schedule_ends_with_them(
    make: Callable[..., TrainSettings],
    tiny_corpus: Splits,
    tmp_path: Path,
    changes: dict[str, Any],
    primary: int | None,
) -> None:
    settings = make(**changes)
    trained = train_and_save(settings, tiny_corpus, tmp_path / "whole")
    wanted = count_primary(settings.seed, 24, 0.5) if primary is None else primary
    assert trained.steps["primary"] == wanted
    lines = [line for line in log_of(tmp_path / "whole") if "step" in line]
    assert len(lines) == sum(trained.steps.values())
    assert sum("emotion" in line["losses"] for line in lines) == wanted
    rates = [line["learning_rate"] for line in lines]
    assert rates[0] == 0 < rates[-1] < 1.5 * settings.learning_rate / (0.9 * len(rates))
    assert [epoch["epoch"] for epoch in trained.epochs] == [1, 2, 3]

    with pytest.raises(Interrupted):  # in the middle of a stretch
        train_and_save(settings, tiny_corpus, tmp_path / "parts", stop_after=len(lines) // 2)
    train_and_save(settings, tiny_corpus, tmp_path / "parts", resume=True)
    parts, whole = (tmp_path / name / "final-0.safetensors" for name in ("parts", "whole"))
    assert parts.read_bytes() == whole.read_bytes()


def test_patience_counts_the_steps_really_made(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    settings = make(steps_as_p=0.5, epochs=9, patience=1, learning_rate=1e-9)
    trained = train(settings, tiny_corpus, tmp_path, cpu=True)
    made = count_primary(settings.seed, 72, 0.5)
    assert len(trained.epochs) == 2
    assert trained.steps == {"primary": 2 * made // 9, "auxiliary": 0}


def test_dry_run_says_how_many(put: Callable[..., Path]) -> None:
    rows = "".join(f"How lovely, number {i}\t18\tid{{split}}{i}\n" for i in range(64))
    from emodef.labels import LabelSet

    files = {f"goemotions/{split}.tsv": rows.format(split=split) for split in ("train", "dev", "test")}
    data = put({**files, "goemotions/labels.txt": "\n".join(LabelSet.load("goemotions").names)})
    base = ["train", "--recipe", "minilm", "--data-dir", data, "--out", data / "run", "--dry-run"]
    shown = emodef_command(*base, "--set", "steps_as_p=0.5").stdout
    made = count_primary(42, 8, 0.5)
    assert "steps_as_p = 0.5" in shown
    assert f"# steps: {made} primary ones; 4 equal parts; a pass over the texts is 2" in shown
    plan = json.loads(
        emodef_command(*base, "--set", "budget=primary", "--set", "p=0.3", "--setup", "mlm", "--json").stdout
    )
    assert plan["steps"] == {"per_epoch": 2, "primary": 8, "auxiliary": steps_until(42, 8, 0.3) - 8}
    assert "; 4 epochs of 2" in emodef_command(*base).stdout
