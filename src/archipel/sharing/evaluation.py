"""What a network, or a meta-graph along given routes, is worth on a split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from archipel.errors import OptionError
from archipel.metagraph import MetaGraph, Route
from archipel.tasks.task import Batch, Task

__all__ = ["Outcome", "evaluate", "predictions"]

RouteOf = Callable[[Batch], Route]


@dataclass(frozen=True)
class Outcome:
    """Metrics of one evaluation; `score` is larger-is-better (accuracy in 0..1 for classification)."""

    score: float
    metrics: dict[str, float]


@torch.no_grad()
def predictions(
    model: nn.Module,
    task: Task,
    split: str,
    *,
    route: RouteOf | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> list[tuple[Batch, Any]]:
    """Every batch of a split, in its fixed order, with what the model gives for it (evaluation mode)."""
    model.eval()
    collected = []
    for batch in task.loader(split, batch_size, device=device):
        if isinstance(model, MetaGraph):
            if route is None:
                raise OptionError("a meta-graph is judged along routes; give `route`")
            collected.append((batch, model(batch.inputs, route(batch))))
        else:
            collected.append((batch, model(batch.inputs)))
    return collected


def evaluate(
    model: nn.Module,
    task: Task,
    split: str,
    *,
    route: RouteOf | None = None,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Outcome:
    """The task's metrics on a split (evaluation mode, running statistics)."""
    metric = task.metric()
    for batch, output in predictions(model, task, split, route=route, batch_size=batch_size, device=device):
        metric.update(output, batch)
    metrics = metric.compute()
    return Outcome(metrics["score"], metrics)
