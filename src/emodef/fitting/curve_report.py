"""A few-shot curve as tables, a figure and a page, full fine-tuning on the same splits beside it. Imports curve, paper.figure3, reporting.

Scores, intervals and paired tests are those of transfer studies (`emodef.paper.figure3`): means over splits, of resampled texts and what
other splits may change.
"""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emodef.bootstrap import Comparison
from emodef.corpora.sources import SOURCES
from emodef.errors import DataError, SettingsError
from emodef.fitting.curve import ARMS, POLICY, CurveSettings
from emodef.paper.cells import NOT_RUN
from emodef.paper.figure3 import INTERVAL, PAIRED, Point, gain, read_scores
from emodef.paper.figures.canvas import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SOFT,
    VERMILION,
    Drawing,
    new_figure,
    style,
)
from emodef.paper.figures.transfer import start_title
from emodef.reporting import Cell, Column, Table, comparison_table, render
from emodef.transfers import TransferFolder, find_studies

RESAMPLES = 2_000
RESULTS = Path("results/few_shot")
TITLES = {
    "definitions": "head from definitions",
    "zero": "head from nothing",
    "probe": "linear probe (scikit-learn)",
}
_LOOKS: dict[str, tuple[str, str, Any]] = {
    "definitions": (VERMILION, "o", "-"),
    "zero": (BLUE, "s", (0, (4, 2))),
    "probe": (SOFT, "x", (0, (1, 1.5))),
}
_OTHERS: tuple[tuple[str, str, Any], ...] = tuple(
    (colour, mark, dashes)
    for dashes in ("-", (0, (2, 1)))
    for colour, mark in ((GREEN, "D"), (ORANGE, "^"), (PURPLE, "P"), (SKY, "*"))
)


@dataclass(frozen=True)
class Scores:
    """(corpus, size) -> arm -> Point; arms by title, those of the curve first."""

    points: dict[tuple[str, int], dict[str, Point]]
    arms: dict[str, str]
    corpora: tuple[str, ...]
    sizes: tuple[int, ...]
    settings: Mapping[str, Any]
    resamples: int

    @property
    def splits(self) -> str:
        """How many splits the means are over, as "3", or as "3 to 10" where some have more than others."""
        numbers = {len(point.splits) for points in self.points.values() for point in points.values()}
        return " to ".join(map(str, sorted({min(numbers), max(numbers)}))) if numbers else "0"

    def find(self, corpus: str, arm: str, size: int) -> Point | None:
        """None where it was not run."""
        return self.points.get((corpus, size), {}).get(arm)


def find_curve(results: str | os.PathLike[str]) -> TransferFolder:
    """The curve below a folder. Raises DataError where there is none, SettingsError where there are several."""
    found = find_studies(results, "few_shot")
    if not found:
        raise DataError("holds no few-shot curve; make one with: emodef few-shot run", results)
    if len(found) > 1:
        raise SettingsError(
            f"several curves: {', '.join(str(f.path) for f in found)}; name one of these folders with --results"
        )
    return found[0]


def read_curve(
    folder: TransferFolder,
    beside: Iterable[TransferFolder] = (),
    *,
    starts: Collection[str] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Scores:
    """Measure a curve's stored predictions, and those of transfer studies on the same splits (full fine-tuning).

    starts: which of the studies' to show, by default all. resamples: 0 for no intervals and no tests. Raises DataError where predictions
    are damaged, or splits are others; SettingsError for a start that no study has.
    """
    beside = list(beside)
    known = {row.start for study in beside for row in study.rows()}
    if unknown := [start for start in starts if start not in known]:
        raise SettingsError(
            f"no start {unknown[0]!r} in the transfer studies given; they have: {', '.join(sorted(known)) or 'none'}"
        )
    scores = read_scores(folder, POLICY, resamples=resamples, seed=seed)
    points = {(corpus, int(size)): dict(found) for (corpus, size), found in scores.points.items()}
    ours = {(row.corpus, row.size, row.split): row.test_ids_hash for row in folder.rows()}
    arms = {arm: TITLES[arm] for arm in ARMS if any(arm in found for found in points.values())}
    for study in beside:
        for row in study.rows():
            if ours.get((row.corpus, row.size, row.split), row.test_ids_hash) != row.test_ids_hash:
                raise DataError(
                    f"{row.start} on {row.corpus}, size {row.size:g}, split {row.split} was tested on other texts than the curve; run both "
                    "with the same seed, smallest and max_eval",
                    study.path,
                )
        other = read_scores(study, POLICY, resamples=resamples, seed=seed)
        for (corpus, size), found in other.points.items():
            if (corpus, int(size)) in points and size >= 1:
                for start, point in found.items():
                    if starts and start not in starts:
                        continue
                    arms[f"tuned {start}"] = f"fine-tuned: {start_title(start, other.settings)}"
                    points[corpus, int(size)][f"tuned {start}"] = point
    settings = folder.settings
    corpora = tuple(name for name in settings["corpora"] if any(key[0] == name for key in points))
    return Scores(points, arms, corpora, tuple(sorted({size for _, size in points})), settings, resamples)


def curve_table(scores: Scores, metric: str = "macro_f1") -> Table:
    """A row for each corpus and arm, a column for each number of texts."""
    columns = (
        Column("corpus"),
        Column("head"),
        *(Column(f"{size:,}", "percent", 1) for size in scores.sizes),
    )
    rows: list[tuple[Cell, ...]] = []
    for corpus in scores.corpora:
        for arm, title in scores.arms.items():
            found = [scores.find(corpus, arm, size) for size in scores.sizes]
            cells = [
                (None if size == 0 and arm != "definitions" else NOT_RUN)
                if point is None
                else point.mean(metric)
                for size, point in zip(scores.sizes, found, strict=True)
            ]
            rows.append((corpus, title, *cells))
    return Table("Macro F1 by labelled texts", columns, tuple(rows), _notes(scores))


def gains_table(scores: Scores, base: str) -> Table | None:
    """What the head from definitions gains over another arm: by size, and over all sizes that both were run with; None where nothing is."""
    found: dict[str, Comparison] = {}
    for corpus in scores.corpora:
        pairs = {
            size: (first, second)
            for size in scores.sizes
            if (first := scores.find(corpus, base, size))
            and (second := scores.find(corpus, "definitions", size))
        }
        for size, pair in pairs.items():
            if (each := gain([pair])) is not None:
                found[f"{corpus}, {size:,}"] = each
        if len(pairs) > 1 and (whole := gain(pairs.values())) is not None:
            found[f"{corpus}, mean of all sizes"] = whole
    if not found:
        return None
    note = (
        f"{PAIRED}, {scores.resamples:,} draws; p corrected (Holm) for "
        f"the {len(found)} comparisons of this table"
    )
    title = f"Gain in macro F1: {TITLES['definitions']} over {scores.arms[base]}"
    return replace(comparison_table(found), title=title, notes=(note,))


def draw_curve(scores: Scores, name: str = "few_shot") -> Drawing:
    """A panel for each corpus, texts on a logarithmic scale: the mean over splits in a band of one standard deviation; a line for none."""
    others = [arm for arm in scores.arms if arm not in _LOOKS]
    looks = _LOOKS | {arm: _OTHERS[k % len(_OTHERS)] for k, arm in enumerate(others)}
    sizes = [size for size in scores.sizes if size]
    with style():
        figure = new_figure(620, 265)
        panels = figure.subplots(1, len(scores.corpora), squeeze=False)[0]
        for axes, corpus in zip(panels, scores.corpora, strict=True):
            axes.set_xscale("log")
            if (none := scores.find(corpus, "definitions", 0)) is not None:
                height = 100 * none.mean("macro_f1").value
                axes.axhline(
                    height,
                    color=INK,
                    linewidth=1.0,
                    linestyle=(0, (6, 2)),
                    label="definitions alone, no text",
                )
            for arm, title in scores.arms.items():
                _line(axes, scores, corpus, arm, title, looks[arm])
            axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
            axes.minorticks_off()
            axes.set_title(_title(corpus), fontweight="bold", loc="left")
            axes.set_xlabel("labelled texts")
        panels[0].set_ylabel("macro F1, %")
        named = [axes.get_legend_handles_labels() for axes in panels]  # an arm may be missing in the first
        shown = {
            name: handle for handles, names in named for handle, name in zip(handles, names, strict=True)
        }
        titles = ["definitions alone, no text", *scores.arms.values()]
        handles = {title: shown[title] for title in titles if title in shown}
        figure.legend(list(handles.values()), list(handles), loc="outside upper left", ncols=3, fontsize=8)
    caption = (
        f"Mean over {scores.splits} random splits, in a band of one standard deviation; the likeliest label. All heads of a "
        "corpus, size and split learn from and are tested on the same texts."
    )
    return Drawing(name, "Labels of one's own from few texts", _alt(scores), caption, figure)


def _line(axes: Any, scores: Scores, corpus: str, arm: str, title: str, look: tuple[str, str, Any]) -> None:
    found = [
        (size, point.mean("macro_f1"))
        for size in scores.sizes
        if size and (point := scores.find(corpus, arm, size)) is not None
    ]
    if not found:
        return
    colour, mark, dashes = look
    texts = [size for size, _ in found]
    means = np.array([100 * mean.value for _, mean in found])
    axes.plot(
        texts, means, label=title, color=colour, marker=mark, linestyle=dashes, markersize=4, linewidth=1.4
    )
    spread = np.array([100 * (mean.std or 0.0) for _, mean in found])
    axes.fill_between(texts, means - spread, means + spread, color=colour, alpha=0.12, linewidth=0)


def _alt(scores: Scores) -> str:
    told = []
    for corpus in scores.corpora:
        listed = []
        for arm, title in scores.arms.items():
            points = [(size, p) for size in scores.sizes if (p := scores.find(corpus, arm, size)) is not None]
            ends = [points[0], points[-1]] if len(points) > 1 else points
            if ends:
                listed.append(
                    f"{title} "
                    + " and ".join(f"{100 * p.mean('macro_f1').value:.1f} with {size:,}" for size, p in ends)
                )
        told.append(f"{_title(corpus)}: {'; '.join(listed)}")
    return f"Macro F1 in percent by labelled texts. {'. '.join(told)}."


def _title(corpus: str) -> str:
    return SOURCES[corpus].title.partition(" (")[0] if corpus in SOURCES else corpus


def curve_page(scores: Scores, drawing: Drawing, folder: TransferFolder, command: str) -> str:
    """A Markdown page: the figure, the tables, and how to get them again."""
    tables = [curve_table(scores), *gains_tables(scores)]
    made = folder.settings
    facts = [
        f"Command: `{run_command(made, folder.path.parent)}`, then `{command}`",
        f"Rows: `{folder.path.name}/rows.jsonl`; splits drawn with seed {made['seed']}, as those of the transfer study",
        f"Embeddings: of the light model whose graph has the sha256 {made['model'][:16]}…; emodef {made['emodef']}",
    ]
    if fewer := _fewer_splits(folder):
        facts.insert(1, f"Not all of these splits are made yet: {fewer}")
    parts = [
        "# Few labelled texts",
        drawing.markdown().strip(),
        *(render(each, "markdown").strip() for each in tables),
    ]
    return "\n\n".join([*parts, "\n".join(f"- {fact}" for fact in facts)]) + "\n"


def _fewer_splits(folder: TransferFolder) -> str:
    """With which sizes not all splits are made yet: "3 with 500 texts"; empty where all are."""
    made: dict[float, set[int]] = {}
    for row in folder.rows():
        made.setdefault(row.size, set()).add(row.split)
    asked = folder.settings["splits"]
    return ", ".join(
        f"{len(splits)} with {size:,g} texts" for size, splits in sorted(made.items()) if len(splits) < asked
    )


def run_command(made: Mapping[str, Any], results: Path = RESULTS) -> str:
    """The command that makes a curve's runs in `results`, of its saved settings; options that are as they are by default left out."""
    usual, given = CurveSettings(), made.get("given", {})
    words = ["emodef", "few-shot", "run"]
    files = given.get("corpora", {})
    if files or set(made["corpora"]) != set(usual.corpora):
        words += [word for name in made["corpora"] for word in ("--corpus", files.get(name, name))]
    if set(made["starts"]) != set(usual.arms):
        words += [word for arm in made["starts"] for word in ("--arm", arm)]
    if set(made["sizes"]) != set(usual.sizes):
        words += [word for size in made["sizes"] for word in ("--size", str(size))]
    words += ["--splits", str(made["splits"])]
    options = {name: given.get(name) for name in ("labels", "model", "on_error")} | given.get("columns", {})
    if results != RESULTS:
        words += ["--results", str(results)]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [_one_word(value)])]
    return shlex.join(words)


def _one_word(value: str | list[str]) -> str:
    """Names as an option takes them, one with a comma in quotes."""
    if isinstance(value, str):
        return value
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()


def gains_tables(scores: Scores) -> list[Table]:
    """`gains_table` over every other arm; none without resamples."""
    if not scores.resamples:
        return []
    found = [gains_table(scores, arm) for arm in scores.arms if arm != "definitions"]
    return [each for each in found if each is not None]


def _notes(scores: Scores) -> tuple[str, ...]:
    settings = scores.settings
    tuned = ""
    if any(arm not in ARMS for arm in scores.arms):
        tuned = (
            "; fine-tuned are all weights of the encoder that is named, which is not the model that the heads stand on: the two differ in "
            "method and in model"
        )
    interval = f" [95% interval: {INTERVAL}, {scores.resamples:,} draws]" if scores.resamples else ""
    return (
        f"mean ± standard deviation over {scores.splits} random splits (ddof 1){interval}; copies of a text are on one side; all arms "
        f"learn from and are tested on the same texts{tuned}",
        f"tested on the rest, {settings['max_eval']:,} texts at most; the first {settings['smallest']} training texts of a split hold "
        "every label, fewer may not",
        "0: definitions alone, the likeliest label; heads: softmax regression with its strength by cross-validation, around the "
        "definitions or around nothing; probe: scikit-learn's LogisticRegression with its defaults (C = 1), on the same embeddings",
    )
