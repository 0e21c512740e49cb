"""What a transfer study saves: by several processes at once, and only of one state of a corpus."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from emodef.errors import DataError
from emodef.transfers import TransferFolder, draw_splits

APPEND = """
import sys
import numpy as np
from emodef.transfers import Row, TransferFolder

folder, first, size = TransferFolder(sys.argv[1]), int(sys.argv[2]), 12
sys.stdin.readline()
for split in range(first, first + 15):
    row = Row("none", "moods", size, split, "softmax", 1, 0.5, 0.5, 400, 12, 0, 1, 0.1, "a", "b", "c", "d")
    folder.append(row, np.eye(3, dtype=bool)[np.full(400, split % 3)])
"""


def test_runs_of_one_start_saved_by_several_processes_keep_their_predictions(tmp_path: Path) -> None:
    """What one process saves, another that had read the file before must not take away."""
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(tmp_path), str(first)], stdin=subprocess.PIPE, text=True
        )
        for first in (1, 16, 31)
    ]
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write("go\n")
        job.stdin.flush()
    for job in jobs:
        job.communicate()
        assert job.returncode == 0
    folder = TransferFolder(tmp_path)
    predictions = folder.predictions("none", "moods", 3)
    assert len(folder.rows()) == len(predictions) == 45
    for (_, split, _), predicted in predictions.items():
        assert (predicted.argmax(1) == split % 3).all()


def test_splits_of_other_texts_or_label_names_are_refused(tmp_path: Path) -> None:
    """Even where rows keep their ids and labels, as in a file without ids that was corrected in place."""
    ids, labels = [f"mine:{i}" for i in range(20)], np.tile([0, 1], 10).astype(np.uint8)
    texts = [f"text {i}" for i in range(20)]

    def drawn(names: list[str], texts: list[str], numbers: tuple[int, ...] = (1,)):  # type: ignore[no-untyped-def]
        return draw_splits("mine", names, texts, ids, labels, numbers=numbers, seed=42, covered=8)

    folder = TransferFolder(tmp_path)
    folder.save_splits(drawn(["a", "b"], texts))
    folder.save_splits(drawn(["a", "b"], texts, (1, 2)))
    assert sorted(folder.splits("mine").orders) == [1, 2]
    for names, other in ((["a", "b"], ["another", *texts[1:]]), (["a", "c"], texts)):
        with pytest.raises(DataError, match="another state of mine"):
            folder.save_splits(drawn(names, other))
    without = dict(np.load(tmp_path / "splits" / "mine.npz"))
    del without["content"]  # as folders of earlier versions have it
    np.savez(tmp_path / "splits" / "mine.npz", **without)
    folder.save_splits(drawn(["a", "b"], texts))
