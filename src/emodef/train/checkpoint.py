"""The saved model directory: save, load, predict with it. safetensors and JSON only, never pickle. Imports torch.

With "own" pooling, config.json and model.safetensors are the architecture's ForSequenceClassification, so that transformers' own
pipeline opens the directory; every other head is in heads.safetensors.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from emodef.atomic import behind_links
from emodef.encoding import budget_batches
from emodef.errors import DataError, EmodefError, SettingsError
from emodef.labels import LabelSet
from emodef.train.architectures import (
    TiedMaskedWordHead,
    load_network,
    new_masked_word_head,
    quiet_transformers,
)
from emodef.train.label_texts import definition_inputs
from emodef.train.model import SCORES, DefinitionModel, Inputs, MatchHead, _linear, build_model
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer
from emodef.train.versions import versions

FORMAT = 1
WEIGHTS = "model.safetensors"  # the network with its classifier
FILES = (
    "config.json",
    WEIGHTS,
    "heads.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "labels.json",
    "thresholds.json",
    "metrics.json",
)
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # what systems leave in folders that were looked at
AGAIN = "copy the whole model again, or train it again"


@dataclass
class TrainedModel:
    """A model with all that makes it answer: tokenizer, label set, settings, thresholds."""

    model: DefinitionModel
    tokenizer: TextTokenizer
    label_set: LabelSet
    settings: TrainSettings
    thresholds: dict[str, Any] = field(default_factory=dict)  # policy -> a number, or a number per label
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def untrained(cls, settings: TrainSettings, label_set: LabelSet) -> TrainedModel:
        """The model as training starts with it. Raises SettingsError for a backbone that cannot be loaded."""
        path = settings.backbone_path()
        try:
            tokenizer = TextTokenizer.load(path, settings.placeholders, emoji=settings.emoji)
            model = build_model(
                path,
                labels=len(label_set),
                pooling=settings.pooling,
                tasks=settings.tasks,
                vocabulary=tokenizer.size,
                new_tokens=tokenizer.new_tokens,
                dropout=settings.dropout,
                scale=settings.match_scale,
                bias=settings.match_bias,
                shared_bias=settings.match_shared_bias,
            )
        except (OSError, ValueError, SafetensorError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise SettingsError(
                f"backbone {settings.backbone!r} cannot be loaded: {reason} Give a folder with a transformers checkpoint, 'minilm', "
                "or a name on the model hub, which must be reachable"
            ) from error
        return cls(model, tokenizer, label_set, settings)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def predict_proba(
        self,
        texts: Sequence[str],
        *,
        scores: str | None = None,
        token_budget: int = 4096,
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Probabilities (n, K), input order kept, in float32 whatever the training precision.

        `scores` is "emotion", "match" or "mean"; by default the head the model was trained to answer with. Texts longer than the
        checkpoint's limit are cut there. `progress` is told how many texts each pass did.
        """
        which = scores or self.settings.scores
        if which not in SCORES or (which != "emotion" and self.model.match is None):
            raise DataError(
                f"scores = {which!r}: this model answers with {'any of ' + ', '.join(SCORES) if self.model.match else 'emotion'}"
            )
        training = self.model.training
        self.model.eval()
        try:
            definitions = self.embed_definitions() if which != "emotion" else None
            encoder, longest = self.tokenizer.encoder, self.tokenizer.longest
            tokens = encoder.tokenize(texts)
            out = np.zeros((len(texts), len(self.label_set)), dtype=np.float32)
            for chosen in budget_batches(
                np.minimum(tokens.lengths + encoder.single_overhead, longest), token_budget
            ):
                inputs = Inputs.of(
                    encoder.texts(tokens, chosen, longest),
                    segments=self.tokenizer.segments,
                    device=self.device,
                )
                out[chosen] = self.model.scores(inputs, definitions, which).float().cpu().numpy()
                if progress is not None:
                    progress(len(chosen))
            return out
        finally:
            self.model.train(training)

    @torch.no_grad()
    def embed_definitions(self) -> torch.Tensor:
        """The label definitions' embeddings, (K, hidden)."""
        given = definition_inputs(self.label_set, self.tokenizer, self.settings, self.device)
        return self.model.label_embeddings(given)

    def save(self, directory: str | os.PathLike[str], card: str = "") -> None:
        """Write the model directory, atomically: on any error, such as a full disk, what stood there still stands."""
        with replaced_directory(directory) as folder:
            network = self.model.network
            names = dict(enumerate(self.label_set.names))
            network.config.id2label, network.config.label2id = names, {v: k for k, v in names.items()}
            with quiet_transformers():
                network.save_pretrained(folder)
            # Copied, because a head may hold one tensor under two names, which safetensors refuses.
            heads = {
                n: t.clone(memory_format=torch.contiguous_format)
                for n, t in _head_tensors(self.model).items()
            }
            save_file(heads, folder / "heads.safetensors")
            self.tokenizer.tokenizer.save_pretrained(folder)
            about = {
                "format": FORMAT,
                "heads": sorted(_heads(self.model)),
                "own_masked_word_head": self.model.masked_words is not None
                and not isinstance(self.model.masked_words, TiedMaskedWordHead),
                "settings": self.settings.model_dump(),
                "versions": versions(),
            }
            for name, content in (
                ("labels.json", self.label_set.to_dict()),
                ("thresholds.json", self.thresholds),
                ("metrics.json", self.metrics),
                ("emodef.json", about),
            ):
                (folder / name).write_text(
                    json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
                )
            (folder / "README.md").write_text(card, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | os.PathLike[str], device: str | torch.device = "cpu") -> TrainedModel:
        """Read a model directory. DataError says which file is missing, damaged or of another format, and what to do."""
        folder = Path(directory)
        about_file, heads_file = folder / "emodef.json", folder / "heads.safetensors"
        about = _read_json(about_file)
        if about.get("format") != FORMAT:
            raise DataError(
                f"format {about.get('format')!r}, this emodef reads {FORMAT}; install a matching release",
                about_file,
            )
        for name in FILES:
            if not (folder / name).is_file():
                raise DataError(f"not found: the model there is not whole; {AGAIN}", folder / name)
        label_set = LabelSet.from_dict(_read_json(folder / "labels.json"), source=str(folder / "labels.json"))
        for name in ("config.json", "tokenizer_config.json"):  # only to name them if they are damaged
            _read_json(folder / name)
        thresholds, metrics = (_read_json(folder / name) for name in ("thresholds.json", "metrics.json"))
        with _reading(about_file):
            settings, heads = TrainSettings(**about["settings"]), set(about["heads"])
            own_masked_words = bool(about["own_masked_word_head"])
        with _reading(folder / "tokenizer.json"):
            tokenizer = TextTokenizer.load(folder, emoji=settings.emoji)
        # First weights are drawn, to be overwritten: not from the caller's random numbers.
        with torch.random.fork_rng(devices=[]):
            with _reading(folder / WEIGHTS):
                network = load_network(str(folder), len(label_set), settings.pooling, whole=True)
            hidden = network.config.hidden_size
            masked_words = None
            if "masked_words" in heads:
                masked_words = new_masked_word_head(network.base_model, own_masked_words)
            model = DefinitionModel(
                network,
                labels=len(label_set),
                pooling=settings.pooling,
                definition=_linear(hidden, 2) if "definition" in heads else None,
                masked_words=masked_words,
                match=MatchHead(len(label_set), shared_bias=settings.match_shared_bias)
                if "match" in heads
                else None,
            )
        with _reading(heads_file):
            stored = load_file(heads_file)
        wanted = _head_tensors(model)
        for name in sorted(stored.keys() | wanted.keys()):
            found, needed = (tuple(t[name].shape) if name in t else "nothing" for t in (stored, wanted))
            if found != needed:
                raise DataError(f"{name} is {found} where this model has {needed}; {AGAIN}", heads_file)
        with torch.no_grad():
            for name, tensor in stored.items():
                wanted[name].copy_(tensor)
        model.to(device).eval()
        return cls(model, tokenizer, label_set, settings, thresholds, metrics)


def check_free(out: str | os.PathLike[str], mark: str, what: str, files: Collection[str]) -> None:
    """Raise SettingsError where `out` cannot be replaced: it holds anything but `what`, which has a file named `mark` and only `files`.

    Nor can the folder that one is in, or one where a disk is mounted.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder} is a file; give a folder (--out)")
    if not folder.is_dir():
        return
    held = sorted(path.name for path in folder.iterdir() if path.name not in _LITTER)
    if held and mark not in held:
        raise SettingsError(f"{folder} holds something else than {what}; give another folder (--out)")
    if others := [name for name in held if name not in files]:
        raise SettingsError(
            f"{folder} holds {what} and {others[0]}, which would be gone if it were replaced; move that away, or give another folder "
            "(--out)"
        )
    is_mount = os.path.ismount(os.path.realpath(folder))
    if is_mount or folder.samefile(Path.cwd()):
        what_it_is = "where a disk is mounted" if is_mount else "the folder you are in"
        raise SettingsError(
            f"{folder} is {what_it_is}, which cannot be replaced; give a folder in it (--out)"
        )


class replaced_directory:
    """Context manager: a new folder beside `target` that takes its place when the block succeeds, and vanishes when it does not."""

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self.target = behind_links(target)

    def __enter__(self) -> Path:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.folder = self.target.with_name(f".{self.target.name}.{secrets.token_hex(4)}.part")
        self.folder.mkdir()
        return self.folder

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self._replace()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _replace(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file():
                with path.open("r+b") as handle:  # Windows flushes only what is open for writing
                    os.fsync(handle.fileno())
        aside = self.folder.with_suffix(".old")
        if replacing := self.target.exists():
            os.replace(self.target, aside)
        try:
            os.replace(self.folder, self.target)
        except BaseException:
            if replacing:
                os.replace(aside, self.target)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _heads(model: DefinitionModel) -> dict[str, torch.nn.Module]:
    heads = {
        "emotion": model._emotion,
        "definition": model.definition,
        "masked_words": model.masked_words,
        "match": model.match,
    }
    return {name: head for name, head in heads.items() if head is not None}


def _head_tensors(model: DefinitionModel) -> dict[str, torch.Tensor]:
    """The heads' own parameters by name; what they share with the encoder (tied embeddings) is in the network's file.

    A tensor that a head holds under two names is here under both, so that it does not matter which of them are shared.
    """
    shared = {id(p) for p in model.network.parameters()}
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not name.startswith("network.") and id(parameter) not in shared
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            "not found; a model directory is written by 'emodef train' (RUN/model)", path
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"not readable as JSON ({error}); {AGAIN}", path) from None
    if not isinstance(content, dict):
        raise DataError(f"holds no JSON object; {AGAIN}", path)
    return content


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong inside into a DataError about `path`."""
    try:
        yield
    except EmodefError:
        raise
    except Exception as error:  # tokenizers raises no narrower class
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(f"cannot be read ({reason}); {AGAIN}", path) from error
