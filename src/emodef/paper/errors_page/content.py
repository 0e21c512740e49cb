"""What the page of disagreements holds, as JSON-able data. Imports disagreements, figures.maps, reporting.page.content."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from emodef.corpora import Corpus
from emodef.disagreements import Disagreement, error_analysis
from emodef.paper.figures.maps import ordered
from emodef.reporting.page.content import grouping, shortened, sound


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
    groups, group_of = (grouping(corpus.label_set) if corpus.label_set.mappings else None) or ((), {})
    labels = [
        {
            "name": sound(analysis.names[k]),
            "definition": sound(corpus.label_set.definitions[k]),
            "annotated": int(analysis.annotated_together[k, k]),
            "predicted": int(analysis.predicted_together[k, k]),
            "both": int(analysis.confusion[k, k]),
            **({"group": group_of[analysis.names[k]]} if groups else {}),
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


def _text(found: Disagreement, place: dict[str | None, int]) -> dict[str, Any]:
    return {
        **shortened(found.text),
        "labels": [place[name] for name in found.labels],
        "predicted": [place[name] for name in found.predictions],
        "scores": {str(place[name]): round(score, 4) for name, score in found.probabilities.items()},
    }
