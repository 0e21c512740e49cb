"""What is told when something is wrong: one shape for every error, a status, a code, a message with the remedy. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emodef.errors import DataError, EmodefError, MissingExtraError, SettingsError

# code -> status, and when it is told; docs/server.md and the OpenAPI document say the same
CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "the request is not HTTP or JSON as it should be"),
    "unauthorized": (401, "an API key is missing or is not one of this server's"),
    "forbidden": (403, "the host or the origin is not one this server answers for"),
    "not_found": (404, "there is no such address or job"),
    "method_not_allowed": (405, "the address is there, and this method is not"),
    "too_slow": (408, "the request's body did not arrive in time"),
    "not_finished": (409, "the job has no result, or not yet"),
    "too_large": (413, "the body has more bytes than this server takes"),
    "too_many_texts": (413, "more texts in a request than this server takes"),
    "text_too_long": (413, "a text, or a line of a stream, is longer than this server takes"),
    "too_many_labels": (413, "more labels or definitions than this server takes"),
    "unsupported_type": (415, "the body's type is not what this address takes"),
    "invalid": (422, "a field has a value that does not fit"),
    "too_many_jobs": (429, "as many jobs are kept as this server keeps"),
    "internal": (500, "a fault of the server"),
    "busy": (503, "too many requests at once; Retry-After says when to come again"),
    "timed_out": (503, "the answer took longer than this server allows"),
    "no_room": (503, "the server's disk is nearly full"),
    "stopping": (503, "the server is shutting down"),
    "not_ready": (503, "the model is not loaded yet, or the server is shutting down"),
}


class Fault(Exception):
    """What went wrong with a request, as the client is told it."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.field, self.retry_after = code, message, field, retry_after
        self._headers = dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CODES[self.code][0]

    @property
    def headers(self) -> dict[str, str]:
        """Those that belong to this error."""
        found = dict(self._headers)
        if self.status == 503:
            found["Retry-After"] = str(max(1, round(self.retry_after or 1)))
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"error": {"code": self.code, "message": self.message, "field": self.field}}

    def body(self) -> bytes:
        """As JSON; half of a surrogate pair, which UTF-8 cannot hold, is replaced."""
        return json.dumps(self.to_dict(), ensure_ascii=False).encode("utf-8", "replace")


class Gone(Exception):
    """The client hung up; there is nobody to answer."""


def fault_of(error: EmodefError, field: str | None = None) -> Fault:
    """A library error that a client's request caused."""
    if isinstance(error, (SettingsError, DataError)):
        return Fault("invalid", str(error), field=field)
    if isinstance(error, MissingExtraError):
        return Fault("unsupported_type", f"this server cannot read that: {error}", field=field)
    return Fault("internal", "the server met an error it did not expect", field=field)


def status_code(status: int) -> str:
    """The code of an error that only has a status."""
    return next((code for code, (known, _) in CODES.items() if known == status), "bad_request")
