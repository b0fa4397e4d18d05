"""Path policies: who draws the route of a training batch.

Letters: `B` batch, `D` code columns of the space.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.metagraph import PerInstance, Route, Single
from archipel.space import Space
from archipel.tasks.task import Batch

__all__ = ["Drawn", "Fixed", "KeepSchedule", "PathPolicy", "StepPolicy", "Uniform", "draw_codes"]


class PathPolicy(Protocol):
    """Draws the route of each batch of a training loop."""

    def route(self, batch: Batch, done: float, generator: torch.Generator) -> Route:
        """
        Args:
            done: share of the whole training behind us, 0 ≤ done < 1.
            generator: the only source of chance, so that a resumed run draws what the uninterrupted one drew.
        """


@runtime_checkable
class StepPolicy(Protocol):
    """Draws several routes for each batch, whose gradients add up to one step (`sandwich.Sandwich`)."""

    def routes(self, batch: Batch, done: float, generator: torch.Generator) -> Sequence[Route]:
        """At least one; the first can teach the others. Arguments as of `PathPolicy.route`."""


class Fixed:
    """Always the same child."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def route(self, batch: Batch, done: float, generator: torch.Generator) -> Route:  # noqa: ARG002
        return Single(self.architecture)


class Uniform:
    """One uniformly drawn child a batch (single-path one-shot, Guo et al. 2020)."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def route(self, batch: Batch, done: float, generator: torch.Generator) -> Route:  # noqa: ARG002
        return Single(self.space.sample(_python_rng(generator)))


class KeepSchedule:
    """Pre-training routes: everything on at first, then options dropped independently, per sample and per option,
    with a probability that rises linearly (InstaNAS).

    A subset choice keeps each option with probability keep(done); any other choice (it has no "all on") takes a
    uniformly drawn option per sample throughout.

    Args:
        final: keep probability at the end (0.5 in the released program).
        start: share of the training before dropping begins (0.5 in the released program).
        spread: every sample draws a keep probability of its own, uniformly from keep(done) to 1, so that cheap
            children are trained as often as dear ones (the released program gives all samples the same).
    """

    def __init__(self, space: Space, *, final: float = 0.5, start: float = 0.5, spread: bool = False) -> None:
        self.space = space
        self.final = final
        self.start = start
        self.spread = spread

    def keep(self, done: float) -> float:
        """Keep probability (with `spread`: the lowest) when a share `done` of the training is behind us."""
        dropping = max(0.0, done - self.start) / (1.0 - self.start) if self.start < 1.0 else 0.0
        return 1.0 - (1.0 - self.final) * dropping

    def route(self, batch: Batch, done: float, generator: torch.Generator) -> Route:
        keep: float | Tensor = self.keep(done)
        if self.spread:
            keep = keep + (1.0 - keep) * torch.rand(len(batch.inputs), generator=generator)
        return PerInstance(draw_codes(self.space, len(batch.inputs), keep, generator))


class Drawn:
    """A child per sample, its code drawn by a function of the inputs: a controller, or a random control."""

    def __init__(self, draw: Callable[[Tensor, torch.Generator], Tensor]) -> None:
        self.draw = draw

    def route(self, batch: Batch, done: float, generator: torch.Generator) -> Route:  # noqa: ARG002
        return PerInstance(self.draw(batch.inputs, generator))


def draw_codes(space: Space, count: int, keep: float | Tensor, generator: torch.Generator) -> Tensor:
    """Codes of random architectures: subset options on with probability `keep` each, other choices uniform.

    Where the empty subset is not allowed, an empty draw becomes one uniformly drawn option.

    Args:
        keep: one probability, or one a sample `[B]`.

    Returns:
        `[count, D]`, bool, canonical.
    """
    codes = torch.zeros(count, space.width, dtype=torch.bool)
    keep = keep[:, None] if isinstance(keep, Tensor) else keep
    for choice in space.choices:
        noise = torch.rand(count, len(choice.options), generator=generator)
        own = codes[:, space.slices[choice.name]]
        if choice.kind == "subset":
            own[:] = noise < keep
            if choice.empty is None:
                own |= ~own.any(1, keepdim=True) & (noise == noise.min(1, keepdim=True).values)
        else:
            own.scatter_(1, noise.topk(choice.k, dim=1).indices, True)
    return space.complete(codes)


def _python_rng(generator: torch.Generator) -> random.Random:
    return random.Random(int(torch.randint(2**62, (1,), generator=generator)))
