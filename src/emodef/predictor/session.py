"""model.onnx in onnxruntime, for one text at once or many batches side by side. Imports onnxruntime, numpy, encoding, errors."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.encoding import Padded
from emodef.errors import DataError, SettingsError
from emodef.predictor.model_file import AGAIN


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C waits until the block is done. For an import that would tell it as a fault of its own."""
    before = signal.getsignal(signal.SIGINT)
    if (
        before is None or threading.current_thread() is not threading.main_thread()
    ):  # others are not interrupted
        yield
        return
    waiting: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting:
            signal.raise_signal(signal.SIGINT)


with undisturbed():
    import onnxruntime

PROBABILITIES, EMBEDDING, DEFINITION = "probabilities", "embedding", "definition"
CPU = "CPUExecutionProvider"
LONE_TOKENS = 64  # up to which a lone text is computed by one thread: sharing so little gains next to nothing
_INPUTS = {"input_ids": "input_ids", "attention_mask": "attention_mask", "token_type_ids": "segments"}
_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}

# where onnxruntime was there before emodef, which could not keep it silent then
if os.environ.get("ORT_DISABLE_TELEMETRY") == "1":
    onnxruntime.disable_telemetry_events()

_left_behind: list[
    Any
] = []  # sessions a fork took over: they have no threads there, and must never be closed


class Graph:
    """The graph of a light model, with its sessions made when they are first needed.

    Many batches are computed side by side, one thread each: no thread waits for another within an operation. So is a short
    text alone, which several threads would not make faster. A long one alone is computed by a session of its own whose
    operations share all threads. Safe to use from several threads; a forked process makes its own sessions.
    """

    def __init__(self, path: Path, *, threads: int, providers: Sequence[Any] | None = None) -> None:
        self.path, self.threads, self.providers = path, threads, providers
        self.on_cpu = providers is None or list(providers) == [CPU]
        self._process = os.getpid()
        self._sessions: dict[int, Any] = {}
        session = self._session(1 if self.on_cpu else threads)
        try:
            self._inputs = {
                node.name: (_INPUTS[node.name], _TYPES[node.type]) for node in session.get_inputs()
            }
        except KeyError as error:
            raise DataError(f"its inputs are not those of a light model ({error}); {AGAIN}", path) from None
        self.outputs = {node.name: node.shape[-1] for node in session.get_outputs()}

    @property
    def workers(self) -> int:
        """How many batches are worth computing side by side."""
        return self.threads if self.on_cpu else 1

    def run(self, batch: Padded, outputs: Sequence[str], *, alone: bool) -> list[NDArray[np.float32]]:
        """The outputs (batch, ...) named, of one batch; `alone` says that no other batch is computed beside it."""
        feed = {
            name: np.asarray(getattr(batch, attribute), dtype=kind)
            for name, (attribute, kind) in self._inputs.items()
        }
        shared = not self.on_cpu or (alone and batch.input_ids.size > LONE_TOKENS)
        session = self._session(self.threads if shared else 1)
        values: list[NDArray[np.float32]] = session.run(list(outputs), feed)
        return values

    def _session(self, threads: int) -> Any:
        if os.getpid() != self._process:
            _left_behind.append(self._sessions)
            self._sessions, self._process = {}, os.getpid()
        session = self._sessions.get(threads)
        if session is None:  # two threads may both make one; the second replaces the first, and either works
            session = self._sessions[threads] = self._open(threads)
        return session

    def _open(self, threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait for work by spinning take the core that a server, or the rest of the machine, needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The graph is fused as it should be; further levels may put SkipLayerNormalization back (train/quantization.py).
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.enable_mem_pattern = False  # remembers every shape it meets, and there are thousands
        options.log_severity_level = 4  # what goes wrong is raised, and need not be printed too
        if self.providers is not None:
            wanted = [name if isinstance(name, str) else name[0] for name in self.providers]
            available = onnxruntime.get_available_providers()
            if missing := [name for name in wanted if name not in available]:
                raise SettingsError(
                    f"onnxruntime here has no provider {missing[0]!r}; it has {', '.join(available)}"
                )
        try:
            return onnxruntime.InferenceSession(
                os.fspath(self.path), options, providers=list(self.providers or [CPU])
            )
        except Exception as error:  # onnxruntime's exceptions share no narrower class
            if not self.path.is_file():
                raise DataError(f"not found; {AGAIN}", self.path) from None
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"cannot be read as a graph ({reason}); {AGAIN}", self.path) from None


def usable_cores() -> int:
    """CPU cores this process may use: those it is bound to, less where a container's quota is smaller."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no quota, or not Linux
        return cores
