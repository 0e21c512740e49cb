"""A user's own labels: several definitions, examples and a threshold a label, from TOML or a mapping. Imports labels, errors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emodef.errors import LabelSetError
from emodef.labels import LabelSet, parse_toml, shipped

_OF_A_LABEL = ("definition", "definitions", "examples", "threshold")
_OF_THE_SET = (
    "name",
    "exclusive",
    "mappings",
    "coarse",
)  # beside labels that stand as lines or tables of their own
_WRITE = "write a line that says what it means"


@dataclass(frozen=True)
class Definitions:
    """K labels, what each means, and what is known of it without labelled data; checked when made.

    label_set: the labels, each with its first definition. definitions: of each label, one or more. examples: texts of each label,
    as a user would write them; may be none. thresholds: of each label, where one was given.

    Raises LabelSetError for lists of different lengths, an empty definition or example, the same definition for two labels or twice
    for one, and a threshold that is none.
    """

    label_set: LabelSet
    definitions: tuple[tuple[str, ...], ...]
    examples: tuple[tuple[str, ...], ...] = ()
    thresholds: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        labels = self.label_set
        if not self.examples:
            object.__setattr__(self, "examples", ((),) * len(labels))
        if not self.thresholds:
            object.__setattr__(self, "thresholds", (None,) * len(labels))
        for what in ("definitions", "examples", "thresholds"):
            if len(getattr(self, what)) != len(labels):
                raise LabelSetError(f"{len(labels)} labels, and {what} of {len(getattr(self, what))}")
        _Checked(labels.names, self.definitions, self.examples, self.thresholds, labels.exclusive).all()

    def __len__(self) -> int:
        return len(self.label_set)

    @classmethod
    def of(cls, labels: LabelSet) -> Definitions:
        """A label set's own definitions, one a label."""
        return cls(labels, tuple((definition,) for definition in labels.definitions))

    @property
    def name(self) -> str:
        """Of the label set."""
        return self.label_set.name

    @property
    def names(self) -> tuple[str, ...]:
        """Of the labels, in order."""
        return self.label_set.names

    def not_exclusive(self) -> Definitions:
        """The same labels, of which a text may have several."""
        return replace(self, label_set=replace(self.label_set, exclusive=False))

    def texts(self, label: int, pattern: str) -> tuple[list[str], list[str]]:
        """What a model reads for a label, its definitions and its examples, both in `pattern` ("{name}: {definition}")."""
        name = self.names[label]
        return (
            [pattern.format(name=name, definition=each) for each in self.definitions[label]],
            [pattern.format(name=name, definition=each) for each in self.examples[label]],
        )


Labels = str | os.PathLike[str] | Mapping[str, Any] | LabelSet | Definitions


def read_labels(source: Labels) -> Definitions:
    """A user's labels, from a TOML file, the name of a shipped label set, a mapping, or a LabelSet.

    A file has a line for each label, `awe = "Wonder mixed with respect"`; or a table, `[awe]` with `definition = "..."` or
    `definitions = ["...", ...]`, and if wished `examples = ["...", ...]` and `threshold = 0.4`; or [[labels]] tables, as a label set
    file has them, each with a name and the same keys. Beside the labels may stand `name` (of the set), `exclusive = true` (one label
    a text), and `[mappings.LEVEL]`. A mapping is read as such a file is: a label called "name" needs a table there too.

    Raises LabelSetError naming file, line and remedy.
    """
    if isinstance(source, Definitions):
        return source
    if isinstance(source, LabelSet):
        return Definitions.of(source)
    if isinstance(source, Mapping):
        return _build(source, _Place("labels", ""), "labels")
    if not isinstance(source, (str, os.PathLike)):
        raise LabelSetError(
            f"labels are a file, a mapping of names to definitions, or a LabelSet, not {type(source).__name__}"
        )
    given = os.fspath(source)
    if given in shipped():
        return Definitions.of(LabelSet.load(given))
    content = _content(given)
    d = parse_toml(content, given)
    return _build(d, _Place(given, content.decode("utf-8-sig")), Path(given).stem)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise LabelSetError(
            f"no such labels: {path!r} is neither a file nor one of the shipped label sets ({', '.join(shipped())}); "
            'write one, a line for each label: awe = "Wonder mixed with respect"'
        ) from None
    except OSError as error:
        raise LabelSetError(f"cannot be read: {error.strerror}; give a TOML file", path=path) from None


@dataclass(frozen=True)
class _Place:
    """Where labels come from, for messages."""

    source: str
    content: str

    def error(self, message: str, label: str | None = None) -> LabelSetError:
        """An error that names the source and, where the label is found in it, the line."""
        return LabelSetError(message, path=self.source, row=self.line(label) if label else None)

    def line(self, label: str) -> int | None:
        """The line on which a label begins: `name = ...`, `[name]`, or `name = "..."` in a [[labels]] table."""
        quoted = rf"(?:\"{re.escape(label)}\"|'{re.escape(label)}')"
        key = rf"(?:{re.escape(label)}|{quoted})"
        for pattern in (
            rf"(?m)^\s*\[\s*{key}\s*\]",
            rf"(?m)^\s*name\s*=\s*{quoted}",
            rf"(?m)^\s*{key}\s*=",
            rf"(?m)^\s*{key}\s*\.",
        ):
            if found := re.search(pattern, self.content):
                return self.content.count("\n", 0, found.end()) + 1
        return None


@dataclass(frozen=True)
class _Entry:
    """What was given for one label."""

    name: str
    definitions: tuple[str, ...]
    examples: tuple[str, ...]
    threshold: float | None


def _build(d: Mapping[str, Any], place: _Place, name: str) -> Definitions:
    _refuse_misplaced(d, place)
    if isinstance(d.get("labels"), Sequence) and not isinstance(d["labels"], str):
        given = [_named(label, number, place) for number, label in enumerate(d["labels"], start=1)]
        about = {key: value for key, value in d.items() if key != "labels"}
        _refuse_unknown(about, _OF_THE_SET, "beside [[labels]] stands", place)
    else:
        about = {key: value for key, value in d.items() if _is_of_the_set(key, value)}
        given = [(str(key), value) for key, value in d.items() if key not in about]
    entries = [_entry(label, value, place) for label, value in given]
    if not entries:
        raise place.error('no labels; add a line for each: awe = "Wonder mixed with respect"')
    definitions = tuple(entry.definitions for entry in entries)
    examples = tuple(entry.examples for entry in entries)
    thresholds = tuple(entry.threshold for entry in entries)
    names = tuple(entry.name for entry in entries)
    _Checked(names, definitions, examples, thresholds, about.get("exclusive") is True, place).all()
    labels = [{"name": e.name, "definition": e.definitions[0]} for e in entries]
    label_set = LabelSet.from_dict({"name": name} | about | {"labels": labels}, source=place.source)
    return Definitions(label_set, definitions, examples, thresholds)


def _refuse_misplaced(d: Mapping[str, Any], place: _Place) -> None:
    """What is surely not meant as a label of that name."""
    labels, mapping = d.get("labels"), d.get("mapping")
    if isinstance(labels, Mapping) and not any(part in labels for part in _OF_A_LABEL):
        raise place.error("labels need no [labels] above them; take that line out", "labels")
    if isinstance(mapping, Mapping) and any(isinstance(value, Mapping) for value in mapping.values()):
        raise place.error("[mapping. ...] is not known; did you mean [mappings. ...]?")
    exclusive, threshold = d.get("exclusive"), d.get("threshold")
    if isinstance(exclusive, str) and (meant := exclusive.strip().lower()) in ("true", "false"):
        raise place.error(
            f'exclusive = "{exclusive}" is a text; write exclusive = {meant}, without quotes', "exclusive"
        )
    if isinstance(threshold, (int, float)):
        raise place.error(
            f"threshold = {threshold} stands outside of the labels; put it into a label's table, such as [awe], beside its definition, "
            "or give one for all labels when you predict: --threshold",
            "threshold",
        )


def _is_of_the_set(key: str, value: Any) -> bool:
    """Is this entry about the whole set? `name` with a text is; a label of that name stands in a table, [name]."""
    if key in ("mappings", "coarse"):
        return isinstance(value, Mapping) and not any(part in value for part in _OF_A_LABEL)
    return (key == "name" and isinstance(value, str)) or (key == "exclusive" and isinstance(value, bool))


def _named(label: Any, number: int, place: _Place) -> tuple[str, Any]:
    if not isinstance(label, Mapping) or not isinstance(label.get("name"), str):
        raise place.error(f'label {number} needs a name; add: name = "..."')
    return label["name"].strip(), {key: value for key, value in label.items() if key != "name"}


def _entry(name: str, value: Any, place: _Place) -> _Entry:
    if isinstance(value, str) or (isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray))):
        value = {"definitions": [value] if isinstance(value, str) else value}
    if not isinstance(value, Mapping):
        raise place.error(
            f'label {name!r} is {value!r:.40}, not a definition; write {name} = "what it means"', name
        )
    _refuse_unknown(value, _OF_A_LABEL, f"label {name!r} has", place, name)
    if "definition" in value and "definitions" in value:
        raise place.error(f"label {name!r} has definition and definitions; put all into definitions", name)
    if "definition" in value and not isinstance(value["definition"], str):
        raise place.error(
            f"label {name!r}: a definition is a text; several go into definitions = [...]", name
        )
    definitions = [value["definition"]] if "definition" in value else value.get("definitions", [])
    threshold = value.get("threshold")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, (int, float))):
        raise place.error(f"label {name!r}: threshold = {threshold!r:.40} is not a number", name)
    return _Entry(
        name,
        _texts("definitions", definitions, name, place),
        _texts("examples", value.get("examples", []), name, place),
        None if threshold is None else float(threshold),
    )


def _texts(what: str, given: Any, name: str, place: _Place) -> tuple[str, ...]:
    if (
        not isinstance(given, Sequence)
        or isinstance(given, str)
        or not all(isinstance(t, str) for t in given)
    ):
        raise place.error(f'label {name!r}: {what} are texts, {what} = ["...", "..."]', name)
    return tuple(text.strip() for text in given)


@dataclass(frozen=True)
class _Checked:
    """Labels as they are checked, from a file or made in Python."""

    names: tuple[str, ...]
    definitions: tuple[tuple[str, ...], ...]
    examples: tuple[tuple[str, ...], ...]
    thresholds: tuple[float | None, ...]
    exclusive: bool
    place: _Place | None = None

    def all(self) -> None:
        """Raise LabelSetError for the first thing that is wrong."""
        owner: dict[str, str] = {}
        for name, definitions, examples, threshold in zip(
            self.names, self.definitions, self.examples, self.thresholds, strict=True
        ):
            if not name.strip():
                raise self.error("a label has an empty name; give it one")
            if name.casefold() in owner:
                raise self.error(
                    f"label {name!r} stands there twice; keep one, with definitions = [...]", name
                )
            if not definitions or not all(text.strip() for text in definitions):
                raise self.error(f"label {name!r} has an empty definition; {_WRITE}", name)
            if not all(text.strip() for text in examples):
                raise self.error(f"label {name!r} has an empty example; write a text, or remove it", name)
            if threshold is not None and not 0 <= threshold < 1:
                raise self.error(
                    f"label {name!r}: threshold = {threshold}; give a number from 0 to below 1", name
                )
            if threshold is not None and self.exclusive:
                raise self.error(
                    f"label {name!r}: a threshold decides nothing where a text has one label, the likeliest; remove it, or "
                    "exclusive = true",
                    name,
                )
            owner[name.casefold()] = name
        self._no_copies("definition", self.definitions, across=True)
        self._no_copies("example", self.examples, across=self.exclusive)

    def _no_copies(self, what: str, texts: tuple[tuple[str, ...], ...], *, across: bool) -> None:
        owner: dict[str, int] = {}
        for k, name in enumerate(self.names):
            own: set[str] = set()
            for text in texts[k]:
                plain = _plain(text)
                if plain in own:
                    raise self.error(f"label {name!r} has the {what} {text!r:.60} twice; remove one", name)
                own.add(plain)
                if across and plain in owner:
                    other = self.names[owner[plain]]
                    at = self.place.line(other) if self.place else None
                    where = f" (line {at})" if at else ""
                    raise self.error(
                        f"label {name!r} has the same {what} as label {other!r}{where}, {text!r:.60}; "
                        "say what tells them apart, or make them one label",
                        name,
                    )
            owner |= dict.fromkeys(own, k)

    def error(self, message: str, label: str | None = None) -> LabelSetError:
        """With the line, where labels come from a file."""
        return LabelSetError(message) if self.place is None else self.place.error(message, label)


def _plain(text: str) -> str:
    """A text without case, spacing and a full stop at its end."""
    return " ".join(text.casefold().split()).rstrip(" .")


def _refuse_unknown(
    d: Mapping[str, Any], known: Sequence[str], what: str, place: _Place, label: str | None = None
) -> None:
    for key in d:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there can be: {', '.join(known)}"
            raise place.error(f"{what} the unknown key {key!r}; {hint}", label)
