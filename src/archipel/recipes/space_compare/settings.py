"""Every setting of a comparison of spaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from archipel.errors import OptionError, did_you_mean
from archipel.recipes.proxylessnas.settings import Jobs
from archipel.sharing.training import Optimisation

__all__ = ["UNITS", "Cost", "Judging", "Sampling", "Settings", "Training"]

Cost: TypeAlias = Literal["madds", "parameters", "latency"]
UNITS: dict[Cost, str] = {"madds": "MAdds", "parameters": "parameters", "latency": "ms"}
"""Of one image."""


@dataclass(frozen=True)
class Sampling:
    """Which networks stand for a space."""

    networks: int = 30
    """Of each space, drawn uniformly, no two alike; all there are where a space has fewer."""
    most_madds: float | None = None
    """Draw only networks of at most so many multiply-adds an image; none: of any."""

    def __post_init__(self) -> None:
        if self.networks < 2:
            raise OptionError(f"sampling.networks is {self.networks}; give 2 or more")
        if self.most_madds is not None and not self.most_madds > 0:
            raise OptionError(f"sampling.most_madds is {self.most_madds:g}; give a number above 0, or none")


@dataclass(frozen=True)
class Training(Optimisation):
    """The short training that every network gets."""

    epochs: int = 3
    batch: int = 32
    clip: float | None = 5.0


@dataclass(frozen=True)
class Judging:
    """What is made of the errors."""

    cost: Cost = "madds"
    """What networks cost, and spaces are compared at equal amounts of: multiply-adds, parameters, or latency, measured
    one image at a time on the device, all networks by turns."""
    rounds: int = 20
    """Timed passes of each network where the cost is latency."""
    bins: int = 10
    """Of cost, in which the spaces are given the same weight; fewer where one would be empty."""
    top: float = 0.1
    """Share of a space's networks that is its top tier."""
    resamples: int = 2500
    """Of the bootstrap behind every interval."""

    def __post_init__(self) -> None:
        if self.cost not in get_args(Cost):
            known = get_args(Cost)
            raise OptionError(f"judging.cost is '{self.cost}'; give {', '.join(known)}{did_you_mean(self.cost, known)}")
        for name in ("bins", "resamples", "rounds"):
            if getattr(self, name) < 1:
                raise OptionError(f"judging.{name} is {getattr(self, name)}; give 1 or more")
        if not 0.0 < self.top <= 1.0:
            raise OptionError(f"judging.top is {self.top:g}; give a share above 0, up to 1")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    sampling: Sampling = field(default_factory=Sampling)
    training: Training = field(default_factory=Training)
    judging: Judging = field(default_factory=Judging)
    jobs: Jobs = field(default_factory=Jobs)
