"""Where each corpus is published: sources.toml, beside this file, as objects. Imports the standard library and errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from emodef.errors import SettingsError


@dataclass(frozen=True)
class RemoteFile:
    """A file of the data folder: where it comes from (addresses tried in order, or an archive's members) and its hash."""

    path: str
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    bytes: int | None = None
    member: str | None = None
    built_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """What is published of a corpus: its files, the archive some of them come in, and the terms the authors state."""

    name: str
    title: str
    homepage: str
    terms: str
    cite: str
    files: tuple[RemoteFile, ...]
    archive: RemoteFile | None = None


def _load_sources() -> dict[str, Source]:
    content = resources.files("emodef.corpora").joinpath("sources.toml").read_text(encoding="utf-8")
    sources = {}
    for name, table in tomllib.loads(content).items():
        files = tuple(_remote_file(file) for file in table.pop("files"))
        archive = _remote_file(table.pop("archive")) if "archive" in table else None
        sources[name] = Source(name=name, files=files, archive=archive, **table)
    return sources


def _remote_file(table: Mapping[str, object]) -> RemoteFile:
    return RemoteFile(**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})  # type: ignore[arg-type]


SOURCES: Mapping[str, Source] = MappingProxyType(_load_sources())


def find_source(name: str) -> Source:
    """The source of a corpus. Raises SettingsError for a name that is none."""
    if name not in SOURCES:
        raise SettingsError(f"no corpus {name!r} to fetch; it can be one of {', '.join(SOURCES)}")
    return SOURCES[name]
