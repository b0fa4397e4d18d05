"""Learning curves: against published ones, nothing leaks from later epochs, probabilities hold."""

from __future__ import annotations

import csv
import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest

from archipel.errors import OptionError
from archipel.evaluators import LatestScores, SequentialRegression
from archipel.evaluators.learning_curves import Curves, _design


def published(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features `[N, F]` and curves `[N, T]` of a file of Baker et al."""
    folder = os.environ.get("ARCHIPEL_DATA")
    if folder is None:
        pytest.skip("ARCHIPEL_DATA is not set: the folder with the real data sets")
    with gzip.open(Path(folder) / f"learning_curves/{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    seen = [column for column in rows[0] if column.startswith("acc_")]
    others = [column for column in ("num_params", "depth", "lr") if column in rows[0]]
    return tuple(np.array([[float(row[c]) for c in columns] for row in rows]) for columns in (others, seen))  # type: ignore[return-value]


def explained(found: np.ndarray, truth: np.ndarray) -> float:
    """R²."""
    return 1 - float(((found - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def growing(n: int, epochs: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Curves that approach what their feature says, with noise."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(20, 90, n)
    t = np.arange(1, epochs + 1)
    curves = ends[:, None] * (1 - np.exp(-t / rng.uniform(2, 4, (n, 1)))) + rng.normal(0, 0.5, (n, epochs))
    return (ends + rng.normal(0, 5, n))[:, None], curves


class TestPublishedCurves:
    """Of 100 whole trainings, R² on the others after a quarter of the epochs."""

    @pytest.mark.parametrize("method", ["least_squares", "svr"])
    def test_convolutional_networks(self, method) -> None:
        features, curves = published("metaqnn_cifar10")
        rows = np.random.default_rng(0).permutation(len(curves))
        own = SequentialRegression(method)
        own.fit(Curves(features[rows[:100]], curves[rows[:100]]))
        rest = rows[100:]
        found = own.predict(Curves(features[rest], curves[rest, :5]))
        assert explained(found, curves[rest, -1]) > 0.9
        assert explained(curves[rest, 4], curves[rest, -1]) < 0.6, "control: the last score seen"
        missed = np.std(found - curves[rest, -1])
        assert own.spread(5) == pytest.approx(missed, rel=0.5)

    def test_where_the_learning_rate_drops_the_last_score_says_nothing(self) -> None:
        features, curves = published("deep_resnets_cifar10")
        rows = np.random.default_rng(0).permutation(len(curves))
        own = SequentialRegression("least_squares")
        own.fit(Curves(features[rows[:100]], curves[rows[:100]]))
        rest, seen = rows[100:], 12
        assert explained(curves[rest, seen - 1], curves[rest, -1]) < 0
        assert explained(own.predict(Curves(features[rest], curves[rest, :seen])), curves[rest, -1]) > 0.3


def test_what_a_regressor_sees() -> None:
    """Features, scores, first and second differences; one regressor a number of epochs, blind to what comes later."""
    seen = np.array([[1.0, 3.0, 4.0, 8.0]])
    assert _design(np.array([[7.0]]), seen).tolist() == [[7.0, 1.0, 3.0, 4.0, 8.0, 2.0, 1.0, 4.0, -1.0, 3.0]]
    features, curves = growing(20)
    changed = curves.copy()
    changed[:, 5:-1] = 0.0
    found = []
    for given in (curves, changed):
        own = SequentialRegression("least_squares")
        own.fit(Curves(features, given))
        found.append(own.predict(Curves(features, curves[:, :5])))
    np.testing.assert_array_equal(*found)


class TestFewCurves:
    """A line through the last score and its gain, with what few curves leave open."""

    def test_exact_lines(self) -> None:
        """What lies on a line is predicted, but for what the ridge takes."""
        rng = np.random.default_rng(0)
        curves = rng.uniform(20, 60, (200, 1)) + rng.uniform(0, 5, (200, 1)) * np.arange(8)
        own = LatestScores()
        own.fit(Curves(np.zeros((150, 1)), curves[:150]))
        found = own.predict(Curves(np.zeros((50, 1)), curves[150:, :4]))
        assert explained(found, curves[150:, -1]) > 0.999

    def test_losses_say_more(self) -> None:
        """Where the loss tells the end and the score so far does not."""
        rng = np.random.default_rng(1)
        ends = rng.uniform(60, 95, 60)
        curves = rng.normal(30, 8, (60, 8))
        curves[:, -1] = ends
        losses = np.exp(-ends[:, None] / 20) * np.exp(-np.arange(8) / 8)
        told = []
        for known in (None, losses):
            own = LatestScores()
            own.fit(Curves(np.zeros((10, 1)), curves[:10], None if known is None else known[:10]))
            asked = np.zeros((50, 1)), curves[10:, :4], None if known is None else known[10:, :4]
            told.append(explained(own.predict(Curves(*asked)), curves[10:, -1]))
        assert told[0] < 0.5 < 0.99 < told[1]

    def test_probabilities_hold(self) -> None:
        """Of six curves, too: so often as is said, the end is below."""
        below = []
        for seed in range(300):
            features, curves = growing(7, seed=seed)
            own = LatestScores()
            own.fit(Curves(features[:6], curves[:6]))
            below.append(own.below(Curves(features[6:], curves[6:, :4]), curves[6, -1])[0])
        share = np.mean(np.array(below) >= 0.95)  # P(end < its own end) is uniform: 5 % are above 0.95
        assert abs(share - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 300)

    def test_fewer_curves_say_less(self) -> None:
        features, curves = growing(200, seed=5)
        asked = features[:1], curves[:1, :4]
        least = []
        for n in (6, 150):
            own = LatestScores()
            own.fit(Curves(features[1 : n + 1], curves[1 : n + 1]))
            end = own.predict(Curves(*asked))[0]
            least.append(float(own.below(Curves(*asked), end + 15)[0]))
        assert least[0] < least[1]


class TestNetworksThatLearnNothing:
    """One of eight stays at chance, as far below the others as can be."""

    def test_how_far_off_one_is_says_nothing(self) -> None:
        features, curves = growing(58, seed=7)
        told = []
        for chance in (-500.0, -5000.0):
            whole = curves[:8].copy()
            whole[3] = chance
            own = LatestScores()
            own.fit(Curves(features[:8], whole))
            told.append(own.below(Curves(features[8:], curves[8:, :4]), 60.0))
        np.testing.assert_array_equal(*told)

    def test_others_are_given_up_nearly_as_often(self) -> None:
        """Where the first epochs say little and the best is far above most."""
        shares = []
        for seed in range(50):
            rng = np.random.default_rng(seed)
            ends = rng.normal(95, 1.5, 58)
            early = 80 + 0.3 * (ends - 95) + rng.normal(0, 3, 58)
            curves = np.stack([early, early, early, ends], 1)
            nothing = curves[:8].copy()
            nothing[3] = 10.0
            for whole in (curves[:8], nothing):
                own = LatestScores()
                own.fit(Curves(np.zeros((8, 1)), whole))
                shares.append((own.below(Curves(np.zeros((50, 1)), curves[8:, :3]), 98.5) >= 0.9).mean())
        assert np.mean(shares[1::2]) > 0.75 * np.mean(shares[::2]) > 0.5

    def test_it_is_given_up_itself(self) -> None:
        features, curves = growing(8, seed=9)
        own = LatestScores()
        own.fit(Curves(features, curves))
        best = float(curves[:, -1].max())
        nothing = np.full((1, 6), -1000.0)
        assert own.below(Curves(features[:1], nothing), best + 1)[0] > 0.9


def test_mistakes() -> None:
    with pytest.raises(OptionError, match="there is no method 'rbm' \\(svr, forest, least_squares\\)"):
        SequentialRegression("rbm")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="5 curves and 5 rows of features are given; give at least 6"):
        SequentialRegression().fit(Curves(np.zeros((5, 1)), np.zeros((5, 4))))
