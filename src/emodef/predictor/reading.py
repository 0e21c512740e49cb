"""Texts through the graph: tokenised, cut into windows, computed side by side, each once. Imports numpy, encoding, engine, session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emodef.encoding import Encoder, Indices, Padded, Tokens
from emodef.errors import DataError
from emodef.predictor.engine import Block, block_slices, compute
from emodef.predictor.inputs import Texts, listed
from emodef.predictor.model_file import ModelInfo
from emodef.predictor.session import DEFINITION, EMBEDDING, PROBABILITIES, Graph
from emodef.predictor.windows import cut

if TYPE_CHECKING:
    from emodef.predictor.own import LayeredGraph

LEAST_ROOM = 8  # tokens that a definition must leave for the text

Progress = Callable[[int], None]


class Scored(NamedTuple):
    """Raw outputs of n texts, and how they were read.

    values: (n, K). tokens, windows: of each text, (n,). parts: number of a text that was read in several windows -> values of
    these, (windows, K), and the token each begins at, (windows,).
    """

    values: NDArray[np.float32]
    tokens: Indices
    windows: Indices
    parts: dict[int, tuple[NDArray[np.float32], Indices]]


class Reader:
    """A light model's raw outputs for texts; `Predictor` makes answers of them."""

    def __init__(self, info: ModelInfo, encoder: Encoder, graph: Graph | LayeredGraph) -> None:
        self.info, self.encoder, self.graph = info, encoder, graph

    @property
    def threads(self) -> int:
        """How many CPU cores it computes on."""
        return self.graph.threads

    def embed(self, texts: Texts, *, progress: Progress | None = None) -> NDArray[np.float32]:
        """Embeddings float32 (n, H): the mean of a text's token vectors, not normalised; (1, H) for one text."""
        return self.raw(listed(texts), output=EMBEDDING, progress=progress).values

    def definition_proba(
        self, texts: Sequence[str], definitions: Sequence[str], *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """How likely each definition defines an emotion of the text beside it, float32 (n,).

        Raises DataError for a model without the definition head, lists of different lengths, and a definition that leaves
        no room for a text.
        """
        if not self.info.definition_head:
            raise DataError("this model has no definition head; train one with the setup cdp and export it")
        first, second = listed(texts), listed(definitions)
        if len(first) != len(second):
            raise DataError(f"{len(first)} texts and {len(second)} definitions; give one for each text")
        out = np.zeros(len(first), dtype=np.float32)

        def done(block: Block) -> None:
            values = block.windows.mean(block.values[0])
            out[block.first : block.first + len(values)] = values

        tokenize = self.encoder.tokenize
        blocks = (
            self._pairs(rows.start, tokenize(first[rows]), tokenize(second[rows]))
            for rows in block_slices(first)
        )
        told = None if progress is None else lambda begun: progress(len(begun))
        self.compute(blocks, [DEFINITION], done, told)
        return out

    def block(self, tokens: Tokens, first: int = 0) -> Block:
        """Tokenised texts ready to compute, the long ones cut into windows; `first` is the number of the first."""
        windows = cut(tokens, self.room)

        def pad(chosen: Indices) -> Padded:
            return self.encoder.texts(windows.tokens, chosen, self.info.encoding.longest)

        return Block(first, windows, pad, self.encoder.single_overhead)

    @property
    def room(self) -> int:
        """Tokens of a window without special ones."""
        return self.info.encoding.window - self.encoder.single_overhead

    def _pairs(self, first: int, tokens: Tokens, definitions: Tokens) -> Block:
        encoding, overhead = self.info.encoding, self.encoder.pair_overhead
        longest = int(definitions.lengths.max(initial=0))
        if longest + overhead + LEAST_ROOM > encoding.longest:
            raise DataError(
                f"a definition of {longest} tokens leaves no room for a text in the {encoding.longest} the model takes; "
                "give a shorter one"
            )
        windows = cut(tokens, np.maximum(encoding.window - overhead - definitions.lengths, LEAST_ROOM))
        owner = np.repeat(np.arange(len(tokens)), windows.counts)

        def pad(chosen: Indices) -> Padded:
            return self.encoder.pairs(windows.tokens, chosen, definitions, owner[chosen], encoding.longest)

        return Block(first, windows, pad, overhead + definitions.lengths[owner])

    def raw(
        self,
        texts: Sequence[str],
        *,
        output: str = PROBABILITIES,
        parts: bool = False,
        progress: Progress | None = None,
    ) -> Scored:
        """An output of each text of a checked list, raw, and how it was read. A text that occurs again is computed once."""
        position: dict[str, int] = {}
        inverse = np.fromiter((position.setdefault(t, len(position)) for t in texts), np.int64, len(texts))
        unique = list(position) if len(position) < len(texts) else texts
        copies = np.bincount(inverse, minlength=len(unique))
        out = np.zeros((len(unique), self.graph.outputs[output]), dtype=np.float32)
        tokens, windows = np.zeros(len(unique), dtype=np.int64), np.zeros(len(unique), dtype=np.int64)
        found: dict[int, tuple[NDArray[np.float32], Indices]] = {}

        def done(block: Block) -> None:
            cuts = block.windows
            rows = slice(block.first, block.first + len(cuts.counts))
            out[rows] = cuts.mean(block.values[0])
            tokens[rows], windows[rows] = cuts.lengths, cuts.counts
            for i in np.flatnonzero(cuts.counts > 1) if parts else ():
                its = slice(cuts.first[i], cuts.first[i] + cuts.counts[i])
                found[block.first + int(i)] = block.values[0][its], cuts.starts[its]

        blocks = (
            self.block(self.encoder.tokenize(unique[rows]), rows.start) for rows in block_slices(unique)
        )
        told = None if progress is None else lambda begun: progress(int(copies[begun].sum()))
        self.compute(blocks, [output], done, told)
        if len(unique) == len(texts):
            return Scored(out, tokens, windows, found)
        every = {i: found[u] for i, u in enumerate(inverse.tolist()) if u in found} if found else {}
        return Scored(out[inverse], tokens[inverse], windows[inverse], every)

    def compute(
        self,
        blocks: Iterable[Block],
        outputs: Sequence[str],
        done: Callable[[Block], None],
        progress: Callable[[Indices], None] | None = None,
    ) -> None:
        """Run blocks through the graph; see `emodef.predictor.engine.compute`."""

        def run(batch: Padded, alone: bool) -> list[NDArray[np.float32]]:
            return self.graph.run(batch, outputs, alone=alone)

        compute(blocks, run, workers=self.graph.workers, done=done, progress=progress)
