"""What the page of disagreements holds, as JSON-able data. Imports disagreements, corpora, figures.maps for the order of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emodef.corpora import Corpus
from emodef.disagreements import Disagreement, error_analysis
from emodef.labels import LabelSet
from emodef.paper.figures.maps import ordered

LONGEST = 1200  # characters of a text shown
MOST_GROUPS = 6  # colours that stay distinct


def errors_content(
    probabilities: ArrayLike, corpus: Corpus, *, thresholds: ArrayLike = 0.3, texts: int | None = None
) -> dict[str, Any]:
    """Everything the page draws. Labels are referred to by their place in `labels`, which stand by groups of a coarser set.

    texts: the most texts to hold, None for every disagreement; the most confident ones, each pair of labels once. What is counted is
    counted over all. Raises DataError where shapes or values do not fit.
    """
    everything = len(corpus)
    analysis = error_analysis(
        probabilities, corpus, thresholds=thresholds, top=everything, each_pair=everything
    )
    found = analysis.disagreements
    if texts is not None and texts < len(found):
        found = error_analysis(
            probabilities, corpus, thresholds=thresholds, top=texts, each_pair=1
        ).disagreements
    order = ordered(analysis, corpus.label_set)
    place = {analysis.names[k]: at for at, k in enumerate(order.places)} | {None: -1}
    groups, group_of = _groups(corpus.label_set)
    labels = [
        {
            "name": sound(analysis.names[k]),
            "definition": sound(corpus.label_set.definitions[k]),
            "annotated": int(analysis.annotated_together[k, k]),
            "predicted": int(analysis.predicted_together[k, k]),
            "both": int(analysis.confusion[k, k]),
            **({"group": group_of[k]} if groups else {}),
        }
        for k in order.places
    ]
    return {
        "texts": everything,
        "disagreements": len(analysis.disagreements),
        "groups": [sound(name) for name in groups],
        "labels": labels,
        "ends": list(order.ends),
        "pairs": sorted(
            [place[pair.annotated], place[pair.predicted], pair.texts] for pair in analysis.pairs
        ),
        "found": [_text(each, place) for each in found],
    }


def sound(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair is replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _text(found: Disagreement, place: dict[str | None, int]) -> dict[str, Any]:
    text = sound(found.text)
    held: dict[str, Any] = {
        "text": text[:LONGEST],
        "labels": [place[name] for name in found.labels],
        "predicted": [place[name] for name in found.predictions],
        "scores": {str(place[name]): round(score, 4) for name, score in found.probabilities.items()},
    }
    if len(text) > LONGEST:
        held["cut"] = len(text) - LONGEST
    return held


def _groups(label_set: LabelSet) -> tuple[tuple[str, ...], list[int]]:
    """The labels of the coarsest level and the group of each label, by which they are coloured; none where there are too many."""
    coarsest = min(label_set.mappings, key=lambda level: len(label_set.coarse[level]), default=None)
    if coarsest is None or len(label_set.coarse[coarsest]) > MOST_GROUPS:
        return (), []
    coarse, group = label_set.groups(coarsest)
    return coarse.names, np.asarray(group).tolist()
