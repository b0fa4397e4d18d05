"""Strategies by name, with settings as a user writes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from archipel.errors import OptionError, did_you_mean
from archipel.space import Space
from archipel.strategies.bayesian import bananas, bayesian, predictor_guided
from archipel.strategies.local_search import LocalSearch
from archipel.strategies.nao import NAO
from archipel.strategies.npenas import npenas
from archipel.strategies.nsga2 import NSGA2
from archipel.strategies.optuna_sampler import OptunaSampler
from archipel.strategies.progressive import pnas
from archipel.strategies.random_search import RandomSearch
from archipel.strategies.regularised_evolution import RegularisedEvolution
from archipel.strategies.reinforce import nas_rl, ppo, reinforce
from archipel.strategies.strategy import Strategy
from archipel.strategies.tournament import TournamentEvolution

__all__ = ["STRATEGIES", "strategy"]

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "random": RandomSearch,
    "local_search": LocalSearch,
    "regularised_evolution": RegularisedEvolution,
    "tournament_evolution": TournamentEvolution,
    "nsga2": NSGA2,
    "reinforce": reinforce,
    "nas_rl": nas_rl,
    "ppo": ppo,
    "bayesian": bayesian,
    "bananas": bananas,
    "npenas": npenas,
    "pnas": pnas,
    "nao": NAO,
}
"""Called as `f(space, objectives=1, seed=0, **settings)`."""


def strategy(spec: str, space: Space, *, objectives: int = 1, seed: int = 0) -> Strategy:
    """A strategy as a user names it: `NAME`, `optuna:SAMPLER` or `predictor:PREDICTOR`, with settings behind it.

    >>> from archipel.spaces import nasbench201
    >>> strategy("regularised_evolution,population=20", Space(nasbench201)).size
    20

    Raises:
        OptionError: there is no such strategy, sampler, predictor or setting, or a setting has a value it cannot take.
    """
    head, *given = spec.split(",")
    family, colon, name = head.partition(":")
    if colon and family == "optuna":
        if given:
            raise OptionError(f"'{head}' takes no settings here; leave out '{given[0]}'")
        return OptunaSampler(space, name, objectives=objectives, seed=seed)
    if colon and family == "predictor":
        make: Callable[..., Strategy] = predictor_guided
        settings: dict[str, Any] = {"using": name}
    elif head in STRATEGIES:
        make, settings = STRATEGIES[head], {}
    else:
        known = (*STRATEGIES, "optuna:TPESampler", "predictor:ridge")
        raise OptionError(f"there is no strategy '{head}' ({', '.join(known)}){did_you_mean(head, known)}")
    return make(space, objectives=objectives, seed=seed, **(settings | _settings(make, head, given)))


def _settings(make: Callable[..., Strategy], name: str, given: list[str]) -> dict[str, Any]:
    """`key=value` texts as what the strategy's own defaults are."""
    parameters = inspect.signature(make).parameters
    known = {p.name: p.default for p in parameters.values() if p.name not in ("space", "objectives", "seed")}
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise OptionError(
                f"strategy '{name}' has no setting '{key}' ({', '.join(known) or 'none'}; write KEY=VALUE)"
                f"{did_you_mean(key, known)}"
            )
        kind = type(known[key])
        try:
            found[key] = kind(value)
        except ValueError:
            wanted = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
            raise OptionError(f"setting '{key}' of strategy '{name}' is '{value}'; give {wanted}") from None
    return found
