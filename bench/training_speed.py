"""How fast a training step is against the published recipe's, and what each of its savings brings. Imports torch.

    python -m bench.training_speed [--data-dir DIR] [--quick] [--only texts,pairs,…]

Writes bench/results/training_speed.json and bench/results/training.md. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import torch

from bench import processes
from bench.common import about, add_options, load, save
from bench.steps import CPU, Knobs, Trainer, batches_of, in_random_order, pairs_of_all_labels, tokenised_anew
from bench.timing import Epoch, Side, Size, side_by_side
from emodef.corpora import Corpus
from emodef.train import batches as batches_module
from emodef.train import label_texts as texts_module
from emodef.train.performance import resolve_precision, tune_process
from emodef.train.settings import TrainSettings

FULL, QUICK = Size(rounds=5, steps=10), Size(rounds=2, steps=2)


class Bench:
    """The comparisons; each method is one section of the result and can be run alone."""

    def __init__(
        self, corpus: Corpus, settings: TrainSettings, size: Size, *, epoch_steps: int | None = None
    ) -> None:
        self.corpus, self.settings, self.size = corpus, settings, size
        self.knobs = Knobs(precision=resolve_precision(settings.precision, CPU))
        self.epoch_steps = epoch_steps  # batches looked at for shares of real tokens; None: the whole epoch

    def texts(self) -> list[dict[str, Any]]:
        """Our text batches against random order, padded to the batch's longest text or to the full length."""
        trainer = self._trainer("none")
        ours = batches_of(trainer)
        return [
            self._padding(
                f"Texts, padded to {self.settings.max_length}", trainer, ours, ours.epoch_steps, wanted=2.0
            )
        ]

    def pairs(self) -> list[dict[str, Any]]:
        """The same for (text, definition) pairs, CDP loss."""
        trainer = self._trainer("cdp")
        ours = batches_of(trainer, pairs=True)
        title = f"Pairs (CDP), padded to {self.settings.max_pair_length}"
        return [
            self._padding(title, trainer, ours, len(ours.auxiliary), wanted=3.0, size=self.size.times(0.8))
        ]

    def masked_words(self) -> list[dict[str, Any]]:
        """CDP+MLM pairs: the vocabulary layer at masked positions only, or at all."""
        trainer = self._trainer("cdp+mlm")
        ours = batches_of(trainer, pairs=True)
        published = in_random_order(ours, full_length=True)
        size = self.size.times(0.6, 0.5)
        steps = self._steps(len(ours.auxiliary))
        rounds = Epoch.survey(ours, steps).rounds(size)
        everywhere = self._with(all_positions=True)
        sides = [
            Side("masked positions only", trainer, ours, rounds, self.knobs),
            Side("all positions", trainer, ours, rounds, everywhere),
            Side(f"all positions, padded to {self.settings.max_pair_length}", trainer, published,
                 Epoch.survey(published, steps).rounds(size), everywhere),
        ]  # fmt: skip
        return [
            side_by_side("Masked words (CDP+MLM): where the vocabulary layer is computed", sides, size.rounds)
        ]

    def step_parts(self) -> list[dict[str, Any]]:
        """One text step with one thing switched at a time."""
        trainer = self._trainer("none")
        ours = batches_of(trainer)
        size = self.size.times(1, 0.6)
        rounds = Epoch.survey(ours, self._steps(ours.epoch_steps)).rounds(size)
        other = "fp32" if self.knobs.precision == "bf16" else "bf16"
        sides = [
            Side(f"as trained ({self.knobs.precision})", trainer, ours, rounds, self.knobs),
            Side("texts tokenised every step", trainer, ours, rounds, self.knobs,
                 lambda step: [tokenised_anew(trainer, ours, step)]),
            Side(f"{other} instead of {self.knobs.precision}", trainer, ours, rounds, self._with(precision=other)),
            Side("AdamW one parameter at a time", trainer, ours, rounds, self._with(optimizer="plain")),
            Side("AdamW without the word table", trainer, ours, rounds, self._with(optimizer="no embeddings")),
            Side("word table frozen (no gradient)", trainer, ours, rounds, self._with(embeddings="frozen")),
            Side("no dropout on attention, torch's fused attention", trainer, ours, rounds, self._with(dropout="hidden")),
            Side("no dropout on attention, plain attention", trainer, ours, rounds,
                 self._with(dropout="hidden", math_attention=True)),
            Side("no dropout at all, plain attention", trainer, ours, rounds, self._with(dropout="none", math_attention=True)),
        ]  # fmt: skip
        return [side_by_side("Parts of a text step, switched one at a time", sides, size.rounds)]

    def definitions(self) -> list[dict[str, Any]]:
        """Matching: how the definitions are encoded."""
        trainer, plain = self._trainer("cdp+match"), self._trainer("none")
        texts = batches_of(plain)
        size = self.size.times(0.8, 0.8)
        ours = texts_module.GROUPS
        kinds = {}
        for groups in (ours, *(n for n in (4, 2, 1) if n != ours)):
            with mock.patch.object(texts_module, "GROUPS", groups):
                name = f"definitions once a step, in {groups} length group{'s' if groups > 1 else ''}"
                kinds[name] = batches_of(trainer)
        epochs = {name: Epoch.survey(made, self._steps(made.epoch_steps)) for name, made in kinds.items()}
        base, grouped = next(iter(kinds.items()))
        rounds = epochs[base].rounds(size)
        sides = [Side(name, trainer, made, rounds, self.knobs) for name, made in kinds.items()]
        sides.append(Side("no definitions (setup none)", plain, texts, rounds, self.knobs))
        real = {name: epoch.real for name, epoch in epochs.items()}
        once = side_by_side("Matching: definitions encoded once a step", sides, size.rounds, epoch_real=real)
        few = Size(2, 1)
        single = epochs[base].rounds(few)  # one step a round, from the whole epoch: both sides make the same
        against = [
            Side(base, trainer, grouped, single, self.knobs),
            Side("every text read with every definition, as pairs", trainer, grouped, single, self.knobs,
                 lambda step: pairs_of_all_labels(grouped, step)),
        ]  # fmt: skip
        read = side_by_side("Matching against reading every (text, definition) pair", against, few.rounds)
        return [once, read]

    def process(self) -> list[dict[str, Any]]:
        """Denormals and kept memory, in processes of their own."""
        steps = self._steps(-(-len(self.corpus) // self.settings.batch_size))
        settings = self.settings.model_copy(update={"setup": "none"})
        return processes.compare(
            settings, self.corpus, self.knobs, self.size.times(1, 0.8), steps, torch.get_num_threads()
        )

    def _trainer(self, setup: str) -> Trainer:
        return Trainer(self.settings.model_copy(update={"setup": setup}), self.corpus)

    def _with(self, **changed: Any) -> Knobs:
        return Knobs(**{**vars(self.knobs), **changed})

    def _steps(self, epoch: int) -> int:
        return min(epoch, self.epoch_steps or epoch)

    def _padding(
        self,
        title: str,
        trainer: Trainer,
        ours: batches_module.StepBatches,
        epoch: int,
        *,
        wanted: float,
        size: Size | None = None,
    ) -> dict[str, Any]:
        size = size or self.size
        kinds = {
            "ours: sorted by length": ours,
            "random order, padded to the batch's longest": in_random_order(ours, full_length=False),
            "published recipe's padding: random order, full length": in_random_order(ours, full_length=True),
        }
        epochs = {name: Epoch.survey(made, self._steps(epoch)) for name, made in kinds.items()}
        sides = [
            Side(name, trainer, made, epochs[name].rounds(size), self.knobs) for name, made in kinds.items()
        ]
        return side_by_side(
            title,
            sides,
            size.rounds,
            wanted={sides[-1].name: wanted},
            epoch_real={n: e.real for n, e in epochs.items()},
        )


SECTIONS: dict[str, Callable[[Bench], list[dict[str, Any]]]] = {
    "texts": Bench.texts,
    "pairs": Bench.pairs,
    "masked_words": Bench.masked_words,
    "step_parts": Bench.step_parts,
    "definitions": Bench.definitions,
    "process": Bench.process,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m bench.training_speed", description=__doc__.splitlines()[0]
    )
    add_options(parser)
    parser.add_argument(
        "--only", default=",".join(SECTIONS), help="sections, separated by commas: " + ", ".join(SECTIONS)
    )
    options = parser.parse_args(given)
    chosen = options.only.split(",")
    if unknown := sorted(set(chosen) - set(SECTIONS)):
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    tune_process()  # first of all: threads started before would keep their denormals
    settings, corpus = load(options)
    facts = about("training_speed", given, options, settings)
    bench = Bench(
        corpus["train"], settings, QUICK if options.quick else FULL, epoch_steps=20 if options.quick else None
    )
    began = time.monotonic()
    sections: dict[str, Any] = {}
    for name in chosen:
        sections[name] = SECTIONS[name](bench)
        print(f"{name}: done after {time.monotonic() - began:.0f} s", flush=True)
    result = {
        "about": {**facts, "seconds": round(time.monotonic() - began), "precision": bench.knobs.precision},
        "sections": sections,
    }
    save(options.out, "training_speed", result)


if __name__ == "__main__":
    main()
