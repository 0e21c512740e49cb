"""With keep = "best" a run ends with the weights of the epoch that its state calls the best, wherever it was killed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from emodef.corpora import Corpus
from emodef.errors import DataError
from emodef.runs import read_json
from emodef.train import loop
from emodef.train.loop import Interrupted
from emodef.train.settings import TrainSettings
from tiny_training import SAVE, Blow, Job, run, train_and_save

Splits = dict[str, Corpus]

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="needs a system that can kill a process"
)


@pytest.fixture
def make(tiny_backbone: Callable[..., Path]) -> Callable[..., TrainSettings]:
    """Settings of a run of eight steps an epoch, saved at its end; the first epoch is better than the second, the third the best."""

    def settings(**changes: Any) -> TrainSettings:
        base: dict[str, Any] = {
            "backbone": str(tiny_backbone("bert", initializer_range=0.15)),
            "epochs": 3,
            "batch_size": 16,
            "learning_rate": 3e-3,
            "setup": "match",
            "precision": "fp32",
            "keep": "best",
        }
        return TrainSettings(**base | changes)

    return settings


@pytest.fixture
def first_epoch(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """The weights after the first of three epochs; what is judged after this is never found better."""
    folder = tmp_path / "first"
    folder.mkdir()
    train_and_save(make(), tiny_corpus, folder, last_epoch=1)
    monkeypatch.setattr(loop, "_is_best", lambda epoch, best: False)
    return (folder / "final-0.safetensors").read_bytes()


def test_killed_between_the_best_weights_and_the_state_that_tells_of_them(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path, first_epoch: bytes
) -> None:
    """Resumed where the third epoch is not judged the best, as may be on another machine."""
    job = Job(make(), tiny_corpus, tmp_path / "run", blows=(Blow(SAVE, 5),))
    assert run(job) == -signal.SIGKILL
    state = job.folder / "state"
    assert read_json(state / "step-00000016" / "progress.json")["best"]["epoch"] == 1
    assert sorted(path.name for path in state.glob("best*")) == ["best-1.safetensors", "best-3.safetensors"]
    trained = train_and_save(make(), tiny_corpus, job.folder, resume=True)
    assert trained.kept_epoch == 1
    assert (job.folder / "final-0.safetensors").read_bytes() == first_epoch
    assert [path.name for path in state.glob("best*")] == ["best-1.safetensors"]


def test_a_run_that_an_earlier_emodef_began(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    whole = train_and_save(make(), tiny_corpus, tmp_path)
    assert whole.kept_epoch == 3
    wanted = (tmp_path / "final-0.safetensors").read_bytes()
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(Interrupted):
        train_and_save(make(), tiny_corpus, folder, stop_after=9)
    earlier = (folder / "state" / "best-1.safetensors").rename(folder / "best.safetensors")
    train_and_save(make(), tiny_corpus, folder, resume=True)
    assert (folder / "final-0.safetensors").read_bytes() == wanted
    assert not earlier.exists()  # another epoch was better


def test_the_best_weights_that_an_earlier_emodef_kept(
    make: Callable[..., TrainSettings],
    tiny_corpus: Splits,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(Interrupted):
        train_and_save(make(), tiny_corpus, folder, stop_after=9)
    (folder / "state" / "best-1.safetensors").rename(folder / "best.safetensors")
    wanted = request.getfixturevalue("first_epoch")
    train_and_save(make(), tiny_corpus, folder, resume=True)
    assert (folder / "final-0.safetensors").read_bytes() == wanted


def test_the_best_epochs_weights_lost_is_an_error(
    make: Callable[..., TrainSettings], tiny_corpus: Splits, tmp_path: Path
) -> None:
    train_and_save(make(epochs=1), tiny_corpus, tmp_path)
    (tmp_path / "state" / "best-1.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match=r"best-1\.safetensors.*train again"):
        train_and_save(make(epochs=1), tiny_corpus, tmp_path, resume=True)
