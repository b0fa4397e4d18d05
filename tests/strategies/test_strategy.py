"""The contract of strategies, held against every one of them, and how a user names one."""

from __future__ import annotations

import random

import pytest

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.space import Space
from archipel.spaces import nasbench201
from archipel.strategies import STRATEGIES, strategy

# Those that train networks are held on what they are made of: `PredictorGuided` with a predictor that is quick.
TRAINS = ("bananas", "npenas", "bayesian", "pnas", "nao")
SPECS = [
    *(name for name in STRATEGIES if name not in TRAINS),
    "bayesian,candidates=10",
    "nao,initial=4,batch=4,epochs=2,longest=2",
    "predictor:ridge",
    "optuna:TPESampler",
]
SEED = 2**62 + 1
"""As large as those of a run's searches are."""


def score(space: Space, architecture: Architecture) -> float:
    """Any function of the architecture."""
    return float(space.encode(architecture).nonzero().sum()) % 7


@pytest.mark.parametrize("spec", SPECS)
class TestEveryStrategy:
    def run(self, space: Space, spec: str, seed: int, trials: int = 12) -> list[Architecture]:
        own = strategy(spec, space, seed=seed)
        found = []
        for _ in range(trials):
            found.append(own.ask())
            own.tell(found[-1], (score(space, found[-1]),))
        return found

    def test_asks_for_canonical_architectures_and_the_same_again(self, spec: str, small_space: Space) -> None:
        found = self.run(small_space, spec, seed=SEED)
        assert all(dict(small_space.canonical(a)) == dict(a) for a in found)
        assert found == self.run(small_space, spec, seed=SEED)

    def test_answers_may_be_late_foreign_failed_or_never_come(self, spec: str, small_space: Space) -> None:
        own, rng = strategy(spec, small_space, seed=2), random.Random(0)
        for _ in range(4):
            first, second, _never = own.ask(), own.ask(), own.ask()
            own.tell(small_space.sample(rng), (1.0,))
            own.tell(second, (score(small_space, second),))
            own.tell(first, None)
            own.tell(second, (score(small_space, second),))


SEVERAL = ("random", "nsga2", "bayesian,candidates=10", "optuna:TPESampler")


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec not in SEVERAL])
def test_several_objectives_where_there_can_be_but_one(spec: str) -> None:
    with pytest.raises(OptionError, match="makes one objective better, not 2; give one, or use nsga2"):
        strategy(spec, Space(nasbench201), objectives=2)


class TestNames:
    space = Space(nasbench201)

    def test_settings(self) -> None:
        own = strategy("regularised_evolution,population=7,sample=2", self.space)
        assert (own.size, own.sample) == (7, 2)  # type: ignore[attr-defined]
        guided = strategy("predictor:svr,acquire=mean,batch=3", self.space)
        assert guided.batch == 3  # type: ignore[attr-defined]
        assert strategy("npenas,variant=bo", self.space)._unsure  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ("randm", "there is no strategy 'randm' (random, local_search,"),
            ("randm", "; did you mean 'random'?"),
            ("random,population=3", "strategy 'random' has no setting 'population' (none; write KEY=VALUE)"),
            ("nsga2,populaton=3", "(population, crossover; write KEY=VALUE); did you mean 'population'?"),
            ("nsga2,population=many", "setting 'population' of strategy 'nsga2' is 'many'; give a whole number"),
            ("nsga2,population=1", "a population of 1 is given; give 2 or more"),
            ("optuna:TPESampl", "Optuna has no sampler 'TPESampl' here ("),
            ("optuna:TPESampl", "; did you mean 'TPESampler'?"),
            ("predictor:rige", "did you mean 'ridge'?"),
            ("predictor:ridge,acquire=ei", "acquisition 'ei' needs a predictor that says how unsure it is"),
            ("npenas,variant=no", "variant is 'no'; give 'np' or 'bo'"),
            ("predictor:ridge,acquire=mea", "there is no acquisition 'mea' (mean, ucb, ei, thompson)"),
        ],
    )
    def test_mistakes(self, spec: str, said: str) -> None:
        with pytest.raises(OptionError) as caught:
            strategy(spec, self.space)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
