"""The figures of `emodef paper`, and the page of Table V. Imports typer; drawing, and torch for Figure 2, only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emodef.cli import options
from emodef.errors import DataError, SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from emodef.corpora import Corpus
    from emodef.paper.figures.canvas import Drawing
    from emodef.paper.statistics import Study

FOLDER = Path("figures")  # where figures are put by default
SETUPS = ("cdp", "mlm", "cdp+mlm", "match")


@dataclass(frozen=True)
class Wanted:
    """What the options say. study: made when a figure needs it, since reading runs takes a while."""

    results: Path
    study: Callable[[], Study]
    policy: str = "fixed"
    data_dir: Path | None = None
    run: Path | None = None
    backbone: str | None = None
    recipe: str = "minilm"
    setups: Sequence[str] = ()
    order: str = "groups"
    text: str | None = None
    labels: Sequence[str] = ()


def write_figures(names: Sequence[str], wanted: Wanted, out: Path | None, quiet: bool) -> list[str]:
    """Draw, write SVG and PNG files into `out`, and print what a Markdown page needs to show them; that again, one a figure."""
    shown = []
    for name in names:
        for drawing in FIGURES[name](wanted):
            for path in drawing.save(out or FOLDER):
                options.notes(quiet).print(f"written: {path}", markup=False)
            shown.append(drawing.markdown())
            typer.echo(shown[-1])
    return shown


def write_page(wanted: Wanted, page: Path, texts: int | None, quiet: bool) -> None:
    """Write Table V's page of a run's disagreements."""
    from emodef.paper.errors_page import errors_content, write_errors_page

    given = _answers(wanted)
    content = errors_content(given.probabilities, given.corpus, thresholds=given.thresholds, texts=texts)
    title = "Where model and annotators part"
    facts = [*given.about.split("; "), f"{given.corpus.name} {given.corpus.split}"]
    write_errors_page(page, content, title=title, corpus=given.corpus.name, facts=facts)
    options.notes(quiet).print(
        f"written: {page} ({len(content['found']):,} of {content['disagreements']:,} disagreements)",
        markup=False,
    )


@dataclass(frozen=True)
class _Answers:
    """A run's probabilities of a split (n, K), the split, the thresholds, and whose these are, in words."""

    probabilities: NDArray[np.float32]
    corpus: Corpus
    thresholds: ArrayLike
    about: str


def _answers(wanted: Wanted) -> _Answers:
    """The run that is named, else the one Table V is of: the first seed of the setup best on dev."""
    from emodef.paper.cells import NOT_RUN

    if wanted.run is not None:
        return _of_run(wanted.run, wanted.policy, wanted.data_dir)
    from emodef.paper.table5 import errors

    study = wanted.study()
    found = errors(study, wanted.policy)
    if found is None:
        raise DataError(
            f"{NOT_RUN}: no finished run of {study.corpus_name} to show errors of", wanted.results
        )
    scores = found.group.scores
    return _Answers(
        found.run.probabilities("test", scores),
        study.need()["test"],
        study.thresholds(found.run, scores, wanted.policy),
        found.about,
    )


def _of_run(path: Path, policy: str, data_dir: Path | None) -> _Answers:
    from emodef.evaluation import tune
    from emodef.paper.known import KNOWN
    from emodef.paper.study import row_title
    from emodef.runs import RunFolder

    run = RunFolder.open(path)
    corpus = run.corpus(data_dir)
    for split in ("test", *(("dev",) if policy == "tuned" else ())):
        if split not in run.splits():
            remedy = "use --policy fixed" if split == "dev" else "name a run that was tested"
            raise DataError(f"has no probabilities of a {split} split; {remedy}", path)
        if split not in corpus or not run.is_of(split, corpus[split]):
            raise DataError(
                f"the {split} texts of its corpus are not those of this run any more; train it again", path
            )
    settings = run.settings
    about = f"{row_title(KNOWN.backbone(settings['backbone']).title, KNOWN.setup(settings['setup']))}, seed {settings['seed']}"
    thresholds: ArrayLike = settings["threshold"]
    words = f"at {settings['threshold']:g}"
    if corpus["test"].label_set.exclusive:
        words = "the likeliest label"
    elif policy == "tuned":
        thresholds = tune(run.probabilities("dev"), corpus["dev"])[run.label_set.name]
        words = "thresholds tuned on dev"
    return _Answers(run.probabilities("test"), corpus["test"], thresholds, f"{about}; {words}")


def _figure1(wanted: Wanted) -> Iterator[Drawing]:
    from emodef.paper.figures.pairs import draw_pairs, instance

    example = _example(wanted)
    yield draw_pairs(instance(example, example.ids[0]))


def _figure2(wanted: Wanted) -> Iterator[Drawing]:
    from emodef.paper.figures.setups import draw_setups
    from emodef.train.untrained import untrained

    yield draw_setups(untrained(wanted.recipe, wanted.setups or SETUPS, _example(wanted), wanted.backbone))


def _figure3(wanted: Wanted) -> Iterator[Drawing]:
    from emodef.paper.figures.transfer import draw_transfer, transfer_curves
    from emodef.transfers import find_studies

    studies = []
    for study in find_studies(wanted.results):
        try:
            studies.append((study.settings, study.rows()))
        except DataError:
            continue  # the tables beside the figure tell of it
    drawn = [
        (settings, curves, policy)
        for settings, rows in studies
        for policy in dict.fromkeys(row.policy for row in rows)
        if (curves := transfer_curves(rows, policy))
    ]
    if not drawn:
        yield draw_transfer([])
    for number, (settings, curves, policy) in enumerate(drawn, start=1):
        name = "figure3" if len(drawn) == 1 else f"figure3-{number}-{policy}"
        yield draw_transfer(curves, settings, policy=policy, name=name)


def _sweep(wanted: Wanted) -> Iterator[Drawing]:
    from emodef.paper.figures.sweep import draw_sweep, sweeps

    for found in sweeps(wanted.study(), wanted.policy):
        yield draw_sweep(found)


def _confusion(wanted: Wanted) -> Iterator[Drawing]:
    from emodef.disagreements import error_analysis
    from emodef.paper.figures.maps import draw_confusion, draw_together, ordered

    given = _answers(wanted)
    analysis = error_analysis(given.probabilities, given.corpus, thresholds=given.thresholds)
    order = ordered(analysis, given.corpus.label_set, wanted.order)
    about = f"{given.about}; {given.corpus.name} {given.corpus.split}"
    yield draw_confusion(analysis, order, about=about)
    yield draw_together(analysis, order, about=about)


FIGURES: dict[str, Callable[[Wanted], Iterator[Drawing]]] = {
    "figure1": _figure1,
    "figure2": _figure2,
    "figure3": _figure3,
    "sweep": _sweep,
    "confusion": _confusion,
}


def _example(wanted: Wanted) -> Corpus:
    """One text with its labels: the one that is given, else the paper's, or the sample corpus's first where GoEmotions is not at hand."""
    from emodef.corpora import Corpus
    from emodef.labels import LabelSet
    from emodef.paper.known import KNOWN
    from emodef.paper.table1 import corpus_or_sample, find_examples

    if wanted.text is not None:
        if not wanted.labels:
            raise SettingsError("--text needs the labels that the text has; give each with --label")
        labels = LabelSet.load(str(KNOWN.settings["corpus"]))
        return Corpus(
            "your own", "example", [wanted.text], labels.multi_hot([list(wanted.labels)]), labels, ["1"]
        )
    splits = corpus_or_sample(wanted.data_dir, "give a text with --text and its labels with --label")
    return find_examples(splits, (KNOWN.figure1,)) or next(iter(splits.values())).take([0])
