"""Parquet in and out, row group by row group. Imports files; polars only inside, through errors.require."""

from __future__ import annotations

import glob
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodef.corpora.tables import read_parquet
from emodef.errors import DataError, require
from emodef.files.heads import Table, find_text_column
from emodef.files.records import Position, Record
from emodef.files.sources import Part, Source, state_of

if TYPE_CHECKING:
    from emodef.files.predictions import Plan, Predictions

ROW_GROUP = 16_384  # rows of the joined file's row groups: joining holds a few of them


class ParquetSource(Source):
    """Rows of a Parquet file, or of several behind an address that polars reads (s3://, gs://, az://, file://)."""

    resumable = True

    def __init__(self, given: str, text_column: str | None) -> None:
        self._polars = require("polars", extra="data")
        self._given = given
        self.path = None if "://" in given else Path(given)
        schema = self._sound(lambda: self._scan().collect_schema())
        table = Table(given, "parquet", tuple(schema.names()), "")
        self.table = replace(table, text_column=find_text_column(table, text_column))
        kind = schema[self.table.text_column]
        if kind not in (self._polars.String, self._polars.Categorical, self._polars.Enum):
            raise DataError(
                f"the column {self.table.text_column!r} holds {kind}, not text; name another with --text-column",
                given,
            )
        self.schema = schema
        count = self._sound(lambda: self._scan().select(self._polars.len()).collect())
        self.rows: int = int(count.item())

    def _scan(self) -> Any:
        # a path is a path, [brackets] and all; an address may be a pattern
        return self._polars.scan_parquet(self._given, glob=self.path is None)

    def _sound(self, step: Callable[[], Any]) -> Any:
        return read_parquet(step, self._given)

    def parts(self, size: int, finished: Mapping[int, Position]) -> Iterator[Part]:
        for number, start in enumerate(range(0, max(self.rows, 1), size)):
            if number not in finished:
                frame = self._sound(self._scan().slice(start, size).collect)
                try:
                    records = _records(frame, start)
                except (ValueError, OverflowError) as error:  # in a list, say, or a duration
                    raise DataError(
                        f"rows {start + 1:,} to {start + len(frame):,}: a time is beyond what Python can hold ({error}); write its "
                        "column as text",
                        self._given,
                    ) from None
                yield Part(number, records, Position(start + len(frame)), frame)

    def state(self) -> list[tuple[str, int, int]]:
        if self.path is not None or not self._given.startswith("file://"):
            return super().state()
        found = map(Path, glob.iglob(self._given.removeprefix("file://"), recursive=True))
        files = {file for path in found for file in (path.rglob("*") if path.is_dir() else [path])}
        return [state_of(file) for file in sorted(files) if file.is_file()]

    def share(self, position: Position) -> float | None:
        return position.row / self.rows if self.rows else 1.0


def _records(frame: Any, start: int) -> list[Record]:
    return [Record(row, "", list(values)) for row, values in enumerate(_rows(frame), start=start + 1)]


def _rows(frame: Any) -> list[tuple[Any, ...]]:
    """The rows as Python's values; times that these cannot hold, before year 1, after 9999 or of nanoseconds, as text."""
    polars = require("polars", extra="data")
    kinds = frame.schema.items()
    fine = [
        name
        for name, kind in kinds
        if kind == polars.Datetime
        and kind.time_unit == "ns"
        and (frame[name].dt.nanosecond() % 1000 != 0).any()
    ]
    if fine:
        frame = frame.with_columns(polars.col(fine).cast(polars.String))
    try:
        return list(frame.iter_rows())
    except (ValueError, OverflowError):
        times = [
            name for name, kind in kinds if kind in (polars.Date, polars.Datetime) and not _fits(frame[name])
        ]
        return list(frame.with_columns(polars.col(times).cast(polars.String)).iter_rows())


def _fits(column: Any) -> bool:
    """Whether Python can hold a column's times."""
    try:
        column.to_list()
    except (ValueError, OverflowError):
        return False
    return True


def encode_parquet(part: Part, found: Predictions, plan: Plan) -> bytes:
    """The part as a Parquet file: the input's columns with their types, and the predictions."""
    frame = _input_frame(part, found, plan)
    added, repeats = _added(found, plan)
    if repeats is not None:
        frame = frame[repeats]
    file = io.BytesIO()
    frame.hstack(added).write_parquet(file)
    return file.getvalue()


def _input_frame(part: Part, found: Predictions, plan: Plan) -> Any:
    polars = require("polars", extra="data")
    if part.frame is not None:
        return part.frame[found.rows]
    from emodef.files.writers import as_text, to_bytes

    rows = [plan.table.cells(part.records[index]) for index in found.rows]
    data = {}
    for number, (column, kind) in enumerate(zip(_named(plan.table.columns), plan.types, strict=True)):
        values: list[Any] = [row[number] for row in rows]
        if kind == "String":
            values = [None if v is None else to_bytes(as_text(v)).decode("utf-8") for v in values]
        data[column] = polars.Series(column, values, dtype=getattr(polars, kind), strict=kind != "Float64")
    return polars.DataFrame(data)


def _named(columns: Sequence[str]) -> list[str]:
    """The names as UTF-8 can hold them, half characters replaced, and still each a name of its own."""
    from emodef.files.writers import to_bytes

    names: dict[str, None] = {}
    times: Counter[str] = Counter()
    for column in columns:
        name = sound = to_bytes(column).decode("utf-8")
        while name in names:
            times[sound] += 1
            name = f"{sound}_{times[sound]}"
        names[name] = None
    return list(names)


def _added(found: Predictions, plan: Plan) -> tuple[list[Any], list[int] | None]:
    """The added columns; in the long form also which row of the input each row repeats."""
    polars = require("polars", extra="data")
    names, added = plan.names, plan.added
    values = found.probabilities
    if plan.options.form == "long":
        pairs = [(place, k) for place, ks in enumerate(found.chosen) for k in (ks or [None])]  # type: ignore[list-item]
        labels = [None if k is None else names[k] for _, k in pairs]
        numbers = [None if k is None else values[place, k] for place, k in pairs]
        columns = [
            polars.Series(added[0], labels, dtype=polars.String),
            polars.Series(added[1], numbers, dtype=polars.Float32),
        ]
        return columns, [place for place, _ in pairs]
    label_lists = [None if ks is None else [names[k] for k in ks] for ks in found.chosen]
    number_lists = [
        None if ks is None else values[place, ks].tolist() for place, ks in enumerate(found.chosen)
    ]
    columns = [
        polars.Series(added[0], label_lists, dtype=polars.List(polars.String)),
        polars.Series(added[1], number_lists, dtype=polars.List(polars.Float32)),
    ]
    if plan.options.form == "probabilities":
        columns += [
            polars.Series(name, values[:, k], dtype=polars.Float32).fill_nan(None)
            for k, name in enumerate(added[2:])
        ]
    return columns, None


def join_parquet(parts: Sequence[Path], target: Path) -> None:
    """Stream the parts, in order, into one file."""
    polars = require("polars", extra="data")
    scan = polars.scan_parquet(list(parts), glob=False)
    scan.sink_parquet(target, row_group_size=ROW_GROUP, maintain_order=True)
