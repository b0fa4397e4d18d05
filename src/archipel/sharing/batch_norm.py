"""Batch-norm statistics that fit the paths about to be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from archipel.metagraph import MetaGraph, Route

__all__ = ["recalibrate"]


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor], route: Callable[[Tensor], Route] | None = None) -> None:
    """Replace running means and variances by their average over `batches`, weights untouched.

    Statistics gathered under one mix of paths are wrong under another: a meta-graph is recalibrated with the
    routes it is about to be judged by. Layers that no batch reaches keep their old statistics.

    Args:
        batches: inputs `[B, ...]`; few large ones are better than many small ones, because an option that few
            samples choose is averaged over batches, not over samples.
        route: inputs → route, for a `MetaGraph`.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    before = [(m.training, m.momentum, {n: b.clone() for n, b in m.named_buffers()}) for m in norms]
    was_training = model.training
    model.eval()
    for norm in norms:
        norm.train()
        norm.momentum = None  # a cumulative average
        norm.reset_running_stats()
    for inputs in batches:
        if isinstance(model, MetaGraph):
            assert route is not None
            model(inputs, route(inputs))
        else:
            model(inputs)
    for norm, (training, momentum, buffers) in zip(norms, before):
        norm.momentum = momentum
        norm.train(training)
        if norm.num_batches_tracked == 0:
            norm.load_state_dict(buffers, strict=False)
    model.train(was_training)
