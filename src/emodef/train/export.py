"""Checkpoint -> light model: graph, int8, checks, thresholds and calibration, written in one piece. Imports torch, onnx, onnxruntime.

Thresholds and calibration are fitted on the dev output of the very file that is written. Nothing is written unless
every check of `parity` passes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from emodef import calibration
from emodef.corpora import Corpus
from emodef.errors import DataError, SettingsError
from emodef.pairs import Pairs
from emodef.predictor.core import Predictor
from emodef.predictor.model_file import (
    CARD,
    INFO,
    MODEL,
    TOKENIZER,
    Encoding,
    MatchInfo,
    ModelInfo,
)
from emodef.runs import DataChoice, RunFolder, check_texts, evaluate_splits, model_folder
from emodef.train import checkpoint, parity
from emodef.train.checkpoint import TrainedModel, replaced_directory
from emodef.train.few_shot import by_folds
from emodef.train.onnx_graph import export_graph, graph_inputs, needs_segments
from emodef.train.onnx_passes import lean
from emodef.train.quantization import plain_norms, quantize
from emodef.train.versions import versions

PRECISIONS = ("int8", "fp32")
WINDOW = 128  # tokens; texts longer than this are read in windows
CALIBRATION_TEXTS = (
    512  # of train, whose activations set the int8 ranges; as many pairs with a definition head
)
Progress = Callable[[str, int, int], None]  # what, how many are done, of how many


@dataclass(frozen=True)
class Exported:
    """A light model that was written: where, how large its graph is in bytes, and what was measured."""

    folder: Path
    size: int
    parity: parity.Parity
    info: ModelInfo


def load_source(
    path: str | os.PathLike[str],
    *,
    data: str | None = None,
    choice: DataChoice | None = None,
) -> tuple[TrainedModel, dict[str, Corpus]]:
    """The model of a run's folder, or of its own, and the corpus it was trained on.

    data, choice: another corpus, and how it is read; needed for a model's own folder, which does not know its corpus.
    Raises DataError where model or corpus are missing or do not fit together, SettingsError where `data` is needed.
    """
    folder = model_folder(path)
    run = Path(path)
    if data is None:
        if not (run / "settings.json").exists():
            raise SettingsError(
                f"{run} is a model without its run: name the corpus it was trained on (--data), or give the run's folder"
            )
        data_dir = None if choice is None else choice.data_dir
        opened = RunFolder.open(run)
        corpus = opened.corpus(data_dir)
        remedy = "put them back as they were, or name others with --data"
        check_texts(opened, corpus, {"dev"} & {*opened.measured()}, remedy)
        trained = TrainedModel.load(folder)
    else:
        trained = TrainedModel.load(folder)
        corpus = (choice or DataChoice()).load(data, trained.label_set)
    source = data or str(run)
    if "dev" not in corpus and not (data is None and by_folds(trained.settings, corpus)):
        way = (
            "set texts of it aside with --dev-share"
            if data
            else "name labelled texts with --data FILE, and --dev-share 0.2"
        )
        raise DataError(f"no dev split, and an export is checked on it; {way}", source)
    if _checked_on(corpus).label_set.names != trained.label_set.names:
        raise DataError("its labels are not the model's; name the corpus it was trained on", source)
    return trained, corpus


def export(
    trained: TrainedModel,
    corpus: Mapping[str, Corpus],
    out: str | os.PathLike[str],
    *,
    precision: str = "int8",
    scores: str | None = None,
    name: str | None = None,
    card: Callable[[ModelInfo], str] | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write the light model of `trained` into the folder `out`, replacing a light model that stands there.

    corpus: split -> Corpus; "dev" for checks, thresholds and calibration, "train" for the int8 ranges ("dev" where there
    is none). Without "dev" it is checked on "train", keeps the model's own thresholds, and has no calibration.
    scores: "emotion", "match" or "mean"; by default those of the model. name: of the model, for its card.
    card: makes README.md, by default `short_card`.

    Raises SettingsError for an unknown precision or a folder of something else, TrainingError where a check fails; nothing
    is written then.
    """
    if precision not in PRECISIONS:
        raise SettingsError(f"precision = {precision!r}: choose one of {', '.join(PRECISIONS)}")
    check_free(out)
    dev, scores = _checked_on(corpus), scores or trained.settings.scores
    if scores != "emotion" and trained.model.match is None:
        raise SettingsError(f"scores = {scores!r}: the model has no matching head; take 'emotion'")
    tell = progress or (lambda what, done, total: None)
    tell("graph", 0, 1)
    graph = plain_norms(export_graph(trained, scores))
    tell("graph", 1, 1)
    pairs = parity.dev_pairs(dev) if trained.model.definition is not None else _no_pairs()
    float_graph = parity.Graph(graph, trained.tokenizer)
    tell("against torch", 0, 1)
    checks = parity.against_torch(float_graph, trained, dev, pairs, scores)
    tell("against torch", 1, 1)
    remedy = "The checkpoint itself can be used (emodef.train.TrainedModel)"
    parity.Parity(len(dev), len(pairs), tuple(checks)).require(remedy)
    final = float_graph
    if precision == "int8":
        remedy = "Export with --precision fp32, or look at how the checkpoint was trained"
        graph = _quantized(graph, trained, corpus.get("train", dev), tell)
        final = parity.Graph(graph, trained.tokenizer)
        checks += _against_float(final, float_graph, dev, pairs, trained.settings.threshold, tell)
    checks.append(parity.neighbours(final, dev.texts))
    found = parity.Parity(len(dev), len(pairs), tuple(checks))
    found.require(remedy)
    info = _info(trained, scores, found, dev, precision, name)
    with replaced_directory(out) as folder:
        onnx.save(graph, folder / MODEL)
        (folder / TOKENIZER).write_text(trained.tokenizer.encoder.tokenizer.to_str(), encoding="utf-8")
        info.write(folder)
        if "dev" in corpus:
            predictor = Predictor.load(folder, threads=torch.get_num_threads())
            advance = _counted(tell, "thresholds", len(dev))
            info = _fitted(info, dev, predictor.predict_proba(dev.texts, progress=advance))
        else:
            # tuned ones are for the scores that the model itself answers with
            own = scores == trained.settings.scores
            info = replace(info, thresholds=trained.thresholds if own else info.thresholds)
        info.write(folder)
        (folder / CARD).write_text((card or short_card)(info), encoding="utf-8")
        size = (folder / MODEL).stat().st_size
    return Exported(Path(out), size, found, info)


def short_card(info: ModelInfo) -> str:
    """README.md of a light model: what it is, and how to use it."""
    about, labels = info.about, info.label_set
    dev = about["dev"]
    rows = [
        f"| {policy} | {100 * found['macro_f1']:.1f} | {100 * found['micro_f1']:.1f} |"
        for policy, found in dev.items()
        if isinstance(found, Mapping)
    ]
    return "\n".join(
        [
            f"# {about['name']}",
            "",
            f"A light emotion model for English text ({about['precision']}), exported with emodef "
            f"{about['versions']['emodef']}. Label set `{labels.name}`, {len(labels)} labels; scores of the {info.scores} head.",
            "",
            "```",
            'emodef predict --model FOLDER "What a lovely surprise!"',
            "```",
            "",
            *(
                [
                    f"On the {dev['texts']:,} dev texts, where its thresholds were tuned:",
                    "",
                    "| thresholds | macro-F1 | micro-F1 |",
                    "|---|---|---|",
                    *rows,
                ]
                if rows
                else [
                    f"There was no dev split: it was checked against the checkpoint on {dev['texts']:,} training texts; thresholds are the "
                    "checkpoint's, "
                    + ("by cross-validation." if "tuned" in info.thresholds else "one for all labels.")
                ]
            ),
            "",
        ]
    )


def _checked_on(corpus: Mapping[str, Corpus]) -> Corpus:
    return corpus["dev"] if "dev" in corpus else corpus["train"]


def check_free(out: str | os.PathLike[str]) -> None:
    """Raise SettingsError where `out` holds anything but a light model, which may be replaced."""
    checkpoint.check_free(out, INFO, "a light model", {INFO, MODEL, TOKENIZER, CARD, "card.json"})


def calibration_batches(trained: TrainedModel, corpus: Corpus) -> list[dict[str, NDArray[np.int64]]]:
    """A sample of a corpus's texts, and of its pairs for a definition head, as batches of the graph's inputs."""
    encoder, longest, segments = (
        trained.tokenizer.encoder,
        trained.tokenizer.longest,
        needs_segments(trained),
    )
    few = corpus.take(parity.sample(len(corpus), CALIBRATION_TEXTS))
    tokens = encoder.tokenize(few.texts)
    padded = [encoder.texts(tokens, rows, longest) for rows in _groups(tokens.lengths)]
    if trained.model.definition is not None:
        definitions = encoder.tokenize(corpus.label_set.definitions)
        pairs = parity.dev_pairs(few)
        lengths = tokens.lengths[pairs.text] + definitions.lengths[pairs.label]
        padded += [
            encoder.pairs(tokens, pairs.text[rows], definitions, pairs.label[rows], longest)
            for rows in _groups(lengths)
        ]
    return [graph_inputs(each, segments) for each in padded]


def _quantized(
    graph: onnx.ModelProto, trained: TrainedModel, corpus: Corpus, tell: Progress
) -> onnx.ModelProto:
    tell("int8", 0, 1)
    small = lean(quantize(graph, calibration_batches(trained, corpus)))
    tell("int8", 1, 1)
    return small


def _against_float(
    small: parity.Graph, large: parity.Graph, dev: Corpus, pairs: Pairs, fixed: float, tell: Progress
) -> list[parity.Check]:
    answers = [
        graph.probabilities(dev.texts, _counted(tell, f"{kind} on dev", len(dev)))
        for kind, graph in (("int8", small), ("fp32", large))
    ]
    checks = parity.against_float(answers[0], answers[1], dev, fixed)
    # where every text has every label nothing can be told apart
    if len(pairs) and not pairs.is_definition.all():
        scores = [
            graph.definition_scores(
                dev.texts, dev.label_set.definitions, pairs, _counted(tell, f"{kind} on pairs", len(pairs))
            )
            for kind, graph in (("int8", small), ("fp32", large))
        ]
        checks.append(parity.definition_check(scores[0], scores[1], pairs))
    return checks


def _info(
    trained: TrainedModel, scores: str, found: parity.Parity, dev: Corpus, precision: str, name: str | None
) -> ModelInfo:
    """model.json's content but for what is fitted on the file's own output."""
    settings, match = trained.settings, trained.model.match
    encoder, longest = trained.tokenizer.encoder, trained.tokenizer.longest
    told = {key: _without_folder(value) for key, value in settings.model_dump(mode="json").items()}
    backbone, data = Path(settings.backbone).name, told["corpus"]
    return ModelInfo(
        label_set=trained.label_set,
        scores=scores,
        thresholds={"fixed": float(trained.thresholds.get("fixed", settings.threshold))},
        encoding=Encoding(
            encoder.pad_id, encoder.left, encoder.pad_segment, longest, min(WINDOW, longest), settings.emoji
        ),
        match=None
        if match is None
        else MatchInfo(
            settings.match_text, float(match.log_scale.detach().exp()), tuple(match.biases().tolist())
        ),
        definition_head=trained.model.definition is not None,
        about={
            "name": name or f"{backbone} + {settings.setup} on {Path(data).name}",
            "precision": precision,
            "settings": told,
            "versions": versions(),
            "corpus": data,
            "dev": {"texts": len(dev)},
            "parity": found.to_dict(),
        },
    )


def _fitted(info: ModelInfo, dev: Corpus, probabilities: NDArray[np.float32]) -> ModelInfo:
    """The same with thresholds and calibration fitted on dev, and what dev measures with them."""
    thresholds, reports = evaluate_splits({"dev": probabilities}, {"dev": dev}, info.thresholds["fixed"])
    curves = calibration.fit(dev.labels, probabilities) if len(dev) >= calibration.FOLDS else None
    measured = {
        policy.removeprefix("dev "): {
            metric: report.summary[metric].value for metric in ("macro_f1", "micro_f1")
        }
        for policy, report in reports.items()
    }
    about = {**info.about, "dev": {"texts": len(dev), **measured}}
    return replace(info, thresholds=thresholds, calibration=curves, about=about)


def _without_folder(setting: Any) -> Any:
    """A model travels: what it tells of its training names files, not where on a machine they were."""
    if isinstance(setting, list):
        return [_without_folder(each) for each in setting]
    return Path(setting).name if isinstance(setting, str) and Path(setting).is_absolute() else setting


def _counted(tell: Progress, what: str, total: int) -> Callable[[int], None]:
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(what, done, total)

    tell(what, 0, total)
    return advance


def _groups(lengths: NDArray[np.int64], size: int = 16) -> list[NDArray[np.int64]]:
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def _no_pairs() -> Pairs:
    nothing = np.zeros(0, dtype=np.int64)
    return Pairs(nothing, nothing, nothing)
