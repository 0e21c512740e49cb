"""The measurement of small runs per minute runs, on a tiny encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.long


def test_the_measurement_of_runs_per_minute(
    moods: tuple[str, str], moods_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parent.parent
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setenv("PYTHONPATH", f"{root}:{root / 'src'}")  # for the processes that are started
    from bench.transfer import main

    main(
        [
            "--quick", "--out", str(tmp_path), "--corpus", moods[0], "--label-set", moods[1],
            "--backbone", str(moods_backbone), "--size", "12",
        ]
    )  # fmt: skip
    found = json.loads((tmp_path / "transfer.json").read_text())
    assert set(found["ratios"]) == {
        "ours, one process", "a process a run", "plain script", "plain script, side by side",
    }  # fmt: skip
    assert found["study"]["steps"] == 1
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert str(moods_backbone.parent) not in (tmp_path / "transfer.md").read_text()
