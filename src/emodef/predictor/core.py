"""Predictor: an exported model that answers for texts. Imports numpy, tokenizers and, through `session`, onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from emodef.encoding import Encoder, Indices
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.predictor.cache import Remembered
from emodef.predictor.decisions import Threshold, choose, coarsen, labels_of, resolve_thresholds
from emodef.predictor.inputs import Texts, listed
from emodef.predictor.loading import open_light
from emodef.predictor.model_file import HEAD, MODEL, ModelInfo, find
from emodef.predictor.prediction import Label, Part, Prediction
from emodef.predictor.reading import Progress, Reader
from emodef.predictor.session import Graph

if TYPE_CHECKING:
    from emodef.definitions import Labels
    from emodef.predictor.explain import Explanation
    from emodef.predictor.head import HeadInfo, LabelHead
    from emodef.predictor.own import Layer, LayeredGraph
    from emodef.predictor.unseen import Policy

SHIPPED = Path(__file__).parent.parent / "pretrained"
ENCODINGS = 4096  # definitions and examples whose embeddings are remembered
LABELS = 32  # sets of own labels that `score` remembers


class Predictor(Reader):
    """A light model: texts in, emotions out, without torch.

    Any text gets an answer. An empty one, or one that holds nothing the tokenizer sees (whitespace, control characters), gets
    the model's answer to no words at all, and its prediction says `tokens == 0`; skip it, or keep it as a row like the others.
    A text longer than the model's window is read in overlapping windows and never cut. What is no text (None, bytes, a number)
    and broken Unicode (half of a surrogate pair) is a DataError that names the text by its number.

    Many threads may share one predictor. A process forked from this one may go on using it: it opens the model anew.
    """

    def __init__(
        self,
        info: ModelInfo,
        encoder: Encoder,
        graph: Graph | LayeredGraph,
        *,
        below: Predictor | None = None,
        layer: Layer | None = None,
    ) -> None:
        super().__init__(info, encoder, graph)
        self.below, self.layer = below, layer  # own labels, and the predictor that they lie over
        self.encodings: Remembered[NDArray[np.float32]] = (
            Remembered(ENCODINGS) if below is None else below.encodings
        )
        self._scorers: Remembered[Predictor] = Remembered(LABELS)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        threads: int | None = None,
        providers: Sequence[Any] | None = None,
    ) -> Predictor:
        """Load the shipped model, an exported directory, a run's folder that holds one, or what `emodef fit` wrote.

        threads: how many CPU cores to compute on, by default all that this process may use. providers: onnxruntime's, such as
        ["CUDAExecutionProvider"]; by default the CPU. Raises DataError for a model that is missing, damaged or of another
        format, SettingsError for an option that does not fit.
        """
        if path is None and not (SHIPPED / MODEL).exists():
            raise DataError("this installation brings no model; name one that 'emodef export' wrote")
        folder = SHIPPED if path is None else find(path)
        if not (folder / HEAD).exists():
            return cls.load_light(folder, threads=threads, providers=providers)
        from emodef.predictor.head import SHIPPED_BASE, LabelHead
        from emodef.predictor.own import load_head

        head, info = LabelHead.read(folder)
        under = SHIPPED if info.base == SHIPPED_BASE else folder
        return load_head(cls.load_light(under, threads=threads, providers=providers), folder, head, info)

    @classmethod
    def load_light(
        cls, folder: Path, *, threads: int | None = None, providers: Sequence[Any] | None = None
    ) -> Predictor:
        """Load the light model of this very folder, whatever else it holds. Raises as `load`."""
        return cls(*open_light(folder, threads=threads, providers=providers))

    @property
    def label_set(self) -> LabelSet:
        """The labels it predicts."""
        return self.info.label_set

    @property
    def levels(self) -> tuple[str, ...]:
        """The coarser label sets that `level` can name."""
        return tuple(self.label_set.mappings)

    @property
    def root(self) -> Predictor:
        """The predictor with the model's own labels, below all own ones."""
        return self if self.below is None else self.below.root

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The own labels over `root`, the lowest first."""
        return () if self.below is None or self.layer is None else (*self.below.layers, self.layer)

    @property
    def head(self) -> LabelHead | None:
        """The labels as weights and biases over a text's embedding; None where definitions are not what they are scored by.

        Known labels stand in it as the model's definitions of them and its biases say. `predict` scores them by the graph itself.
        """
        from emodef.predictor.own import whole_head

        return whole_head(self)

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
        raw, tokens, windows, parts = self.raw(given, parts=True, progress=progress)
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
        (SettingsError where the model has none). level: a coarser label set's name (LabelSetError for one that the labels are not
        mapped to). progress: called with the number of texts just begun. What is no text is a DataError.
        """
        to_show = self._to_show(calibrated, level)
        return to_show(self.raw(listed(texts), progress=progress).values)

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

    def with_labels(
        self,
        labels: Labels | None = None,
        *,
        known: bool | Sequence[str] = False,
        policy: str | Policy | None = None,
        background: Sequence[str] | None = None,
    ) -> Predictor:
        """A predictor of other labels, from what they mean alone; it reads texts with this one's model, and answers as it does.

        labels: name -> definition, or a file, or whatever `emodef.definitions.read_labels` takes; each definition is encoded once.
        known: this predictor's labels beside them, all (True) or some; they keep their probabilities and thresholds. A label
        that `labels` has too is scored as known where `known` names it, and refused with True. policy: what gives a new label
        its bias and threshold (`emodef.predictor.unseen`). background: unlabelled texts like those to predict, for policies that
        ask for some and for labels with examples; a few hundred. By default sentences that emodef brings.

        Raises LabelSetError for labels that contradict themselves, clash with all the known ones, or are known by no such name;
        SettingsError for a model that was not trained to match texts with definitions, no labels at all, an unknown policy, an empty
        background, and exclusive labels beside known ones of which a text may have several.
        """
        from emodef.predictor.own import with_labels

        return with_labels(self, labels, known, policy, background)

    def with_head(self, head: LabelHead, info: HeadInfo) -> Predictor:
        """A predictor of a head's labels, over this one's model. Raises DataError where they do not fit together."""
        from emodef.predictor.own import with_head

        return with_head(self, head, info)

    def score(
        self,
        texts: Texts,
        labels: Labels | None = None,
        *,
        known: bool | Sequence[str] = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Probabilities float32 (n, K) of own labels, from their definitions alone; see `with_labels`.

        The labels of earlier calls are remembered: the first call with some encodes their definitions, later ones do not. Raises what
        `with_labels` and `predict_proba` raise.
        """
        from emodef.predictor.own import key_of

        known = known if isinstance(known, (bool, str)) else list(known)  # once: it may be an iterator
        key = key_of({} if labels is None else labels, known)
        found = self._scorers.get(key)
        if found is None:
            found = self.with_labels(labels, known=known)
            self._scorers.put(key, found)
        return found.predict_proba(texts, progress=progress)

    def _to_show(
        self, calibrated: bool, level: str | None
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """What turns raw probabilities (n, K) into those to show. Raises for options that do not fit the model."""
        labels_of(level, self.info)
        if not calibrated:
            return lambda raw: coarsen(raw, level, self.info)
        calibration = self.info.calibration
        if calibration is None:
            whose = "export it with a dev split" if self.layer is None else "own labels have none"
            raise SettingsError(f"this model has no calibration; leave calibrated out: {whose}")
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
