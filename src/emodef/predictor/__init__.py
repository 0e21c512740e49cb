"""The light predictor: emotions of texts from an exported model, on onnxruntime, tokenizers and numpy alone."""

from __future__ import annotations
