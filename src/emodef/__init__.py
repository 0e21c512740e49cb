"""emodef: fine-grained emotions in English text, from models that read what each label means."""

from __future__ import annotations

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


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'emodef' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
