"""The one loop that trains weights: of a plain network, or of a meta-graph along drawn routes.

An epoch's chance (data order, augmentation, routes, dropout) comes from the seed, the title and the epoch's
number alone, and a checkpoint is written after each: a run killed anywhere and continued ends as if it had not been.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from archipel.errors import OptionError
from archipel.metagraph import MetaGraph, Route
from archipel.nn.drop_path import DropPath
from archipel.nn.exits import Exits
from archipel.progress import SILENT, Bar, Progress
from archipel.sharing.averaging import in_its_place, running_average
from archipel.sharing.distillation import Distillation
from archipel.sharing.policies import PathPolicy, StepPolicy
from archipel.tasks.task import Task

__all__ = ["Checkpoints", "Optimisation", "Precision", "seed_of", "sgd", "train", "weight_epoch"]

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Optimisation:
    """How weights are trained: SGD with Nesterov momentum."""

    epochs: int
    batch: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """Not applied to batch norm and biases."""
    decay: Literal["cosine", "steps", "constant"] = "cosine"
    """`steps`: × 0.1 at 1/2 and 3/4 of the training."""
    warmup: float = 0.0
    """Share of the training over which the learning rate rises linearly from 0."""
    clip: float | None = None
    """Largest gradient norm."""
    label_smoothing: float = 0.0
    """Share of a label that is spread evenly over all classes, in the training loss only."""
    precision: Precision = "float32"
    """Of the forward pass in training, by autocast; weights and evaluation stay in float32. float16 needs CUDA."""
    ema: float = 0.0
    """Decay of a running average of the weights (0.999, say), which is then what is evaluated and kept; 0: none."""

    def __post_init__(self) -> None:
        stage = type(self).__name__.lower()
        for name, least in (("epochs", 0), ("batch", 2)):  # batch norm cannot be trained on one sample
            if getattr(self, name) < least:
                raise OptionError(f"{stage}.{name} is {getattr(self, name)}; give {least} or more")
        if not self.lr > 0.0:
            raise OptionError(f"{stage}.lr is {self.lr:g}; give a number above 0")
        if not 0.0 <= self.warmup < 1.0:
            raise OptionError(f"{stage}.warmup is {self.warmup:g}; give a share from 0 to below 1")
        for name in ("label_smoothing", "ema"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise OptionError(f"{stage}.{name} is {getattr(self, name):g}; give a number from 0 to below 1")
        if self.precision not in _TYPES:
            raise OptionError(f"{stage}.precision is '{self.precision}'; choose from {', '.join(_TYPES)}")

    def check(self, device: torch.device | str) -> None:
        """Whether a device can train so.

        Raises:
            OptionError: `float16` on one that cannot.
        """
        if self.precision == "float16" and torch.device(device).type != "cuda":
            stage = type(self).__name__.lower()
            raise OptionError(f"{stage}.precision is float16, which needs CUDA; give bfloat16 on '{device}'")

    def lr_at(self, done: float) -> float:
        """Learning rate when a share `done` of the training is behind us."""
        if done < self.warmup:
            return self.lr * min(1.0, (done + 1e-3) / self.warmup)  # a first step of 0 would be none
        if self.decay == "cosine":
            return self.lr * 0.5 * (1.0 + math.cos(math.pi * (done - self.warmup) / (1.0 - self.warmup)))
        if self.decay == "steps":
            return self.lr * 0.1 ** (int(done >= 0.5) + int(done >= 0.75))
        return self.lr


class Checkpoints(Protocol):
    """Where a stage is kept between epochs (`archipel.run.checkpoint`): written whole or not at all."""

    def save(self, parts: Mapping[str, Any], meta: dict[str, Any]) -> None: ...

    def load(self, parts: Mapping[str, Any]) -> dict[str, Any] | None:
        """Restore `parts` in place and return the meta data, or None where nothing was kept yet."""


def seed_of(*parts: object) -> int:
    """A seed that depends on every part (run seed, stage, epoch …) and is the same in every process."""
    return zlib.crc32(repr(parts).encode()) + (zlib.adler32(repr(parts).encode()) << 31)


def sgd(model: nn.Module, options: Optimisation) -> Optimizer:
    """SGD over the model's parameters; weight decay on weights of layers only."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    momentum = options.momentum
    return torch.optim.SGD([g for g in groups if g["params"]], lr=options.lr, momentum=momentum, nesterov=momentum > 0)


def weight_epoch(
    model: nn.Module,
    task: Task,
    optimiser: Optimizer,
    *,
    policy: PathPolicy | StepPolicy | None = None,
    distillation: Distillation | None = None,
    split: str = "train",
    batch_size: int,
    seed: int,
    done: Callable[[float], float] = lambda share: share,
    lr: Callable[[float], float] | None = None,
    clip: float | None = None,
    label_smoothing: float = 0.0,
    precision: Precision = "float32",
    scaler: GradScaler | None = None,
    average: AveragedModel | None = None,
    penalty: Callable[[], Tensor] | None = None,
    device: torch.device | str = "cpu",
    bar: Bar | None = None,
    after: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """One pass over a split, training the weights of `model`; of early exits (`nn.exits`) all at once.

    Args:
        policy: draws the route of each batch, or its routes, whose gradients add up to one step; required for a
            `MetaGraph`, meaningless for a plain network.
        distillation: soft targets beside the labels, from another network, from a step's first route or the last exit.
        done: share of this epoch behind us → share of the whole training behind us.
        lr: learning rate as a function of that share; the optimiser's own where not given.
        label_smoothing: of the loss that is minimised; only for tasks whose loss knows it.
        scaler: of the loss, where gradients would underflow (`float16`).
        average: updated after every step.
        penalty: added to the loss of every route, asked after its forward pass: what it has noted on the way.
        after: called after every step with how many have been done; it may train what is not weights.

    Returns:
        Mean `loss` over the samples, and over the routes or exits where there are several.
    """
    loader = task.loader(split, batch_size, seed=seed, device=device)
    generator = torch.Generator().manual_seed(seed_of(seed, "routes"))
    torch.manual_seed(seed_of(seed, "dropout"))
    model.train()
    smoothed = {"label_smoothing": label_smoothing} if label_smoothing else {}
    scaler = scaler or GradScaler(enabled=False)
    mixed = torch.autocast(torch.device(device).type, _TYPES[precision], enabled=precision != "float32")
    total, count = torch.zeros((), device=device), 0
    learning = distillation or Distillation(0.0)
    teacher = None if learning.teacher is None else learning.teacher.eval()
    scheduled = [part for part in model.modules() if isinstance(part, DropPath)]
    for i, batch in enumerate(loader):
        now = done(i / len(loader))
        for part in scheduled:
            part.done = now
        if lr is not None:
            for group in optimiser.param_groups:
                group["lr"] = lr(now)
        optimiser.zero_grad(set_to_none=True)
        routes: Sequence[Route | None] = [None]
        if isinstance(model, MetaGraph):
            if policy is None:
                raise OptionError("a meta-graph is trained along routes; give `policy`")
            if isinstance(policy, StepPolicy):
                routes = policy.routes(batch, now, generator)
            else:
                routes = [policy.route(batch, now, generator)]
        soft: Tensor | None = None
        if teacher is not None:
            with torch.no_grad(), mixed:
                soft = teacher(batch.inputs).float()
        for route in routes:
            with mixed:
                outputs = _outputs(model, batch.inputs, route)
            losses = []
            for output in outputs:
                output = output.float() if precision != "float32" else output
                losses.append(learning.loss(task, output, batch, soft, **smoothed))
                soft = output.detach() if soft is None else soft
            loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
            if penalty is not None:
                loss = loss + penalty()
            scaler.scale(loss).backward()
            total += loss.detach() * (len(batch.targets) / len(routes))
        if clip is not None:
            scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimiser)
        scaler.update()
        if average is not None:
            average.update_parameters(model)
        count += len(batch.targets)
        if bar is not None:
            bar.advance()
        if after is not None:
            after(i + 1)
            model.train()
    return {"loss": float(total) / max(1, count)}


def _outputs(model: nn.Module, inputs: Tensor, route: Route | None) -> list[Tensor]:
    """What is learnt from: the output; of early exits every one, the last first, so that it can teach the others."""
    if isinstance(model, Exits):
        return model.answers(inputs)[::-1]
    return [model(inputs) if route is None else model(inputs, route)]


def train(
    model: nn.Module,
    task: Task,
    options: Optimisation,
    *,
    title: str,
    seed: int,
    policy: PathPolicy | StepPolicy | None = None,
    distillation: Distillation | None = None,
    split: str = "train",
    device: torch.device | str = "cpu",
    checkpoint: Checkpoints | None = None,
    progress: Progress = SILENT,
    validate: Callable[[int], dict[str, float]] | None = None,
    until: Callable[[Sequence[Mapping[str, float]]], bool] | None = None,
) -> list[dict[str, float]]:
    """Train for all epochs of `options`, going on from the checkpoint where there is one.

    Args:
        title: shown beside the bar, and part of every epoch's seed.
        policy, distillation: as `weight_epoch`.
        validate: called after each epoch with its number (from 0); what it returns is kept with the epoch. With
            `options.ema` the model has the averaged weights then, and at the end of the training.
        until: asked with the rows so far before each epoch but the first; the training ends where it is so.

    Returns:
        One row an epoch: `epoch`, `loss` and what `validate` returned.

    Raises:
        OptionError: `float16` on a device that cannot train in it.
    """
    options.check(device)
    scaler = GradScaler(enabled=options.precision == "float16")
    optimiser = sgd(model, options)
    average = running_average(model, options.ema) if options.ema else None
    parts: dict[str, Any] = {"model": model, "optimiser": optimiser}
    if average is not None:
        parts["average"] = average
    history: list[dict[str, float]] = []
    if checkpoint is not None and (kept := checkpoint.load(parts)) is not None:
        history = kept["history"]
        scaler.load_state_dict(kept.get("scaler", {}))
    steps = len(task.loader(split, options.batch, seed=0))
    with progress.bar(title, options.epochs * steps) as bar:
        bar.advance(len(history) * steps)
        for epoch in range(len(history), options.epochs):
            if until is not None and history and until(history):
                break
            row = weight_epoch(
                model,
                task,
                optimiser,
                policy=policy,
                distillation=distillation,
                split=split,
                batch_size=options.batch,
                seed=seed_of(seed, title, epoch),
                done=lambda share, epoch=epoch: (epoch + share) / options.epochs,  # type: ignore[misc]
                lr=options.lr_at,
                clip=options.clip,
                label_smoothing=options.label_smoothing,
                precision=options.precision,
                scaler=scaler,
                average=average,
                device=device,
                bar=bar,
            )
            with in_its_place(average, model):
                row = {"epoch": epoch, **row, **(validate(epoch) if validate else {})}
            history.append(row)
            bar.advance(0, **{name: value for name, value in row.items() if name != "epoch"})
            if checkpoint is not None:
                checkpoint.save(parts, {"history": history, "scaler": scaler.state_dict()})
    if average is not None and history:
        model.load_state_dict(average.module.state_dict())
    return history
