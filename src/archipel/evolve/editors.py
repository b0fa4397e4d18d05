"""Space editors: a space in, another one out, which is kept as JSON and taken wherever a space is.

Every way of making a space better is one of these: leave options out (`Drop`), leave the ranges that good networks are
in (`Promising`, RegNet's empirical bootstrap), what a search prefers (`Likely`), what learns most
(`archipel.evolve.angle.ByAngle`), or let cells evolve in its place (`archipel.recipes.autospace.stages.Evolve`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from archipel.architecture import Architecture
from archipel.choice import members
from archipel.errors import OptionError, SpaceError
from archipel.evolve.quality import promising
from archipel.space import Space, SpaceFunction
from archipel.spaces.restricted import Restricted, check_kept

__all__ = ["Definition", "Drop", "Editor", "Likely", "Open", "Promising", "edit"]


class Definition(Protocol):
    """A space as a file has it: `CellSpace`, `Restricted`."""

    @property
    def function(self) -> SpaceFunction:
        """What every command takes."""

    def to_json(self) -> dict[str, Any]: ...

    def save(self, path: Path) -> None: ...


Open = Callable[[SpaceFunction], Space]
"""A space function as the space of the data at hand: `task.space`."""


class Editor(Protocol):
    """Makes another space of one."""

    def __call__(self, given: Definition, open_space: Open) -> Definition:
        """
        Raises:
            SpaceError: it cannot be made of this one.
        """


def edit(given: Definition, editors: Iterable[Editor], open_space: Open) -> Definition:
    """One editor after the other."""
    for editor in editors:
        given = editor(given, open_space)
    return given


def narrowed(given: Definition, space: Space, keep: Mapping[str, Sequence[Any]], **evidence: Any) -> Restricted:
    """The space with what is left of some choices; only what makes a difference is written down."""
    check_kept(space, keep)
    whole = given if isinstance(given, Restricted) else Restricted(given.to_json(), given.function)
    options = {choice.name: choice.options for choice in space.choices}
    return whole.keeping({n: tuple(o) for n, o in keep.items() if len(o) < len(options[n])}, **evidence)


@dataclass(frozen=True)
class Drop:
    """Leaves out options that are named."""

    patterns: tuple[str, ...]
    """`choice:option`, in both of which `*` and `?` stand for anything: `b*:zero`."""

    def __call__(self, given: Definition, open_space: Open) -> Restricted:
        space = open_space(given.function)
        dropped: dict[str, set[Any]] = {}
        for pattern in self.patterns:
            choice_like, colon, option_like = pattern.partition(":")
            if not colon:
                raise OptionError(f"'{pattern}' says no option; write CHOICE:OPTION, such as 'b1:zero' or 'b*:zero'")
            found = [
                (choice.name, option)
                for choice in space.choices
                if fnmatch.fnmatchcase(choice.name, choice_like)
                for option in choice.options
                if fnmatch.fnmatchcase(str(option), option_like)
            ]
            if not found:
                raise SpaceError(f"'{pattern}' fits no option of space '{space.name}'; see 'archipel show' for them")
            for name, option in found:
                dropped.setdefault(name, set()).add(option)
        keep = {c.name: [o for o in c.options if o not in dropped.get(c.name, ())] for c in space.choices}
        return narrowed(given, space, keep, dropped=list(self.patterns))


@dataclass(frozen=True)
class Promising:
    """Leaves the options that the best of many small samples of trained networks have (Radosavovic et al., CVPR 2020,
    arXiv 2003.13678): of numbers all between the 2.5 and the 97.5 percentile, of anything else those that at least
    `least` of the best have.

    Raises:
        OptionError: a share outside its range, or another number of errors than of networks.
    """

    networks: tuple[Architecture, ...]
    errors: tuple[float, ...]
    share: float = 0.25
    """Of the networks, the size of each sample."""
    least: float = 0.05
    resamples: int = 2500
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.networks or len(self.networks) != len(self.errors):
            raise OptionError(f"{len(self.networks)} networks have {len(self.errors)} errors; give one each")
        for name in ("share", "least"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise OptionError(f"{name} is {getattr(self, name):g}; give a share above 0, up to 1")

    def __call__(self, given: Definition, open_space: Open) -> Restricted:
        space = open_space(given.function)
        known = [space.canonical(architecture) for architecture in self.networks]
        best = promising(
            np.array(self.errors), np.arange(len(known)), share=self.share, resamples=self.resamples, seed=self.seed
        )
        codes = np.array([space.encode(architecture).numpy() for architecture in known])[best]  # [R, D]
        keep = {}
        for choice in space.choices:
            own = codes[:, space.slices[choice.name]]
            active = own.any(1)
            if choice.kind == "inputs" or not active.any():
                continue
            shares = own[active].mean(0)
            if choice.kind == "value":
                values = np.array(choice.options, dtype=float)
                low, high = np.percentile(values[own[active].argmax(1)], [2.5, 97.5])
                left = [o for o, value in zip(choice.options, values) if low <= value <= high]
            else:
                left = [o for o, found in zip(choice.options, shares) if found >= self.least or o == choice.empty]
            keep[choice.name] = left or [choice.options[int(shares.argmax())]]
        return narrowed(given, space, keep, promising={"networks": len(known), "share": self.share})


@dataclass(frozen=True)
class Likely:
    """Leaves what a search came to prefer: of every choice its likeliest options, and those of networks it found.

    Raises:
        OptionError: nothing would be left.
    """

    probabilities: Mapping[str, Mapping[Any, float]]
    """Choice → option → how likely; choices that are not named keep all."""
    networks: tuple[Mapping[str, Any], ...] = ()
    keep: int = 3

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise OptionError(f"keep is {self.keep}; give 1 or more")

    def __call__(self, given: Definition, open_space: Open) -> Restricted:
        space = open_space(given.function)
        keep = {}
        for choice in space.choices:
            likely = self.probabilities.get(choice.name)
            if likely is None or choice.kind == "inputs":
                continue
            best = sorted(choice.options, key=lambda option: -likely.get(option, 0.0))[: self.keep]
            taken = {o for network in self.networks for o in members(network.get(choice.name, ()))}
            keep[choice.name] = [o for o in choice.options if o in best or o in taken or o == choice.empty]
        return narrowed(given, space, keep, likely={"keep": self.keep, "networks": len(self.networks)})
