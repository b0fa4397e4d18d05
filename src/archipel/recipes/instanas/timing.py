"""Wall-clock latency of every finished network, side by side."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from archipel.cost import measure
from archipel.instance.batch_cost import BatchCost
from archipel.instance.cascade import EVERYTHING, NOTHING, Cascade
from archipel.instance.network import InstanceNetwork
from archipel.metagraph import MetaGraph
from archipel.recipes.instanas.judging import Contestant
from archipel.recipes.instanas.study import Study

__all__ = ["time_all"]


def time_all(
    study: Study,
    everyone: list[Contestant],
    others: Mapping[str, nn.Module] = MappingProxyType({}),
    routing: BatchCost | None = None,
) -> dict[str, Any]:
    """Wall-clock milliseconds an image, controller included: at batch 1 and at the throughput batch.

    Validation images, batch norm folded, everybody in interleaved rounds of one session. At batch 1 a per-instance
    network runs the child of each image, extracted before; random policies are not timed (nobody serves them). How
    many images a cascade sends on decides what it takes, and a handful of images, or one batch, may hold
    more or fewer hard ones than there are: so at batch 1 the ways of leaving it are timed apart and weighted with the
    shares found on all of `val`, and of the batch as large shares go on.

    Args:
        others: networks by key that are ready to be called, timed with them.
        routing: says in which way a per-instance network runs a batch; without, by gathering.
    """
    options = study.settings.latency
    images = next(iter(study.task.loader("val", options.throughput_batch, device=study.device.torch_device))).inputs
    singles = [images[i : i + 1] for i in range(min(options.images, len(images)))]
    calls: dict[str, Callable[[], object]] = {}
    batched: dict[str, Callable[[], object]] = {}

    def each(network: nn.Module) -> None:
        for image in singles:
            network(image)

    for one in everyone:
        if one.kind == "random_policy":
            continue
        if isinstance(one.network, Cascade):
            last = len(one.network.thresholds)
            for way in range(last + 1):
                going = one.network.at([EVERYTHING] * way + [NOTHING] * (last - way))
                calls[f"{one.key}/{way}"] = partial(each, going)
            batched[one.key] = partial(typical(one.network, images, one.shares), images)
            continue
        if one.controller is not None:
            assert isinstance(one.network, MetaGraph)
            ready: nn.Module = study.on_device(InstanceNetwork(one.network, one.controller, routing=routing))
        else:
            ready = study.device.prepare(one.network)
        calls[f"{one.key}/0"] = partial(each, ready)
        batched[one.key] = partial(ready, images)
    for key, network in others.items():
        calls[f"{key}/0"], batched[key] = partial(each, network), partial(network, images)
    chance = random.Random(study.seed_of("timing"))
    progress, rounds = study.progress, options.final_rounds
    one_by_one = measure(calls, study.device, rounds=rounds, rng=chance, progress=progress, title="timing at batch 1")
    together = measure(
        batched,
        study.device,
        rounds=max(3, rounds // 2),
        rng=chance,
        progress=progress,
        title=f"timing at batch {len(images)}",
    )
    found, shares = {}, {one.key: one.shares or (1.0,) for one in everyone}
    for key in batched:
        ways = enumerate(shares.get(key, (1.0,)))
        ms = sum(share * one_by_one[f"{key}/{way}"].ms for way, share in ways)
        found[key] = {"measured_ms": ms / len(singles), "batch_ms": together[key].ms / len(images)}
    return found


@torch.no_grad()
def typical(cascade: Cascade, images: Tensor, shares: Sequence[float]) -> Cascade:
    """The cascade with thresholds under which its stages answer those shares of these images, in whole images.

    Args:
        shares: of all images, answered by each stage.
    """
    here, left, thresholds = torch.arange(len(images)), 0.0, []
    every = cascade.every_answer(images)
    for number, share in enumerate(shares[:-1]):
        left += share
        urges = cascade.urge(number, every[number, here]).double()
        order = urges.argsort(descending=True)
        count = min(len(here), round((1.0 - left) * len(images)))
        edges = [NOTHING, *urges[order].tolist(), EVERYTHING]
        thresholds.append((edges[count] + edges[count + 1]) / 2.0)
        here = here[order[:count].cpu()]
    return cascade.at(thresholds)
