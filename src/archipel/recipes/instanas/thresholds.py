"""How the stages of a cascade pass images on, found on the images of `arch` and `val` together.

No stage has learnt from them. Temperatures and what passing an image on is worth are a handful of numbers, so the same
images can also say whether the stages answer as a committee, what decides and at which thresholds: a threshold chosen
on more of them is worth more than one on images apart. Costs are the latency table's. No network is trained here.

Letters: `S` stages, `N` images.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from archipel.deploy.forms import cascade
from archipel.instance.cascade import Cascade, CascadePoint, answers, frontier, sweep, temperature_for
from archipel.instance.escalation import Gain, doubt
from archipel.instance.variants import choose_variants
from archipel.nn.exits import Exits
from archipel.recipes.instanas.study import Study

__all__ = ["RULES", "SPLITS", "Answered", "Rule", "cascade_of", "height", "settled", "worth_having"]

SPLITS = ("arch", "val")
LATENCIES = 64
"""At so many, evenly spread, the accuracies that two ways of deciding reach are compared."""


class Rule(NamedTuple):
    """What decides, and who then answers."""

    committee: bool
    """Whether all stages that looked at an image answer it, or the last of them: see `Cascade`."""
    learnt: bool
    """Whether the gain decides who is passed on, or the doubt."""


RULES = tuple(Rule(committee, learnt) for committee, learnt in itertools.product((False, True), repeat=2))


@dataclass(frozen=True)
class Answered:
    """What the stages of a cascade answer, each every image, whether it gets there or not."""

    logits: Tensor
    """`[S, N, classes]`."""
    targets: Tensor
    """`[N]`."""
    costs_ms: tuple[float, ...]
    """Milliseconds an image that each stage adds."""
    temperatures: tuple[float, ...]

    @classmethod
    def of(cls, logits: Tensor, targets: Tensor, costs_ms: Sequence[float]) -> Answered:
        return cls(logits, targets, tuple(costs_ms), tuple(temperature_for(own, targets) for own in logits))

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of each stage alone."""
        return tuple((self.logits.argmax(2) == self.targets).double().mean(1).tolist())

    def _said(self, rule: Rule) -> tuple[Tensor, Tensor]:
        """Answers `[S, N, classes]`, and whether they are right, `[S, N]`."""
        said = answers(list(self.logits), self.temperatures, committee=rule.committee)
        return said, said.argmax(2) == self.targets

    def gains(self, rule: Rule) -> list[Gain] | None:
        """What the last stage is expected to be worth more than each before; None where the doubt decides."""
        if not rule.learnt:
            return None
        said, right = self._said(rule)
        return [Gain.fit(own, mine, right[-1]) for own, mine in zip(said[:-1], right)]

    def points(self, rule: Rule) -> list[CascadePoint]:
        """What comes of it at every combination of thresholds."""
        said, right = self._said(rule)
        gains: Sequence[Callable[[Tensor], Tensor]] = self.gains(rule) or [doubt] * (len(said) - 1)
        return sweep(torch.stack([urge(own) for urge, own in zip(gains, said)]), right, self.costs_ms)


def height(points: Sequence[CascadePoint], alone: Iterable[tuple[float, float]]) -> float:
    """How high the frontier of some networks stands with a cascade of them: the sum of its accuracies between the
    fastest and the slowest.

    Args:
        alone: milliseconds an image and accuracy of each network alone.
    """
    alone = list(alone)
    costs = [ms for ms, _ in alone]
    reached = [*alone, *((p.ms, p.accuracy) for p in frontier(points))]
    grid = torch.linspace(min(costs), max(costs), LATENCIES, dtype=torch.float64).tolist()
    return sum(max((a for ms, a in reached if ms <= latency), default=0.0) for latency in grid)


def worth_having(points: Sequence[CascadePoint], alone: Sequence[tuple[float, float]]) -> list[CascadePoint]:
    """The points of the frontier at which several stages answer something, and which no network alone beats; where
    there are none, the most accurate of all.

    Args:
        alone: milliseconds an image and accuracy of each network alone.
    """

    def beaten(point: CascadePoint) -> bool:
        return any(ms <= point.ms and accuracy >= point.accuracy for ms, accuracy in alone)

    several = [point for point in frontier(points) if max(point.shares) < 1.0 and not beaten(point)]
    return several or [max(points, key=lambda point: (point.accuracy, -point.ms))]


def settled(
    seen: Answered, rule: Rule, alone: Sequence[tuple[float, float]], count: int, target_ms: float | None
) -> dict[str, Any]:
    """A rule with some points along what it reaches, in plain values: what `cascade_of` reads and the report shows.

    Args:
        alone: milliseconds an image and accuracy of each network alone.
        count: of points.
        target_ms: one point has at most so many milliseconds, if it can.
    """
    every = seen.points(rule)
    points = worth_having(every, alone)
    rows = [{"epoch": i, "val_accuracy": p.accuracy, "map_ms": p.ms} for i, p in enumerate(points)]
    names = choose_variants(rows, count, validation_images=len(seen.targets), target_ms=target_ms)
    chosen = {name: points[int(i)] for name, i in names.items()}
    gains = seen.gains(rule)
    return {
        "committee": rule.committee,
        "gains": None if gains is None else [{"weights": g.weights.tolist(), "bias": float(g.bias)} for g in gains],
        "costs_ms": seen.costs_ms,
        "temperatures": seen.temperatures,
        "points": {name: _told(point) for name, point in chosen.items()},
        "frontier": [_told(point) for point in frontier(every)],
    }


def _told(point: CascadePoint) -> dict[str, Any]:
    return {
        "thresholds": point.thresholds,
        "shares": point.shares,
        "val_accuracy": point.accuracy,
        "val_ms": point.ms,
    }


def cascade_of(study: Study, stages: Sequence[nn.Module] | Exits, done: Mapping[str, Any], name: str) -> Cascade:
    """The cascade at one of its points.

    Args:
        stages: as `Cascade` takes them.
        done: what `settled` made.
    """
    whole: Cascade = study.on_device(cascade(stages, done, done["points"][name]["thresholds"]))
    return whole
