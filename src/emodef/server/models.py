"""The model of a worker. Imports Predictor."""

from __future__ import annotations

from emodef.predictor import Predictor
from emodef.predictor.session import usable_cores
from emodef.server.settings import ServerSettings


def load_model(settings: ServerSettings) -> Predictor:
    """The model, with the worker's share of the cores."""
    threads = settings.threads or max(1, usable_cores() // settings.workers)
    return Predictor.load(settings.model, threads=threads)
