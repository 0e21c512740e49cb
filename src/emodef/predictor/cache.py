"""What a predictor remembers between calls, bounded. Imports only the standard library."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """The `limit` values that were used last, by key. Safe to use from several threads, and in a forked process."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock, self._process = threading.Lock(), os.getpid()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """The value remembered under `key`, or None."""
        with self._own_lock():
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: Hashable, value: Value) -> None:
        """Remember `value`; what was not used for longest is forgotten where there are too many."""
        with self._own_lock():
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.limit:
                self._values.popitem(last=False)

    def _own_lock(self) -> threading.Lock:
        """A fork may take over a lock that a thread was holding, and values half moved; the new process begins with neither."""
        if os.getpid() != self._process:
            self._values, self._lock, self._process = OrderedDict(), threading.Lock(), os.getpid()
        return self._lock
