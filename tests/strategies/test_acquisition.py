"""Acquisitions against their definitions."""

from __future__ import annotations

import pytest
import torch

from archipel.strategies import acquisition

MEAN = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64)
SPREAD = torch.tensor([1.0, 0.5, 3.0], dtype=torch.float64)


def test_expected_improvement_is_the_expectation() -> None:
    own = acquisition("ei")(MEAN, SPREAD, 0.7, torch.Generator())
    drawn = MEAN + SPREAD * torch.randn(200_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(own, (drawn - 0.7).clamp_min(0).mean(0), atol=0.01, rtol=0.02)
    sure = acquisition("ei")(torch.tensor([2.0, 0.0]), torch.zeros(2), 0.5, torch.Generator())
    torch.testing.assert_close(sure, torch.tensor([1.5, 0.0]))


def test_thompson_draws_have_the_spread() -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([acquisition("thompson")(MEAN, SPREAD, 0.0, rng) for _ in range(4000)])
    assert drawn.std(0).tolist() == pytest.approx(SPREAD.tolist(), rel=0.06)
    assert drawn.mean(0).tolist() == pytest.approx(MEAN.tolist(), abs=0.2)


def test_the_others() -> None:
    assert acquisition("mean")(MEAN, SPREAD, 0.0, torch.Generator()).tolist() == MEAN.tolist()
    assert acquisition("ucb")(MEAN, SPREAD, 0.0, torch.Generator()).tolist() == [1.0, 1.5, 1.0]
