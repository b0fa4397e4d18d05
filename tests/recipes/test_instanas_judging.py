"""Whether dear architectures go to hard images."""

from __future__ import annotations

import pytest
import torch

from archipel.recipes.instanas.judging import rank_correlation


def test_ranks_alone_count() -> None:
    hard = torch.tensor([0.1, 0.7, 2.0, 9.0])
    assert rank_correlation(torch.tensor([1.0, 2.0, 3.0, 4.0]), hard) == pytest.approx(1.0)
    assert rank_correlation(torch.tensor([4.0, 3.0, 2.0, 1.0]), hard) == pytest.approx(-1.0)
    assert rank_correlation(torch.tensor([1.0, 1.0, 2.0, 2.0]), hard) == pytest.approx(0.894427)  # ties share a rank


def test_there_is_none_where_every_image_gets_the_same() -> None:
    assert rank_correlation(torch.ones(4), torch.rand(4)) is None
