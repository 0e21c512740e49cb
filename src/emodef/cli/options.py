"""Options that several commands share, and where commands print: results to standard output, the rest to standard error. Imports typer."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodef.errors import DataError, SettingsError, option_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rich.console import Console

    from emodef.corpora import Corpus
    from emodef.definitions import Definitions
    from emodef.predictor import Predictor
    from emodef.reporting import Table
    from emodef.runs import DataChoice

PLAIN_WIDTH = 160  # of tables where there is no terminal to fit them to
SHOWN_PROBLEMS = 5
WITH_BAR = 256  # texts from which on a progress bar is worth its place


class OnError(StrEnum):
    """What to do with a row that cannot be used."""

    FAIL = "fail"
    SKIP = "skip"


DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with a folder for each corpus. By default $EMODEF_DATA, else the user's cache folder.",
        rich_help_panel="Data",
    ),
]
OnErrorOption = Annotated[
    OnError,
    typer.Option(
        help="At a row that cannot be used: stop, naming file and row, or leave it out and say so.",
        rich_help_panel="Data",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Label set of your own file: a shipped one's name or a TOML file.", rich_help_panel="Data"
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Set this share of the training texts aside: the same texts whatever the seed, copies of a text together.",
        rich_help_panel="Data",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.", rich_help_panel="Output")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no notes.", rich_help_panel="Output")
]
Cpu = Annotated[bool, typer.Option("--cpu", help="Do not use a GPU.")]

# of the commands that predict with a light model
Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TEXT]...", help="Texts; - reads them from standard input, a line each."),
]
LightModel = Annotated[
    Path | None,
    typer.Option(help="An exported model's folder, or the run's. By default the model emodef brings."),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="N|tuned|fixed",
        help="Labels whose probability exceeds this are predicted. By default each label's own, tuned on dev.",
    ),
]
Level = Annotated[
    str | None, typer.Option(help="Coarser labels of the model's label set, such as ekman or sentiment.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU cores to compute on. By default all there are.")
]
_OWN = "Labels of your own"
OwnLabels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="FILE|NAME",
        help='Score these labels, from what they mean alone: a TOML file with lines such as awe = "Wonder mixed with respect", or a '
        "shipped label set.",
        rich_help_panel=_OWN,
    ),
]
Known = Annotated[
    bool, typer.Option("--known", help="With all the labels of the model beside them.", rich_help_panel=_OWN)
]
KnownLabels = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="With these labels of the model beside yours; without yours, these alone. A name with a comma in double quotes.",
        rich_help_panel=_OWN,
    ),
]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print a JSON object a line, for scripts.", rich_help_panel="Output")
]

_COLUMNS = "Columns of your own file"
TextColumn = Annotated[
    str | None,
    typer.Option(
        help="The text. By default the first of text, sentence, comment, ...", rich_help_panel=_COLUMNS
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        help="The labels: names, a JSON list, or numbers. By default the first of labels, label, emotions, emotion.",
        rich_help_panel=_COLUMNS,
    ),
]
LabelColumns = Annotated[
    str | None,
    typer.Option(
        help="Instead: one column of 0 and 1 for each label, as A,B,C. A name with a comma in double quotes.",
        rich_help_panel=_COLUMNS,
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(help="An identifier. By default id, else file:row.", rich_help_panel=_COLUMNS),
]
SplitColumn = Annotated[
    str | None,
    typer.Option(help="Which of train, dev and test a row belongs to.", rich_help_panel=_COLUMNS),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="What parts several labels in a cell. By default the first of | ; , found.",
        rich_help_panel=_COLUMNS,
    ),
]

AllowUnlabelled = Annotated[
    bool,
    typer.Option(
        "--allow-unlabelled",
        help="Rows without labels are texts that have none of them.",
        rich_help_panel="Data",
    ),
]


def columns(
    text: str | None,
    label: str | None,
    label_columns: str | None,
    identifier: str | None,
    split: str | None,
    delimiter: str | None,
    allow_unlabelled: bool = False,
) -> dict[str, Any]:
    """The options of a user's file that were given, as `emodef.corpora.load_corpus` takes them."""
    hot = None if label_columns is None else names(label_columns, "--label-columns")
    given = {
        "text_column": text,
        "label_column": label,
        "label_columns": hot,
        "id_column": identifier,
        "split_column": split,
        "delimiter": delimiter,
        "allow_unlabelled": allow_unlabelled or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def data_choice(
    data_dir: Path | None,
    on_error: OnError = OnError.FAIL,
    *,
    dev_share: float | None = None,
    test_share: float | None = None,
    columns: Mapping[str, Any] | None = None,
) -> DataChoice:
    """How a corpus is read, of the options that say so; columns: what `columns` gives."""
    from emodef.runs import DataChoice

    return DataChoice(
        data_dir=None if data_dir is None else str(data_dir),
        on_error=on_error.value,
        dev_share=dev_share or 0.0,
        test_share=test_share or 0.0,
        columns=dict(columns or {}),
    )


def refuse_columns(columns: Mapping[str, Any], corpora: Iterable[str], option: str) -> None:
    """Raise SettingsError where options of a user's file were given, and all corpora are published ones. option: what names a file."""
    from emodef.corpora import CORPORA

    if columns and all(name in CORPORA for name in corpora):
        raise SettingsError(
            f"{option_names(columns)}: for a file of your own; name that file with {option}, or leave this out"
        )


def with_labels(
    predictor: Predictor, labels: str | Definitions | None, known: bool, known_labels: str | None
) -> Predictor:
    """The predictor of the labels that were asked for with --labels, --known and --known-labels; by default the model's own."""
    if known and known_labels is not None:
        raise SettingsError("--known and --known-labels exclude each other; give one")
    if labels is None and known_labels is None:
        return predictor  # --known alone names what there is anyway
    if known_labels is None:
        return predictor.with_labels(labels, known=known)
    return predictor.with_labels(labels, known=names(known_labels, "--known-labels"))


def names(given: str, option: str) -> list[str]:
    """Names parted by commas, quoted as in CSV. Raises SettingsError for quotes that do not fit."""
    import csv
    import io

    try:
        rows = list(csv.reader(io.StringIO(given, newline=""), strict=True, skipinitialspace=True))
    except csv.Error:
        raise SettingsError(
            f"{option} {given}: a double quote is not closed, or something follows it; a name with a comma stands in "
            "double quotes, and a quote in it is doubled"
        ) from None
    return [name.strip() for row in rows for name in row if name.strip()]


def output() -> Console:
    """For results. Tables fit the terminal; in a pipe or a file they are wide and plain."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:  # not an exit with 1: nothing is wrong with `emodef ... | head`
            raise BrokenPipeError

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Output(width=width, highlight=False, soft_wrap=False)


def notes(quiet: bool = False) -> Console:
    """For progress and notes."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, quiet=quiet)


@contextmanager
def stages(hidden: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error for each stage of long work, by its name: told (stage, done, total)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes(), transient=True, disable=hidden) as bar:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield tell


def as_json(content: object) -> str:
    """Strict JSON, with a line end; texts stand as they are, not as escapes."""
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def print_json(content: object) -> None:
    """`as_json` on standard output."""
    typer.echo(as_json(content), nl=False)


def report_problems(splits: Iterable[Corpus], quiet: bool = False) -> None:
    """Say which rows `--on-error skip` left out: how many, and the first of them; and `report_notes`."""
    if quiet:
        return
    splits = list(splits)
    report_notes(splits)
    problems = list(dict.fromkeys(p for corpus in splits for p in corpus.problems if p.kind == "skipped"))
    for problem in problems[:SHOWN_PROBLEMS]:
        typer.echo(f"note: {problem}", err=True)
    if len(problems) > SHOWN_PROBLEMS:
        typer.echo(f"note: {len(problems):,} rows left out in all; 'emodef data show' counts them", err=True)


def report_notes(splits: Iterable[Corpus]) -> None:
    """Say what else is to be known of the files, each thing once."""
    for note in dict.fromkeys(note for corpus in splits for note in corpus.notes):
        typer.echo(f"note: {note}", err=True)


def report_unused(splits: Mapping[str, Corpus], quiet: bool = False) -> None:
    """Say which splits training does not look at, perhaps for their names."""
    unused = {name: len(part) for name, part in splits.items() if name not in ("train", "dev", "test")}
    if unused and not quiet:
        told = ", ".join(f"{name} ({count:,} texts)" for name, count in unused.items())
        typer.echo(
            f"note: splits that are not used: {told}; name them train, dev or test to use them", err=True
        )


def refuse_input(out: Path | None, *inputs: str | Path | None) -> None:
    """Raise SettingsError where `out` is one of the inputs itself, or a file in one that is a folder."""
    if out is None or not out.exists():
        return
    for source in (Path(given) for given in inputs if given):
        if any(path.exists() and out.samefile(path) for path in (source, *source.glob("*"))):
            raise SettingsError(f"--out {out}: is the input itself; name another file")


def write_page(out: Path, heading: str, introduction: Path | None, tables: Iterable[Table]) -> None:
    """Write tables as one Markdown page, under a title and the words of a file, and say so."""
    from emodef.atomic import write_text
    from emodef.reporting import render

    try:
        words = introduction.read_text(encoding="utf-8").strip() if introduction else ""
    except UnicodeDecodeError:
        raise DataError("is not UTF-8; save the introduction as UTF-8", introduction) from None
    page = [f"# {heading}", words, *(render(table, "markdown").strip() for table in tables)]
    write_text(out, "\n\n".join(part for part in page if part) + "\n")
    typer.echo(f"written: {out}", err=True)
