"""Behavioural probes of anything with `predict_proba(texts)`: swaps, small changes, other languages and texts. Imports its modules.

    report = probe(predictor.predict_proba, predictor.label_set, thresholds)

The sentences and words are in the TOML files beside this module, written for it. `material` reads them; `swaps`, `changes` and
`elsewhere` measure; `tables` shows.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from emodef.labels import LabelSet
from emodef.probes.changes import Change, Negation, change_probes, negation_probe
from emodef.probes.elsewhere import (
    CorpusResult,
    DomainResult,
    Language,
    corpus_probes,
    domain_probes,
    language_probes,
)
from emodef.probes.material import Material, load_material
from emodef.probes.measures import Judge, PredictProba, Thresholds, plain
from emodef.probes.swaps import Contrast, Shift, swap_probes

__all__ = [
    "Change",
    "Contrast",
    "CorpusResult",
    "DomainResult",
    "Language",
    "Material",
    "Negation",
    "ProbeReport",
    "Shift",
    "load_material",
    "probe",
]

FORMAT = 1  # of the dictionaries that results are stored as


@dataclass(frozen=True)
class ProbeReport:
    """What was measured. texts: how many were predicted. notes: what was not measured, and why. material: hash of the probes."""

    texts: int
    resamples: int
    seed: int
    material: str
    contrasts: tuple[Contrast, ...]
    changes: tuple[Change, ...]
    negation: Negation | None
    languages: tuple[Language, ...]
    domains: tuple[DomainResult, ...]
    corpora: tuple[CorpusResult, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The whole report for strict JSON; estimates as [value, low, high], rounded to five places."""
        return {"format": FORMAT, **plain(self)}

    def to_json(self) -> str:
        """`to_dict` as a line of text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


def probe(
    predict_proba: PredictProba,
    labels: LabelSet,
    thresholds: Thresholds,
    *,
    corpora: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    material: Material | None = None,
) -> ProbeReport:
    """Probe a model: about 11,000 short texts, and the other corpora that are at hand (13,000 longer ones).

    predict_proba: texts -> probabilities (n, K) of `labels`. thresholds: as the model decides, a number or (K,); None takes the
    likeliest label. corpora: measure other corpora too; data_dir as in `load_corpus`. resamples: behind the intervals, 0 for none.
    The same model and seed give the same report. Raises DataError where probabilities do not fit.
    """
    material = material or load_material()
    judge = Judge(predict_proba, labels, thresholds, resamples, seed)
    contrasts = swap_probes(judge, material)
    changes, negation = change_probes(judge, material), negation_probe(judge, material)
    languages, domains = language_probes(judge, material), domain_probes(judge, material)
    measured, notes = corpus_probes(judge, material, data_dir) if corpora else ([], [])
    return ProbeReport(
        texts=judge.texts,
        resamples=resamples,
        seed=seed,
        material=material.sha256,
        contrasts=tuple(contrasts),
        changes=tuple(changes),
        negation=negation,
        languages=tuple(languages),
        domains=tuple(domains),
        corpora=tuple(measured),
        notes=tuple(notes),
    )
