"""A checkpoint's two heads and the mean of their probabilities: `python results/default/heads.py [MODEL]`, by default models/minilm-taught.

Macro-F1 on GoEmotions at 0.3 and at thresholds tuned on dev, and "cv" as `cross_validated.py` has it; in float32. Only dev is there to
choose by. Needs GoEmotions ($EMODEF_DATA, or `emodef data fetch goemotions`) and the [train] extra; three minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from emodef.corpora import load_corpus
from emodef.runs import evaluate_splits
from emodef.thresholds import cross_validate
from emodef.train import TrainedModel

SPLITS, HEADS = ("dev", "test"), ("emotion", "match")


def main(given: list[str]) -> None:
    """Print a line a head."""
    model = TrainedModel.load(Path(given[0]) if given else Path(__file__).parents[2] / "models" / "minilm-taught")
    corpus = load_corpus("goemotions")
    found = {
        head: {split: model.predict_proba(corpus[split].texts, scores=head) for split in SPLITS} for head in HEADS
    }
    found["mean"] = {split: np.mean([found[head][split] for head in HEADS], axis=0) for split in SPLITS}
    for head, answers in found.items():
        _, reports = evaluate_splits(answers, corpus, 0.3)
        scores = cross_validate(corpus["dev"].labels, answers["dev"], methods=["shrunk"], repeats=5)["shrunk"]
        figures = [f"{name} {100 * report.summary['macro_f1'].value:.1f}" for name, report in reports.items()]
        print(f"{head}: {', '.join(figures)}, dev cv {100 * float(scores.mean()):.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
