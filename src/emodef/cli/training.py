"""`emodef train` and `emodef recipes`. Imports typer; emodef.train only inside the commands."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.cli import options
from emodef.errors import DataError, SettingsError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from emodef.corpora import Corpus
    from emodef.train.run import Run
    from emodef.train.settings import TrainSettings

_SETTINGS = "Settings"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this module into `app`."""
    app.command()(train)
    app.command()(recipes)


def train(
    out: Annotated[Path, typer.Option(help="The run's folder: a new one, or with --resume its own.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Settings: a shipped recipe ('emodef recipes') or a TOML file. By default paper.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with this trained model, a run's folder or a saved model's, instead of the bare encoder; recipe few_shot "
            "unless another is named.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    setup: Annotated[
        str | None,
        typer.Option(help="none, or tasks joined by +: cdp, mlm, match.", rich_help_panel=_SETTINGS),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, rich_help_panel=_SETTINGS)] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any setting; 'emodef recipes NAME' lists them. May be repeated.",
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A corpus, or your own file, or a folder with train, dev and test files. By default the recipe's.",
            rich_help_panel="Data",
        ),
    ] = None,
    labels: options.Labels = None,
    dev_share: options.Share = None,
    test_share: options.Share = None,
    data_dir: options.DataDir = None,
    on_error: options.OnErrorOption = options.OnError.FAIL,
    allow_unlabelled: options.AllowUnlabelled = False,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    label_columns: options.LabelColumns = None,
    id_column: options.IdColumn = None,
    split_column: options.SplitColumn = None,
    delimiter: options.Delimiter = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, with its own settings and data.")
    ] = False,
    cpu: options.Cpu = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log to OUT/tensorboard.", rich_help_panel="Output")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print settings, texts and steps, and stop.", rich_help_panel="Output"
        ),
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on a corpus, evaluate it, and save everything in one folder.

    Writes OUT/model (safetensors, tokenizer, labels, thresholds, model card), OUT/metrics.json, OUT/probabilities.npz,
    OUT/log.jsonl, and OUT/settings.json, data.json and versions.json to repeat it. Ctrl-C saves and stops; --resume goes
    on, and ends with the same weights as a run never stopped.

    With --from, a trained model learns labels of your own, beginning with what their definitions say; a hundred texts are
    enough, and where there is no dev split, cross-validation decides when to stop, and each label's threshold.

    \b
    [bold]Examples[/bold]
      emodef train --recipe minilm --setup match --out runs/match
      emodef train --recipe minilm --seed 1 --set epochs=2 --out runs/short --dry-run
      emodef train --recipe minilm --data mine.csv --labels mine.toml --dev-share 0.1 --out runs/mine
      emodef train --from runs/match --data few.csv --labels few.toml --out runs/few
      emodef train --resume --out runs/mine
    """
    from emodef.cli.asking import Asked, check_settings, chosen_settings, read_label_set, resumed
    from emodef.runs import started
    from emodef.train.held_out import training_corpus
    from emodef.train.run import run_training
    from emodef.train.teachers import with_hashes

    given = options.columns(
        text_column, label_column, label_columns, id_column, split_column, delimiter, allow_unlabelled
    )
    chosen = Asked(recipe, setup, seed, assign or [], data, labels, start)
    if resume:
        read = {
            "dev_share": dev_share,
            "test_share": test_share,
            "on_error": on_error is options.OnError.SKIP,
        }
        told = [*given, *(name for name, value in read.items() if value)]
        settings, choice = resumed(out, chosen, told, None if data_dir is None else str(data_dir))
    else:
        settings = chosen_settings(chosen)
        check_settings(settings)
        choice = options.data_choice(
            data_dir, on_error, dev_share=dev_share, test_share=test_share, columns=given
        )
    corpus = choice.load(
        settings.corpus, read_label_set(settings.label_set, partial(options.notes(quiet).print, markup=False))
    )
    check_corpus(corpus, settings)
    if not resume:
        check_new(training_corpus(settings, corpus), settings.corpus)
    if not resume and chosen.few:
        from emodef.train.few_shot import few_epochs

        settings = few_epochs(settings, len(corpus["train"]))
    options.report_problems(corpus.values(), quiet)
    options.report_unused(corpus, quiet)
    if dry_run:
        with_hashes(settings)  # teachers and texts that are not there
        _print_plan(settings, corpus, json)
        return
    helper = os.environ.get("RANK", "0") != "0"  # of several processes, only the first writes and prints
    try:
        run = run_training(
            settings,
            corpus,
            out,
            resume=resume,
            cpu=cpu,
            console=None if quiet else options.notes(),
            tensorboard=tensorboard,
            choice=choice,
        )
    except TrainingError as error:
        if "--resume" in str(error) and started(out):  # a loss that is not finite would be so again
            typer.echo(f"to go on: emodef train --resume --out {shlex.quote(str(out))}", err=True)
        raise error
    if not helper:
        _print_run(run, json)


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME|FILE", help="A recipe to show with every setting.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the shipped recipes, or show one with every setting and what it means.

    A recipe is a TOML file of settings, and may start from another: extends = "paper". Lists in it stand for several runs:
    'emodef experiment run NAME' makes them all.

    \b
    [bold]Examples[/bold]
      emodef recipes
      emodef recipes minilm
      emodef recipes table3
    """
    from rich.table import Column, Table
    from rich.text import Text

    from emodef.train.settings import TrainSettings, load_experiment
    from emodef.train.settings import recipes as shipped

    if name is None:
        found = [load_experiment(each) for each in shipped()]
        if json:
            options.print_json({e.name: {"description": e.description, "runs": len(e.runs)} for e in found})
            return
        table = Table("recipe", Column("runs", justify="right"), "what it is for", box=None, pad_edge=False)
        for each in found:
            table.add_row(each.name, str(len(each.runs) or ""), Text(each.description))
        options.output().print(table)
        return
    experiment = load_experiment(name)
    if experiment.transfer is not None:
        options.print_json(experiment.transfer.model_dump(mode="json"))
        return
    runs = [settings.model_dump(mode="json") for settings in experiment.runs]
    if json:
        options.print_json(runs[0] if len(runs) == 1 else {"runs": runs})
        return
    table = Table("setting", "value", "what it is", box=None, pad_edge=False)
    for key, field in TrainSettings.model_fields.items():
        values = list(dict.fromkeys(_toml(run[key]) for run in runs))
        shown = values[0] if len(values) == 1 else "; ".join(value or "not set" for value in values)
        table.add_row(key, Text(shown), Text(field.description or ""))
    if len(runs) > 1:
        table.caption = f"{len(runs)} runs; what each of them is: emodef experiment run {name} --dry-run"
    options.output().print(table)


def check_corpus(corpus: Mapping[str, Corpus], settings: TrainSettings) -> None:
    """Refuse data that cannot be trained on as asked, before anything heavy starts."""
    from emodef.corpora.files import is_derived

    if "train" not in corpus:
        raise DataError(
            f"no split to train on, it has: {', '.join(corpus)}; name one of its files or splits train",
            settings.corpus,
        )
    if is_derived(corpus["train"].label_set):
        raise SettingsError(
            f"{settings.corpus}: the model reads what each label means, and there are no definitions. Start them with "
            f"'emodef labels skeleton {settings.corpus} --out labels.toml', write a line for each label, and pass "
            "--labels labels.toml"
        )
    if "dev" not in corpus and settings.keep == "best" and settings.start is None:
        raise SettingsError(
            f"{settings.corpus}: no dev split to choose the best epoch by; set texts aside for it (--dev-share 0.1), or keep "
            "the last epoch (--set keep=last)"
        )


def check_new(corpus: Mapping[str, Corpus], given: str) -> None:
    """Refuse, of a run that is not begun yet, what would be of no use when it is at its end."""
    if "dev" in corpus and not corpus["dev"].labels.any():
        raise SettingsError(
            f"{given}: no text of dev has a label, so that nothing can be chosen on it; set a larger share aside, or put texts "
            "with labels into it"
        )


def _print_plan(settings: TrainSettings, corpus: Mapping[str, Corpus], json: bool) -> None:
    from emodef.pairs import definition_pairs
    from emodef.train.held_out import training_corpus
    from emodef.train.sampling import count_primary, total_steps
    from emodef.train.teachers import unlabelled_texts

    corpus = training_corpus(settings, corpus)
    train = corpus["train"]
    counts = {split: len(part) for split, part in corpus.items()}
    if settings.unlabelled is not None:
        counts["unlabelled"] = len(unlabelled_texts(settings, corpus))
    per_epoch = -(-(counts["train"] + counts.get("unlabelled", 0)) // settings.batch_size)
    pairs = (
        len(definition_pairs(train.labels, settings.seed, negatives="cdp" in settings.tasks))
        if settings.auxiliary
        else 0
    )
    steps = total_steps(settings, per_epoch, auxiliary=pairs > 0)
    primary = count_primary(settings.seed, steps, settings.p) if pairs else steps
    plan = {
        "settings": settings.model_dump(mode="json"),
        "texts": counts,
        "labels": len(train.label_set),
        "pairs": pairs,
        "steps": {"per_epoch": per_epoch, "primary": primary, "auxiliary": steps - primary},
    }
    if json:
        options.print_json(plan)
        return
    for key, value in settings.model_dump(mode="json").items():
        typer.echo(f"# {key} is not set" if value is None else f"{key} = {_toml(value)}")
    texts = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    typer.echo(f"# texts: {texts}; {len(train.label_set)} labels ({train.label_set.name})")
    about = f" and {steps - primary:,} auxiliary ones over {pairs:,} pairs" if settings.auxiliary else ""
    usual = steps == settings.epochs * per_epoch
    parts = f"epochs of {per_epoch:,}" if usual else f"equal parts; a pass over the texts is {per_epoch:,}"
    typer.echo(f"# steps: {primary:,} primary ones{about}; {settings.epochs} {parts}")


def _print_run(run: Run, json: bool) -> None:
    from emodef.runs import read_json

    if json:
        options.print_json({"run": str(run.folder), **read_json(run.folder / "metrics.json")})
        return
    from emodef.reporting import print_table, summary_table

    for split in ("test", "dev"):
        reports = {name: found for name, found in run.reports.items() if name.startswith(f"{split} ")}
        if reports:
            print_table(summary_table(reports), options.output())
            break
    folded = read_json(run.folder / "metrics.json")["training"].get("cross_validation")
    if folded is not None:
        deal = (
            f"{folded['folds']} folds" if folded["folds"] > 1 else f"{folded['texts']:,} texts held out once"
        )
        typer.echo(
            f"cross-validated ({deal}): macro F1 {100 * folded['macro_f1']:.1f} after epoch {folded['epoch']} of "
            f"{len(folded['macro_f1_by_epoch'])}, where the run on all texts stopped; epoch and thresholds were chosen on the same texts"
        )
    after = f"evaluate {run.folder}" if run.reports else f"export {run.folder}"
    if not run.reports and folded is None:  # neither dev nor folds: an export needs texts to be checked on
        after = f"evaluate {run.folder} --data FILE"
    typer.echo(f"saved in {run.folder}; the model is {run.folder / 'model'}\nnext: emodef {after}")


def _toml(value: Any) -> str:
    """A setting's value as a recipe has it; nothing for one that is not set."""
    import json

    return "" if value is None else json.dumps(value, ensure_ascii=False)
