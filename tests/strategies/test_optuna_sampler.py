"""Optuna's samplers as strategies: each runs, and an architecture is the same parameters on both ways."""

from __future__ import annotations

import pytest

from archipel.errors import OptionError
from archipel.space import Space
from archipel.spaces import instanas, nasbench201
from archipel.strategies import OptunaSampler, samplers
from archipel.strategies.suggestion import parameters_of, suggest

optuna = pytest.importorskip("optuna")


def test_parameters_there_and_back(small_space: Space) -> None:
    for architecture in list(small_space)[:: max(1, small_space.size // 12)]:
        held = parameters_of(small_space, architecture)
        trial = optuna.trial.FixedTrial({name: value for name, (value, _) in held.items()})
        assert suggest(trial, small_space) == architecture
        assert trial.distributions == {name: distribution for name, (_, distribution) in held.items()}


@pytest.mark.parametrize("name", samplers())
def test_every_sampler_runs(name: str) -> None:
    space = Space(nasbench201)
    own = OptunaSampler(space, name, seed=0)
    for i in range(11):  # one more than most draw at random before they begin
        asked = own.ask()
        assert space.canonical(asked) == asked
        own.tell(asked, (float(i),))
    own.tell(space.unrank(7), (3.0,))
    assert len(own.study.trials) == 12


def test_a_sampler_that_has_tried_everything(small_space: Space) -> None:
    own = OptunaSampler(small_space, "BruteForceSampler", seed=0)
    found = set()
    for _ in range(small_space.size if small_space.size <= 20 else 20):
        asked = own.ask()
        found.add(asked)
        own.tell(asked, (0.0,))
    own.tell(own.ask(), (0.0,))
    assert len(found) > 1


def test_two_objectives() -> None:
    space = Space(nasbench201)
    own = OptunaSampler(space, "NSGAIISampler", objectives=2, seed=0)
    asked = own.ask()
    own.tell(asked, (1.0, 2.0))
    assert own.study.best_trials[0].values == [1.0, 2.0]
    with pytest.raises(OptionError, match="CmaEsSampler makes one objective better, not 2"):
        OptunaSampler(space, "CmaEsSampler", objectives=2)


def test_a_grid_that_is_too_large() -> None:
    with pytest.raises(OptionError, match="points of space 'instanas'; take BruteForceSampler"):
        OptunaSampler(Space(instanas), "GridSampler")
