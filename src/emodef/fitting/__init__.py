"""Few-shot: a linear head on a light model's embeddings, started from the labels' definitions. Without torch. Imports its modules."""

from emodef.fitting.fitted import FittedHead, check_free, fit

__all__ = ["FittedHead", "check_free", "fit"]
