"""Figure 2's facts: the parts of a model and their sizes, read off the model itself. Imports the standard library only.

The model is an `emodef.train.model.DefinitionModel`; its modules and parameters are looked at, torch is not needed for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# head: the task it learns, as in a setup's name; what it is compared by
LOSSES = {
    "emotion": "binary cross-entropy",
    "match": "binary cross-entropy",
    "cdp": "cross-entropy",
    "mlm": "cross-entropy",
}
AUXILIARY = ("cdp", "mlm")
_HEADS = {
    "emotion": "emotion",
    "match": "match",
    "cdp": "definition",
    "mlm": "masked_words",
}  # task -> attribute


@dataclass(frozen=True)
class Layer:
    """A module with weights of its own: its class, and the shape of its first weight as inputs -> outputs, or as one size."""

    kind: str
    shape: tuple[int, ...]
    tied: bool = False

    def __str__(self) -> str:
        sizes = " → ".join(f"{size:,}" for size in self.shape)
        return f"{self.kind} {sizes}{' (the embeddings)' if self.tied else ''}"


@dataclass(frozen=True)
class Part:
    """A piece of the model. parameters: its own, those that it shares with the encoder (`tied`) aside."""

    name: str
    kind: str
    parameters: int
    layers: tuple[Layer, ...] = ()
    tied: int = 0


@dataclass(frozen=True)
class Input:
    """Tokens that go through the encoder together. sources: of each, 0 the text, 1 a definition, None a special token."""

    title: str
    tokens: tuple[str, ...]
    sources: tuple[int | None, ...]
    auxiliary: bool = False


@dataclass(frozen=True)
class Architecture:
    """A model as Figure 2 shows it.

    setup: its tasks; encoder: the shared part, `blocks` what it is made of, in order; heads: task -> its head;
    pooling: how the pooled vector is made, with `projection`, the parameters this takes beside the encoder, None where
    there are none. inputs: what goes in, in tokens as the tokenizer makes them.
    """

    backbone: str
    setup: str
    hidden: int
    encoder: Part
    blocks: tuple[Part, ...]
    pooling: str
    projection: Part | None
    heads: dict[str, Part]
    parameters: int
    p: float
    inputs: tuple[Input, ...] = ()


def architecture_of(
    model: Any, *, backbone: str, setup: str, p: float, inputs: Sequence[Input] = ()
) -> Architecture:
    """Read a DefinitionModel's parts and their sizes; every parameter is counted once, in the part it belongs to."""
    shared = {id(parameter): parameter for parameter in model.encoder.parameters()}
    heads = {}
    for task, attribute in _HEADS.items():
        module = getattr(model, attribute)
        if module is not None:
            heads[task] = _part(attribute, module, shared)
    counted = set(shared) | {
        id(parameter) for task in heads for parameter in getattr(model, _HEADS[task]).parameters()
    }
    rest = {name: parameter for name, parameter in model.named_parameters() if id(parameter) not in counted}
    projection = None
    if rest:
        module = model.get_submodule(next(iter(rest)).rpartition(".")[0])
        projection = Part(
            "pooling projection", type(module).__name__, _size(rest.values()), _layers(module, shared)
        )
    encoder = model.encoder
    return Architecture(
        backbone=backbone,
        setup=setup,
        hidden=int(encoder.config.hidden_size),
        encoder=Part("encoder", type(encoder).__name__, _size(shared.values())),
        blocks=tuple(_blocks(encoder)),
        pooling=model.pooling,
        projection=projection,
        heads=heads,
        parameters=_size({id(parameter): parameter for parameter in model.parameters()}.values()),
        p=p,
        inputs=tuple(inputs),
    )


def _part(name: str, module: Any, shared: dict[int, Any]) -> Part:
    own = [parameter for parameter in module.parameters() if id(parameter) not in shared]
    tied = [parameter for parameter in module.parameters() if id(parameter) in shared]
    return Part(name, type(module).__name__, _size(own), _layers(module, shared), _size(tied))


def _layers(module: Any, shared: dict[int, Any]) -> tuple[Layer, ...]:
    """Modules with parameters of their own, in order; those whose weight is the encoder's are said to be tied."""
    found = []
    for each in module.modules():
        own = dict(each.named_parameters(recurse=False))
        if not own:
            continue
        weight = own.get("weight")
        if weight is None:  # named numbers, such as a scale and a bias for each label
            found += [Layer(name, tuple(value.shape) or (1,)) for name, value in own.items()]
        else:
            found.append(Layer(type(each).__name__, tuple(reversed(weight.shape)), id(weight) in shared))
    return tuple(found)


def _blocks(encoder: Any) -> Iterable[Part]:
    """The encoder's children with parameters; a stack of equal layers is said with their number."""
    for name, child in encoder.named_children():
        size = _size(child.parameters())
        if not size:
            continue
        stack = next(
            (each for each in child.modules() if type(each).__name__ == "ModuleList" and len(each)), None
        )
        kind = type(child).__name__ if stack is None else f"{len(stack)} × {type(stack[0]).__name__}"
        yield Part(name, kind, size)


def _size(parameters: Iterable[Any]) -> int:
    return sum(int(parameter.numel()) for parameter in parameters)
