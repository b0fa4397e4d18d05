"""Space quality: distributions known in closed form, scipy's distance, and what was measured on published tables."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ks_2samp

from archipel.errors import OptionError
from archipel.evolve.quality import (
    Sample,
    best_of,
    bootstrap,
    distance,
    distance_interval,
    edf,
    equalised,
    lead,
    mean_difference,
    promising,
    significance,
    top_mean,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def data(name: str) -> Path:
    root = os.environ.get("ARCHIPEL_DATA")
    if root is None or not (Path(root) / name).exists():
        pytest.skip(f"{name} is not in ARCHIPEL_DATA")
    return Path(root) / name


class TestDistribution:
    def test_a_known_one(self) -> None:
        errors = np.array([0.3, 0.1, 0.1, 0.4])
        np.testing.assert_allclose(edf(errors, np.array([0.0, 0.1, 0.2, 0.3, 1.0])), [0, 0.5, 0.5, 0.75, 1])
        weighed = edf(errors, np.array([0.1, 0.3, 1.0]), np.array([0.5, 0.25, 0.0, 0.25]))
        np.testing.assert_allclose(weighed, [0.25, 0.75, 1.0])

    @pytest.mark.parametrize(("n", "m", "shift"), [(30, 30, 0.0), (30, 70, 0.1), (200, 50, 0.5)])
    def test_distance_is_that_of_scipy(self, rng: np.random.Generator, n: int, m: int, shift: float) -> None:
        first, second = rng.random(n) / 2, rng.random(m) / 2 + shift / 2
        second[:5] = first[:5]  # ties
        known = ks_2samp(first, second)
        assert distance(first, second) == pytest.approx(known.statistic)
        assert significance(first, second) == pytest.approx(known.pvalue)

    def test_lead_is_one_sided(self) -> None:
        good, bad = np.linspace(0.1, 0.3, 50), np.linspace(0.2, 0.4, 50)
        assert lead(bad, good) == 0.0
        assert lead(good, bad) == distance(good, bad) > 0.4
        crossing = np.array([0.05, 0.5])
        assert lead(crossing, good) == pytest.approx(0.5)
        assert lead(good, crossing) == pytest.approx(0.5)

    def test_samples_of_a_published_table(self) -> None:
        """Mean distance of a subsample of NAS-Bench-Macro to all of it, as measured when the method was specified."""
        accuracy = np.load(data("nasbench_macro/nasbench_macro.npz"))["mean_acc"]
        rng = np.random.default_rng(1)
        for n, known in ((10, 0.26), (30, 0.15), (100, 0.085), (300, 0.048), (1000, 0.025)):
            drawn = [distance(rng.choice(accuracy, n, replace=False), accuracy) for _ in range(60)]
            assert np.mean(drawn) == pytest.approx(known, rel=0.12)


class TestComplexity:
    def samples(self, rng: np.random.Generator, shift: float = 0.0) -> tuple[Sample, Sample]:
        """Error falls with cost by one rule in both; the second's networks are dearer."""
        first, second = rng.uniform(1, 10, 3000), rng.uniform(1, 10, 3000) ** 0.5 * 10**0.5
        noise = rng.uniform(0, 0.01, 3000)
        return Sample("a", 0.5 - 0.03 * first + noise, first), Sample("b", 0.5 - 0.03 * second + shift, second)

    def test_equal_spaces_of_unequal_cost_are_equal_again(self, rng: np.random.Generator) -> None:
        a, b = self.samples(rng, shift=0.005)
        found = equalised((a, b), 20)
        assert found is not None
        assert found.bins == 20
        assert [weights.sum() for weights in found.weights] == pytest.approx([1.0, 1.0])
        assert distance(a.errors, b.errors) > 0.2
        assert distance(a.errors, b.errors, found.weights) < 0.05

    def test_one_bin_of_all_is_no_weighting(self, rng: np.random.Generator) -> None:
        cost = np.array([1.0, 2.0, 3.0, 4.0])
        a, b = Sample("a", rng.random(4), cost), Sample("b", rng.random(4), cost[::-1].copy())
        found = equalised((a, b), 1)
        assert found is not None
        np.testing.assert_allclose(found.weights[0], 0.25)
        assert found.counts == (4, 4)

    def test_no_bin_is_empty(self, rng: np.random.Generator) -> None:
        a = Sample("a", rng.random(5), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
        b = Sample("b", rng.random(4), np.array([0.5, 1.2, 4.9, 7.0]))
        found = equalised((a, b), 10)
        assert found is not None
        assert (found.low, found.high, found.bins) == (1.0, 5.0, 2)
        assert found.counts == (5, 2)
        np.testing.assert_allclose(found.weights[0], [1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6])
        np.testing.assert_allclose(found.weights[1], [0, 1 / 2, 1 / 2, 0])

    def test_nothing_in_common(self) -> None:
        a, b = Sample("a", np.array([0.1]), np.array([1.0])), Sample("b", np.array([0.1]), np.array([2.0]))
        assert equalised((a, b), 4) is None
        assert equalised((a, Sample("c", np.array([0.1]))), 4) is None


class TestRandomSearch:
    def test_uniform_errors(self) -> None:
        """The least of m uniform numbers is 1 / (m + 1) in the mean."""
        errors = (np.arange(20_000) + 0.5) / 20_000
        for best in best_of(errors, (1, 2, 8, 64)):
            assert best.mean == pytest.approx(1 / (best.draws + 1), rel=1e-3)
            assert best.low == pytest.approx(1 - 0.975 ** (1 / best.draws), rel=0.02, abs=5e-5)
            assert best.high == pytest.approx(1 - 0.025 ** (1 / best.draws), rel=0.02, abs=5e-5)

    def test_agrees_with_searching(self, rng: np.random.Generator) -> None:
        errors, weights = rng.random(12), rng.random(12)
        weights /= weights.sum()
        (found,) = best_of(errors, (3,), weights)
        searched = rng.choice(errors, (300_000, 3), p=weights).min(1).mean()
        assert found.mean == pytest.approx(searched, abs=0.004)

    def test_of_one_network(self) -> None:
        (found,) = best_of(np.array([0.3]), (16,))
        assert (found.mean, found.low, found.high) == (pytest.approx(0.3), 0.3, 0.3)


class TestSureness:
    def test_the_interval_of_a_mean(self, rng: np.random.Generator) -> None:
        errors = rng.normal(0.3, 0.05, 100).clip(0, 1)
        low, high = bootstrap(errors, lambda rows: rows.mean(1), resamples=2000, seed=0)
        assert low < errors.mean() < high
        assert high - low == pytest.approx(2 * 1.96 * errors.std() / 10, rel=0.1)
        assert bootstrap(errors, top_mean(0.1), resamples=200, seed=0)[1] < errors.mean()
        assert top_mean(0.25)(np.array([[4.0, 1.0, 3.0, 2.0, 5.0, 6.0, 7.0, 8.0]])) == 1.5

    def test_a_difference(self, rng: np.random.Generator) -> None:
        first, second = rng.normal(0.3, 0.02, 80), rng.normal(0.4, 0.02, 60)
        found, (low, high) = mean_difference(first, second, resamples=500, seed=0)
        assert low < found < high < 0
        assert found == pytest.approx(-0.1, abs=0.02)
        _, (low, high) = mean_difference(first, first, resamples=500, seed=0)
        assert low < 0 < high

    def test_a_distance(self, rng: np.random.Generator) -> None:
        """Of two samples that do not overlap it is 1 for sure; of two of one space it holds the distance of many."""
        apart = distance_interval(rng.uniform(0, 0.4, 20), rng.uniform(0.6, 1, 20), resamples=100, seed=0)
        assert apart == pytest.approx((1.0, 1.0))
        first, second = rng.uniform(0, 1, 400), rng.uniform(1 / 3, 1, 400)  # 1/3 apart, at 1/3
        low, high = distance_interval(first, second, resamples=200, seed=0)
        assert low < 1 / 3 < high < low + 0.15
        assert distance_interval(first, second, resamples=200, seed=0) == (low, high)

    def test_the_promising_range_holds_the_best_value(self, rng: np.random.Generator) -> None:
        depth = rng.integers(1, 13, 400)
        errors = 0.2 + 0.01 * (depth - 7) ** 2 + rng.uniform(0, 0.01, 400)
        low, high = np.percentile(promising(errors, depth), [2.5, 97.5])
        assert (low, high) == (7, 7)
        blind = promising(rng.random(400), depth)
        assert np.percentile(blind, 97.5) - np.percentile(blind, 2.5) > 5


@pytest.mark.parametrize(
    ("errors", "madds", "said"),
    [([], None, "no trained network"), ([50.0], None, r"outside 0\.\.1"), ([0.5], [0.0], "not above 0")],
)
def test_what_is_no_sample(errors: list[float], madds: list[float] | None, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Sample("a", np.array(errors), None if madds is None else np.array(madds))
