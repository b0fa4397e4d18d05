"""Which architectures a latency table is made of, fitted to and judged on: three random sets."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from archipel.architecture import Architecture
from archipel.cost.spread import covering, spread_sample
from archipel.errors import TableError
from archipel.space import Space

__all__ = ["Drawn", "draw", "first_with_each"]


@dataclass(frozen=True)
class Drawn:
    """Three sets; no architecture to judge on is in another."""

    by_part: list[Architecture]
    calibrating: list[Architecture]
    held_out: list[Architecture]
    how: str
    """How the ones to judge on were drawn."""


def draw(space: Space, rng: random.Random, *, by_part: int, calibrating: int, held_out: int) -> Drawn:
    """Sets of these sizes, or smaller ones of a small space, where calibration uses those measured by part again.

    Raises:
        TableError: the space has too few architectures to be worth a table.
    """
    if space.size < 2 * (by_part + calibrating + held_out):
        return _split(space, rng, by_part, calibrating, held_out)
    judging = _mixed(space, rng, held_out, avoid=frozenset())
    parts = covering(space, by_part, rng, avoid=frozenset(judging))
    # As those to judge on, or their residuals would not be a sample of what the interval has to hold.
    fitting = _mixed(space, rng, calibrating, avoid=frozenset(judging) | frozenset(parts))
    return Drawn(parts, fitting, judging, "half uniform, half spread")


def _mixed(space: Space, rng: random.Random, count: int, avoid: frozenset[Architecture]) -> list[Architecture]:
    found: dict[Architecture, None] = {}
    while len(found) < count:
        architecture = space.sample(rng) if len(found) < count // 2 else spread_sample(space, rng)
        if architecture not in avoid:
            found[architecture] = None
    return list(found)


def _split(space: Space, rng: random.Random, by_part: int, calibrating: int, held_out: int) -> Drawn:
    everything = list(space)
    rng.shuffle(everything)
    met = Counter(pair for a in everything for pair in _pairs(a))
    judging: list[Architecture] = []
    for architecture in everything:
        mine = Counter(_pairs(architecture))
        if len(judging) < min(held_out, len(everything) // 3) and all(met[p] > 2 for p in mine):
            judging.append(architecture)
            met -= mine
    rest = [architecture for architecture in everything if architecture not in judging]
    if len(judging) < 2 or len(rest) < 4:
        raise TableError(
            f"space '{space.name}' has {space.size} architectures, too few for a latency table; time them with "
            "archipel.cost.measure"
        )
    return Drawn(rest[:by_part], rest[-calibrating:], judging, "uniform")


def first_with_each(architectures: Sequence[Architecture]) -> list[Architecture]:
    """Those that hold an option which none before them holds."""
    met: set[tuple[str, object]] = set()
    found = []
    for architecture in architectures:
        if not met.issuperset(_pairs(architecture)):
            met.update(_pairs(architecture))
            found.append(architecture)
    return found


def _pairs(architecture: Architecture) -> list[tuple[str, object]]:
    return [
        (name, option)
        for name, value in architecture.items()
        for option in (value if isinstance(value, tuple) else (value,))
    ]
