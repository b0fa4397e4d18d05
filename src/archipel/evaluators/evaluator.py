"""What says how good an architecture is, and which of the figures are to be made better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from archipel.architecture import Architecture
from archipel.space import Space

__all__ = ["SECONDS", "Evaluator", "Metrics", "Objective", "scores_of"]

Metrics: TypeAlias = Mapping[str, float]
"""Figures of one architecture by name. Accuracies are per cent; `SECONDS` is what finding them out cost."""

SECONDS = "seconds"
"""The metric that budgets count: measured where an architecture is trained, simulated where it is looked up."""


@dataclass(frozen=True)
class Objective:
    """A metric that a search makes better."""

    metric: str
    maximise: bool = True

    def score(self, metrics: Metrics) -> float:
        """The metric, larger is better."""
        return metrics[self.metric] if self.maximise else -metrics[self.metric]


class Evaluator(Protocol):
    """Architecture → metrics: look it up, train it, inherit weights, predict it."""

    @property
    def space(self) -> Space: ...

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is searched for; the first is what one best architecture is best in."""

    def __call__(self, architecture: Architecture, /) -> Metrics:
        """The figures of an architecture, those of all objectives among them.

        Raises:
            EvaluationError: it has none: it cannot be trained, or a device does not run it.
        """


def scores_of(metrics: Metrics, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """One score an objective, larger is better."""
    return tuple(objective.score(metrics) for objective in objectives)
