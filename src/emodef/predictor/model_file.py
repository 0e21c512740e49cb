"""model.json of a light model's directory: read, checked, written. Imports calibration, labels, errors, atomic."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emodef.atomic import write_text
from emodef.calibration import Calibration
from emodef.errors import DataError
from emodef.labels import LabelSet

FORMAT = 1
MODEL, TOKENIZER, INFO, CARD = "model.onnx", "tokenizer.json", "model.json", "README.md"
HEAD = "head.json"  # of a fitted head, alone or beside the light model that it stands on
SCORES = ("emotion", "match", "mean")
EMOJI = ("keep", "words")
AGAIN = "copy the whole model again, or export it again with: emodef export RUN"


@dataclass(frozen=True)
class Encoding:
    """How texts become the graph's inputs, beyond what tokenizer.json says.

    longest: most tokens the encoder takes, special tokens included. window: a text with more tokens than this is read in
    overlapping windows of that many, special tokens included. emoji: "keep" leaves them to the vocabulary, "words" reads them
    as words.
    """

    pad_id: int
    left: bool = False  # padding goes before the text (XLNet)
    pad_segment: int = 0
    longest: int = 512
    window: int = 128
    emoji: str = "keep"


@dataclass(frozen=True)
class MatchInfo:
    """What scoring other labels needs: the text a label is read as ("{name}: {definition}"), scale and bias (K) of the head."""

    text: str
    scale: float
    bias: tuple[float, ...]


@dataclass(frozen=True)
class ModelInfo:
    """All of model.json; checked when made, so a ModelInfo that exists is sound.

    scores: the head the probabilities come from. thresholds: "fixed" -> a number; "tuned", where it was tuned on a dev
    split -> the label set's or a coarser level's name -> a number for each of its labels. definition_head: the graph has the
    output "definition". about: name, precision, settings, versions, corpus, what was measured; not needed to predict.

    Raises DataError saying which entry is wrong.
    """

    label_set: LabelSet
    encoding: Encoding
    thresholds: Mapping[str, Any] = field(default_factory=lambda: {"fixed": 0.3})
    scores: str = "emotion"
    calibration: Calibration | None = None
    match: MatchInfo | None = None
    definition_head: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels, encoding = self.label_set, self.encoding
        if not isinstance(labels, LabelSet) or not isinstance(encoding, Encoding):
            raise DataError("label_set and encoding are needed, each an object")
        if self.scores not in SCORES:
            raise DataError(f"scores = {self.scores!r}; there are {', '.join(SCORES)}")
        check_thresholds(self.thresholds, labels)
        if self.calibration is not None:
            _check_list("calibration.slope", self.calibration.slope, len(labels))
            _check_list("calibration.intercept", self.calibration.intercept, len(labels))
        if self.match is not None:
            _check_list("match.bias", self.match.bias, len(labels))
        for name, least in (("pad_id", 0), ("pad_segment", 0), ("longest", 8), ("window", 8)):
            value = getattr(encoding, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise DataError(f"encoding.{name} is {value!r}, not a whole number from {least} on")
        if encoding.emoji not in EMOJI:
            raise DataError(f"encoding.emoji is {encoding.emoji!r}; there are {', '.join(EMOJI)}")
        if encoding.window > encoding.longest:
            raise DataError(
                f"encoding.window is {encoding.window}, more than the {encoding.longest} tokens the encoder takes"
            )

    def to_dict(self) -> dict[str, Any]:
        """The content of model.json; `from_dict` gives an equal ModelInfo back."""

        def plain(part: Any) -> dict[str, Any] | None:
            if part is None:
                return None
            return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(part).items()}

        return {
            "format": FORMAT,
            "label_set": self.label_set.to_dict(),
            "scores": self.scores,
            "thresholds": dict(self.thresholds),
            "calibration": plain(self.calibration),
            "encoding": plain(self.encoding),
            "match": plain(self.match),
            "definition_head": self.definition_head,
            "about": dict(self.about),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> ModelInfo:
        """Build from what `to_dict` gives. Raises DataError for another format, a missing or unknown entry, a wrong value."""
        if d.get("format") != FORMAT:
            raise DataError(
                f"format {d.get('format')!r}, this emodef reads {FORMAT}; install a matching release"
            )
        given = {key: value for key, value in d.items() if key != "format"}
        if not isinstance(given.get("thresholds", {}), Mapping):
            raise DataError("thresholds is not an object")
        for key, kind in (("encoding", Encoding), ("calibration", Calibration), ("match", MatchInfo)):
            if given.get(key) is not None:
                given[key] = _build(key, kind, given[key])
        if isinstance(given.get("label_set"), Mapping):
            given["label_set"] = LabelSet.from_dict(given["label_set"], source="label_set")
        made: ModelInfo = _build("model.json", cls, given)
        return made

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> ModelInfo:
        """Read model.json of a light model's directory. Raises DataError naming the file, what is wrong, and what to do."""
        path = Path(folder) / INFO
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"not found; {AGAIN}", path) from None
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror}); {AGAIN}", path) from None
        except ValueError as error:
            raise DataError(f"not readable as JSON ({error}); {AGAIN}", path) from None
        if not isinstance(content, dict):
            raise DataError(f"holds no JSON object; {AGAIN}", path)
        try:
            return cls.from_dict(content)
        except DataError as error:
            remedy = "" if "install a matching" in str(error) else f"; {AGAIN}"
            raise DataError(f"{error}{remedy}", path) from None

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write model.json into a light model's directory, atomically."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(Path(folder) / INFO, text + "\n")


def check_thresholds(thresholds: Mapping[str, Any], labels: LabelSet) -> None:
    """Raise DataError unless `thresholds` has a "fixed" number, and under "tuned" one a label of the set or of a coarser level."""
    _check_probability("thresholds.fixed", thresholds.get("fixed"))
    tuned = thresholds.get("tuned", {})
    if not isinstance(tuned, Mapping):
        raise DataError(f"thresholds.tuned is {tuned!r:.40}, not an object of lists")
    for level, values in tuned.items():
        if level != labels.name and level not in labels.coarse:
            raise DataError(f"thresholds.tuned.{level}: the label set {labels.name!r} has no such level")
        width = len(labels if level == labels.name else labels.coarse[level])
        _check_list(f"thresholds.tuned.{level}", values, width)
        for value in values:
            _check_probability(f"thresholds.tuned.{level}", value)


def find(path: str | os.PathLike[str]) -> Path:
    """The directory of a light model or a fitted head: `path` itself, or `path`/light where `path` is a run's folder.

    Raises DataError, saying what to do, where neither holds one.
    """
    folder = Path(path)
    for candidate in (folder, folder / "light"):
        if (candidate / INFO).exists() or (candidate / HEAD).exists():
            return candidate
    if not folder.exists():
        raise DataError("no such folder; name one that 'emodef export' wrote", folder)
    if (folder / MODEL).exists():
        raise DataError(f"not found; {AGAIN}", folder / INFO)
    if (folder / "settings.json").exists() or (folder / "emodef.json").exists():
        raise DataError(f"has no light model yet; write it with: emodef export {folder}", folder)
    raise DataError("holds no light model; name a folder that 'emodef export' wrote, or a run's", folder)


def _build(what: str, kind: type, given: Any) -> Any:
    """Make a dataclass of a JSON object; lists become tuples."""
    if not isinstance(given, Mapping):
        raise DataError(f"{what} is {given!r:.40}, not an object")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    except TypeError as error:
        reason = str(error).partition("() ")[2] or str(error)
        raise DataError(f"{what}: {reason}") from None


def _check_list(what: str, values: Any, width: int) -> None:
    if not isinstance(values, (list, tuple)) or len(values) != width:
        raise DataError(f"{what}: expected {width} numbers, one a label")
    if not all(_is_number(v) for v in values):
        raise DataError(f"{what} holds something that is not a number")


def _check_probability(what: str, value: Any) -> None:
    if not _is_number(value) or not 0 <= value <= 1:
        raise DataError(f"{what} is {value!r}, not a number between 0 and 1")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
