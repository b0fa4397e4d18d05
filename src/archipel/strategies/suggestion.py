"""Architectures as parameters of an Optuna trial, and back.

An `op` or `value` choice is one categorical parameter of its name; an `inputs` choice one over all sets of k positions
(`"0,2"`); a `subset` one yes or no for each option (`name/option`). What is not active has no parameter.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from archipel.architecture import Architecture
from archipel.choice import Choice, members
from archipel.space import Space

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import CategoricalDistribution

__all__ = ["grid", "parameters_of", "suggest"]


def suggest(trial: Trial, space: Space) -> Architecture:
    """An architecture from a trial's suggestions, choice by choice; an empty selection where none is allowed becomes
    the first option."""
    values: dict[str, Any] = {}
    for choice in space.active(values):  # grows as the loop sets values
        drawn = [trial.suggest_categorical(name, options) for name, options in _parameters(choice)]
        if choice.kind == "inputs":
            values[choice.name] = [int(position) for position in str(drawn[0]).split(",")]
        elif choice.kind == "subset":
            taken = [option for option, on in zip(choice.options, drawn) if on]
            values[choice.name] = taken or ([choice.options[0]] if choice.empty is None else [])
        else:
            values[choice.name] = drawn[0]
    return space.canonical(values)


def parameters_of(space: Space, architecture: Architecture) -> dict[str, tuple[Any, CategoricalDistribution]]:
    """Parameter → value and distribution, as `suggest` would have had them."""
    from optuna.distributions import CategoricalDistribution

    found: dict[str, tuple[Any, CategoricalDistribution]] = {}
    for choice in space.active(architecture):
        chosen = members(architecture[choice.name])
        if choice.kind == "inputs":
            values: list[Any] = [",".join(map(str, chosen))]
        elif choice.kind == "subset":
            values = [option in chosen for option in choice.options]
        else:
            values = [chosen[0]]
        for (name, options), value in zip(_parameters(choice), values, strict=True):
            found[name] = value, CategoricalDistribution(options)
    return found


def grid(space: Space) -> dict[str, list[Any]]:
    """Every parameter that an architecture can have, and its values."""
    return {name: list(options) for choice in space.choices for name, options in _parameters(choice)}


def _parameters(choice: Choice) -> list[tuple[str, tuple[Any, ...]]]:
    if choice.kind == "inputs":
        sets = itertools.combinations(choice.options, choice.k)
        return [(choice.name, tuple(",".join(map(str, positions)) for positions in sets))]
    if choice.kind == "subset":
        return [(f"{choice.name}/{option}", (False, True)) for option in choice.options]
    return [(choice.name, choice.options)]
