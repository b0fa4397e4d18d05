"""Hypervolume and what is expected to be added to it, against counting and against draws."""

from __future__ import annotations

import numpy as np
import torch

from archipel.strategies.hypervolume import expected_hypervolume_improvement, hypervolume

CORNER = np.array([0.0, -1.0])
POINTS = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [2.0, 1.5], [5.0, -1.0], [-1.0, 9.0]])


def test_hypervolume_by_hand() -> None:
    assert hypervolume(POINTS, CORNER) == 4.0 + 3.0 + 2.0
    assert hypervolume(POINTS[:0], CORNER) == hypervolume(POINTS[4:], CORNER) == 0.0


def test_hypervolume_against_counting() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 12, (30, 2)).astype(float)
    cells = [(x, y) for x in range(12) for y in range(12) if ((points >= (x + 1, y + 1)).all(1)).any()]
    assert hypervolume(points, np.zeros(2)) == len(cells)


def test_expected_improvement_of_it_is_the_mean_over_draws() -> None:
    mean = torch.tensor([[2.5, 2.0], [0.5, 0.0], [4.0, 4.0], [1.5, 2.5]], dtype=torch.float64)
    spread = torch.tensor([[0.5, 1.0], [1.0, 1.0], [2.0, 0.3], [0.0, 0.0]], dtype=torch.float64)
    own = expected_hypervolume_improvement(mean, spread, POINTS, CORNER)
    rng = torch.Generator().manual_seed(0)
    drawn = mean + spread * torch.randn(800, 4, 2, dtype=torch.float64, generator=rng)
    before = hypervolume(POINTS, CORNER)
    added = [[hypervolume(np.vstack([POINTS, y]), CORNER) - before for y in row.numpy()] for row in drawn]
    error = np.std(added, 0) / np.sqrt(len(added))
    assert np.all(np.abs(own.numpy() - np.mean(added, 0)) <= 4 * error + 1e-9)
    assert own[3] == 0.25, "sure of where it lies: half a step in both"


def test_nothing_known_yet() -> None:
    own = expected_hypervolume_improvement(torch.tensor([[2.0, 1.0]]), torch.zeros(1, 2), np.empty((0, 2)), CORNER)
    assert own.tolist() == [4.0]
