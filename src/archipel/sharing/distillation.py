"""Soft targets: what another network says of a batch, learnt beside the labels or in their place (Hinton et al. 2015).

In place (universally slimmable networks, Yu & Huang, ICCV 2019; BigNAS, Yu et al., ECCV 2020) the other network is the
first child of the same training step, and costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.tasks.task import Task

__all__ = ["Distillation"]


@dataclass(frozen=True)
class Distillation:
    """How much is learnt from a teacher's answers, and who that is.

    loss = (1 - weight) · loss(labels) + weight · soft loss(teacher's output, which carries no gradient).

    Raises:
        OptionError: a weight outside 0..1.
    """

    weight: float = 1.0
    """Of the soft target; at 1 the labels are not looked at (both papers)."""
    teacher: nn.Module | None = None
    """A plain network, which is not trained; None: the first child of each step, which itself learns from labels."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight <= 1.0:
            raise OptionError(f"distillation has weight {self.weight:g}; give a share from 0 to 1")

    def soften(self, task: Task) -> Callable[[Tensor, Tensor], Tensor]:
        """(output, teacher's output) → the task's soft loss.

        Raises:
            OptionError: the task has none.
        """
        found: Callable[[Tensor, Tensor], Tensor] | None = getattr(task, "soft_loss", None)
        if found is None:
            raise OptionError(f"task '{task.spec.name}' has no soft targets to learn from; set distillation to 0")
        return found

    def loss(self, task: Task, output: Tensor, batch: Any, soft: Tensor | None, **of_labels: float) -> Tensor:
        """Of one child.

        Args:
            soft: the teacher's output, detached; None for the teacher's own loss, which is that of the labels.
            of_labels: further arguments of the task's loss.
        """
        if soft is None or self.weight == 0.0:
            hard: Tensor = task.loss(output, batch, **of_labels)["total"]
            return hard
        told = self.soften(task)(output, soft)
        if self.weight == 1.0:
            return told
        return (1.0 - self.weight) * task.loss(output, batch, **of_labels)["total"] + self.weight * told
