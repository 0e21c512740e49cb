"""Tiny results folders: a corpus in GoEmotions' files, and run folders in the real formats with made-up probabilities."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from emodef.corpora import Corpus, load_corpus
from emodef.evaluation import evaluate_probabilities, tune
from emodef.labels import LabelSet
from emodef.paper.known import KNOWN
from emodef.runs import DataChoice

TEXTS = {"train": 150, "dev": 90, "test": 110}
SEEN = 12  # test texts that are train's but for case and punctuation; the last two of them alike
MINILM = {"backbone": "minilm", "pooling": "mean", "epochs": 4, "batch_size": 32, "learning_rate": 1.5e-4}


def write_corpus(data_dir: Path) -> dict[str, Corpus]:
    """GoEmotions' files with texts of our own; every label is rare but the first, and the last three are not on test."""
    draw = np.random.default_rng(11)
    labels = LabelSet.load("goemotions")
    folder = data_dir / "goemotions"
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_text("\n".join(labels.names) + "\n", encoding="utf-8")
    for split, number in TEXTS.items():
        lines = []
        for i in range(number):
            several = draw.choice(len(labels) - 3, size=1 + (draw.random() < 0.3), replace=False)
            held = {0} if draw.random() < 0.3 else set(several.tolist())
            if split != "test" and i < 6:
                held |= {len(labels) - 1 - i % 3}
            text = f"this is {split} text number {i}"
            if split == "test" and i < SEEN:
                text = f"THIS is  train text, number {min(i, SEEN - 2)}!"
            lines.append(f"{text}\t{','.join(map(str, sorted(held)))}\t{split}-{i}")
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_corpus("goemotions", data_dir=data_dir)


def settings_of(**changed: Any) -> dict[str, Any]:
    """The paper's settings, as settings.json holds them, with changes."""
    unknown = set(changed) - set(KNOWN.settings)
    assert not unknown, unknown
    return {"description": "a test", **KNOWN.settings, **changed}


def write_run(
    folder: Path,
    texts: dict[str, Corpus],
    *,
    skill: float = 0.2,
    steps: tuple[int, int] = (10, 0),
    leave_out: tuple[str, ...] = (),
    **changed: Any,
) -> Path:
    """A run folder as training leaves it. skill: how much of the truth its probabilities know, 0 to 1; for a match run the
    emotion head knows half of it. leave_out: settings that the run was stored without."""
    settings = settings_of(**changed)
    draw = np.random.default_rng([settings["seed"], *folder.name.encode()])
    heads = {"emotion": skill}
    if "match" in settings["setup"].split("+"):
        heads = {"emotion": skill / 2, "match": skill}
    arrays: dict[str, Any] = {}
    answers = {}
    for split in ("dev", "test"):
        truth = texts[split].labels
        arrays[f"{split}_ids"] = np.array(texts[split].ids, dtype=np.str_)
        for head, known in heads.items():
            values = np.clip(known * truth + 0.5 * draw.random(truth.shape) ** 2, 0, 1).astype(np.float16)
            arrays[f"{split}_{head}"] = values
            answers[split] = values.astype(np.float32)
    thresholds: dict[str, Any] = {
        "fixed": settings["threshold"],
        "tuned": tune(answers["dev"], texts["dev"], levels=[]),
    }
    reports = {
        f"{split} {policy}": evaluate_probabilities(
            values,
            texts[split],
            thresholds=given,
            levels=[],
            train_labels=texts["train"].labels,
            bootstrap=20,
        )
        for split, values in answers.items()
        for policy, given in thresholds.items()
    }
    (folder / "model").mkdir(parents=True)
    np.savez_compressed(folder / "probabilities.npz", **arrays)
    training = {
        "steps": {"primary": steps[0], "auxiliary": steps[1]},
        "kept_epoch": 2,
        "seconds": 90.0,
        "real_tokens": 0.9,
        "truncated_texts": 0,
        "precision": "fp32",
    }
    content: dict[str, Any] = {
        "settings.json": {key: value for key, value in settings.items() if key not in leave_out},
        "versions.json": {
            "versions": {"torch": "2.0"},
            "code": "abc",
            "hardware": {"cpu": "a cpu", "threads": 2},
            "precision": "fp32",
        },
        "metrics.json": {
            "training": training,
            "epochs": [],
            "reports": {name: report.to_dict() for name, report in reports.items()},
        },
        "model/labels.json": texts["test"].label_set.to_dict(),
    }
    for path, value in content.items():
        (folder / path).write_text(json.dumps(value), encoding="utf-8")
    DataChoice().save(folder)
    return folder


def write_results(root: Path) -> Path:
    """Runs of the paper's setups with two seeds each, and of other recipes, in `root`/results, their corpus in `root`/data."""
    corpus = write_corpus(root / "data")
    runs: dict[str, dict[str, Any]] = {
        "none": {"skill": 0.25},
        "cdp": {"setup": "cdp", "skill": 0.3, "steps": (6, 4)},
        "match": {"setup": "match", "skill": 0.6},
        "half": {"steps_as_p": 0.5, "steps": (6, 0)},
        "held": {"setup": "cdp", "auxiliary_clip": 0.1, "skill": 0.4, "steps": (6, 4)},
        "longer": {"setup": "cdp", "budget": "primary", "steps": (10, 8)},
        "p1": {"setup": "cdp", "p": 0.1, "skill": 0.1, "steps": (1, 9)},
        "p1-longer": {"setup": "cdp", "p": 0.1, "budget": "primary", "steps": (10, 90)},
    }
    for name, given in runs.items():
        for seed in (1, 2):
            skill, (primary, auxiliary) = given.get("skill", 0.2), given.get("steps", (10, 0))
            changed = {key: value for key, value in given.items() if key not in ("skill", "steps")}
            steps = (primary + seed, auxiliary)
            write_run(
                root / "results" / f"{name}-{seed}", corpus, skill=skill, steps=steps, seed=seed, **changed
            )
    write_run(root / "results" / "baseline", corpus, epochs=4, keep="last")
    write_run(root / "results" / "roberta", corpus, backbone="roberta-base")
    write_run(root / "results" / "own", corpus, **MINILM, skill=0.3)
    write_run(root / "results" / "own-mlm", corpus, **MINILM, setup="mlm")
    return root


def plain(text: str) -> str:
    """A text without case, blanks and punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))
