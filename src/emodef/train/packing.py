"""A checkpoint in half precision: half the size, for keeping and for fine-tuning. Imports torch, safetensors.

`TrainedModel.load` and training read it like any other and compute in float32: only what is stored has fewer digits.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from emodef.errors import DataError, SettingsError
from emodef.train.checkpoint import FILES, WEIGHTS, TrainedModel, check_free, replaced_directory

# what other models' tokenizers may have beside tokenizer.json
_OF_TOKENIZERS = (
    "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip


def pack(model: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    """Copy a saved model into the folder `out` with the network's weights in float16; replaces a saved model there.

    The heads, which are small, keep their digits.

    Raises DataError for a model that cannot be read or has weights beyond float16's range, SettingsError where `out`
    holds something else.
    """
    source, target = Path(model), Path(out)
    if target.resolve() in (source.resolve(), *source.resolve().parents):
        raise SettingsError(f"{target} holds the model itself; give another folder (--out)")
    theirs = [path.name for path in source.iterdir()] if source.is_dir() else []
    check_free(
        target, "emodef.json", "a saved model", {*FILES, *_OF_TOKENIZERS, "emodef.json", "README.md", *theirs}
    )
    TrainedModel.load(source)  # says what is wrong with it, if anything is
    weights = load_file(source / WEIGHTS)
    half = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    for name, tensor in half.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise DataError(
                f"{name} has values beyond float16's range; keep the model as it is", source / WEIGHTS
            )
    with replaced_directory(target) as folder:
        for path in sorted(source.iterdir()):
            if path.is_file() and path.name != WEIGHTS:
                shutil.copyfile(path, folder / path.name)
        (folder / WEIGHTS).write_bytes(to_bytes(half, metadata={"format": "pt"}))
    return target
