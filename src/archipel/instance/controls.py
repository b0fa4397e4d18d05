"""What instance-awareness is measured against: static children and random policies at the same latency.

Letters: `N` images, `D` code columns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.instance.code_cost import CodeCost
from archipel.instance.policy import CodePolicy
from archipel.instance.random_policy import RandomPolicy
from archipel.metagraph import MetaGraph
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.evaluation import evaluate
from archipel.tasks.task import Task

__all__ = ["best_static_child", "candidates", "dearest", "most_common", "shuffled", "static_union"]


def most_common(codes: Tensor) -> Tensor:
    """The code `[D]` that most of `[N, D]` share."""
    unique, counts = codes.unique(dim=0, return_counts=True)
    return unique[counts.argmax()]


def static_union(codes: Tensor) -> Tensor:
    """The code `[D]` with every bit that any image uses: what a dense implementation would run for all.

    Only a space whose choices are all subsets has one.
    """
    return codes.any(0)


def shuffled(codes: Tensor, generator: torch.Generator) -> Tensor:
    """The same architectures dealt to other images: equal mean latency, no instance-awareness."""
    return codes[torch.randperm(len(codes), generator=generator)]


def dearest(codes: Tensor, cost: CodeCost) -> Tensor:
    """The code `[D]` of the slowest architecture that any image uses."""
    return codes[cost(codes).argmax()]


def candidates(
    cost: CodeCost, budget_ms: float, codes: Tensor, *, count: int, generator: torch.Generator
) -> list[Architecture]:
    """Static children not slower than `budget_ms`: random ones that use most of it, and those the policy suggests.
    The cheapest child of the space is always one of them.

    Args:
        codes: `[N, D]`, what the policy picks for N images: its most common architecture, and what it sets each choice
            to most often, are candidates too where they fit.
    """
    space = cost.space
    drawn = RandomPolicy.costing(cost, budget_ms, generator).draw(32 * count, generator)
    latency = cost(drawn)
    fits = latency <= budget_ms
    order = latency.masked_fill(~fits, -1.0).argsort(descending=True)
    near = order[: min(4 * count, int(fits.sum()))]
    near = near[torch.randperm(len(near), generator=generator)][:count]
    pool = [space.decode(code) for code in drawn[near]]
    majority = CodePolicy(space).mode(codes.double().mean(0, keepdim=True) - 0.5)[0]
    suggested = [code for code in (most_common(codes), majority) if float(cost(code[None])[0]) <= budget_ms]
    return list(dict.fromkeys([*pool, *map(space.decode, suggested), cost.cheapest()]))


def best_static_child(
    graph: MetaGraph,
    task: Task,
    pool: Iterable[Architecture],
    *,
    calibration: Callable[[], Iterable[Tensor]],
    fits: Callable[[Architecture], bool],
    steps: int = 0,
    seed: int = 0,
    split: str = "val",
    device: torch.device | str = "cpu",
    advance: Callable[[], None] = lambda: None,
) -> tuple[Architecture, float]:
    """The child of the meta-graph with the best score on `split`, each judged with statistics of its own: of a pool,
    and then of children one decision away from the best so far.

    Args:
        fits: whether a child is fast enough; the pool is taken as it is.
        steps: how many children beyond the pool are judged, if there are so many.

    Returns:
        The architecture and its score.
    """
    rng, judged = random.Random(seed), dict[Architecture, float]()

    def judge(architecture: Architecture) -> None:
        child = graph.extract(architecture)
        recalibrate(child, calibration())
        judged[architecture] = evaluate(child, task, split, device=device).score
        advance()

    for architecture in pool:
        judge(architecture)
    for _ in range(steps):
        best = max(judged, key=judged.__getitem__)
        near = [a for a in graph.space.neighbours(best, rng) if a not in judged]
        rng.shuffle(near)
        step = next(filter(fits, near), None)
        if step is None:
            break
        judge(step)
    best = max(judged, key=judged.__getitem__)  # of equals the first
    return best, judged[best]
