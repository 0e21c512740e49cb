"""The page of a card, from what is known and what was measured. Imports predictor.model_file, evaluation, probes, reporting, corpora."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from emodef.card.biases import bias_sections
from emodef.corpora.sources import SOURCES
from emodef.evaluation import LabelResult, Report
from emodef.measuring import how_tuned
from emodef.origins import origins
from emodef.predictor.model_file import ModelInfo
from emodef.probes import ProbeReport
from emodef.reporting import Cell, Column, Table, format_cell, levels_table, render
from emodef.runs import BY_FOLDS, ON_DEV

COUNT = Column("", "count")
FEW_TEXTS = 30  # labels with fewer test texts are named: one text moves their figures by points
SHOWN_RARE = 8  # of them
SCORES = {
    "emotion": "its emotion head (a linear layer over the text's vector)",
    "match": "matching the text's vector with those of the labels' definitions, which are stored in the file",
    "mean": "the mean of its emotion head and of matching with the labels' definitions",
}


@dataclass(frozen=True)
class Measured:
    """texts: split -> number of texts; reports: "test tuned" and so on; notes: what was not measured, and why.

    elsewhere: on other texts than the corpus it was trained on.
    """

    texts: Mapping[str, int]
    reports: Mapping[str, Report]
    probes: ProbeReport
    notes: tuple[str, ...] = ()
    elsewhere: bool = False


def card_text(
    info: ModelInfo, measured: Measured, *, command: str, size: int, license: str | None = None
) -> str:
    """Markdown with the front matter that the model hub reads. command: what makes this card; size: of model.onnx in bytes."""
    blocks = [
        _front_matter(info, license),
        f"# {info.about.get('name', info.label_set.name)}",
        _what(info, size),
        "## Use",
        _use(info),
        "## Made from",
        *_made_from(info, measured, license),
        "## For what, and for what not",
        *_facts()["page"]["use"],
        "## Results",
        *_results(info, measured),
        "## Calibration",
        _calibration(info, measured),
        "## Limits",
        *_limits(info, measured),
        "## Measured biases",
        *bias_sections(measured.probes),
        "## Speed",
        _facts()["page"]["speed"],
        "## This page",
        f"Written by `{command}` from the model's file, the corpora at hand (`emodef data fetch`, or a folder in EMODEF_DATA) and the "
        "probes that come with emodef. All figures are in card.json. Run it for a model of your own.",
    ]
    return "\n\n".join(blocks) + "\n"


def _front_matter(info: ModelInfo, license: str | None) -> str:
    backbone, corpus = _backbone(info), _corpus(info)
    lines = ["---", "language: en"]
    lines += [f"license: {license}"] if license else []
    lines += ["library_name: emodef", "pipeline_tag: text-classification"]
    lines += [f"base_model: {backbone['id']}"] if backbone else []
    lines += [f"datasets: [{corpus['id']}]"] if corpus else []
    return "\n".join([*lines, "tags: [emotion, emodef, onnx]", "---"])


def _what(info: ModelInfo, size: int) -> str:
    labels = info.label_set
    several = "exactly one of" if labels.exclusive else "any of"
    precision = info.about.get("precision")
    levels = f" Coarser levels: {', '.join(labels.coarse)}." if labels.coarse else ""
    return (
        f"Says which of {len(labels)} labels a short English text expresses ({several} them). An ONNX model"
        f"{f' in {precision}' if precision else ''}, {_megabytes(size)}, for emodef's light predictor: CPU, offline, no torch. Scores "
        f"come from {SCORES[info.scores]}.{levels}\n\nLabels: {', '.join(labels.names)}."
    )


def _use(info: ModelInfo) -> str:
    lines = [
        "```sh",
        'emodef predict --model FOLDER "Thank you so much, you saved my whole week!"    # without --model: the shipped model',
        "```",
        "",
        "```python",
        "from emodef import Predictor",
        "",
        'model = Predictor.load("FOLDER")    # Predictor.load(): the shipped model',
        'for prediction in model.predict(["What a lovely surprise!", "The bus leaves at six."]):',
        "    print(prediction.labels)    # names and scores, best first",
        "```",
        "",
    ]
    if not info.label_set.exclusive:
        how = (
            f"each label's own threshold, {how_tuned(info.about)}"
            if "tuned" in info.thresholds
            else "the fixed threshold"
        )
        lines.append(f"A label is predicted where its probability exceeds {how}; `threshold=` takes another.")
    return "\n".join(lines).strip()


def _made_from(info: ModelInfo, measured: Measured, license: str | None) -> list[str]:
    settings = info.about.get("settings", {})
    backbone, corpus = _backbone(info), _corpus(info)
    name = settings.get("backbone", "not recorded")
    lines = []
    if backbone:
        lines.append(
            f"- **Backbone**: {backbone['title']} ({backbone['parameters']} parameters). Terms: {backbone['terms']}."
        )
    else:
        lines.append(f"- **Backbone**: {name}. Its terms are its publisher's.")
    data = str(info.about.get("corpus", "not recorded"))
    if corpus:
        what = f"{corpus['title']}, train split: {corpus['what']}"
        lines.append(f"- **Data**: {what}. Terms: {SOURCES[data].terms.rstrip('.')}.")
    else:
        lines.append(f"- **Data**: {data}. Its terms are its publisher's.")
    if measured.texts:
        sizes = ", ".join(f"{split} {format_cell(n, COUNT)}" for split, n in measured.texts.items())
        trained_on = corpus and not measured.elsewhere
        lines.append(f"- **{'Texts' if trained_on else 'Texts measured here'}**: {sizes}.")
    if settings:
        told = {
            key: settings[key]
            for key in ("setup", "pooling", "epochs", "batch_size", "learning_rate", "seed")
            if key in settings
        }
        lines.append(
            f"- **Training**: {', '.join(f'{key} {value}' for key, value in told.items())}. All settings are in model.json."
        )
        lines += [f"- {sentence}" for sentence in origins(settings)]
    if license:
        lines.append(f"- **Terms of this model**: {license}.")
    return ["\n".join(lines)]


def _results(info: ModelInfo, measured: Measured) -> list[str]:
    if not measured.reports:
        return _sentences(measured.notes)
    how = how_tuned(info.about)
    told = "Thresholds were tuned on dev, whose own tuned figures they flatter; none was chosen on test."
    if measured.elsewhere:
        told = "Thresholds were tuned on dev of what it was trained on; none was chosen on these texts."
    if info.label_set.exclusive:
        told = "The likeliest label is taken: there are no thresholds."
    elif "tuned" not in info.thresholds:
        told = "The threshold is one number, which was given."
    elif how != ON_DEV:
        told = f"Thresholds were {'chosen ' if how == BY_FOLDS else ''}{how}; none was chosen on these texts."
    blocks = [
        f"Measured on this very file. {told}",
        _block(_overview(measured.reports)),
    ]
    order = ("test tuned", "test fixed", "dev tuned", "dev fixed")
    best = next(measured.reports[name] for name in order if name in measured.reports)
    if len(best.levels) > 1:
        blocks.append(_block(levels_table(best)))
    blocks.append(_block(_label_table(best)))
    blocks.append("Intervals are over texts; another seed of training moves the figures too.")
    return [*blocks, *_sentences(measured.notes)]


def _sentences(notes: Iterable[str]) -> list[str]:
    return [f"{note[:1].upper()}{note[1:]}." for note in notes]


def _overview(reports: Mapping[str, Report]) -> Table:
    columns = (
        Column("split"),
        Column("texts", "count"),
        Column("thresholds"),
        Column("macro F1", "percent"),
        Column("micro F1", "percent"),
        Column("all labels right", "percent"),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (r.split, r.texts, r.policy, *(r.summary[m] for m in ("macro_f1", "micro_f1", "subset_accuracy")))
        for r in reports.values()
    )
    return Table("", columns, rows, ("Percent, with bootstrap 95% intervals.",))


def _label_table(report: Report) -> Table:
    train = all(label.train_support is not None for label in report.labels)
    columns = [Column("label"), *([Column("train", "count")] if train else []), Column(report.split, "count")]
    columns += [
        Column("threshold", "number"),
        Column("P", "percent", 1),
        Column("R", "percent", 1),
        Column("F1", "percent", 1),
    ]
    columns += [Column("AP", "percent", 1), Column("calibration error", "number", 3)]

    def cells(label: LabelResult) -> tuple[Cell, ...]:
        support: tuple[Cell, ...] = (label.train_support, label.support) if train else (label.support,)
        scores = (label.precision.value, label.recall.value, label.f1, label.average_precision.value)
        return (label.name, *support, label.threshold, *scores, label.calibration_error)

    note = f"{report.corpus} {report.split}; {report.policy}. train, {report.split}: texts with the label."
    return Table("Label by label", tuple(columns), tuple(cells(label) for label in report.labels), (note,))


def _calibration(info: ModelInfo, measured: Measured) -> str:
    found = [
        r.summary["macro_calibration_error"].value
        for n, r in measured.reports.items()
        if n.startswith("test")
    ]
    raw = f" On test the raw probabilities' is {_number(found[0])}." if found else ""
    if info.calibration is None:
        return f'Probabilities are raw: good for ranking and thresholds, not measured as "how likely".{raw}'
    fitted = info.calibration
    errors = f"{_number(fitted.error_before)} raw, {_number(fitted.error_after)} calibrated"
    return (
        'Probabilities are raw; `calibrated=True` turns them into ones to be read as "how likely", by a curve for each label fitted on '
        f"{format_cell(fitted.texts, COUNT)} dev texts. Mean calibration error over the labels, cross-validated inside dev: {errors}."
        f"{raw} Thresholds apply to raw probabilities."
    )


def _limits(info: ModelInfo, measured: Measured) -> list[str]:
    lines = []
    for facts in (_facts()["page"], _corpus(info), _backbone(info)):
        lines += [f"- {limit}" for limit in (facts or {}).get("limits", ())]
    emoji = (_backbone(info) or {}).get("emoji", {})
    if said_of_emoji := emoji.get(info.about.get("settings", {}).get("emoji", "keep")):
        lines.append(f"- {said_of_emoji}")
    report = measured.reports.get("test tuned") or measured.reports.get("test fixed")
    rare = [label for label in report.labels if label.support < FEW_TEXTS] if report else []
    rare.sort(key=lambda label: label.support)
    if rare:
        column = Column("", "percent", 1)
        said = [
            f"{each.name} ({each.support} test texts, F1 {format_cell(each.f1, column)})" for each in rare
        ]
        more = len(rare) - SHOWN_RARE
        listed = "; ".join(said[:SHOWN_RARE]) + (f"; and {more} more" if more > 0 else "")
        lines.append(f"- **Rare labels.** Judged, and mostly learnt, from few texts: {listed}.")
    return ["\n".join(lines)]


@cache
def _facts() -> dict[str, Any]:
    return tomllib.loads(resources.files("emodef.card").joinpath("facts.toml").read_text(encoding="utf-8"))


def _backbone(info: ModelInfo) -> dict[str, Any] | None:
    found: dict[str, Any] | None = _facts()["backbones"].get(info.about.get("settings", {}).get("backbone"))
    return found


def _corpus(info: ModelInfo) -> dict[str, Any] | None:
    found: dict[str, Any] | None = _facts()["corpora"].get(info.about.get("corpus"))
    return found


def _block(table: Table) -> str:
    return render(table, "markdown").strip()


def _number(value: float) -> str:
    return format_cell(value, Column("", "number", 3))


def _megabytes(size: int) -> str:
    return format_cell(size / 1e6, Column("", "number", 1)) + " MB"
