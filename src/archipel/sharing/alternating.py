"""Weights and gates by turns: the search of ProxylessNAS and its kin, in which a distribution over architectures is
learnt beside the weights they share.

Weights are trained on `train` along sampled paths (`weight_epoch`); every few steps the gates learn from a batch of
`arch`, which no weight ever sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import torch
from torch.amp import GradScaler

from archipel.errors import OptionError
from archipel.progress import SILENT, Progress
from archipel.sharing.binarisation import ArchitectureStep, Sampled
from archipel.sharing.penalty import Penalty
from archipel.sharing.training import Checkpoints, Optimisation, seed_of, sgd, weight_epoch
from archipel.tasks.task import Batch, Task

__all__ = ["Alternation", "alternate"]


@dataclass(frozen=True)
class Alternation:
    """When gates learn."""

    every: int = 5
    """Steps of the weights between two steps of the gates."""
    settling: int = 1
    """Epochs at the beginning in which only weights learn."""
    batch: int = 64
    """Images of a step of the gates."""
    lr: float = 1e-3
    """Of the gates (Adam)."""
    paths: Literal["batch", "image"] = "batch"
    """In a step of the weights every `batch` takes one path, as published, or every `image` its own."""

    def __post_init__(self) -> None:
        for name, least in (("every", 1), ("settling", 0), ("batch", 2)):
            if getattr(self, name) < least:
                raise OptionError(f"alternation.{name} is {getattr(self, name)}; give {least} or more")
        if self.paths not in ("batch", "image"):
            raise OptionError(f"alternation.paths is '{self.paths}'; give batch or image")
        if not self.lr > 0.0:
            raise OptionError(f"alternation.lr is {self.lr:g}; give a number above 0")


def alternate(
    step: ArchitectureStep,
    task: Task,
    weights: Optimisation,
    options: Alternation,
    *,
    title: str,
    seed: int,
    penalty: Penalty | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoints | None = None,
    progress: Progress = SILENT,
    validate: Callable[[int], dict[str, float]] | None = None,
) -> list[dict[str, float]]:
    """Train weights and gates for all epochs of `weights`, going on from the checkpoint where there is one.

    Args:
        step: of the gates; it holds the meta-graph and their optimiser.
        title: shown beside the bar, and part of every epoch's seed.
        penalty: the loss form that `step` combines with, told the expected cost after every step.
        validate: called after each epoch with its number (from 0); what it returns is kept with the epoch.

    Returns:
        One row an epoch: `epoch`; `loss` of the weights; `arch_loss` and the other figures of the gates' steps, each
        the epoch's mean, except `entropy`, `confidence`, `expected_cost`, `argmax_cost` and `signal_to_noise`, which
        are as they were at its end; what `validate` returned.

    Raises:
        OptionError: `float16` on a device that cannot train in it.
    """
    weights.check(device)
    graph, policy = step.graph, Sampled(step.gates, options.paths)
    scaler = GradScaler(enabled=weights.precision == "float16")
    optimiser = sgd(graph, weights)
    parts: dict[str, Any] = {
        "graph": graph, "gates": step.gates, "weights": optimiser, "alphas": step.optimiser, "step": step.state_dict(),
    }  # fmt: skip
    if penalty is not None:
        parts["penalty"] = penalty
    history: list[dict[str, float]] = []
    if checkpoint is not None and (kept := checkpoint.load(parts)) is not None:
        history = kept["history"]
        scaler.load_state_dict(kept["scaler"])
        step.load_state_dict(parts["step"])
    steps = len(task.loader("train", weights.batch, seed=0))
    with progress.bar(title, weights.epochs * steps) as bar:
        bar.advance(len(history) * steps)
        for epoch in range(len(history), weights.epochs):
            epoch_seed = seed_of(seed, title, epoch)
            chance = torch.Generator().manual_seed(seed_of(epoch_seed, "gates"))
            batches = _endless(task, options.batch, seed_of(epoch_seed, "arch"), device)
            found: list[dict[str, float]] = []

            def between(
                done: int,
                learns: bool = epoch >= options.settling,
                batches: Iterator[Batch] = batches,
                chance: torch.Generator = chance,
                found: list[dict[str, float]] = found,
            ) -> None:
                if learns and done % options.every == 0:
                    found.append(step(next(batches), task, chance))
                    if penalty is not None:
                        penalty.after_step(found[-1]["expected_cost"])
                    shown = ("entropy", "confidence", "expected_cost", "signal_to_noise")
                    bar.advance(0, **{name: found[-1][name] for name in shown if name in found[-1]})

            row = weight_epoch(
                graph,
                task,
                optimiser,
                policy=policy,
                batch_size=weights.batch,
                seed=epoch_seed,
                done=lambda share, epoch=epoch: (epoch + share) / weights.epochs,  # type: ignore[misc]
                lr=weights.lr_at,
                clip=weights.clip,
                label_smoothing=weights.label_smoothing,
                precision=weights.precision,
                scaler=scaler,
                device=device,
                bar=bar,
                after=between,
            )
            row = {"epoch": epoch, **row, **_summed_up(found), **(validate(epoch) if validate else {})}
            history.append(row)
            bar.advance(0, **{name: value for name, value in row.items() if name != "epoch"})
            if checkpoint is not None:
                parts["step"] = step.state_dict()
                checkpoint.save(parts, {"history": history, "scaler": scaler.state_dict()})
    return history


_STATES = ("entropy", "confidence", "expected_cost", "argmax_cost", "signal_to_noise")


def _summed_up(found: list[dict[str, float]]) -> dict[str, float]:
    if not found:
        return {}
    means = {name: fmean(each[name] for each in found) for name in found[0] if name not in _STATES}
    last = {name: value for name, value in found[-1].items() if name in _STATES}
    return {"arch_loss" if name == "loss" else name: value for name, value in {**means, **last}.items()}


def _endless(task: Task, batch: int, seed: int, device: torch.device | str) -> Iterator[Batch]:
    """Batches of the architecture's split, dealt anew whenever they run out."""
    turn = 0
    while True:
        yield from task.loader("arch", batch, seed=seed_of(seed, turn), device=device)
        turn += 1
