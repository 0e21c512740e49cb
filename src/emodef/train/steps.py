"""One step of training: losses, gradients, their limit, the optimizer. On a lone GPU as recorded work. Imports torch and accelerate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from emodef.train.batches import Step
from emodef.train.graphs import Record, Recorded
from emodef.train.model import AuxiliaryBatch, PrimaryBatch
from emodef.train.performance import clip_gradients
from emodef.train.processes import global_losses
from emodef.train.settings import TrainSettings


@dataclass
class Scaled:
    """A batch, its tasks, and what their summed losses are multiplied with, (tasks,)."""

    batch: PrimaryBatch | AuxiliaryBatch
    tasks: tuple[str, ...]
    scales: Tensor


class Steps:
    """Takes a run's steps as accelerate has them: any device, any number of processes."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: TrainSettings,
        precision: str,
    ) -> None:
        self.accelerator, self.settings, self.precision = accelerator, settings, precision
        self.model, self.stepper = accelerator.prepare(model, optimizer)

    def take(self, made: Step, rate: float, seed: int) -> tuple[float, dict[str, float]]:
        """The norm that the gradients had, and the tasks' losses; where one of them is not finite, no weight was changed.

        rate: what the learning rates are multiplied with. seed: of dropout.
        """
        accelerator = self.accelerator
        torch.manual_seed(seed)
        set_rates(self.stepper, rate)
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            sums = self.model(made.batch)
        scales = scales_of(made, accelerator.num_processes)
        losses = {task: value * scales[task] for task, value in sums.items()}
        accelerator.backward(torch.stack(list(losses.values())).sum())
        norm = clip_gradients(self.model, self.settings.clip(primary=made.draw.primary))
        shown = global_losses(accelerator, losses)
        if all(map(math.isfinite, (norm, *shown.values()))):
            self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        return norm, shown


class RecordedSteps:
    """The same steps for one process on one GPU, as CUDA graphs: recorded for each task and length, then replayed.

    A step whose loss is not finite has changed the weights when it is noticed.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        settings: TrainSettings,
        precision: str,
        device: torch.device,
        *,
        record: Record | None = None,
    ) -> None:
        self.model, self.optimizer, self.settings = model, optimizer, settings
        self.precision, self.device = precision, device
        recordable(optimizer, device)
        self._recorded: Recorded[Scaled] = Recorded(record)

    def take(self, made: Step, rate: float, seed: int) -> tuple[float, dict[str, float]]:
        """The norm that the gradients had, and the tasks' losses. See `Steps.take`."""
        set_rates(self.optimizer, rate)
        scales = scales_of(made)
        given = Scaled(made.batch, tuple(scales), torch.tensor(list(scales.values()), device=self.device))
        found = self._recorded(
            given,
            seed,
            work=self._work,
            rehearse=self.gradients,
            forget=partial(self.optimizer.zero_grad, set_to_none=True),
        ).tolist()
        return found[0], dict(zip(scales, found[1:], strict=True))

    def gradients(self, given: Scaled) -> Tensor:
        """Scaled losses, (tasks,), and each parameter's gradient."""
        bf16 = self.precision == "bf16"
        # a recording keeps no casts of the weights: they would be those of the first step
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
            sums: dict[str, Tensor] = self.model(given.batch)
        losses = torch.stack([sums[task] for task in given.tasks]) * given.scales
        losses.sum().backward()
        return losses.detach()

    def _work(self, given: Scaled) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.gradients(given)
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = get_total_norm([cast(Tensor, parameter.grad) for parameter in parameters])
        limit = self.settings.clip(primary=isinstance(given.batch, PrimaryBatch))
        clip_grads_with_norm_(parameters, limit, norm)
        self.optimizer.step()
        return torch.cat([norm.reshape(1), losses])


def scales_of(made: Step, processes: int = 1) -> dict[str, float]:
    """What each task's summed loss is multiplied with: divided by the count over all processes; times their number, because their
    gradients are averaged."""
    return {task: processes * made.weight / max(1, count) for task, count in made.counts.items()}


def recordable(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Prepare an optimizer's steps for being recorded.

    Its learning rates become tensors, which replayed steps read. Parameters get the state that they have before a first step, where they
    have none: made while recording, it would be made anew by every replay.
    """
    rates = []
    for group in optimizer.param_groups:
        group["capturable"] = device.type == "cuda"
        rates.append(group["lr"])
        group["lr"] = torch.zeros((), device=device)
    without = [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if not optimizer.state.get(parameter)
    ]
    for parameter in without:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # which changes nothing
    optimizer.zero_grad(set_to_none=True)
    for parameter in without:
        for value in optimizer.state[parameter].values():
            value.zero_()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"].fill_(rate)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Make every learning rate so much of the group's "base_lr"."""
    for group in optimizer.param_groups:
        rate = group["base_lr"] * factor
        if isinstance(group["lr"], Tensor):  # which a recording reads
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
