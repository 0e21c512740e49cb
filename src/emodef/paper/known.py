"""What the paper names (known.toml): backbones, setups, settings, printed texts. Imports the standard library only."""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

_AUXILIARY = {"cdp", "mlm"}  # tasks with steps of their own


@dataclass(frozen=True)
class Backbone:
    """An encoder as the tables call it. pooling: what the paper's settings mean for it, None for one the paper's tables lack."""

    title: str
    names: tuple[str, ...] = ()
    pooling: str | None = None
    definitions: bool = False


@dataclass(frozen=True)
class Setup:
    """A setup as the tables call it. column: its columns' start in the paper's Table III, None for what is not there."""

    name: str
    title: str
    column: str | None = None

    @property
    def auxiliary(self) -> bool:
        """Whether it has auxiliary steps."""
        return bool(_AUXILIARY & set(self.name.split("+")))

    @property
    def primary(self) -> str:
        """The setup that its primary steps are those of: "match" for "match+cdp", "none" for "cdp"."""
        return "+".join(task for task in self.name.split("+") if task not in _AUXILIARY) or "none"


@dataclass(frozen=True)
class Known:
    """known.toml. settings: every setting of recipe `paper`, None for those that TOML cannot say; added: those younger than some runs."""

    p: float
    added: tuple[str, ...]
    sweep: tuple[float, ...]
    baseline: Mapping[str, Any]
    backbones: tuple[Backbone, ...]
    setups: tuple[Setup, ...]
    settings: Mapping[str, Any]
    table1: tuple[str, ...]
    figure1: str
    table5: Mapping[str, tuple[str, ...]]

    def backbone(self, setting: str) -> Backbone:
        """The backbone that a setting (a hub name, or a folder) stands for.

        An unknown one is called by the last three parts of its path: others may end alike, and where it lies says nothing to others.
        """
        parts = posixpath.normpath(setting.replace("\\", "/")).split("/")
        name = parts[-1]
        for backbone in self.backbones:
            if name.casefold() in backbone.names:
                return backbone
        return Backbone("/".join(part for part in parts[-3:] if part) or setting)

    def setup(self, name: str) -> Setup:
        """A setup by its setting; one that the tables have no row for is called by its tasks, "match+CDP"."""
        tasks = sorted(name.split("+"))
        for setup in self.setups:
            if sorted(setup.name.split("+")) == tasks:
                return setup
        titles = {setup.name: setup.title for setup in self.setups}
        beside = sorted(tasks, key=lambda task: task in _AUXILIARY)
        return Setup("+".join(tasks), "+".join(titles.get(task, task) for task in beside))


def _load() -> Known:
    content = tomllib.loads(resources.files("emodef.paper").joinpath("known.toml").read_text("utf-8"))
    unset = dict.fromkeys(
        (
            "label_set",
            "backbone_hash",
            "start",
            "start_hash",
            "steps_as_p",
            "auxiliary_clip",
            "dropout",
            "patience",
            "held_out_draw",
            "unlabelled",
            "unlabelled_hash",
        )
    )
    return Known(
        p=content["p"],
        added=tuple(content["added"]),
        sweep=tuple(content["sweep"]),
        baseline=content["baseline"],
        backbones=tuple(Backbone(**{**each, "names": tuple(each["names"])}) for each in content["backbones"]),
        setups=tuple(Setup(**each) for each in content["setups"]),
        settings={**content["settings"], **unset},
        table1=tuple(content["table1"]["ids"]),
        figure1=content["table1"]["figure1"],
        table5={name: tuple(labels) for name, labels in content["table5"].items()},
    )


KNOWN = _load()
