"""Strategies on real tables, searching by the test accuracy itself, against means that plain scripts of others gave.

The reference means are of 300 to 500 runs; a mean of ours may be three standard errors of the difference away.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archipel.evaluators import Objective, Tabular, nasbench201, nasbench_macro
from archipel.strategies import strategy
from archipel.trials import Budget, search


@pytest.fixture(scope="module")
def tables() -> Callable[[str], Tabular]:
    folder = os.environ.get("ARCHIPEL_DATA")
    if folder is None:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    cells = nasbench201(Path(folder))
    held = {
        "nasbench201": replace(cells, objectives=(Objective("test_accuracy"),)),
        "nasbench_macro": nasbench_macro(Path(folder)),
    }
    return held.__getitem__


def found(spec: str, table: Tabular, trials: int, seeds: int) -> list[float]:
    return [
        max(
            step.trial.metrics["test_accuracy"]
            for step in search(strategy(spec, table.space, seed=seed), table, Budget(trials=trials)).steps
            if step.trial.metrics is not None
        )
        for seed in range(seeds)
    ]


# table, strategy, architectures, runs here → mean, standard deviation and runs of the reference
REFERENCES = [
    ("nasbench201", "random", 100, 60, 93.864, 0.220, 500),
    ("nasbench201", "regularised_evolution", 50, 60, 93.933, 0.314, 500),
    ("nasbench201", "regularised_evolution", 100, 60, 94.189, 0.209, 500),
    ("nasbench201", "local_search", 50, 60, 94.172, 0.249, 500),
    ("nasbench201", "local_search", 100, 60, 94.313, 0.149, 500),
    ("nasbench_macro", "random", 100, 60, 92.868, 0.127, 500),
    ("nasbench_macro", "regularised_evolution", 100, 60, 93.063, 0.077, 300),
]


@pytest.mark.parametrize(("name", "spec", "trials", "seeds", "mean", "spread", "runs"), REFERENCES)
def test_reference_means(tables, name, spec, trials, seeds, mean, spread, runs) -> None:
    own = found(spec, tables(name), trials, seeds)
    error = math.hypot(statistics.stdev(own) / math.sqrt(seeds), spread / math.sqrt(runs))
    assert statistics.mean(own) == pytest.approx(mean, abs=3 * error)


def test_random_search_is_exactly_what_it_should_be(tables) -> None:
    """The mean of the best of n different draws, in closed form."""
    table = tables("nasbench201")
    values = np.sort(table.figures["test_accuracy"])
    size, n = len(values), 50
    log = [math.lgamma(k + 1) - math.lgamma(k - n + 1) if k >= n else -math.inf for k in range(size + 1)]
    below = np.exp(np.array(log) - log[-1])  # P(all n are among the k smallest)
    exact = float(np.sum(values * np.diff(below)))
    own = found("random", table, n, 80)
    assert statistics.mean(own) == pytest.approx(exact, abs=3.5 * statistics.stdev(own) / math.sqrt(80))
