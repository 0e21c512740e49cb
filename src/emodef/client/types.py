"""What a client gets: predictions, explanations, jobs, and what was refused. Imports errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from emodef.errors import EmodefError


class ServerError(EmodefError):
    """What the server refused, or why no answer came. status: of HTTP; 0 where none came, and for what has none of its own: a line of a
    stream, an answer that broke off, a job that failed or is not over. code, field: where the server told them.
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "", field: str | None = None) -> None:
        place = f"{field}: " if field else ""
        super().__init__(f"{place}{message}")
        self.status, self.code, self.field = status, code, field


class Label(NamedTuple):
    """A label and its probability."""

    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The labels of one text, likeliest first; scores of every label where they were asked for. See `emodef.Prediction`."""

    labels: tuple[Label, ...]
    scores: dict[str, float] = field(repr=False)
    tokens: int
    windows: int


@dataclass(frozen=True)
class Word:
    """`text[start:end]`, and what it adds to each explained label's probability."""

    text: str
    start: int
    end: int
    shifts: dict[str, float]


@dataclass(frozen=True)
class Explanation:
    """What each word adds to a text's labels. together: neighbouring words left out at a time."""

    labels: tuple[Label, ...]
    words: tuple[Word, ...]
    together: int


@dataclass(frozen=True)
class KnownLabel:
    """A label that the server's model predicts."""

    name: str
    definition: str
    threshold: float | None


@dataclass(frozen=True)
class ServerLimits:
    """How much a server takes in a request or a file; docs/server.md says of what each is."""

    body_bytes: int
    texts: int
    text_characters: int
    explain_characters: int
    labels: int
    definitions: int
    definition_characters: int
    upload_bytes: int
    file_text_characters: int


@dataclass(frozen=True)
class Problem:
    """A row of a file without a prediction. row: the line it begins on. kept: whether it is in the result. raw: the row as it stands in the
    file, where it stands nowhere in the result as it was.
    """

    row: int
    reason: str
    kept: bool
    raw: str | None


@dataclass(frozen=True)
class Job:
    """A file on its way. state: queued, running, finished, failed or cancelled."""

    id: str
    state: str
    file: str
    rows_done: int
    rows: int | None
    bytes_done: int
    bytes: int
    problems: int
    error: str | None
    created: str
    finished: str | None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("finished", "failed", "cancelled")
