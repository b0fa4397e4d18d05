"""What a training will come to, from its first epochs, and when to give it up (Baker et al., arXiv 1705.10823).

Letters: `N` trainings, `F` features of each, `T` epochs of a whole one, `t` epochs seen.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from archipel.errors import OptionError

__all__ = ["CurveStopping", "Method", "SequentialRegression", "Stopping"]

Method = Literal["svr", "forest", "least_squares"]

_FOLDS = 3
_ITERATIONS = 5_000
"""Of libsvm, which with a linear kernel and a large C can take minutes over differences that add up to one another."""


class SequentialRegression:
    """A regressor for every number of epochs seen: features, the scores so far, their first and second differences →
    the score at the end. No regressor sees a later score than it is asked with.

    Args:
        method: `svr`, a ν-SVR with an RBF or linear kernel; `forest`; or `least_squares`.
        draws: settings of `svr` that are tried, each by 3-fold cross-validation.

    Raises:
        OptionError: there is no such method.
    """

    def __init__(self, method: Method = "svr", *, draws: int = 20, seed: int = 0) -> None:
        if method not in get_args(Method):
            raise OptionError(f"there is no method '{method}' ({', '.join(get_args(Method))})")
        self.method, self.draws, self.seed = method, draws, seed
        self._models: dict[int, tuple[Any, np.ndarray, np.ndarray, float, float, float]] = {}

    def fit(self, features: np.ndarray, curves: np.ndarray) -> None:
        """Learn from whole trainings, anew.

        Args:
            features: `[N, F]`, of the architecture and how it is trained.
            curves: `[N, T]`.

        Raises:
            OptionError: there are fewer than six, or as many rows of one as not of the other.
        """
        if len(curves) < 2 * _FOLDS or len(features) != len(curves):
            raise OptionError(
                f"{len(curves)} curves and {len(features)} rows of features are given; give at least {2 * _FOLDS}, and "
                "one row a curve"
            )
        self._features, self._curves, self._models = features, curves, {}

    def predict(self, features: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """The scores at the end, `[N]`; `features` is `[N, F]`, `seen` `[N, t]`."""
        model, mean, spread, centre, scale, _ = self._model(seen.shape[1])
        found: np.ndarray = model.predict((_design(features, seen) - mean) / spread) * scale + centre
        return found

    def spread(self, t: int) -> float:
        """Standard deviation of what the regressor of `t` epochs misses by in cross-validation (σ)."""
        return self._model(t)[-1]

    def _model(self, t: int) -> tuple[Any, np.ndarray, np.ndarray, float, float, float]:
        if t not in self._models:
            x, y = _design(self._features, self._curves[:, :t]), self._curves[:, -1]
            mean, spread = x.mean(0), x.std(0)
            spread[spread == 0] = 1.0
            centre, scale = float(y.mean()), float(y.std()) or 1.0
            model, missed = self._fitted((x - mean) / spread, (y - centre) / scale)
            self._models[t] = (model, mean, spread, centre, scale, missed * scale)
        return self._models[t]

    def _fitted(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, float]:
        """The best regressor, and the standard deviation of its cross-validated residuals."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.model_selection import KFold, RandomizedSearchCV, cross_val_predict

        folds = KFold(_FOLDS, shuffle=True, random_state=self.seed)
        model, settings = self._regressor()
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            if settings:
                model = RandomizedSearchCV(
                    model,
                    settings,
                    n_iter=self.draws,
                    cv=folds,
                    random_state=self.seed,
                    scoring="neg_mean_squared_error",
                )
            model.fit(x, y)
            chosen = model.best_estimator_ if settings else model
            return chosen, float(np.std(cross_val_predict(chosen, x, y, cv=folds) - y))

    def _regressor(self) -> tuple[Any, dict[str, Any]]:
        """An unfitted one, and what of it is drawn."""
        if self.method == "least_squares":
            from sklearn.linear_model import LinearRegression

            return LinearRegression(), {}
        if self.method == "forest":
            from sklearn.ensemble import RandomForestRegressor

            return RandomForestRegressor(100, max_features=1 / 3, random_state=self.seed), {}
        from scipy.stats import loguniform, uniform
        from sklearn.svm import NuSVR

        return NuSVR(max_iter=_ITERATIONS), {
            "kernel": ["rbf", "linear"],
            "C": loguniform(1e-1, 1e2),
            "gamma": loguniform(1e-4, 1e-1),
            "nu": uniform(0.2, 0.7),
        }


def _design(features: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """`[N, F + t + (t − 1) + (t − 2)]`."""
    return np.concatenate([features, seen, np.diff(seen, axis=1), np.diff(seen, 2, axis=1)], 1)


@dataclass(frozen=True)
class Stopping:
    """When a training is given up."""

    confidence: float = 0.95
    """How sure it has to be that it ends below the best (Δ)."""
    curves: int = 10
    """Trainings that are run to their end before the first question."""
    observe: float = 0.25
    """Share of a training before the first question about it."""
    method: Method = "svr"

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1.0:
            raise OptionError(f"stopping.confidence is {self.confidence:g}; give a share from 0.5 to below 1")
        if self.curves < 2 * _FOLDS:
            raise OptionError(f"stopping.curves is {self.curves}; give {2 * _FOLDS} or more")
        if not 0.0 < self.observe < 1.0:
            raise OptionError(f"stopping.observe is {self.observe:g}; give a share between 0 and 1")


class CurveStopping:
    """Gives up a training once P(its score at the end ≤ the best known) = Φ((y_best − ŷ_T) / σ_t) ≥ Δ.

    It learns from trainings that ran to their end, again whenever there are a quarter more of them, and knows those of
    its own process only.
    """

    def __init__(self, settings: Stopping, *, seed: int = 0) -> None:
        self.settings = settings
        self.features: list[Sequence[float]] = []
        self.curves: list[Sequence[float]] = []
        self._model = SequentialRegression(settings.method, seed=seed)
        self._fitted = 0

    def learn(self, features: Sequence[float], curve: Sequence[float]) -> None:
        """A training that ran to its end."""
        self.features.append(features)
        self.curves.append(curve)

    def given_up(self, features: Sequence[float], seen: Sequence[float], epochs: int) -> float | None:
        """What a training of `epochs` is predicted to come to, if it is not worth going on; else None."""
        if (
            len(self.curves) < self.settings.curves
            or not math.ceil(self.settings.observe * epochs) <= len(seen) < epochs
        ):
            return None
        if len(self.curves) >= 1.25 * self._fitted:
            self._fitted = len(self.curves)
            self._model.fit(np.array(self.features, float), np.array(self.curves, float))
        end = float(self._model.predict(np.array([features], float), np.array([seen], float))[0])
        best, spread = max(curve[-1] for curve in self.curves), self._model.spread(len(seen))
        sure = 0.5 * (1 + math.erf((best - end) / (max(spread, 1e-12) * math.sqrt(2))))
        return end if sure >= self.settings.confidence else None
