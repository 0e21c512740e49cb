"""emodef sends nothing: packages that report to their makers by default are told not to before they begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PREDICT = "emodef.Predictor.load().predict(['Thank you!'])"
SILENT_BY_THEMSELVES = (
    "CI",
    "TF_BUILD",
    "GITHUB_ACTIONS",
    "ORT_RUNNING_UNIT_TESTS",
    "ORT_DISABLE_TELEMETRY",
    "ORT_TELEMETRY_DISABLED",
)


def left_by(code: str, home: Path, **variables: str) -> tuple[set[str], str]:
    """Files that a process of its own leaves in a user's empty folder, and what it prints."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in SILENT_BY_THEMSELVES and not name.startswith("XDG_")
    }
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home)} | variables,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {path.name for path in home.rglob("*") if path.is_file()}, done.stdout.strip()


def test_a_prediction_leaves_nothing_to_send(tmp_path: Path) -> None:
    files, _ = left_by(f"import emodef; {PREDICT}", tmp_path / "home")
    assert files == set()


def test_nor_where_onnxruntime_is_told_to_by_the_user_is_that_changed(tmp_path: Path) -> None:
    code = (
        "import os, emodef; print(os.environ['ORT_DISABLE_TELEMETRY'], os.environ['RAY_USAGE_STATS_ENABLED'])"
    )
    assert left_by(code, tmp_path / "home", ORT_DISABLE_TELEMETRY="0")[1] == "0 0"
    assert left_by(code, tmp_path / "other")[1] == "1 0"


@pytest.mark.parametrize("told", ["1", "0"])
def test_an_onnxruntime_that_was_there_before_is_silenced_too(tmp_path: Path, told: str) -> None:
    code = (
        "import onnxruntime; said = []; onnxruntime.disable_telemetry_events = lambda: said.append(1); "
        f"import emodef; {PREDICT}; print(said)"
    )
    assert left_by(code, tmp_path / "home", ORT_DISABLE_TELEMETRY=told)[1] == ("[1]" if told == "1" else "[]")
