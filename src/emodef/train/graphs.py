"""CUDA graphs: work on batches of a few shapes, recorded once each and replayed from then on. Imports torch.

A step of a small encoder is a thousand kernels of some microseconds each, and a processor cannot launch them as fast as a large GPU
does them. A recorded step is launched at once. What it reads and writes stays where it was when it was recorded: so each new batch is
copied into the recorded one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

MULTIPLE = 8  # lengths are padded to one of it: some more padding, and few shapes to record
MOST = 128  # shapes that are recorded; further ones are done as they come

Batch = TypeVar("Batch")
Replay = Callable[[], None]
Record = Callable[[Callable[[], None], Callable[[], None]], Replay]  # (rehearsal, work) -> replay


class Recorded(Generic[Batch]):
    """`work` on batches, recorded for each shape when that comes for the second time (some come once only).

    work: from a batch, made of dataclasses, lists and tensors on one device, to a tensor. It must not ask the device for anything (no
    `.item()`), and what it changes it must change in place. rehearse: does what `work` does but leaves nothing changed that lasts.
    forget: takes away what earlier work left in memory that is not to be found again, such as gradients. record: how a function
    is recorded, by default as a CUDA graph.
    """

    def __init__(
        self,
        work: Callable[[Batch], Tensor],
        rehearse: Callable[[Batch], object],
        *,
        forget: Callable[[], None],
        record: Record | None = None,
    ) -> None:
        self.work, self.rehearse, self.forget = work, rehearse, forget
        self._record = record or CudaGraphs().record
        self._seen: set[object] = set()
        self._made: dict[object, tuple[list[Tensor], Replay, list[Tensor]]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def __call__(self, batch: Batch, seed: int) -> Tensor:
        """What `work` gives for the batch, its random numbers drawn from `seed`. The next batch of this shape may overwrite it."""
        key = shape_of(batch)
        if key not in self._made:
            if key not in self._seen or len(self._made) >= MOST:
                self._seen.add(key)
                torch.manual_seed(seed)
                return self.work(batch)
            self._made[key] = self._recording(batch)
        inputs, replay, outputs = self._made[key]
        for place, given in zip(inputs, tensors(batch), strict=True):
            place.copy_(given)
        torch.manual_seed(seed)  # after a recording, which draws too
        replay()
        return outputs[0]

    def _recording(self, batch: Batch) -> tuple[list[Tensor], Replay, list[Tensor]]:
        kept = copied(batch)
        outputs: list[Tensor] = []

        def rehearsal() -> None:
            self.rehearse(kept)
            self.forget()

        def work() -> None:
            outputs[:] = [self.work(kept)]

        self.forget()
        replay = self._record(rehearsal, work)
        self.forget()
        return tensors(kept), replay, outputs


class CudaGraphs:
    """Records functions as CUDA graphs that share one pool of memory: never replay two of them at once."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def record(self, rehearsal: Callable[[], None], work: Callable[[], None]) -> Replay:
        """Run `rehearsal` (libraries set themselves up in a first call, which cannot be recorded), record `work` without running it."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            rehearsal()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        return graph.replay


def tensors(batch: Any) -> list[Tensor]:
    """The tensors of a batch made of dataclasses, lists and tensors, in their order."""
    if isinstance(batch, Tensor):
        return [batch]
    return [tensor for part in _parts(batch) for tensor in tensors(part)]


def shape_of(batch: Any) -> object:
    """What batches have in common that one recording does for: their kind, what is in them, and each tensor's shape."""
    if isinstance(batch, Tensor):
        return tuple(batch.shape)
    return type(batch).__name__, tuple(map(shape_of, _parts(batch)))


def copied(batch: Any) -> Any:
    """The batch anew, with tensors of its own."""
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, list | tuple):
        return type(batch)(map(copied, batch))
    if is_dataclass(batch) and not isinstance(batch, type):
        return type(batch)(**{field.name: copied(getattr(batch, field.name)) for field in fields(batch)})
    return batch


def _parts(batch: Any) -> list[Any]:
    if isinstance(batch, list | tuple):
        return list(batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in fields(batch)]
    return []
