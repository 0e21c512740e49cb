"""Own labels and known ones as one label set, with mappings to coarser sets, thresholds and calibration. Imports labels, definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emodef.calibration import Calibration
from emodef.definitions import Definitions
from emodef.labels import LabelSet, shipped
from emodef.predictor.model_file import ModelInfo


def merged_set(definitions: Definitions | None, known: LabelSet, taken: Sequence[int]) -> LabelSet:
    """The labels in the order of `taken`: a label's place in `known`, or -1 for the next of the own ones alone.

    Own labels come first, so that a label's place tells whether it is one. A coarser level remains where every label maps to it: own
    labels by their file's mappings, or by what these lead to (to ekman, and so to sentiment).
    """
    if definitions is None and tuple(taken) == tuple(range(len(known))):
        return known
    own = None if definitions is None else definitions.label_set
    names, texts = [], []
    for k, place in enumerate(taken):
        source, row = (known, place) if place >= 0 else (own, k)
        assert source is not None  # a label that is not known is an own one
        names.append(source.names[row])
        texts.append(source.definitions[row])
    of_own = {} if own is None else _all_mappings(own)
    mappings: dict[str, Mapping[str, str]] = {}
    coarse: dict[str, LabelSet] = {}
    mixed = any(place >= 0 for place in taken)
    for level in dict.fromkeys([*of_own, *known.mappings]):
        sources = [of_own.get(level, {}) if place < 0 else known.mappings.get(level, {}) for place in taken]
        if not all(name in source for name, source in zip(names, sources, strict=True)):
            continue
        used = {name: source[name] for name, source in zip(names, sources, strict=True)}
        # with own labels alone, as their file has it: its labels, in its order
        described = (known, own) if mixed else (own, known)
        sets = [each.coarse[level] for each in described if each is not None and level in each.coarse]
        for whole in sets or [replace(LabelSet.load(level), mappings={}, coarse={})]:
            if set(used.values()) <= set(whole.names):
                mappings[level], coarse[level] = used, _narrowed(whole, used) if mixed else whole
                break
    used_sets = [*([] if own is None else [own]), *([known] if mixed else [])]
    return LabelSet(
        "+".join(dict.fromkeys(each.name for each in used_sets)),
        tuple(names),
        tuple(texts),
        mappings,
        all(each.exclusive for each in used_sets),
        coarse,
    )


def _all_mappings(labels: LabelSet) -> dict[str, Mapping[str, str]]:
    """A set's mappings, and those that its coarser sets have to coarser ones still."""
    found: dict[str, Mapping[str, str]] = dict(labels.mappings)
    for level, mapping in labels.mappings.items():
        if level not in shipped() or labels.coarse[level].names != LabelSet.load(level).names:
            continue
        for higher, further in LabelSet.load(level).mappings.items():
            if higher == labels.name:  # a file may be called as a shipped set is
                continue
            found.setdefault(higher, {name: further[target] for name, target in mapping.items()})
    return found


def _narrowed(coarse: LabelSet, mapping: Mapping[str, str]) -> LabelSet:
    """A coarser set without the labels that nothing maps to: they would be at 0 for every text."""
    kept = [k for k, name in enumerate(coarse.names) if name in mapping.values()]
    return replace(
        coarse,
        names=tuple(coarse.names[k] for k in kept),
        definitions=tuple(coarse.definitions[k] for k in kept),
    )


def merged_thresholds(
    definitions: Definitions | None,
    below: ModelInfo,
    labels: LabelSet,
    taken: Sequence[int],
    guessed: NDArray[np.float64],
) -> dict[str, Any]:
    """As ModelInfo has them. Known labels keep their tuned thresholds; own ones have the one given, else the one guessed.

    The word "tuned" then means each label's own. It is left out where all are the fixed one. A coarser level has tuned thresholds
    only where all of its labels are known ones with all their children.
    """
    fixed = float(below.thresholds["fixed"])
    tuned = below.thresholds.get("tuned", {})
    of_known = tuned.get(below.label_set.name, [fixed] * len(below.label_set))
    given, rest, values = () if definitions is None else definitions.thresholds, iter(guessed.tolist()), []
    for k, place in enumerate(taken):
        if place >= 0:
            values.append(of_known[place])
        else:
            guess = next(rest)
            own = given[k]
            values.append(guess if own is None else own)
    found: dict[str, Any] = {"fixed": fixed}
    if any(value != fixed for value in values):
        found["tuned"] = {labels.name: values}
        if sorted(taken) == list(range(len(below.label_set))):
            for level in labels.mappings:  # some of its labels may have no child here
                by_name = dict(zip(below.label_set.coarse[level].names, tuned.get(level, ()), strict=False))
                names = labels.coarse[level].names
                if by_name.keys() >= set(names):
                    found["tuned"][level] = [by_name[name] for name in names]
    return found


def of_labels(calibration: Calibration, taken: Sequence[int]) -> Calibration:
    """The curves of some labels."""
    return replace(
        calibration,
        slope=tuple(calibration.slope[k] for k in taken),
        intercept=tuple(calibration.intercept[k] for k in taken),
    )
