"""What the models and texts that a run is made from are known by: hashes of their content, wherever they lie. Imports runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from emodef.errors import DataError, EmodefError
from emodef.runs import model_folder

WEIGHTS = ("model.safetensors", "heads.safetensors", "tokenizer.json")  # of a model of ours
# what is read of transformers' checkpoints: configuration, weights, vocabularies
_CHECKPOINT = (
    "config.json",
    "*.safetensors",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)
# settings that say where something lies, and those that note what it is known by
NOTED = {
    "backbone": "backbone_hash",
    "start": "start_hash",
    "teacher": "teacher_hashes",
    "unlabelled": "unlabelled_hash",
}


def weights_hash(path: str | os.PathLike[str]) -> str:
    """A hash of the weights of a run's or model's folder; "" where some are missing. Raises DataError where there is no model."""
    model = model_folder(path)
    if not all((model / name).is_file() for name in WEIGHTS):
        return ""
    return hash_of_files(model / name for name in WEIGHTS)


def known_start(path: str) -> str:
    """What the model that a run starts from is known by; its path where there is none yet."""
    try:
        return weights_hash(path) or path
    except EmodefError:
        return path


def known_checkpoint(path: str) -> str | None:
    """What a folder with a transformers checkpoint is known by; None where there is no such folder, as for a hub's name.

    Raises DataError where it cannot be read.
    """
    folder = Path(path)
    if not (folder / "config.json").is_file():
        return None
    return hash_of_files(sorted(file for kind in _CHECKPOINT for file in folder.glob(kind) if file.is_file()))


def known_texts(path: str) -> str:
    """What a file of unlabelled texts is known by: a hash of its bytes; its path where there is no such file yet."""
    try:
        return hash_of_file(path)
    except OSError:
        return path


def hash_of_file(path: str | os.PathLike[str]) -> str:
    """A hash of a file's bytes. Raises OSError."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def moved(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """`before` as if what is known to be the same had always lain where `now` says; what no earlier version noted is taken for the same."""
    found = dict(before)
    for place, noted in NOTED.items():
        if found[noted] is None:
            found[noted] = now[noted]
        elif found[noted] == now[noted]:
            found[place] = now[place]
    return found


def hash_of_files(files: Iterable[Path]) -> str:
    """A hash of files' contents, in this order. Raises DataError where one cannot be read."""
    try:
        return _digest(tuple(_stamped(path) for path in files))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", error.filename) from error


def _stamped(path: Path) -> tuple[str, int, int]:
    about = path.stat()
    return str(path.resolve()), about.st_size, about.st_mtime_ns


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    """A hash of files' contents, read once as long as they are not written to."""
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:16]
