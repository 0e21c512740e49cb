"""Errors that say what is wrong, where, and the remedy; and the door for optional packages. Imports only the standard library."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from types import ModuleType


class EmodefError(Exception):
    """An error a user can act on. `exit_code` is what the command line returns for it."""

    exit_code = 1


class SettingsError(EmodefError):
    """A setting or option that does not exist or does not fit."""

    exit_code = 2


class DataError(EmodefError):
    """Something in the user's data: says file and row where they are known."""

    exit_code = 3

    def __init__(
        self, message: str, path: str | os.PathLike[str] | None = None, row: int | None = None
    ) -> None:
        place = (
            ""
            if path is None
            else f"{os.fspath(path)}:{row}: "
            if row is not None
            else f"{os.fspath(path)}: "
        )
        super().__init__(place + message)
        self.path, self.row = path, row


class LabelSetError(DataError):
    """A label set that contradicts itself."""


class MissingExtraError(EmodefError):
    """A package of an extra that is not installed."""

    exit_code = 4


class TrainingError(EmodefError):
    """Training cannot go on; what was saved stays."""

    exit_code = 5


def require(module: str, extra: str, remedy: str | None = None) -> ModuleType:
    """Import `module`, or raise MissingExtraError with the command that installs `extra`, or with `remedy` where that lacks it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        command = f"pip install 'emodef[{extra}]'"
        raise MissingExtraError(
            f"this needs the package {module.split('.')[0]!r}, which is not installed; "
            f"install it with: {remedy or command}"
        ) from None


def option_names(keys: Iterable[str]) -> str:
    """The command line's options that stand for these arguments of functions, for a message: label_set is --labels."""
    return ", ".join("--labels" if key == "label_set" else "--" + key.replace("_", "-") for key in keys)
