"""Own labels with the model that emodef brings: the right ones first, known ones as they were."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from commands import emodef_command
from emodef.definitions import read_labels
from emodef.predictor import Predictor
from emodef.predictor.core import SHIPPED

pytestmark = pytest.mark.skipif(not (SHIPPED / "model.onnx").exists(), reason="no shipped model")

OWN = {
    "homesickness": "Longing for a place one comes from",
    "envy": "Wanting what someone else has",
    "boredom": "Feeling weary because nothing is interesting",
}
TEXTS = [
    "I miss my mother's kitchen, everything out here is strange to me.",
    "It is so unfair that he has the house I always wanted.",
    "This lecture is so dull, when will it be over?",
]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(threads=1)


def test_texts_score_higher_for_their_own_label(predictor: Predictor) -> None:
    found = predictor.score(TEXTS, OWN)
    own = np.eye(len(TEXTS)) > 0
    assert found[own].mean() > 2 * found[~own].mean()


def test_known_labels_are_as_without_own_ones(predictor: Predictor) -> None:
    both = predictor.with_labels(OWN, known=True)
    np.testing.assert_array_equal(both.predict_proba(TEXTS)[:, len(OWN) :], predictor.predict_proba(TEXTS))
    tuned = predictor.info.thresholds["tuned"][predictor.label_set.name]
    assert both.info.thresholds["tuned"][both.label_set.name][len(OWN) :] == tuned


def test_definitions_encoded_here_score_as_those_in_the_graph(predictor: Predictor) -> None:
    head = predictor.head
    assert head is not None
    apart = np.abs(head.probabilities(predictor.embed(TEXTS)) - predictor.predict_proba(TEXTS))
    assert apart.max() < 0.05  # the graph's are the checkpoint's, these are read in int8


def test_levels_form_a_tree(predictor: Predictor) -> None:
    """What the fine labels say of ekman, and ekman of sentiment, is what they say of sentiment."""
    fine, ekman, sentiment = (
        predictor.predict_proba(TEXTS, level=level) for level in (None, "ekman", "sentiment")
    )
    coarse, groups = predictor.label_set.groups("ekman")
    assert (ekman[:, groups] >= fine).all()
    names = predictor.label_set.coarse["sentiment"].names
    for name, of_ekman in predictor.label_set.mappings["ekman"].items():
        target = names.index(predictor.label_set.mappings["sentiment"][name])
        assert (sentiment[:, target] >= ekman[:, coarse.index(of_ekman)]).all()


def test_the_guide_is_what_happens(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "labels.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.S)
    assert {kind for kind, _ in blocks} == {"python", "sh", "toml"}
    for number, (kind, block) in enumerate(blocks):
        if kind == "toml":
            (tmp_path / f"{number}.toml").write_text(block, encoding="utf-8")
            assert len(read_labels(tmp_path / f"{number}.toml")) == 2
        elif kind == "python":
            exec(block, {})
        else:
            for line in block.splitlines():
                command = next(
                    i for i, word in enumerate(line.split()) if word.startswith(("-", "mine", '"'))
                )
                words = line.split("#")[0].split()[1:command]
                shown = emodef_command(*words, "--help").stdout
                assert all(option in shown for option in re.findall(r"--[\w-]+", line.split('"')[0]))
