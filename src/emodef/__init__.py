"""emodef: fine-grained emotions in English text, from models that read what each label means."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emodef.corpora import Corpus, load_corpus
    from emodef.errors import EmodefError
    from emodef.evaluation import Report, evaluate
    from emodef.labels import LabelSet
    from emodef.predictor import Prediction, Predictor

__version__ = "0.1.0"
__all__ = [
    "Corpus",
    "EmodefError",
    "LabelSet",
    "Prediction",
    "Predictor",
    "Report",
    "__version__",
    "evaluate",
    "load_corpus",
]

# public name -> its module, imported when the name is first asked for: `import emodef` stays instant
_PUBLIC = {
    "Corpus": "emodef.corpora",
    "EmodefError": "emodef.errors",
    "LabelSet": "emodef.labels",
    "Prediction": "emodef.predictor",
    "Predictor": "emodef.predictor",
    "Report": "emodef.evaluation",
    "evaluate": "emodef.evaluation",
    "load_corpus": "emodef.corpora",
}


# emodef sends nothing, and neither do packages that report to their makers unless told otherwise, if it comes before them. onnxruntime
# (its wheels from 1.29 on) would send what processes, models and errors there are, and keep an id of the machine in the user's folder.
# One who wants that sets the variable.
for _name, _value in {
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",  # its name for a while
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}.items():
    os.environ.setdefault(_name, _value)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'emodef' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
