"""A running average of the weights, which often serves better than the last ones (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["in_its_place", "running_average"]

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def running_average(model: nn.Module, decay: float) -> AveragedModel:
    """An average of `model`'s weights and batch-norm statistics, to be updated after every step.

    After update n, counted from 0, it is d·average + (1 − d)·model with d = min(decay, (1 + n) / (10 + n)): a short
    training's average forgets the first weights too (as TensorFlow's ExponentialMovingAverage). Counters are copied.
    """

    def update(averaged: Tensors, now: Tensors, n: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            kept = min(decay, float((1 + n) / (10 + n)))
            torch._foreach_lerp_(averaged, now, 1.0 - kept)
        else:
            torch._foreach_copy_(averaged, now)

    return AveragedModel(model, multi_avg_fn=torch.no_grad()(update), use_buffers=True)


@contextmanager
def in_its_place(average: AveragedModel | None, model: nn.Module) -> Iterator[None]:
    """Within the block `model` has the averaged weights, behind it its own again; None changes nothing."""
    if average is None:
        yield
        return
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(average.module.state_dict())
    try:
        yield
    finally:
        model.load_state_dict(own)
