"""Policy-gradient estimators: the surrogate loss whose gradient is that of −E[R]."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

__all__ = ["Baseline", "advantages", "surrogate"]

Baseline = Literal["none", "mean", "self_critical", "leave_one_out"]


def advantages(rewards: Tensor, baseline: Baseline, mode_rewards: Tensor | None = None) -> Tensor:
    """Rewards less a baseline that does not depend on the sample it is taken from (so the gradient stays unbiased).

    Args:
        rewards: `[S, B]`, S samples for each of B images.
        baseline: `self_critical`: the reward of the image's MAP child (Rennie et al. 2017; InstaNAS, BlockDrop);
            `leave_one_out`: the mean of the image's other samples (Kool et al. 2019), S ≥ 2; `mean`: the mean of
            all other rewards in the batch.
        mode_rewards: `[B]`, for `self_critical`.

    Returns:
        `[S, B]`
    """
    samples, batch = rewards.shape
    if baseline == "self_critical":
        if mode_rewards is None:
            raise ValueError("a self-critical baseline needs the rewards of the MAP children")
        return rewards - mode_rewards
    if baseline == "leave_one_out":
        if samples < 2:
            raise ValueError("a leave-one-out baseline needs at least 2 samples an image")
        return (rewards - rewards.mean(0)) * samples / (samples - 1)
    if baseline == "mean":
        count = samples * batch
        return (rewards - rewards.mean()) * count / max(1, count - 1)
    return rewards


def surrogate(log_prob: Tensor, advantage: Tensor, entropy: Tensor | None = None, beta: float = 0.0) -> Tensor:
    """(1/N) Σ [−adv · log π(m) − β · H(q)], a scalar; its gradient is the REINFORCE estimate.

    Args:
        log_prob, advantage: `[S, B]`; the advantage carries no gradient.
        entropy: `[B]` or `[S, B]`.
        beta: weight of the entropy bonus (β).
    """
    loss = -(advantage.detach() * log_prob).mean()
    if entropy is not None and beta:
        loss = loss - beta * entropy.mean()
    return loss
