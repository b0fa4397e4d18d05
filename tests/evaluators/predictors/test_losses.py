"""Losses against sums by hand, and where their gradients point."""

from __future__ import annotations

import math

import pytest
import torch

from archipel.evaluators.predictors.losses import (
    Comparison,
    Listwise,
    Loss,
    PairwiseHinge,
    Regression,
    ordered_pairs,
)

S = torch.tensor([0.3, -0.2, 0.25])
Y = torch.tensor([1.0, 2.0, 0.0])
RANKING: list[Loss] = [PairwiseHinge(pairs=None), Comparison(pairs=None), Listwise()]
EVERY: list[Loss] = [*RANKING, Regression()]


def test_hinge_by_hand() -> None:
    """Pairs (better, worse): (1, 0), (0, 2), (1, 2)."""
    by_hand = (max(0, 0.1 - (-0.2 - 0.3)) + max(0, 0.1 - (0.3 - 0.25)) + max(0, 0.1 - (-0.2 - 0.25))) / 3
    assert PairwiseHinge(pairs=None)(S, Y).item() == pytest.approx(by_hand)
    assert PairwiseHinge(margin=0.0, pairs=None)(Y, Y).item() == 0


def test_comparison_by_hand() -> None:
    gaps = (-0.5, 0.05, -0.45)
    assert Comparison(pairs=None)(S, Y).item() == pytest.approx(sum(math.log1p(math.exp(-g)) for g in gaps) / 3)


def test_listwise_is_the_probability_of_the_true_order() -> None:
    best_first = [-0.2, 0.3, 0.25]
    p = 1.0
    for i in range(3):
        p *= math.exp(best_first[i]) / sum(math.exp(s) for s in best_first[i:])
    assert Listwise()(S, Y).item() == pytest.approx(-math.log(p) / 3)


def test_regression_by_hand() -> None:
    assert Regression()(S, Y).item() == pytest.approx((0.7**2 + 2.2**2 + 0.25**2) / 3)


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: type(loss).__name__)
class TestEvery:
    def test_a_step_downhill_lowers_it(self, loss: Loss) -> None:
        s = S.double().requires_grad_()
        (gradient,) = torch.autograd.grad(before := loss(s, Y.double()), s)
        assert gradient.abs().sum() > 0
        assert loss(s.detach() - 1e-3 * gradient, Y.double()) < before

    def test_gradients_are_those_of_finite_differences(self, loss: Loss) -> None:
        assert torch.autograd.gradcheck(lambda s: loss(s, Y.double()), S.double().requires_grad_())

    def test_the_order_of_a_batch_changes_nothing(self, loss: Loss) -> None:
        turned = torch.tensor([2, 0, 1])
        assert torch.allclose(loss(S, Y), loss(S[turned], Y[turned]))

    def test_without_anything_to_compare_it_is_finite(self, loss: Loss) -> None:
        s = torch.tensor([0.5], requires_grad=True)
        value = loss(s, torch.tensor([0.5]))
        value.backward()
        assert value.item() == 0
        assert s.grad is not None


@pytest.mark.parametrize("loss", RANKING, ids=lambda loss: type(loss).__name__)
def test_only_the_order_of_targets_counts(loss: Loss) -> None:
    assert loss.ranks
    assert torch.equal(loss(S, Y), loss(S, Y.exp()))
    assert torch.allclose(loss(S, Y), loss(S + 5, Y))  # nor where outputs start


class TestPairs:
    def test_every_pair_with_a_difference_once(self) -> None:
        y = torch.tensor([1.0, 2.0, 1.0, 0.0])
        better, worse = ordered_pairs(y, None)
        assert sorted(zip(better.tolist(), worse.tolist())) == [(0, 3), (1, 0), (1, 2), (1, 3), (2, 3)]

    def test_so_many_are_drawn(self) -> None:
        y = torch.arange(20.0)
        better, worse = ordered_pairs(y, 2.0)
        assert len(better) == 40 == len(set(zip(better.tolist(), worse.tolist())))
        assert bool((y[better] > y[worse]).all())
