"""How neural predictors learn: anew each time, the same for the same seed, in the unit of the scores."""

from __future__ import annotations

import random

import pytest
import torch

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators.predictors.build import gates
from archipel.evaluators.predictors.features import OneHot
from archipel.evaluators.predictors.losses import PairwiseHinge, Regression
from archipel.evaluators.predictors.neural import Fitting, NeuralPredictor
from archipel.space import Space
from archipel.spaces import nasbench201

SPACE = Space(nasbench201)
ARCHITECTURES = [SPACE.sample(random.Random(i)) for i in range(30)]
SCORES = torch.tensor([50.0 + 5 * sum(kind.startswith("nor") for kind in a.values()) for a in ARCHITECTURES])
SHORT = Fitting(epochs=15, hidden=(16,), lr=1e-2, dropout=0.0)


def fitted(seed: int = 0, fitting: Fitting = SHORT, **more: object) -> NeuralPredictor:
    predictor = gates(SPACE, fitting=fitting, seed=seed, **more)
    predictor.fit(ARCHITECTURES, SCORES)
    return predictor


def test_the_seed_says_it_all() -> None:
    torch.manual_seed(1)
    first = fitted().predict(ARCHITECTURES)
    torch.manual_seed(2)
    again = fitted()
    assert torch.equal(again.predict(ARCHITECTURES), first)
    again.fit(ARCHITECTURES, SCORES)  # nothing is left of the first time
    assert torch.equal(again.predict(ARCHITECTURES), first)
    assert not torch.equal(fitted(seed=1).predict(ARCHITECTURES), first)


def test_global_randomness_is_left_alone() -> None:
    torch.manual_seed(3)
    fitted()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize("loss", [PairwiseHinge(), Regression()])
def test_it_speaks_in_scores(loss: PairwiseHinge | Regression) -> None:
    predicted = fitted(fitting=Fitting(loss=loss, epochs=40, hidden=(32,), lr=1e-2, dropout=0.0)).predict(ARCHITECTURES)
    assert predicted.dtype == torch.float64
    assert float((predicted - SCORES).abs().mean()) < 0.5 * float((SCORES - SCORES.mean()).abs().mean())


def test_features_beside_the_code_are_used() -> None:
    """What the encoder cannot see: a number drawn for each architecture."""

    def told(architectures: list[Architecture]) -> torch.Tensor:
        return torch.tensor([[int(a.key, 16) % 97 / 10] for a in architectures])

    hidden = told(ARCHITECTURES)[:, 0]
    long = Fitting(epochs=40, hidden=(32,), lr=1e-2, dropout=0.0)
    unseen = [SPACE.sample(random.Random(1000 + i)) for i in range(60)]

    def error(**more: object) -> float:
        predictor = gates(SPACE, fitting=long, **more)
        predictor.fit(ARCHITECTURES, hidden)
        return float((predictor.predict(unseen) - told(unseen)[:, 0]).abs().mean())

    assert error(features=told) < 0.5 * error()


def test_before_it_has_learned() -> None:
    with pytest.raises(OptionError, match="call fit first"):
        gates(SPACE).predict(ARCHITECTURES)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="trains 0 epochs on batches of 512"):
        Fitting(epochs=0)


def test_one_hot_features_are_the_code() -> None:
    assert torch.equal(OneHot(SPACE)(ARCHITECTURES[:1])[0].bool(), SPACE.encode(ARCHITECTURES[0]))
