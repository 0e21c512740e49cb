"""Own labels over a predictor: encoded definitions as a head, beside labels that keep their own probabilities. Imports head, unseen.

A `Layer` says which labels and how they are scored; it holds no graph, and so can be sent to another process. `LayeredGraph` is a
graph to the rest of the predictor, whose probabilities are the layer's. Every text is still read once, whatever the number of labels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emodef.definitions import Definitions, Labels, read_labels
from emodef.encoding import Padded
from emodef.errors import DataError, LabelSetError, SettingsError
from emodef.labels import LabelSet
from emodef.predictor import merging
from emodef.predictor.head import Floats, HeadInfo, LabelHead, hash_of, unit
from emodef.predictor.inputs import listed
from emodef.predictor.model_file import ModelInfo
from emodef.predictor.session import EMBEDDING, PROBABILITIES, Graph
from emodef.predictor.unseen import (
    DEFAULT,
    OF_TRAINED,
    POLICIES,
    Policy,
    Trained,
    combined,
    name_of,
    of_examples,
    policy_of,
)

if TYPE_CHECKING:
    from emodef.predictor.core import Predictor

AS_TEXT = "{name}: {definition}"  # what is encoded for a label where the model says nothing else
ORDINARY = Path(__file__).parent / "ordinary.txt"
REMEMBERED = 512  # background texts up to which their embeddings are
OWN = -1  # in Layer.taken: not of the layer below


@dataclass(frozen=True, eq=False)
class Layer:
    """Labels over those of a predictor, the layer below.

    info: what the predictor says of itself with them. taken: for each label its place among the labels below, whose probability it
    keeps, or OWN. head: of those that are OWN, in order. identity: what tells it from other layers.
    """

    info: ModelInfo
    head: LabelHead
    taken: tuple[int, ...]
    identity: str

    def over(self, below: Predictor) -> Predictor:
        """The predictor with these labels. Raises DataError for a head of another width than the embeddings."""
        width = below.graph.outputs[EMBEDDING]
        if self.head.weight.shape[1] != width:
            raise DataError(
                f"a head for embeddings of {self.head.weight.shape[1]} numbers, and this model's have {width}"
            )
        graph = LayeredGraph(below.graph, self)
        return type(below)(self.info, below.encoder, graph, below=below, layer=self)


class LayeredGraph:
    """The graph below, with the probabilities of a layer in place of its own; every other output is as it was."""

    def __init__(self, graph: Graph | LayeredGraph, layer: Layer) -> None:
        self.graph, self.head = graph, layer.head
        taken = np.array(layer.taken, dtype=np.int64)
        self._kept, self._own = np.flatnonzero(taken != OWN), np.flatnonzero(taken == OWN)
        self._source = taken[self._kept]
        self.outputs: dict[str, int] = {**graph.outputs, PROBABILITIES: len(taken)}
        self._needed = [EMBEDDING] * (len(self._own) > 0) + [PROBABILITIES] * (len(self._kept) > 0)

    @property
    def path(self) -> Path:
        """Of the graph's file."""
        return self.graph.path

    @property
    def threads(self) -> int:
        """Of the graph below."""
        return self.graph.threads

    @property
    def workers(self) -> int:
        """Of the graph below."""
        return self.graph.workers

    def run(self, batch: Padded, outputs: Sequence[str], *, alone: bool) -> list[Floats]:
        """As `Graph.run`."""
        if PROBABILITIES not in outputs:
            return self.graph.run(batch, outputs, alone=alone)
        others = [name for name in outputs if name != PROBABILITIES]
        names = list(dict.fromkeys([*self._needed, *others]))
        found = dict(zip(names, self.graph.run(batch, names, alone=alone), strict=True))
        return [self._probabilities(found) if name == PROBABILITIES else found[name] for name in outputs]

    def _probabilities(self, found: dict[str, Floats]) -> Floats:
        if not len(self._kept):
            return self.head.probabilities(found[EMBEDDING])
        out = np.empty((len(found[PROBABILITIES]), self.outputs[PROBABILITIES]), dtype=np.float32)
        out[:, self._kept] = found[PROBABILITIES][:, self._source]
        if len(self._own):
            out[:, self._own] = self.head.probabilities(found[EMBEDDING])
        return out


def with_labels(
    predictor: Predictor,
    labels: Labels | None,
    known: bool | Sequence[str],
    policy: str | Policy | None,
    background: Sequence[str] | None,
) -> Predictor:
    """See `Predictor.with_labels`."""
    given = None if background is None else listed(background)  # once: it may be an iterator
    if given == []:
        raise SettingsError("background holds no text; give a few hundred, or leave it out")
    definitions = None if labels is None else read_labels(labels)
    below = predictor.info
    chosen = _known(definitions, below, known)
    own = () if definitions is None else definitions.names
    first = [below.label_set.index(name) if name in chosen else OWN for name in own]
    taken = (*first, *(below.label_set.index(name) for name in chosen if name not in own))
    if not taken:
        raise SettingsError(
            "no labels to score; give definitions, or say which of the model's labels (known)"
        )
    rows = [k for k, place in enumerate(first) if place == OWN]
    if definitions is not None and definitions.label_set.exclusive and len(rows) < len(taken):
        _refuse_several(below.label_set, taken)
        if rows and any(layer.head.exclusive for layer in predictor.layers):
            raise SettingsError(
                "the fitted head's labels share their probabilities among themselves, which cannot be ranked against own labels'; fit all "
                "of them together (emodef fit), or leave the head's out (known)"
            )
    root, chooser = predictor.root, policy_of(DEFAULT if policy is None else policy)
    guess_thresholds: NDArray[np.float64] = np.zeros(0)
    head = LabelHead(np.zeros((0, root.graph.outputs[EMBEDDING]), np.float32), np.zeros(0, np.float32))
    if definitions is not None and rows:
        texts = ordinary() if given is None else given
        trained = _trained(root, None if chooser in OF_TRAINED else texts)
        vectors, defined = describe(root, definitions, rows)
        bias, guess_thresholds = chooser(defined, trained)
        if any(definitions.examples[k] for k in rows):
            bias = bias - of_examples(vectors, defined, trained.scale, _background(root, texts))
        # beside known labels of an exclusive model, their kind of score
        exclusive = definitions.label_set.exclusive and len(rows) == len(taken)
        head = LabelHead(vectors * np.float32(trained.scale), bias, exclusive)
    label_set = merging.merged_set(definitions, below.label_set, taken)
    thresholds = merging.merged_thresholds(definitions, below, label_set, taken, guess_thresholds)
    told = [
        label_set.to_dict(),
        None if definitions is None else [definitions.definitions, definitions.examples],
        thresholds,
        taken,
        name_of(chooser),
        None if given is None else _digest(given),
    ]
    if callable(policy) and not isinstance(policy, partial) and policy not in POLICIES.values():
        # a function's name does not tell what it does
        told.append(np.round(head.bias.astype(np.float64), 2).tolist())
    # fitted on labelled texts: of labels that were only defined there is none
    curves = None if rows or below.calibration is None else merging.of_labels(below.calibration, taken)
    info = replace(
        below, label_set=label_set, thresholds=thresholds, calibration=curves, match=None, scores="match"
    )
    return Layer(info, head, tuple(taken), _digest(told)).over(predictor)


def with_head(predictor: Predictor, head: LabelHead, told: HeadInfo) -> Predictor:
    """See `Predictor.with_head`."""
    if len(head) != len(told.label_set):
        raise DataError(f"{len(head)} labels in the head and {len(told.label_set)} in its label set")
    root = predictor.root
    info = replace(
        root.info,
        label_set=told.label_set,
        thresholds=told.thresholds,
        calibration=None,
        match=None,
        scores="match",
        about={**root.info.about, **told.about},
    )
    content = [told.to_dict(), hashlib.sha256(head.weight.tobytes() + head.bias.tobytes()).hexdigest()]
    return Layer(info, head, (OWN,) * len(head), _digest(content)).over(root)


def load_head(base: Predictor, folder: Path, head: LabelHead, info: HeadInfo) -> Predictor:
    """A fitted head on its base. Raises DataError where that is not the model it was fitted on."""
    if hash_of(base.graph.path) != info.base_hash:
        which = "the model that emodef brings" if base.graph.path.parent != folder else str(base.graph.path)
        raise DataError(
            f"was fitted on another model than {which} is now; install the emodef it was fitted with "
            f"({info.about.get('emodef', 'see its card')}), or fit it again with: emodef fit",
            folder,
        )
    return with_head(base, head, info)


def whole_head(predictor: Predictor) -> LabelHead | None:
    """See `Predictor.head`."""
    layer, below, match = predictor.layer, predictor.below, predictor.info.match
    if layer is None or below is None:
        if match is None:
            return None
        vectors = encode(predictor, Definitions.of(predictor.label_set))
        return LabelHead(vectors * np.float32(match.scale), np.array(match.bias))
    if all(place == OWN for place in layer.taken):
        return layer.head
    under = whole_head(below)
    if under is None:
        return None
    count, width = len(layer.taken), under.weight.shape[1]
    weight, bias = np.empty((count, width), np.float32), np.empty(count, np.float32)
    own = iter(range(len(layer.head)))
    for k, place in enumerate(layer.taken):
        source, row = (layer.head, next(own)) if place == OWN else (under, place)
        weight[k], bias[k] = source.weight[row], source.bias[row]
    return LabelHead(weight, bias)


def encode(predictor: Predictor, definitions: Definitions, rows: Sequence[int] | None = None) -> Floats:
    """Unit vectors (K, H) of labels, or of some of them, from all that is said of each; see `describe`."""
    return describe(predictor, definitions, rows)[0]


def describe(
    predictor: Predictor, definitions: Definitions, rows: Sequence[int] | None = None
) -> tuple[Floats, Floats]:
    """Labels, or some of them, as unit vectors (K, H): the mean over definitions and examples, and over definitions alone.

    Each text is encoded once and remembered.
    """
    root = predictor.root
    match = root.info.match
    pattern = AS_TEXT if match is None else match.text
    texts = [definitions.texts(k, pattern) for k in (range(len(definitions)) if rows is None else rows)]
    vectors = _encoded(root, [text for written, examples in texts for text in (*written, *examples)])
    whole = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
    defined, at = np.empty_like(whole), 0
    for place, (written, examples) in enumerate(texts):
        end = at + len(written) + len(examples)
        defined[place] = combined(vectors[at : at + len(written)])
        whole[place] = combined(vectors[at:end]) if examples else defined[place]
        at = end
    return whole, defined


def _encoded(root: Predictor, texts: list[str]) -> Floats:
    """Embeddings (n, H), computed once for each text."""
    listed(texts)
    found = {text: root.encodings.get(text) for text in texts}
    missing = [text for text, vector in found.items() if vector is None]
    if missing:
        for text, vector in zip(missing, root.embed(missing), strict=True):
            found[text] = vector
            root.encodings.put(text, vector)
    vectors = [vector for text in texts if (vector := found[text]) is not None]
    return np.stack(vectors) if vectors else np.zeros((0, root.graph.outputs[EMBEDDING]), np.float32)


def _trained(root: Predictor, background: list[str] | None) -> Trained:
    info = root.info
    if info.match is None:
        beside = (
            "; what it has is a definition head (Predictor.definition_proba)" if info.definition_head else ""
        )
        raise SettingsError(
            f"this model never learned to compare texts with definitions{beside}. Use one that was trained with the setup match, "
            "as the model that emodef brings, or fit a head on labelled texts: emodef fit"
        )
    tuned = info.thresholds.get("tuned", {}).get(info.label_set.name)
    return Trained(
        scale=info.match.scale,
        biases=np.array(info.match.bias, dtype=np.float32),
        fixed=float(info.thresholds["fixed"]),
        tuned=None if tuned is None else np.array(tuned, dtype=np.float64),
        encode=lambda: encode(root, Definitions.of(info.label_set)),
        background=None if background is None else _background(root, background),
    )


def _background(root: Predictor, texts: list[str]) -> Floats:
    """Unit embeddings; those of the sentences that emodef brings are remembered, a user's may be many."""
    return unit(_encoded(root, texts) if len(texts) <= REMEMBERED else root.embed(texts))


def ordinary() -> list[str]:
    """Sentences such as people write, about anything: the background where a user gives none."""
    return ORDINARY.read_text(encoding="utf-8").splitlines()


def _known(definitions: Definitions | None, below: ModelInfo, known: bool | Sequence[str]) -> list[str]:
    """The names of the model's labels that are wanted. Raises LabelSetError for unknown ones and clashes."""
    labels = below.label_set
    if isinstance(known, str):
        known = [known]
    if not isinstance(known, bool):
        return list(dict.fromkeys(labels.names[labels.index(name)] for name in known))
    if not known:
        return []
    folded = {name.casefold() for name in labels.names}
    clash = [name for name in (definitions.names if definitions else ()) if name.casefold() in folded]
    if clash:
        raise LabelSetError(
            f"{', '.join(map(repr, clash))}: in your labels and among the model's; rename yours, or name those of the model's that "
            "you want: a label of both is then scored as the model learned it"
        )
    return list(labels.names)


def _refuse_several(known: LabelSet, taken: Sequence[int]) -> None:
    """Raise SettingsError where known labels, of which a text may have several, stand beside those of which it has one."""
    if not known.exclusive:
        names = [known.names[place] for place in taken if place != OWN]
        shown = ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
        raise SettingsError(
            f"your labels have exclusive = true, one label a text, and of the model's ({shown}) a text may have several; take "
            "exclusive = true out, or leave the model's labels out and define them in your file"
        )


def key_of(labels: Any, known: bool | Sequence[str]) -> Any:
    """What tells the labels of a call from those of another; plain definitions are not read again."""
    if isinstance(labels, dict) and all(isinstance(value, str) for value in labels.values()):
        first: Any = tuple(labels.items())
    else:
        first = read_labels(labels)
    return first, known if isinstance(known, (bool, str)) else tuple(known)


def _digest(content: Any) -> str:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, default=os.fspath)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
