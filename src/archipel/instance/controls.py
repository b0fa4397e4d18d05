"""What instance-awareness is measured against: static children and random policies at the same latency.

Letters: `N` images, `D` code columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.instance.code_cost import CodeCost
from archipel.metagraph import MetaGraph
from archipel.sharing.batch_norm import recalibrate
from archipel.sharing.evaluation import evaluate
from archipel.sharing.policies import draw_codes
from archipel.tasks.task import Task

__all__ = ["best_static_child", "candidates", "keep_for", "most_common", "shuffled", "static_union"]


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


def candidates(
    graph: MetaGraph, cost: CodeCost, budget_ms: float, codes: Tensor, *, count: int, generator: torch.Generator
) -> list[Architecture]:
    """Static children not slower than `budget_ms`: random ones that use most of it, and those the policy suggests.
    The cheapest child of the space is always one of them.

    Args:
        codes: `[N, D]`, what the policy picks for N images: its most common architecture and its majority vote
            are candidates too where they fit.
    """
    space = graph.space
    keep = torch.rand(64 * count, generator=generator)
    drawn = draw_codes(space, 64 * count, keep, generator)
    latency = cost(drawn)
    fits = latency <= budget_ms
    order = latency.masked_fill(~fits, -1.0).argsort(descending=True)
    near = order[: min(4 * count, int(fits.sum()))]
    near = near[torch.randperm(len(near), generator=generator)][:count]
    pool = [space.decode(code) for code in drawn[near]]
    majority = codes.double().mean(0, keepdim=True) >= 0.5
    subsets_only = all(choice.kind == "subset" for choice in space.choices)
    suggested = [most_common(codes)]
    if subsets_only and all(choice.empty is not None for choice in space.choices):
        suggested.append(space.complete(majority)[0])
    pool += [space.decode(code) for code in suggested if float(cost(code[None])[0]) <= budget_ms]
    return list(dict.fromkeys([*pool, cost.cheapest()]))


def best_static_child(
    graph: MetaGraph,
    task: Task,
    pool: Iterable[Architecture],
    *,
    calibration: Callable[[], Iterable[Tensor]],
    split: str = "val",
    device: torch.device | str = "cpu",
    advance: Callable[[], None] = lambda: None,
) -> tuple[Architecture, float]:
    """The child of the meta-graph with the best score on `split`, each judged with statistics of its own.

    Returns:
        The architecture and its score.
    """
    best: tuple[Architecture, float] | None = None
    for architecture in pool:
        child = graph.extract(architecture)
        recalibrate(child, calibration())
        score = evaluate(child, task, split, device=device).score
        advance()
        if best is None or score > best[1]:
            best = architecture, score
    assert best is not None
    return best


def keep_for(graph: MetaGraph, cost: CodeCost, target_ms: float, generator: torch.Generator) -> float:
    """Keep probability at which random architectures cost `target_ms` on average (bisection on fixed noise)."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2.0
        drawn = draw_codes(graph.space, 512, middle, torch.Generator().manual_seed(seed))
        if float(cost(drawn).mean()) > target_ms:
            high = middle
        else:
            low = middle
    return (low + high) / 2.0
