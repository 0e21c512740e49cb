"""Options that several commands share: names parted by commas, the words of a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import emodef_command
from emodef.cli import options
from emodef.errors import DataError, SettingsError
from emodef.predictor import Predictor


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("joy,anger", ["joy", "anger"]),
        (" joy , anger,, ", ["joy", "anger"]),
        ("joy,\nanger\n", ["joy", "anger"]),
        ('"calm, at ease",joy', ["calm, at ease", "joy"]),
        ('joy, "so ""called"" love, or not"', ["joy", 'so "called" love, or not']),
        ("don't know", ["don't know"]),
        ("", []),
    ],
)
def test_names_parted_by_commas(given: str, names: list[str]) -> None:
    assert options.names(given, "--known-labels") == names


@pytest.mark.parametrize("given", ['joy,"calm, at ease', '"calm, at ease" or so,joy'])
def test_quotes_that_do_not_fit(given: str) -> None:
    with pytest.raises(SettingsError, match=r"--known-labels .* a double quote is not closed"):
        options.names(given, "--known-labels")


def test_known_labels_and_columns_with_a_comma(tiny_light: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('"calm, at ease" = "Feeling at rest and glad"\n')
    both = Predictor.load(tiny_light).with_labels(str(mine), known=True)
    found = options.with_labels(both, None, False, '"calm, at ease",joy')
    assert set(found.label_set.names) == {"calm, at ease", "joy"}
    rows = tmp_path / "rows.csv"
    rows.write_text('text,"calm, at ease",joy\nso quiet,1,0\nso happy,0,1\n')
    shown = emodef_command("data", "show", rows, "--label-columns", '"calm, at ease",joy').stdout
    assert "calm, at ease" in shown


def test_an_introduction_that_is_not_utf_8(tmp_path: Path) -> None:
    words = tmp_path / "words.md"
    words.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"words\.md: is not UTF-8; save the introduction as UTF-8"):
        options.write_page(tmp_path / "page.md", "A title", words, [])
    assert not (tmp_path / "page.md").exists()
