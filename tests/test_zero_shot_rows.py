"""Files of zero-shot results, written by several processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emodef.zeroshot.rows import RowFile
from test_zero_shot import row_of


def test_rows_that_another_process_put_there_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    first, second = RowFile(path), RowFile(path)
    first.add([row_of("run", "a", "one", 0.5)])
    second.add([row_of("run", "a", "two", 0.6)])
    first.add([row_of("run", "a", "one", 0.7)])
    found = {row.model: row.measures["macro_f1"].value for row in RowFile(path).rows}
    assert found == {"one": 0.7, "two": 0.6}
    assert {row.model for row in first.rows} == {"one", "two"}


def test_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    models = [f"model {number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda model: RowFile(path).add([row_of("run", "a", model, 0.5)]), models))
    assert sorted(row.model for row in RowFile(path).rows) == sorted(models)
    assert [each.name for each in tmp_path.iterdir()] == ["rows.jsonl"]
