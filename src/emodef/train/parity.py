"""Whether an exported graph answers as its model does: measured on real texts, with limits. Imports onnxruntime, torch, evaluation.

| what                                                                        | limit                               |
|-----------------------------------------------------------------------------|-------------------------------------|
| float32 graph against torch, 500 texts: largest difference of a probability | 1e-4, of the definition score too   |
| the same of the embedding, relative to its length                           | 1e-4                                |
| int8 against float32 on dev: mean difference of a probability               | 0.01                                |
| micro-F1, macro-F1, at thresholds tuned on each file's own dev output       | 0.3 and 1.0 points, or more (below) |
| area under the ROC curve of the definition score, pairs of dev              | 0.005, or more (below)              |
| a text alone against the same beside others, long ones too                  | 1e-3                                |

Tuning draws resamples, and other draws alone move F1: so the tuned F1 is the mean over a few draws. F1 of
both files at one and the same thresholds, the float32 file's, is held to the same limits; at the fixed threshold it is only reported.
A small dev split moves by more than these from a text or two: where it is more, the limit of F1 is what two correct decisions turned
wrong explain (those that cost most), and that of the area two ranks. With fewer than 1,000 texts it is what twice the square root of
the number of changed decisions explain: as far as that many move F1 that fall either way by chance (two standard deviations).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from emodef.corpora import Corpus
from emodef.encoding import Padded, budget_batches
from emodef.errors import TrainingError
from emodef.evaluation import tune
from emodef.metrics import Counts, Ranking, averages, count, decide
from emodef.pairs import Pairs, definition_pairs
from emodef.train.architectures import takes_segments
from emodef.train.checkpoint import TrainedModel
from emodef.train.model import Inputs
from emodef.train.onnx_graph import graph_inputs, run_graph
from emodef.train.tokenization import TextTokenizer

TEXTS = 500  # compared with torch
PAIRS = 4000  # of dev, for the definition score
SMALL = 1000  # texts of a dev split below which chance is allowed for
TUNINGS = 5  # draws of the tuning's resamples
NEIGHBOURS = 100  # texts scored alone and beside others
TOKEN_BUDGET = 4096  # of a padded batch
LIMITS = {
    "torch": 1e-4,
    "probability": 0.01,
    "micro_f1": 0.003,
    "macro_f1": 0.01,
    "auc": 0.005,
    "neighbours": 1e-3,
}
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Check:
    """One measure: what was found (smaller is better) and its limit; without a limit it is only reported."""

    measure: str
    found: float
    limit: float | None

    @property
    def passed(self) -> bool:
        """Within the limit; nan is not."""
        return self.limit is None or self.found <= self.limit + 1e-9  # rounding


@dataclass(frozen=True)
class Parity:
    """Every check of an export, and on how many texts and pairs of dev."""

    texts: int
    pairs: int
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """For model.json."""
        return asdict(self) | {"checks": [asdict(check) for check in self.checks]}

    def require(self, remedy: str) -> None:
        """Raise TrainingError naming every check that failed, with what to do."""
        failed = [f"{c.measure}: {c.found:.2g}, limit {c.limit:.2g}" for c in self.checks if not c.passed]
        if failed:
            raise TrainingError(
                f"the exported model does not answer as its checkpoint does ({'; '.join(failed)}); nothing was written. {remedy}"
            )


class Graph:
    """An exported graph put to work on the texts of a checkpoint's tokenizer."""

    def __init__(self, graph: onnx.ModelProto, tokenizer: TextTokenizer) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.tokenizer = tokenizer
        self.segments = any(given.name == "token_type_ids" for given in self.session.get_inputs())

    def run(self, padded: Padded, *outputs: str) -> list[NDArray[np.float32]]:
        """Outputs by name of one padded batch."""
        return run_graph(self.session, graph_inputs(padded, self.segments), outputs)

    def probabilities(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Probabilities (n, K), each text cut at what the encoder takes."""
        encoder, longest = self.tokenizer.encoder, self.tokenizer.longest
        tokens = encoder.tokenize(texts)
        lengths = np.minimum(tokens.lengths + encoder.single_overhead, longest)
        batches = [(chosen, encoder.texts(tokens, chosen, longest)) for chosen in _batches(lengths)]
        return self._gather("probabilities", batches, len(texts), progress)

    def definition_scores(
        self, texts: Sequence[str], definitions: Sequence[str], pairs: Pairs, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """P(IsDefinition) of each pair, (m,)."""
        encoder, longest = self.tokenizer.encoder, self.tokenizer.longest
        tokens, labels = encoder.tokenize(texts), encoder.tokenize(definitions)
        lengths = tokens.lengths[pairs.text] + labels.lengths[pairs.label] + encoder.pair_overhead
        batches = [
            (chosen, encoder.pairs(tokens, pairs.text[chosen], labels, pairs.label[chosen], longest))
            for chosen in _batches(np.minimum(lengths, longest))
        ]
        return self._gather("definition", batches, len(pairs), progress)

    def _gather(
        self, output: str, batches: list[tuple[Any, Padded]], size: int, progress: Progress | None
    ) -> NDArray[np.float32]:
        found: NDArray[np.float32] | None = None
        for chosen, padded in batches:
            (values,) = self.run(padded, output)
            if found is None:
                found = np.zeros((size, *values.shape[1:]), dtype=np.float32)
            found[chosen] = values
            if progress is not None:
                progress(len(chosen))
        return np.zeros((0,), dtype=np.float32) if found is None else found


def against_torch(
    graph: Graph, trained: TrainedModel, dev: Corpus, pairs: Pairs, scores: str | None = None
) -> list[Check]:
    """The float32 graph against the model it is of, on texts of dev and, with a definition head, pairs of it."""
    texts = dev.take(sample(len(dev), TEXTS)).texts
    wanted = trained.predict_proba(texts, scores=scores)
    checks = [_difference("probability, ONNX against torch", graph.probabilities(texts), wanted)]
    encoder, longest = trained.tokenizer.encoder, trained.tokenizer.longest
    tokens = encoder.tokenize(texts[:32])
    padded = encoder.texts(tokens, range(len(tokens)), longest)
    with torch.no_grad():
        inputs = Inputs.of(padded, segments=trained.tokenizer.segments, device=trained.device)
        embedding = trained.model.embed(inputs).float().cpu().numpy()
    length = np.linalg.norm(embedding, axis=1, keepdims=True)
    (found,) = graph.run(padded, "embedding")
    checks.append(_difference("embedding, ONNX against torch", found / length, embedding / length))
    if trained.model.definition is not None and len(pairs):
        few = _take(pairs, sample(len(pairs), TEXTS // 5))
        found = graph.definition_scores(dev.texts, dev.label_set.definitions, few)
        wanted = _torch_scores(trained, dev, few)
        checks.append(_difference("definition score, ONNX against torch", found, wanted))
    return checks


def against_float(
    small: NDArray[np.float32], large: NDArray[np.float32], dev: Corpus, fixed: float
) -> list[Check]:
    """Probabilities (n, K) of the int8 file against those of the float32 one, on dev."""
    checks = [
        Check(
            "probability, int8 against fp32, mean difference",
            float(np.abs(small - large).mean()),
            LIMITS["probability"],
        )
    ]
    for policy, (before, after), changed, limited in _decisions(small, large, dev, fixed):
        wrong = 2.0 if len(dev) >= SMALL else max(2.0, 2 * changed**0.5)
        room = dict(zip(("micro_f1", "macro_f1"), _turned_wrong(before[0], wrong), strict=True))
        for metric, least in room.items():
            means = [float(np.mean([averages(each)[metric] for each in side])) for side in (before, after)]
            limit = max(LIMITS[metric], least) if limited else None
            measure = f"{metric.replace('_f1', '-F1')} {policy}, int8 against fp32"
            checks.append(Check(measure, abs(means[1] - means[0]), limit))
    return checks


def _decisions(
    small: NDArray[np.float32], large: NDArray[np.float32], dev: Corpus, fixed: float
) -> Iterator[tuple[str, tuple[list[Counts], list[Counts]], int, bool]]:
    """Each way of deciding: its name, counts of the float32 and the int8 output, how many decisions differ, whether it has a limit."""

    def compared(
        before: Sequence[Any], after: Sequence[Any]
    ) -> tuple[tuple[list[Counts], list[Counts]], int]:
        exclusive = dev.label_set.exclusive
        sides = [
            [decide(p, each, exclusive=exclusive) for each in thresholds]
            for p, thresholds in ((large, before), (small, after))
        ]
        first, second = ([count(dev.labels, each) for each in side] for side in sides)
        return (first, second), int((sides[0][0] != sides[1][0]).sum())

    if dev.label_set.exclusive:
        yield "likeliest label", *compared([0.0], [0.0]), True
        return
    own = dev.label_set.name
    tuned = [[tune(p, dev, levels=(), seed=seed)[own] for seed in range(TUNINGS)] for p in (large, small)]
    yield "tuned", *compared(*tuned), True
    yield "at fp32's thresholds", *compared(tuned[0][:1], tuned[0][:1]), True
    yield f"at {fixed:g}", *compared([fixed], [fixed]), False


def definition_check(small: NDArray[np.float32], large: NDArray[np.float32], pairs: Pairs) -> Check:
    """Area under the ROC curve of the definition score, int8 against float32, over the same pairs."""
    truth = pairs.is_definition.astype(bool)
    weights = np.ones((len(truth), 1))
    before, after = (
        float(Ranking(truth, scores.astype(np.float64), np.arange(len(truth))).scores(weights)[1][0])
        for scores in (large, small)
    )
    room = 2 / max(1, min(int(truth.sum()), int((~truth).sum())))
    limit = max(LIMITS["auc"], room)
    return Check("AUC of the definition score, int8 against fp32", abs(after - before), limit)


def neighbours(graph: Graph, texts: Sequence[str]) -> Check:
    """Scores of texts alone against theirs in batches of a few, each with a long text in it."""
    chosen = [texts[i] for i in sample(len(texts), NEIGHBOURS)]
    encoder, longest = graph.tokenizer.encoder, min(256, graph.tokenizer.longest)
    tokens = encoder.tokenize([*chosen, " ".join(chosen)])
    worst = 0.0
    for start in range(0, len(chosen), 8):
        rows = list(range(start, min(start + 8, len(chosen))))
        (together,) = graph.run(encoder.texts(tokens, [*rows, len(chosen)], longest), "probabilities")
        for place, row in enumerate(rows):
            (alone,) = graph.run(encoder.texts(tokens, [row], longest), "probabilities")
            worst = max(worst, float(np.abs(alone[0] - together[place]).max()))
    return Check("probability, alone against beside others", worst, LIMITS["neighbours"])


def dev_pairs(dev: Corpus, seed: int = 0) -> Pairs:
    """(text, definition) pairs of dev, half of them positive, as the definition task has them; at most `PAIRS`."""
    pairs = definition_pairs(dev.labels, seed)
    return _take(pairs, sample(len(pairs), PAIRS))


def sample(size: int, wanted: int, seed: int = 0) -> NDArray[np.int64]:
    """Positions of `wanted` of `size` things, in order; all of them where there are no more."""
    return np.sort(np.random.default_rng(seed).permutation(size)[:wanted])


def _take(pairs: Pairs, chosen: NDArray[np.int64]) -> Pairs:
    return Pairs(pairs.text[chosen], pairs.label[chosen], pairs.is_definition[chosen])


def _difference(what: str, found: NDArray, wanted: NDArray) -> Check:
    return Check(f"{what}, largest difference", float(np.abs(found - wanted).max()), LIMITS["torch"])


@torch.no_grad()
def _torch_scores(trained: TrainedModel, dev: Corpus, pairs: Pairs) -> NDArray[np.float32]:
    encoder, model = trained.tokenizer.encoder, trained.model
    tokens, labels = encoder.tokenize(dev.texts), encoder.tokenize(dev.label_set.definitions)
    segments = takes_segments(model.encoder)
    found = []
    for rows in np.array_split(np.arange(len(pairs)), -(-len(pairs) // 32)):
        padded = encoder.pairs(tokens, pairs.text[rows], labels, pairs.label[rows], trained.tokenizer.longest)
        _, pooled = model.encode(Inputs.of(padded, segments=segments, device=trained.device))
        assert model.definition is not None
        found.append(torch.softmax(model.definition(pooled).float(), dim=-1)[:, 1].cpu().numpy())
    return np.concatenate(found)


def _turned_wrong(counts: Counts, number: float) -> tuple[float, float]:
    """How far micro-F1 and macro-F1 fall when so many right decisions turn wrong, those that cost most."""
    tp, fp, fn = (np.asarray(part, dtype=np.float64) for part in counts)

    def f1(tp: NDArray, fp: NDArray, fn: NDArray) -> NDArray:
        whole = 2 * tp + fp + fn
        return np.divide(2 * tp, whole, out=np.zeros_like(whole), where=whole > 0)

    lost = np.minimum(tp, 1)  # a true positive less, where there is one
    each = np.sort(f1(tp, fp, fn) - f1(tp - lost, fp, fn + lost))[::-1]
    pooled = np.array([part.sum() for part in (tp, fp, fn)])
    number = min(number, float(pooled[0]))
    micro = f1(*pooled[:, None]) - f1(*(pooled + np.array([-number, 0, number]))[:, None])
    return float(micro[0]), float(each[: int(number)].sum() / len(each))


def _batches(lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return list(budget_batches(lengths, TOKEN_BUDGET))
