"""The process that predicts uploaded files, one after the other, as `emodef predict --file` does. Imports files, Predictor.

A process of its own, at low priority: requests do not wait for it, and what a hostile file may do to it, it does to no request.
It ends when its standard input is closed, so that it never outlives the server's worker that started it; what it has finished
of a file stays, and the next process goes on from there.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emodef.errors import EmodefError, SettingsError
from emodef.files.job import Summary, Watch, predict_file
from emodef.files.predictions import Options
from emodef.files.sources import open_source
from emodef.predictor import Predictor
from emodef.server import logs
from emodef.server.jobs import Kept, Store

PART_SIZE = 2048  # rows: what a kill costs at most
TOLD = 0.25  # seconds between two notes of progress, and looks whether it is cancelled
LINGER = 20.0  # seconds it waits for the next job, its model loaded
PATIENCE = 0.1
ATTEMPTS = 5  # at a job without getting further: then it is the job's fault
NICE = 5
IN_A_FORM = {  # what the messages of the command line call it -> what the form does
    "--text-column": "the field column",
    "--input-format": "the field format",
    "--time-column": "the field time_column",
    "--prefix": "the field prefix",
    "--on-error": "the field on_error",
}


class Cancelled(Exception):
    """Nobody wants the job any more."""


@dataclass
class Progress(Watch):
    """Tells how far a job is, and stops it when it was cancelled."""

    kept: Kept
    attempts: int = 1
    earlier: int = 0
    began_at: int = (
        0  # rows in finished parts when the last attempt began; with more of them now this one is a first
    )
    done: int = 0
    rows: float | None = None
    _told: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, rows: int) -> None:
        """Predicting begins. Raises SettingsError where too many attempts have not got beyond these rows."""
        if rows > self.began_at:
            self.attempts = 1
        self.earlier = self.began_at = rows
        _check_attempts(self.attempts)
        self._tell(now=True)

    def estimate(self, rows: int, share: float | None) -> None:
        """How many rows there are, by the share of the file that was read."""
        self.rows = rows / share if share else None

    def advance(self, rows: int) -> None:
        """So many more are predicted."""
        with self._lock:
            self.done += rows
        self._tell()

    def reading(self, done: int, total: int) -> None:
        """The file is looked at."""
        self._tell()

    def _tell(self, *, now: bool = False) -> None:
        clock = time.monotonic()
        if not now and clock - self._told < TOLD:
            return
        self._told = clock
        if self.kept.cancelled:
            raise Cancelled
        rows_done = self.earlier + self.done
        rows = None if self.rows is None else max(rows_done, round(self.rows))
        self.kept.tell(rows_done=rows_done, rows=rows, attempts=self.attempts, began_at=self.began_at)


def work(store: Store, load: Any, slots: int) -> None:
    """Predict jobs until none has come for a while."""
    held = next((slot for number in range(slots) if (slot := store.slot(number)) is not None), None)
    if held is None:
        return
    predictor: Predictor | None = None
    idle_since = time.monotonic()
    with held:
        while time.monotonic() - idle_since < LINGER:
            for kept in store.waiting():
                with kept.locked() as ours:
                    if not ours or kept.done is not None:
                        continue
                    if predictor is None:
                        predictor = load()
                    run(kept, predictor)
                idle_since = time.monotonic()
                if kept.cancelled:
                    store.remove(kept.path)
                break  # look anew: the oldest first
            else:
                time.sleep(PATIENCE)


def run(kept: Kept, predictor: Predictor) -> None:
    """Predict one job to its end; what goes wrong with it is told to who asked for it."""
    facts: dict[str, Any] = {"id": kept.order.id, "bytes": kept.order.bytes}
    began = time.monotonic()
    try:
        found = kept.predicted or predict(kept, predictor, _progress(kept))
        rows = found["rows"]
        summarise(kept, rows)
        kept.end("finished", rows=rows, rows_done=rows, problems=found["problems"])
        logs.event("job finished", rows=rows, seconds=round(time.monotonic() - began, 2), **facts)
    except Cancelled:
        logs.event("job cancelled", **facts)
    except EmodefError as error:
        if not kept.cancelled:
            kept.end("failed", error=in_a_form(str(error), kept))
        logs.event("job failed", error=type(error).__name__, **facts)
    except Exception as error:
        if not kept.cancelled:
            kept.end("failed", error="a fault of this server; its log says more, under the job's id")
        logs.fault("job failed", error, with_message=False, **facts)


def _progress(kept: Kept) -> Progress:
    """Of another attempt. Raises SettingsError where there were too many."""
    earlier = kept.progress
    attempts = 1 + earlier.get("attempts", 0)  # `begin` knows whether parts were finished since
    _check_attempts(attempts - 1)  # the last may have got further
    # as far as it was told to be until its parts are looked at, so that it never seems to go back
    return Progress(kept, attempts, earlier.get("rows_done", 0), earlier.get("began_at", 0))


def _check_attempts(attempts: int) -> None:
    if attempts > ATTEMPTS:
        raise SettingsError(
            "the process that predicted it died several times at the same rows; mend the file"
        )


def predict(kept: Kept, predictor: Predictor, watch: Progress) -> dict[str, int]:
    """Make the job's result, and note that it is whole. How many rows and problems it has."""
    order = kept.order
    if order.labels is not None:
        predictor = predictor.with_labels(order.labels, known=order.known)
    options = Options(**order.options)

    def made(restart: bool) -> Summary:
        watch.done = 0
        source = open_source(str(kept.input), order.column, order.kind)
        return predict_file(
            source, kept.result, predictor, options, part_size=PART_SIZE, restart=restart, watch=watch
        )

    watch._tell(now=True)
    try:
        summary = made(restart=False)
    except SettingsError as error:
        if "--restart" not in str(error):
            raise
        summary = made(restart=True)  # another model, or another version, since the parts were made
    found = {"rows": summary.rows, "problems": summary.problems}
    kept.note_predicted(found)
    return found


def summarise(kept: Kept, rows: int) -> None:
    """Write what charts need. A result that cannot be drawn is a result all the same, also one that kills who draws it."""
    attempts = 1 + kept.progress.get("summaries", 0)
    if attempts > ATTEMPTS:
        content = {"error": "the process that counts for them died several times; the result is whole"}
    else:
        kept.tell(rows_done=rows, rows=rows, summaries=attempts)
        content = drawn(kept)
    kept.summary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def drawn(kept: Kept) -> dict[str, Any]:
    """What the report page has of a result, or why it cannot be drawn."""
    from emodef.reporting.page import Summary as Counts
    from emodef.reporting.page import open_predictions, page_content, shipped_sets

    try:
        source = open_predictions(
            kept.result,
            text_column=kept.order.column,
            time_column=kept.order.time_column,
            needs_texts=False,
            on_error="skip",
        )
        counts = Counts(examples=10, label_sets=shipped_sets(), known=source.labels)
        for row in source.rows():
            counts.add(row)
        return {**page_content(counts), "notes": [in_a_form(note, kept) for note in source.notes()]}
    except EmodefError as error:
        return {"error": in_a_form(str(error), kept)}


def in_a_form(message: str, kept: Kept) -> str:
    """A message of the library's in the words of who sent a form: no path of this machine, fields instead of options."""
    for path in (kept.input, kept.result):
        message = message.replace(str(path), kept.order.file)
    message = message.replace(str(kept.path) + os.sep, "")
    for option, its_field in IN_A_FORM.items():
        message = message.replace(option, its_field)
    return message.encode("utf-8", "replace").decode()[:2000]


def main() -> None:
    """Read a worker's order from standard input, and work."""
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):  # the worker decides when this ends
        signal.signal(number, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    logs.set_up(requests=order["log"])
    logging.captureWarnings(True)
    store = Store(Path(order["path"]), hours=order["hours"], most=order["most"])
    work(store, lambda: Predictor.load(order["model"], threads=order["threads"]), order["slots"])


def _end_with_the_server() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # whatever is under way: parts are put by whole or not at all


if __name__ == "__main__":
    main()
