"""`emodef explain`: which words carry each predicted emotion. Imports typer; emodef.files and emodef.predictor only inside the command."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from emodef.predictor.explain import Explanation, Word

SHOWN = 8  # words listed under a text, for each label
BAR = 20  # characters of the longest bar
SMALLEST = 0.005  # a contribution that is worth showing
LEAST_SHARE = 20  # and this part of the largest


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(explain)


def explain(
    texts: options.Texts = None,
    model: options.LightModel = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Explain this label, predicted or not; may be given several times."),
    ] = None,
    level: options.Level = None,
    threshold: options.Threshold = None,
    threads: options.Threads = None,
    labels: options.OwnLabels = None,
    known: options.Known = False,
    known_labels: options.KnownLabels = None,
    json: options.JsonLines = False,
    quiet: options.Quiet = False,
) -> None:
    """Show which words carry each predicted emotion.

    Each word is left out once; what the probability loses without it is its contribution. In the text, words that
    speak for a label stand in brackets with a +, those against it with a -; the strongest are listed below. Where no label is
    predicted, the likeliest is explained. Columns of files are for 'emodef predict'.

    \b
    [bold]Examples[/bold]
      emodef explain "Thank you so much, but I am worried about tomorrow."
      emodef explain --label joy "It was fine."
      emodef explain --labels mine.toml --label awe "I stood under that dome and forgot to breathe."
      emodef explain --json - < comments.txt
    """
    given = _given(texts or [])
    from emodef.predictor import Predictor

    predictor = options.with_labels(Predictor.load(model, threads=threads), labels, known, known_labels)
    for number, text in enumerate(given):
        explanation = predictor.explain(text, labels=label or None, level=level, threshold=threshold)
        if json:
            typer.echo(jsonlib.dumps(explanation.to_dict(), ensure_ascii=False))
        else:
            if number:
                typer.echo()
            _show(explanation)
        if explanation.together > 1 and not quiet:
            typer.echo(
                f"note: text {number + 1} has too many words to leave out one by one; {explanation.together} neighbours "
                "were left out at a time",
                err=True,
            )


def _given(texts: list[str]) -> Sequence[str]:
    if texts == ["-"] or (not texts and not sys.stdin.isatty()):
        lines = sys.stdin.buffer.read().removeprefix(b"\xef\xbb\xbf").splitlines()
        try:
            texts = [text for text in (line.decode() for line in lines) if text.strip()]
        except UnicodeDecodeError as error:
            raise DataError(f"standard input is not UTF-8 ({error.reason}); convert it first") from None
        if not texts:
            raise DataError("no text on standard input; give a text a line")
        return texts
    if not texts:
        raise SettingsError('give a text, as in: emodef explain "What a lovely surprise!"')
    from emodef.files.sources import GivenTexts

    return GivenTexts(texts).texts  # refuses empty ones, as predict does


def _show(explanation: Explanation) -> None:
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    console = options.output()
    if not explanation.predicted:
        console.print(Text("no label passes its threshold", style="italic"))
    for name, score in explanation.labels:
        predicted = "" if name in explanation.predicted else "  (not predicted)"
        console.print(Text.assemble((name, "bold"), f" {score:.2f}{predicted}"))
        console.print(_marked(explanation, name), soft_wrap=True)
        largest = max((abs(word.contributions[name]) for word in explanation.words), default=1.0)
        least = max(SMALLEST, largest / LEAST_SHARE)
        strongest = [w for w in explanation.strongest(name, SHOWN) if abs(w.contributions[name]) >= least]
        width = max((cell_len(_short(word)) for word in strongest), default=0)
        for word in strongest:
            value = word.contributions[name]
            bar = "█" * max(1, round(BAR * abs(value) / largest))
            shown = f"  {set_cell_size(_short(word), width)}  {value:+.2f} "
            console.print(Text.assemble(shown, (bar, _style(value))))
        if not strongest:
            console.print("  no single word matters")


def _marked(explanation: Explanation, name: str) -> Text:
    """The text, its words coloured by what they add, and marked + and - where colours may be missing."""
    from rich.text import Text

    largest = max((abs(word.contributions[name]) for word in explanation.words), default=0.0)
    marked, position = Text("  "), 0
    for word in explanation.words:
        marked.append(_line(explanation.text[position : word.start]))
        value = word.contributions[name]
        if abs(value) >= max(SMALLEST, largest / 5):
            marked.append(f"[{_line(word.text)}{'+' if value > 0 else '-'}]", style=_style(value))
        else:
            marked.append(_line(word.text))
        position = word.end
    marked.append(_line(explanation.text[position:]))
    return marked


def _style(value: float) -> str:
    return "bold green" if value > 0 else "bold red"


def _short(word: Word) -> str:
    text = _line(word.text)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _line(text: str) -> str:
    """What cannot be shown in a line, or would steer the terminal, as a space."""
    return "".join(c if c.isprintable() else " " for c in text)
