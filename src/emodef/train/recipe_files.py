"""Recipes as files: TOML, what one builds on, and the lists in it that stand for several runs. Imports errors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

from emodef.errors import SettingsError

LISTS = (
    "placeholders",
    "teacher",
    "teacher_hashes",
    "average",
    "held_out",
)  # settings that are lists themselves


def recipes() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(p.name.removesuffix(".toml") for p in shipped().iterdir() if p.name.endswith(".toml"))


def parse_overrides(assignments: list[str]) -> dict[str, Any]:
    """`["seed=1", "setup=cdp"]` as a dict, values read as TOML where they are TOML, else as text."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if not sign or not key:
            raise SettingsError(f"--set {assignment!r}: write it as KEY=VALUE, for example --set seed=1")
        try:
            overrides[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            overrides[key.strip()] = value
    return overrides


def shipped() -> Any:
    """The folder of the recipes that come with the package."""
    return resources.files("emodef") / "recipes"


def read_values(name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    """A recipe's values over those of the ones it builds on, its own keys first."""
    path = shipped() / f"{name}.toml" if name in recipes() else Path(name).resolve()
    if str(path) in seen:
        raise SettingsError(f"recipe {name!r} extends itself: {' -> '.join((*seen, str(path)))}")
    if not path.is_file():
        raise SettingsError(f"no recipe {name!r}: give a TOML file or one of {', '.join(recipes())}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{name}: not a TOML file that can be read: {error}") from None
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise SettingsError(f"{name}: extends = {base!r}: give the name of one recipe")
    if base not in recipes():  # a neighbour of this file
        base = str(Path(name).parent / base)
    return values | {k: v for k, v in read_values(base, (*seen, str(path))).items() if k not in values}


def is_list(key: str, value: object) -> bool:
    """Whether a recipe's value is a list of values, each for runs of its own."""
    return isinstance(value, list) and key not in LISTS


def combinations(values: Mapping[str, Any], name: str) -> Iterator[tuple[dict[str, int], dict[str, Any]]]:
    """Each combination of the lists among `values`, and of each list which of its values that is."""
    lists = {key: value for key, value in values.items() if is_list(key, value)}
    if empty := [key for key, value in lists.items() if not value]:
        raise SettingsError(f"{name}: {empty[0]} = []: a list needs at least one value")
    for places in product(*(range(len(value)) for value in lists.values())):
        place = dict(zip(lists, places, strict=True))
        yield place, {**values, **{key: lists[key][at] for key, at in place.items()}}
