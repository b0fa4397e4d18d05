"""Every setting of a comparison of strategies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from archipel.errors import OptionError

__all__ = ["DEFAULT", "SECONDS", "TWO", "Jobs", "Limits", "Protocol", "Settings"]

Protocol: TypeAlias = Literal["published", "queries"]

DEFAULT: tuple[str, ...] = (
    "random",
    "local_search",
    "regularised_evolution",
    "nsga2",
    "reinforce",
    "nas_rl",
    "bayesian",
)
"""Strategies that are compared if none are named."""

TWO: tuple[str, ...] = ("random", "nsga2", "bayesian")
"""The same where there are two objectives."""

SECONDS: dict[str, float] = {"cifar10": 20_000.0, "cifar100": 40_000.0, "imagenet16": 120_000.0}
"""Simulated seconds of NATS-Bench's published searches (D-X-Y/AutoDL-Projects, `exps/NATS-algos/run-all.sh`)."""


@dataclass(frozen=True)
class Limits:
    """What every search may spend, and what it sees."""

    protocol: Protocol = "published"
    """`published`: NATS-Bench's own: accuracies after 12 epochs, simulated seconds (20,000, 40,000 and 120,000), and an
    architecture that is proposed again costs again. `queries`: a number of different architectures, at the validation
    accuracy after 200 epochs. NAS-Bench-Macro knows `queries` alone."""
    trials: int = 100
    """Different architectures a search may try; of `queries`."""
    seconds: float | None = None
    """Simulated seconds of a search; of `published`, whose own are taken where none are given."""
    oracle: bool = False
    """Searches see the very test accuracy that they are judged by: how far a strategy gets without noise."""

    def __post_init__(self) -> None:
        if self.protocol not in ("published", "queries"):
            raise OptionError(f"limits.protocol is '{self.protocol}'; give 'published' or 'queries'")
        if self.trials < 2:
            raise OptionError(f"limits.trials is {self.trials}; give 2 or more")
        if self.seconds is not None and not self.seconds > 0:
            raise OptionError(f"limits.seconds is {self.seconds:g}; give a number above 0, or none")


@dataclass(frozen=True)
class Jobs:
    """How searches are spread over the cores."""

    workers: int = 2
    """Searches side by side, one thread each."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise OptionError(f"jobs.workers is {self.workers}; give 1 or more")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    limits: Limits = field(default_factory=Limits)
    jobs: Jobs = field(default_factory=Jobs)
