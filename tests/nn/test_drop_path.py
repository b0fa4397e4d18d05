"""ScheduledDropPath: how many samples it drops, when, and what it does to the mean."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from archipel.errors import SpaceError
from archipel.nn.drop_path import DropPath
from archipel.sharing.training import Optimisation, train
from archipel.tasks import digits


@pytest.mark.parametrize("done", [0.25, 1.0])
def test_share_of_samples_dropped(done: float) -> None:
    """Within three standard deviations; the survivors are weighed so that the mean stays."""
    torch.manual_seed(0)
    path, n = DropPath(0.4), 20_000
    path.done = done
    y = path(torch.ones(n, 2, 1, 1))
    keep = 1 - 0.4 * done
    kept = float((y[:, 0] > 0).float().mean())
    assert abs(kept - keep) < 3 * math.sqrt(keep * (1 - keep) / n)
    assert torch.equal(y[:, 0], y[:, 1]), "whole samples are dropped"
    assert y.max() == pytest.approx(1 / keep)


def test_nothing_is_dropped_at_first_nor_out_of_training() -> None:
    path, x = DropPath(0.9), torch.randn(8, 2)
    path.done = 0.0
    assert path(x) is x
    path.done = 1.0
    assert path.eval()(x) is x


def test_mistakes() -> None:
    with pytest.raises(SpaceError, match="drop_path is 1; give a share from 0 to below 1"):
        DropPath(1.0)


def test_the_training_loop_says_how_far_it_is() -> None:
    seen: list[float] = []

    class Noted(DropPath):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(self.done)
            return super().forward(x)

    task = digits()
    network = nn.Sequential(nn.Flatten(), Noted(0.5), nn.Linear(64, 10))
    train(network, task, Optimisation(epochs=2, batch=256), title="t", seed=0)
    steps = len(seen)
    assert seen == [pytest.approx(i / steps) for i in range(steps)]
    assert steps > 4
