"""With which settings a run goes on: those that make the same run, whatever else differs, and whichever release wrote them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from emodef.corpora import Corpus
from emodef.errors import SettingsError
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from tiny_training import STEP, Blow, Job, run, short_run

Splits = dict[str, Corpus]

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="needs a system that can kill a process"
)


@pytest.fixture
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    def settings(**changes: Any) -> TrainSettings:
        return short_run(tiny_backbone("bert", initializer_range=0.3), **changes)

    return settings


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_makes_no_other_run_may_be_otherwise(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    job = Job(make(setup="cdp+match"), tiny_corpus, tmp_path, whole=True, blows=(Blow(STEP, 5),))
    assert run(job) == -signal.SIGKILL
    with pytest.raises(SettingsError, match=r"other settings \(.*seed"):
        run_training(make(setup="cdp+match", seed=1), tiny_corpus, tmp_path, resume=True, cpu=True)
    same = make(setup="match+cdp", save_every=100, description="mine", mlm_rate=0.2)
    run_training(same, tiny_corpus, tmp_path, resume=True, cpu=True)
    assert read(tmp_path / "settings.json")["save_every"] == 100


def test_settings_of_another_release_are_told(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    path = tmp_path / "settings.json"
    (tmp_path / "log.jsonl").write_text('{"step": 50}\n', encoding="utf-8")
    for content, words in (('{"colour": "red"}', "colour"), ("{", "settings.json"), ("[1]", "settings.json")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(SettingsError, match=f"not of this emodef.*{words}|{words} is not of this emodef"):
            run_training(make(), tiny_corpus, tmp_path, resume=True, cpu=True)


def test_a_setting_that_an_older_release_did_not_know_had_its_default(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    job = Job(make(epochs=1), tiny_corpus, tmp_path / "run", whole=True, blows=(Blow(STEP, 5),))
    assert run(job) == -signal.SIGKILL
    path = job.folder / "settings.json"
    content = read(path)
    assert content.pop("patience") is None
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"\(patience\)"):
        run_training(make(epochs=1, patience=3), tiny_corpus, job.folder, resume=True, cpu=True)
    run_training(make(epochs=1), tiny_corpus, job.folder, resume=True, cpu=True)
