"""Zero-shot results on disk: JSON lines, one a (task, model, method, policy), never measured twice. Imports atomic, locks, evaluation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from emodef import locks
from emodef.atomic import write_text
from emodef.bootstrap import Estimate
from emodef.errors import DataError
from emodef.evaluation import without_nan

METRICS = ("macro_f1", "macro_roc_auc", "macro_average_precision", "micro_f1")


@dataclass(frozen=True)
class Row:
    """What one method of one model scored on one task.

    task: the corpus, or the labels that were held out of which run. data: fingerprint of texts and labels. weights: hash of the model.
    measures: metric -> estimate with its interval; labels: of each label its F1 and AUC. seconds: of scoring.
    """

    task: str
    data: str
    model: str
    weights: str
    method: str
    policy: str
    texts: int
    labels: Sequence[str]
    measures: Mapping[str, Estimate]
    each: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    seconds: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """What it is a result of."""
        return self.task, self.data, self.weights, self.method, self.policy

    @property
    def group(self) -> tuple[str, ...]:
        """What its method was run on, under whatever policies."""
        return self.task, self.data, self.weights, self.method

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(without_nan(asdict(self)), ensure_ascii=False, allow_nan=False)


class RowFile:
    """A file of rows, in the order they were made."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.rows: list[Row] = _read(self.path) if self.path.exists() else []
        self._asked: dict[str, str] = {}

    def asks(self, task: str, data: str) -> None:
        """Note on which texts, labels and definitions (their fingerprint) a task's results are wanted now."""
        self._asked[task] = data

    def has(self, group: tuple[str, ...], policy: str | None = None) -> bool:
        """Whether a method was measured there already, and under this policy."""
        return any(row.group == group and policy in (None, row.policy) for row in self.rows)

    def named(self, names: Mapping[str, str]) -> list[Row]:
        """The rows, a model's under the name it has in `names` (weights -> name): an earlier call may have named it otherwise."""
        return [replace(row, model=names.get(row.weights, row.model)) for row in self.rows]

    def current(self, rows: Sequence[Row]) -> list[Row]:
        """The rows on each task's texts, labels and definitions as they are wanted now, else as they were last: a task of that name may
        have had others."""
        last = {row.task: row.data for row in rows} | self._asked
        return [row for row in rows if row.data == last[row.task]]

    def add(self, rows: Sequence[Row]) -> None:
        """Put rows behind the others, atomically, and in place of what was measured of the same method before.

        What another process has put there meanwhile is kept. Raises OSError, and DataError where the file is no longer one of rows.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # another process may replace the file while we wait for it
            with open(self.path, "a+b") as handle:
                locks.hold(handle, wait=True)
                if not locks.is_still(handle, self.path):
                    continue
                groups = {row.group for row in rows}
                self.rows = [row for row in _read(self.path) if row.group not in groups] + list(rows)
                if os.name == "nt":
                    handle.close()  # an open file cannot be replaced there, and nothing is locked there
                write_text(self.path, "".join(row.to_line() + "\n" for row in self.rows))
                return


def _estimate(stored: Mapping[str, Any]) -> Estimate:
    """JSON has no nan, which is null there: a value that the texts do not define, such as an AUC where all have the label."""
    found = Estimate(**stored)
    return replace(found, value=math.nan) if found.value is None else found


def _read(path: Path) -> list[Row]:
    found = []
    for number, line in enumerate(
        path.read_text(encoding="utf-8").split("\n"), start=1
    ):  # names may hold other line ends
        if not line:
            continue
        try:
            content = json.loads(line)
            measures = {name: _estimate(value) for name, value in content.pop("measures").items()}
            found.append(Row(**content, measures=measures))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"is no result of zero-shot ({error}); remove the line, or give another file", path, number
            ) from None
    return found
