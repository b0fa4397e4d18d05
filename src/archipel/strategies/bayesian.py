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
    propose: str = "children",
    acquire: str = "mean",
) -> PredictorGuided:
    """Any predictor in the loop.

    Args:
        using: its name (`archipel.evaluators.predictors.PREDICTORS`).
    """
    return PredictorGuided(
        space, [predictor(using, space, seed=seed) for _ in range(objectives)], seed=seed, initial=initial, batch=batch,
        candidates=candidates, propose=propose, acquire=acquire,
    )  # fmt: skip


def bayesian(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    using: str = "joint_gp",
    initial: int = 10,
    batch: int = 5,
    candidates: int = 300,
    propose: str = "around",
    acquire: str = "ei",
) -> PredictorGuided:
    """A Gaussian process over the ways through the cells and over the code, and expected improvement over what is one
    or two decisions away from the best: ours, after Ru et al. (ICLR 2021, arXiv 2006.07556), whose kernel counts
    neighbourhoods of nodes. Of two objectives, the expected hypervolume improvement."""
    return predictor_guided(
        space, objectives=objectives, seed=seed, using=using, initial=initial, batch=batch, candidates=candidates,
        propose=propose, acquire=acquire,
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
