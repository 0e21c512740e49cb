"""Ways of scoring labels that a model was not trained on; each gives log odds (n, K). Imports sources, unseen, labels.

matching: the matching head on the definitions' embeddings; a policy guesses biases and thresholds. cross-encoder: one pass for each
text and label. cosine: with a label's name, its definition or both, of an untuned encoder. mapping: the trained labels that a
table made by hand puts in a label's place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from emodef.labels import LabelSet
from emodef.predictor.head import Floats, products
from emodef.predictor.own import ordinary
from emodef.predictor.unseen import POLICIES, Policy, Trained, biases_for, centred
from emodef.zeroshot.background import Background
from emodef.zeroshot.sources import Source

COSINE_SCALE = (
    20.0  # of plain cosines, where matching starts: it changes no rank, only how softmax shares out
)
LEAST = 1e-6  # probabilities nearer to 0 or 1 are taken for this
COSINES = {  # method -> what is embedded for a label
    "cosine with name": "{name}",
    "cosine with definition": "{definition}",
    "cosine with both": "{name}: {definition}",
}
# method -> the policy that is left out where there are no background texts
NEED_BACKGROUND = {"matching": "background"} | dict.fromkeys(COSINES, "levelled")
CROSSED = 512  # texts of which all pairs are made at a time


@dataclass(frozen=True)
class Scores:
    """What a method found: its name, the policy where it needs one, log odds (n, K), and thresholds (K,) where it decides by them."""

    method: str
    policy: str
    logits: Floats
    thresholds: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Task:
    """Texts and the labels to score them with.

    background: unlabelled texts like those a model was trained on, for policies that need some. rate: the share of texts that a label
    is expected to have, for methods without a bias of their own.
    """

    texts: Sequence[str]
    labels: LabelSet
    background: Sequence[str] = ()
    rate: float = 0.1


class Scorer:
    """A source at work on a task: texts are embedded once for all methods."""

    def __init__(self, source: Source, task: Task) -> None:
        self.source, self.task = source, task

    @cached_property
    def texts(self) -> Floats:
        """Unit embeddings of the task's texts."""
        return self.source.embed(self.task.texts)

    @cached_property
    def before(self) -> Floats | None:
        """Unit embeddings of the background texts, where there are any."""
        return self.source.embed(self.task.background) if self.task.background else None

    def methods(self) -> dict[str, Callable[[], Iterator[Scores]]]:
        """What the source can do: method -> the call that does it, under each of its policies."""
        source, found = self.source, {}
        if source.match is not None:
            found["matching"] = self.matching
        if source.crossing:
            found["cross-encoder"] = self.crossing
        if source.label_set is None:
            for method, template in COSINES.items():
                found[method] = partial(self.cosine, method, template)
        if source.label_set is not None:
            table = mapping(source.label_set, self.task.labels)
            if table is not None:
                found["mapping"] = partial(self.mapped, source.label_set, table)
        return found

    def matching(self) -> Iterator[Scores]:
        """The matching head under each policy."""
        match, trained = self.source.match, self.trained()
        assert match is not None
        vectors = self.source.embed(read_as(match.text, self.task.labels))
        policies: dict[str, Policy] = dict(POLICIES)
        if (
            trained.tuned is None or self.task.labels.exclusive
        ):  # where the likeliest is taken, thresholds decide nothing
            policies.pop("mean_tuned")
        if trained.background is None:
            policies.pop("background")
        else:
            policies["moments"] = Background.of(trained.background).policy
        usual = replace(
            trained, background=self.source.embed(ordinary())
        )  # as `Predictor.with_labels` has it
        cosine = products(self.texts, vectors)
        for name, policy in policies.items():
            bias, thresholds = policy(vectors, usual if policy is centred else trained)
            yield Scores("matching", name, match.scale * cosine + bias, thresholds)

    def trained(self) -> Trained:
        """What policies are told of the labels the source was trained on."""
        source = self.source
        match, known = source.match, source.label_set
        assert match is not None
        assert known is not None
        return Trained(
            scale=match.scale,
            biases=match.biases,
            fixed=source.fixed,
            tuned=source.tuned,
            encode=lambda: source.embed(read_as(match.text, known)),
            background=self.before,
        )

    def crossing(self) -> Iterator[Scores]:
        """The definition head: every text read with every definition."""
        texts, definitions = self.task.texts, list(self.task.labels.definitions)
        parts = []
        for at in range(0, len(texts), CROSSED):
            few = texts[at : at + CROSSED]
            found = self.source.definition_proba(
                [t for t in few for _ in definitions], definitions * len(few)
            )
            parts.append(found.reshape(len(few), len(definitions)))
        yield Scores("cross-encoder", "0.5", log_odds(np.concatenate(parts)), np.full(len(definitions), 0.5))

    def cosine(self, method: str, template: str) -> Iterator[Scores]:
        """Plain cosines, and levelled: with biases that make each label as frequent among the background texts as is expected of it.

        Where several labels may be right the thresholds of plain ones would do just that, and they are left out.
        """
        vectors = self.source.embed(read_as(template, self.task.labels))
        logits = COSINE_SCALE * products(self.texts, vectors)
        before = logits if self.before is None else COSINE_SCALE * products(self.before, vectors)
        biases = {}
        if self.before is None or self.task.labels.exclusive:
            biases["plain"] = np.zeros(len(vectors), dtype=np.float32)
        if self.before is not None:
            biases["levelled"] = biases_for(before, self.task.rate)
        for policy, bias in biases.items():
            limits = np.quantile(before + bias, 1 - self.task.rate, axis=0)
            yield Scores(method, policy, (logits + bias).astype(np.float32), 1 / (1 + np.exp(-limits)))

    def mapped(self, known: LabelSet, table: Mapping[str, Sequence[str]]) -> Iterator[Scores]:
        """The largest probability among the trained labels that stand for a label."""
        probabilities = self.source.probabilities(self.task.texts)
        found = [
            probabilities[:, [known.index(name) for name in table[label]]].max(axis=1)
            for label in self.task.labels.names
        ]
        yield Scores("mapping", "by hand", log_odds(np.stack(found, axis=1)))


def mapping(known: LabelSet, wanted: LabelSet) -> dict[str, list[str]] | None:
    """The table of `mappings.toml` from a label set to another; None where there is none, or a label of it was not trained."""
    text = resources.files("emodef.zeroshot").joinpath("mappings.toml").read_text(encoding="utf-8")
    table: dict[str, list[str]] | None = tomllib.loads(text).get(known.name, {}).get(wanted.name)
    if table is None or set(table) != set(wanted.names):
        return None
    return table if {name for names in table.values() for name in names} <= set(known.names) else None


def read_as(template: str, labels: LabelSet) -> list[str]:
    """What each label is read as."""
    pairs = zip(labels.names, labels.definitions, strict=True)
    return [template.format(name=name, definition=definition) for name, definition in pairs]


def log_odds(probabilities: Floats) -> Floats:
    """Of probabilities, those next to 0 and 1 held off."""
    held = probabilities.astype(np.float64).clip(LEAST, 1 - LEAST)
    return np.log(held / (1 - held)).astype(np.float32)
