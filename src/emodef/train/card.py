"""The model card: what a saved model was made from, how well it does, what it must not be used for. Imports nothing of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emodef.corpora import Corpus
from emodef.evaluation import Report
from emodef.origins import origins

if TYPE_CHECKING:
    from emodef.train.checkpoint import TrainedModel
    from emodef.train.settings import TrainSettings


def model_card(
    model: TrainedModel,
    facts: Mapping[str, Any],
    reports: Mapping[str, Report],
    corpus: Mapping[str, Corpus],
    about: Mapping[str, Any],
) -> str:
    """Markdown with the front matter the model hub reads."""
    settings = model.settings
    sizes = ", ".join(f"{split} {len(part):,}" for split, part in corpus.items())
    otherwise = {
        "answers with its matching head": settings.scores == "match",
        "pools by the mean of the token vectors": settings.pooling == "mean",
        "reads emoji as words": settings.emoji == "words",
    }
    why = next((words for words, holds in otherwise.items() if holds), None)
    if why is None:
        pipeline = (
            'It also opens in `transformers.pipeline("text-classification", model=..., top_k=None)`'
            " with the same scores."
        )
    else:
        pipeline = (
            f"It does not open in transformers' own text-classification pipeline with these scores: it {why}."
        )
    lines = [
        "---",
        "language: en",
        "pipeline_tag: text-classification",
        "tags: [emotion, emodef]",
        "---",
        f"# {settings.backbone} + {settings.setup} on {settings.corpus}",
        "",
        f"An emotion model for English text, trained with emodef {about['versions']['emodef']}"
        + (f" (code {about['code']})" if about.get("code") else "")
        + f". Label set `{model.label_set.name}`, {len(model.label_set)} labels; scores of the {settings.scores} head.",
        "",
        "```python",
        "from emodef.train import TrainedModel",
        'TrainedModel.load("this folder").predict_proba(["What a lovely surprise!"])',
        "```",
        "",
        pipeline,
        "",
        "## Training",
        f"- Texts: {sizes}. Setup `{settings.setup}`, pooling `{settings.pooling}`, seed {settings.seed}, {facts['precision']}.",
        f"- {facts['steps']['primary']:,} primary and {facts['steps']['auxiliary']:,} auxiliary steps of {settings.batch_size} examples,"
        f" {facts['seconds'] / 60:.0f} minutes; epoch {facts['kept_epoch']} of {settings.epochs} kept ({settings.keep})."
        f"{_budget(settings)}",
        *(f"- {sentence}" for sentence in origins(settings.model_dump())),
        f"- {facts['truncated_texts']:,} training texts were cut at {settings.max_length} tokens.",
        f"- Hardware: {', '.join(f'{k} {v}' for k, v in about['hardware'].items())}.",
        "",
        "## Results",
        "| split | thresholds | macro-F1 | micro-F1 |",
        "|---|---|---|---|",
    ]
    for report in reports.values():
        macro, micro = (_with_interval(report.summary[name]) for name in ("macro_f1", "micro_f1"))
        lines.append(f"| {report.split} | {report.policy} | {macro} | {micro} |")
    lines += [
        "",
        *_cross_validated(facts),
        "Brackets are bootstrap 95% intervals over texts. One seed: another seed moves these figures too.",
        "",
        "## Labels",
        *(
            f"- **{name}**: {text}"
            for name, text in zip(model.label_set.names, model.label_set.definitions, strict=True)
        ),
        "",
        "## Limits",
        "Scores say what raters of such texts would have marked, not what a person feels. Rare labels are learnt"
        " from few texts and judged on few. Sarcasm, dialect, other languages and other kinds of text than the"
        " training corpus's are scored worse, without a warning. Do not decide about a person by them.",
        "",
    ]
    return "\n".join(lines)


def _cross_validated(facts: Mapping[str, Any]) -> list[str]:
    """What is to be said where there was no dev split."""
    found = facts.get("cross_validation")
    if found is None:
        return []
    how = f"in {found['folds']} folds" if found["folds"] > 1 else f"on {found['texts']:,} texts held out once"
    return [
        f"There was no dev split: the epoch to stop after and the thresholds were chosen by cross-validation {how}, with macro-F1 "
        f"{100 * found['macro_f1']:.1f} on the texts held out, which flatters a little.",
        "",
    ]


def _budget(settings: TrainSettings) -> str:
    """What is unusual about the steps: their number, and how large those of the definition tasks may be."""
    if settings.steps_as_p is not None:
        return f" As many steps as a run with p = {settings.steps_as_p:g} makes primary ones."
    if not settings.auxiliary:
        return ""
    told = (
        " The primary steps alone are epochs × batches of the texts." if settings.budget == "primary" else ""
    )
    if settings.auxiliary_clip is not None:
        told += (
            f" Gradients of the definition tasks' steps are held to a norm of {settings.auxiliary_clip:g}."
        )
    return told


def _with_interval(estimate: Any) -> str:
    value = f"{100 * estimate.value:.1f}"
    return value if estimate.low is None else f"{value} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
