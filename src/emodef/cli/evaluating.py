"""`emodef evaluate`: a run's or a light model's results as the paper's Table IV. Imports typer; emodef.train only for checkpoints."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodef.cli import options
from emodef.errors import SettingsError, option_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emodef.corpora import Corpus
    from emodef.evaluation import Report
    from emodef.reporting import Table


class Policy(StrEnum):
    """How labels are predicted from probabilities."""

    TUNED = "tuned"
    FIXED = "fixed"
    BOTH = "both"


class Scores(StrEnum):
    """Whose probabilities."""

    EMOTION = "emotion"
    MATCH = "match"
    MEAN = "mean"


class Form(StrEnum):
    """How results are written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


_SUFFIXES = {".md": Form.MARKDOWN, ".tex": Form.LATEX, ".csv": Form.CSV, ".json": Form.JSON}


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(evaluate)


def evaluate(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="A run's folder; a light model's or a fitted head's, as export and fit write them; or with --data a saved model's. By "
            "default the light model that comes with emodef.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="By default test; of a file, all of it.")] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="Thresholds tuned on dev, the fixed one (the paper's 0.3), or both. By default tuned, if there."
        ),
    ] = None,
    scores: Annotated[
        Scores | None,
        typer.Option(help="Of which head, or their mean. By default those the model answers with."),
    ] = None,
    paper: Annotated[
        bool | None,
        typer.Option(
            "--paper/--no-paper", help="The paper's figures beside ours. By default for its own corpora."
        ),
    ] = None,
    level: Annotated[str | None, typer.Option(help="A coarser label set instead, such as ekman.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Predict and measure these texts, labelled with the model's labels. By default a run's own stored answers, or "
            "the corpus a light model was trained on.",
            rich_help_panel="Data",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    allow_unlabelled: options.AllowUnlabelled = False,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    cpu: options.Cpu = False,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="By default a table, or by --out's suffix.", rich_help_panel="Output"),
    ] = None,
    json: options.Json = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write here: .md, .tex, .csv, .json or .txt.", rich_help_panel="Output"),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Print results as the paper's Table IV: each label's support, precision, recall, and F1 with its interval.

    Under it stand the averages, also at the coarser levels. Thresholds were tuned on dev, never on test. A run needs neither
    the corpus nor torch, unless other scores or other data are asked for; a light model needs the corpus, and never torch.
    Writes a file only with --out.

    \b
    [bold]Examples[/bold]
      emodef evaluate runs/demo
      emodef evaluate runs/demo --policy both --format markdown --out results.md
      emodef evaluate runs/demo --level ekman --split dev
      emodef evaluate runs/demo --data other.csv --json
      emodef evaluate runs/demo/light --data examples/sample
    """
    wanted_form = _form(form, json, out)
    if wanted_form is Form.CSV and policy is Policy.BOTH:
        raise SettingsError("csv holds one table; choose --policy tuned or --policy fixed, or another format")
    given = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    if data is None and given:
        raise SettingsError(f"{option_names(given)}: this is about other data; name it with --data")
    options.refuse_input(out, data)
    if path is None or any((path / name).is_file() for name in ("model.json", "head.json")):
        measured = {"model": "shipped" if path is None else str(path)}
        reports = _light(path, data, split, scores, data_dir, on_error.value, given, quiet)
    else:
        measured = {"run": str(path)}
        if data is None:
            reports = _stored(path, split or "test", scores, data_dir)
        else:
            corpus = _read(data, path, split, data_dir, on_error.value, given, quiet)
            reports = _predicted(path, corpus, scores, cpu, quiet)
    reports = _choose(reports, policy)
    if wanted_form is Form.JSON:
        if level is not None:
            reports = {name: replace(found, levels=(found.level(level),)) for name, found in reports.items()}
        content = {**measured, "reports": {name: found.to_dict() for name, found in reports.items()}}
        _write(options.as_json(content), out)
        return
    tables = _tables(reports, level, paper)
    if wanted_form is not Form.CSV:
        tables += _summaries(reports, level)
    if wanted_form is Form.TABLE and out is None:
        from emodef.reporting import print_table

        for table in tables:
            print_table(table, options.output())
        return
    from emodef.reporting import render

    name = "terminal" if wanted_form is Form.TABLE else wanted_form.value
    _write("\n".join(render(table, name) for table in tables), out)


def _form(form: Form | None, json: bool, out: Path | None) -> Form:
    if json and form not in (None, Form.JSON):
        raise SettingsError(f"--json and --format {form} exclude each other; give one")
    by_suffix = Form.TABLE if out is None else _SUFFIXES.get(out.suffix.lower(), Form.TABLE)
    return Form.JSON if json else form or by_suffix


def _stored(run: Path, split: str, scores: Scores | None, data_dir: Path | None) -> dict[str, Report]:
    """Policy -> report of the run's own split: as it was measured, or anew where other scores are asked for."""
    from emodef.runs import POLICIES, RunFolder

    folder = RunFolder.open(run)
    if scores is None or scores == folder.scores:
        reports = {
            policy: folder.reports[f"{split} {policy}"]
            for policy in POLICIES
            if f"{split} {policy}" in folder.reports
        }
        if not reports:
            measured = sorted({name.split()[0] for name in folder.reports})
            raise SettingsError(
                f"the run measured no split {split!r}, but: {', '.join(measured) or 'none, since its corpus has no dev or test'}; "
                "give one of these with --split, or other data with --data"
            )
        return reports
    return folder.measure(split, scores.value, data_dir)


def _read(
    data: str,
    run: Path,
    split: str | None,
    data_dir: Path | None,
    on_error: str,
    columns: dict[str, object],
    quiet: bool,
) -> Corpus:
    """The split to measure, labelled with the model's own labels."""
    from emodef.measuring import choose_split, read_corpus
    from emodef.runs import load_label_set, model_folder

    labels = load_label_set(model_folder(run))
    splits = read_corpus(data, labels, data_dir=data_dir, on_error=on_error, **columns)
    corpus = choose_split(splits, data, split)
    options.report_problems([corpus], quiet)
    return corpus


def _light(
    path: Path | None,
    data: str | None,
    split: str | None,
    scores: Scores | None,
    data_dir: Path | None,
    on_error: str,
    columns: dict[str, object],
    quiet: bool,
) -> dict[str, Report]:
    """A light model's reports of one split, by policy."""
    from emodef.cli.models import progress
    from emodef.measuring import choose_own_split, choose_split, light_reports, own_corpus, read_corpus
    from emodef.predictor import Predictor

    predictor = Predictor.load(path)
    if scores not in (None, predictor.info.scores):
        raise SettingsError(
            f"a light model answers with one head's scores, this one with {predictor.info.scores}; ask the run it was exported from"
        )
    own = data is None
    name = own_corpus(predictor) if data is None else data
    splits = read_corpus(name, predictor.label_set, data_dir=data_dir, on_error=on_error, **columns)
    corpus = (choose_own_split if own else choose_split)(splits, name, split)
    options.report_problems([corpus], quiet)
    with progress(len(corpus), quiet or len(corpus) < options.WITH_BAR) as advance:
        reports = light_reports(
            predictor, [corpus], train=splits.get("train") if own else None, progress=advance
        )
    return {report.removeprefix(f"{corpus.split} "): found for report, found in reports.items()}


def _predicted(run: Path, corpus: Corpus, scores: Scores | None, cpu: bool, quiet: bool) -> dict[str, Report]:
    from emodef.cli.models import load_model, predict_all
    from emodef.runs import BY_FOLDS, ON_DEV, report

    model = load_model(run, cpu)
    tuned = ON_DEV if any(name.startswith("dev ") for name in model.metrics) else BY_FOLDS
    own = scores is None or scores == model.settings.scores
    probabilities = predict_all(model, corpus.texts, quiet, None if scores is None else scores.value)
    policies = (
        ("tuned", "fixed") if own else ("fixed",)
    )  # thresholds were tuned for the scores it answers with
    return {
        policy: report(probabilities, corpus, model.thresholds, policy, tuned=tuned)
        for policy in policies
        if policy in model.thresholds
    }


def _choose(reports: dict[str, Report], policy: Policy | None) -> dict[str, Report]:
    """The reports asked for; by default the tuned one, else the fixed one."""
    from emodef.runs import POLICIES, check_policies

    if policy is None:
        name = next(name for name in POLICIES if name in reports)
        return {name: reports[name]}
    return check_policies(reports, POLICIES if policy is Policy.BOTH else (policy.value,))


def _tables(reports: Mapping[str, Report], level: str | None, paper: bool | None) -> list[Table]:
    """Table IV under each policy. `paper` None: beside the paper's figures for a published corpus alone."""
    from emodef.corpora import CORPORA
    from emodef.reporting import table4

    return [
        table4(found, level=level, paper=found.corpus in CORPORA if paper is None else paper)
        for found in reports.values()
    ]


def _summaries(reports: Mapping[str, Report], level: str | None) -> list[Table]:
    """The averages: at the level asked for, policies side by side, or else at every level."""
    from emodef.reporting import levels_table, summary_table

    if level is not None:
        return [summary_table(reports, level=level)]
    return [levels_table(found) for found in reports.values()]


def _write(text: str, out: Path | None) -> None:
    from emodef.atomic import write_text

    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(f"written: {out}", err=True)
