"""The column "cv" of README.md: `python results/default/cross_validated.py [RUN…]`, by default every run named there; RUN,RUN is their mean.

Dev macro-F1 of the stored probabilities, thresholds tuned on other dev texts: five times five folds, as `emodef average --untuned choose`
does it. Needs GoEmotions ($EMODEF_DATA, or `emodef data fetch goemotions`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emodef.corpora import load_corpus
from emodef.thresholds import cross_validate

HERE = Path(__file__).parent
MPNET = ("mpnet/match-seed42", "mpnet/match-seed42-gpu", "mpnet/match-seed43", "mpnet/match-seed44")
ELSEWHERE = ("minilm/match-seed42", "minilm/match-seed43", *MPNET)


def main(given: list[str]) -> None:
    """Print a line a run."""
    dev = load_corpus("goemotions")["dev"]
    runs = [*(HERE.parent / name for name in ELSEWHERE), *sorted(path.parent for path in HERE.glob("*/probabilities.npz"))]
    for named in given or map(str, runs):
        probabilities = np.mean([_stored(Path(run), dev.ids) for run in named.split(",")], axis=0)
        scores = cross_validate(dev.labels, probabilities, methods=["shrunk"], repeats=5)["shrunk"]
        print(f"{100 * float(scores.mean()):.1f}  {named}")


def _stored(run: Path, ids: list[str]) -> NDArray[np.float32]:
    with np.load(run / "probabilities.npz", allow_pickle=False) as stored:
        if stored["dev_ids"].tolist() != ids:
            raise SystemExit(f"{run}: its dev texts are others than those of GoEmotions here")
        found: NDArray[np.float32] = stored["dev_match"].astype(np.float32)
        return found


if __name__ == "__main__":
    main(sys.argv[1:])
