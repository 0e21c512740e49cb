"""README.md of a fitted head: what it was fitted on, how well it did where it could be judged, how to use it. Imports head (as a type)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emodef.predictor.head import HeadInfo

JUDGED = {
    "dev": "the dev texts, on which its thresholds and the strength were chosen too",
    "cross-validation": "the fitted texts, each by a head fitted without its fold; the strength was chosen on the same texts, which "
    "flatters a little",
}


def fitted_card(info: HeadInfo) -> str:
    """Markdown."""
    about, labels = info.about, info.label_set
    given, measured = about["fitted_on"], about["macro_f1"]
    kind = "one label a text" if labels.exclusive else "several labels a text"
    copies = (
        ""
        if given["distinct"] == given["texts"]
        else f" ({given['distinct']:,} of them different from each other)"
    )
    of = f" of {given['source']}" if given["source"] else ""
    strength = (
        "The weights stayed as the definitions gave them; only the biases were fitted"
        if about["strength"] is None
        else f"The pull back to the definitions has strength {about['strength']:g}"
    )
    lines = [
        f"# {about['name']}",
        "",
        f"An emotion head for English text: {len(labels)} labels, {kind}. It "
        + (
            "was fitted, "
            if measured["definitions"] is None
            else "began with the labels' definitions and was fitted, "
        )
        + f"without torch, to {given['texts']:,} labelled texts{of}{copies}, on the text embeddings of {about['base'] or 'a light model'}"
        + (", which emodef brings." if info.base == "shipped" else ", which lies in this folder."),
        "",
        "```",
        'emodef predict --model FOLDER "What a lovely surprise!"',
        "```",
        "",
        "```python",
        "from emodef import Predictor",
        'Predictor.load("this folder").predict("What a lovely surprise!")',
        "```",
        "",
        "## How it was fitted",
        f"{'Softmax' if labels.exclusive else 'Logistic'} regression with a Gaussian prior around the definitions' embeddings. {strength}"
        + (f", chosen by {_how(about['judged'])}." if about["judged"] else ", the default.")
        + ("" if labels.exclusive else " Thresholds are drawn towards those used without labelled texts."),
        "",
    ]
    if about["judged"]:
        lines += [
            f"Macro-F1 on {JUDGED[about['judged']]}:",
            "",
            "| head | macro-F1 |",
            "|---|---|",
            *(
                []
                if measured["definitions"] is None
                else [f"| definitions alone | {100 * measured['definitions']:.1f} |"]
            ),
            f"| fitted | {100 * measured['fitted']:.1f} |",
            "",
        ]
    if about["notes"]:
        lines += ["## Notes", *(f"- {note[:1].upper()}{note[1:]}." for note in about["notes"]), ""]
    thresholds = info.thresholds.get("tuned", {}).get(labels.name)
    titles = ["label", "texts", *([] if thresholds is None else ["threshold"]), "definition"]
    lines += ["## Labels", "| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for k, (name, definition) in enumerate(zip(labels.names, labels.definitions, strict=True)):
        cells = [name, f"{about['support'][name]:,}"]
        cells += [] if thresholds is None else [f"{thresholds[k]:.3f}"]
        lines.append("| " + " | ".join(_cell(cell) for cell in (*cells, definition)) + " |")
    lines += [
        "",
        "## Limits",
        "It is as good as its labelled texts: few of them, or of one kind, and it errs on others without a warning. Scores say what "
        "whoever labelled the texts would have marked, not what a person feels. Do not decide about a person by them.",
        "",
    ]
    return "\n".join(lines)


def _how(judged: str) -> str:
    return "a dev split" if judged == "dev" else judged


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
