"""What goes wrong while folds are made is told as what it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from emodef.corpora import Corpus
from emodef.errors import TrainingError
from emodef.train import few_shot
from emodef.train.resume import writing
from emodef.train.run import run_training
from emodef.train.settings import TrainSettings
from emodef.train.starting import from_checkpoint
from tiny_models import tiny_model


@pytest.mark.parametrize(("failing", "told"), [("write_bytes", TrainingError), ("starting_model", OSError)])
def test_a_full_disk_and_what_cannot_be_read(
    tiny_bert_dir: Path,
    tiny_corpus: dict[str, Corpus],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    told: type[Exception],
) -> None:
    tiny_model(tiny_bert_dir, setup="match").save(tmp_path / "model")
    given = from_checkpoint(tmp_path / "model") | {"epochs": 1, "precision": "fp32"}
    few = {"train": tiny_corpus["train"].take(np.arange(12))}

    def fails(*arguments: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(few_shot, failing, fails)
    with pytest.raises(told) as caught:
        run_training(TrainSettings(**given), few, tmp_path / "run", cpu=True)
    assert ("could not write to" in str(caught.value)) == (told is TrainingError)


def test_what_to_do_once_there_is_room(tmp_path: Path) -> None:
    def told(*remedy: str) -> str:
        with pytest.raises(TrainingError) as caught, writing(tmp_path, *remedy):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return str(caught.value)

    assert told().endswith(
        "No space left on device; what was saved before stands: make room and go on with --resume"
    )
    assert told("give the same command again").endswith("make room and give the same command again")
