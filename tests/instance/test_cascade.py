"""A cascade against its stages run one image at a time, and its thresholds against what the cascade then does."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from archipel.cost import madds
from archipel.errors import OptionError
from archipel.instance.cascade import (
    COMBINATIONS,
    EVERYTHING,
    NOTHING,
    WIDEST,
    Cascade,
    CascadePoint,
    answers,
    frontier,
    sweep,
    temperature_for,
    within,
)
from archipel.instance.escalation import Gain, doubt
from archipel.nn.exits import Exits

COSTS = (0.2, 0.5, 1.1)


class Counting(nn.Module):
    """A network that remembers how many rows it was given."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(24, 5))
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return 4.0 * self.net(x)


def networks(count: int = 3) -> list[Counting]:
    made = [Counting(seed) for seed in range(count)]
    for net in made:
        net(images(64))  # statistics other than 0 and 1
        net.rows.clear()
    return made


def images(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def one_at_a_time(stages: list[Counting], x: Tensor, thresholds, temperatures) -> tuple[Tensor, Tensor]:
    """The definition: every stage on the image alone, until one is sure."""
    outputs, answered = [], []
    for row in x.split(1):
        for number, stage in enumerate(stages):
            z = copy.deepcopy(stage).eval()(row) / temperatures[number]
            if number == len(stages) - 1 or 1.0 - float(z.detach().softmax(1).max()) <= thresholds[number]:
                outputs.append(z)
                answered.append(number)
                break
    return torch.cat(outputs), torch.tensor(answered)


class TestForward:
    THRESHOLDS, TEMPERATURES = (0.3, 0.45), (1.5, 0.7, 2.0)

    def test_it_is_what_its_stages_say_one_image_at_a_time(self) -> None:
        stages, x = networks(), images(40)
        cascade = Cascade(stages, thresholds=self.THRESHOLDS, costs_ms=COSTS, temperatures=self.TEMPERATURES)
        expected, answered = one_at_a_time(stages, x, self.THRESHOLDS, self.TEMPERATURES)
        assert answered.bincount().min() >= 3  # every stage answers something
        torch.testing.assert_close(cascade(x), expected)
        found = cascade.answer(x)
        torch.testing.assert_close(found.output, expected)
        assert found.stage.equal(answered)
        spent = torch.tensor([0.2, 0.7, 1.8], dtype=torch.float64)
        torch.testing.assert_close(found.ms, spent[answered])
        torch.testing.assert_close(torch.cat([cascade(row) for row in x.split(1)]), expected)

    def test_a_stage_sees_only_what_those_before_it_are_unsure_of(self) -> None:
        cascade = Cascade(networks(), thresholds=self.THRESHOLDS, costs_ms=COSTS, temperatures=self.TEMPERATURES)
        answered = cascade.answer(images(40)).stage
        for stage, reached in zip(cascade.stages, (40, int((answered > 0).sum()), int((answered > 1).sum()))):
            assert stage.rows == [reached]

    def test_a_sure_image_leaves_at_once(self) -> None:
        cascade = Cascade(networks(), thresholds=self.THRESHOLDS, costs_ms=COSTS)
        x = images(40)
        answered = cascade.answer(x).stage
        for number in range(3):
            (row, *_) = x[answered == number]
            for stage in cascade.stages:
                stage.rows.clear()
            cascade(row[None])
            assert [len(stage.rows) for stage in cascade.stages] == [int(i <= number) for i in range(3)]

    @pytest.mark.parametrize(("thresholds", "stage"), [((NOTHING, NOTHING), 0), ((EVERYTHING, EVERYTHING), 2)])
    def test_at_the_ends_one_stage_answers_all(self, thresholds: tuple[float, float], stage: int) -> None:
        stages, x = networks(), images(9)
        cascade = Cascade(stages, thresholds=(0.3, 0.3), costs_ms=COSTS).at(thresholds)
        assert cascade.answer(x).stage.tolist() == [stage] * 9
        torch.testing.assert_close(cascade(x), stages[stage].eval()(x))

    def test_batch_norm_is_folded_and_what_it_is_made_of_stays(self) -> None:
        stages = networks(2)
        before = [copy.deepcopy(stage.state_dict()) for stage in stages]
        cascade = Cascade(stages, thresholds=(0.3,), costs_ms=COSTS[:2])
        cascade(images(9))
        assert not [part for part in cascade.modules() if isinstance(part, nn.BatchNorm2d)]
        assert all(stage.training for stage in stages)
        assert all(s.state_dict()[k].equal(b[k]) for s, b in zip(stages, before) for k in b)

    def test_another_threshold_shares_the_weights(self) -> None:
        cascade = Cascade(networks(2), thresholds=(0.3,), costs_ms=COSTS[:2])
        moved = cascade.at([0.6])
        assert (cascade.thresholds, moved.thresholds) == ((0.3,), (0.6,))
        assert moved.stages[0] is cascade.stages[0]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"thresholds": (0.3, 0.3)}, r"2 stages needs one threshold less.*given 2, 2 and 2"),
            ({"costs_ms": (1.0,)}, r"given 1, 1 and 2"),
            ({"temperatures": (1.0, 0.0)}, r"a temperature of a cascade is 0; give numbers above 0"),
        ],
    )
    def test_numbers_that_do_not_fit_are_refused(self, changes: dict, words: str) -> None:
        with pytest.raises(OptionError, match=words):
            Cascade(networks(2), **{"thresholds": (0.3,), "costs_ms": (1.0, 2.0), **changes})
        with pytest.raises(OptionError, match="has 1 thresholds; 2 are given"):
            Cascade(networks(2), thresholds=(0.3,), costs_ms=(1.0, 2.0)).at((0.1, 0.2))


class TestCommittee:
    THRESHOLDS, TEMPERATURES = (0.55, 0.65), (1.5, 0.7, 2.0)

    def test_each_image_has_the_mean_probability_of_the_stages_that_saw_it(self) -> None:
        stages, x = networks(), images(40)
        expected, answered = [], []
        for row in x.split(1):
            seen: list[Tensor] = []
            for number, stage in enumerate(stages):
                logits = copy.deepcopy(stage).eval()(row).detach()
                seen.append((logits / self.TEMPERATURES[number]).softmax(1))
                mean = torch.stack(seen).mean(0)
                if number == 2 or 1.0 - float(mean.max()) <= self.THRESHOLDS[number]:
                    break
            expected.append(mean)
            answered.append(number)
        assert torch.tensor(answered).bincount().min() >= 3  # every stage answers something
        cascade = Cascade(
            stages, thresholds=self.THRESHOLDS, costs_ms=COSTS, temperatures=self.TEMPERATURES, committee=True
        )
        found = cascade.answer(x)
        assert found.stage.tolist() == answered
        torch.testing.assert_close(found.output.exp(), torch.cat(expected))
        torch.testing.assert_close(cascade(x), found.output)
        assert cascade.at((NOTHING, NOTHING)).committee

    def test_gains_decide_instead_of_doubts(self) -> None:
        """A margin below which images go on, and one above which they do: the others are sent."""
        stages, x = networks(2), images(40)
        alike = [Gain(torch.tensor([sign, -sign, 0.0]), 0.0) for sign in (-1.0, 1.0)]
        margins = -alike[0](answers([stage.eval()(x).detach() for stage in stages[:1]], [1.0], committee=True)[0])
        middle = float(margins.median()) + 1e-4
        told = [
            Cascade(stages, thresholds=[sign * middle], costs_ms=COSTS[:2], committee=True, gains=[gain])
            .answer(x)
            .stage
            for sign, gain in zip((-1.0, 1.0), alike)
        ]
        assert told[0].tolist() == (margins < middle).long().tolist()
        assert told[1].tolist() == (1 - told[0]).tolist()
        with pytest.raises(OptionError, match="a cascade of 2 stages needs 1 gains; 2 are given"):
            Cascade(stages, thresholds=[0.4], costs_ms=COSTS[:2], gains=alike)

    @pytest.mark.parametrize("learnt", [False, True])
    def test_an_image_alone_goes_where_it_goes_in_a_batch(self, learnt: bool) -> None:
        stages, x = networks(3), images(40)
        gains = [Gain(torch.tensor([-0.5, 0.3, 0.2]), 0.4)] * 2 if learnt else None
        passed = [0.0, 0.1] if learnt else [0.4, 0.5]
        cascade = Cascade(stages, thresholds=passed, costs_ms=COSTS, gains=gains)
        together = cascade.answer(x)
        assert len(together.stage.unique()) == 3
        alone = [cascade.answer(row) for row in x.split(1)]
        assert [int(one.stage) for one in alone] == together.stage.tolist()
        torch.testing.assert_close(torch.cat([one.output for one in alone]), together.output)

    def test_answers_are_those_of_a_cascade_that_sends_everything_on(self) -> None:
        stages, x = networks(), images(12)
        logits = [copy.deepcopy(stage).eval()(x).detach() for stage in stages]
        for committee in (False, True):
            found = answers(logits, self.TEMPERATURES, committee=committee)
            for last in range(3):
                cascade = Cascade(
                    stages[: last + 1],
                    thresholds=[EVERYTHING] * last,
                    costs_ms=COSTS[: last + 1],
                    temperatures=self.TEMPERATURES[: last + 1],
                    committee=committee,
                )
                torch.testing.assert_close(found[last], cascade(x))
                torch.testing.assert_close(found[: last + 1], cascade.every_answer(x))


class TestTemperature:
    @pytest.mark.parametrize("planted", [0.5, 1.0, 3.0])
    def test_a_planted_one_is_found(self, planted: float) -> None:
        """Labels drawn from softmax(z/T): with 20,000 of them the estimate's standard error is below 1 %."""
        chance = torch.Generator().manual_seed(0)
        logits = 3.0 * torch.randn(20000, 5, generator=chance)
        targets = (logits / planted).softmax(1).multinomial(1, generator=chance)[:, 0]
        assert temperature_for(logits, targets) == pytest.approx(planted, rel=0.04)

    def test_none_nearby_has_a_lower_loss(self) -> None:
        chance = torch.Generator().manual_seed(1)
        logits, targets = torch.randn(200, 4, generator=chance).double(), torch.randint(4, (200,), generator=chance)
        logits[range(200), targets] += 1.0
        best = temperature_for(logits, targets)
        loss = lambda t: float(nn.functional.cross_entropy(logits / t, targets))  # noqa: E731
        assert all(loss(best) <= loss(best * factor) for factor in (0.2, 0.9, 0.999, 1.001, 1.1, 5.0))
        assert temperature_for(3.0 * logits, targets) == pytest.approx(3.0 * best, rel=1e-6)

    def test_without_a_mistake_it_ends_at_its_limit(self) -> None:
        assert temperature_for(10.0 * torch.eye(3), torch.arange(3)) == pytest.approx(1.0 / WIDEST)

    def test_without_images_there_is_none(self) -> None:
        with pytest.raises(OptionError, match="there are none"):
            temperature_for(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def judged(count: int, n: int = 60) -> tuple[list[Counting], Tensor, Tensor, Tensor, Tensor]:
    """Networks, images, labels, doubts `[S - 1, N]` and correctness `[S, N]`."""
    stages, x = networks(count), images(n, seed=3)
    targets = torch.randint(5, (n,), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        logits = [copy.deepcopy(stage).eval()(x) for stage in stages]
    doubts = torch.stack([doubt(z) for z in logits[:-1]])
    return stages, x, targets, doubts, torch.stack([z.argmax(1) == targets for z in logits])


class TestSweep:
    @pytest.mark.parametrize("count", [2, 3])
    def test_every_point_is_what_the_cascade_does_under_its_thresholds(self, count: int) -> None:
        stages, x, targets, doubts, correct = judged(count)
        costs = COSTS[:count]
        points = sweep(doubts, correct, costs)
        cascade = Cascade(stages, thresholds=[0.0] * (count - 1), costs_ms=costs)
        for point in points[:: len(points) // 25]:
            found = cascade.at(point.thresholds).answer(x)
            assert float((found.output.argmax(1) == targets).double().mean()) == pytest.approx(point.accuracy)
            assert float(found.ms.mean()) == pytest.approx(point.ms)
            assert found.stage.bincount(minlength=count).div(60).tolist() == pytest.approx(list(point.shares))

    def test_two_stages_have_a_point_for_every_number_of_images_that_go_on(self) -> None:
        *_, doubts, correct = judged(2)
        points = sweep(doubts, correct, COSTS[:2])
        assert [round(60 * point.shares[1]) for point in points] == list(range(61))
        assert all(a.ms < b.ms for a, b in pairwise(points))
        assert (points[0].ms, points[-1].ms) == pytest.approx((0.2, 0.7))
        assert points[0].accuracy == pytest.approx(float(correct[0].double().mean()))
        assert points[-1].accuracy == pytest.approx(float(correct[1].double().mean()))

    def test_equal_doubts_go_on_together(self) -> None:
        points = sweep(torch.tensor([[0.2, 0.2, 0.2, 0.6]]), torch.ones(2, 4, dtype=torch.bool), (1.0, 1.0))
        assert [point.shares[1] for point in points] == [0.0, 0.25, 1.0]

    def test_combinations_are_thinned(self) -> None:
        *_, doubts, correct = judged(3, n=150)
        points = sweep(doubts, correct, COSTS)
        assert len(points) == 64 * 64 == COMBINATIONS
        assert {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)} <= {point.shares for point in points}

    def test_where_the_cheap_one_knows_its_mistakes_the_dear_ones_accuracy_costs_less(self) -> None:
        """Right on the easy three quarters and unsure of the rest: all right for 0.2 + 0.5 / 4."""
        doubts = torch.cat([torch.linspace(0.0, 0.2, 75), torch.linspace(0.4, 0.8, 25)])
        correct = torch.stack([doubts < 0.3, torch.ones(100, dtype=torch.bool)])
        points = sweep(doubts[None], correct, COSTS[:2])
        best = frontier(points)[-1]
        assert (best.accuracy, best.ms) == pytest.approx((1.0, 0.2 + 0.25 * 0.5))
        assert within(points, 0.5) == best

    def test_without_images_there_is_nothing_to_find(self) -> None:
        with pytest.raises(OptionError, match="there are none"):
            sweep(torch.zeros(1, 0), torch.zeros(2, 0, dtype=torch.bool), (1.0, 2.0))


def test_the_frontier_is_what_nothing_beats() -> None:
    *_, doubts, correct = judged(3)
    points = sweep(doubts, correct, COSTS)
    kept = frontier(points)
    assert all(a.ms < b.ms and a.accuracy < b.accuracy for a, b in pairwise(kept))
    assert all(any(k.ms <= p.ms and k.accuracy >= p.accuracy for k in kept) for p in points)


class TestWithin:
    POINTS = (
        CascadePoint((0.9,), 0.5, 1.0, (1.0, 0.0)),
        CascadePoint((0.5,), 0.7, 1.4, (0.6, 0.4)),
        CascadePoint((0.3,), 0.6, 1.5, (0.5, 0.5)),
        CascadePoint((0.2,), 0.7, 1.6, (0.4, 0.6)),
    )

    @pytest.mark.parametrize(("target", "threshold"), [(1.0, 0.9), (1.39, 0.9), (1.4, 0.5), (1.5, 0.5), (9.0, 0.5)])
    def test_it_is_the_most_accurate_that_is_fast_enough(self, target: float, threshold: float) -> None:
        assert within(self.POINTS, target).thresholds == (threshold,)

    def test_a_target_below_the_first_stage_is_refused(self) -> None:
        with pytest.raises(OptionError, match=r"no thresholds meet 0\.9 ms an image; the cascade's fastest .* takes 1"):
            within(self.POINTS, 0.9)


class TestExits:
    """Stages that go on from what the one before has computed."""

    @staticmethod
    def exits() -> Exits:
        torch.manual_seed(3)
        trunks = [nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6)), nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU())]
        made = Exits(trunks, [nn.Sequential(nn.Flatten(), nn.Linear(24, 5)) for _ in trunks])
        made.answers(4.0 * images(64))  # statistics other than 0 and 1
        return made.eval()

    def test_it_is_what_its_exits_say_alone(self) -> None:
        exits, x = self.exits(), 4.0 * images(40)
        cascade = Cascade(exits, thresholds=[0.6], costs_ms=COSTS[:2], temperatures=[1.5, 0.7])
        found = cascade.answer(x)
        assert 3 <= int(found.stage.sum()) <= 37
        alone = torch.stack([exits.child(0)(x) / 1.5, exits.child(1)(x) / 0.7])
        torch.testing.assert_close(found.output, alone[found.stage, torch.arange(40)])
        torch.testing.assert_close(cascade.every_answer(x), alone)

    def test_what_is_shared_runs_once(self) -> None:
        exits, seen = self.exits(), []
        cascade = Cascade(exits, thresholds=[EVERYTHING], costs_ms=COSTS[:2])
        cascade.trunks[0].register_forward_hook(lambda _module, given, _out: seen.append(len(given[0])))
        cascade(images(7))
        assert seen == [7]

    def test_all_that_runs_for_an_image(self) -> None:
        exits, x = self.exits(), images(3)
        cascade = Cascade(exits, thresholds=[0.5], costs_ms=COSTS[:2])
        torch.testing.assert_close(cascade.upto(1)(x), torch.stack(exits.answers(x)))
        assert madds(cascade.upto(0), (1, 4, 4)) == madds(exits.child(0), (1, 4, 4))
        both = madds(exits.child(1), (1, 4, 4)) + 24 * 5
        assert madds(cascade.upto(1), (1, 4, 4)) == both
