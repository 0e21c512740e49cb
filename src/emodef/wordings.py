"""Several wordings of the same labels, measured on the same labelled texts: which definitions a model understands. Imports predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emodef.bootstrap import Estimate
from emodef.corpora import Corpus
from emodef.corpora.held_out import only_labels
from emodef.definitions import Definitions
from emodef.errors import DataError, SettingsError
from emodef.evaluation import evaluate_probabilities
from emodef.predictor import Predictor
from emodef.predictor.decisions import resolve_thresholds
from emodef.predictor.unseen import DEFAULT
from emodef.reporting import Cell, Column, Table

RESAMPLES = 1000


@dataclass(frozen=True)
class Wording:
    """What a wording scored under a policy. macro_auc does not depend on a policy, unless a text has one label."""

    name: str
    policy: str
    macro_f1: Estimate
    macro_auc: Estimate
    auc: Mapping[str, float]


def compare_wordings(
    wordings: Mapping[str, Definitions],
    corpus: Corpus,
    predictor: Predictor,
    *,
    policies: Sequence[str] = (DEFAULT,),
    bootstrap: int = RESAMPLES,
) -> list[Wording]:
    """Score a corpus from each of several sets of definitions of its labels, as `Predictor.with_labels` does, and measure it.

    wordings: name -> definitions; the same labels in any order, one or several a text as the corpus has them. policies: of
    `emodef.predictor.unseen`. Texts are read once; one of several windows is scored by their mean embedding.
    Raises DataError where labels differ, SettingsError for an unknown policy.
    """
    embeddings = predictor.root.embed(corpus.texts)
    found = []
    for name, definitions in wordings.items():
        _check(name, definitions, corpus)
        ordered = only_labels(corpus, definitions.names)
        for policy in policies:
            own = predictor.with_labels(definitions, policy=policy)
            if own.head is None:
                raise SettingsError("this model has no head that could be told what labels mean")
            thresholds = resolve_thresholds(None, None, own.info)
            report = evaluate_probabilities(
                own.head.probabilities(embeddings),
                ordered,
                thresholds=0.5 if thresholds is None else thresholds,
                levels=(),
                bootstrap=bootstrap,
            )
            areas = {label.name: float(label.roc_auc.value) for label in report.labels}
            found.append(
                Wording(name, policy, report.summary["macro_f1"], report.summary["macro_roc_auc"], areas)
            )
    return found


def wordings_table(found: Sequence[Wording], corpus: Corpus) -> Table:
    """One row a wording; macro-F1 under each policy, and the AUC under the first."""
    policies = list(dict.fromkeys(each.policy for each in found))
    names = list(dict.fromkeys(each.name for each in found))
    by = {(each.name, each.policy): each for each in found}
    single = len(policies) == 1
    columns = (
        Column("definitions"),
        *(Column("macro F1" if single else f"F1, {policy}", "percent", 1) for policy in policies),
        Column("macro AUC" if single else f"AUC, {policies[0]}", "percent", 1),
    )
    rows: list[tuple[Cell, ...]] = [
        (name, *(by[name, policy].macro_f1 for policy in policies), by[name, policies[0]].macro_auc)
        for name in names
    ]
    if len(names) > 1:
        means = [np.mean([by[name, policy].macro_f1.value for name in names]) for policy in policies]
        auc = np.mean([by[name, policies[0]].macro_auc.value for name in names])
        rows.append(("mean of these", *map(float, means), float(auc)))
    note = f"{corpus.name} {corpus.split}, {len(corpus):,} texts. 95% intervals: percentile bootstrap over texts, {RESAMPLES:,} resamples."
    return Table("Definitions compared", columns, tuple(rows), (note,))


def _check(name: str, definitions: Definitions, corpus: Corpus) -> None:
    own, theirs = set(definitions.names), set(corpus.label_set.names)
    if missing := sorted(theirs - own):
        raise DataError(
            f"{name} lacks labels of {corpus.name}: {', '.join(missing)}; write a definition of each"
        )
    if surplus := sorted(own - theirs):
        raise DataError(
            f"{name} has labels that {corpus.name} does not have: {', '.join(surplus)}; take them out of a copy of it"
        )
    if definitions.label_set.exclusive != corpus.label_set.exclusive:
        has = "one label" if corpus.label_set.exclusive else "several labels"
        wanted = str(corpus.label_set.exclusive).lower()
        raise DataError(f"texts of {corpus.name} have {has}; write exclusive = {wanted} in {name}")
