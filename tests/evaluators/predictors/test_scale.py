"""Scales are monotone, and there and back is the identity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archipel.evaluators.predictors.scale import NormalScores, Scale, Standard

SCORES = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=1, max_size=20)


@pytest.mark.parametrize("kind", [NormalScores, Standard])
@given(scores=SCORES, others=SCORES)
def test_monotone_and_back_again(kind: type[Scale], scores: list[float], others: list[float]) -> None:
    scale = kind.of(torch.tensor(scores, dtype=torch.float64))
    x = torch.tensor(sorted(scores + others), dtype=torch.float64)
    z = scale.forward(x)
    assert bool(z.isfinite().all())
    assert bool((z.diff() >= 0).all())
    assert bool((z.diff() > 0)[x.diff() > 0].all())
    assert torch.allclose(scale.inverse(z), x, atol=1e-6)


def test_normal_scores_are_those_of_a_normal_distribution() -> None:
    z = NormalScores.of(torch.tensor([10.0, 1e6, -3.0])).forward(torch.tensor([-3.0, 10.0, 1e6]))
    assert z.tolist() == pytest.approx([-0.967422, 0.0, 0.967422], abs=1e-5)  # Φ⁻¹ of 1/6, 1/2, 5/6


def test_equal_scores_share_the_middle_of_their_ranks() -> None:
    z = NormalScores.of(torch.tensor([5.0, 5.0, 5.0, 7.0])).forward(torch.tensor([5.0, 7.0]))
    assert z.tolist() == pytest.approx([-0.318639, 1.150349], abs=1e-5)  # Φ⁻¹ of 3/8 and 7/8


def test_standard() -> None:
    assert Standard.of(torch.tensor([1.0, 3.0])).forward(torch.tensor([1.0, 2.0, 5.0])).tolist() == [-1, 0, 3]
