"""The training loop: sample a task, make its batch, take the step (steps.py); evaluate each epoch; save so that nothing is lost.

Imports torch and accelerate. Everything random is a function of (seed, step), so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch import nn

from emodef.corpora import Corpus
from emodef.errors import SettingsError, TrainingError
from emodef.labels import LabelSet
from emodef.metrics import averages, count, decide
from emodef.runs import digest_of, fingerprint
from emodef.train.architectures import is_recorded, takes_segments
from emodef.train.batches import StepBatches
from emodef.train.checkpoint import TrainedModel
from emodef.train.graphs import MULTIPLE
from emodef.train.logs import TrainingLog
from emodef.train.performance import (
    multiply_in,
    resolve_precision,
    trim_memory,
    tuned_process,
)
from emodef.train.processes import Interrupted, any_process, caught_signals, use_cpu
from emodef.train.resume import load_best, load_state, precision_of, save_best, save_state
from emodef.train.sampling import epoch_ends
from emodef.train.settings import TrainSettings
from emodef.train.starting import starting_model
from emodef.train.steps import RecordedSteps, Steps
from emodef.train.teachers import Lessons, asked_texts, lessons, with_texts

__all__ = ["Interrupted", "Trained", "learning_rate_factor", "train"]


@dataclass
class Trained:
    """What `train` leaves: the model, the history of its epochs, and how it got there."""

    model: TrainedModel
    epochs: list[dict[str, Any]] = field(default_factory=list)
    kept_epoch: int = 0
    steps: dict[str, int] = field(default_factory=dict)  # made, by task
    seconds: float = 0.0  # of training, resumed parts included
    real_tokens: float = 0.0  # share of the computed ones
    truncated: int = 0  # training texts longer than max_length
    precision: str = "fp32"


@tuned_process()
def train(
    settings: TrainSettings,
    corpus: Mapping[str, Corpus],
    folder: Path,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    cpu: bool = False,
    log: TrainingLog | None = None,
    begin: Callable[[TrainSettings, LabelSet], TrainedModel] = starting_model,
    last_epoch: int | None = None,
    save_epochs: bool = True,
    taught: Lessons | None = None,
) -> Trained:
    """Train on `corpus["train"]`, evaluating on `corpus["dev"]` each epoch where there is one; resume states go to `folder`/state.

    `stop_after` saves and stops after so many steps (as a signal would). `begin` makes the model to train. `taught`: what
    teachers say, by default asked of them. After `last_epoch` the run is
    finished, with the learning rate where it is; without `save_epochs` no state is saved at epochs' ends.

    Raises SettingsError where settings, corpus and an earlier state do not fit, TrainingError for a non-finite loss or a full disk,
    Interrupted after Ctrl-C or SIGTERM, DataError where every earlier state is damaged.
    """
    train_split, dev = _splits(corpus, settings)
    accelerator = _accelerator(cpu)
    log = log or TrainingLog(None)
    precision = precision_of(settings.precision, accelerator.device, folder / "state" if resume else None)
    if settings.precision == "auto" and precision != resolve_precision("auto", accelerator.device):
        log.note(f"goes on in {precision}, which this run was started in")
    multiply_in(precision)
    torch.manual_seed(settings.seed)  # the heads' first weights
    trained = begin(settings, train_split.label_set)
    taught = taught or lessons(settings, corpus, cpu=cpu, tell=log.note)
    recorded = accelerator.num_processes == 1 and is_recorded(trained.model.encoder, accelerator.device)
    batches = StepBatches(
        with_texts(train_split, taught.texts),
        trained.tokenizer,
        settings,
        device=accelerator.device,
        segments=takes_segments(trained.model.encoder),
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        targets=taught.targets,
        multiple=MULTIPLE if recorded else 1,
    )
    trained.model.to(accelerator.device)
    trained.model.anchor = settings.match_anchor
    if (
        batches.label_texts is not None and settings.match_anchor
    ):  # of the encoder before any step, resumed or not
        batches.label_texts.keep_anchors(trained.model)
    optimizer = _optimizer(trained.model, settings, accelerator.device)

    state = folder / "state"
    progress: dict[str, Any] = {
        "epochs": [],  # results, one an epoch
        "best": None,  # the best of them so far
        "finished": False,
        "seconds": 0.0,
        "tokens": [0, 0],  # real, computed
        "window": {},  # losses since the last line of the log
        "precision": precision,
        "corpus": fingerprint(corpus, ("train", "dev")),
        "unlabelled": digest_of(taught.texts),  # of which those of test are left out
        "wordings": None if batches.label_texts is None else batches.label_texts.known_by(),
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "multiple": batches.multiple,
    }
    start = 0
    if resume:
        saved = load_state(state, trained.model, optimizer, log.note)
        if saved is not None:
            # an earlier emodef, which noted none, learned all
            saved.setdefault("unlabelled", digest_of(asked_texts(settings, train_split)))
            _check_same_run(progress, saved, log)
            start, progress = saved.pop("step"), {**progress, **saved}
        log.rewind(start, len(progress["epochs"]))
    elif any(state.glob("step-*")):
        raise SettingsError(f"{folder} holds a run's states already; resume it, or give another folder")
    steps: Steps | RecordedSteps
    if recorded:
        steps = RecordedSteps(trained.model, optimizer, settings, precision, accelerator.device)
    else:
        steps = Steps(accelerator, trained.model, optimizer, settings, precision)
    batches.tokens.real, batches.tokens.computed = progress["tokens"]
    began, earlier = time.monotonic(), progress["seconds"]
    ends = epoch_ends(len(batches), settings.epochs)

    steps.model.train()
    with caught_signals() as caught, log.progress(len(batches), start, progress["window"]) as bar:
        for step in range(start, len(batches)):
            if progress["finished"]:
                break
            rate = learning_rate_factor(step, len(batches), settings.warmup)
            made = batches.make(step)
            norm, shown = steps.take(made, rate, _step_seed(settings.seed, step, accelerator.process_index))
            if not all(map(math.isfinite, (norm, *shown.values()))):
                raise TrainingError(_not_finite(step + 1, shown, norm, settings, state))

            done = step + 1
            bar.step(done, shown, norm, made, rate * settings.learning_rate)
            if epoch_end := done in ends:
                epoch = _evaluate_epoch(ends.index(done) + 1, trained, dev, settings, accelerator)
                progress["epochs"].append(epoch)
                bar.epoch(epoch, done)
                if _is_best(epoch, progress["best"]):
                    progress["best"] = epoch
                    if settings.keep == "best" and accelerator.is_main_process:
                        save_best(state, epoch["epoch"], trained.model)
                progress["finished"] = (
                    done == len(batches)
                    or epoch["epoch"] == last_epoch
                    or _out_of_patience(epoch, progress, settings)
                )
            interrupted = any_process(accelerator, bool(caught) or done == stop_after)
            if epoch_end or interrupted or done % settings.save_every == 0:
                progress["seconds"] = earlier + time.monotonic() - began
                progress["tokens"] = [batches.tokens.real, batches.tokens.computed]
                progress["window"] = bar.window
                wanted = save_epochs or interrupted or done % settings.save_every == 0
                if wanted and accelerator.is_main_process:
                    save_state(state, done, trained.model, optimizer, progress)
                accelerator.wait_for_everyone()
                trim_memory()
            if interrupted and not progress["finished"]:
                raise Interrupted(
                    f"stopped after step {done} of {len(batches)}; the state is saved: go on with --resume"
                )
    if caught:
        raise Interrupted(
            "stopped after the last step; the state is saved: evaluate and save the model with --resume"
        )

    kept = len(progress["epochs"])
    if settings.keep == "best":
        kept = progress["best"]["epoch"]
        load_best(state, kept, trained.model)
    made_tasks = batches.sampler.tasks[: ends[len(progress["epochs"]) - 1]]
    return Trained(
        trained,
        epochs=progress["epochs"],
        kept_epoch=kept,
        steps={"primary": int(made_tasks.sum()), "auxiliary": int((~made_tasks).sum())},
        seconds=progress["seconds"],
        real_tokens=batches.tokens.real / max(1, batches.tokens.computed),
        truncated=batches.truncated,
        precision=precision,
    )


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Linear rise over the first `warmup` share of the steps, then linear fall to 0."""
    rising = int(steps * warmup)
    if step < rising:
        return step / max(1, rising)
    return max(0.0, (steps - step) / max(1, steps - rising))


def _splits(corpus: Mapping[str, Corpus], settings: TrainSettings) -> tuple[Corpus, Corpus | None]:
    if "train" not in corpus or not len(corpus["train"]):
        raise SettingsError(
            f"there is nothing to train on: the corpus has the splits {', '.join(corpus) or '(none)'}; it needs texts in 'train'"
        )
    if "dev" not in corpus and (settings.keep == "best" or settings.patience is not None):
        raise SettingsError(
            "keep = 'best' and patience need a dev split to judge epochs by; add one, or set keep = 'last' and no patience"
        )
    return corpus["train"], corpus.get("dev")


def _accelerator(cpu: bool) -> Accelerator:
    try:
        return Accelerator(
            cpu=use_cpu(cpu),
            mixed_precision="no",  # the loop's own autocast: the model it returns stays as it was
            kwargs_handlers=[
                DistributedDataParallelKwargs(
                    find_unused_parameters=True
                )  # a step uses only its task's heads
            ],
        )
    except ValueError as error:  # accelerate keeps the first choice of a process
        raise SettingsError(
            f"this process has trained on another device or precision before ({error})"
        ) from error


def _optimizer(model: nn.Module, settings: TrainSettings, device: torch.device) -> torch.optim.AdamW:
    matching = [p for name, p in model.named_parameters() if name.startswith("match.")]
    rest = [p for name, p in model.named_parameters() if not name.startswith("match.")]
    groups: list[dict[str, Any]] = [
        {"params": rest, "lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    ]
    if matching:
        groups.append({"params": matching, "lr": settings.match_learning_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"))
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def _check_same_run(now: Mapping[str, Any], saved: Mapping[str, Any], log: TrainingLog) -> None:
    """SettingsError where going on would not continue the saved run; a note where its last digits may differ."""
    if saved["precision"] != now["precision"]:
        raise SettingsError(
            f"this run was started in {saved['precision']}; resume it with --set precision={saved['precision']}"
        )
    if saved.get("corpus", now["corpus"]) != now["corpus"]:
        raise SettingsError(
            "this run was started on other texts, labels or definitions; resume it with those, or start a new one"
        )
    if saved["unlabelled"] != now["unlabelled"]:
        raise SettingsError(
            "this run was started on other texts without labels, with another dev or test or before those were left out; start a new one"
        )
    if saved.get("wordings", now["wordings"]) != now["wordings"]:
        raise SettingsError(
            "this run was started with other wordings of its labels to vary (match_vary), another emodef's; resume it with that, "
            "or start a new one"
        )
    for what in ("processes", "threads"):
        if saved.get(what) != now[what]:
            log.note(
                f"started with {saved.get(what)} {what}, going on with {now[what]}: "
                "the result may differ from an uninterrupted run's in its last digits"
            )
    if saved.get("multiple", 1) != now["multiple"]:
        log.note(
            "started on another kind of machine or by another emodef, with other padding: dropout and masked words are others from here on"
        )


def _evaluate_epoch(
    number: int,
    trained: TrainedModel,
    dev: Corpus | None,
    settings: TrainSettings,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Dev metrics at the fixed threshold: measured on the main process, the same on all."""
    epoch: dict[str, Any] = {"epoch": number}
    if dev is not None and accelerator.is_main_process:
        probabilities = trained.predict_proba(dev.texts)
        predicted = decide(probabilities, settings.threshold, exclusive=dev.label_set.exclusive)
        measured = averages(count(dev.labels, predicted))
        epoch.update({f"dev_{name}": float(value) for name, value in measured.items()})
    return dict(broadcast_object_list([epoch])[0])


def _is_best(epoch: Mapping[str, Any], best: Mapping[str, Any] | None) -> bool:
    score = epoch.get("dev_macro_f1")
    return score is not None and (best is None or score > best["dev_macro_f1"])


def _out_of_patience(epoch: Mapping[str, Any], progress: Mapping[str, Any], settings: TrainSettings) -> bool:
    return settings.patience is not None and epoch["epoch"] - progress["best"]["epoch"] >= settings.patience


def _not_finite(
    step: int, losses: Mapping[str, float], norm: float, settings: TrainSettings, state: Path
) -> str:
    found = ", ".join(f"{task} {loss}" for task, loss in losses.items())
    saved = max((path.name for path in state.glob("step-*")), default="none yet")
    return (
        f"step {step}: the loss is not finite ({found}; gradient norm {norm}). Start a new run with a lower learning_rate (now "
        f"{settings.learning_rate:g}), a longer warmup (now {settings.warmup:g}), or precision = 'fp32'; saved states stand in {state} "
        f"(last: {saved})"
    )


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank, 4]).generate_state(1, np.uint64)[0] >> 1)
