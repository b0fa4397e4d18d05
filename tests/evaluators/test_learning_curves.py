"""Learning curves: against published ones, nothing leaks from later epochs, and what stopping saves."""

from __future__ import annotations

import csv
import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest

from archipel.errors import OptionError
from archipel.evaluators import CurveStopping, SequentialRegression, Stopping, Trained
from archipel.evaluators.learning_curves import _design
from archipel.sharing.training import Optimisation
from archipel.spaces import nasbench_macro
from archipel.tasks import load


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
        own.fit(features[rows[:100]], curves[rows[:100]])
        rest = rows[100:]
        found = own.predict(features[rest], curves[rest, :5])
        assert explained(found, curves[rest, -1]) > 0.9
        assert explained(curves[rest, 4], curves[rest, -1]) < 0.6, "control: the last score seen"
        missed = np.std(found - curves[rest, -1])
        assert own.spread(5) == pytest.approx(missed, rel=0.5)

    def test_where_the_learning_rate_drops_the_last_score_says_nothing(self) -> None:
        features, curves = published("deep_resnets_cifar10")
        rows = np.random.default_rng(0).permutation(len(curves))
        own = SequentialRegression("least_squares")
        own.fit(features[rows[:100]], curves[rows[:100]])
        rest, seen = rows[100:], 12
        assert explained(curves[rest, seen - 1], curves[rest, -1]) < 0
        assert explained(own.predict(features[rest], curves[rest, :seen]), curves[rest, -1]) > 0.3


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
        own.fit(features, given)
        found.append(own.predict(features, curves[:, :5]))
    np.testing.assert_array_equal(*found)


class TestStopping:
    def stopping(self, **settings) -> CurveStopping:
        own = CurveStopping(Stopping(method="least_squares", **settings))
        for feature, curve in zip(*growing(20)):
            own.learn(feature, curve)
        return own

    def test_rule(self) -> None:
        """Φ((best − ŷ) / σ) ≥ Δ, to the digit."""
        own = self.stopping(curves=10)
        best = max(curve[-1] for curve in own.curves)
        features, curves = growing(60, seed=1)
        outcomes = set()
        for feature, curve in zip(features, curves):
            end = float(own._model.predict(feature[None], curve[None, :4])[0]) if own._fitted else None
            said = own.given_up(feature, curve[:4], 12)
            if end is not None:
                sure = 0.5 * (1 + math.erf((best - end) / own._model.spread(4) / math.sqrt(2)))
                assert said == (end if sure >= 0.95 else None)
                outcomes.add(said is None)
        assert outcomes == {True, False}

    def test_when_it_is_asked_too_early_or_too_late(self) -> None:
        (feature,), (curve,) = growing(1, seed=2)
        hopeless = curve * 0.01
        own = self.stopping(curves=10, observe=0.25)
        assert [own.given_up(feature, hopeless[:t], 12) is None for t in (1, 2, 3, 11, 12)] == [
            True, True, False, False, True,
        ]  # fmt: skip
        assert self.stopping(curves=21).given_up(feature, hopeless[:6], 12) is None

    def test_it_saves_epochs_and_keeps_the_best(self) -> None:
        own, spent, kept = CurveStopping(Stopping(method="least_squares")), 0, []
        features, curves = growing(100, seed=3)
        for feature, curve in zip(features, curves):
            ended = next((t for t in range(1, 12) if own.given_up(feature, curve[:t], 12) is not None), 12)
            spent += ended
            if ended == 12:
                own.learn(feature, curve)
                kept.append(curve[-1])
        assert max(kept) == curves[:, -1].max()
        assert spent < 0.6 * 1200

    def test_trainings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that is given up ends there, scores what was predicted and teaches nothing; others are as without."""
        task = load("digits", images=120, test_images=40)
        space = task.space(nasbench_macro, width=0.25)
        options = Optimisation(epochs=3, lr=0.02)
        patient = Trained(space, task, options, stopping=Stopping())
        whole = patient(space.unrank(3))
        assert whole["epochs"] == 3
        assert whole["valid_accuracy"] == Trained(space, task, options)(space.unrank(3))["valid_accuracy"]
        assert patient.stopping is not None
        ((taught,), (curve,)) = patient.stopping.features, patient.stopping.curves
        assert taught == [math.log10(1 + whole[name]) for name in ("madds", "parameters")]
        assert len(curve) == 3
        assert curve[-1] == whole["valid_accuracy"]

        def after_two(features, seen, epochs) -> float | None:
            assert (len(features), epochs) == (2, 3)
            return 12.5 if len(seen) == 2 else None

        monkeypatch.setattr(patient.stopping, "given_up", after_two)
        stopped = patient(space.unrank(4))
        assert (stopped["epochs"], stopped["valid_accuracy"]) == (2, 12.5)
        assert len(patient.stopping.curves) == 1


def test_mistakes() -> None:
    with pytest.raises(OptionError, match="there is no method 'rbm' \\(svr, forest, least_squares\\)"):
        SequentialRegression("rbm")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="5 curves and 5 rows of features are given; give at least 6"):
        SequentialRegression().fit(np.zeros((5, 1)), np.zeros((5, 4)))
    for settings, said in (
        ({"confidence": 0.2}, "confidence is 0.2"), ({"curves": 3}, "curves is 3"), ({"observe": 0.0}, "observe is 0"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=said):
            Stopping(**settings)
