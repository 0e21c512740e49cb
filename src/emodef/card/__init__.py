"""The card of a light model: measured, and written as README.md and card.json. Imports measuring, probes, predictor, its modules.

    write_card("runs/demo/light", license="apache-2.0")

`text` writes the page, `biases` puts the probes into words, `facts.toml` knows some backbones and corpora.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emodef
from emodef.atomic import write_text
from emodef.card.text import Measured, card_text
from emodef.errors import DataError, SettingsError
from emodef.measuring import light_reports, own_corpus, read_corpus
from emodef.predictor import Predictor
from emodef.predictor.decisions import resolve_thresholds
from emodef.predictor.model_file import CARD, HEAD, MODEL, find
from emodef.probes import probe

__all__ = ["Measured", "Written", "card_text", "measure", "write_card"]

FORMAT = 1  # of card.json
FIGURES = "card.json"


@dataclass(frozen=True)
class Written:
    """Where the card is, what it says, and what could not be measured."""

    folder: Path
    measured: Measured
    notes: tuple[str, ...]


def write_card(
    model: str | os.PathLike[str],
    *,
    data: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    on_error: str = "fail",
    corpora: bool = True,
    license: str | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Written:
    """Measure a light model and write its README.md and card.json, into its folder or `out`.

    Options as `measure` has them; license: the terms the model is given away under, as an SPDX name. Raises DataError for a folder
    without a model, for a fitted head's, and where `data` cannot be read; a corpus that is merely not at hand is noted.
    """
    folder = find(model)
    if (folder / HEAD).exists():  # another file, made otherwise: this page would say what is not so
        raise DataError(
            f"is a fitted head, whose card ({CARD}) 'emodef fit' wrote with it; to measure it: emodef evaluate {folder} --data FILE, "
            f"emodef probe --model {folder}",
            folder,
        )
    target = folder if out is None else Path(out)
    if target.exists() and not target.is_dir():
        raise SettingsError(f"{target} is a file; give a folder (--out)")
    predictor = Predictor.load(folder)
    measured = measure(
        predictor,
        data=data,
        data_dir=data_dir,
        columns=columns,
        on_error=on_error,
        corpora=corpora,
        progress=progress,
    )
    command = _command(model, data, columns or {}, on_error, corpora, license, out)
    size = (folder / MODEL).stat().st_size
    text = card_text(predictor.info, measured, command=command, size=size, license=license)
    content = {
        "format": FORMAT,
        "emodef": emodef.__version__,
        "command": command,
        "texts": measured.texts,
        "reports": {name: report.to_dict() for name, report in measured.reports.items()},
        "probes": measured.probes.to_dict(),
        "notes": measured.notes,
    }
    target.mkdir(parents=True, exist_ok=True)
    write_text(target / FIGURES, json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(target / CARD, text)
    return Written(target, measured, (*measured.notes, *measured.probes.notes))


def measure(
    predictor: Predictor,
    *,
    data: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    on_error: str = "fail",
    corpora: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Measured:
    """The model's results on dev and test, at its saved thresholds, and its probes.

    data: a corpus's name or a file, by default the corpus it was trained on; columns: of the file; on_error: "skip" leaves rows out
    that cannot be used. corpora: the probes' other corpora too. Raises DataError for `data` that cannot be read, SettingsError for
    columns without `data`.
    """
    if data is None and columns:
        raise SettingsError(f"{', '.join(columns)}: this is about other data; name it with data")
    notes: list[str] = []
    splits = {}
    name = data
    try:
        name = own_corpus(predictor) if data is None else data
        splits = read_corpus(
            name, predictor.label_set, data_dir=data_dir, on_error=on_error, **(columns or {})
        )
    except SettingsError as error:
        if data is not None:
            raise
        notes.append(f"results not measured: {error}")
    except DataError:
        if data is not None:
            raise
        notes.append(
            f"results not measured: the files of {name} are not to be had (emodef data show {name} says why)"
        )
    if splits and not {"dev", "test"} & set(splits):
        notes.append(f"results not measured: {name} has neither dev nor test, but {', '.join(splits)}")
    held_out = [splits[split] for split in ("dev", "test") if split in splits]
    skipped = {each for corpus in splits.values() for each in corpus.problems if each.kind == "skipped"}
    if skipped and held_out:
        rows = "row" if len(skipped) == 1 else "rows"
        notes.append(
            f"{len(skipped):,} {rows} of the data could not be used and were left out (--on-error skip)"
        )
    reports = light_reports(
        predictor, held_out, train=splits.get("train") if data is None else None, progress=progress
    )
    probes = probe(
        lambda texts: predictor.predict_proba(texts, progress=progress),
        predictor.label_set,
        resolve_thresholds(None, None, predictor.info),
        corpora=corpora,
        data_dir=data_dir,
    )
    counted = splits.values() if data is None else held_out
    texts = {corpus.split: len(corpus) for corpus in counted}
    return Measured(texts, reports, probes, tuple(notes), elsewhere=data is not None)


def _command(
    model: str | os.PathLike[str],
    data: str | None,
    columns: Mapping[str, Any],
    on_error: str,
    corpora: bool,
    license: str | None,
    out: str | os.PathLike[str] | None,
) -> str:
    """The command line that makes the card again; an absolute path, which is some machine's own, is shortened to its last part."""

    def short(path: str | os.PathLike[str]) -> str:
        return Path(path).name if Path(path).is_absolute() else os.fspath(path)

    words = ["emodef", "card", short(model)]
    words += ["--data", short(data)] if data else []
    for column, value in columns.items():
        said = ",".join(value) if isinstance(value, list | tuple) else str(value)
        words += [f"--{column.replace('_', '-')}", *([] if value is True else [said])]
    words += [] if on_error == "fail" else ["--on-error", on_error]
    words += [] if corpora else ["--no-corpora"]
    words += ["--license", license] if license else []
    words += ["--out", short(out)] if out is not None else []
    return shlex.join(words)
