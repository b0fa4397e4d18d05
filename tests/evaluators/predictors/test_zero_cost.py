"""Zero-cost predictors of any space: the same for the same architecture, whoever asks."""

from __future__ import annotations

import random

import pytest
import torch

from archipel.cost import madds, parameters
from archipel.errors import OptionError
from archipel.evaluators.predictors.proxies import PROXIES
from archipel.evaluators.predictors.zero_cost import Madds, Parameters, ProxyFeatures, ZeroCost
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.tasks import digits

TASK = digits(images=100, test_images=20, size=8)
SPACE = Space(nasbench201, cells=1, width=0.5, channels=TASK.spec.input_shape[0])


def test_parameters_and_madds_are_those_of_the_network(small_space: Space) -> None:
    rng = random.Random(0)
    architectures = [small_space.sample(rng) for _ in range(3)]
    children = [small_space.build(architecture) for architecture in architectures]
    assert Parameters(small_space).predict(architectures).tolist() == [parameters(child) for child in children]
    found = Madds(small_space, (3, 8, 8)).predict(architectures)
    assert found.tolist() == [madds(child, (3, 8, 8)) for child in children]


@pytest.mark.parametrize("name", PROXIES)
def test_company_and_order_change_nothing(name: str) -> None:
    rng = random.Random(1)
    first, second = SPACE.sample(rng), SPACE.sample(rng)
    both = ZeroCost(SPACE, TASK, PROXIES[name], batch=8).predict([first, second])
    alone = ZeroCost(SPACE, TASK, PROXIES[name], batch=8).predict([second])
    assert both.dtype == torch.float64
    assert float(both[1]) == float(alone[0])


def test_the_seed_draws_the_weights() -> None:
    architecture = [SPACE.unrank(12345)]
    one, other = (ZeroCost(SPACE, TASK, PROXIES["snip"], batch=8, seed=seed).predict(architecture) for seed in (0, 1))
    assert float(one) != float(other)


def test_global_randomness_is_left_alone() -> None:
    proxy = ZeroCost(SPACE, TASK, PROXIES["naswot"], batch=8)
    torch.manual_seed(5)
    proxy.predict([SPACE.unrank(99)])
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


def test_fit_needs_nothing_but_still_looks() -> None:
    proxy = Parameters(SPACE)
    proxy.fit([SPACE.unrank(0)], torch.tensor([1.0]))
    with pytest.raises(OptionError, match="1 architectures came with scores of shape"):
        proxy.fit([SPACE.unrank(0)], torch.tensor([1.0, 2.0]))


def test_as_features() -> None:
    architectures = [SPACE.unrank(7), SPACE.unrank(8000)]
    features = ProxyFeatures((Parameters(SPACE), Madds(SPACE, (1, 8, 8))))(architectures)
    assert features.shape == (2, 2)
    assert torch.allclose(features[:, 0].double().expm1(), Parameters(SPACE).predict(architectures), rtol=1e-5)
