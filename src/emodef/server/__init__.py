"""The HTTP API and its page (extra `[serve]`). Calls Predictor, files and the report page's summary, and nothing below them.

settings what a server is told             app      all of it as one application: create_app
schemas  what goes in and out, as types    answers  the predictor, its options checked, labels of a client's own
batching requests share passes             predicting  /v1/predict, /v1/score, /v1/explain, /v1/labels, streams
guard    every request: who may, how much, how long, what is logged and counted
faults   what is told when something is wrong
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emodef.server.app import create_app
    from emodef.server.settings import ServerSettings

__all__ = ["ServerSettings", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from emodef.server.app import create_app

        return create_app
    if name == "ServerSettings":
        from emodef.server.settings import ServerSettings

        return ServerSettings
    raise AttributeError(f"module 'emodef.server' has no attribute {name!r}")
