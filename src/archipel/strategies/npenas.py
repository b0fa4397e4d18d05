"""NPENAS: evolution whose children a graph network sorts before any is tried."""

from __future__ import annotations

from archipel.errors import OptionError
from archipel.evaluators.predictors import Ensemble, predictor
from archipel.space import Space
from archipel.strategies.predictor_guided import PredictorGuided
from archipel.strategies.strategy import only_one

__all__ = ["npenas"]


def npenas(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    variant: str = "np",
    initial: int = 10,
    batch: int = 10,
    candidates: int = 100,
) -> PredictorGuided:
    """Neural predictor guided evolution (Wei et al., arXiv 2003.12857): of 100 children of the best, one parent filled
    up before the next is asked, those are tried that a GIN puts first.

    Args:
        variant: `np` takes the prediction; `bo` a draw around it (Thompson). The paper's `bo` has a second head for the
            spread; here five networks disagree.

    Raises:
        OptionError: there is no such variant, or several objectives.
    """
    if variant not in ("np", "bo"):
        raise OptionError(f"variant is '{variant}'; give 'np' or 'bo'")
    only_one(objectives, "npenas")
    learned = (
        predictor("gin", space, seed=seed)
        if variant == "np"
        else Ensemble(lambda own: predictor("gin", space, seed=own), members=5, seed=seed)
    )
    return PredictorGuided(
        space, [learned], seed=seed, initial=initial, batch=batch, candidates=candidates,
        acquire="mean" if variant == "np" else "thompson",
    )  # fmt: skip
