"""Random policies: architectures drawn without looking at the image, as fast on average as is wanted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from archipel.instance.code_cost import CodeCost
from archipel.instance.policy import CodePolicy
from archipel.space import Space

__all__ = ["RandomPolicy"]

DRAWS = 512
"""Architectures from which a mean latency is told."""
STEEPEST = 60.0
"""Times the mean price of an option: beyond it everything is at its cheapest, or at its dearest."""


class RandomPolicy:
    """A controller that does not look: the same logits `[D]` for every image.

    Of all policies of one mean latency ℓ the least informed, that of highest entropy, draws an architecture with
    probability ∝ exp(−λℓ). Where ℓ is a sum over the code this is one logit an option: −λ times what it adds, plus
    log Z of each choice that it opens, log Z = log Σ exp of the logits over what the choice can be set to. λ = 0 draws
    all architectures alike. (Exact for `op`, `value` and `subset` choices that may be empty.)
    """

    def __init__(self, space: Space, logits: Tensor | Sequence[float]) -> None:
        self.space = space
        self.logits = torch.as_tensor(logits, dtype=torch.float32)
        self._policy = CodePolicy(space)

    @classmethod
    def costing(cls, cost: CodeCost, target_ms: float, generator: torch.Generator) -> RandomPolicy:
        """The one that costs `target_ms` on average, by bisection on fixed noise; where none does, the nearest."""
        prices = cost.prices()
        unit = float(prices.abs().mean()) or 1.0
        seed = int(torch.randint(2**31, (1,), generator=generator))

        def policy(steepness: float) -> RandomPolicy:
            return cls(cost.space, _logits(cost.space, prices * (-steepness / unit)))

        low, high = -STEEPEST, STEEPEST
        for _ in range(24):
            middle = (low + high) / 2.0
            drawn = policy(middle).draw(DRAWS, torch.Generator().manual_seed(seed))
            if float(cost(drawn).mean()) > target_ms:
                low = middle
            else:
                high = middle
        return policy((low + high) / 2.0)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """`[count, D]`, bool, canonical."""
        q = self._policy.probabilities(self.logits[None]).expand(count, -1)
        return self._policy.sample(q, generator).codes


def _logits(space: Space, scores: Tensor) -> Tensor:
    """Of every option, `[D]`, so that log P(architecture) is the sum of the scores of what it chooses, plus a constant.

    Args:
        scores: `[D]`.
    """
    logits = scores.clone()
    by_name = {choice.name: choice for choice in space.choices}
    for choice in reversed(space.choices):  # what is opened before what opens it
        own = logits[space.slices[choice.name]]
        log_z = F.softplus(own).sum() if choice.kind == "subset" else choice.k * own.logsumexp(0)
        if choice.parent is not None:
            parent = by_name[choice.parent]
            opening = [i for i, option in enumerate(parent.options) if option in choice.when]
            logits[space.slices[choice.parent]][opening] += log_z
    return logits
