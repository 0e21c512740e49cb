"""Who may ask: API keys, hosts this server answers to, pages of other sites. Standard library only.

Keys are kept as hashes and compared in constant time, all of them each time. A page of another site can make a browser send
requests here; it is told apart by its Origin, and where a name was bent to this address (DNS rebinding) by the Host.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from emodef.server.faults import Fault
from emodef.server.settings import LOOPBACK, ServerSettings

PUBLIC = frozenset({"/", "/health", "/ready", "/openapi.json", "/favicon.ico"})
PUBLIC_FOLDER = "/assets/"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """The rules of a server."""

    def __init__(self, settings: ServerSettings) -> None:
        self._keys = [_digest(key.encode()) for key in settings.keys]
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.origins)
        # behind a proxy that passes its own address on as Host, a page of ours comes from one of these
        self._pages = frozenset(f"https://{host.lower()}" for host in settings.hosts if host != "*")
        self._hosts: frozenset[str] | None = None
        own = {settings.host.lower(), *LOOPBACK, *(host.lower() for host in settings.hosts)}
        if "*" not in settings.hosts and (settings.on_loopback or settings.hosts):
            self._hosts = frozenset(own)

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> str | None:
        """Who asks: the start of a hash of the key; None where none is needed. Raises Fault."""
        self._check_host(headers)
        if method not in SAFE:
            self._check_origin(headers)
        if not self._keys or path in PUBLIC or path.startswith(PUBLIC_FOLDER):
            return None
        return self._check_key(headers)

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        host = _text(headers, b"host")
        if self._hosts is None or not host:  # what sends no Host is no browser
            return
        if _name(host) not in self._hosts:
            raise Fault("forbidden", f"this server does not answer to {host[:200]!r}; see --allowed-host")

    def _check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        origin = _text(headers, b"origin").rstrip("/").lower()
        if not origin or "*" in self._origins or origin in self._origins | self._pages:
            return
        if origin.partition("://")[2] != _text(headers, b"host").lower():
            raise Fault("forbidden", f"pages of {origin[:200]!r} may not call this server; see --origin")

    def _check_key(self, headers: Mapping[bytes, bytes]) -> str:
        given = headers.get(b"x-api-key", b"")
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        if not given and scheme.lower() == b"bearer":
            given = bearer.strip()
        digest, found = _digest(given), False
        for key in self._keys:
            found |= hmac.compare_digest(key, digest)
        if not given or not found:
            what = "is not one of this server's" if given else "is missing"
            raise Fault(
                "unauthorized",
                f"the API key {what}; send it as Authorization: Bearer KEY, or as X-API-Key: KEY",
            )
        return digest.hex()[:16]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def _name(host: str) -> str:
    """example.org:80 -> example.org; [::1]:80 -> ::1."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
