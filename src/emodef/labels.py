"""Label sets: ordered labels, a definition of each, mappings to coarser sets; all from TOML. Imports numpy, errors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.errors import LabelSetError

SHIPPED = Path(__file__).parent / "labelsets"
_KEYS = ("name", "exclusive", "labels", "mappings", "coarse")


def shipped() -> list[str]:
    """Names of the label sets that come with the package, sorted."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


@dataclass(frozen=True)
class LabelSet:
    """K labels in order, each with a definition; checked when made, so a LabelSet that exists is sound.

    names: K distinct names; definitions: K texts, in the same order.
    mappings: coarser set's name -> {label: coarse label}, every label mapped.
    exclusive: a text has one label, not several.
    coarse: the coarser sets the mappings lead to. Those not given are looked up among the shipped sets, so
        what `to_dict` writes carries everything it needs.

    Raises LabelSetError for an empty set, an empty or doubled name, an empty definition, or a mapping that is
    incomplete, starts from an unknown label or leads to an unknown label or set.
    """

    name: str
    names: tuple[str, ...]
    definitions: tuple[str, ...]
    mappings: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    exclusive: bool = False
    coarse: Mapping[str, LabelSet] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        _check_names(self)
        if self.name in self.mappings:
            raise LabelSetError(
                f'the label set {self.name!r} is mapped to a coarser set of its own name; give it another one: name = "..."'
            )
        found = {level: _coarse_set(self, level) for level in self.mappings}
        if unused := sorted(set(self.coarse) - set(found)):
            raise LabelSetError(
                f"label set {self.name!r} describes the coarser set {unused[0]!r} but has no mapping to it; "
                f"add [mappings.{unused[0]}] or remove the description"
            )
        for level, coarse in found.items():
            _check_mapping(self, level, coarse)
        object.__setattr__(self, "mappings", {level: dict(m) for level, m in self.mappings.items()})
        object.__setattr__(self, "coarse", found)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str]) -> LabelSet:
        """Read a shipped label set by name, or a user's TOML file by path.

        Raises LabelSetError naming the file and the remedy.
        """
        given = os.fspath(name_or_path)
        if given in shipped():
            source = f"{given}.toml"
            content = (SHIPPED / source).read_bytes()
        else:
            source = given
            try:
                with open(given, "rb") as file:
                    content = file.read()
            except FileNotFoundError:
                raise LabelSetError(
                    f"no such label set: {given!r} is neither one of the shipped ({', '.join(shipped())}) "
                    "nor a file; give one of these names or the path of a TOML file"
                ) from None
            except OSError as error:
                raise LabelSetError(
                    f"cannot be read: {error.strerror}; give a TOML file", path=given
                ) from None
        return cls.from_dict(parse_toml(content, source), source=source)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], source: str = "label set") -> LabelSet:
        """Build a label set from what `to_dict` gives or a TOML file holds; `source` is named in errors.

        Raises LabelSetError for missing or unknown keys, wrong types, and all the class itself refuses.
        """
        try:
            return _from_dict(d, name=None)
        except LabelSetError as error:
            raise LabelSetError(str(error), path=source) from None

    def to_dict(self) -> dict[str, Any]:
        """The whole set, coarser sets included, JSON-able; `from_dict` gives an equal set back."""
        d: dict[str, Any] = {"name": self.name, "exclusive": self.exclusive}
        pairs = zip(self.names, self.definitions, strict=True)
        d["labels"] = [{"name": name, "definition": definition} for name, definition in pairs]
        if self.mappings:
            d["mappings"] = {level: dict(mapping) for level, mapping in self.mappings.items()}
            d["coarse"] = {level: coarse.to_dict() for level, coarse in self.coarse.items()}
        return d

    def to_toml(self) -> str:
        """The whole set as a TOML file that `load` reads back as an equal set."""
        return "\n".join(_toml_lines(self.to_dict(), prefix="")).strip() + "\n"

    def index(self, name: str) -> int:
        """Position of a label. Raises LabelSetError, with the nearest names, if there is no such label."""
        try:
            return self.names.index(name)
        except ValueError:
            import difflib

            near = difflib.get_close_matches(str(name), self.names, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(self.names)}"
            raise LabelSetError(f"label set {self.name!r} has no label {name!r}; {hint}") from None

    def only(self, names: Sequence[str]) -> LabelSet:
        """A set of some of the labels, in the order given. Raises LabelSetError for an unknown one."""
        chosen = [self.index(name) for name in names]
        kept = set(names)
        mappings = {
            level: {name: coarse for name, coarse in mapping.items() if name in kept}
            for level, mapping in self.mappings.items()
        }
        return replace(
            self,
            names=tuple(self.names[k] for k in chosen),
            definitions=tuple(self.definitions[k] for k in chosen),
            mappings=mappings,
        )

    def multi_hot(self, label_lists: Iterable[Sequence[str]]) -> NDArray[np.uint8]:
        """One list of label names a text -> uint8 (n, K). Raises LabelSetError for an unknown label."""
        position = {name: k for k, name in enumerate(self.names)}
        rows = []
        for labels in label_lists:
            if isinstance(labels, str):
                raise LabelSetError(f"labels are a list of names for each text, not the text {labels!r}")
            rows.append([position[n] if n in position else self.index(n) for n in labels])
        hot = np.zeros((len(rows), len(self)), dtype=np.uint8)
        for i, columns in enumerate(rows):
            hot[i, columns] = 1
        return hot

    def groups(self, level: str) -> tuple[LabelSet, NDArray[np.intp]]:
        """The coarser set `level`, and for each of the K labels the position of its coarse label, int (K,).

        Raises LabelSetError if there is no mapping to `level`.
        """
        if level not in self.mappings:
            known = ", ".join(self.mappings) or "none"
            raise LabelSetError(
                f"label set {self.name!r} has no mapping to {level!r} (it has: {known}); "
                f"add a [mappings.{level}] table to its TOML file"
            )
        coarse, mapping = self.coarse[level], self.mappings[level]
        return coarse, np.array([coarse.index(mapping[name]) for name in self.names], dtype=np.intp)


def _check_names(labels: LabelSet) -> None:
    what = f"label set {labels.name!r}"
    if not isinstance(labels.name, str) or not labels.name.strip():
        raise LabelSetError('a label set needs a name; add: name = "..."')
    if not labels.names:
        raise LabelSetError(
            f'{what} has no labels; add [[labels]] tables, each with name = "..." and definition = "..."'
        )
    if len(labels.names) != len(labels.definitions):
        raise LabelSetError(f"{what} has {len(labels.names)} names but {len(labels.definitions)} definitions")
    seen: dict[str, int] = {}
    for number, (name, definition) in enumerate(zip(labels.names, labels.definitions, strict=True), start=1):
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise LabelSetError(
                f"{what}: the name of label {number}, {name!r}, is empty or padded; give a plain name"
            )
        if name.casefold() in seen:
            raise LabelSetError(
                f"{what}: label {number} has the same name as label {seen[name.casefold()]}, {name!r}; "
                "rename or remove one of them"
            )
        seen[name.casefold()] = number
        if not isinstance(definition, str) or not definition.strip():
            raise LabelSetError(
                f"{what}: label {number}, {name!r}, has an empty definition; the model reads definitions: "
                "write a line that says what the label means"
            )


def _coarse_set(labels: LabelSet, level: str) -> LabelSet:
    """The set a mapping leads to, without mappings of its own: given beside the mapping, else shipped."""
    if level in labels.coarse:
        found = labels.coarse[level]
        if found.name != level:
            raise LabelSetError(f"the coarser set {level!r} calls itself {found.name!r}; use one name")
    elif level in shipped():
        found = LabelSet.load(level)
    else:
        raise LabelSetError(
            f"label set {labels.name!r} has a mapping to the unknown set {level!r}; map to a shipped set "
            f"({', '.join(shipped())}) or describe it beside the mapping with [[coarse.{level}.labels]] tables"
        )
    return replace(found, mappings={}, coarse={}) if found.mappings else found


def _check_mapping(labels: LabelSet, level: str, coarse: LabelSet) -> None:
    mapping = labels.mappings[level]
    what = f"label set {labels.name!r}, mapping to {level!r}"
    for fine, target in mapping.items():
        if fine not in labels.names:
            raise LabelSetError(
                f"{what}: {fine!r} is not a label; correct it to one of {', '.join(labels.names)}"
            )
        if target not in coarse.names:
            raise LabelSetError(
                f"{what}: {fine!r} is mapped to {target!r}, which {level!r} does not have; "
                f"choose one of {', '.join(coarse.names)}"
            )
    if missing := [name for name in labels.names if name not in mapping]:
        raise LabelSetError(f"{what} is incomplete; map these labels too: {', '.join(missing)}")


def _from_dict(d: Mapping[str, Any], name: str | None) -> LabelSet:
    """`name` is set for a coarser set, which takes its name from the table it stands in."""
    if not isinstance(d, Mapping):
        raise LabelSetError(f"a label set is a table with {', '.join(_KEYS)}, not {type(d).__name__}")
    _refuse_unknown(d, _KEYS, "a label set")
    for key in ("labels",) if name else ("name", "labels"):
        if key not in d:
            example = "[[labels]] tables" if key == "labels" else 'a line: name = "..."'
            raise LabelSetError(f"the key {key!r} is missing; add {example}")
    given = d.get("name", name)
    exclusive, labels = d.get("exclusive", False), d["labels"]
    if not isinstance(exclusive, bool):
        raise LabelSetError(f"exclusive = {exclusive!r} must be true (one label a text) or false")
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        raise LabelSetError("labels must be [[labels]] tables, each with name and definition")
    names, definitions = [], []
    for number, label in enumerate(labels, start=1):
        if not isinstance(label, Mapping):
            raise LabelSetError(f"label {number} must be a table with name and definition, not {label!r}")
        _refuse_unknown(label, ("name", "definition"), f"label {number}")
        for key in ("name", "definition"):
            if not isinstance(label.get(key), str):
                shown = label.get("name", "unnamed")
                raise LabelSetError(f'label {number} ({shown!r}) needs a text {key}; add: {key} = "..."')
        names.append(label["name"].strip())
        definitions.append(label["definition"].strip())
    coarse = {str(level): _from_dict(c, name=str(level)) for level, c in _table(d, "coarse").items()}
    mappings = _table(d, "mappings")
    for level, mapping in mappings.items():
        if not isinstance(mapping, Mapping) or not all(isinstance(v, str) for v in mapping.values()):
            raise LabelSetError(f'mappings.{level} must be a table of label = "coarse label" lines')
    return LabelSet(given, tuple(names), tuple(definitions), mappings, exclusive, coarse)


def _table(d: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = d.get(key, {})
    if not isinstance(value, Mapping):
        raise LabelSetError(f"{key} must be a table, such as [{key}.ekman]")
    return value


def _refuse_unknown(d: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for key in d:
        if key not in known:
            import difflib

            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it can have: {', '.join(known)}"
            raise LabelSetError(f"{what} has the unknown key {key!r}; {hint}")


def parse_toml(content: bytes, source: str) -> dict[str, Any]:
    """The content of a TOML file. Raises LabelSetError naming `source` and the line that is wrong."""
    import tomllib  # only where a file is read: a model brings its labels along

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise LabelSetError("is not UTF-8; save the file as UTF-8", path=source, row=row) from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))  # before 3.14 only the message has the line
        line = int(place.group(1)) if place else content.count(b"\n") + 1
        twice = "overwrite" in str(error) or "declare" in str(error)
        remedy = (
            "the same name stands there a second time: keep one"
            if twice
            else "correct that line; a name with other than letters from A to Z, digits, - and _ stands in quotes"
        )
        raise LabelSetError(f"is not valid TOML: {error}; {remedy}", path=source, row=line) from None
    except (ValueError, RecursionError):  # thousands of brackets, or of digits
        raise LabelSetError(
            "is nested too deep, or holds a number too long, to be read", path=source
        ) from None


def _toml_lines(d: Mapping[str, Any], prefix: str) -> list[str]:
    lines = [f"name = {_quote(d['name'])}", f"exclusive = {str(d['exclusive']).lower()}", ""]
    for label in d["labels"]:
        lines += [f"[[{prefix}labels]]", f"name = {_quote(label['name'])}"]
        lines += [f"definition = {_quote(label['definition'])}", ""]
    for level, mapping in d.get("mappings", {}).items():
        lines += [f"[{prefix}mappings.{_quote(level)}]"]
        lines += [f"{_quote(fine)} = {_quote(target)}" for fine, target in mapping.items()] + [""]
    for level, coarse in d.get("coarse", {}).items():
        inner = f"{prefix}coarse.{_quote(level)}"
        lines += [f"[{inner}]", *_toml_lines(coarse, prefix=f"{inner}.")]
    return lines


def _quote(text: str) -> str:
    # a JSON string is a TOML basic string, save that TOML wants DEL escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
