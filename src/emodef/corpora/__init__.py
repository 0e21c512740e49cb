"""Corpora: the four published ones and users' own files behind one door, `load_corpus`. Imports errors and its modules."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emodef.corpora.core import Corpus, Problem, check_on_error, data_root
from emodef.errors import DataError, SettingsError, option_names

__all__ = ["CORPORA", "Corpus", "Problem", "data_root", "load_corpus"]

# a reader is a module of this package with read(data_dir, on_error) -> dict of split name -> Corpus
CORPORA = ("goemotions", "isear", "emoint", "emotion_stimulus")


def load_corpus(
    name_or_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    on_error: str = "fail",
    **column_options: Any,
) -> dict[str, Corpus]:
    """A published corpus by name, or a user's CSV, TSV, JSONL or Parquet file by path: split -> Corpus.

    data_dir: folder with a folder for each corpus; by default $EMODEF_DATA, else the user's cache.
    on_error: "fail" stops at the first malformed row; "skip" leaves such rows out and lists them in `problems`.
    column_options: for users' files only; see `emodef.corpora.files.read_file`.

    Raises DataError (missing file, malformed row), SettingsError (options that do not fit), and MissingExtraError for Parquet without
    polars.
    """
    check_on_error(on_error)
    given = os.fspath(name_or_path)
    if given in CORPORA:
        _refuse_options(given, column_options)
        reader = importlib.import_module(f"emodef.corpora.{given}")
        splits: dict[str, Corpus] = reader.read(data_dir, on_error)
        return splits
    if not Path(given).exists():
        raise DataError(
            f"no such corpus: {given!r} is neither one of {', '.join(CORPORA)} nor a file; "
            "give one of these names or the path of a CSV, TSV, JSONL or Parquet file"
        )
    from emodef.corpora.files import read_file

    return dict(read_file(given, on_error=on_error, **column_options))


def _refuse_options(name: str, options: Mapping[str, Any]) -> None:
    unset: tuple[Any, ...] = (None, False, [], ())  # how a command passes what its user left out
    if given := [key for key, value in options.items() if value not in unset]:
        raise SettingsError(
            f"the corpus {name!r} has its own columns and labels; leave out {', '.join(given)} ({option_names(given)})"
        )
