"""Batch-norm statistics that fit the paths about to be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from archipel.errors import OptionError
from archipel.metagraph import MetaGraph, Route

__all__ = ["recalibrate"]


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor], route: Callable[[Tensor], Route] | None = None) -> None:
    """Replace running means and variances by their average over `batches`, weights untouched.

    Statistics gathered under one mix of paths are wrong under another: a meta-graph is recalibrated with the
    routes it is about to be judged by. Layers (and channels of elastic layers) that no batch reaches keep their old
    statistics.

    Args:
        batches: inputs `[B, ...]`; few large ones are better than many small ones, because an option that few
            samples choose is averaged over batches, not over samples.
        route: inputs → route, for a `MetaGraph`.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    counts = [norm.get_buffer("num_batches_tracked") for norm in norms]
    before = [(norm.momentum, int(count)) for norm, count in zip(norms, counts)]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for norm, count in zip(norms, counts):
        norm.train()
        norm.momentum = None  # a cumulative average, in which the first batch replaces what was there
        count.zero_()
    try:
        for inputs in batches:
            if isinstance(model, MetaGraph):
                if route is None:
                    raise OptionError("a meta-graph is recalibrated along routes; give `route`")
                model(inputs, route(inputs))
            else:
                model(inputs)
    finally:
        for norm, count, (momentum, known) in zip(norms, counts, before):
            norm.momentum = momentum
            if count == 0:
                count.fill_(known)
        for module, training in modes:
            module.training = training
