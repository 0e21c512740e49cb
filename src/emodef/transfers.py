"""Transfer studies (the paper's Figure 3) in their folder: splits, rows and predictions, read and written without torch.

Imports corpora.describe, atomic, errors, numpy.

FOLDER/settings.json                     what all its runs share
FOLDER/versions.json                     with what they were made
FOLDER/rows.jsonl                        a line a run, appended as it finishes
FOLDER/splits/CORPUS.npz                 ids and labels of the corpus's texts, and the order each split puts them in
FOLDER/predictions/START CORPUS.npz      what each run predicted for its test texts
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from emodef import locks
from emodef.atomic import write_bytes
from emodef.corpora.describe import normalise
from emodef.errors import DataError, SettingsError

Rows = NDArray[np.int64]
Size = int | float  # so many training texts, or this share of the corpus; 0: none
ROWS = "rows.jsonl"
POLICIES = ("softmax", "sigmoid")
_MOST_LABELS = 256  # a byte each
_DRAWS = 2000  # orders tried until the first texts hold every label


@dataclass(frozen=True, eq=False)
class Splits:
    """How each split orders a corpus: training texts are taken from the front, test texts from the back.

    So the training texts of a larger size hold those of a smaller one (but for copies where a size ends), and every size of a split
    is tested on the same texts, as far as it leaves them.

    ids: n identifiers. labels: (n,) index of each text's label. groups: (n,) equal where the texts are the same, normalised.
    orders: split, from 1 -> its order, (n,) rows, copies of a text side by side.
    content: a hash of the label names and texts; empty where it was not noted.
    """

    corpus: str
    names: tuple[str, ...]
    ids: list[str]
    labels: NDArray[np.uint8]
    groups: Rows
    orders: dict[int, Rows] = field(default_factory=dict)
    content: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def count(self, size: Size) -> int:
        """How many training texts a size is; 0 is none, for what needs none. Raises SettingsError where none would be left to test on."""
        if size == 0:
            return 0
        number = int(size) if size >= 1 else round(size * len(self))
        if number >= len(self) or number < 1:
            raise SettingsError(
                f"sizes: {size:g} of {self.corpus} is {number:,} of its {len(self):,} texts, which leaves none to train or test on; "
                "leave it out"
            )
        return number

    def train(self, split: int, size: Size) -> Rows:
        """Rows to train on: the first of the order; a text whose copies do not all fit in stays out with them."""
        order, wanted = self.orders[split], self.count(size)
        starts = np.flatnonzero(np.diff(self.groups[order], prepend=-1))
        taken: list[Rows] = []
        number = 0
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
            if number + end - start <= wanted:
                taken.append(order[start:end])
                number += end - start
            if number == wanted:
                break
        return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)

    def test(self, split: int, size: Size, most: int | None) -> Rows:
        """Rows to test on: the last `most` of the order that are not trained on, nor copies of what is; ascending."""
        order, trained = self.orders[split], self.groups[self.train(split, size)]
        rest = order[~np.isin(self.groups[order], trained)]
        return np.sort(rest if most is None else rest[-most:])

    def digest(self, rows: Rows) -> str:
        """A hash of the ids at `rows`, whatever their order."""
        chosen = sorted(self.ids[i] for i in rows)
        return hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:16]


def draw_splits(
    corpus: str,
    names: Sequence[str],
    texts: Sequence[str],
    ids: Sequence[str],
    labels: NDArray[np.uint8],
    *,
    numbers: Iterable[int],
    seed: int,
    covered: int,
    remedy: str = "raise smallest, and the sizes with it",
) -> Splits:
    """Random splits, grouped by normalised text; each is drawn anew until its first `covered` training texts hold every label.

    A split depends on the texts, the seed, its own number and `covered` alone. Raises SettingsError where a label is too rare for that, or
    labels are more than a byte holds; remedy: what its message asks for.
    """
    if len(names) > _MOST_LABELS:
        raise SettingsError(f"{corpus} has {len(names)} labels; a study is of {_MOST_LABELS} at most")
    numbered: dict[str, int] = {}
    groups = np.array([numbered.setdefault(normalise(text), len(numbered)) for text in texts], dtype=np.int64)
    content = hashlib.sha256(json.dumps([list(names), list(texts)]).encode()).hexdigest()[:16]
    splits = Splits(corpus, tuple(names), list(ids), labels, groups, content=content)
    present = np.unique(labels)
    for number in numbers:
        for attempt in range(_DRAWS):
            place = np.random.default_rng([seed, number, attempt, 6]).permutation(len(numbered))
            splits.orders[number] = np.argsort(place[groups], kind="stable")
            if len(np.unique(labels[splits.train(number, covered)])) == len(present):
                break
        else:
            rare = names[int(present[np.bincount(labels, minlength=len(names))[present].argmin()])]
            raise SettingsError(
                f"{corpus}: no split found whose first {covered} training texts hold every label, {rare} being rare; {remedy}"
            )
    return splits


@dataclass(frozen=True)
class Row:
    """One run: what was tuned, on what, and how well it did. `texts` and `macro_f1` are of the test texts."""

    start: str
    corpus: str
    size: Size
    split: int
    policy: str
    seed: int
    macro_f1: float
    accuracy: float  # all labels right
    texts: int
    train_texts: int
    cut_texts: int  # training texts longer than max_length
    steps: int
    seconds: float
    train_ids_hash: str
    test_ids_hash: str
    settings_hash: str
    start_hash: str  # of the weights it started from
    start_run: str | None = None
    start_dev_macro_f1: float | None = None

    @property
    def key(self) -> tuple[str, str, Size, int, str]:
        """What tells it from the other runs of a folder."""
        return self.start, self.corpus, self.size, self.split, self.policy


class TransferFolder:
    """A transfer study's folder."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What all its runs share. Raises DataError."""
        try:
            found: dict[str, Any] = json.loads((self.path / "settings.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"cannot be read ({error}); copy the results again", self.path / "settings.json"
            ) from None
        return found

    def rows(self) -> list[Row]:
        """The finished runs, as they finished; of a run made twice, the later. A line cut short at the end is not one."""
        path = self.path / ROWS
        if not path.exists():
            return []
        known = {each.name for each in fields(Row)}
        found: dict[tuple[Any, ...], Row] = {}
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
            try:
                values = json.loads(line)
                row = Row(**{key: value for key, value in values.items() if key in known})
            except (ValueError, TypeError, AttributeError) as error:
                raise DataError(
                    f"no row of transfer results ({error}); remove the line to run it again", path, number
                ) from None
            found[row.key] = row
        return list(found.values())

    def append(self, row: Row, predicted: NDArray[np.bool_]) -> None:
        """Save a finished run: first what it predicted, (texts, labels), then its line, which makes it count.

        Several processes may do so at once, of the same start and corpus too: each has the folder to itself meanwhile.
        """
        path = self._predictions_file(row.start, row.corpus)
        line = (json.dumps(asdict(row), ensure_ascii=False) + "\n").encode()
        descriptor = os.open(self.path / ROWS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            locks.hold(descriptor, wait=True)
            stored = self._load(path) if path.exists() else {}
            stored[_key(row)] = (
                predicted.argmax(1).astype(np.uint8)
                if row.policy == "softmax"
                else np.packbits(predicted, axis=1)
            )
            _save(path, stored)
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path / ROWS))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def cut_unfinished(self) -> None:
        """Remove what a killed process left of a line. Call it while no other process writes."""
        path = self.path / ROWS
        if path.exists() and (content := path.read_bytes()) and not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)

    def predictions(
        self, start: str, corpus: str, labels: int
    ) -> dict[tuple[Size, int, str], NDArray[np.bool_]]:
        """(size, split, policy) -> predicted labels of the test texts, (texts, labels), in `Splits.test`'s order."""
        path = self._predictions_file(start, corpus)
        if not path.exists():
            return {}
        found: dict[tuple[Size, int, str], NDArray[np.bool_]] = {}
        for key, values in self._load(path).items():
            policy, size, split = key.split()
            if policy == "softmax":
                predicted = np.arange(labels) == values[:, None]
            else:
                predicted = np.unpackbits(values, axis=1, count=labels).astype(bool)
            found[float(size) if "." in size else int(size), int(split), policy] = predicted
        return found

    def splits(self, corpus: str) -> Splits:
        """The saved splits of a corpus. Raises DataError."""
        stored = self._load(self._splits_file(corpus))
        orders = {
            int(key.removeprefix("order ")): value.astype(np.int64)
            for key, value in stored.items()
            if key.startswith("order ")
        }
        return Splits(
            corpus,
            tuple(stored["names"].tolist()),
            stored["ids"].tolist(),
            stored["labels"],
            stored["groups"].astype(np.int64),
            orders,
            str(stored.get("content", "")),
        )

    def save_splits(self, splits: Splits) -> None:
        """Save splits beside those that are there. Raises DataError where these are of another state of the corpus."""
        path = self._splits_file(splits.corpus)
        orders = dict(splits.orders)
        if path.exists():
            before = self.splits(splits.corpus)
            same = before.ids == splits.ids and np.array_equal(before.labels, splits.labels)
            same = same and before.names == splits.names and before.content in ("", splits.content)
            if not same or any(
                not np.array_equal(order, orders.get(n, order)) for n, order in before.orders.items()
            ):
                raise DataError(
                    f"holds splits of another state of {splits.corpus}: its texts or labels have changed since; give another "
                    "results folder",
                    path,
                )
            orders |= before.orders
            if orders.keys() == before.orders.keys():
                return
        # as text, not as objects, which would be pickled
        stored: dict[str, NDArray[Any]] = {
            "ids": np.array(splits.ids, dtype=np.str_),
            "names": np.array(splits.names, dtype=np.str_),
            "labels": splits.labels,
            "groups": splits.groups.astype(np.int32),
            "content": np.array(splits.content, dtype=np.str_),
        }
        stored |= {f"order {number}": orders[number].astype(np.int32) for number in sorted(orders)}
        _save(path, stored)

    def _splits_file(self, corpus: str) -> Path:
        return self.path / "splits" / f"{corpus}.npz"

    def _predictions_file(self, start: str, corpus: str) -> Path:
        return self.path / "predictions" / f"{start} {corpus}.npz"

    def _load(self, path: Path) -> dict[str, NDArray[Any]]:
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(
                f"cannot be read ({error}); remove the study's folder and run it again", path
            ) from None


def find_studies(results: str | os.PathLike[str], kind: str = "transfer") -> list[TransferFolder]:
    """Every folder below `results` that holds rows of this kind, "transfer" or "few_shot", by name.

    One whose settings cannot be read is among those of transfer: who reads it says so.
    """
    found = [TransferFolder(path.parent) for path in sorted(Path(results).rglob(ROWS))]
    return [folder for folder in found if _kind(folder) == kind]


def _kind(folder: TransferFolder) -> str:
    try:
        return str(folder.settings.get("kind", "transfer"))
    except DataError:
        return "transfer"


def _key(row: Row) -> str:
    return f"{row.policy} {row.size} {row.split}"


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())
