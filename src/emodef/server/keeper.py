"""Sees to it that jobs are predicted, and removed when they were kept long enough. Imports the standard library; starts `runner`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import suppress

from emodef.server import logs
from emodef.server.jobs import Store
from emodef.server.settings import ServerSettings

LOOK = 2.0  # seconds between two looks at the folder
SWEEP = 60.0
STOP = 2.0


class Keeper:
    """Every worker has one; that only so many processes predict is up to the slots they must hold."""

    def __init__(self, settings: ServerSettings, store: Store) -> None:
        self.settings, self.store = settings, store
        self._wake = asyncio.Event()
        self._runners: list[subprocess.Popen[bytes]] = []
        self._swept = float("-inf")
        self._task = asyncio.create_task(self._keep())

    def wake(self) -> None:
        """A job has come."""
        self._wake.set()

    async def close(self) -> None:
        """Stop; runners stop where they are, and their jobs go on when there is a server again."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await asyncio.gather(*(asyncio.to_thread(_end, runner) for runner in self._runners))

    async def _keep(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._look)
            except Exception as error:  # a full disk, a folder that was taken away: told, and tried again
                logs.fault("jobs cannot be looked after", error, with_message=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()
            self._wake.clear()

    def _look(self) -> None:
        self.store.prepare()  # what empties folders for temporary files may have taken it away
        if time.monotonic() - self._swept > SWEEP:
            self.store.sweep()
            self._swept = time.monotonic()
        for runner in [one for one in self._runners if one.poll() is not None]:
            _end(runner)
            self._runners.remove(runner)
        # those under way are among the waiting
        most = min(self.settings.jobs_at_once, len(self.store.waiting()))
        if len(self._runners) < most and self._has_place():
            self._runners.append(self._start())

    def _has_place(self) -> bool:
        for number in range(self.settings.jobs_at_once):
            held = self.store.slot(number)
            if held is not None:
                held.close()
                return True
        return False

    def _start(self) -> subprocess.Popen[bytes]:
        settings = self.settings
        order = {
            "path": str(self.store.path),
            "hours": self.store.hours,
            "most": self.store.most,
            "model": settings.model,
            "threads": settings.threads,
            "slots": settings.jobs_at_once,
            "log": settings.log_requests,
        }
        made = subprocess.Popen(
            # -P: no module of the folder that the server was started in, such as a csv.py, is taken for Python's
            [sys.executable, "-P", "-m", "emodef.server.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert made.stdin is not None
        with suppress(BrokenPipeError):  # it ended at once; the next look tells
            made.stdin.write(json.dumps(order).encode() + b"\n")
            made.stdin.flush()
        return made


def _end(runner: subprocess.Popen[bytes]) -> None:
    if runner.stdin is not None:
        with suppress(OSError):
            runner.stdin.close()
    try:
        runner.wait(STOP)
    except subprocess.TimeoutExpired:
        runner.kill()
        runner.wait()
