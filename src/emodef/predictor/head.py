"""A head: labels scored on a text's embedding, and the folder of one that was fitted. Imports numpy, model_file, atomic, errors.

A folder of a fitted head has `head.json` (labels, thresholds, which model it stands on) and `head.npz` (its numbers). It stands on
the model that emodef brings, and then holds nothing else, or on a light model that lies beside it in the same folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.atomic import write_bytes, write_text
from emodef.errors import DataError
from emodef.labels import LabelSet
from emodef.predictor.model_file import HEAD, MODEL, check_thresholds

FORMAT = 1
WEIGHTS = "head.npz"
SHIPPED_BASE = "shipped"  # head.json's "base" for the model that emodef brings; for a copy beside it, MODEL
BASES = (SHIPPED_BASE, MODEL)
AGAIN = "copy the whole folder again, or fit it again with: emodef fit"
LEAST_NORM = 1e-12
PIECE = 1 << 18  # multiplications that OpenBLAS does not yet share among threads

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelHead:
    """K labels on embeddings of H numbers: probability = sigmoid(unit embedding · weight_k + bias_k).

    weight: float32 (K, H). For a label that was never trained it is the unit vector of its definitions times the model's learned
    scale; a fitted head may hold any numbers. bias: float32 (K,). exclusive: softmax over the labels in place of the sigmoid, as a head
    fitted to texts with one label each. Raises DataError for other shapes and for what is not finite.
    """

    weight: Floats
    bias: Floats
    exclusive: bool = False

    def __post_init__(self) -> None:
        weight, bias = (
            np.ascontiguousarray(self.weight, np.float32),
            np.ascontiguousarray(self.bias, np.float32),
        )
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise DataError(f"a head has weights (K, H) and biases (K,), not {weight.shape} and {bias.shape}")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise DataError("a head holds something that is not a finite number")
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    def __len__(self) -> int:
        return len(self.bias)

    def logits(self, embeddings: Floats) -> Floats:
        """Embeddings (n, H), as `Predictor.embed` gives them, normalised or not -> log odds float32 (n, K)."""
        return products(unit(embeddings), self.weight) + self.bias

    def probabilities(self, embeddings: Floats) -> Floats:
        """Embeddings (n, H) -> probabilities float32 (n, K). A long text's is the mean of those of its windows."""
        logits = self.logits(embeddings)
        return softmax(logits) if self.exclusive else sigmoid(logits)

    def write(self, folder: str | os.PathLike[str], info: HeadInfo) -> None:
        """Write head.npz and head.json, each atomically; head.json names the hash of head.npz and comes last."""
        if len(info.label_set) != len(self):
            raise DataError(f"{len(self)} labels in the head and {len(info.label_set)} in its label set")
        buffer = io.BytesIO()
        np.savez(buffer, weight=self.weight, bias=self.bias)
        write_bytes(Path(folder) / WEIGHTS, buffer.getvalue())
        content = {**info.to_dict(), "weights_hash": hashlib.sha256(buffer.getvalue()).hexdigest()}
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        write_text(Path(folder) / HEAD, text + "\n")

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> tuple[LabelHead, HeadInfo]:
        """The head of a folder and what it says of itself. Raises DataError naming the file, what is wrong, and what to do."""
        path, weights = Path(folder) / HEAD, Path(folder) / WEIGHTS
        try:
            content = json.loads(_read(path))
            if not isinstance(content, dict):
                raise DataError("holds no JSON object")
            info = HeadInfo.from_dict(content)
        except (ValueError, DataError) as error:
            message = (
                f"not readable as JSON ({error}); {AGAIN}" if isinstance(error, ValueError) else str(error)
            )
            raise DataError(message if "; " in message else f"{message}; {AGAIN}", path) from None
        data = _read(weights)
        if hashlib.sha256(data).hexdigest() != content.get("weights_hash"):
            raise DataError(f"is not the file that {HEAD} was written with; {AGAIN}", weights)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                head = cls(arrays["weight"], arrays["bias"], info.label_set.exclusive)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile, DataError) as error:
            raise DataError(f"cannot be read as a head ({error}); {AGAIN}", weights) from None
        if len(head) != len(info.label_set):
            raise DataError(f"has {len(head)} labels, and {HEAD} has {len(info.label_set)}; {AGAIN}", weights)
        return head, info


@dataclass(frozen=True)
class HeadInfo:
    """All of head.json; checked when made.

    thresholds: "fixed" -> a number; "tuned", where they were tuned -> the label set's or a coarser level's name -> a number for each
    of its labels. base: "shipped", the model that emodef brings, or "model.onnx", the light model in the same folder. base_hash:
    `hash_of` that model's graph. about: what was fitted on what; not needed to predict. Raises DataError saying what is wrong.
    """

    label_set: LabelSet
    base_hash: str
    base: str = SHIPPED_BASE
    thresholds: Mapping[str, Any] = field(default_factory=lambda: {"fixed": 0.3})
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.label_set, LabelSet):
            raise DataError("label_set is needed, an object")
        if self.base not in BASES:
            raise DataError(f"base is {self.base!r:.40}; it can be {' or '.join(BASES)}")
        if not isinstance(self.base_hash, str) or not self.base_hash:
            raise DataError("base_hash is needed, the sha256 of the graph it was fitted on")
        if not isinstance(self.thresholds, Mapping):
            raise DataError("thresholds is not an object")
        if not isinstance(self.about, Mapping):
            raise DataError("about is not an object")
        check_thresholds(self.thresholds, self.label_set)

    def to_dict(self) -> dict[str, Any]:
        """The content of head.json, but for the hash of head.npz; `from_dict` gives an equal HeadInfo back."""
        return {
            "format": FORMAT,
            "base": self.base,
            "base_hash": self.base_hash,
            "label_set": self.label_set.to_dict(),
            "thresholds": dict(self.thresholds),
            "about": dict(self.about),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> HeadInfo:
        """From the content of head.json. Raises DataError for another format, and missing, unknown or wrong entries."""
        if d.get("format") != FORMAT:
            raise DataError(
                f"format {d.get('format')!r}, this emodef reads {FORMAT}; install a matching release"
            )
        given = {key: value for key, value in d.items() if key not in ("format", "weights_hash")}
        if not isinstance(given.get("label_set"), Mapping):
            raise DataError("label_set is needed, an object")
        given["label_set"] = LabelSet.from_dict(given["label_set"], source="label_set")
        try:
            return cls(**given)
        except TypeError as error:
            raise DataError(str(error).partition("() ")[2] or str(error)) from None


def hash_of(path: str | os.PathLike[str]) -> str:
    """sha256 of a file, in hexadecimal: what a head's base is known by. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unit(vectors: Floats) -> Floats:
    """Vectors (n, H) at length 1; a vector of nothing stays as it is."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(norms, LEAST_NORM)).astype(np.float32, copy=False)


def products(first: Floats, second: Floats) -> Floats:
    """(n, H), (K, H) -> the product of every row with every row, (n, K); in pieces that numpy's library computes by one thread.

    A predictor's threads compute batches side by side, and threads of the library's own would only get in their way.
    """
    found = np.empty((len(first), len(second)), dtype=np.float32)
    step = max(1, PIECE // max(1, second.size))
    for start in range(0, len(first), step):
        found[start : start + step] = first[start : start + step] @ second.T
    return found


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow, and exact for small probabilities."""
    return (1 / (1 + np.exp(-np.clip(logits, -80, 80)))).astype(np.float32, copy=False)


def softmax(logits: Floats) -> Floats:
    """Logits (n, K) -> probabilities that add up to 1 in each row."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"not found; {AGAIN}", path) from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}); {AGAIN}", path) from None
