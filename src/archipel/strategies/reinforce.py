"""Policy gradients over architectures: REINFORCE on independent decisions, NAS-RL's recurrent policy, NASNet's PPO."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.strategies.policies import IndependentPolicy, Policy, RecurrentPolicy, Token
from archipel.strategies.strategy import Scores, only_one

__all__ = ["Reinforce", "nas_rl", "ppo", "reinforce"]


class Reinforce:
    """θ ← θ + lr · ∇_θ (1/m) Σ_k log P(a_k) (R_k − b) + c H, with b a moving average of earlier rewards (Williams).

    With `clip` it is Σ_k min(r_k (R_k − b), clamp(r_k, 1 − ε, 1 + ε) (R_k − b)) that grows, r_k = P(a_k) over what it
    was when a_k was drawn, in several steps a batch (PPO; Schulman et al., arXiv 1707.06347, eq. 7).

    Learns from what it asked for alone, once it is told: another's architectures were not drawn from its policy.

    Args:
        batch: architectures an update learns from (m).
        momentum: of the baseline b.
        entropy: weight of the tokens' entropy (c).
        reward: of a score (R).
        clip: how far r may go from 1 before an architecture teaches no more (ε); without one there are no ratios.
        passes: steps of the optimiser a batch; more than one only with `clip`.

    Raises:
        OptionError: several objectives, a batch below 1, a momentum that is no share, or passes without a clip.
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
        clip: float | None = None,
        passes: int = 1,
    ) -> None:
        only_one(objectives, "a policy gradient")
        if passes < 1 or (passes > 1 and clip is None) or (clip is not None and not clip > 0):
            raise OptionError(f"passes is {passes} and clip {clip}; give 1 or more, and above 1 a clip above 0")
        if batch < 1 or not 0.0 <= momentum < 1.0:
            raise OptionError(f"batch is {batch} and momentum {momentum:g}; give 1 or more, and a share below 1")
        self.policy, self.rng = policy, rng
        self.optimiser = torch.optim.Adam(policy.parameters(), lr=learning_rate, fused=True)
        self.batch, self.momentum, self.entropy, self.reward = batch, momentum, entropy, reward
        self.clip, self.passes = clip, passes
        self.asked: dict[Architecture, list[Token]] = {}
        self.drawn: dict[Architecture, Tensor] = {}
        """With a clip: logarithms of the probabilities with which what was asked for was drawn, `[]`."""
        self.told: list[tuple[list[Token], float, Tensor | None]] = []
        self._sum = self._weight = 0.0
        """Of the moving average: weighted rewards, and their weights."""

    def ask(self) -> Architecture:
        architecture, tokens = self.policy.draw(self.rng)
        self.asked[architecture] = tokens
        if self.clip is not None:
            self.drawn[architecture] = self.policy.log_prob(tokens)[0].detach()
        return architecture

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        tokens, drawn = self.asked.pop(architecture, None), self.drawn.pop(architecture, None)
        if tokens is None or scores is None:
            return
        self.told.append((tokens, self.reward(scores[0]), drawn))
        if len(self.told) >= self.batch:
            self._update()

    @property
    def baseline(self) -> float | None:
        """b; none before the first update."""
        return self._sum / self._weight if self._weight else None

    def _update(self) -> None:
        rewards = [reward for _, reward, _ in self.told]
        baseline = self.baseline
        if baseline is None:
            baseline = sum(rewards) / len(rewards)
        for _ in range(self.passes):
            loss = torch.zeros(())
            for tokens, reward, drawn in self.told:
                log_prob, entropy = self.policy.log_prob(tokens)
                gain = self._gain(log_prob, reward - baseline, drawn)
                loss = loss - (gain + self.entropy * entropy) / len(self.told)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
        for reward in rewards:
            self._sum = self.momentum * self._sum + (1 - self.momentum) * reward
            self._weight = self.momentum * self._weight + (1 - self.momentum)
        self.told = []

    def _gain(self, log_prob: Tensor, advantage: float, drawn: Tensor | None) -> Tensor:
        if self.clip is None or drawn is None:
            return log_prob * advantage
        ratio = (log_prob - drawn).exp()
        return torch.minimum(ratio * advantage, ratio.clamp(1 - self.clip, 1 + self.clip) * advantage)


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
    learning_rate: float = 0.003,
    batch: int = 1,
    momentum: float = 0.9,
    entropy: float = 0.0,
    hidden: int = 35,
    layers: int = 2,
) -> Reinforce:
    """NAS-RL: an LSTM draws the architecture token by token, and learns from the cube of its accuracy (Zoph and Le,
    ICLR 2017, arXiv 1611.01578).

    Which earlier layers a layer reads is drawn by anchors (`skips_of` in `policies.py` says for which choices, as in
    space `nas_rl`). The paper's start with few layers and growth by two every 1,600 networks is not there.

    Args:
        learning_rate: of Adam; 0.0006 in the paper, for 12,800 networks. With 0.01 a hundred trials settle on
            what came first.
        batch: architectures an update learns from; 8 in the paper.
    """
    rng = torch.Generator().manual_seed(seed)
    return Reinforce(
        RecurrentPolicy(space, rng=rng, hidden=hidden, layers=layers), objectives=objectives, rng=rng,
        learning_rate=learning_rate, batch=batch, momentum=momentum, entropy=entropy, reward=_cubed,
    )  # fmt: skip


def ppo(
    space: Space,
    *,
    objectives: int = 1,
    seed: int = 0,
    learning_rate: float = 0.001,
    batch: int = 5,
    passes: int = 4,
    clip: float = 0.2,
    momentum: float = 0.95,
    entropy: float = 1e-5,
    hidden: int = 100,
) -> Reinforce:
    """NASNet's controller: an LSTM of one layer that learns by proximal policy optimisation (Zoph et al., CVPR 2018,
    arXiv 1707.07012).

    Args:
        learning_rate: of Adam; 0.00035 in the paper, for 20,000 networks. With 0.01 a hundred trials settle on
            what came first.
        batch: architectures an update learns from, in `passes` steps.
    """
    rng = torch.Generator().manual_seed(seed)
    return Reinforce(
        RecurrentPolicy(space, rng=rng, hidden=hidden, layers=1), objectives=objectives, rng=rng,
        learning_rate=learning_rate, batch=batch, momentum=momentum, entropy=entropy, clip=clip, passes=passes,
        reward=lambda score: score / 100,
    )  # fmt: skip


def _cubed(score: float) -> float:
    """Of an accuracy in per cent; the sign stays, for scores of other kinds."""
    return math.copysign(abs(score / 100) ** 3, score)
