"""Checkpoints and untuned encoders as sources of zero-shot scores. Imports torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emodef.encoding import budget_batches
from emodef.errors import DataError
from emodef.labels import LabelSet
from emodef.predictor.head import Floats, unit
from emodef.runs import model_folder
from emodef.train.architectures import takes_segments
from emodef.train.checkpoint import TrainedModel
from emodef.train.identities import hash_of_files
from emodef.train.inference import load_model
from emodef.train.model import Inputs
from emodef.train.settings import TrainSettings
from emodef.zeroshot.sources import Match

BUDGET = 4096  # tokens of a batch


class TorchSource:
    """A trained model, or with `untuned` the bare encoder in it: cosines only."""

    def __init__(self, name: str, trained: TrainedModel, weights: str, *, untuned: bool = False) -> None:
        self.name, self.trained, self.weights = name, trained, weights
        self.label_set: LabelSet | None = None if untuned else trained.label_set
        head = None if untuned else trained.model.match
        self.match: Match | None = None
        if head is not None:
            scale = float(head.log_scale.detach().exp())
            biases = head.biases().detach().float().cpu().numpy().copy()
            self.match = Match(trained.settings.match_text, scale, biases)
        self.crossing = trained.model.definition is not None
        self.fixed = float(trained.thresholds.get("fixed", trained.settings.threshold))
        tuned = trained.thresholds.get("tuned", {}).get(trained.label_set.name)
        self.tuned: NDArray[np.float64] | None = None if tuned is None else np.array(tuned, dtype=np.float64)
        trained.model.eval()

    @classmethod
    def load(cls, name: str, path: str | os.PathLike[str], *, cpu: bool = False) -> TorchSource:
        """A saved model, of a run's folder or its own."""
        folder = model_folder(path)
        return cls(name, load_model(folder, cpu=cpu), _digest(folder))

    @classmethod
    def untuned(cls, name: str, settings: TrainSettings) -> TorchSource:
        """The encoder as training would begin with it."""
        torch.manual_seed(settings.seed)  # heads that nobody asks
        nothing = LabelSet("none", ("none",), ("nothing",))
        trained = TrainedModel.untrained(settings, nothing)
        return cls(name, trained, _digest(Path(settings.backbone_path())), untuned=True)

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings (n, H); texts longer than the encoder takes are cut there."""
        encoder, longest = self.trained.tokenizer.encoder, self.trained.tokenizer.longest
        tokens = encoder.tokenize(texts)
        out = np.zeros((len(texts), self.trained.model.encoder.config.hidden_size), dtype=np.float32)
        lengths = np.minimum(tokens.lengths + encoder.single_overhead, longest)
        for chosen in budget_batches(lengths, BUDGET):
            inputs = Inputs.of(
                encoder.texts(tokens, chosen, longest),
                segments=self.trained.tokenizer.segments,
                device=self.trained.device,
            )
            out[chosen] = self.trained.model.embed(inputs).float().cpu().numpy()
        return unit(out)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Of its own labels, (n, K)."""
        return self.trained.predict_proba(texts)

    @torch.no_grad()
    def definition_proba(self, texts: Sequence[str], definitions: Sequence[str]) -> Floats:
        """How likely each definition is one of the text beside it, (n,). Raises DataError without a definition head."""
        model, longest = self.trained.model, self.trained.tokenizer.longest
        if model.definition is None:
            raise DataError(f"{self.name} has no definition head; train one with the setup cdp")
        encoder = self.trained.tokenizer.encoder
        position = {text: number for number, text in enumerate(dict.fromkeys(definitions))}
        first, second = encoder.tokenize(texts), encoder.tokenize(list(position))
        labels = np.array([position[text] for text in definitions])
        lengths = first.lengths + second.lengths[labels] + encoder.pair_overhead
        out = np.zeros(len(texts), dtype=np.float32)
        for chosen in budget_batches(np.minimum(lengths, longest), BUDGET):
            padded = encoder.pairs(first, chosen, second, labels[chosen], longest)
            inputs = Inputs.of(padded, segments=takes_segments(model.encoder), device=self.trained.device)
            logits = model.definition(model.encode(inputs)[1])
            out[chosen] = torch.softmax(logits.float(), dim=-1)[:, 1].cpu().numpy()
        return out


def _digest(folder: Path) -> str:
    """A hash of a folder's weights; of the name where they are elsewhere (a model hub's)."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    if not files:
        return hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return hash_of_files(files)
