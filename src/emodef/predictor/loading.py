"""A light model's parts from its folder: what it says of itself, its tokenizer, its graph. Imports tokenizers, session, model_file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from emodef.encoding import Encoder
from emodef.errors import DataError, SettingsError
from emodef.predictor.model_file import AGAIN, MODEL, TOKENIZER, ModelInfo
from emodef.predictor.session import DEFINITION, EMBEDDING, PROBABILITIES, Graph, usable_cores


def open_light(
    folder: Path, *, threads: int | None, providers: Sequence[Any] | None
) -> tuple[ModelInfo, Encoder, Graph]:
    """The parts of the light model in `folder`, checked against each other. Raises DataError and SettingsError."""
    if threads is not None and threads < 1:
        raise SettingsError(f"threads = {threads}: give at least 1")
    info = ModelInfo.read(folder)
    graph = Graph(folder / MODEL, threads=threads or usable_cores(), providers=providers)
    _check_outputs(graph, info)
    return info, _read_tokenizer(folder / TOKENIZER, info), graph


def _check_outputs(graph: Graph, info: ModelInfo) -> None:
    needed = [PROBABILITIES, EMBEDDING] + [DEFINITION] * info.definition_head
    if missing := [name for name in needed if name not in graph.outputs]:
        raise DataError(f"has no output {missing[0]!r}; {AGAIN}", graph.path)
    width, hidden = graph.outputs[PROBABILITIES], graph.outputs[EMBEDDING]
    if width != len(info.label_set) or not isinstance(hidden, int):
        raise DataError(
            f"gives {width} probabilities and {hidden} numbers of an embedding, and model.json has "
            f"{len(info.label_set)} labels; {AGAIN}",
            graph.path,
        )


def _read_tokenizer(path: Path, info: ModelInfo) -> Encoder:
    encoding = info.encoding
    try:
        tokenizer = Tokenizer.from_file(os.fspath(path))
    except Exception as error:  # tokenizers raises no narrower class
        if not path.is_file():
            raise DataError(f"not found; {AGAIN}", path) from None
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"cannot be read as a tokenizer ({reason}); {AGAIN}", path) from None
    return Encoder(
        tokenizer,
        pad_id=encoding.pad_id,
        left=encoding.left,
        pad_segment=encoding.pad_segment,
        emoji=encoding.emoji == "words",
        copy=False,
    )
