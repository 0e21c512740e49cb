"""Runs put in order: equal settings but the seed make a group, one recipe a block. Imports results, known.

The paper's settings are one block, every other recipe another: their figures never stand in one table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from emodef.paper.known import KNOWN, Setup
from emodef.paper.results import Run

PAPER = "paper"
BASELINE = "paper-baseline"
# no difference between a row's runs. Most change nothing in what is trained; precision rounds it, and "auto" is another on other
# machines: the runs' table has each run's; the corpus brings its own labels, whether they were named or not; an encoder goes by its
# name, see `group_runs`
_WORDS_ONLY = (
    "description",
    "save_every",
    "teacher",
    "unlabelled",
    "precision",
    "label_set",
    "backbone_hash",
)
_ROW = (
    "backbone",
    "setup",
    "p",
    "budget",
    "steps_as_p",
    "auxiliary_clip",
)  # which row of a block a run belongs to
_ONLY_WITH = {
    "match_learning_rate": "match",
    "match_text": "match",
    "match_scale": "match",
    "match_bias": "match",
    "match_shared_bias": "match",
    "match_labels": "match",
    "match_vary": "match",
    "match_anchor": "match",
    "mlm_rate": "mlm",
}
_BEYOND = {
    "average": "the mean of other runs",
    "teacher": "learned from other runs",
    "start": "began with a trained model",
    "held_out": "trained without some labels",
    "held_out_draw": "trained without some labels",
}
_AUXILIARY = (
    "p",
    "budget",
    "auxiliary_clip",
    "max_pair_length",
)  # mean something only where there are auxiliary steps


@dataclass(frozen=True)
class Group:
    """Runs with equal settings but the seed, one a seed, by seed. scores: the head whose probabilities are meant."""

    runs: tuple[Run, ...]
    scores: str

    @property
    def settings(self) -> dict[str, Any]:
        """What the runs share, less what has no effect in their setup."""
        return effective(self.runs[0].settings)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, ascending."""
        return tuple(run.seed for run in self.runs)

    @property
    def backbone(self) -> str:
        """The encoder, as the tables call it."""
        return KNOWN.backbone(self.settings["backbone"]).title

    @property
    def setup(self) -> Setup:
        """The setup, as the tables call it."""
        return KNOWN.setup(self.settings["setup"])

    @property
    def title(self) -> str:
        """Such as "BERT+CDP", or "MiniLM+match, emotion head" where that is not the head it answers with."""
        named = row_title(self.backbone, self.setup)
        return named if self.scores == self.runs[0].scores else f"{named}, {self.scores} head"

    def head(self, scores: str) -> Group | None:
        """The same runs with another head's probabilities; None where they have none."""
        return replace(self, scores=scores) if all(scores in run.heads() for run in self.runs) else None


@dataclass(frozen=True)
class Block:
    """Groups that one recipe made, apart from backbone, setup and sampling. name: for file names; title: in words."""

    name: str
    title: str
    groups: tuple[Group, ...]

    @property
    def paper(self) -> bool:
        """Whether these are the paper's settings."""
        return self.name == PAPER

    @property
    def backbones(self) -> list[str]:
        """The encoders that were run, in the tables' order."""
        known = [backbone.title for backbone in KNOWN.backbones]
        held = dict.fromkeys(group.backbone for group in self.groups)
        return sorted(held, key=lambda title: known.index(title) if title in known else len(known))

    def words(self, policy: str) -> str:
        """How labels are decided: "at 0.3", the runs' own fixed threshold, or "thresholds tuned on dev"."""
        if policy == "tuned":
            return "thresholds tuned on dev"
        settings = self.groups[0].settings if self.groups else KNOWN.settings
        return f"at {settings.get('threshold', KNOWN.settings['threshold']):g}"

    @property
    def wanted_backbones(self) -> list[str]:
        """Those, and with the paper's settings the paper's own encoder, run or not, which is the first."""
        own = [KNOWN.baseline["backbone"]] if self.paper else []
        return list(dict.fromkeys([*own, *self.backbones]))

    def find(
        self,
        backbone: str,
        setup: str,
        *,
        p: float = KNOWN.p,
        budget: str = "total",
        steps_as_p: float | None = None,
        auxiliary_clip: float | None = None,
    ) -> Group | None:
        """The group of one row, with the head it answers with; None where it has not been run.

        p, budget and auxiliary_clip matter only where the setup has auxiliary steps, steps_as_p only where it has none.
        """
        wanted = KNOWN.setup(setup).name
        for group in self.groups:
            settings = group.settings
            if (
                (group.backbone, group.setup.name) == (backbone, wanted)
                and settings.get("p", p) == p
                and settings.get("budget", budget) == budget
                and settings.get("steps_as_p") == steps_as_p
                and settings.get("auxiliary_clip") == auxiliary_clip
            ):
                return group
        return None

    def further(self, backbone: str) -> list[Setup]:
        """The setups that were run with an encoder and that known.toml does not have, by name: rows after all others, where run."""
        held = {group.setup for group in self.groups if group.backbone == backbone}
        return sorted(held - set(KNOWN.setups), key=lambda setup: setup.name)

    def clips(self, backbone: str) -> list[float]:
        """The limits that gradients of auxiliary steps were held to, where not to that of all steps, ascending."""
        held = (group.settings.get("auxiliary_clip") for group in self.groups if group.backbone == backbone)
        return sorted({clip for clip in held if clip is not None})


def row_title(backbone: str, setup: Setup) -> str:
    """A row's name as in the paper: "BERT", "BERT+CDP"."""
    return f"{backbone}+{setup.title}" if setup.title else backbone


def beyond(settings: Mapping[str, Any]) -> str:
    """Why a run belongs into none of the paper's tables, in words; empty where it does."""
    return next((why for key, why in _BEYOND.items() if settings.get(key)), "")


def effective(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run's result depends on, the seed aside: those of tasks it does not train are left out."""
    idle = {*_WORDS_ONLY, "seed"} | _without_effect(settings["setup"])
    kept = {key: value for key, value in settings.items() if key not in idle and value is not None}
    kept["setup"] = KNOWN.setup(settings["setup"]).name
    kept["backbone"] = KNOWN.backbone(settings["backbone"]).title
    return kept


def _without_effect(setup: str) -> set[str]:
    tasks = set(setup.split("+"))
    auxiliary = () if KNOWN.setup(setup).auxiliary else _AUXILIARY
    return {*auxiliary, *(key for key, task in _ONLY_WITH.items() if task not in tasks)}


def differences(settings: Mapping[str, Any]) -> dict[str, Any]:
    """How settings differ from the paper's, in what makes a block: key -> the run's value.

    Pooling as the backbone needs it is no difference.
    """
    own = effective(settings)
    backbone = KNOWN.backbone(settings["backbone"])
    # read as the run's own setup reads it, so that what has no effect there is no difference
    paper = effective({**KNOWN.settings, "setup": settings["setup"], "backbone": settings["backbone"]})
    paper["pooling"] = backbone.pooling or "own"
    keys = sorted((own.keys() | paper.keys()) - set(_ROW))
    return {key: own.get(key) for key in keys if own.get(key) != paper.get(key)}


def group_runs(runs: Iterable[Run], report: Callable[[str], None] | None = None) -> list[Group]:
    """Runs by equal settings but the seed. Of several with the same seed the one that was made as most other seeds' were is kept, else the
    first by name; of other encoders in a folder of the same name the first. `report` is told of the others.
    """
    found: dict[str, list[Run]] = {}
    tell = report or (lambda _: None)
    for run in sorted(runs, key=lambda run: run.name):
        held = found.setdefault(repr(sorted(effective(run.settings).items())), [])
        encoders = {each.settings.get("backbone_hash") for each in (*held[:1], run)} - {None}
        if len(encoders) < 2:
            held.append(run)
        else:
            tell(
                f"left out: {run.path}: its encoder, {run.settings['backbone']}, is another than that of {held[0].path}"
            )
    return [Group(_one_a_seed(held, tell), held[0].scores) for held in found.values()]


def _one_a_seed(runs: Sequence[Run], tell: Callable[[str], None]) -> tuple[Run, ...]:
    """By seed; so that a mean over seeds is not one over processors and versions too, where it can be had."""
    by_seed: dict[int, list[Run]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(run)

    def alike(run: Run) -> int:
        """Other seeds that have a run made as this one."""
        return sum(any(each.made == run.made for each in others) for others in by_seed.values()) - 1

    kept = {seed: max(found, key=alike) for seed, found in by_seed.items()}  # of equals the first
    for run in runs:
        if run is not kept[run.seed]:
            tell(f"left out: {run.path}: the same settings and seed as {kept[run.seed].path}")
    return tuple(kept[seed] for seed in sorted(kept))


def blocks(groups: Sequence[Group]) -> list[Block]:
    """The groups by recipe: the paper's settings first, even where nothing was run with them, then the others by name."""
    found: dict[str, list[Group]] = {}
    changed: dict[str, dict[str, Any]] = {}
    for group in groups:
        different = differences(group.runs[0].settings)
        key = BASELINE if _is_baseline(group, different) else repr(sorted(different.items()))
        found.setdefault(key, []).append(group)
        changed[key] = different
    _share(found, changed)
    made = [Block(PAPER, "the paper's settings", tuple(found.pop(repr([]), ())))]
    if BASELINE in found:
        made.append(Block(BASELINE, "the paper's baseline", tuple(found.pop(BASELINE))))
    others = []
    for key, members in found.items():
        recipe = _recipe(changed[key])
        words = ", ".join(f"{name} {_word(value)}" for name, value in changed[key].items())
        others.append((recipe or "", words, tuple(members)))
    others.sort(key=lambda each: (not each[0], each[:2]))
    for number, (recipe, words, groups_of) in enumerate(others, start=1):
        title = f"recipe {recipe}: {words}" if recipe else f"other settings: {words}"
        made.append(Block(recipe or f"settings{number}", title, groups_of))
    return made


def _share(found: dict[str, list[Group]], changed: Mapping[str, dict[str, Any]]) -> None:
    """Put groups into every block that differs from theirs only in what has no effect in their setup.

    So the emotion task alone stands beside a recipe's matching, whose settings it knows nothing of. A block whose groups all stand in
    larger ones is dropped, but for the paper's.
    """
    dropped: list[str] = []  # at the end: others may share with them yet
    own = {key: tuple(groups) for key, groups in found.items() if key != BASELINE}
    for key, groups in own.items():
        shared = [_wider(group, key, changed, own) for group in groups]
        for group, others in zip(groups, shared, strict=True):
            for other in others:
                found[other].append(group)
        if all(shared) and changed[key]:
            dropped.append(key)
    for key in dropped:
        del found[key]


def _wider(group: Group, key: str, changed: Mapping[str, dict[str, Any]], keys: Iterable[str]) -> list[str]:
    """The blocks that differ from a group's own only in what has no effect on it."""
    ignored = _without_effect(group.runs[0].settings["setup"])

    def seen(other: str) -> dict[str, Any]:
        return {name: value for name, value in changed[other].items() if name not in ignored}

    return [other for other in keys if other != key and seen(other) == changed[key]]


def _is_baseline(group: Group, different: Mapping[str, Any]) -> bool:
    wanted = KNOWN.baseline
    return (group.backbone, group.setup.name, different) == (
        wanted["backbone"],
        "none",
        wanted["settings"],
    )


def _word(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _recipe(different: Mapping[str, Any]) -> str | None:
    """The shipped recipe that differs from the paper's settings in just this."""
    for name, settings in _recipes().items():
        theirs = differences({**KNOWN.settings, **settings})
        if theirs == different:
            return name
    return None


@cache
def _recipes() -> dict[str, dict[str, Any]]:
    """Shipped recipes for one run each: name -> their settings. Those that stand for several runs, or another kind, are left out."""
    files = {
        path.name.removesuffix(".toml"): tomllib.loads(path.read_text(encoding="utf-8"))
        for path in (resources.files("emodef") / "recipes").iterdir()
        if path.name.endswith(".toml")
    }

    def read(name: str) -> dict[str, Any]:
        own = dict(files[name])
        base = own.pop("extends", None)
        return {**(read(base) if base in files else {}), **own}

    found = {name: read(name) for name in sorted(files)}
    return {
        name: settings
        for name, settings in found.items()
        if set(settings) <= {*KNOWN.settings, "description"} and _single(settings)
    }


def _single(settings: Mapping[str, Any]) -> bool:
    return not any(isinstance(value, list) for key, value in settings.items() if key != "placeholders")
