"""README.md of a fitted head: what it was fitted on, how well it did where it could be judged, how to use it. Imports head (as a type)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emodef.predictor.head import HeadInfo


def judged_on(info: HeadInfo) -> str:
    """Which texts it was judged on, and what was chosen on the same ones. Of a head that was judged."""
    about, several = info.about, not info.label_set.exclusive
    strength = "the strength" if about["strength_by"] != "given" else ""
    if about["judged"] == "dev":
        there = [what for what in ("its thresholds" if several else "", strength) if what]
        if not there:
            return "the dev texts"
        return f"the dev texts, on which {' and '.join(there)} {'were' if several else 'was'} chosen too"
    flatters = f"; {strength} was chosen on the same texts, which flatters a little" if strength else ""
    if held_out(info):
        tuned = ", thresholds for a part of it tuned on the rest of it" if several else ""
        texts = f"{about['judged_texts']:,} of the {about['fitted_on']['texts']:,} fitted texts"
        return f"{texts}, one fifth that was held out{tuned}{flatters}"
    return f"the fitted texts, each by a head fitted without its fold{flatters}"


def held_out(info: HeadInfo) -> bool:
    """Whether one fold alone was held out, of many texts, in place of each in turn."""
    about = info.about
    return about["judged"] == "cross-validation" and about["judged_texts"] < about["fitted_on"]["texts"]


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
    begins = measured["definitions"] is not None  # with the definitions, else with nothing
    lines = [
        f"# {about['name']}",
        "",
        f"An emotion head for English text: {len(labels)} labels, {kind}. It "
        + ("began with the labels' definitions and was fitted, " if begins else "was fitted, ")
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
        f"{'Softmax' if labels.exclusive else 'Logistic'} regression with a Gaussian prior around "
        + ("the definitions' embeddings. " if begins else "zero. ")
        + _strength(info, begins)
        + ("" if labels.exclusive else _thresholds(info, begins)),
        "",
    ]
    if about["judged"]:
        lines += [
            f"Macro-F1, over the labels that occur, on {judged_on(info)}:",
            "",
            "| head | macro-F1 |",
            "|---|---|",
            *([f"| definitions alone | {100 * measured['definitions']:.1f} |"] if begins else []),
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


def _strength(info: HeadInfo, begins: bool) -> str:
    about = info.about
    if about["strength"] is None:
        stayed = "as the definitions gave them" if begins else "at zero"
        found = f"The weights stayed {stayed}; only the biases were fitted"
    else:
        found = (
            f"The pull back to {'the definitions' if begins else 'zero'} has strength {about['strength']:g}"
        )
    how = {
        "given": "as was asked for",
        "default": "the default",
        "dev": "chosen by a dev split",
        "cross-validation": "chosen on a fold held out" if held_out(info) else "chosen by cross-validation",
    }
    return f"{found}, {how[about['strength_by']]}."


def _thresholds(info: HeadInfo, begins: bool) -> str:
    without = (
        "those used without labelled texts"
        if begins
        else f"the model's fixed one, {info.thresholds['fixed']:g}"
    )
    return f" Thresholds are {'drawn towards ' if info.about['judged'] else ''}{without}."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
