"""Several processes save a transfer study's runs at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from emodef.transfers import TransferFolder

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
