"""The ways a search goes wrong without an error, noticed while it runs (section "collapse modes" of the docs)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

__all__ = ["Alarm", "Diversity", "diversity", "watch"]

DEAD_WINDOW = 0.05
"""Share of sampled architectures with a positive reward below which only the entropy bonus moves the controller."""
DRIFT = 0.03
"""Accuracy that recalibrating batch norm may recover before the running statistics are called wrong."""


@dataclass(frozen=True)
class Alarm:
    kind: str
    """`collapse`, `dead window`, `batch-norm drift` or `target missed`."""
    stage: str
    seed: int
    epoch: int
    text: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Diversity:
    """How much the architectures of a set of images differ."""

    distinct: int
    """Different architectures."""
    distinct_share: float
    effective: float
    """exp of the entropy of their frequencies: 1 if all images share one."""
    varying_bits: int
    """Code columns that are neither always on nor always off."""


def diversity(codes: Tensor) -> Diversity:
    """Of canonical codes `[N, D]`."""
    _, counts = codes.unique(dim=0, return_counts=True)
    frequency = counts.double() / counts.sum()
    mean = codes.double().mean(0)
    return Diversity(
        distinct=len(counts),
        distinct_share=len(counts) / max(1, len(codes)),
        effective=float(torch.exp(-(frequency * frequency.log()).sum())),
        varying_bits=int(((mean > 0) & (mean < 1)).sum()),
    )


def watch(
    *,
    stage: str,
    seed: int,
    epoch: int,
    spread: Diversity,
    positive_share: float,
    running_accuracy: float,
    recalibrated_accuracy: float,
) -> list[Alarm]:
    """The alarms that one epoch of a search gives."""
    found = []
    if spread.distinct == 1 or spread.effective < 1.05:
        found.append(
            Alarm(
                "collapse",
                stage,
                seed,
                epoch,
                f"{spread.distinct} architecture(s) for all images (effective number {spread.effective:.2f}): "
                "the result is a static network",
            )
        )
    if positive_share < DEAD_WINDOW:
        found.append(
            Alarm(
                "dead window",
                stage,
                seed,
                epoch,
                f"only {positive_share:.1%} of the sampled architectures earn anything: the window is below what the "
                "controller samples, or the weights are too weak",
            )
        )
    if recalibrated_accuracy - running_accuracy > DRIFT:
        found.append(
            Alarm(
                "batch-norm drift",
                stage,
                seed,
                epoch,
                f"running statistics cost {recalibrated_accuracy - running_accuracy:.1%} accuracy against "
                "recalibrated ones",
            )
        )
    return found
