"""Graphs on the engines that can run them, and texts through them on one thread or several. Imports numpy, onnx, onnxruntime."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from emodef.encoding import Encoder, Indices, Tokens, budget_batches
from emodef.predictor.engine import TOKEN_BUDGET
from emodef.predictor.session import CPU, PROBABILITIES

Feeds = dict[str, NDArray[np.int64]]
Level = onnxruntime.GraphOptimizationLevel
LEVELS = {
    "none": Level.ORT_DISABLE_ALL,
    "basic": Level.ORT_ENABLE_BASIC,
    "extended": Level.ORT_ENABLE_EXTENDED,
    "all": Level.ORT_ENABLE_ALL,
}


class Engine(Protocol):
    """Runs one batch; may be asked by several threads at once."""

    def run(self, feeds: Mapping[str, NDArray]) -> NDArray[np.float32]:
        """Probabilities (batch, K)."""


@dataclass(frozen=True)
class OnnxRuntime:
    """How an onnxruntime session is made.

    level: of its own optimisation of the graph. entries: session configuration. attributes: of SessionOptions.
    """

    level: str = "basic"
    threads: int = 1
    entries: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> Any:
        """As onnxruntime takes them."""
        made = onnxruntime.SessionOptions()
        made.graph_optimization_level = LEVELS[self.level]
        made.intra_op_num_threads, made.inter_op_num_threads = self.threads, 1
        made.enable_mem_pattern = False
        made.log_severity_level = 4
        for key, value in self.entries.items():
            made.add_session_config_entry(key, value)
        for key, value in self.attributes.items():
            setattr(made, key, value)
        return made

    def session(self, model: onnx.ModelProto) -> Any:
        """onnxruntime's own session of the graph."""
        return onnxruntime.InferenceSession(model.SerializeToString(), self.options(), providers=[CPU])

    def load(self, model: onnx.ModelProto) -> Engine:
        """The graph, ready to run."""
        return _Session(self.session(model))


@dataclass(frozen=True)
class OpenVino:
    """How OpenVINO compiles a graph: one stream a thread.

    group: how many inputs share a scale when it rounds activations itself; 0: it does not.
    """

    threads: int = 1
    group: int = 0

    def load(self, model: onnx.ModelProto) -> Engine:
        """The compiled graph."""
        from io import BytesIO

        import openvino  # type: ignore[import-not-found]

        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.threads,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.group,
        }
        network = core.read_model(BytesIO(model.SerializeToString()))
        return _Compiled(core.compile_model(network, "CPU", options))


class _Session:
    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, feeds: Mapping[str, NDArray]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._session.run([PROBABILITIES], dict(feeds))[0]
        return found


class _Compiled:
    """An inference request of OpenVINO serves one thread."""

    def __init__(self, compiled: Any) -> None:
        self._compiled, self._own = compiled, threading.local()

    def run(self, feeds: Mapping[str, NDArray]) -> NDArray[np.float32]:
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        return np.array(request.infer(dict(feeds))[PROBABILITIES])


@dataclass(frozen=True)
class Batches:
    """Texts ready to run: batches, and whose they are."""

    chosen: list[Indices]
    feeds: list[Feeds]

    @classmethod
    def of(
        cls, encoder: Encoder, tokens: Tokens, chosen: Sequence[Indices], longest: int, segments: bool = False
    ) -> Batches:
        """Batches of chosen texts, in the order given."""
        feeds = []
        for rows in chosen:
            padded = encoder.texts(tokens, rows, longest)
            made = {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}
            feeds.append({**made, "token_type_ids": padded.segments} if segments else made)
        return cls(list(chosen), feeds)

    @classmethod
    def by_length(
        cls,
        encoder: Encoder,
        texts: Sequence[str],
        longest: int,
        *,
        budget: int = TOKEN_BUDGET,
        segments: bool = False,
    ) -> Batches:
        """All texts in batches of like lengths, as the predictor makes them."""
        tokens = encoder.tokenize(texts)
        lengths = np.minimum(tokens.lengths + encoder.single_overhead, longest)
        return cls.of(encoder, tokens, list(budget_batches(lengths, budget)), longest, segments)

    def run(self, engine: Engine, workers: int = 1) -> NDArray[np.float32]:
        """Probabilities (n, K), the batches shared among `workers` threads."""
        if workers == 1:
            found = [engine.run(feeds) for feeds in self.feeds]
        else:
            with ThreadPoolExecutor(workers) as pool:
                found = list(pool.map(engine.run, self.feeds))
        out = np.zeros(
            (1 + max(int(rows.max()) for rows in self.chosen), found[0].shape[1]), dtype=np.float32
        )
        for rows, values in zip(self.chosen, found, strict=True):
            out[rows] = values
        return out

    def seconds(self, engine: Engine, workers: int = 1) -> float:
        """How long they take."""
        start = time.perf_counter()
        self.run(engine, workers)
        return time.perf_counter() - start

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.chosen)

    @property
    def tokens(self) -> tuple[int, int]:
        """Real ones, and with padding."""
        real = sum(int(feeds["attention_mask"].sum()) for feeds in self.feeds)
        return real, sum(feeds["attention_mask"].size for feeds in self.feeds)
