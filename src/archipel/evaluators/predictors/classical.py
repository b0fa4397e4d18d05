"""Regressors of scikit-learn and LightGBM over features of architectures.

Each learns z (`archipel.evaluators.predictors.scale`) from standardised features and answers in scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.features import Features
from archipel.evaluators.predictors.predictor import check_scores
from archipel.evaluators.predictors.scale import NormalScores, Scale

__all__ = ["Classical", "Forest", "GaussianProcess", "boosted_trees", "ridge", "support_vectors"]

Regressor: TypeAlias = Any
"""What has scikit-learn's `fit(X, y)` and `predict(X)`."""


class Classical:
    """A regressor of scikit-learn's kind as a predictor.

    Args:
        regressor: makes a fresh one from a seed.
    """

    def __init__(self, features: Features, regressor: Callable[[int], Regressor], *, seed: int = 0) -> None:
        self.features, self.regressor = features, regressor
        self.seed = seed % 2**31  # scikit-learn and LightGBM take no larger one, and a run's have 63 bits
        self._fitted: tuple[Regressor, Scale, Tensor, Tensor] | None = None

    def fit(self, architectures: Sequence[Architecture], scores: Tensor) -> None:
        from sklearn.exceptions import ConvergenceWarning

        scores = check_scores(architectures, scores)
        x = self.features(architectures).double()
        spread = x.std(0, correction=0)
        mean, spread = x.mean(0), torch.where(spread > 0, spread, 1.0)
        scale = NormalScores.of(scores)
        model = self.regressor(self.seed)
        # From very few scores some settings end at a bound of theirs, which is an answer like any other.
        with warnings.catch_warnings(), np.errstate(invalid="ignore"), _one_thread():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(((x - mean) / spread).numpy(), scale.forward(scores).numpy())
        self._fitted = model, scale, mean, spread

    def predict(self, architectures: Sequence[Architecture]) -> Tensor:
        model, scale, x = self._asked(architectures)
        with _one_thread():
            return scale.inverse(torch.from_numpy(np.asarray(model.predict(x), dtype=float).reshape(-1)))

    def _asked(self, architectures: Sequence[Architecture]) -> tuple[Regressor, Scale, np.ndarray]:
        if self._fitted is None:
            raise OptionError("a predictor was asked before it has seen any score; call fit first")
        model, scale, mean, spread = self._fitted
        return model, scale, ((self.features(architectures).double() - mean) / spread).numpy()


class Forest(Classical):
    """A random forest; how much its trees disagree is its spread."""

    def __init__(self, features: Features, *, trees: int = 200, seed: int = 0) -> None:
        from sklearn.ensemble import RandomForestRegressor

        super().__init__(
            features,
            lambda own: RandomForestRegressor(trees, max_features=1 / 3, random_state=own),
            seed=seed,
        )

    def predict_spread(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        forest, scale, x = self._asked(architectures)
        z = torch.from_numpy(np.stack([tree.predict(x) for tree in forest.estimators_]))  # [T, N]
        each = torch.stack([scale.inverse(row) for row in z])
        return self.predict(architectures), each.std(0, correction=0)


class GaussianProcess(Classical):
    """Matérn 5/2 with one length scale, and noise; both from the marginal likelihood."""

    def __init__(self, features: Features, *, restarts: int = 0, seed: int = 0) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        def regressor(own: int) -> Regressor:
            kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(5.0, (0.3, 1e3), nu=2.5) + WhiteKernel(0.1, (1e-4, 1.0))
            return GaussianProcessRegressor(kernel, n_restarts_optimizer=restarts, random_state=own)

        super().__init__(features, regressor, seed=seed)

    def predict_spread(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        process, scale, x = self._asked(architectures)
        with _one_thread():
            mean, deviation = map(torch.from_numpy, process.predict(x, return_std=True))
        # One standard deviation to each side, in scores.
        return scale.inverse(mean), (scale.inverse(mean + deviation) - scale.inverse(mean - deviation)) / 2


def _one_thread() -> threadpool_limits:
    """Products of matrices in one thread, whose sums are the same on every machine; of a few hundred rows, several
    threads were seen to take seven times the processor time of one."""
    return threadpool_limits(1, user_api="blas")


def ridge(features: Features, *, seed: int = 0) -> Classical:
    """Linear regression with an L2 penalty, its weight chosen by leaving one out."""
    from sklearn.linear_model import RidgeCV

    return Classical(features, lambda _: RidgeCV(np.logspace(-3, 3, 13)), seed=seed)


def support_vectors(features: Features, *, seed: int = 0) -> Classical:
    """ν-SVR with an RBF kernel (Baker et al., arXiv 1705.10823); C and γ by 3-fold cross-validation."""
    from sklearn.model_selection import GridSearchCV, KFold
    from sklearn.svm import NuSVR

    class Searched:
        """The grid where there is enough to cross-validate, NuSVR's defaults where not."""

        def __init__(self, own: int) -> None:
            self.folds = KFold(3, shuffle=True, random_state=own)

        def fit(self, x: np.ndarray, y: np.ndarray) -> None:
            grid = {"C": [1.0, 10.0, 100.0], "gamma": [s / x.shape[1] for s in (0.1, 0.3, 1.0)]}
            self.model = NuSVR() if len(y) < 9 else GridSearchCV(NuSVR(), grid, cv=self.folds)
            self.model.fit(x, y)

        def predict(self, x: np.ndarray) -> np.ndarray:
            return self.model.predict(x)

    return Classical(features, Searched, seed=seed)


def boosted_trees(features: Features, *, rounds: int = 300, seed: int = 0) -> Classical:
    """Gradient-boosted trees by LightGBM, small ones.

    Raises:
        OptionError: LightGBM is not installed.
    """
    try:
        from lightgbm import LGBMRegressor
    except ImportError:
        raise OptionError(
            "boosted trees need lightgbm, which is not installed; run: pip install 'archipel[predict]'"
        ) from None

    def regressor(own: int) -> Regressor:
        return LGBMRegressor(
            n_estimators=rounds, learning_rate=0.05, num_leaves=15, min_child_samples=5, subsample=0.8,
            subsample_freq=1, colsample_bytree=0.5, deterministic=True, n_jobs=1, random_state=own, verbose=-1,
        )  # fmt: skip

    return Classical(features, regressor, seed=seed)
