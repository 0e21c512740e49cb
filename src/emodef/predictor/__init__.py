"""The light predictor: emotions of texts from an exported model, on onnxruntime, tokenizers and numpy alone.

`core` has the Predictor; `model_file` reads what a model directory says of itself; `session`, `engine` and `windows` bring texts
through the graph; `decisions` turns probabilities into labels; `prediction` and `explain` hold and make what users get.
"""

from emodef.predictor.core import Predictor
from emodef.predictor.prediction import Label, Part, Prediction

__all__ = ["Label", "Part", "Prediction", "Predictor"]
