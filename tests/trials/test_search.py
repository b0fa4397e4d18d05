"""The loop: budgets to the trial, each architecture evaluated once, failures kept, and the same again after a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Choose
from archipel.errors import DataError, EvaluationError, OptionError
from archipel.evaluators import Metrics, Objective
from archipel.space import Space
from archipel.strategies import Scores, strategy
from archipel.trials import Budget, MemoryLedger, search


def flat(choose: Choose) -> nn.Module:
    return nn.Sequential(
        *[choose.op(f"l{i}", {"a": nn.Identity, "b": nn.Identity, "c": nn.Identity}) for i in range(3)]
    )


class Formula:
    """Evaluates by arithmetic, and counts."""

    def __init__(self, *, objectives: Sequence[str] = ("accuracy",), fails: int = 0, breaks: int = 0) -> None:
        self.space = Space(flat)
        self.objectives = tuple(Objective(name, maximise=name == "accuracy") for name in objectives)
        self.count: Counter[Architecture] = Counter()
        self.fails, self.breaks = fails, breaks

    def __call__(self, architecture: Architecture, /) -> Metrics:
        self.count[architecture] += 1
        a = sum(value == "a" for value in architecture.values())
        if a == 3 and self.count[architecture] <= self.fails:
            raise EvaluationError("no gradient")
        if a == 3 and self.count[architecture] <= self.breaks:
            raise RuntimeError("out of memory")
        return {"accuracy": 50.0 + a, "ms": 1.0 + a, "seconds": 2.0}


class Scripted:
    """Asks for what it was given, over and over; remembers what it was told."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.asked = 0
        self.indices = indices
        self.told: list[tuple[Architecture, Scores]] = []
        self.space = Space(flat)

    def ask(self) -> Architecture:
        self.asked += 1
        return self.space.unrank(self.indices[(self.asked - 1) % len(self.indices)])

    def tell(self, architecture: Architecture, scores: Scores) -> None:
        self.told.append((architecture, scores))


class TestBudgets:
    def test_trials_are_different_architectures(self) -> None:
        evaluator, own = Formula(), Scripted([3, 3, 4, 3, 5, 6])
        went = search(own, evaluator, Budget(trials=3))
        assert [step.trial.architecture for step in went.steps] == [own.space.unrank(i) for i in (3, 4, 5)]
        assert evaluator.count.total() == 3
        assert [step.trials for step in went.steps] == [1, 2, 3]
        assert [step.seconds for step in went.steps] == [2.0, 4.0, 6.0]
        assert len(own.told) == 5, "what is proposed again is told again"

    def test_repeats_cost_where_they_shall(self) -> None:
        evaluator, own = Formula(), Scripted([3, 3, 4, 3, 5, 6])
        went = search(own, evaluator, Budget(trials=5, repeats=True))
        assert [step.trial.architecture for step in went.steps] == [own.space.unrank(i) for i in (3, 3, 4, 3, 5)]
        assert evaluator.count.total() == 3
        assert went.steps[-1].seconds == 10.0

    @pytest.mark.parametrize(("seconds", "trials"), [(1.0, 1), (2.0, 1), (2.1, 2), (6.0, 3)])
    def test_the_trial_that_passes_the_seconds_still_counts(self, seconds: float, trials: int) -> None:
        assert len(search(Scripted(range(9)), Formula(), Budget(seconds=seconds)).steps) == trials
        again = search(Scripted([1, 1, 1, 2]), Formula(), Budget(seconds=seconds, repeats=True))
        assert len(again.steps) == trials

    def test_the_first_limit_ends_it(self) -> None:
        assert len(search(Scripted(range(9)), Formula(), Budget(trials=2, seconds=100.0)).steps) == 2
        assert len(search(Scripted(range(9)), Formula(), Budget(trials=9, seconds=5.0)).steps) == 3

    def test_mistakes(self) -> None:
        with pytest.raises(OptionError, match="a budget has no limit; give trials, seconds or both"):
            Budget()
        with pytest.raises(OptionError, match=r"budget\.seconds is 0.0; give a number above 0"):
            Budget(seconds=0.0)


class TestEnds:
    def test_no_architecture_is_left(self) -> None:
        went = search(strategy("random", Space(flat)), Formula(), Budget(trials=100))
        assert (went.ended, len(went.steps)) == ("exhausted", 27)

    def test_nothing_new_is_proposed(self) -> None:
        went = search(Scripted([1, 2]), Formula(), Budget(trials=100))
        assert (went.ended, len(went.steps)) == ("stuck", 2)

    def test_what_is_new_comes_too_seldom(self) -> None:
        """100 known ones between any two new ones: 500, and ten for each of six, are passed after the sixth."""
        own = Scripted([place for new in range(27) for place in [new] + 100 * [0]])
        went = search(own, Formula(), Budget(trials=27))
        assert (went.ended, len(went.steps), own.asked) == ("stuck", 6, 6 + 561)
        again = search(Scripted([0]), Formula(), Budget(trials=700, repeats=True))
        assert (again.ended, len(again.steps)) == ("budget", 700), "what costs is not bounded twice"


class TestFailures:
    def test_tried_again_and_then_kept_as_failed(self) -> None:
        for evaluator in (Formula(fails=2), Formula(breaks=2)):
            own = Scripted([0, 1])  # 0 is all "a"
            went = search(own, evaluator, Budget(trials=2), retries=1)
            failed = went.steps[0].trial
            assert failed.metrics is None
            assert failed.error in ("no gradient", "RuntimeError: out of memory")
            assert evaluator.count[own.space.unrank(0)] == 2
            assert own.told[0] == (own.space.unrank(0), None)
            assert went.steps[1].trial.metrics is not None

    def test_the_second_try_may_succeed(self) -> None:
        went = search(Scripted([0]), Formula(breaks=1), Budget(trials=1), retries=1)
        assert went.steps[0].trial.metrics == {"accuracy": 53.0, "ms": 4.0, "seconds": 2.0}

    def test_mistakes_of_a_caller_end_the_search(self) -> None:
        class Broken(Formula):
            def __call__(self, architecture: Architecture, /) -> Metrics:  # noqa: ARG002
                raise DataError("there is no table")

        with pytest.raises(DataError, match="there is no table"):
            search(Scripted([0]), Broken(), Budget(trials=1))


def test_scores_are_in_the_order_of_the_objectives_and_larger_is_better() -> None:
    own = Scripted([0])
    search(own, Formula(objectives=("ms", "accuracy")), Budget(trials=1))
    assert own.told == [(own.space.unrank(0), (-4.0, 53.0))]


@pytest.mark.parametrize("spec", ["random", "regularised_evolution", "local_search", "reinforce", "predictor:ridge"])
def test_stopped_and_begun_again_it_ends_with_the_same_trials(spec: str) -> None:
    def run(ledger: MemoryLedger, trials: int) -> Formula:
        evaluator = Formula()
        search(strategy(spec, evaluator.space, seed=5), evaluator, Budget(trials=trials), ledger=ledger)
        return evaluator

    whole, parts = MemoryLedger(), MemoryLedger()
    run(whole, 15)
    run(parts, 8)
    second = run(parts, 15)
    assert second.count.total() == 7, "what the ledger knows is not evaluated again"
    assert [t.architecture for t in parts.trials()] == [t.architecture for t in whole.trials()]
