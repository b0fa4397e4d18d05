"""Rank metrics against values by hand."""

from __future__ import annotations

import math

import pytest
import torch

from archipel.errors import OptionError
from archipel.evaluators.predictors.metrics import (
    kendall_tau,
    n_at_k,
    p_at_k,
    ranking,
    sparse_kendall_tau,
    spearman,
)

TRUE = torch.tensor([90.0, 93.01, 93.04, 10.0, 92.0])
SAID = torch.tensor([2.0, 4.0, 3.0, 1.0, 5.0])


def test_tau_by_hand() -> None:
    """Of ten pairs (1, 2), (1, 4) and (2, 4) are the wrong way round."""
    assert kendall_tau(SAID.numpy(), TRUE.numpy()) == pytest.approx((7 - 3) / 10)


def test_ties_are_those_of_tau_b() -> None:
    """Three pairs tied in x, one of them in y too: (n_c − n_d) / √((n − n_x)(n − n_y))."""
    x, y = [1.0, 1.0, 1.0, 2.0], [1.0, 1.0, 2.0, 3.0]
    assert kendall_tau(x, y) == pytest.approx(3 / math.sqrt(3 * 5))


def test_of_a_constant_there_is_none() -> None:
    assert math.isnan(kendall_tau([1.0, 1.0], [1.0, 2.0]))
    assert math.isnan(spearman(torch.ones(3), TRUE[:3]))


def test_sparse_tau_forgives_what_is_chance() -> None:
    """93.01 and 93.04 are both 93.0: nine pairs that differ, two of them the wrong way round."""
    assert sparse_kendall_tau(SAID, TRUE) == pytest.approx((7 - 2) / math.sqrt(10 * 9))


def test_n_at_k_by_hand() -> None:
    assert n_at_k(SAID, TRUE, 1) == 3  # said to be best: 92.0
    assert n_at_k(SAID, TRUE, 2) == 2  # and 93.01 behind it
    assert n_at_k(SAID, TRUE, 3) == 1


def test_p_at_k_by_hand() -> None:
    assert p_at_k(SAID, TRUE, 0.4) == 0.5  # two of five; 93.01 of {93.04, 93.01}
    assert p_at_k(TRUE, TRUE, 0.4) == 1
    assert p_at_k(-TRUE, TRUE, 0.4) == 0


def test_all_together() -> None:
    many = torch.arange(40.0)
    assert ranking(many, many) == {"tau": 1, "sparse_tau": 1, "spearman": 1, "N@5": 1, "N@10": 1, "P@5%": 1}


def test_more_than_there_are() -> None:
    with pytest.raises(OptionError, match="the top 9 are asked of 5 architectures; give 1 to 5"):
        n_at_k(SAID, TRUE, 9)
