"""The training loop, whole: sample a task, make its batch, add its losses, step; evaluate each epoch; save so that nothing is lost.

Imports torch and accelerate. Everything random is a function of (seed, step), so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from safetensors.torch import save
from torch import nn

from emodef.atomic import write_bytes
from emodef.corpora import Corpus
from emodef.errors import SettingsError, TrainingError
from emodef.metrics import averages, count, decide
from emodef.train.architectures import takes_segments
from emodef.train.batches import StepBatches
from emodef.train.checkpoint import TrainedModel
from emodef.train.logs import TrainingLog
from emodef.train.model import build_model
from emodef.train.performance import resolve_precision, tune_process
from emodef.train.resume import load_state, load_weights, save_state, weights
from emodef.train.settings import TrainSettings
from emodef.train.tokenization import TextTokenizer


class Interrupted(TrainingError):
    """Training was stopped by a signal; its state is saved."""

    exit_code = 130


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


def train(
    settings: TrainSettings, corpus: Mapping[str, Corpus], folder: Path, *, resume: bool = False, stop_after: int | None = None,
    cpu: bool = False, log: TrainingLog | None = None,
) -> Trained:
    """Train on `corpus["train"]`, evaluating on `corpus["dev"]` each epoch where there is one; resume states go to `folder`/state.

    `stop_after` saves and stops after so many steps (as a signal would). Raises SettingsError where settings and corpus do not fit,
    TrainingError for a non-finite loss or a full disk, Interrupted after Ctrl-C or SIGTERM.
    """
    tune_process()
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision="no" if resolve_precision(settings.precision, _device(cpu)) == "fp32" else "bf16",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # a step uses only its task's heads
    )
    precision = {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision)
    train_split, dev = corpus["train"], corpus.get("dev")
    if settings.keep == "best" and dev is None:
        raise SettingsError("keep = 'best' needs a dev split to choose by; add one, or set keep = 'last'")
    torch.manual_seed(settings.seed)  # the heads' first weights
    trained = _untrained(settings, train_split)
    batches = StepBatches(
        train_split, trained.tokenizer, settings, device=accelerator.device, segments=takes_segments(trained.model.encoder),
        rank=accelerator.process_index, world=accelerator.num_processes,
    )
    trained.model.to(accelerator.device)
    optimizer = _optimizer(trained.model, settings, accelerator.device)
    state = folder / "state"
    start, progress = 0, {"epochs": [], "best": None, "seconds": 0.0, "tokens": [0, 0], "precision": precision,
                          "processes": accelerator.num_processes, "threads": torch.get_num_threads()}
    if resume and (saved := load_state(state, trained.model, optimizer)) is not None:
        start, progress = saved.pop("step"), {**progress, **saved}
        if progress["precision"] != precision:
            raise SettingsError(f"this run was started in {progress['precision']}; resume it with --set precision={progress['precision']}")
    model, stepper = accelerator.prepare(trained.model, optimizer)
    batches.tokens.real, batches.tokens.computed = progress["tokens"]
    log = log or TrainingLog(None)
    began, earlier = time.monotonic(), progress["seconds"]

    def save(step: int) -> None:
        progress["seconds"] = earlier + time.monotonic() - began
        progress["tokens"] = [batches.tokens.real, batches.tokens.computed]
        if accelerator.is_main_process:
            save_state(state, step, trained.model, optimizer, progress)
        accelerator.wait_for_everyone()

    model.train()
    stopped = bool(progress.get("finished"))
    with _signals() as caught, log.progress(len(batches), start) as bar:
        for step in range(start, len(batches)):
            if stopped:
                break
            rate = learning_rate_factor(step, len(batches), settings.warmup)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate
            torch.manual_seed(_step_seed(settings.seed, step, accelerator.process_index))  # dropout
            made = batches.make(step)
            sums = model(made.batch)
            # Divided by the count over all processes; times their number, because their gradients are averaged.
            losses = {task: value * (accelerator.num_processes * made.weight / max(1, made.counts[task])) for task, value in sums.items()}
            loss = torch.stack(list(losses.values())).sum()
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            shown = {task: float(value.detach()) for task, value in losses.items()}
            if not (math.isfinite(float(norm)) and all(map(math.isfinite, shown.values()))):
                raise TrainingError(
                    f"step {step + 1}: the loss is not finite ({shown}, gradient norm {float(norm)}); lower learning_rate"
                    f" (now {settings.learning_rate:g}), lengthen warmup, or set precision = 'fp32'. Saved states stand in {state}"
                )
            stepper.step()
            stepper.zero_grad(set_to_none=True)
            done = step + 1
            bar.step(done, shown, made, rate * settings.learning_rate)
            if done % batches.epoch_steps == 0:
                epoch = _evaluate_epoch(done // batches.epoch_steps, trained, dev, settings, accelerator)
                progress["epochs"].append(epoch)
                bar.epoch(epoch)
                stopped = _keep(epoch, progress, trained.model, folder, settings, accelerator)
                progress["finished"] = stopped
            interrupted = accelerator.num_processes == 1 and (caught or done == stop_after)
            if done % batches.epoch_steps == 0 or done % settings.save_every == 0 or done == len(batches) or interrupted:
                save(done)
            if interrupted and done < len(batches):
                raise Interrupted(f"stopped after step {done} of {len(batches)}; the state is saved: go on with --resume")
    kept = len(progress["epochs"])
    if settings.keep == "best":
        kept = progress["best"]["epoch"]
        load_weights(trained.model, folder / "best.safetensors")
    made_tasks = batches.sampler.tasks[: len(progress["epochs"]) * batches.epoch_steps]
    return Trained(
        trained,
        epochs=progress["epochs"],
        kept_epoch=kept,
        steps={"primary": int(made_tasks.sum()), "auxiliary": int((~made_tasks).sum())},
        seconds=earlier + time.monotonic() - began,
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


def _untrained(settings: TrainSettings, corpus: Corpus) -> TrainedModel:
    path = settings.backbone_path()
    try:
        tokenizer = TextTokenizer.load(path, settings.placeholders)
        model = build_model(
            path, labels=len(corpus.label_set), pooling=settings.pooling, tasks=settings.tasks, vocabulary=tokenizer.size,
            new_tokens=tokenizer.new_tokens, dropout=settings.dropout, scale=settings.match_scale, bias=settings.match_bias,
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(
            f"backbone {settings.backbone!r} cannot be loaded: {reason} Give a folder with a transformers checkpoint, 'minilm', or a "
            "name on the model hub, which must be reachable"
        ) from error
    return TrainedModel(model, tokenizer, corpus.label_set, settings)


def _optimizer(model: nn.Module, settings: TrainSettings, device: torch.device) -> torch.optim.AdamW:
    matching = [p for name, p in model.named_parameters() if name.startswith("match.")]
    rest = [p for name, p in model.named_parameters() if not name.startswith("match.")]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": settings.learning_rate, "weight_decay": settings.weight_decay}]
    if matching:
        groups.append({"params": matching, "lr": settings.match_learning_rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, fused=device.type in ("cpu", "cuda"))
    for group in optimizer.param_groups:
        group["base_lr"] = group["lr"]
    return optimizer


def _evaluate_epoch(
    number: int, trained: TrainedModel, dev: Corpus | None, settings: TrainSettings, accelerator: Accelerator
) -> dict[str, Any]:
    """Dev macro-F1 at the fixed threshold, over all texts on the main process."""
    epoch: dict[str, Any] = {"epoch": number}
    if dev is not None and accelerator.is_main_process:
        probabilities = trained.predict_proba(dev.texts)
        predicted = decide(probabilities, settings.threshold, exclusive=dev.label_set.exclusive)
        epoch.update({f"dev_{name}": float(value) for name, value in averages(count(dev.labels, predicted)).items()})
    accelerator.wait_for_everyone()
    return epoch


def _keep(
    epoch: dict[str, Any], progress: dict[str, Any], model: nn.Module, folder: Path, settings: TrainSettings, accelerator: Accelerator
) -> bool:
    """Note the best epoch so far (its weights on disk where they may be wanted); return whether patience is at its end."""
    score = epoch.get("dev_macro_f1")
    best = progress["best"]
    if score is not None and (best is None or score > best["dev_macro_f1"]):
        best = progress["best"] = {"epoch": epoch["epoch"], "dev_macro_f1": score}
        if settings.keep == "best" and accelerator.is_main_process:
            _save_best(folder, model)
    late = settings.patience is not None and best is not None and epoch["epoch"] - best["epoch"] >= settings.patience
    return bool(accelerator.gather(torch.tensor([int(late)], device=accelerator.device)).max().item())


def _save_best(folder: Path, model: nn.Module) -> None:
    write_bytes(folder / "best.safetensors", save(weights(model)))


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank, 4]).generate_state(1, np.uint64)[0] >> 1)


def _device(cpu: bool) -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying in the middle of a step; a second Ctrl-C interrupts at once."""
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: the caller handles signals
        before = {}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
