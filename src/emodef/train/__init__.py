"""Training: the only part of emodef that imports torch and transformers. Needs the extra [train]."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from emodef.errors import require

if TYPE_CHECKING:
    from emodef.train.checkpoint import TrainedModel
    from emodef.train.run import Run, run_training
    from emodef.train.settings import TrainSettings, load_recipe

__all__ = ["Run", "TrainSettings", "TrainedModel", "load_recipe", "run_training"]

for _module in ("torch", "transformers", "accelerate", "safetensors", "pydantic"):
    require(_module, extra="train")

# public name -> its module, imported when the name is first asked for
_PUBLIC = {
    "Run": "run",
    "TrainSettings": "settings",
    "TrainedModel": "checkpoint",
    "load_recipe": "settings",
    "run_training": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'emodef.train' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"emodef.train.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value
