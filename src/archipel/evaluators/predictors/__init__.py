"""Predictors of how good an architecture is, from the scores of others or from none."""

from __future__ import annotations

from archipel.errors import OptionError, did_you_mean
from archipel.evaluators.predictors.classical import Forest, GaussianProcess, boosted_trees, ridge, support_vectors
from archipel.evaluators.predictors.features import OneHot
from archipel.evaluators.predictors.predictor import Factory, Predictor, UncertainPredictor
from archipel.space import Space

__all__ = ["PREDICTORS", "Factory", "Predictor", "UncertainPredictor", "predictor"]

PREDICTORS: dict[str, Factory] = {
    "ridge": lambda space, seed: ridge(OneHot(space), seed=seed),
    "svr": lambda space, seed: support_vectors(OneHot(space), seed=seed),
    "forest": lambda space, seed: Forest(OneHot(space), seed=seed),
    "boosted": lambda space, seed: boosted_trees(OneHot(space), seed=seed),
    "gp": lambda space, seed: GaussianProcess(OneHot(space), seed=seed),
}
"""What any space can be predicted with, by name."""


def predictor(name: str, space: Space, *, seed: int = 0) -> Predictor:
    """A predictor by its name in `PREDICTORS`.

    Raises:
        OptionError: there is none of that name, or what it needs is not installed.
    """
    if name not in PREDICTORS:
        raise OptionError(f"there is no predictor '{name}' ({', '.join(PREDICTORS)}){did_you_mean(name, PREDICTORS)}")
    return PREDICTORS[name](space, seed)
