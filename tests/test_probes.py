"""Probes: the material is whole; a model biased by a known amount is measured to be so, an unbiased one is not."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from emodef.bootstrap import Estimate
from emodef.errors import DataError
from emodef.labels import LabelSet
from emodef.probes import Contrast, ProbeReport, load_material, probe
from emodef.probes.changes import CHANGES, drop_letter, repeat_letter, swap_letters
from emodef.probes.material import Person
from emodef.probes.measures import decided_sets, means
from emodef.probes.swaps import alike, floor
from emodef.probes.tables import change_table, clear_shifts, contrast_table, probe_tables
from emodef.reporting import render

MATERIAL = load_material()
LABELS = LabelSet.load("goemotions")
K = len(LABELS)
SADNESS, ANGER, NEUTRAL = LABELS.index("sadness"), LABELS.index("anger"), LABELS.index("neutral")


def biased(texts: Sequence[str]) -> np.ndarray:
    """Neutral, except: 0.2 sadder about women called Keisha and "she", 0.5 angrier about the deaf, loud where in capitals."""
    values = np.full((len(texts), K), 0.01)
    values[:, NEUTRAL] = 0.9
    for row, text in enumerate(texts):
        words = set(re.findall(r"\w+", text.lower()))
        values[row, SADNESS] += 0.2 * bool(words & {"she", "her", "keisha"})
        values[row, ANGER] += 0.5 * ("deaf" in words)
        if text.isupper() and "neighbor" in words:
            values[row, NEUTRAL], values[row, ANGER] = 0.05, 0.8
    return values


@pytest.fixture(scope="module")
def report() -> ProbeReport:
    return probe(biased, LABELS, 0.3, corpora=False, resamples=100)


def contrast(report: ProbeReport, probe: str, first: str) -> Contrast:
    (found,) = [each for each in report.contrasts if (each.probe, each.first) == (probe, first)]
    return found


def shift(report: ProbeReport, probe: str, first: str, label: str) -> Estimate:
    return next(each.probability for each in contrast(report, probe, first).shifts if each.label == label)


# the material


def test_templates_cover_every_label_and_have_one_place_for_a_person() -> None:
    assert len(MATERIAL.templates) >= 60
    assert {template.label for template in MATERIAL.templates} == set(LABELS.names)
    assert len({template.text for template in MATERIAL.templates}) == len(MATERIAL.templates)
    for template in MATERIAL.templates:
        assert re.findall(r"\{(\w+)\}", template.text.casefold())[0] in ("subj", "obj", "poss"), template.text
        filled = template.fill(Person("xe", "xem", "xyr"))
        assert "{" not in filled
        assert filled[0].isupper()
    keyed = next(t for t in MATERIAL.templates if "{Subj} keyed" in t.text)
    assert keyed.fill(Person("she", "her", "her")).startswith("She keyed my car")
    lies = next(t for t in MATERIAL.templates if "{poss} lies" in t.text)
    assert "of Todd's lies" in lies.fill(Person.called("Todd"))


def test_names_are_balanced() -> None:
    cells = [(name.origin, name.gender) for name in MATERIAL.names]
    assert len(set(cells)) == 12
    assert {cells.count(cell) for cell in cells} == {6}
    assert len({name.name for name in MATERIAL.names}) == len(MATERIAL.names)


def test_every_sentence_is_there_in_every_language() -> None:
    assert len(MATERIAL.languages) >= 8
    assert sorted(label for label, _ in MATERIAL.sentences) == sorted(LABELS.names)
    for _, texts in MATERIAL.sentences:
        assert set(texts) == {"en", *MATERIAL.languages}
        assert len(set(texts.values())) == len(texts)


def test_labels_named_in_the_material_exist() -> None:
    assert {label for label, _, _ in MATERIAL.negations} <= set(LABELS.names)
    assert MATERIAL.neutral_label in LABELS.names
    for name, corpus in MATERIAL.corpora.items():
        assert set(corpus.labels) == set(LabelSet.load(name).names)
        own = [label for group in corpus.labels.values() for label in group]
        assert len(set(own)) == len(own)
        assert set(own) < set(LABELS.names)
    assert all(len(set(domain.texts)) == 20 for domain in MATERIAL.domains.values())


def test_phrases_stand_in_the_frame_or_bring_their_own() -> None:
    phrases = {term: phrase for found in MATERIAL.identity.values() for term, phrase in found.items()}
    assert phrases["Muslim"] == "my Muslim neighbor"
    assert phrases["my neighbor in a wheelchair"] == "my neighbor in a wheelchair"


# swaps


def test_a_known_bias_is_measured_as_what_it_is(report: ProbeReport) -> None:
    assert shift(report, "pronouns", "she", "sadness").value == pytest.approx(0.2)
    assert shift(report, "pronouns", "they", "sadness").value == pytest.approx(0)
    assert shift(report, "identity: disability", "deaf", "anger").value == pytest.approx(0.5)
    assert shift(report, "identity: disability", "deaf", "sadness").value == pytest.approx(0)
    assert shift(report, "names by origin", "African American", "sadness").value == pytest.approx(0.2 / 12)
    assert shift(report, "names by gender", "female", "sadness").value == pytest.approx(0.2 / 36)
    deaf = contrast(report, "identity: disability", "deaf")
    assert deaf.largest.label == "anger"
    assert deaf.floor == pytest.approx(0)
    assert deaf.changed.value == 1
    assert deaf.changed_alike == 0
    assert clear_shifts(deaf) == "anger +"
    assert [each.label for each in deaf.coarse if each.clear] == ["negative"]
    negative = next(each for each in deaf.coarse if each.label == "negative")
    assert negative.probability.value == pytest.approx(0.5)
    assert negative.decisions.value == 1


def test_one_odd_name_does_not_make_its_group_clear(report: ProbeReport) -> None:
    """The interval over templates leaves out 0, but a random deal of names does the same: the floor says so."""
    group = contrast(report, "names by origin", "African American")
    assert group.largest.probability.low is not None
    assert group.largest.probability.low > 0
    assert group.floor >= group.largest.probability.value
    assert not clear_shifts(group)


def test_a_coarse_shift_has_a_floor_of_its_own() -> None:
    """An odd name that makes one sentence sadder and another angrier moves what is negative twice as far as either."""

    def by_turns(texts: Sequence[str]) -> np.ndarray:
        values = np.full((len(texts), K), 0.01)
        for row, text in enumerate(texts):
            values[row, ANGER if len(text) % 2 else SADNESS] += 0.2 * ("Keisha" in text)
        return values

    group = contrast(
        probe(by_turns, LABELS, 0.3, corpora=False, resamples=100), "names by origin", "African American"
    )
    negative = next(each for each in group.coarse if each.label == "negative")
    assert negative.probability.low is not None
    assert negative.probability.low > 0
    assert group.floor < negative.probability.value <= group.coarse_floor
    assert not negative.clear


def test_a_model_without_bias_has_no_clear_shift() -> None:
    def by_length(texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text.split()) / 40 * (k + 1) / K for k in range(K)] for text in texts])

    found = probe(by_length, LABELS, None, corpora=False, resamples=0)
    names = [each for each in found.contrasts if each.probe.startswith("names")]
    assert len(names) == 7
    assert not any(shift.clear for each in names for shift in each.shifts)
    assert all(each.changed.value == 0 for each in names)
    assert names[0].changed.low is None


def test_floor_and_alike_on_numbers_by_hand() -> None:
    assert floor(np.zeros((6, 2)), 3, 3, seed=0) == 0
    deviations = np.array([[1.0], [-1.0]])
    assert floor(deviations, 1, 1, seed=0) == 2  # either way round
    assert floor(deviations, 1, 5, seed=0) == 2  # no more words than there are
    assert floor(np.zeros((6, 0)), 3, 3, seed=0) == 0  # a label set without a coarser level

    class Two:
        probabilities = np.array([[[0.2], [0.4], [0.9]]])
        coarse_probabilities = np.array([[[0.1, 0.3], [0.5, 0.3], [0.9, 0.9]]])
        sets = np.array([[0, 1, 2]])

    found = alike(Two, np.arange(3), ["a", "a", "b"])  # type: ignore[arg-type]
    assert found.deviations[:, 0] == pytest.approx([-0.2, 0.2, 0])
    assert found.coarse == pytest.approx(np.array([[-0.4, 0], [0.4, 0], [0, 0]]))
    assert found.changed == 1


def test_decided_sets_number_what_is_equal() -> None:
    predicted = np.array([[[True, False], [True, False]], [[False, False], [True, True]]])
    sets = decided_sets(predicted)
    assert sets.shape == (2, 2)
    assert sets[0, 0] == sets[0, 1]
    assert len(set(sets.ravel().tolist())) == 3


def test_means_have_intervals_that_cover_them() -> None:
    values = np.random.default_rng(0).normal(loc=(0, 5), size=(200, 2))
    for found, column in zip(means(values, 500, 0), values.T, strict=True):
        assert found.value == pytest.approx(column.mean())
        assert found.low is not None
        assert found.high is not None
        assert found.high - found.low == pytest.approx(4 * 200**-0.5, rel=0.2)
    assert means(values[:, :0], 20, 0) == []


# changes, languages, other texts


def test_changes_change_a_little() -> None:
    text = "My neighbor wondered about it."
    assert swap_letters(text) == "My neihgbor wondered about it."
    assert drop_letter(text) == "My neigbor wondered about it."
    assert repeat_letter(text) == "My neighboooor wondered about it."
    for name, change in CHANGES.items():
        assert change(text) != text, name
        change("?!")
        change("")


def test_a_model_that_minds_capitals_is_told_so(report: ProbeReport) -> None:
    changes = {each.change: each for each in report.changes}
    assert changes["ALL CAPITALS"].changed.value == 1
    assert changes["ALL CAPITALS"].likeliest.value == 1
    assert changes["ALL CAPITALS"].lost.value == 1  # neutral was found in the ten neutral sentences
    assert changes["ALL CAPITALS"].moved.value == pytest.approx(0.85)
    assert changes["all lower case"].changed.value == 0
    assert changes["all lower case"].moved.value == 0


def test_negation_counts_the_label_in_both() -> None:
    def naive(texts: Sequence[str]) -> np.ndarray:
        found = np.full((len(texts), K), 0.9)
        found[[bool(re.search(r"\b(not|never|no)\b|n't", text)) for text in texts]] = 0.4
        return found

    negation = probe(naive, LABELS, 0.5, corpora=False, resamples=0).negation
    assert negation is not None
    assert (negation.found.value, negation.kept.value) == (1, 0)
    assert (negation.said.value, negation.denied.value) == (pytest.approx(0.9), pytest.approx(0.4))


def test_a_model_that_reads_only_english() -> None:
    english = {texts["en"]: LABELS.index(label) for label, texts in MATERIAL.sentences}

    def read(texts: Sequence[str]) -> np.ndarray:
        return np.eye(K)[[english.get(text, NEUTRAL) for text in texts]]

    found = {each.language: each for each in probe(read, LABELS, 0.5, corpora=False, resamples=0).languages}
    assert found["English"].found.value == 1
    assert found["English"].neutral.value == pytest.approx(1 / K)
    for language in set(found) - {"English"}:
        assert found[language].found.value == found[language].same.value == pytest.approx(1 / K)
        assert found[language].neutral.value == 1


def test_other_texts(report: ProbeReport) -> None:
    assert all(each.emotion.value == 0 and each.nothing.value == 0 for each in report.domains)

    def gloomy(texts: Sequence[str]) -> np.ndarray:
        return np.eye(K)[[SADNESS if "database" in text else ANGER for text in texts]]

    found = probe(gloomy, LABELS, 0.5, corpora=False, resamples=0)
    logs = next(each for each in found.domains if each.domain == "code and logs")
    assert logs.emotion.value == 1
    assert logs.emotions == (("anger", 19), ("sadness", 1))


def test_other_corpora_by_the_mapping(put) -> None:
    """Three made-up rows: shame is read off embarrassment, guilt off remorse; a corpus without files is only noted."""
    rows = ["ID|Field1|MYKEY|SIT"]
    situations = {"shame": "I fell off the stage.", "guilt": "I broke her cup.", "joy": "We won the cup."}
    rows += [f"{n}|{label}|{n}|{text}" for n, (label, text) in enumerate(situations.items())]
    folder = put({"isear/isear.csv": "\n".join(rows) + "\n"})
    answers = {"stage": "embarrassment", "broke": "remorse", "won": "grief"}

    def read(texts: Sequence[str]) -> np.ndarray:
        chosen = [next((v for k, v in answers.items() if k in text), "neutral") for text in texts]
        return np.eye(K)[[LABELS.index(label) for label in chosen]] * 0.5

    found = probe(read, LABELS, 0.3, data_dir=folder, resamples=20)
    (isear,) = found.corpora
    assert (isear.corpus, isear.texts, isear.labels) == ("isear", 3, 7)
    assert isear.accuracy.value == pytest.approx(2 / 3)
    assert dict(isear.f1)["shame"].value == 1
    assert isear.commonest == pytest.approx(1 / 3)
    assert [note.split(":")[0] for note in found.notes] == ["emoint", "emotion_stimulus"]


# the report


def test_the_report_is_strict_json_and_the_same_again(report: ProbeReport) -> None:
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["material"] == MATERIAL.sha256
    assert content["texts"] > 10_000
    assert len(content["contrasts"][0]["shifts"]) == K
    again = probe(biased, LABELS, 0.3, corpora=False, resamples=100)
    assert again.to_dict() == report.to_dict()
    other = probe(biased, LABELS, 0.3, corpora=False, resamples=100, seed=1)
    assert other.to_dict() != report.to_dict()


def test_tables_render(report: ProbeReport) -> None:
    tables = probe_tables(report)
    assert len({table.title for table in tables}) == len(tables) >= 12
    text = "\n".join(render(table, "markdown") for table in tables)
    assert (
        "| deaf | neutral words | 100.0 [100, 100] | 0.0 | anger | +50.00 [+50.0, +50.0] | 0.0 | anger + |"
        in text
    )
    assert "Every emoji does exactly the same" in text  # as this model reads words alone
    assert "Negated (28 pairs of sentences)" in text
    assert report.negation is not None
    for denied, told in ((0.2, "falls from 50% to 20%"), (0.8, "rises from 50% to 80%")):
        moved = replace(report.negation, said=Estimate(0.5), denied=Estimate(denied))
        assert told in " ".join(change_table(replace(report, negation=moved)).notes)
    widths = [
        len(line.split("|"))
        for line in render(contrast_table("x", report.contrasts), "markdown").splitlines()[2:]
    ]
    assert all(a == b for a, b in pairwise(widths))


def test_other_label_sets_are_probed_by_what_they_have() -> None:
    labels = LabelSet("moods", ("joy", "weary"), ("Being glad", "Being tired"))

    def even(texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), 2), 0.5)

    found = probe(even, labels, 0.3, resamples=20)  # with intervals, of no coarser labels too
    assert {each.label for each in found.contrasts[0].shifts} == {"joy", "weary"}
    assert found.contrasts[0].coarse == ()
    assert [each.sentences for each in found.languages] == [1] * len(found.languages)
    assert found.domains == found.corpora == ()
    assert all("labels are not the mapping's" in note for note in found.notes)
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(probe_tables(found)) > 8
    strange = LabelSet("odd", ("hum",), ("A hum",))
    nothing = probe(lambda texts: np.full((len(texts), 1), 0.5), strange, None, resamples=0)
    assert (nothing.negation, nothing.languages) == (None, ())


def test_probabilities_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="shape"):
        probe(lambda texts: np.zeros((len(texts), 3)), LABELS, 0.3)
