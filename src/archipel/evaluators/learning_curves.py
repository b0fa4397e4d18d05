"""What a training will come to, from its first epochs (Baker et al., arXiv 1705.10823).

Letters: `N` trainings, `F` features of each, `T` epochs of a whole one, `t` epochs seen.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from archipel.errors import OptionError

__all__ = ["FEWEST", "Curves", "LatestScores", "Method", "Regression", "SequentialRegression", "regression"]

Method = Literal["linear", "svr", "forest", "least_squares"]

_PUBLISHED = get_args(Method)[1:]
_FOLDS = 3
FEWEST = 2 * _FOLDS
"""Whole trainings that can be learned from."""
_RIDGE = 1e-2
"""Of the line's slopes, in units of the standardised scores."""
_ITERATIONS = 5_000
"""Of libsvm, which with a linear kernel and a large C can take minutes over differences that add up to one another."""


@dataclass(frozen=True)
class Curves:
    """Trainings, as far as they went."""

    features: np.ndarray
    """`[N, F]`, of the architecture and how it is trained."""
    scores: np.ndarray
    """`[N, t]`, or of whole ones `[N, T]`."""
    losses: np.ndarray | None = None
    """Of the training images, `[N, t]`, where they are known."""


class Regression(Protocol):
    """Learns from whole trainings what others will come to. No prediction sees a later score than it is asked with."""

    def fit(self, whole: Curves) -> None:
        """Learn anew.

        Raises:
            OptionError: there are fewer than `FEWEST`, or not one row of features a curve.
        """

    def predict(self, seen: Curves) -> np.ndarray:
        """The scores at the end, `[N]`."""

    def below(self, seen: Curves, score: float) -> np.ndarray:
        """The probabilities that they are below `score`, `[N]`."""


def regression(method: Method, *, seed: int = 0) -> Regression:
    """Raises OptionError where there is no such method."""
    return LatestScores() if method == "linear" else SequentialRegression(method, seed=seed)


class LatestScores:
    """A plane through the last score and the logarithm of the last training loss, or where losses are not known the
    score's gain over two epochs; one for every number of epochs seen.

    For few curves: three numbers are learned, and predictions have Student's distribution, so that what eight curves
    do not say counts too. The loss is a mean over far more images than the score, and early on says more of the end.

    A network that learns nothing, as a cell without a path from its input does not, is so far off that no other could
    be told from the best. So whatever is below Tukey's outer fence counts as being at it.
    """

    def fit(self, whole: Curves) -> None:
        _check(whole)
        self._whole = whole

    def predict(self, seen: Curves) -> np.ndarray:
        return self._answer(seen.scores, seen.losses)[0]

    def below(self, seen: Curves, score: float) -> np.ndarray:
        from scipy.stats import t as student

        ends, spreads, freedom = self._answer(seen.scores, seen.losses)
        found: np.ndarray = student.cdf((score - ends) / spreads, freedom)
        return found

    def _answer(self, seen: np.ndarray, losses: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, float]:
        """Predictions and their spreads, `[N]`, and the degrees of freedom."""
        t = seen.shape[1]
        curves, known_losses = self._whole.scores, self._whole.losses
        known = _latest(curves[:, :t], None if known_losses is None else known_losses[:, :t])
        y, least = np.maximum(curves[:, -1], _fence(curves[:, -1])), _fence(known)
        known, latest = np.maximum(known, least), np.maximum(_latest(seen, losses), least)
        mean, scale = known.mean(0), known.std(0)
        scale[scale == 0] = 1.0
        design, asked = (np.insert((x - mean) / scale, 0, 1.0, axis=1) for x in (known, latest))
        ridge = _RIDGE * len(y) * np.diag([0.0, *np.ones(design.shape[1] - 1)])
        inverse = np.linalg.inv(design.T @ design + ridge)
        weights = inverse @ design.T @ y
        freedom = len(y) - float(np.trace(design @ inverse @ design.T))
        variance = ((y - design @ weights) ** 2).sum() / freedom
        spreads = np.sqrt(variance * (1 + np.einsum("nf,fg,ng->n", asked, inverse, asked)))
        return asked @ weights, np.maximum(spreads, 1e-12), freedom


def _latest(seen: np.ndarray, losses: np.ndarray | None) -> np.ndarray:
    """`[N, 2]`."""
    if losses is not None:
        return np.stack([seen[:, -1], -np.log(np.maximum(losses[:, -1], 1e-12))], 1)
    return np.stack([seen[:, -1], seen[:, -1] - seen[:, max(0, seen.shape[1] - 3)]], 1)


def _fence(values: np.ndarray) -> np.ndarray:
    """Three interquartile ranges below the first quartile, of each column."""
    first, third = np.quantile(values, [0.25, 0.75], axis=0)
    fence: np.ndarray = first - 3 * (third - first)
    return fence


def _check(whole: Curves) -> None:
    count, rows = len(whole.scores), len(whole.features)
    if count < FEWEST or rows != count:
        raise OptionError(
            f"{count} curves and {rows} rows of features are given; give at least {FEWEST}, and one row a curve"
        )


class SequentialRegression:
    """The paper's: a regressor for every number of epochs seen: features, the scores so far, their first and second
    differences → the score at the end.

    Args:
        method: `svr`, a ν-SVR with an RBF or linear kernel; `forest`; or `least_squares`.
        draws: settings of `svr` that are tried, each by 3-fold cross-validation.

    Raises:
        OptionError: there is no such method.
    """

    def __init__(self, method: Method = "svr", *, draws: int = 20, seed: int = 0) -> None:
        if method not in _PUBLISHED:
            raise OptionError(f"there is no method '{method}' ({', '.join(_PUBLISHED)})")
        self.method, self.draws, self.seed = method, draws, seed
        self._models: dict[int, tuple[Any, np.ndarray, np.ndarray, float, float, float]] = {}

    def fit(self, whole: Curves) -> None:
        _check(whole)
        self._whole, self._models = whole, {}

    def predict(self, seen: Curves) -> np.ndarray:
        model, mean, spread, centre, scale, _ = self._model(seen.scores.shape[1])
        found: np.ndarray = model.predict((_design(seen.features, seen.scores) - mean) / spread) * scale + centre
        return found

    def below(self, seen: Curves, score: float) -> np.ndarray:
        """Φ((score − ŷ) / σ)."""
        from scipy.stats import norm

        found: np.ndarray = norm.cdf((score - self.predict(seen)) / max(self.spread(seen.scores.shape[1]), 1e-12))
        return found

    def spread(self, t: int) -> float:
        """Standard deviation of what the regressor of `t` epochs misses by in cross-validation (σ)."""
        return self._model(t)[-1]

    def _model(self, t: int) -> tuple[Any, np.ndarray, np.ndarray, float, float, float]:
        if t not in self._models:
            x, y = _design(self._whole.features, self._whole.scores[:, :t]), self._whole.scores[:, -1]
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
