"""Times as people's files have them, and counts over time in memory that does not grow with the file. Imports the standard library."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = EPOCH.toordinal()
_CALENDAR = (4, 8, 14)  # digits of a year, a day and a compact time
# Numbers are epoch times from 1973 on, in the unit that their size gives; smaller ones are ids, durations or gaps.
_SMALLEST = 1e8
_EPOCH_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))  # below this: units in a second
_NUMBER = re.compile(r"\d+(\.\d*)?([eE]\+?\d+)?")
_MONTH = re.compile(r"(\d{4})(?:[-/](\d{1,2}))?")
_COMPACT = re.compile(r"\d{14}")
_SLASHES = re.compile(r"^(\d{4})/(\d{1,2})/(\d{1,2})")


def parse_time(value: Any) -> datetime | None:
    """A cell as a time in UTC, or None where it holds nothing.

    Takes ISO 8601 dates and times (a time without an offset is UTC; 2024-05, 2024 and 2024/5/1 too), datetimes and dates, and
    epoch seconds, milliseconds, microseconds or nanoseconds from 1973 on; years, compact dates and epoch times as numbers or
    as text.
    Raises ValueError for anything else, saying what it is.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, datetime):
        return _in_utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_whole = isinstance(value, int) or value.is_integer()  # 2024.0: a column of years that has gaps
        if not is_whole or value < 0 or len(digits := str(int(value))) not in _CALENDAR:
            return _from_epoch(value, value)
        value = digits
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a time")
    text = value.strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text) and not (text.isdecimal() and len(text) in _CALENDAR):
        return _from_epoch(float(text), text)
    if month := _MONTH.fullmatch(text):
        text = f"{month[1]}-{int(month[2] or 1):02}-01"
    elif _COMPACT.fullmatch(text):
        text = f"{text[:8]}T{text[8:]}"
    else:
        text = _SLASHES.sub(lambda day: f"{day[1]}-{int(day[2]):02}-{int(day[3]):02}", text)
    try:
        return _in_utc(datetime.fromisoformat(text))
    except ValueError:
        example = "2024-05-01T09:30"
        raise ValueError(
            f"{value[:40]!r} is not a time: give ISO 8601, such as {example}, or epoch seconds"
        ) from None


def _in_utc(time: datetime) -> datetime:
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{time} is beyond the calendar") from None


def _from_epoch(number: float, written: object) -> datetime:
    if number >= _SMALLEST:
        for end, per_second in _EPOCH_UNITS:
            if number < end:
                return EPOCH + timedelta(seconds=number / per_second)
    raise ValueError(f"the number {str(written)[:40]} is neither epoch seconds nor milliseconds")


TEXTS = None  # the key of the number of texts
SOME = 20  # texts from which one far from the rest counts as a stray one


# Buckets are whole numbers: minutes, hours and days since 1970-01-01, months and years since year 0.
def _month_of(day: int) -> int:
    found = date.fromordinal(day + _EPOCH_DAY)
    return found.year * 12 + found.month - 1


_COARSER: Mapping[str, tuple[str, Callable[[int], int]]] = {
    "minute": ("hour", lambda bucket: bucket // 60),
    "hour": ("day", lambda bucket: bucket // 24),
    "day": ("month", _month_of),
    "month": ("year", lambda bucket: bucket // 12),
}


@dataclass
class TimeCounts:
    """Counts by time: by the minute at first, by longer units once there are `most` distinct ones.

    What is counted is anything hashable; TEXTS counts the texts themselves.
    """

    most: int = 3000
    unit: str = "minute"
    buckets: dict[int, Counter[Hashable]] = field(default_factory=dict)

    def bucket(self, time: datetime) -> int:
        """The bucket of a time, in the present unit."""
        if self.unit == "year":
            return time.year
        if self.unit == "month":
            return time.year * 12 + time.month - 1
        seconds = (time - EPOCH) // timedelta(seconds=1)
        return seconds // {"minute": 60, "hour": 3600, "day": 86400}[self.unit]

    def add(self, bucket: int, counts: Mapping[Hashable, int], unit: str) -> None:
        """Add counts to a bucket of `unit`, the present one or one of before; the present one may be longer afterwards."""
        while unit != self.unit:
            unit, convert = _COARSER[unit]
            bucket = convert(bucket)
        self.buckets.setdefault(bucket, Counter()).update(counts)
        while len(self.buckets) > self.most and self.unit in _COARSER:
            self.unit, self.buckets = _coarsened(self.unit, self.buckets)

    def series(self, fewest: int = 2, most: int = 200) -> list[Series]:
        """The same counts in each unit that makes between `fewest` and `most` bins of the time they span, finest first."""
        found = []
        unit, buckets = self.unit, self.buckets
        while buckets:
            weeks = {"week": _weeks(buckets)} if unit == "day" else {}
            for name, counts in ({unit: buckets} | weeks).items():
                series = Series.of(name, counts)
                if fewest <= len(series.counts) <= most:
                    found.append(series)
            if unit not in _COARSER:
                break
            unit, buckets = _coarsened(unit, buckets)
        return found


@dataclass(frozen=True)
class Series:
    """Counts in bins of equal rank, none left out: starts[i] is the first moment of counts[i]. `outside`: counts of bins
    far from the rest (a stray 1970 would otherwise squeeze a month into one bin), left out of the others."""

    unit: str
    starts: tuple[datetime, ...]
    counts: tuple[Counter[Hashable], ...]
    outside: Counter[Hashable]

    @classmethod
    def of(cls, unit: str, buckets: Mapping[int, Counter[Hashable]]) -> Series:
        """The bins from the first bucket to the last, stray ones excepted."""
        first, last = _core(buckets)
        step = 7 if unit == "week" else 1
        wanted = range(first, last + 1, step)
        outside: Counter[Hashable] = Counter()
        for bucket, counts in buckets.items():
            if not first <= bucket <= last:
                outside.update(counts)
        if len(wanted) > 100_000:  # no page shows so many
            wanted = wanted[:100_000]
        starts = tuple(_start(unit, bucket) for bucket in wanted)
        return cls(unit, starts, tuple(buckets.get(bucket, Counter()) for bucket in wanted), outside)


def _coarsened(
    unit: str, buckets: Mapping[int, Counter[Hashable]]
) -> tuple[str, dict[int, Counter[Hashable]]]:
    wider, convert = _COARSER[unit]
    found: dict[int, Counter[Hashable]] = {}
    for bucket, counts in buckets.items():
        found.setdefault(convert(bucket), Counter()).update(counts)
    return wider, found


def _weeks(days: Mapping[int, Counter[Hashable]]) -> dict[int, Counter[Hashable]]:
    """Days -> weeks, each named by its Monday."""
    found: dict[int, Counter[Hashable]] = {}
    for day, counts in days.items():
        found.setdefault(day - (day + 3) % 7, Counter()).update(counts)  # 1970-01-01 was a Thursday
    return found


def _core(buckets: Mapping[int, Counter[Hashable]], share: float = 0.005) -> tuple[int, int]:
    """The first and the last bucket; without the outermost `share` of the texts at either end, from SOME texts on one at
    least, where those take up more than three quarters of the span."""
    order = sorted(buckets)
    first, last = order[0], order[-1]
    total = sum(counts[TEXTS] for counts in buckets.values())
    skip = max(1 if total >= SOME else 0, share * total)
    low = _reach(order, buckets, skip)
    high = _reach(order[::-1], buckets, skip)
    width = high - low + 1
    if width * 4 >= last - first + 1:
        return first, last
    # the end that is no further away is sound: a stray time lies at the other
    return low if low - first > width else first, high if last - high > width else last


def _reach(order: list[int], buckets: Mapping[int, Counter[Hashable]], skip: float) -> int:
    """The first bucket of `order` with more than `skip` texts before it and in it."""
    seen = 0
    for bucket in order:
        seen += buckets[bucket][TEXTS]
        if seen > skip:
            return bucket
    return order[-1]


def _start(unit: str, bucket: int) -> datetime:
    if unit == "year":
        return datetime(bucket, 1, 1, tzinfo=UTC)
    if unit == "month":
        return datetime(bucket // 12, bucket % 12 + 1, 1, tzinfo=UTC)
    seconds = {"minute": 60, "hour": 3600, "day": 86400, "week": 86400}[unit]
    return EPOCH + timedelta(seconds=bucket * seconds)
