"""The contract between a predictor and those who ask it: strategies, spaces' tools, reports.

Letters: `N` architectures, `F` features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space

__all__ = ["Factory", "Predictor", "UncertainPredictor", "check_scores"]


class Predictor(Protocol):
    """Tells from some architectures whose score is known how good others are; larger is better.

    What it says is in the unit of the scores it was given, or, where it needs none (zero-cost proxies), in one of its
    own of which only the order counts. Equal seed and data, equal predictions.
    """

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        """Learn from `scores` `[N]`, anew: nothing is left of what was learned before.

        Raises:
            OptionError: there are no scores, or one is not finite, or there are not as many as architectures.
        """

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        """`[N]`, float64, in the order of the architectures; each is judged by itself, whoever stands beside it.

        Raises:
            OptionError: it has to be fitted first, and was not.
        """


@runtime_checkable
class UncertainPredictor(Predictor, Protocol):
    """One that also says how unsure it is."""

    def predict_spread(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, `[N]` float64 each; the mean is what `predict` gives."""


Factory: TypeAlias = Callable[[Space, int], Predictor]
"""A predictor for a space, and the seed of all that is random in it."""


def check_scores(architectures: Sequence[Architecture], scores: Tensor) -> Tensor:
    """Scores as `[N]` float64 on the CPU.

    Raises:
        OptionError: see `Predictor.fit`.
    """
    scores = scores.detach().to("cpu").double()
    if scores.shape != (len(architectures),) or not len(architectures):
        raise OptionError(
            f"a predictor learns from one score an architecture; {len(architectures)} architectures came with scores "
            f"of shape {list(scores.shape)}"
        )
    if not bool(scores.isfinite().all()):
        at = int((~scores.isfinite()).nonzero()[0])
        raise OptionError(f"score {at} is {float(scores[at])}; leave out architectures whose trial failed")
    return scores
