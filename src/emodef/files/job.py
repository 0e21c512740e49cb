"""A source of rows from end to end: its parts predicted, put by as they are finished, joined; or streamed out. Imports files.

What maps the parts is an `Engine`: a function from parts to finished parts, in whatever order they come. `local` predicts
them here, one after the other, with all threads on one part.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import emodef
from emodef.corpora.cells import listed
from emodef.errors import DataError, EmodefError, SettingsError
from emodef.files.folder import PartsFolder, parts_path, problems_path
from emodef.files.inspection import fingerprint, json_columns
from emodef.files.predictions import OUTPUTS, TERMINAL, Finished, Options, Plan, Problem, predict_part
from emodef.files.sources import SUFFIXES, Part, Source, TextSource
from emodef.files.writers import header
from emodef.predictor.model_file import INFO, MODEL, TOKENIZER

if TYPE_CHECKING:
    from emodef.predictor import Predictor

PART_SIZE = 8192  # rows
STREAM_SIZE = 1024  # rows of what is printed: the first come soon
SHOWN_PROBLEMS = 5
Engine = Callable[[Iterator[Part]], Iterator[Finished]]


class Interrupted(EmodefError):
    """Stopped by the user; says how to go on."""

    exit_code = 130  # 128 + SIGINT, as shells have it


@dataclass
class Watch:
    """Is told how far a job has come; a progress bar overrides what it shows."""

    def reading(self, done: int, total: int) -> None:
        """Bytes of the input looked at, to know it again."""

    def begin(self, rows: int) -> None:
        """Predicting begins, behind the rows that earlier runs have finished."""

    def estimate(self, rows: int, share: float | None) -> None:
        """The rows read so far, and their share of the input (None: nobody knows)."""

    def advance(self, rows: int) -> None:
        """So many more rows are predicted."""


@dataclass
class Summary:
    """What was done. rows: of the input; earlier: those of them that an interrupted run had finished.

    problems: how many rows have no prediction, `dropped` of them not in the output; shown: the first of them; they all stand
    in problems_file. long_texts: texts read in several windows. left_out: keys of JSON objects that have no column, because a pipe's
    first row lacks them -> the first row that has them. in_quotes: the first row of a TSV with a cell that looks as if its quotes
    had been meant as such; 0 where there is none.
    """

    out: Path | None = None
    rows: int = 0
    earlier: int = 0
    problems: int = 0
    long_texts: int = 0
    seconds: float = 0.0
    shown: list[Problem] = field(default_factory=list)
    dropped: int = 0
    problems_file: Path | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    in_quotes: int = 0

    def count(self, rows: int, long_texts: int, problems: Iterable[Problem]) -> None:
        """Add a part."""
        self.rows += rows
        self.long_texts += long_texts
        for problem in problems:
            self.problems += 1
            self.dropped += not problem.kept
            if len(self.shown) < SHOWN_PROBLEMS:
                self.shown.append(problem)


def output_format(out: Path) -> str:
    """What a file's name says it holds. Raises SettingsError."""
    found = SUFFIXES.get(out.suffix.lower())
    if found not in OUTPUTS:
        raise SettingsError(
            f"--out {out}: predictions are written as .csv, .tsv, .jsonl or .parquet; name the file so"
        )
    return found


def predict_file(
    source: Source,
    out: Path,
    predictor: Predictor,
    options: Options,
    *,
    part_size: int = PART_SIZE,
    restart: bool = False,
    engine: Callable[[Plan], Engine] | None = None,
    watch: Watch | None = None,
) -> Summary:
    """Predict every row of `source` into the file `out`, which appears when all is done.

    Killed at any time and called again with the same arguments it goes on behind the parts that are finished, and the
    result is the same to the byte. engine: gets the plan, gives what maps the parts. restart: begin anew.

    Raises SettingsError (options, input or model differ from those of the finished parts; another process is at work),
    DataError (input that cannot be read, a bad row with on_error="fail"), Interrupted.
    """
    began, watch = time.monotonic(), watch or Watch()
    plan = Plan(source.table, output_format(out), options, names_of(predictor, options))
    _check_paths(source, out)
    if part_size < 1:
        raise SettingsError(f"the part size is {part_size}; it must be 1 or more")
    before = source.state()
    with PartsFolder.locked(out) as folder:
        manifest = {
            "format": 1,
            "emodef": emodef.__version__,
            "input": _input(source, watch),
            "columns": list(plan.table.columns),
            "settings": {
                **asdict(options),
                "text_column": plan.table.text_column,
                "part_size": part_size,
                "labels": list(plan.names),
            },
            "model": known_by(predictor),
        }
        if predictor.layers:
            told = "".join(layer.identity for layer in predictor.layers)
            manifest["labels"] = {"hash": blake2b(told.encode(), digest_size=32).hexdigest()}
        plan = _with_columns(plan, source)
        folder.begin(manifest, restart=restart, resumable=source.resumable)
        summary = Summary(out)
        summary.earlier = sum(facts["rows"] for facts in folder.facts())
        watch.begin(summary.earlier)
        mapped = engine(plan) if engine else local(predictor, plan, watch)
        rows = summary.earlier
        try:
            parts = noted(source.parts(part_size, dict(folder.finished)), plan, summary)
            for part in mapped(_told(parts, source, rows, watch)):
                folder.add(part)
                rows += part.rows
            if source.state() != before:
                raise DataError("changed while it was read; begin anew with --restart", source.table.name)
            if not any(facts.get("has_text", True) for facts in folder.facts()):
                folder.remove()  # no row of it is predicted
                raise no_text(source)
            folder.join(header(plan))
        except KeyboardInterrupt:
            raise Interrupted(_how_to_go_on(source, out, rows)) from None
        for facts in folder.facts():
            summary.count(facts["rows"], facts["long_texts"], (Problem(**p) for p in facts["problems"]))
        if summary.problems:
            summary.problems_file = problems_path(out)
        folder.remove()
    summary.seconds = time.monotonic() - began
    return summary


def predict_stream(
    source: Source,
    write: Callable[[bytes], Any],
    output: str,
    predictor: Predictor,
    options: Options,
    *,
    part_size: int,
    watch: Watch | None = None,
) -> Summary:
    """Predict every row of `source` and hand the bytes on, part by part, in order. Nothing is put by."""
    if output == "parquet":
        raise SettingsError("Parquet is not written to standard output; name a file with --out")
    began, watch = time.monotonic(), watch or Watch()
    names = names_of(predictor, options)
    plan = _with_columns(
        Plan(source.table, output, options, names, ours_first=source.table.format == "txt"), source
    )
    summary, has_text = Summary(), False
    watch.begin(0)
    if head := header(plan):
        write(head)
    try:
        for part in _told(noted(source.parts(part_size, {}), plan, summary), source, 0, watch):
            done = predict_part(part, predictor, plan, watch.advance)
            write(done.data)
            has_text |= done.has_text
            summary.count(done.rows, done.long_texts, done.problems)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted after {summary.rows:,} rows. What is read from a pipe or printed cannot be gone on with; "
            "a --file with --out can"
        ) from None
    if not has_text:
        raise no_text(source)
    summary.seconds = time.monotonic() - began
    return summary


def local(predictor: Predictor, plan: Plan, watch: Watch) -> Engine:
    """Predicts parts in this process."""
    return lambda parts: (predict_part(part, predictor, plan, watch.advance) for part in parts)


def names_of(predictor: Predictor, options: Options) -> tuple[str, ...]:
    """The labels that are predicted. Raises SettingsError or LabelSetError for options that do not fit the model."""
    from emodef.predictor.decisions import labels_of

    predictor.predict([], **options.of_predict)  # says what does not fit
    return labels_of(options.level, predictor.info).names


def no_text(source: Source) -> DataError:
    """What to say at the end of JSON objects of which none has the text, a column taken at its word until then."""
    keys = [column for column in source.table.columns if column != source.table.text_column]
    return DataError(
        f"has no column {source.table.text_column!r} in any of its rows, the first has: {listed(keys)}; say which with "
        "--text-column",
        source.table.name,
    )


def known_by(predictor: Predictor) -> dict[str, str]:
    """What tells a model from another: a hash of all its files that answers depend on; own labels over it are not in it."""
    folder, digest = predictor.graph.path.parent, blake2b(digest_size=32)
    for name in (MODEL, TOKENIZER, INFO):
        digest.update((folder / name).read_bytes())
    return {"name": str(predictor.info.about.get("name", "")), "hash": digest.hexdigest()}


def _check_paths(source: Source, out: Path) -> None:
    if out.exists() and not out.is_file():
        raise SettingsError(f"--out {out}: is there and is not a file; name another")
    if source.path is None or not source.path.exists():
        return
    if out.exists() and out.samefile(source.path):
        raise SettingsError(f"--out {out}: is the input itself; name another file")
    beside, parts = problems_path(out), parts_path(out)
    if beside.exists() and beside.samefile(source.path):
        raise SettingsError(
            f"--out {out}: rows without a prediction are listed in {beside}, which is the input; name another file"
        )
    if parts.exists() and parts.samefile(source.path.resolve().parent):
        raise SettingsError(
            f"--out {out}: its finished parts are kept in {parts}, where the input is; name another file"
        )


def _input(source: Source, watch: Watch) -> dict[str, Any]:
    """What the input is known by."""
    if source.path is None:
        return {"path": source.table.name, "rows": source.rows, "files": source.state()}
    size, seen = source.path.stat().st_size, 0

    def tell(more: int) -> None:
        nonlocal seen
        seen += more
        watch.reading(seen, size)

    found = fingerprint(source.path, is_text=source.table.format != "parquet", progress=tell)
    return {"path": os.path.abspath(source.path), "format": source.table.format, **asdict(found)}


def _with_columns(plan: Plan, source: Source) -> Plan:
    """A table's columns and types, where the first row of the input does not tell them."""
    if plan.output == "jsonl" or plan.table.format == "parquet":
        return plan
    types = dict.fromkeys(plan.table.columns, "String")
    if isinstance(source, TextSource) and source.table.format == "jsonl" and source.path is not None:
        types = json_columns(source.path)
    table = replace(plan.table, columns=tuple(types))
    return replace(plan, table=table, types=tuple(types.values()))


def noted(parts: Iterator[Part], plan: Plan, summary: Summary) -> Iterator[Part]:
    """The parts; what their JSON objects have and no column takes, and a TSV's cells in quotes, are noted in `summary`."""
    note = {"jsonl": _note_left_out, "tsv": _note_quotes}.get(plan.table.format)
    for part in parts:
        if note is not None:
            note(part, plan, summary)
        yield part


def _note_left_out(part: Part, plan: Plan, summary: Summary) -> None:
    if plan.output in ("jsonl", TERMINAL):
        return
    known = set(plan.table.columns)
    for record in part.records:
        if isinstance(record.values, dict) and not record.values.keys() <= known:
            for key in record.values:
                if key not in known:
                    summary.left_out.setdefault(key, record.row)


def _note_quotes(part: Part, plan: Plan, summary: Summary) -> None:
    from emodef.corpora.quoted import is_quoted

    if summary.in_quotes:
        return
    for record in part.records:
        if '""' in record.raw and any(map(is_quoted, plan.table.cells(record))):
            summary.in_quotes = record.row
            return


def _told(parts: Iterator[Part], source: Source, rows: int, watch: Watch) -> Iterator[Part]:
    """The parts, each told to `watch` when it has been read; `rows` have been before them."""
    for part in parts:
        rows += len(part.records)
        watch.estimate(rows, source.share(part.end))
        yield part


def _how_to_go_on(source: Source, out: Path, rows: int) -> str:
    if not source.resumable:
        return f"interrupted after {rows:,} rows. {source.table.name.capitalize()} cannot be gone on with; what is in a file can: --file"
    return (
        f"interrupted. {rows:,} rows are finished and kept in {parts_path(out)}; the same command goes on from there, "
        "with --restart it begins anew"
    )
