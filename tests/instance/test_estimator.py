"""The policy gradient against the one enumerated exactly, and what each baseline subtracts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from archipel.instance.estimator import advantages, surrogate
from archipel.instance.policy import CodePolicy
from archipel.space import Space

SAMPLES = 200_000


def reward_of(codes: Tensor) -> Tensor:
    """A fixed reward of any code, `[B, D]` → `[B]`, not a sum over its bits."""
    weights = torch.arange(1, codes.shape[1] + 1, dtype=torch.float64).sqrt()
    return 10.0 + codes.double() @ weights.cos() + 3.0 * torch.sin(3.0 * (codes.double() @ weights))


def test_the_mean_estimate_is_the_enumerated_gradient(
    small_space: Space, enumerated: Callable[[Space, Tensor], tuple[Tensor, Tensor]]
) -> None:
    """Within four standard errors on 200,000 samples, in every logit, whatever is subtracted (check 10)."""
    policy = CodePolicy(small_space)
    rng = torch.Generator().manual_seed(1)
    z = torch.randn(small_space.width, generator=rng, dtype=torch.float64)
    exact = z.clone().requires_grad_()
    codes, p = enumerated(small_space, policy.probabilities(exact[None], 0.8)[0])
    (p * reward_of(codes)).sum().backward()
    assert exact.grad is not None

    images = SAMPLES // 2
    rows = z.repeat(images, 1).requires_grad_()
    q = policy.probabilities(rows, 0.8)
    draws = [policy.sample(q, rng) for _ in range(2)]
    rewards = torch.stack([reward_of(draw.codes) for draw in draws])
    mode_rewards = reward_of(policy.mode(z[None])).expand(images)
    log_prob = torch.stack([draw.log_prob for draw in draws])
    for baseline in ("none", "self_critical", "mean", "leave_one_out"):
        advantage = advantages(rewards, baseline, mode_rewards)
        (gradient,) = torch.autograd.grad(surrogate(log_prob, advantage), rows, retain_graph=True)
        each = -images * gradient
        error = (each.mean(0) - exact.grad).abs()
        assert bool((error <= 4.0 * each.std(0) / images**0.5 + 1e-9).all()), baseline
        # The comparison has teeth: the exact gradient is many standard errors from zero somewhere.
        assert float((exact.grad.abs() / (each.std(0) / images**0.5 + 1e-9)).max()) > 20.0, baseline


class TestAdvantages:
    rewards = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 2.0]])

    def test_none(self) -> None:
        assert advantages(self.rewards, "none").equal(self.rewards)

    def test_a_sample_that_is_the_map_child_has_none(self) -> None:
        """Check 11: adv = 0 when the sample is the MAP child."""
        found = advantages(self.rewards, "self_critical", self.rewards[1])
        assert found[1].tolist() == [0.0, 0.0]
        assert found[0].tolist() == [-2.0, 0.0]

    def test_leave_one_out_is_against_the_others_of_the_image(self) -> None:
        found = advantages(self.rewards, "leave_one_out")
        assert found.tolist() == [pytest.approx([1 - 5.5, 5 - 3.5]), pytest.approx([3 - 4.5, 5 - 3.5]),
                                  pytest.approx([8 - 2.0, 2 - 5.0])]  # fmt: skip

    def test_mean_is_against_all_others_of_the_batch(self) -> None:
        found = advantages(self.rewards, "mean")
        total = float(self.rewards.sum())
        for row, rewards in zip(found.tolist(), self.rewards.tolist()):
            assert row == pytest.approx([r - (total - r) / 5 for r in rewards])

    def test_what_is_missing_is_said(self) -> None:
        with pytest.raises(ValueError, match="rewards of the MAP children"):
            advantages(self.rewards, "self_critical")
        with pytest.raises(ValueError, match="at least 2 samples"):
            advantages(self.rewards[:1], "leave_one_out")


class TestSurrogate:
    def test_its_value_and_that_advantages_carry_no_gradient(self) -> None:
        log_prob = torch.tensor([[-1.0, -2.0]], requires_grad=True)
        advantage = torch.tensor([[3.0, 5.0]], requires_grad=True)
        entropy = torch.tensor([0.5, 1.5], requires_grad=True)
        loss = surrogate(log_prob, advantage, entropy, 0.8)
        assert float(loss.detach()) == pytest.approx((3 * 1 + 5 * 2) / 2 - 0.8 * 1.0)
        loss.backward()
        assert log_prob.grad is not None
        assert entropy.grad is not None
        assert log_prob.grad.tolist() == [[-1.5, -2.5]]
        assert entropy.grad.tolist() == pytest.approx([-0.4, -0.4])
        assert advantage.grad is None

    def test_the_released_push_on_a_logit_at_one_half(self) -> None:
        """Section 2.5: at p = 0.5 the half-entropy moves a logit by 0.8 · (−0.307) · 0.6 · 0.25 ≈ −0.037."""

        def bit(choose) -> nn.Module:
            return choose.subset("s", {"a": nn.ReLU}, empty=nn.Identity)

        policy = CodePolicy(Space(bit))
        z = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
        entropy = policy.entropy(policy.probabilities(z, 0.8), "half")
        surrogate(torch.zeros(1, 1), torch.zeros(1, 1), entropy, 0.8).backward()
        assert z.grad is not None
        assert -float(z.grad) == pytest.approx(-0.0368, abs=1e-4)
