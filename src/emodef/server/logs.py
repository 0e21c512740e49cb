"""Logs: a JSON object a line, on standard error; no text of a client's in them unless the settings say so. Standard library only."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

NAME = "emodef.server"
LOG = logging.getLogger(NAME)


def set_up(*, requests: bool) -> None:
    """Log to standard error: this server's events and uvicorn's. requests: also every request that went well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in (NAME, "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], name == "uvicorn.error"
        if name != "uvicorn.error":
            logger.addHandler(handler)
    LOG.setLevel(logging.INFO if requests else logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.INFO if requests else logging.WARNING)


def event(name: str, level: int = logging.INFO, **facts: Any) -> None:
    """Log what happened."""
    if LOG.isEnabledFor(level):
        LOG.log(level, name, extra={"facts": facts})


def fault(name: str, error: BaseException, *, with_message: bool, **facts: Any) -> None:
    """Log a fault of ours: where it was raised. Its message may quote a text, and is left out unless asked for."""
    places = [f"{one.filename}:{one.lineno} {one.name}" for one in traceback.extract_tb(error.__traceback__)]
    if with_message:
        facts["message"] = str(error)
    event(name, logging.ERROR, error=type(error).__name__, places=places[-12:], **facts)


class Lines(logging.Formatter):
    """A record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name != NAME else record.msg,
            "worker": os.getpid(),
        }
        told |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            told["error"] = type(error).__name__
            told["places"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ][-12:]
        return json.dumps(told, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()
