"""A client of `emodef serve`, typed, with nothing but the standard library, atomic and errors.

with Client("http://127.0.0.1:8000") as client:
    client.predict(["Thank you so much!"])[0].labels
"""

from emodef.client.core import Client
from emodef.client.types import (
    Explanation,
    Job,
    KnownLabel,
    Label,
    Prediction,
    Problem,
    ServerError,
    ServerLimits,
    Word,
)

__all__ = [
    "Client",
    "Explanation",
    "Job",
    "KnownLabel",
    "Label",
    "Prediction",
    "Problem",
    "ServerError",
    "ServerLimits",
    "Word",
]
