"""The map of labels: places that keep distances, wheels recognised and refused, and what the drawing says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from commands import emodef_command
from drawings import texts_of
from emodef.errors import DataError, SettingsError
from emodef.paper.figures.similarity import draw_similarity
from emodef.predictor import Predictor
from emodef.similarity import Wheel, cosines, layout, load_wheel, on_wheel, pairs
from tiny_light import LABELS, build_tiny_light

NAMES = [f"label {k}" for k in range(8)]


def on_circle(noise: float = 0.0) -> np.ndarray:
    """Eight labels in a circle within ten dimensions, some steps apart."""
    draw = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(8) / 8
    vectors = np.zeros((8, 10))
    vectors[:, 3], vectors[:, 7] = np.cos(angles), np.sin(angles)
    return vectors + noise * draw.normal(size=vectors.shape)


def test_cosines_and_pairs() -> None:
    given = np.array([[2.0, 0], [0, 3.0], [1.0, 1.0], [-4.0, 0]])
    found = cosines(given)
    np.testing.assert_allclose(found[0], [1, 0, np.sqrt(0.5), -1], atol=1e-12)
    best = pairs(["a", "b", "c", "d"], found)
    assert len(best) == 6
    assert {(p.first, p.second) for p in best[:2]} == {("a", "c"), ("b", "c")}
    assert best[-1][:2] == ("a", "d")
    assert np.isfinite(cosines(np.zeros((2, 3)))).all()


def test_a_layout_keeps_distances_that_two_dimensions_can_hold() -> None:
    found = cosines(on_circle())
    places, share = layout(found)
    assert share == pytest.approx(1)
    apart = np.linalg.norm(places[:, None] - places[None, :], axis=-1)
    np.testing.assert_allclose(apart**2, 2 - 2 * found, atol=1e-9)
    np.testing.assert_array_equal(layout(found)[0], places)
    assert layout(np.ones((1, 1)))[0].shape == (1, 2)
    assert layout(cosines(np.random.default_rng(0).normal(size=(9, 30))))[1] < 0.6


def test_a_wheel_is_recognised_turned_and_mirrored() -> None:
    found = cosines(on_circle(0.05))
    degrees = {name: (70 - 45 * k) % 360 for k, name in enumerate(NAMES)}
    same = on_wheel(NAMES, found, Wheel("w", "a wheel", degrees))
    assert same is not None
    assert same.distances > 0.95
    assert same.angles > 0.98
    assert max(same.distances_p, same.angles_p) < 0.01
    draw = np.random.default_rng(4)
    other = dict(zip(draw.permutation(NAMES).tolist(), degrees.values(), strict=True))
    mixed = on_wheel(NAMES, found, Wheel("w", "a wheel", other))
    assert mixed is not None
    assert mixed.distances < 0.5
    assert mixed.distances_p > 0.02
    assert on_wheel(NAMES[:4], found[:4, :4], Wheel("w", "a wheel", degrees)) is None


def test_the_correlation_is_spearmans() -> None:
    found = cosines(np.random.default_rng(5).normal(size=(8, 10)))
    degrees = {name: 45.0 * k for k, name in enumerate(NAMES)}
    upper = np.triu_indices(8, 1)
    steps = np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    expected = spearmanr(np.minimum(steps, 8 - steps)[upper], 1 - found[upper]).statistic
    measured = on_wheel(NAMES, found, Wheel("w", "a wheel", degrees))
    assert measured is not None
    assert measured.distances == pytest.approx(expected)


def test_plutchiks_wheel() -> None:
    wheel = load_wheel("plutchik")
    opposite = [("joy", "sadness"), ("trust", "disgust"), ("fear", "anger"), ("surprise", "anticipation")]
    assert all((wheel.degrees[a] - wheel.degrees[b]) % 360 == 180 for a, b in opposite)
    with pytest.raises(DataError, match="no wheel 'ferris'; there are: plutchik"):
        load_wheel("ferris")


def test_the_drawing_says_what_it_shows() -> None:
    found = cosines(on_circle(0.2))
    groups = ["odd" if k % 2 else "even" for k in range(8)]
    drawing = draw_similarity(NAMES, found, groups=groups, about="Eight labels")
    shown = texts_of(drawing)
    assert all(shown.count(name) == 3 for name in NAMES)  # the point, the row, the column
    assert {"odd", "even", "cosine"} <= set(shown)
    best = pairs(NAMES, found)
    assert f"{best[0].first} and {best[0].second} {best[0].cosine:.2f}" in drawing.alt
    assert drawing.caption.startswith("Eight labels. Left:")
    assert drawing.svg() == draw_similarity(NAMES, found, groups=groups, about="Eight labels").svg()
    wheel = on_wheel(NAMES, found, Wheel("w", "the test's wheel", {n: 45.0 * k for k, n in enumerate(NAMES)}))
    told = draw_similarity(NAMES, found, wheel=wheel, about="Eight labels").caption
    assert "Against the test's wheel, 8 labels" in told
    with pytest.raises(SettingsError, match="a map needs 3 to 80 labels, and there are 2"):
        draw_similarity(NAMES[:2], found[:2, :2], about="")


def test_the_command(tiny_light: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.svg"
    shown = emodef_command("labels", "map", "--model", tiny_light, "--out", out)
    assert out.read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert "most similar" in shown.stdout
    assert "least similar" in shown.stdout
    content = json.loads(emodef_command("labels", "map", "--model", tiny_light, "--json").stdout)
    assert content["labels"] == list(LABELS.names)
    head = Predictor.load(tiny_light).head
    assert head is not None
    np.testing.assert_allclose(content["cosines"], cosines(head.weight), atol=1e-3)
    own = tmp_path / "mine.toml"
    own.write_text('glee = "so happy"\nrage = "furious hate"\n')
    both = json.loads(emodef_command("labels", "map", own, "--known", "--model", tiny_light, "--json").stdout)
    assert both["labels"] == ["glee", "rage", *LABELS.names]
    some = ["--known-labels", "joy, anger", "--model", tiny_light, "--json"]
    assert json.loads(emodef_command("labels", "map", own, *some).stdout)["labels"] == [
        "glee", "rage", "joy", "anger"
    ]  # fmt: skip
    alone = json.loads(emodef_command("labels", "map", *some).stdout)
    place = [both["labels"].index(name) for name in ("joy", "anger")]
    assert alone["cosines"][0][1] == pytest.approx(both["cosines"][place[0]][place[1]], abs=1e-3)
    own.write_text("exclusive = true\n" + own.read_text(encoding="utf-8"))  # of which a map shows nothing
    again = emodef_command("labels", "map", own, "--known", "--model", tiny_light, "--json")
    assert json.loads(again.stdout) == both


def test_what_cannot_be_drawn(tiny_light: Path, tmp_path: Path) -> None:
    def failed(*options: object, code: int = 2) -> str:
        return emodef_command("labels", "map", *options, code=code).stderr

    assert "name a .svg or a .png" in failed("--model", tiny_light, "--out", tmp_path / "map.pdf")
    assert "fewer than five of these labels are on Plutchik's wheel" in failed(
        "--model", tiny_light, "--wheel", "plutchik"
    )
    assert "no mapping to 'ekman'" in failed(
        "--model", tiny_light, "--level", "ekman", "--out", tmp_path / "map.svg", code=3
    )
    assert "no mapping to 'ekman'" in failed(
        "--model", tiny_light, "--level", "ekman", code=3
    )  # nothing drawn
    plain = build_tiny_light(tmp_path / "plain", match=None, scores="emotion")
    assert "was not trained to match definitions" in failed("--model", plain)
