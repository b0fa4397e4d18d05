"""Bayesian optimisation over architectures, and any other predictor in the loop by its name."""

from __future__ import annotations

from archipel.evaluators.predictors import predictor
from archipel.space import Space
from archipel.strategies.predictor_guided import PredictorGuided

__all__ = ["bananas", "bayesian", "predictor_guided"]


def predictor_guided(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    using: str = "ridge",
    initial: int = 10,
    batch: int = 10,
    candidates: int = 100,
    acquire: str = "mean",
) -> PredictorGuided:
    """Any predictor in the loop.

    Args:
        using: its name (`archipel.evaluators.predictors.PREDICTORS`).
    """
    return PredictorGuided(
        space, predictor(using, space, seed=seed), objectives=objectives, seed=seed, initial=initial, batch=batch,
        candidates=candidates, acquire=acquire,
    )  # fmt: skip


def bayesian(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    using: str = "ways_gp",
    initial: int = 10,
    batch: int = 5,
    candidates: int = 100,
    acquire: str = "ei",
) -> PredictorGuided:
    """A Gaussian process over the ways through the cells, and expected improvement over children of the best (Ru et
    al., ICLR 2021, arXiv 2006.07556, with their graph kernel; theirs counts neighbourhoods of nodes)."""
    return predictor_guided(
        space, objectives=objectives, seed=seed, using=using, initial=initial, batch=batch, candidates=candidates,
        acquire=acquire,
    )  # fmt: skip


def bananas(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    using: str = "gates_ensemble",
    initial: int = 10,
    batch: int = 10,
    candidates: int = 100,
    acquire: str = "thompson",
) -> PredictorGuided:
    """An ensemble's mean and disagreement, and independent Thompson samples over children of the best (White et al.,
    AAAI 2021, arXiv 1910.11858; there five perceptrons over the paths, here five GATES)."""
    return predictor_guided(
        space, objectives=objectives, seed=seed, using=using, initial=initial, batch=batch, candidates=candidates,
        acquire=acquire,
    )  # fmt: skip
