"""What papers report of the same searches, each figure with how sure this project is that it is the paper's.

`read`: in a text that quotes the paper's table. `recalled`: from general knowledge, not checked against the paper;
never more than a hint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """Mean and standard deviation of the test accuracy over runs, in per cent."""

    method: str
    strategy: str | None
    """Ours of the same name, where there is one."""
    images: str
    test: float
    spread: float
    source: str
    trust: Literal["read", "recalled"]


_FIRST = "NAS-Bench-201, 12,000 s (Dong and Yang, ICLR 2020)"
_SECOND = "NATS-Bench, 20,000 / 40,000 / 120,000 s (Dong et al., TPAMI 2021)"

PUBLISHED: tuple[Published, ...] = (
    Published("random search", "random", "cifar10", 93.70, 0.36, _FIRST, "read"),
    Published("REINFORCE", "reinforce", "cifar10", 93.85, 0.37, _FIRST, "read"),
    Published("REINFORCE", "reinforce", "cifar100", 71.71, 1.09, _FIRST, "read"),
    Published("REINFORCE", "reinforce", "imagenet16", 45.24, 1.18, _FIRST, "read"),
    Published("random search", "random", "cifar10", 93.86, 0.23, _SECOND, "recalled"),
    Published("random search", "random", "cifar100", 71.55, 0.97, _SECOND, "recalled"),
    Published("random search", "random", "imagenet16", 45.28, 0.97, _SECOND, "recalled"),
    Published("regularised evolution", "regularised_evolution", "cifar10", 94.02, 0.31, _SECOND, "recalled"),
    Published("regularised evolution", "regularised_evolution", "cifar100", 72.23, 0.84, _SECOND, "recalled"),
    Published("regularised evolution", "regularised_evolution", "imagenet16", 45.77, 0.80, _SECOND, "recalled"),
    Published("REINFORCE", "reinforce", "cifar10", 93.90, 0.26, _SECOND, "recalled"),
    Published("REINFORCE", "reinforce", "cifar100", 71.86, 0.89, _SECOND, "recalled"),
    Published("REINFORCE", "reinforce", "imagenet16", 45.64, 0.78, _SECOND, "recalled"),
    Published("BOHB", None, "cifar10", 93.94, 0.28, _SECOND, "recalled"),
    Published("BOHB", None, "cifar100", 72.00, 0.86, _SECOND, "recalled"),
    Published("BOHB", None, "imagenet16", 45.70, 0.86, _SECOND, "recalled"),
)
