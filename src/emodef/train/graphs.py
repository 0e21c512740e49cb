"""CUDA graphs: work on batches of a few shapes, recorded once each and replayed from then on. Imports torch.

A step of a small encoder is very many kernels of microseconds each, and a processor cannot launch them as fast as a large GPU
does them. A recorded step is launched at once. What it reads and writes stays where it was when it was recorded: so each new batch is
copied into the recorded one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from emodef.errors import SettingsError

PLAIN = "EMODEF_PLAIN_STEPS"  # environment variable: 1 where nothing is to be recorded
MULTIPLE = 8  # lengths are padded to one of it: some more padding, and few shapes to record
MOST = 128  # shapes that are recorded; further ones are done as they come

Batch = TypeVar("Batch")
Replay = Callable[[], None]
Record = Callable[[Callable[[], None], Callable[[], None]], Replay]  # (rehearsal, work) -> replay


class Recorded(Generic[Batch]):
    """Work on batches, recorded for each shape when that comes for the second time (some come once only).

    record: how a function is recorded, by default as a CUDA graph. What is recorded is given anew with each call, and not kept: who keeps
    this would keep itself.
    """

    def __init__(self, record: Record | None = None) -> None:
        self._record = record or CudaGraphs().record
        self._seen: set[object] = set()
        self._made: dict[object, tuple[list[Tensor], Replay, list[Tensor]]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def __call__(
        self,
        batch: Batch,
        seed: int,
        *,
        work: Callable[[Batch], Tensor],
        rehearse: Callable[[Batch], object],
        forget: Callable[[], None],
    ) -> Tensor:
        """What `work` gives for the batch, its random numbers drawn from `seed`. The next batch of this shape may overwrite it.

        batch: made of dataclasses, lists and tensors on one device. work: always the same. It must not ask the device for anything (no
        `.item()`), and what it changes it must change in place. rehearse: does what `work` does but leaves nothing changed that lasts.
        forget: takes away what earlier work left in memory that is not to be found again, such as gradients.
        Raises SettingsError where it cannot be recorded.
        """
        key = shape_of(batch)
        if key not in self._made:
            if key not in self._seen or len(self._made) >= MOST:
                self._seen.add(key)
                torch.manual_seed(seed)
                return work(batch)
            self._made[key] = self._recording(copied(batch), work, rehearse, forget)
        inputs, replay, outputs = self._made[key]
        for place, given in zip(inputs, tensors(batch), strict=True):
            place.copy_(given)
        torch.manual_seed(seed)  # after a recording, which draws too
        replay()
        return outputs[0]

    def _recording(
        self,
        kept: Batch,
        work: Callable[[Batch], Tensor],
        rehearse: Callable[[Batch], object],
        forget: Callable[[], None],
    ) -> tuple[list[Tensor], Replay, list[Tensor]]:
        outputs: list[Tensor] = []

        def rehearsal() -> None:
            rehearse(kept)
            forget()

        def recorded() -> None:
            outputs[:] = [work(kept)]

        forget()
        try:
            replay = self._record(rehearsal, recorded)
        except RuntimeError as error:
            # CUDA's errors, memory that is full: this process's CUDA is not to be used further
            raise SettingsError(
                f"the steps could not be recorded on this GPU ({str(error).splitlines()[0]}); go on without recording: set the environment "
                f"variable {PLAIN}=1, and resume"
            ) from error
        forget()
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
        # other threads may use the GPU meanwhile
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay


def tensors(batch: Any) -> list[Tensor]:
    """The tensors of a batch made of dataclasses, lists and tensors, in their order."""
    if isinstance(batch, Tensor):
        return [batch]
    return [tensor for part in _parts(batch) for tensor in tensors(part)]


def shape_of(batch: Any) -> object:
    """What batches have in common that one recording does for: their kind, what is in them, and each tensor's shape and type."""
    if isinstance(batch, Tensor):
        return tuple(batch.shape), batch.dtype
    if isinstance(batch, str):
        return batch
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
