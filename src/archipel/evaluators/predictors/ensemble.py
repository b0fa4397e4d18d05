"""Several predictors as one that knows how unsure it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.predictor import Predictor, check_scores

__all__ = ["Ensemble"]


class Ensemble:
    """The mean of members that learn from different seeds and, if asked, from different parts of the data.

    Args:
        member: makes one from a seed.
        share: of the data that each member sees, drawn for each; PNAS trains five on ⅘ each.
    """

    def __init__(
        self, member: Callable[[int], Predictor], *, members: int = 5, share: float = 1.0, seed: int = 0
    ) -> None:
        if members < 1 or not 0 < share <= 1:
            raise OptionError(
                f"an ensemble has {members} members that see {share:g} of the data; give 1 or more, and 0 to 1"
            )
        self.members = [member(seed + i) for i in range(members)]
        self.share, self.seed = share, seed

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        scores = check_scores(architectures, scores)
        rng, count = random.Random(self.seed), max(1, round(self.share * len(architectures)))
        for one in self.members:
            rows = (
                range(len(architectures)) if self.share == 1 else sorted(rng.sample(range(len(architectures)), count))
            )
            one.fit([architectures[i] for i in rows], scores[rows])

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        return self._each(architectures).mean(0)

    def predict_spread(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        each = self._each(architectures)
        return each.mean(0), each.std(0, correction=0)

    def _each(self, architectures: Sequence[Architecture]) -> Tensor:
        """`[members, N]`."""
        return torch.stack([member.predict(architectures) for member in self.members])
