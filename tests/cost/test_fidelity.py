"""Scores of predictions, against hand arithmetic and scikit-learn's neighbour SciPy."""

from __future__ import annotations

import json
import math
import random

import pytest

from archipel.cost.fidelity import Fidelity, kendall_tau, score


def test_scores_by_hand() -> None:
    judged = score([1.0, 2.0, 4.0], [1.1, 2.0, 5.0], margin=0.15, nominal=0.9)
    assert judged.mape == pytest.approx(100 * (0.1 / 1.1 + 0 + 0.2) / 3)
    assert judged.median_error == pytest.approx(100 * 0.1 / 1.1)
    assert judged.worst_error == pytest.approx(20)
    assert judged.tau == 1
    assert judged.coverage == pytest.approx(100 * 2 / 3)
    assert judged.nominal == 90


def test_a_slower_machine_is_told_from_a_wrong_table() -> None:
    predicted = [1.0, 2.0, 4.0]
    judged = score(predicted, [1.2 * p for p in predicted], margin=0.05, nominal=0.9, speed=1.2)
    assert judged.mape == pytest.approx(0, abs=1e-9)
    assert judged.mape_uncorrected == pytest.approx(100 * 0.2 / 1.2)
    assert (judged.coverage, judged.coverage_uncorrected) == (100, 0)
    assert "take 1.20 × what they took" in judged.sentence()


def test_tau_agrees_with_scipy_with_and_without_ties() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = random.Random(0)
    for values in (1000, 5):
        x = [rng.randrange(values) for _ in range(40)]
        y = [a + rng.randrange(values) for a in x]
        assert kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y)[0])


def test_tau_of_a_constant_is_no_number() -> None:
    assert math.isnan(kendall_tau([1, 1, 1], [1, 2, 3]))


def test_json_round_trip_keeps_what_is_no_number() -> None:
    judged = score([1.0, 1.0], [1.0, 2.0], margin=0.1, nominal=0.9)
    text = json.dumps(judged.to_json(), allow_nan=False)
    again = Fidelity.from_json(json.loads(text))
    assert math.isnan(again.tau)
    assert again.pairs == judged.pairs
    assert again.mape == judged.mape
    assert math.isnan(again.chance)
    before = {key: value for key, value in judged.to_json().items() if key != "chance"}  # tables that did not say
    assert math.isnan(Fidelity.from_json(before).chance)
