"""Figures over seeds: the interval of a textbook example, and what is missing."""

from __future__ import annotations

import pytest

from archipel.recipes.result import figure, point


def test_the_interval_of_three_seeds() -> None:
    found = figure([1.0, 2.0, 3.0])
    assert found is not None
    # t(0.975, 2 degrees of freedom) = 4.3027, standard deviation 1, √3 seeds.
    assert (found["low"], found["mean"], found["high"]) == pytest.approx((2 - 2.4841, 2.0, 2 + 2.4841), abs=1e-4)
    assert found["values"] == [1.0, 2.0, 3.0]


def test_one_seed_has_no_interval() -> None:
    assert figure([0.7]) == {"values": [0.7], "mean": 0.7, "low": 0.7, "high": 0.7}


def test_what_was_not_measured_is_left_out() -> None:
    assert figure([None, float("nan"), 0.7]) == figure([0.7])
    assert figure([None, float("inf")]) is None
    assert figure([]) is None


def test_a_point_has_a_figure_for_every_number_and_a_count_of_parameters() -> None:
    rows = [{"accuracy": 0.9, "madds": 10.0, "parameters": 7}, {"accuracy": 0.8, "table_ms": 2.0, "parameters": 7}]
    assert point("A", "instanas", rows, note="as it is") == {
        "name": "A",
        "kind": "instanas",
        "accuracy": figure([0.9, 0.8]),
        "madds": figure([10.0]),
        "table_ms": figure([2.0]),
        "parameters": 7,
        "note": "as it is",
    }
