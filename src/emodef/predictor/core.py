"""Predictor: an exported model that answers for texts. Imports numpy, tokenizers and, through `session`, onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from emodef.encoding import Encoder, Indices, Padded, Tokens
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.predictor.decisions import Threshold, choose, coarsen, labels_of, resolve_thresholds
from emodef.predictor.engine import Block, block_slices, compute
from emodef.predictor.inputs import Texts, listed
from emodef.predictor.model_file import AGAIN, MODEL, TOKENIZER, ModelInfo, find
from emodef.predictor.prediction import Label, Part, Prediction
from emodef.predictor.session import DEFINITION, EMBEDDING, PROBABILITIES, Graph, usable_cores
from emodef.predictor.windows import cut

if TYPE_CHECKING:
    from emodef.predictor.explain import Explanation

SHIPPED = Path(__file__).parent.parent / "pretrained"
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


class Predictor:
    """A light model: texts in, emotions out, without torch.

    Any text gets an answer. An empty one, or one that holds nothing the tokenizer sees (whitespace, control characters), gets
    the model's answer to no words at all, and its prediction says `tokens == 0`; skip it, or keep it as a row like the others.
    A text longer than the model's window is read in overlapping windows and never cut. What is no text (None, bytes, a number)
    and broken Unicode (half of a surrogate pair) is a DataError that names the text by its number.

    Many threads may share one predictor. A process forked from this one may go on using it: it opens the model anew.
    """

    def __init__(self, info: ModelInfo, encoder: Encoder, graph: Graph) -> None:
        self.info, self.encoder, self.graph = info, encoder, graph

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        providers: Sequence[Any] | None = None,
    ) -> Predictor:
        """Load the shipped model, an exported directory, or a run's folder that holds one.

        threads: how many CPU cores to compute on, by default all that this process may use. providers: onnxruntime's, such as
        ["CUDAExecutionProvider"]; by default the CPU. Raises DataError for a model that is missing, damaged or of another
        format, SettingsError for an option that does not fit.
        """
        if threads is not None and threads < 1:
            raise SettingsError(f"threads = {threads}: give at least 1")
        if path is None and not (SHIPPED / MODEL).exists():
            raise DataError("this installation brings no model; name one that 'emodef export' wrote")
        folder = find(SHIPPED if path is None else path)
        info = ModelInfo.read(folder)
        graph = Graph(folder / MODEL, threads=threads or usable_cores(), providers=providers)
        _check_outputs(graph, info)
        return cls(info, _read_tokenizer(folder / TOKENIZER, info), graph)

    @property
    def label_set(self) -> LabelSet:
        """The labels it predicts."""
        return self.info.label_set

    @property
    def threads(self) -> int:
        """How many CPU cores it computes on."""
        return self.graph.threads

    @overload
    def predict(  # type: ignore[overload-overlap]  # a text is an iterable of texts, too, as far as types go
        self,
        texts: str,
        *,
        threshold: Threshold = None,
        at_least_one: bool = False,
        level: str | None = None,
        calibrated: bool = False,
        progress: Progress | None = None,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        texts: Iterable[str],
        *,
        threshold: Threshold = None,
        at_least_one: bool = False,
        level: str | None = None,
        calibrated: bool = False,
        progress: Progress | None = None,
    ) -> list[Prediction]: ...

    def predict(
        self,
        texts: Texts,
        *,
        threshold: Threshold = None,
        at_least_one: bool = False,
        level: str | None = None,
        calibrated: bool = False,
        progress: Progress | None = None,
    ) -> Prediction | list[Prediction]:
        """The labels of one text, or a list of predictions for several, in their order.

        threshold: "tuned" (each label's own, from dev; the default where there are), "fixed", a number, or one for each label.
        at_least_one: where no label passes, give the likeliest. level: a coarser label set's name, such as "ekman".
        calibrated: show calibrated probabilities; which labels are predicted is decided on the raw ones all the same.
        Raises SettingsError or LabelSetError for options that do not fit the model, DataError for what is no text.
        """
        thresholds = resolve_thresholds(threshold, level, self.info)
        names = labels_of(level, self.info).names
        to_show = self._to_show(calibrated, level)
        given = listed(texts)
        raw, tokens, windows, parts = self.score(given, parts=True, progress=progress)
        chosen = choose(coarsen(raw, level, self.info), thresholds, at_least_one)
        shown = to_show(raw)
        found = []
        for i, (values, predicted) in enumerate(zip(shown, chosen, strict=True)):
            best = sorted(np.flatnonzero(predicted).tolist(), key=lambda k: -values[k])
            labels = tuple(Label(names[k], float(values[k])) for k in best)
            read: tuple[Part, ...] = ()
            if i in parts:
                scores, starts = parts[i]
                read = self._parts(given[i], starts, to_show(scores), names)
            found.append(Prediction(given[i], labels, values, names, int(tokens[i]), int(windows[i]), read))
        return found[0] if isinstance(texts, str) else found

    def predict_proba(
        self,
        texts: Texts,
        *,
        calibrated: bool = False,
        level: str | None = None,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Probabilities float32 (n, K), in the order of texts and labels; (1, K) for one text.

        They are raw, as thresholds need them; calibrated=True gives what to read as "how likely", by curves fitted on dev
        (SettingsError where the model has none). level: a coarser label set's name. progress: called with the number of
        texts just begun.
        """
        to_show = self._to_show(calibrated, level)
        return to_show(self.score(listed(texts), progress=progress).values)

    def embed(self, texts: Texts, *, progress: Progress | None = None) -> NDArray[np.float32]:
        """Embeddings float32 (n, H): the mean of a text's token vectors, not normalised; (1, H) for one text."""
        return self.score(listed(texts), output=EMBEDDING, progress=progress).values

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

    @overload
    def explain(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        labels: str | Sequence[str] | None = None,
        level: str | None = None,
        threshold: Threshold = None,
    ) -> Explanation: ...

    @overload
    def explain(
        self,
        texts: Iterable[str],
        *,
        labels: str | Sequence[str] | None = None,
        level: str | None = None,
        threshold: Threshold = None,
    ) -> list[Explanation]: ...

    def explain(
        self,
        texts: Texts,
        *,
        labels: str | Sequence[str] | None = None,
        level: str | None = None,
        threshold: Threshold = None,
    ) -> Explanation | list[Explanation]:
        """Which words carry the labels of one text, or of each of several: its probability with all words less without one.

        labels: those to explain; by default those predicted, or where none is, the likeliest. level, threshold: as for
        `predict`. A text costs about as much as one text a word; of more than 400 words, neighbours are left out together,
        and the explanation says so (`together`). Raises what `predict` raises, and LabelSetError for an unknown label.
        """
        from emodef.predictor.explain import explain

        chosen = [labels] if isinstance(labels, str) else labels
        found = explain(self, listed(texts), labels=chosen, level=level, threshold=threshold)
        return found[0] if isinstance(texts, str) else found

    def score(
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

    def _to_show(
        self, calibrated: bool, level: str | None
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """What turns raw probabilities (n, K) into those to show. Raises for options that do not fit the model."""
        labels_of(level, self.info)
        if not calibrated:
            return lambda raw: coarsen(raw, level, self.info)
        calibration = self.info.calibration
        if calibration is None:
            raise SettingsError(
                "this model has no calibration; leave calibrated out, or export it with a dev split"
            )
        return lambda raw: coarsen(calibration.apply(raw), level, self.info)

    def _parts(
        self, text: str, starts: Indices, scores: NDArray[np.float32], names: tuple[str, ...]
    ) -> tuple[Part, ...]:
        """The windows of a long text, each with its place in characters."""
        offsets = self.encoder.located(text)[1].tolist()
        ends = starts + self.room - 1
        return tuple(
            Part(offsets[first][0], offsets[last][1], dict(zip(names, values, strict=True)))
            for first, last, values in zip(starts.tolist(), ends.tolist(), scores.tolist(), strict=True)
        )


def _check_outputs(graph: Graph, info: ModelInfo) -> None:
    needed = [PROBABILITIES, EMBEDDING] + [DEFINITION] * info.definition_head
    if missing := [name for name in needed if name not in graph.outputs]:
        raise DataError(f"has no output {missing[0]!r}; {AGAIN}", graph.path)
    width, hidden = graph.outputs[PROBABILITIES], graph.outputs[EMBEDDING]
    if width != len(info.label_set) or not isinstance(hidden, int):
        raise DataError(
            f"gives {width} probabilities and {hidden} numbers of an embedding, and model.json has "
            f"{len(info.label_set)} labels; {AGAIN}",
            graph.path,
        )


def _read_tokenizer(path: Path, info: ModelInfo) -> Encoder:
    encoding = info.encoding
    try:
        tokenizer = Tokenizer.from_file(os.fspath(path))
    except Exception as error:  # tokenizers raises no narrower class
        if not path.is_file():
            raise DataError(f"not found; {AGAIN}", path) from None
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"cannot be read as a tokenizer ({reason}); {AGAIN}", path) from None
    return Encoder(
        tokenizer,
        pad_id=encoding.pad_id,
        left=encoding.left,
        pad_segment=encoding.pad_segment,
        emoji=encoding.emoji == "words",
        copy=False,
    )
