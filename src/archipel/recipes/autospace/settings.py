"""Every setting of the AutoSpace recipe, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field

from archipel.errors import OptionError
from archipel.evolve.genes import CellGenes
from archipel.evolve.gradient import Judging
from archipel.evolve.search import Evolution
from archipel.recipes.proxylessnas.settings import Jobs
from archipel.sharing.penalty import PenaltySettings

__all__ = ["PRESETS", "Handover", "Network", "Settings", "preset_for"]


@dataclass(frozen=True)
class Network:
    """The skeleton that cells stand in, ProxylessNAS', and how large they may be."""

    macro: str | None = "light"
    """Macro-structure: `light` (ours for few cores), or the published `cifar`, `tiny`, `imagenet`; none: by image
    size."""
    width: float = 1.0
    """Multiplier of all channel counts."""
    expand: int = 6
    """How many times wider cells are inside while they evolve."""
    cap: float = 2.0
    """Most multiply-adds of a cell, as a multiple of the reference cell's in the same place."""
    tied: int = 1
    """How many blocks in a row have one list of cells; 2 in the published space."""
    budget: float | None = 1.0
    """Multiply-adds of the mixture that the penalty holds it to, as a multiple of the network of reference cells; none:
    cost does not count."""

    def __post_init__(self) -> None:
        for name in ("width", "cap"):
            if not getattr(self, name) > 0:
                raise OptionError(f"network.{name} is {getattr(self, name):g}; give a number above 0")
        for name in ("expand", "tied"):
            if getattr(self, name) < 1:
                raise OptionError(f"network.{name} is {getattr(self, name)}; give 1 or more")
        if self.budget is not None and not self.budget > 0:
            raise OptionError(f"network.budget is {self.budget:g}; give a number above 0, or none")


@dataclass(frozen=True)
class Handover:
    """What of each kept cell goes into the space."""

    expansions: tuple[int, ...] = (3, 6)
    """Each cell at each of these expansions."""
    kernels: tuple[int, ...] = ()
    """Cells that have one of these on the edge from node 0 to node 1 come with each of them there."""
    zero: bool = True
    """Blocks that keep their shape can be left out."""

    def __post_init__(self) -> None:
        if not self.expansions or min(self.expansions) < 1 or len(set(self.expansions)) < len(self.expansions):
            raise OptionError(f"handover.expansions is {list(self.expansions)}; give different numbers from 1 on")
        if any(kernel < 3 or kernel % 2 == 0 for kernel in self.kernels):
            raise OptionError(f"handover.kernels is {list(self.kernels)}; give odd numbers from 3 on")


@dataclass(frozen=True)
class Settings:
    """All of it."""

    network: Network = field(default_factory=Network)
    cells: CellGenes = field(default_factory=CellGenes)
    evolution: Evolution = field(default_factory=Evolution)
    judging: Judging = field(default_factory=Judging)
    penalty: PenaltySettings = field(default_factory=lambda: PenaltySettings(form="hinge", strength=1.0))
    handover: Handover = field(default_factory=Handover)
    jobs: Jobs = field(default_factory=Jobs)


_PUBLISHED_CELLS = CellGenes(codes=(1, 2, 3, 5), direct=True, mix=True)

PRESETS: dict[str, Settings] = {
    "cpu": Settings(
        network=Network(expand=3),
        evolution=Evolution(rescoring=4),
        judging=Judging(steps=12),
        handover=Handover(expansions=(3,)),
    ),
    "digits": Settings(
        network=Network(expand=2, width=0.5),
        evolution=Evolution(population=12, iterations=24, rescoring=3),
        handover=Handover(expansions=(2, 4)),
    ),
    "faithful": Settings(
        network=Network(macro=None, tied=2),
        cells=_PUBLISHED_CELLS,
        evolution=Evolution(population=64, keep=8, tournament=8, mutation=0.5, iterations=400, visits=3),
        judging=Judging(steps=60, batch=256),
        handover=Handover(kernels=(5, 7, 9)),
    ),
}


def preset_for(data: str) -> str:
    """The preset a data set is run with when none is asked for: `digits` for digits, else `cpu`."""
    return "digits" if data == "digits" else "cpu"
