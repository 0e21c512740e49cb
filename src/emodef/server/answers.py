"""What a worker answers from: its predictor, options checked before anything waits, labels of clients' own kept. Imports Predictor.

Everything that is computed here may take long; routes call it in threads, or through the batcher.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import emodef
from emodef.emoji import emoji_words
from emodef.errors import EmodefError
from emodef.predictor import Predictor
from emodef.predictor.decisions import labels_of, resolve_thresholds
from emodef.predictor.prediction import Prediction
from emodef.reporting.page.content import grouping
from emodef.server.faults import Fault, fault_of

KEPT = 64  # label sets of clients' own, encoded; each is small
DIGITS = 6
CHECKED = 1024


@dataclass(frozen=True)
class Asked:
    """What to do with texts. Equal ones are done in one call. (A predictor is equal to itself only.)"""

    predictor: Predictor
    threshold: str | float | None = None
    at_least_one: bool = False
    level: str | None = None
    calibrated: bool = False

    def __call__(self, texts: Sequence[str]) -> list[Prediction]:
        """Predict them."""
        return self.predictor.predict(
            list(texts),
            threshold=self.threshold,
            at_least_one=self.at_least_one,
            level=self.level,
            calibrated=self.calibrated,
        )


class Answers:
    """A predictor and those made from it."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.model = {
            "name": str(predictor.info.about.get("name") or "emodef"),
            "version": emodef.__version__,
        }
        self._own: OrderedDict[str, Predictor] = OrderedDict()
        self._checked: set[Asked] = set()
        self._lock = threading.Lock()

    def asked(
        self,
        *,
        threshold: str | float | None = None,
        at_least_one: bool = False,
        level: str | None = None,
        calibrated: bool = False,
        predictor: Predictor | None = None,
    ) -> Asked:
        """Options that fit the model. Raises Fault("invalid") for others."""
        asked = Asked(predictor or self.predictor, threshold, at_least_one, level, calibrated)
        if asked in self._checked:
            return asked
        self._try("level", lambda: labels_of(level, asked.predictor.info))
        self._try("threshold", lambda: resolve_thresholds(threshold, level, asked.predictor.info))
        self._try("calibrated", lambda: asked([]))
        if predictor is None and len(self._checked) < CHECKED:
            self._checked.add(asked)
        return asked

    def own(self, labels: Mapping[str, Any], known: bool | Sequence[str]) -> Predictor:
        """A predictor over a client's own labels; the latest are kept. Takes a pass for each definition."""
        key = json.dumps([labels, known], ensure_ascii=True)
        with self._lock:
            if key in self._own:
                self._own.move_to_end(key)
                return self._own[key]
        made: Predictor = self._try("labels", lambda: self.predictor.with_labels(labels, known=known))
        with self._lock:
            self._own[key] = made
            while len(self._own) > KEPT:
                self._own.popitem(last=False)
        return made

    def length(self, text: str) -> int:
        """Characters of a text as the model reads it: where it reads emoji as words, one of them may be eighty."""
        return len(emoji_words(text)) if self.predictor.encoder.emoji else len(text)

    @property
    def takes_own(self) -> bool:
        """Whether the model can read labels it was not trained on."""
        return self.predictor.root.info.match is not None

    def labels(self, level: str | None) -> dict[str, Any]:
        """What /v1/labels tells."""
        info = self.predictor.info
        at_level = self._try("level", lambda: labels_of(level, info))
        exclusive, tuned = info.label_set.exclusive, info.thresholds.get("tuned", {})
        groups, group_of = grouping(info.label_set) or ((), {})
        thresholds: list[float | None] = [None] * len(at_level)
        if not exclusive:
            thresholds = [float(value) for value in resolve_thresholds(None, level, info)]  # type: ignore[union-attr]
        return {
            "name": at_level.name,
            "exclusive": exclusive,
            "labels": [
                {
                    "name": name,
                    "definition": definition,
                    "threshold": threshold,
                    "group": groups[group_of[name]] if name in group_of else None,
                }
                for name, definition, threshold in zip(
                    at_level.names, at_level.definitions, thresholds, strict=True
                )
            ],
            "levels": list(info.label_set.mappings),
            "policies": [] if exclusive else [*(["tuned"] if at_level.name in tuned else []), "fixed"],
            "own_labels": self.takes_own,
        }

    def explain(
        self,
        text: str,
        labels: Sequence[str] | None,
        level: str | None,
        threshold: str | float | None,
        predictor: Predictor | None = None,
    ) -> dict[str, Any]:
        """What /v1/explain tells."""
        predictor = predictor or self.predictor
        found = self._try(
            "labels", lambda: predictor.explain(text, labels=labels, level=level, threshold=threshold)
        )
        at_level = labels_of(level, predictor.info)
        return {
            "labels": [
                {
                    "name": name,
                    "probability": round(score, DIGITS),
                    "definition": at_level.definitions[at_level.index(name)],
                }
                for name, score in found.labels
            ],
            "predicted": list(found.predicted),
            "words": [{"text": w.text, "start": w.start, "end": w.end} for w in found.words],
            "shifts": {
                name: [round(w.contributions[name], DIGITS) for w in found.words] for name, _ in found.labels
            },
            "together": found.together,
        }

    @staticmethod
    def _try(field: str, call: Any) -> Any:
        try:
            return call()
        except EmodefError as error:
            raise fault_of(error, field) from None


def told(found: Prediction, top_k: int | None, all_scores: bool) -> dict[str, Any]:
    """A prediction as a client gets it."""
    scores = found.scores if all_scores or top_k is not None else {}
    labels = list(scores.items())[:top_k] if top_k is not None else found.labels
    told: dict[str, Any] = {
        "labels": [{"name": name, "probability": round(score, DIGITS)} for name, score in labels]
    }
    if all_scores:
        told["scores"] = {name: round(score, DIGITS) for name, score in scores.items()}
    told["tokens"], told["windows"] = found.tokens, found.windows
    return told


def check_sizes(
    texts: Sequence[str], most: int, longest: int, field: str = "texts", length: Callable[[str], int] = len
) -> list[int]:
    """The length of each text as it is read. Raises Fault where there are too many texts, or one is too long."""
    if len(texts) > most:
        raise Fault(
            "too_many_texts",
            f"{len(texts)} texts, and a request may have {most}: send several requests, stream them to /v1/predict/stream, or "
            "upload a file to /v1/jobs",
            field=field,
        )
    return [check_size(text, longest, f"{field}[{number}]", length) for number, text in enumerate(texts)]


def check_size(text: str, longest: int, field: str, length: Callable[[str], int] = len) -> int:
    """The length of a text as it is read. Raises Fault where it is too long, as it was sent or as it is read."""
    read, how = len(text), ""
    if read <= longest:
        read, how = length(text), " with its emoji read as words"
    if read > longest:
        raise Fault(
            "text_too_long",
            f"{read} characters{how}, and a text may have {longest}: cut it into parts that belong together",
            field=field,
        )
    return read
