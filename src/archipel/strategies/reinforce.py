"""Policy gradients over architectures: REINFORCE on independent decisions, and NAS-RL's recurrent policy."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.strategies.policies import IndependentPolicy, Policy, RecurrentPolicy, Token
from archipel.strategies.strategy import Scores, only_one

__all__ = ["Reinforce", "nas_rl", "reinforce"]


class Reinforce:
    """θ ← θ + lr · ∇_θ (1/m) Σ_k log P(a_k) (R_k − b) + c H, with b a moving average of earlier rewards (Williams).

    Learns from what it asked for alone, once it is told: another's architectures were not drawn from its policy.

    Args:
        batch: architectures an update learns from (m).
        momentum: of the baseline b.
        entropy: weight of the tokens' entropy (c).
        reward: of a score (R).

    Raises:
        OptionError: several objectives, a batch below 1, or a momentum that is no share.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        objectives: int = 1,
        rng: torch.Generator,
        learning_rate: float,
        batch: int = 1,
        momentum: float = 0.9,
        entropy: float = 0.0,
        reward: Callable[[float], float] = lambda score: score,
    ) -> None:
        only_one(objectives, "a policy gradient")
        if batch < 1 or not 0.0 <= momentum < 1.0:
            raise OptionError(f"batch is {batch} and momentum {momentum:g}; give 1 or more, and a share below 1")
        self.policy, self.rng = policy, rng
        self.optimiser = torch.optim.Adam(policy.parameters(), lr=learning_rate)
        self.batch, self.momentum, self.entropy, self.reward = batch, momentum, entropy, reward
        self.asked: dict[Architecture, list[Token]] = {}
        self.told: list[tuple[list[Token], float]] = []
        self._sum = self._weight = 0.0
        """Of the moving average: weighted rewards, and their weights."""

    def ask(self) -> Architecture:
        architecture, tokens = self.policy.draw(self.rng)
        self.asked[architecture] = tokens
        return architecture

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        tokens = self.asked.pop(architecture, None)
        if tokens is None or scores is None:
            return
        self.told.append((tokens, self.reward(scores[0])))
        if len(self.told) >= self.batch:
            self._update()

    @property
    def baseline(self) -> float | None:
        """b; none before the first update."""
        return self._sum / self._weight if self._weight else None

    def _update(self) -> None:
        rewards = [reward for _, reward in self.told]
        baseline = self.baseline
        if baseline is None:
            baseline = sum(rewards) / len(rewards)
        loss = torch.zeros(())
        for tokens, reward in self.told:
            log_prob, entropy = self.policy.log_prob(tokens)
            loss = loss - (log_prob * (reward - baseline) + self.entropy * entropy) / len(self.told)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        for reward in rewards:
            self._sum = self.momentum * self._sum + (1 - self.momentum) * reward
            self._weight = self.momentum * self._weight + (1 - self.momentum)
        self.told = []


def reinforce(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    learning_rate: float = 0.1,
    batch: int = 1,
    momentum: float = 0.9,
    entropy: float = 0.0,
) -> Reinforce:
    """REINFORCE with independent logits for every decision, as NATS-Bench has it (Dong et al., TPAMI 2021).

    Args:
        learning_rate: of Adam; 0.01 in the published runs, with which a few hundred trials move the policy little.
    """
    rng = torch.Generator().manual_seed(seed)
    return Reinforce(
        IndependentPolicy(space, rng=rng), objectives=objectives, rng=rng, learning_rate=learning_rate,
        batch=batch, momentum=momentum, entropy=entropy,
    )  # fmt: skip


def nas_rl(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    learning_rate: float = 0.01,
    batch: int = 1,
    momentum: float = 0.9,
    entropy: float = 0.0,
    hidden: int = 35,
    layers: int = 2,
) -> Reinforce:
    """NAS-RL: an LSTM draws the architecture token by token, and learns from the cube of its accuracy (Zoph and Le,
    ICLR 2017, arXiv 1611.01578).

    The paper draws skip connections from a distribution over earlier layers (anchors); here `inputs` and `subset` are
    tokens like all choices.

    Args:
        learning_rate: of Adam; 0.0006 in the paper, for 12,800 networks.
        batch: architectures an update learns from; 8 in the paper.
    """
    rng = torch.Generator().manual_seed(seed)
    return Reinforce(
        RecurrentPolicy(space, rng=rng, hidden=hidden, layers=layers), objectives=objectives, rng=rng,
        learning_rate=learning_rate, batch=batch, momentum=momentum, entropy=entropy, reward=_cubed,
    )  # fmt: skip


def _cubed(score: float) -> float:
    """Of an accuracy in per cent; the sign stays, for scores of other kinds."""
    return math.copysign(abs(score / 100) ** 3, score)
