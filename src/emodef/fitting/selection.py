"""How strongly a head is held to its start, and its thresholds: chosen on a dev split, or by cross-validation. Imports numpy, thresholds.

The strength with the least surprise (negative log-likelihood) on texts not fitted on is taken; `inf`, which leaves the start's weights
as they are, is among them, so that data that says nothing changes nothing but biases. Thresholds are tuned on the same held-out
probabilities and drawn towards what is used without any labelled text: a label with s texts keeps s / (s + 5) of its own, all labels
together, with S texts, S / (S + 20).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emodef.fitting.folds import FOLDS, stratified_folds
from emodef.fitting.regression import Floats, Linear, Texts, probabilities, surprise
from emodef.metrics import Bools, averages, count, decide
from emodef.thresholds import PRIOR, tune_thresholds

STRENGTHS = (np.inf, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
# Of the prior on biases: free within a half or so. Looser, chance frequencies of the labels in few texts cost macro-F1 (docs/few_shot.md).
BIAS_STRENGTH = 4.0
LOOSE_BIAS = 0.25  # around a start that says nothing of the labels, their frequency included
DEFAULT_STRENGTH = 3.0  # where there is nothing to choose by
PRIOR_ALL = 20.0  # labels given that outweigh the thresholds used without any
ROUGH = 1e-4  # largest entry of a gradient where a fit only serves to compare strengths
REPEATS, FEW = 3, 400  # deals into folds for as many texts or fewer; one beyond
MANY = 5_000  # texts from which on one fold is held out, instead of each in turn

Tell = Callable[[int, int], None]  # fits done, of how many


@dataclass(frozen=True)
class Dev:
    """Labelled texts set aside: unit vectors (n, H), and 0/1 labels (n, K)."""

    vectors: NDArray
    truth: NDArray


@dataclass(frozen=True)
class Deal:
    """Held-out probabilities (n, K) of the texts at `rows`, and the fold of each; thresholds for a fold are tuned on the others.

    Where a single fold is held out, these are folds within it. On dev there is one, which is tuned and judged alike.
    """

    rows: NDArray[np.int64]
    fold: NDArray[np.int64]
    probabilities: Floats


@dataclass(frozen=True)
class Chosen:
    """A fitted head, and how it was chosen.

    strength: of the prior. judged: "dev", "cross-validation", or "" where nothing could be held out. surprises: strength -> mean surprise a
    text on what was held out. deals: probabilities of the chosen strength there. truth: (n, K) that their rows belong to.
    """

    head: Linear
    strength: float
    exclusive: bool
    judged: str
    surprises: dict[float, float]
    deals: tuple[Deal, ...]
    truth: Bools

    @property
    def rows(self) -> NDArray[np.int64]:
        """Of `truth`, the rows that it is judged on, (m,): all, but where a single fold was held out; none where nothing was."""
        return np.sort(self.deals[0].rows) if self.deals else np.zeros(0, dtype=np.int64)

    def thresholds(
        self, unlabelled: ArrayLike, transform: Callable[[Floats], Floats] | None = None
    ) -> Floats:
        """One a label, float64 (K,), of a label set whose labels each stand alone. unlabelled: (K,) those to use without labelled texts.

        transform: turns labels and probabilities into a coarser level's.
        """
        change = transform or (lambda values: values)
        truth = change(self.truth.astype(float)) > 0
        given = np.broadcast_to(np.asarray(unlabelled, dtype=np.float64), truth.shape[1:])
        tuned = [
            shrunk_thresholds(truth[deal.rows], change(deal.probabilities), given) for deal in self.deals
        ]
        return _sigmoid(np.mean([_log_odds(each) for each in tuned], axis=0)) if tuned else np.array(given)

    def macro_f1(self, unlabelled: ArrayLike, own: Sequence[float | None] = ()) -> float | None:
        """Macro-F1 over the labels that occur, on held-out texts; thresholds for a fold are tuned on the others, on dev on dev itself.

        own: of each label the threshold that its user gave, which is not tuned; by default none. None where nothing was held out. Where
        there were several strengths, this one was chosen on the same texts.
        """
        if not self.deals:
            return None
        return float(
            np.mean([macro_f1(self.truth[d.rows], self._decided(d, unlabelled, own)) for d in self.deals])
        )

    def _decided(self, deal: Deal, unlabelled: ArrayLike, own: Sequence[float | None]) -> Bools:
        if self.exclusive:
            return decide(deal.probabilities, 0.0, exclusive=True)
        truth = self.truth[deal.rows]
        given = np.broadcast_to(np.asarray(unlabelled, dtype=np.float64), truth.shape[1:])
        predicted = np.zeros(truth.shape, dtype=bool)
        for held in np.unique(deal.fold):
            inside = deal.fold == held
            others = ~inside if not inside.all() else inside
            tuned = shrunk_thresholds(truth[others], deal.probabilities[others], given)
            predicted[inside] = decide(deal.probabilities[inside], with_own(tuned, own))
        return predicted


def select(
    vectors: ArrayLike,
    truth: ArrayLike,
    groups: ArrayLike,
    start: Linear,
    *,
    exclusive: bool,
    dev: Dev | None = None,
    strengths: Sequence[float] = STRENGTHS,
    bias_strength: float | None = None,
    keep_unseen: bool = True,
    seed: int = 0,
    progress: Tell | None = None,
) -> Chosen:
    """Fit a head to unit vectors (n, H) with 0/1 labels (n, K), its prior's strength chosen among `strengths` (one: taken as it is).

    groups: (n,) equal for texts that are the same, which are held out together. keep_unseen: a label without a text stays as it starts;
    for a start that says nothing of the labels it should not. bias_strength: of the prior on biases, by default `BIAS_STRENGTH`, or
    `LOOSE_BIAS` for such a start.
    """
    texts = Texts.of(vectors, truth, start, exclusive=exclusive)
    wanted = sorted(strengths, reverse=True)
    held = np.asarray(truth, dtype=bool)
    if dev is None:
        deals = list(_dealt(texts, held, np.asarray(groups), seed))
    else:
        held = np.asarray(dev.truth, dtype=bool)
        nobody = np.zeros(len(held), dtype=np.int64)
        deals = [[_Part(texts, _other(texts, dev), np.arange(len(held)), nobody)]]
    parts = [part for deal in deals for part in deal]
    total = len(parts) * len(wanted) + 1
    told = progress or (lambda done, total: None)
    hold = bias_strength if bias_strength is not None else BIAS_STRENGTH if keep_unseen else LOOSE_BIAS
    fixed = None if keep_unseen else np.zeros(held.shape[1], dtype=bool)
    logits: list[list[Floats]] = []  # of each part, by strength
    for number, part in enumerate(parts):
        logits.append([])
        added: Floats | None = None
        for at, strength in enumerate(wanted):
            added = part.inside.added(strength, hold, begin=added, fixed=fixed, close=ROUGH)
            logits[-1].append(part.outside.logits(added))
            told(number * len(wanted) + at + 1, total)
    surprises: dict[float, float] = {}
    for at, strength in enumerate(wanted) if parts else ():
        every = [
            surprise(found[at], part.outside.truth, exclusive)
            for part, found in zip(parts, logits, strict=True)
        ]
        surprises[strength] = float(np.concatenate(every).mean())
    least = DEFAULT_STRENGTH if len(wanted) > 1 else wanted[0]
    best = min(
        surprises, key=lambda strength: surprises[strength], default=least
    )  # of equal ones the stronger
    answers = iter(
        [] if not parts else [probabilities(found[wanted.index(best)], exclusive) for found in logits]
    )
    made = tuple(
        Deal(
            np.concatenate([part.rows for part in deal]),
            np.concatenate([part.fold for part in deal]),
            np.concatenate([next(answers) for _ in deal]),
        )
        for deal in deals
    )
    head = texts.head(texts.added(best, hold, fixed=fixed))
    told(total, total)
    judged = "dev" if dev is not None else "cross-validation" if deals else ""
    return Chosen(head, best, exclusive, judged, surprises, made, held)


def shrunk_thresholds(truth: Bools, values: Floats, unlabelled: Floats) -> Floats:
    """Thresholds from few held-out texts, drawn towards those without any, (K,); see the module's text."""
    support = truth.sum(axis=0)
    whole = float(support.sum())
    prior = _log_odds(unlabelled)
    if not whole:
        return np.array(unlabelled)
    own = _log_odds(tune_thresholds(truth, values, method="bagged"))
    together = _log_odds(tune_thresholds(truth, values, method="global"))
    middle = (whole * together + PRIOR_ALL * prior) / (whole + PRIOR_ALL)
    drawn = (support * own + PRIOR * middle) / (support + PRIOR)
    return np.where(support > 0, _sigmoid(drawn), unlabelled)


def with_own(thresholds: Floats, own: Sequence[float | None]) -> Floats:
    """Thresholds (K,), a user's own in place of those that they gave. own: one a label, or none at all."""
    if not own:
        return thresholds
    pairs = zip(thresholds.tolist(), own, strict=True)
    return np.array([each if given is None else given for each, given in pairs], dtype=np.float64)


def macro_f1(truth: Bools, predicted: Bools) -> float:
    """Macro-F1 over the labels that `truth` holds."""
    there = truth.any(axis=0)
    return float(averages(count(truth[:, there], predicted[:, there]))["macro_f1"]) if there.any() else 0.0


@dataclass(frozen=True)
class _Part:
    """Texts to fit on and those to judge on, which stand at `rows`, in these folds."""

    inside: Texts
    outside: Texts
    rows: NDArray[np.int64]
    fold: NDArray[np.int64]


def _dealt(texts: Texts, truth: Bools, groups: NDArray, seed: int) -> Iterator[list[_Part]]:
    """Each deal into folds as its parts; none where all texts are the same. Of many texts one fold, dealt again for its thresholds."""
    for repeat in range(REPEATS if len(texts) <= FEW else 1):
        fold = stratified_folds(truth, groups, folds=FOLDS, seed=seed + repeat)
        last = int(fold.max(initial=0))
        if last == 0:
            return
        parts = []
        for held in range(last + 1 if len(texts) < MANY else 1):
            rows = np.flatnonzero(fold == held)
            within = fold[rows]
            if len(texts) >= MANY:
                some = np.unique(groups[rows], return_inverse=True)[1]
                within = stratified_folds(truth[rows], some, folds=FOLDS, seed=seed + repeat)
            parts.append(_Part(texts.take(np.flatnonzero(fold != held)), texts.take(rows), rows, within))
        yield parts


def _other(texts: Texts, dev: Dev) -> Texts:
    """Other texts along the directions of these."""
    x = np.asarray(dev.vectors, dtype=np.float64)
    return Texts(
        texts.start,
        np.asarray(dev.truth, dtype=np.float64),
        texts.exclusive,
        x @ texts.directions.T,
        texts.directions,
        texts.start.logits(x),
    )


def _log_odds(p: ArrayLike) -> Floats:
    clipped = np.clip(np.asarray(p, dtype=np.float64), 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))
