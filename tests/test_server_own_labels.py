"""Labels of a client's own: as Predictor has them, as label files tell them, and what is wrong with some."""

from __future__ import annotations

from typing import Any

import pytest

from emodef import Predictor
from test_server import TEXTS, labels_of
from tiny_server import Running

OWN = {"delight": "Being happy", "name": {"definitions": ["angry", "furious"], "threshold": 0.2}}


def test_own_labels(server: Running, predictor: Predictor) -> None:
    status, _, found = server.ask("POST", "/v1/score", {"texts": TEXTS, "labels": OWN, "known": ["fear"]})
    assert status == 200
    tables = [
        {"name": "delight", "definitions": ["Being happy"]},
        {"name": "name", "definitions": ["angry", "furious"], "threshold": 0.2},
    ]
    own = predictor.with_labels({"name": "own", "labels": tables}, known=["fear"])
    for one, its in zip(found["predictions"], own.predict(TEXTS), strict=True):
        assert one["scores"] == pytest.approx(its.scores, abs=1e-6)
        assert list(labels_of(one)) == [name for name, _ in its.labels]
    assert {"delight", "name", "fear"} == set(found["predictions"][0]["scores"])


@pytest.mark.parametrize(
    ("labels", "known", "told"),
    [
        ({}, False, "labels"),
        ({"a": ""}, False, "labels"),
        ({"a": "same", "b": "same"}, False, "labels"),
        ({"a": "x"}, ["nobody"], "labels"),
        ({"a": {"definition": "x", "definitions": ["y"]}}, False, "labels"),
        ({"a": ["x", 3]}, False, "labels.a[1]"),
        ({"a": {"definition": ["x"]}}, False, "labels.a.definition"),
        ({"a": {"definitions": ["x"], "threshold": 1}}, False, "labels.a"),
    ],
    ids=str,
)
def test_own_labels_that_do_not_do(server: Running, labels: Any, known: Any, told: str) -> None:
    status, _, found = server.ask("POST", "/v1/score", {"texts": ["x"], "labels": labels, "known": known})
    assert (status, found["error"]["code"]) == (422, "invalid")
    assert found["error"]["field"].startswith(told)


def test_own_labels_are_told_as_in_a_label_file(server: Running) -> None:
    """Several ways to say the same; and what is misspelt is told as it is of a file."""
    one = {"definitions": ["Being happy"], "examples": ["so glad"], "threshold": 0.2}
    for labels in (
        ({"a": "Being happy"}, {"a": {"definition": "Being happy"}}, {"a": ["Being happy"]}),
        ({"a": {"definition": "Being happy", **{k: one[k] for k in ("examples", "threshold")}}}, {"a": one}),
        ({"a": ["happy", "glad"]}, {"a": {"definitions": ["happy", "glad"]}}),
    ):
        answers = [server.ask("POST", "/v1/score", {"texts": TEXTS, "labels": its}) for its in labels]
        assert [status for status, _, _ in answers] == [200] * len(labels)
        assert all(found == answers[0][2] for _, _, found in answers)
    for content, name, meant in (
        ({"labels": {"a": {"defintion": "x"}}}, "labels.a.defintion", "'definition'"),
        ({"labels": {"a": "x"}, "thresold": 0.2}, "thresold", "'threshold'"),
        ({"labels": {"a": {"colour": "x"}}}, "labels.a.colour", "there are: definition, definitions"),
    ):
        status, _, found = server.ask("POST", "/v1/score", {"texts": ["x"], **content})
        assert (status, found["error"]["field"]) == (422, name)
        assert meant in found["error"]["message"]
