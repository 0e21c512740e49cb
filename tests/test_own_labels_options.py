"""How own labels may be asked for: known ones as an iterator, and a policy that has no name."""

from __future__ import annotations

from functools import partial

import numpy as np

from emodef.predictor import Predictor
from emodef.predictor.unseen import centred

OWN = {"glee": "so happy and glad", "rage": "furious hate, angry hate"}
TEXTS = ["I am so happy", "so furious, angry!", "the meeting"]


def test_known_labels_from_an_iterator_are_not_lost(predictor: Predictor) -> None:
    for names in (["joy"], ["joy", "anger"]):
        wanted = predictor.with_labels(OWN, known=names).predict_proba(TEXTS)
        given = (name for name in names)
        np.testing.assert_array_equal(predictor.score(TEXTS, OWN, known=given), wanted)  # type: ignore[arg-type]


def test_a_policy_without_a_name(predictor: Predictor) -> None:
    quarter = predictor.with_labels(OWN, policy=partial(centred, part=0.25))
    wanted = predictor.with_labels(OWN, policy="centred:0.25")
    np.testing.assert_array_equal(quarter.predict_proba(TEXTS), wanted.predict_proba(TEXTS))
    half = predictor.with_labels(OWN, policy=partial(centred, part=0.5))
    assert quarter.layer is not None
    assert half.layer is not None
    assert quarter.layer.identity != half.layer.identity
