"""Random architectures that reach the ends of a space, and sets of them in which every option occurs.

Uniform architectures of a large space are all alike in cost (a sum of many independent parts), which is no
ground to fit or judge a cost model on. Here each architecture first draws how it is inclined, then its choices.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from archipel.architecture import Architecture
from archipel.space import Choice, Space

__all__ = ["covering", "spread_sample"]


def spread_sample(space: Space, rng: random.Random) -> Architecture:
    """A random architecture from anywhere between the cheapest and the dearest of the space.

    Each draws a keep probability for the members of its subsets, a liking for every option, and how strictly it
    follows its likings; so some are sparse, some dense, some of one kind of option, some mixed.
    """
    return _inclined(space, rng, {})


def covering(
    space: Space, count: int, rng: random.Random, *, avoid: frozenset[Architecture] = frozenset()
) -> list[Architecture]:
    """`count` different spread architectures in which every option of every choice occurs about equally often.

    Each new one is made to hold the option that occurred least so far. Fewer are returned when the space has no
    more, or when its architectures that are not in `avoid` are too rare to be met.
    """
    found: dict[Architecture, None] = {}
    met = {(choice.name, option): 0 for choice in space.choices for option in choice.options}
    tries = 0
    while len(found) < count and len(found) + len(avoid) < space.size and tries < 50 * count:
        tries += 1
        wanted = min(met, key=lambda column: (met[column], rng.random())) if met else None
        drawn = _inclined(space, rng, _requirements(space, *wanted) if wanted else {})
        if drawn in found or drawn in avoid:
            drawn = space.sample(rng)
        if drawn in found or drawn in avoid:
            continue
        found[drawn] = None
        for name, value in drawn.items():
            for option in value if isinstance(value, tuple) else (value,):
                met[name, option] += 1
    return list(found)


def _requirements(space: Space, name: str, option: Any) -> dict[str, Any]:
    """Choice → option that must be chosen so that `option` of choice `name` is."""
    by_name = {choice.name: choice for choice in space.choices}
    needed = {name: option}
    choice = by_name[name]
    while choice.parent is not None:
        parent = by_name[choice.parent]
        needed[parent.name] = next(o for o in parent.options if o in choice.when)
        choice = parent
    return needed


def _inclined(space: Space, rng: random.Random, needed: Mapping[str, Any]) -> Architecture:
    keep, strictness = rng.random(), rng.random()
    likings: dict[Any, float] = {}

    def liking(choice: Choice, option: Any) -> float:
        # Options are liked by name, or by rank where they are numbers, so one liking reaches many choices.
        label = option if isinstance(option, str) else choice.options.index(option)
        return likings.setdefault(label, rng.random())

    assignment: dict[str, Any] = {}
    for choice in space.active(assignment):  # grows as the loop sets values
        must = needed.get(choice.name)
        if choice.kind == "subset":
            chosen = {option for option in choice.options if rng.random() < keep}
            if must is not None:
                chosen.add(must)
            if not chosen and choice.empty is None:
                chosen.add(rng.choice(choice.options))
            assignment[choice.name] = tuple(o for o in choice.options if o in chosen)
        else:
            ranked = rng.sample(choice.options, len(choice.options))
            if rng.random() < strictness:
                ranked.sort(key=lambda option: -liking(choice, option))
            if must is not None:
                ranked.remove(must)
                ranked.insert(0, must)
            k = choice.k if choice.kind == "inputs" else 1
            assignment[choice.name] = tuple(sorted(ranked[:k])) if choice.kind == "inputs" else ranked[0]
    return space.canonical(assignment)
