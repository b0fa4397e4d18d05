"""The search on planted tasks, where the right architectures are known and every effect must appear."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archipel.cost import kendall_tau
from archipel.errors import OptionError
from archipel.instance.alarms import Alarm
from archipel.instance.code_cost import CodeCost
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import make_controller
from archipel.instance.controls import shuffled
from archipel.instance.options import SearchOptions
from archipel.instance.policy import CodePolicy
from archipel.instance.reward import WindowSchedule, reward
from archipel.instance.search import Search, SearchRow, mode_codes
from archipel.metagraph import MetaGraph, PerInstance
from archipel.run.checkpoint import Checkpoint
from archipel.sharing import Drawn, evaluate
from archipel.sharing.policies import draw_codes
from archipel.sharing.training import weight_epoch
from archipel.space import Space
from archipel.tasks import Classification

OPTIONS = SearchOptions(
    epochs=6,
    batch=32,
    controller_batch=32,
    controller_passes=1,
    lr=0.01,
    weight_lr=0.0,
    weight_momentum=0.0,
    weight_decay=0.0,
    alpha=(0.8, 0.95),
    beta=(0.4, 0.02),
    samples=2,
    baseline="leave_one_out",
    diversity=0.0,
    recalibrate=False,
    window="released",  # what the schedule says, without following the samples
)
OPEN = WindowSchedule(1.5, 2.5, 2.5)
"""Stays where one reader (2 ms) earns most and none (1 ms) or both (3 ms) nothing."""

Tables = Callable[..., Any]


def search_of(
    function: Callable[..., nn.Module],
    task: Classification,
    table: Tables,
    *,
    seed: int = 0,
    schedule: WindowSchedule = OPEN,
    controller: nn.Module | None = None,
    targets: Targets | None = None,
    ms: float = 1.0,
    keep: Callable[[int], None] | None = None,
    **changes: Any,
) -> Search:
    space = Space(function)
    torch.manual_seed(seed)
    graph = MetaGraph(space)
    every = {(choice.name, option): ms for choice in space.choices for option in choice.options}
    cost = CodeCost(space, table(space, ms=every))
    controller = controller or make_controller("light", space.width, channels=1, size=8, seed=seed)
    if targets is not None:
        controller = ConditionedController(controller, targets)
        changes["conditioned"] = True
    options = replace(OPTIONS, **changes)
    return Search(graph, controller, task, cost, schedule, options, seed=seed, targets=targets, keep=keep)


def picked(search: Search, split: str = "test") -> tuple[Tensor, Tensor]:
    """Codes that the controller picks, and whether each child answers right."""
    (batch,) = search.task.loader(split, 1000)
    codes = mode_codes(search.controller, search.policy, batch.inputs)
    search.graph.eval()
    with torch.no_grad():
        return codes, search.graph(batch.inputs, PerInstance(codes)).argmax(1) == batch.targets


class TestBandit:
    """Check 13: two types of image with opposite best options."""

    @pytest.mark.parametrize("baseline", ["none", "self_critical", "mean", "leave_one_out"])
    @pytest.mark.parametrize("kind", ["op", "subset"])
    def test_95_per_cent_of_the_optimum(self, planted, arithmetic_table, kind: str, baseline: str) -> None:
        for seed in range(2):
            task = planted.task(seed=seed)
            search = search_of(getattr(planted, kind), task, arithmetic_table, seed=seed, baseline=baseline)
            search.run()
            codes, right = picked(search)
            earned = reward(right, search.cost(codes), search.window.at(1.0))
            assert float(earned.mean()) >= 0.95 * 30.0

    def test_the_released_entropy_learns_it_too(self, planted, arithmetic_table) -> None:
        search = search_of(
            planted.subset, planted.task(), arithmetic_table, epochs=10, samples=1, baseline="self_critical",
            entropy="half", alpha=(0.8, 0.8), beta=(0.8, 0.8),
        )  # fmt: skip
        search.run()
        assert float(picked(search)[1].double().mean()) >= 0.95

    def test_without_a_reward_nothing_is_learnt(self, planted, arithmetic_table) -> None:
        """The control: the same search with a window in which no child falls."""
        search = search_of(
            planted.op, planted.task(), arithmetic_table, schedule=WindowSchedule(5.0, 6.0, 6.0), beta=(0.0, 0.0)
        )
        before = [p.detach().clone() for p in search.controller.parameters()]
        rows, alarms = search.run()
        assert {row["reward"] for row in rows} == {0.0}
        assert all(p.equal(b) for p, b in zip(search.controller.parameters(), before))
        assert {alarm.kind for alarm in alarms} >= {"dead window"}


class TestInstanceAwareness:
    """Check 17: architectures dealt to other images cost accuracy, where they fit their images; only there."""

    @staticmethod
    def drop(search: Search) -> float:
        """Accuracy lost by shuffling, at the same architectures and hence the same mean latency."""
        codes, right = picked(search)
        (batch,) = search.task.loader("test", 1000)
        dealt = [shuffled(codes, torch.Generator().manual_seed(s)) for s in range(10)]
        assert all(float(search.cost(d).mean()) == pytest.approx(float(search.cost(codes).mean())) for d in dealt)
        with torch.no_grad():
            wrong = [search.graph(batch.inputs, PerInstance(d)).argmax(1) != batch.targets for d in dealt]
        return float(right.double().mean()) - 1.0 + float(torch.stack(wrong).double().mean())

    @pytest.mark.parametrize("kind", ["op", "subset"])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_where_each_type_needs_its_own_half_of_the_images_go_wrong(
        self, planted, arithmetic_table, kind: str, seed: int
    ) -> None:
        search = search_of(getattr(planted, kind), planted.task(seed=seed), arithmetic_table, seed=seed)
        rows, alarms = search.run()
        # Half of the re-dealt images get an architecture of the other type: 0.5, ± 4 standard errors of 10 × 96 deals.
        assert self.drop(search) == pytest.approx(0.5, abs=4 * (0.25 / 96) ** 0.5)
        assert rows[-1]["distinct"] == 2
        assert "collapse" not in {alarm.kind for alarm in alarms if alarm.epoch > 2}

    @pytest.mark.parametrize("kind", ["op", "subset"])
    def test_where_one_fits_all_nothing_is_lost_and_the_alarm_says_so(
        self, planted, arithmetic_table, kind: str
    ) -> None:
        search = search_of(getattr(planted, kind), planted.task(types=1), arithmetic_table)
        rows, alarms = search.run()
        assert float(picked(search)[1].double().mean()) == 1.0
        assert self.drop(search) == 0.0
        assert rows[-1]["distinct"] == 1
        assert ("collapse", OPTIONS.epochs - 1) in {(alarm.kind, alarm.epoch) for alarm in alarms}


class Bright(nn.Module):
    """The planted task's answer, whatever the path before it was."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        left = self.gain * x[..., :4].mean((1, 2, 3))
        return torch.stack([-left, left], 1)


def any_path_is_right(choose) -> nn.Module:
    layers = [choose.subset(f"l{i}", dict.fromkeys("abc", nn.Identity), empty=nn.Identity) for i in range(6)]
    return nn.Sequential(*layers, Bright())


class TestWindow:
    """Check 15: the window carries the sampled latency with it."""

    @staticmethod
    def rows(planted, table: Tables, seed: int, window: WindowSchedule) -> list[SearchRow]:
        search = search_of(
            any_path_is_right, planted.task(types=1, seed=seed), table, seed=seed, schedule=window, ms=0.5, epochs=12
        )
        return search.run()[0]

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_latency_follows_the_falling_window(self, planted, arithmetic_table, seed: int) -> None:
        start = 1.0 + 18 * 0.5 / 2  # of 18 options half are on
        rows = self.rows(planted, arithmetic_table, seed, WindowSchedule.ours(cheapest=1.0, start=start))
        middle = [(row["window_low"] + row["window_high"]) / 2 for row in rows]
        sampled = [row["sampled_ms"] for row in rows]
        assert kendall_tau(middle, sampled) > 0.8
        smooth = [sum(sampled[i : i + 3]) / 3 for i in range(len(sampled) - 2)]
        assert smooth == sorted(smooth, reverse=True)
        assert rows[-1]["map_ms"] < 0.6 * rows[0]["map_ms"]

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_and_stays_in_the_middle_of_one_that_stays(self, planted, arithmetic_table, seed: int) -> None:
        rows = self.rows(planted, arithmetic_table, seed, WindowSchedule(3.5, 7.5, 7.5))
        assert [row["sampled_ms"] for row in rows[6:]] == pytest.approx([5.5] * 6, abs=0.4)

    def test_ours_does_not_leave_behind_what_is_sampled(self, planted, arithmetic_table) -> None:
        """Its upper end stays a standard deviation above the last epoch's mean sample."""
        schedule = WindowSchedule(0.9, 9.0, 1.1)
        search = search_of(
            any_path_is_right,
            planted.task(types=1),
            arithmetic_table,
            schedule=schedule,
            ms=0.5,
            epochs=5,
            window="ours",
        )
        rows, alarms = search.run()
        assert rows[0]["window_high"] == 9.0
        for i, (before, row) in enumerate(itertools.pairwise(rows)):
            scheduled = schedule.at((i + 1) / 4).high
            assert row["window_high"] == max(scheduled, before["sampled_ms"] + before["sampled_std"])
        assert rows[-1]["window_high"] > schedule.last_high
        assert "dead window" not in {alarm.kind for alarm in alarms}


class TestConditioned:
    """One controller for the whole range of targets."""

    @staticmethod
    def asked(search: Search, target: float) -> tuple[float, float]:
        """Mean latency and accuracy for one target on the test images."""
        (batch,) = search.task.loader("test", 1000)
        codes = mode_codes(search.controller.at(target), search.policy, batch.inputs)
        search.graph.eval()
        with torch.no_grad():
            right = search.graph(batch.inputs, PerInstance(codes)).argmax(1) == batch.targets
        return float(search.cost(codes).mean()), float(right.double().mean())

    @pytest.mark.parametrize("seed", [0, 1])
    def test_in_windows_the_picks_follow_the_targets(self, planted, arithmetic_table, seed: int) -> None:
        """Any path is right: nothing but the window decides what is picked. Seeds 0 to 2 are off by up to 1.0 ms."""
        targets = Targets(1.0, 5.5)
        search = search_of(
            any_path_is_right, planted.task(types=1, seed=seed), arithmetic_table, seed=seed, ms=0.5, targets=targets,
            epochs=12, controller_passes=2,
        )  # fmt: skip
        rows, alarms = search.run()
        grid = targets.grid(7)
        found = [self.asked(search, target)[0] for target in grid]
        assert kendall_tau(grid, found) > 0.7
        assert max(abs(ms - target) for ms, target in zip(found, grid)) < 1.125  # a quarter of the range
        assert rows[-1]["slow_ms"] - rows[-1]["fast_ms"] > 1.5  # of 2.25 if each met its target
        assert {(row["window_low"], row["window_high"]) for row in rows} == {(1.0, 5.5)}
        assert not [alarm for alarm in alarms if alarm.kind == "dead window"]

    @pytest.mark.parametrize("seed", [0, 1])
    def test_constrained_it_is_as_right_as_the_target_allows(self, planted, arithmetic_table, seed: int) -> None:
        """No reader takes 1 ms and answers with the first class, right for half of the images; one reader takes 2 and
        can be right; both take 3 and cancel out. So all can be right in 1.5 ms on average, and nothing is to be had
        above 2."""
        search = search_of(
            planted.subset, planted.task(seed=seed), arithmetic_table, seed=seed, targets=Targets(1.0, 3.0),
            reward="constrained", epochs=15, controller_passes=2,
        )  # fmt: skip
        rows, _ = search.run()
        for target in (2.1, 3.0):
            ms, accuracy = self.asked(search, target)
            assert accuracy >= 0.95
            assert ms <= 2.1
        assert self.asked(search, 1.0)[0] < self.asked(search, 3.0)[0] - 0.4
        assert rows[0]["multiplier"] > 30.0

    def test_a_plain_controller_is_constrained_by_the_windows_middle(self, planted, arithmetic_table) -> None:
        for middle, cheap in ((1.05, True), (2.0, False)):
            search = search_of(
                planted.subset, planted.task(), arithmetic_table, reward="constrained", epochs=8,
                schedule=WindowSchedule(middle - 0.5, middle + 0.5, middle + 0.5),
            )  # fmt: skip
            search.run()
            codes, right = picked(search)
            assert (float(search.cost(codes).mean()) <= 1.1) == cheap
            assert (float(right.double().mean()) >= 0.95) != cheap

    def test_the_bonus_for_diversity_sees_images_not_targets(self, planted, arithmetic_table) -> None:
        search = search_of(planted.op, planted.task(), arithmetic_table, targets=Targets(1.0, 3.0))
        torch.nn.init.normal_(search.controller.film[2].weight, std=3.0)
        search.controller.eval()
        (batch,) = search.task.loader("test", 1000)
        same = batch.inputs[:1].expand(64, -1, -1, -1)
        asked = search.targets.spread(64)
        with torch.no_grad():
            q = search.policy.probabilities(search.controller(same, asked), 0.8)
            assert float(search.policy.information(q)) > 0.003
            assert float(search.policy.information(search.training._alike(same, q, asked, 0.8))) == pytest.approx(
                0.0, abs=1e-5
            )


class Linear(nn.Module):
    """A linear answer to the picture; can see either half."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.stack([x[..., :4].mean((1, 2, 3)), x[..., 4:].mean((1, 2, 3))], 1))


def two_linears(choose) -> nn.Module:
    return choose.op("half", {"first": Linear, "second": Linear})


def halves_task(n: int = 256) -> Classification:
    """The class stands strongly in one half of a picture, the left or the right one, and weakly inverted in the other:
    what is learnt of one type of picture alone answers the other type wrongly, and both can be learnt."""
    labels, is_right = torch.arange(n) % 2, torch.arange(n) // 2 % 2 == 1
    sign = (2 * labels - 1)[:, None, None, None]
    images = torch.randint(120, 140, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images[..., :4] += sign * torch.where(is_right, -30, 80)[:, None, None, None]
    images[..., 4:] += sign * torch.where(is_right, 80, -30)[:, None, None, None]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    cuts = dict(zip(("train", "arch", "val", "test"), order.split(n // 4)))
    return Classification("halves", images.to(torch.uint8), labels, cuts, classes=("dark", "bright"))


class ByType(nn.Module):
    """An oracle: `first` for pictures with the strong half left, else `second`."""

    def __init__(self) -> None:
        super().__init__()
        self.certainty = nn.Parameter(torch.tensor(20.0))

    def forward(self, x: Tensor) -> Tensor:
        is_left = x[..., :4].mean((1, 2, 3)).abs() > x[..., 4:].mean((1, 2, 3)).abs()
        return self.certainty * torch.stack([is_left.float(), (~is_left).float()], 1)


class TestPermutation:
    """Check 16: weights trained on permuted policies serve any image, others only those of their own policy."""

    @staticmethod
    def drawn(arithmetic_table, is_shuffled: bool) -> tuple[Search, Tensor, Tensor]:
        task = halves_task()
        search = search_of(two_linears, task, arithmetic_table, controller=ByType(), shuffle_policies=is_shuffled)
        (batch,) = task.loader("train", 1000)
        own = mode_codes(search.controller, search.policy, batch.inputs)
        return search, own, search._draw(batch.inputs, 1.0, torch.Generator().manual_seed(0))

    def test_policies_are_dealt_to_other_images(self, arithmetic_table) -> None:
        _, own, drawn = self.drawn(arithmetic_table, True)
        assert sorted(drawn.tolist()) == sorted(own.tolist())
        assert 0.3 < float((drawn == own).all(1).double().mean()) < 0.7

    def test_unless_told_not_to(self, arithmetic_table) -> None:
        _, own, drawn = self.drawn(arithmetic_table, False)
        assert drawn.equal(own)

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_random_children_survive_only_with_it(self, arithmetic_table, seed: int) -> None:
        accuracy = {}
        for is_shuffled in (True, False):
            search, _, _ = self.drawn(arithmetic_table, is_shuffled)
            torch.manual_seed(seed)
            for layer in search.graph.net.options.values():
                layer.layer.reset_parameters()
            policy = Drawn(lambda x, chance, search=search: search._draw(x, 1.0, chance))
            optimiser = torch.optim.SGD(search.graph.parameters(), lr=0.3)
            for epoch in range(20):
                weight_epoch(search.graph, search.task, optimiser, policy=policy, batch_size=32, seed=epoch)
            chance = torch.Generator().manual_seed(seed)
            anything = lambda b: PerInstance(draw_codes(search.graph.space, len(b.targets), 0.5, chance))  # noqa: E731, B023
            own = lambda b: PerInstance(mode_codes(search.controller, search.policy, b.inputs))  # noqa: E731, B023
            accuracy[is_shuffled] = [
                evaluate(search.graph, search.task, "test", route=r).score for r in (own, anything)
            ]
        assert min(accuracy[True]) > 0.95
        assert accuracy[False][0] == 1.0
        assert accuracy[False][1] < 0.75  # half of the random children are the other type's: 0.5 ± 0.25 for 64 images


class Certain(nn.Module):
    """The first option with odds of 3,000 to 1: gradients still flow through it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(16.0 * torch.eye(width)[0] - 8.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.bias.expand(len(x), -1)


class TestDiversity:
    """Where two options are equally right nothing but the bonus makes images differ."""

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_the_bonus_ties_options_to_images(self, planted, arithmetic_table, seed: int) -> None:
        def either(choose) -> nn.Module:
            return choose.op("reader", {"one": Bright, "other": Bright})

        information = {}
        for weight in (0.0, 10.0):
            search = search_of(either, planted.task(types=1, seed=seed), arithmetic_table, seed=seed, diversity=weight)
            rows, _ = search.run()
            assert rows[-1]["val_accuracy"] == 1.0
            (batch,) = search.task.loader("test", 1000)
            search.controller.eval()
            with torch.no_grad():
                q = search.policy.probabilities(search.controller(batch.inputs))
            information[weight] = float(search.policy.information(q))
        # Of ln 2 = 0.693 at most; seeds 0 to 4 give 0.001 to 0.011 without and 0.56 to 0.69 with it.
        assert information[0.0] < 0.1
        assert information[10.0] > 0.4


class TestControllerEpoch:
    @pytest.mark.parametrize("kind", ["op", "subset"])
    def test_samples_that_are_the_map_child_teach_nothing(self, planted, arithmetic_table, kind: str) -> None:
        """Check 11: adv = 0 when sample = MAP, as they all are without an exploration bound."""
        moved = {}
        for alpha in (1.0, 0.8):
            controller = Certain(2)
            search = search_of(
                getattr(planted, kind), planted.task(), arithmetic_table, controller=controller, samples=1,
                baseline="self_critical", alpha=(alpha, alpha), beta=(0.0, 0.0), epochs=1,
            )  # fmt: skip
            before = controller.bias.detach().clone()
            search.run()
            moved[alpha] = not controller.bias.detach().equal(before)
        assert moved == {1.0: False, 0.8: True}

    def test_it_moves_the_controller_only(self, planted, arithmetic_table) -> None:
        def normed(choose) -> nn.Module:
            return nn.Sequential(nn.BatchNorm2d(1), planted.op(choose))

        search = search_of(normed, planted.task(), arithmetic_table)
        search.graph.train()
        weights = {name: t.clone() for name, t in search.graph.state_dict().items()}
        controller = {name: t.clone() for name, t in search.controller.state_dict().items()}
        with search_bar() as bar:
            row = search.training.epoch(0, search.window.at(0.0), 0.0, seed=0, bar=bar)
        assert all(t.equal(weights[name]) for name, t in search.graph.state_dict().items())
        assert not search.controller.state_dict()["head.weight"].equal(controller["head.weight"])
        assert 0.0 < row["positive_share"] < 1.0
        assert row["sampled_ms"] == pytest.approx(2.0)

    def test_rewards_are_those_of_each_child_alone(self, planted, arithmetic_table) -> None:
        search = search_of(planted.subset, planted.task(), arithmetic_table)
        (batch,) = search.task.loader("arch", 1000)
        codes = torch.stack(
            [
                draw_codes(search.graph.space, len(batch.targets), 0.5, torch.Generator().manual_seed(s))
                for s in range(3)
            ]
        )
        rewards, latency = search.training._rewards(batch, codes, search.window.at(0.0))
        assert rewards.shape == latency.shape == codes.shape[:2]
        for s, i in [(0, 0), (1, 7), (2, 13), (2, 50)]:
            architecture = search.graph.space.decode(codes[s, i])
            right = search.graph(batch.inputs[i : i + 1], architecture).argmax(1) == batch.targets[i]
            ms = search.cost.of(architecture)
            assert float(latency[s, i]) == pytest.approx(ms)
            expected = reward(right, torch.tensor([ms], dtype=torch.float64), search.window.at(0.0))
            assert float(rewards[s, i]) == pytest.approx(float(expected))

    def test_the_learning_rate_decays_as_told(self, planted, arithmetic_table) -> None:
        search = search_of(planted.op, planted.task(), arithmetic_table, epochs=5, lr=0.1, lr_decay_epochs=2)
        rates: list[float] = []
        search.keep = lambda epoch: rates.append(search.training.optimiser.param_groups[0]["lr"])  # noqa: ARG005
        search.run()
        assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])


def search_bar() -> Any:
    from archipel.progress import SILENT

    return SILENT.bar("", 1)


class TestEpochs:
    def test_splits_are_used_for_what_they_are(self, planted, arithmetic_table) -> None:
        task = planted.task()
        search_of(planted.op, task, arithmetic_table, epochs=2).run()
        assert task.reads == {"train": 2, "arch": 2, "val": 2, "test": 0}

    def test_the_released_program_reads_train_and_test(self, planted, arithmetic_table) -> None:
        task = planted.task()
        changes = {"epochs": 2, "controller_split": "train", "select_split": "test"}
        search_of(planted.op, task, arithmetic_table, **changes).run()
        assert task.reads == {"train": 4, "arch": 0, "val": 0, "test": 2}

    def test_a_row_says_what_the_documentation_names(self, planted, arithmetic_table) -> None:
        rows, _ = search_of(planted.subset, planted.task(), arithmetic_table, epochs=2).run()
        named = {
            "epoch", "window_low", "window_high", "sampled_ms", "sampled_std", "map_ms", "val_accuracy",
            "running_accuracy", "reward", "positive_share", "distinct", "distinct_share",
            "effective_number", "varying_bits", "entropy", "alpha",
            "bn_drift", "loss",
        }  # fmt: skip
        assert all(set(row) == named for row in rows)
        assert [row["epoch"] for row in rows] == [0, 1]
        assert [row["alpha"] for row in rows] == pytest.approx([0.8, 0.95])

    def test_weights_first_leaves_the_controller_as_it_is_in_the_first_epoch(self, planted, arithmetic_table) -> None:
        kept: list[Tensor] = []
        search = search_of(planted.op, planted.task(), arithmetic_table, epochs=2, weights_first=True)
        kept.append(search.controller.head.weight.detach().clone())
        search.keep = lambda epoch: kept.append(search.controller.head.weight.detach().clone())  # noqa: ARG005
        rows, _ = search.run()
        assert kept[1].equal(kept[0])
        assert not kept[2].equal(kept[1])
        assert rows[0]["reward"] == 0.0

    def test_an_alarm_is_said_once_and_kept_always(self, planted, arithmetic_table) -> None:
        said: list[str] = []

        class Listening(type(search_bar().__enter__())):
            def alarm(self, text: str) -> None:
                said.append(text)

        search = search_of(
            planted.op, planted.task(), arithmetic_table, epochs=3, schedule=WindowSchedule(5.0, 6.0, 6.0)
        )
        _, alarms = search.run(progress=Listening(), title="search, seed 0")
        assert [alarm.epoch for alarm in alarms if alarm.kind == "dead window"] == [0, 1, 2]
        assert [text for text in said if text.startswith("dead window in epoch 0 of search, seed 0")]
        assert len(said) == len({alarm.kind for alarm in alarms})


class TestThroughModules:
    """What changes in a search whose controller learns by gradients through the modules."""

    def test_statistics_are_of_draws_when_the_controller_begins(self, planted, arithmetic_table) -> None:
        """Not of the picks of the last evaluation: an option that none of them takes would keep old ones."""

        def normed(choose) -> nn.Module:
            options = {"a": lambda: nn.BatchNorm2d(1), "b": lambda: nn.BatchNorm2d(1)}
            return nn.Sequential(choose.op("norm", options), planted.op(choose))

        found = {}
        for recalibrate in (True, False):
            search = search_of(
                normed, planted.task(n=256), arithmetic_table, controller=Certain(4), epochs=1, estimator="gumbel",
                recalibrate=recalibrate,
            )  # fmt: skip
            unpicked = search.graph.net[0].options["b"]
            unpicked.running_mean.fill_(30.0)
            epoch, found[recalibrate] = search.training.epoch, []

            def noting(*given: Any, epoch=epoch, unpicked=unpicked, seen=found[recalibrate], **more: Any) -> Any:
                seen.append(float(unpicked.running_mean))
                return epoch(*given, **more)

            search.training.epoch = noting  # type: ignore[method-assign]
            search.run()
        assert found[False] == [30.0]
        assert abs(found[True][0]) < 1.0

    def test_the_window_does_not_wait_for_samples_and_is_never_dead(self, planted, arithmetic_table) -> None:
        schedule = WindowSchedule(0.2, 1.0, 0.4)  # below every child
        search = search_of(
            planted.op, planted.task(n=128), arithmetic_table, schedule=schedule, epochs=2, window="ours",
            estimator="gumbel",
        )  # fmt: skip
        rows, alarms = search.run()
        assert [row["window_high"] for row in rows] == [1.0, 0.4]
        assert {row["positive_share"] for row in rows} == {0.0}
        assert "dead window" not in {alarm.kind for alarm in alarms}


class TestRecalibration:
    def test_every_evaluation_uses_statistics_of_its_own_routes(self, digits, arithmetic_table) -> None:
        def normed(choose) -> nn.Module:
            options = {"a": lambda: nn.BatchNorm2d(1), "b": lambda: nn.BatchNorm2d(1)}
            return nn.Sequential(choose.op("norm", options), nn.Flatten(), nn.Linear(64, 10))

        search = search_of(normed, digits, arithmetic_table, epochs=1, recalibrate=True, batch=64)
        for norm in search.graph.net[0].options.values():
            norm.running_mean.fill_(30.0)  # so wrong that nothing can be told apart
        rows, _ = search.run()
        policy = CodePolicy(search.graph.space)
        inputs = torch.cat(list(digits.calibration(2, 256)))
        codes = mode_codes(search.controller, policy, inputs)
        for i, norm in enumerate(search.graph.net[0].options.values()):
            rows_of_it = [codes[part, i] for part in (slice(0, 256), slice(256, 512))]
            parts = [x[r] for x, r in zip(inputs.split(256), rows_of_it) if bool(r.any())]
            if parts:
                expected = sum(float(part.mean()) for part in parts) / len(parts)
                assert float(norm.running_mean) == pytest.approx(expected, abs=1e-5)
        assert rows[0]["bn_drift"] == pytest.approx(rows[0]["val_accuracy"] - rows[0]["running_accuracy"])


Outcome = tuple[list[SearchRow], list[Alarm], list[dict[str, Tensor]], list[int]]


class TestDeterminism:
    @staticmethod
    def outcome(
        planted, table: Tables, kind: str = "subset", seed: int = 0, changes: dict[str, Any] | None = None, **more: Any
    ) -> Outcome:
        kept: list[int] = []
        search = search_of(
            getattr(planted, kind), planted.task(n=128), table, seed=seed, epochs=3, weight_lr=0.01, keep=kept.append,
            **(changes or {}),
        )  # fmt: skip
        rows, alarms = search.run(**more)
        return rows, alarms, [search.graph.state_dict(), search.controller.state_dict()], kept

    @staticmethod
    def same(one: Outcome, other: Outcome) -> bool:
        states = all(a[name].equal(b[name]) for a, b in zip(one[2], other[2]) for name in a)
        return one[:2] == other[:2] and states

    @pytest.mark.parametrize("kind", ["op", "subset"])
    def test_the_seed_alone_decides(self, planted, arithmetic_table, kind: str) -> None:
        first = self.outcome(planted, arithmetic_table, kind)
        torch.seed()
        assert self.same(first, self.outcome(planted, arithmetic_table, kind))
        assert not self.same(first, self.outcome(planted, arithmetic_table, kind, seed=1))

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"targets": Targets(1.0, 3.0), "reward": "constrained"},
            {"estimator": "gumbel", "recalibrate": True},
        ],
    )
    def test_killed_anywhere_and_gone_on_with_it_ends_the_same(
        self, planted, arithmetic_table, tmp_path: Path, killer, killed, changes: dict[str, Any]
    ) -> None:
        whole = killer(None, Checkpoint(tmp_path / "whole"))
        expected = self.outcome(planted, arithmetic_table, changes=changes, progress=whole, checkpoint=whole)
        assert expected[3] == [0, 1, 2]
        for at in range(whole.count):
            dying = killer(at, Checkpoint(tmp_path / f"{at}"))
            with pytest.raises(killed):
                self.outcome(planted, arithmetic_table, changes=changes, progress=dying, checkpoint=dying)
            again = self.outcome(planted, arithmetic_table, changes=changes, checkpoint=Checkpoint(tmp_path / f"{at}"))
            assert self.same(expected, again), at


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, r"search\.epochs is 0; give 1 or more"),
        ({"batch": 1}, r"search\.batch is 1; give 2 or more"),
        ({"samples": 1}, r"give search\.samples of 2 or more"),
        (
            {"estimator": "gumble"},
            r"search\.estimator is 'gumble'; choose from reinforce, gumbel; did you mean 'gumbel'",
        ),
        ({"temperature": (1.0, 0.0)}, r"search\.temperature is \[1\.0, 0\.0\]; give two numbers above 0"),
        ({"estimator": "gumbel", "positive": 0.0}, r"search\.positive is 0 and .* give a positive above 0"),
        ({"multiplier": 0.0}, r"search\.multiplier is 0 and search\.multiplier_rate 0\.2; give"),
        ({"alpha": (0.4, 1.0)}, r"search\.alpha is \[0\.4, 1\.0\]; give two numbers from 0\.5 to 1"),
    ],
)
def test_options_that_cannot_be_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        replace(OPTIONS, **changes)
