"""The paper's figures: what they show is what was counted, built or read; the same bytes every time; no text breaks out of them."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from drawings import SVG, root_of, texts_of
from emodef.corpora import Corpus
from emodef.disagreements import error_analysis
from emodef.errors import DataError, SettingsError
from emodef.labels import LabelSet
from emodef.metrics import decide
from emodef.pairs import definition_pairs
from emodef.paper.figures.architecture import LOSSES, Input, architecture_of
from emodef.paper.figures.canvas import width_of, wrap
from emodef.paper.figures.maps import confusion_shares, draw_confusion, draw_together, ordered, togetherness
from emodef.paper.figures.pairs import draw_pairs, instance
from emodef.paper.figures.setups import draw_setups
from tiny_models import auxiliary, primary, tiny_model

GOEMOTIONS = LabelSet.load("goemotions")
HOSTILE = '</text><script>hit()</script> & "quotes" \'so\' $x^{2$ \\alpha \x00\x1b \ud83d half, 🙂 ]]> <!-- style="x"'


def one_text(text: str, *labels: str) -> Corpus:
    return Corpus("own", "example", [text], GOEMOTIONS.multi_hot([labels]), GOEMOTIONS, ["1"])


# what is drawn


def test_drawings_are_the_same_bytes_whatever_the_user_has_set(tmp_path: Path) -> None:
    found = instance(one_text("so good", "joy"), "1")
    files = draw_pairs(found).save(tmp_path)
    assert [path.name for path in files] == ["figure1.svg", "figure1.png"]
    before = [path.read_bytes() for path in files]
    with mpl.rc_context(
        {"svg.fonttype": "path", "figure.facecolor": "black", "font.size": 30, "savefig.dpi": 20}
    ):
        again = draw_pairs(found)
        assert [again.png(), again.svg().encode()] == before[::-1]
    assert b"date" not in before[0].lower()
    assert b"Software" not in before[1]
    assert b"tEXt" not in before[1]


def test_a_figure_says_what_it_shows() -> None:
    drawing = draw_pairs(instance(one_text("so [good]\n<b>", "joy"), "1"))
    root = root_of(drawing)
    assert root.get("role") == "img"
    assert root.get("aria-label") == " ".join(drawing.alt.split())
    assert drawing.title in [node.text for node in root.iter(f"{SVG}title")]
    image = drawing.markdown().splitlines()[0]
    assert re.fullmatch(r"!\[[^\[\]<`]*\]\(figure1\.svg\)", image)


@pytest.mark.parametrize("text", [HOSTILE, "", " ", "a" * 600, "שלום, שיר"])
def test_hostile_texts_stay_texts(text: str) -> None:
    corpus = one_text(text, "joy")
    plain, hostile = (draw_pairs(instance(each, "1")) for each in (one_text("a", "joy"), corpus))
    kinds = {node.tag for node in root_of(plain).iter()}
    assert {node.tag for node in root_of(hostile).iter()} <= kinds
    shown = "".join(texts_of(hostile)).replace(" ", "")
    wanted = re.sub("[\x00-\x1f\ud800-\udfff]", "\ufffd", text).replace(" ", "")
    assert shown.count(wanted) >= 3  # the text itself, and in two pairs
    assert hostile.png().startswith(b"\x89PNG")


def test_lines_are_wrapped_to_their_width() -> None:
    text = "a few words, and onewordthatistoolongforanyline " * 3
    lines = wrap(text, 60, 9)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width_of(line, 9) <= 60 for line in lines)
    cut = wrap(text, 60, 9, lines=2)
    assert len(cut) == 2
    assert cut[-1].endswith("…")
    assert width_of(cut[-1], 9) <= 60


# Figure 1


def test_figure1_shows_the_pairs_of_the_auxiliary_corpus(tiny_corpus: dict[str, Corpus]) -> None:
    corpus = tiny_corpus["train"]
    several = next(row for row, labels in enumerate(corpus.labels) if labels.sum() == 2)
    found = instance(corpus, corpus.ids[several], seed=3)
    made = definition_pairs(corpus.labels, 3)
    mine = made.text == several
    expected = {
        (corpus.label_set.names[k], bool(positive))
        for k, positive in zip(made.label[mine], made.is_definition[mine], strict=True)
    }
    assert {(pair.label, pair.is_definition) for row in found.pairs for pair in row if pair} == expected
    assert len(found.pairs) == 2
    shown = texts_of(draw_pairs(found))
    assert shown.count("IsDefinition") == shown.count("IsNotDefinition") == 2
    for row in found.pairs:
        for pair in row:
            assert pair is not None
            assert shown.count(f"Definition of {pair.label}") >= 1
            assert pair.definition.split()[0] in " ".join(shown)
    with pytest.raises(DataError, match="no text with the id 'nobody'"):
        instance(corpus, "nobody")


def test_a_text_with_every_label_has_no_negative_pair() -> None:
    labels = LabelSet("two", ("a", "b"), ("is a", "is b"))
    corpus = Corpus("own", "all", ["x"], np.ones((1, 2), np.uint8), labels, ["1"])
    shown = texts_of(draw_pairs(instance(corpus, "1")))
    assert (shown.count("IsDefinition"), shown.count("IsNotDefinition")) == (2, 0)


# Figure 2


@pytest.mark.parametrize("pooling", ["own", "mean"])
def test_figure2_counts_every_parameter_once(each_backbone: tuple[str, Path], pooling: str) -> None:
    name, folder = each_backbone
    for setup in ("none", "cdp", "mlm", "cdp+mlm", "match"):
        model = tiny_model(folder, pooling=pooling, setup=setup).model
        found = architecture_of(model, backbone=name, setup=setup, p=0.5)
        parts = [found.encoder, *found.heads.values(), *([found.projection] if found.projection else [])]
        total = sum(parameter.numel() for parameter in model.parameters())
        assert found.parameters == total == sum(part.parameters for part in parts)
        assert sum(block.parameters for block in found.blocks) <= found.encoder.parameters
        assert set(found.heads) == {"emotion", *(setup.split("+") if setup != "none" else [])}
        assert found.heads["emotion"].layers[-1].shape == (32, 5)
        if "mlm" in found.heads and name != "xlnet":
            assert found.heads["mlm"].tied > 0
        shown = texts_of(draw_setups([found]))
        for part in (found.encoder, *found.heads.values()):
            assert f"{part.parameters:,} parameters" in shown


def test_figure2_names_the_losses_that_the_model_returns(tiny_bert_dir: Path) -> None:
    made = tiny_model(tiny_bert_dir, setup="cdp+mlm+match")
    found = architecture_of(made.model, backbone="tiny", setup="cdp+mlm+match", p=0.5)
    losses = made.model(primary(made, [0, 1])) | made.model(auxiliary(made, [0, 1], "cdp", "mlm"))
    assert set(losses) == set(found.heads) == set(LOSSES)


def test_figure2_shows_the_tokens_that_go_in(tiny_bert_dir: Path) -> None:
    model = tiny_model(tiny_bert_dir, setup="cdp").model
    tokens = ("[CLS]", "a", *("many",) * 40, "end", "[SEP]", "some", "definition", "[SEP]")
    sources = (None, *(0,) * 42, None, 1, 1, None)
    given = Input("auxiliary step", tokens, sources, auxiliary=True)
    shown = texts_of(draw_setups([architecture_of(model, backbone="b", setup="cdp", p=0.25, inputs=[given])]))
    row = shown[shown.index("auxiliary step") + 1 :]
    assert row == ["[CLS]", "a", "many", "many", "many", "…", "end", "[SEP]", "some", "definition", "[SEP]"]
    assert any("p = 0.25" in text for text in shown)


# maps


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, Corpus]:
    draw = np.random.default_rng(7)
    truth = (draw.random((300, len(GOEMOTIONS))) < 0.07).astype(np.uint8)
    truth[:, -2] = 0  # a label of no text
    values = np.clip(0.25 * truth + 0.4 * draw.random(truth.shape) ** 3, 0, 1)
    texts = [f"text {row}" for row in range(len(truth))]
    return values, Corpus("made", "test", texts, truth, GOEMOTIONS, texts)


def test_confusion_shares_are_counted_text_by_text(answers: tuple[np.ndarray, Corpus]) -> None:
    values, corpus = answers
    found = confusion_shares(error_analysis(values, corpus))
    truth, predicted = corpus.labels.astype(bool), decide(values, 0.3)
    assert found.columns[-1] == "nothing"
    for k in range(len(GOEMOTIONS)):
        texts = np.flatnonzero(truth[:, k])
        if not len(texts):
            assert np.isnan(found.share[k]).all()
            continue
        missed = [row for row in texts if not predicted[row, k]]
        for other in range(len(GOEMOTIONS)):
            wrong = [row for row in missed if predicted[row, other] and not truth[row, other]]
            expected = 1 - len(missed) / len(texts) if other == k else len(wrong) / len(texts)
            assert found.share[k, other] == pytest.approx(expected)
        nothing = [row for row in missed if not (predicted[row] & ~truth[row]).any()]
        assert found.share[k, -1] == pytest.approx(len(nothing) / len(texts))


def test_the_maps_show_the_shares(answers: tuple[np.ndarray, Corpus]) -> None:
    values, corpus = answers
    analysis = error_analysis(values, corpus)
    order = ordered(analysis, GOEMOTIONS)
    drawing = draw_confusion(analysis, order, about="made up; at 0.3")
    shown = texts_of(drawing)
    share = confusion_shares(analysis).share
    numbers = sorted(int(text) for text in shown if text.isdigit())
    assert numbers == sorted(int(f"{100 * value:.0f}") for value in share.ravel() if value >= 0.02)
    assert set(GOEMOTIONS.names) <= set(shown)
    support = np.diag(analysis.annotated_together)
    for name, texts in zip(GOEMOTIONS.names, support, strict=True):
        assert any(" ".join(text.split()) == f"{name} {texts}" for text in shown)
    assert drawing.svg() == draw_confusion(analysis, order, about="made up; at 0.3").svg()

    drawing = draw_together(analysis, order, about="made up")
    upper = np.triu_indices(len(GOEMOTIONS), 1)
    both = [
        togetherness(analysis.annotated_together)[upper],
        togetherness(analysis.predicted_together)[upper],
    ]
    expected = sorted(int(f"{100 * value:.0f}") for value in np.concatenate(both) if value >= 0.02)
    assert sorted(int(text) for text in texts_of(drawing) if text.isdigit()) == expected


def test_labels_together_as_a_share_of_either(answers: tuple[np.ndarray, Corpus]) -> None:
    _, corpus = answers
    labels = corpus.labels.astype(bool)
    found = togetherness(error_analysis(*answers).annotated_together)
    a, b = 3, 5
    assert found[a, b] == pytest.approx(
        (labels[:, a] & labels[:, b]).sum() / (labels[:, a] | labels[:, b]).sum()
    )
    assert np.isnan(np.diag(found)).all()


def test_the_order_of_labels(answers: tuple[np.ndarray, Corpus]) -> None:
    values, corpus = answers
    analysis = error_analysis(values, corpus)
    order = ordered(analysis, GOEMOTIONS)
    names = [GOEMOTIONS.names[k] for k in order.places]
    assert sorted(names) == sorted(GOEMOTIONS.names)
    for group, (start, end) in zip(order.names, pairwise((0, *order.ends)), strict=True):
        assert {GOEMOTIONS.mappings["ekman"][name] for name in names[start:end]} == {group}
    assert ordered(analysis, GOEMOTIONS, "given").places == tuple(range(len(GOEMOTIONS)))
    with pytest.raises(SettingsError, match="groups, clusters, given"):
        ordered(analysis, GOEMOTIONS, "beauty")
    # two labels always taken for each other stand side by side
    truth = np.eye(6, dtype=np.uint8)[np.arange(60) % 6]
    swapped = truth[:, [4, 1, 2, 3, 0, 5]].astype(float)
    labels = LabelSet("six", tuple("abcdef"), tuple("abcdef"))
    texts = [str(row) for row in range(60)]
    analysis = error_analysis(swapped, Corpus("six", "test", texts, truth, labels, texts))
    places = ordered(analysis, labels, "clusters").places
    assert abs(places.index(0) - places.index(4)) == 1
