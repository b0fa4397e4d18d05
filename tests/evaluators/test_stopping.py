"""When trainings are given up: the rule to the digit, the same for a search that goes on, and what is saved."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from optuna.pruners import SuccessiveHalvingPruner

from archipel.architecture import Architecture
from archipel.errors import OptionError
from archipel.evaluators import (
    NEVER,
    Curve,
    CurveStopping,
    LatestScores,
    Metrics,
    Objective,
    PrunerStopping,
    SequentialRegression,
    Stopping,
    Trained,
    curve_of,
    rule,
    standard_error,
)
from archipel.evaluators.learning_curves import Curves
from archipel.sharing.training import Optimisation
from archipel.spaces import nasbench_macro
from archipel.tasks import load

T = 12
RULES = ("curves", "median", "halving", "hyperband")


def growing(n: int, seed: int = 0) -> list[Curve]:
    """Curves that approach what their feature says, with noise."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(20, 90, n)
    t = np.arange(1, T + 1)
    curves = ends[:, None] * (1 - np.exp(-t / rng.uniform(2, 4, (n, 1)))) + rng.normal(0, 0.5, (n, T))
    return [Curve((end + rng.normal(0, 5),), tuple(scores)) for end, scores in zip(ends, curves.tolist())]


def ended(given: Stopping, curves: list[Curve]) -> list[Curve]:
    """What a search sees of trainings that a rule watches, one after another."""
    own, past = rule(given), list[Curve]()
    assert own is not None
    for curve in curves:
        parts = (Curve(curve.features, curve.scores[:t]) for t in range(1, T))
        past.append(next((part for part in parts if own.given_up(past, part, T) is not None), curve))
    return past


def saved(past: list[Curve]) -> float:
    return 1 - sum(len(curve.scores) for curve in past) / (T * len(past))


class TestExtrapolation:
    def test_the_papers_rule(self) -> None:
        """Φ((best − ŷ) / σ) ≥ Δ, to the digit."""
        past, asked = growing(20), growing(30, seed=1)
        own = CurveStopping(Stopping(method="least_squares", confidence=0.95, patience=1))
        regression = SequentialRegression("least_squares")
        regression.fit(Curves(np.array([c.features for c in past]), np.array([c.scores for c in past])))
        best = max(curve.scores[-1] for curve in past)
        outcomes = set()
        for curve in asked:
            now = Curve(curve.features, curve.scores[:4])
            end = float(regression.predict(Curves(np.array([now.features]), np.array([now.scores])))[0])
            sure = 0.5 * (1 + math.erf((best - end) / regression.spread(4) / math.sqrt(2)))
            said = own.given_up(past, now, T)
            assert said == (end if sure >= 0.95 else None)
            outcomes.add(said is None)
        assert outcomes == {True, False}

    def test_patience(self) -> None:
        """It is given up where it would have been after this epoch and after the one before."""
        past = growing(20)
        hasty, patient = (CurveStopping(Stopping(patience=n)) for n in (1, 2))
        differ = 0
        for curve in growing(60, seed=1):
            said = [hasty.given_up(past, Curve(curve.features, curve.scores[:t]), T) for t in range(1, T)]
            twice = [patient.given_up(past, Curve(curve.features, curve.scores[:t]), T) for t in range(1, T)]
            assert twice[1:] == [b if a is not None and b is not None else None for a, b in pairwise(said)]
            differ += said != twice
        assert differ > 0

    @pytest.mark.parametrize(("margin", "images"), [(2.0, 300), (0.0, 15), (2.0, None)])
    def test_what_is_worth_going_on_for(self, margin, images) -> None:
        """P(end < best + gain) ≥ Δ, to the digit. Gain: half an image, as a tie is none, or the margin if that is
        more; nothing where scores are no share of images."""
        past, asked = growing(20), growing(60, seed=1)
        given = Stopping(margin=margin, patience=1)
        own, plain = CurveStopping(given, images=images), CurveStopping(given)
        regression = LatestScores()
        regression.fit(Curves(np.array([c.features for c in past]), np.array([c.scores for c in past])))
        best = max(curve.scores[-1] for curve in past)
        gain = 0.0 if images is None else max(50 / images, margin * standard_error(best, images))
        outcomes = set()
        for curve in asked:
            now = Curve(curve.features, curve.scores[:6])
            seen = Curves(np.array([now.features]), np.array([now.scores]))
            said, unknown = own.given_up(past, now, T), plain.given_up(past, now, T)
            assert (said is not None) == (regression.below(seen, best + gain)[0] >= 0.9)
            assert said is None or said == min(regression.predict(seen)[0], best)
            assert (unknown is not None) == (regression.below(seen, best)[0] >= 0.9)
            outcomes.add((said is None, unknown is None))
        differ = set() if images is None else {(False, True)}
        assert outcomes == {(True, True), (False, False)} | differ

    def test_a_tie_is_no_gain(self) -> None:
        """Of curves without noise: what will end as the best did is given up, what will end one image above goes on."""
        ends = [90.0, 80.0, 85.0, 87.0, 88.0, 83.0, 82.0, 89.0]
        past = [Curve((), (*(end * (1 - math.exp(-t)) for t in range(1, T)), end)) for end in ends]
        own, unknown = CurveStopping(Stopping(), images=100), CurveStopping(Stopping())
        for end, goes_on in ((90.0, False), (91.0, True)):
            now = Curve((), tuple(end * (1 - math.exp(-t)) for t in range(1, 7)))
            assert (own.given_up(past, now, T) is None) == goes_on
            assert unknown.given_up(past, now, T) is None

    def test_when_it_is_asked_too_early_or_too_late(self) -> None:
        hopeless = [0.01 * score for score in growing(1, seed=2)[0].scores]
        own, past = CurveStopping(Stopping(patience=1, observe=0.25)), growing(20)
        said = [own.given_up(past, Curve((1.0,), tuple(hopeless[:t])), T) is None for t in (1, 2, 3, 11, 12)]
        assert said == [True, True, False, False, True]
        assert CurveStopping(Stopping(curves=21)).given_up(past, Curve((1.0,), tuple(hopeless[:6])), T) is None

    def test_what_costs_less_is_not_held_against_what_costs_more(self) -> None:
        past = [Curve(c.features, c.scores, costs=(float(i),)) for i, c in enumerate(growing(20))]
        hopeless = tuple(0.01 * score for score in growing(1, seed=2)[0].scores[:6])
        own = CurveStopping(Stopping())
        assert own.given_up(past, Curve((1.0,), hopeless, costs=(-1.0,)), T) is None, "nothing is as cheap"
        assert own.given_up(past, Curve((1.0,), hopeless, costs=(50.0,)), T) is not None


@pytest.mark.parametrize("name", RULES)
class TestEveryRule:
    def test_it_saves_epochs_and_keeps_the_best(self, name) -> None:
        curves = growing(60, seed=3)
        past = ended(Stopping(rule=name), curves)
        whole = [curve.scores[-1] for curve in past if len(curve.scores) == T]
        assert max(whole) == max(curve.scores[-1] for curve in curves)
        assert saved(past) > 0.25

    def test_it_goes_by_what_it_is_asked_alone(self, name) -> None:
        """A rule that begins in the middle of a search says what one says that was there from the start."""
        curves, given = growing(30, seed=4), Stopping(rule=name)
        past = ended(given, curves)
        for i in (10, 20, 29):
            fresh = rule(given)
            assert fresh is not None
            for t in range(1, len(past[i].scores) + 1):
                said = fresh.given_up(past[:i], Curve(curves[i].features, curves[i].scores[:t]), T)
                assert (said is None) == (t < len(past[i].scores) or t == T)

    def test_a_training_that_came_to_nothing_leaves_no_trace(self, name) -> None:
        curves, given = growing(16, seed=5), Stopping(rule=name)
        past, lost = ended(given, curves), rule(given)
        assert lost is not None
        lost.given_up(past[:15], Curve((0.0,), (99.0, 99.0, 99.0, 99.0)), T)
        for t in range(1, len(past[15].scores) + 1):
            said = lost.given_up(past[:15], Curve(curves[15].features, curves[15].scores[:t]), T)
            assert (said is None) == (t < len(past[15].scores) or t == T)


def test_halving() -> None:
    """Of three that reach a rung the best goes on, at once; rungs are at 3 and 9 epochs of 12."""
    own = PrunerStopping(lambda _: SuccessiveHalvingPruner(min_resource=3, reduction_factor=3))
    past = [Curve((), (1.0,) * T)]
    for score, stops in ((0.5, True), (0.4, True), (2.0, False)):
        said = [own.given_up(past, Curve((), (score,) * t), T) for t in (1, 2, 3)]
        assert said == [None, None, score if stops else None]
        past.append(Curve((), (score,) * (3 if stops else T)))


class Asked:
    """A rule that gives up after two epochs, and keeps what it was asked."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, Curve]] = []

    def given_up(self, past, now: Curve, epochs: int) -> float | None:
        assert epochs == 3
        self.heard.append((len(past), now))
        return 12.5 if len(past) == 1 and len(now.scores) == 2 else None


@pytest.fixture(scope="module")
def trainings() -> tuple[Trained, Asked, list[Metrics]]:
    task = load("digits", images=120, test_images=40)
    space, heard = task.space(nasbench_macro, width=0.25), Asked()
    own = Trained(
        space, task, Optimisation(epochs=3, lr=0.02), stopping=Stopping(), costs={"latency_ms": lambda a: len(str(a))},
        objectives=(Objective("valid_accuracy"), Objective("latency_ms", maximise=False)),
    )  # fmt: skip
    own.rule = heard
    return own, heard, [own(space.unrank(3)), own(space.unrank(4))]


class TestTrainings:
    def test_one_that_is_given_up_ends_there_and_scores_what_the_rule_says(self, trainings) -> None:
        _, heard, (whole, stopped) = trainings
        assert (whole["epochs"], len(curve_of(whole))) == (3, 3)
        assert (stopped["epochs"], stopped["valid_accuracy"], len(curve_of(stopped))) == (2, 12.5, 2)
        assert [(past, len(now.scores)) for past, now in heard.heard] == [(0, 1), (0, 2), (1, 1), (1, 2)]

    def test_a_rule_knows_how_many_images_scores_are_of(self, trainings) -> None:
        own, _, _ = trainings
        known = Trained(own.space, own.task, own.options, stopping=Stopping()).rule
        assert isinstance(known, CurveStopping)
        assert known.images == own.task.splits["val"]

    def test_others_are_as_without_a_rule(self, trainings) -> None:
        own, _, (whole, _) = trainings
        free = Trained(own.space, own.task, own.options, stopping=NEVER)(own.space.unrank(3))
        assert whole["valid_accuracy"] == free["valid_accuracy"] == curve_of(whole)[-1]
        assert curve_of(free) == ()

    def test_what_a_rule_hears_of_a_network(self, trainings) -> None:
        own, heard, (whole, _) = trainings
        assert heard.heard[0][1].features == tuple(math.log10(1 + whole[name]) for name in ("madds", "parameters"))
        assert len(heard.heard[1][1].losses) == 2
        assert heard.heard[0][1].costs == (whole["latency_ms"],) == (len(str(own.space.unrank(3))),)

    def test_trials_of_a_ledger_stand_for_its_own(self, trainings) -> None:
        """So that a search which goes on is ruled as if it had never stopped."""
        own, heard, done = trainings
        later = Trained(own.space, own.task, own.options, stopping=Stopping(), objectives=own.objectives,
                        costs=own.costs, past=lambda: [None, done[0]])  # fmt: skip
        later.rule = fresh = Asked()
        assert later(Architecture(own.space.unrank(4)))["valid_accuracy"] == 12.5
        assert fresh.heard == heard.heard[2:]


def test_mistakes() -> None:
    assert rule(NEVER) is None
    for settings, said in (
        ({"confidence": 0.2}, "confidence is 0.2"), ({"curves": 3}, "curves is 3"), ({"observe": 0.0}, "observe is 0"),
        ({"rule": "mean"}, "rule is 'mean'; give one of curves, median, halving, hyperband, none"),
        ({"method": "rbm"}, "method is 'rbm'; give one of linear, svr"), ({"patience": 0}, "patience is 0"),
        ({"reduction": 1}, "reduction is 1; give 2 or more"), ({"margin": -1.0}, "margin is -1; give a number"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=said):
            Stopping(**settings)
    with pytest.raises(OptionError, match=r"stopping\.rule halving knows one objective, not 2; give curves or none"):
        rule(Stopping(rule="halving"), objectives=2)
