"""Straight-through Gumbel gradients: their direction, what a controller learns by them, what they leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archipel.errors import OptionError
from archipel.instance.code_cost import CodeCost
from archipel.instance.conditioned import ConditionedController, Targets
from archipel.instance.controller import make_controller
from archipel.instance.controller_training import ControllerTraining
from archipel.instance.options import SearchOptions
from archipel.instance.policy import CodePolicy
from archipel.instance.reward import Window, WindowSchedule, constrained_reward, reward
from archipel.instance.search import mode_codes
from archipel.metagraph import MetaGraph, PerInstance, Staged
from archipel.nn import conv2d
from archipel.progress import SILENT
from archipel.space import Space
from archipel.tasks import Classification

Enumerated = Callable[[Space, Tensor], tuple[Tensor, Tensor]]
OPTIONS = SearchOptions(
    estimator="gumbel", controller_batch=32, controller_passes=1, beta=(0.4, 0.02), alpha=(0.8, 0.95), diversity=0.0
)


WITHOUT_VALUES = pytest.mark.of_spaces(where=lambda space: all(choice.kind != "value" for choice in space.choices))
"""Values are refused."""


class TestDirection:
    """Against the gradient of the expected loss, enumerated over all architectures of a space."""

    @staticmethod
    def exact(space: Space, enumerated: Enumerated, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Logits `[D]` and the gradient of E[loss] there."""
        z = torch.randn(space.width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        rows = z.clone().requires_grad_()
        codes, p = enumerated(space, CodePolicy(space).probabilities(rows[None], 0.8)[0])
        (p * loss(codes)).sum().backward()
        assert rows.grad is not None
        return z, rows.grad

    @staticmethod
    def each(space: Space, z: Tensor, count: int, temperature: float, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """The gradients of `count` samples, `[count, D]`."""
        policy, rows = CodePolicy(space), z.repeat(count, 1).requires_grad_()
        bits = policy.relax(policy.probabilities(rows, 0.8), temperature, torch.Generator().manual_seed(2))
        loss(bits).sum().backward()
        assert rows.grad is not None
        return rows.grad

    @WITHOUT_VALUES
    def test_of_latency_it_is_the_enumerated_one(
        self, small_space: Space, arithmetic_table, enumerated: Enumerated
    ) -> None:
        """Latency is linear in each decision, the others fixed. Then what a decision would change does not depend on
        its own noise, and the straight-through estimate tends to the true gradient as the temperature falls: at 0.1
        within four standard errors on 20,000 samples, in every logit."""
        cost, policy = CodeCost(small_space, arithmetic_table(small_space)), CodePolicy(small_space)
        z, exact = self.exact(small_space, enumerated, cost)
        each = self.each(small_space, z, 20_000, 0.1, lambda bits: cost.through(policy.complete(bits)))
        error = each.std(0) / len(each) ** 0.5 + 1e-9
        assert bool(((each.mean(0) - exact).abs() <= 4.0 * error).all())
        assert float((exact.abs() / error).max()) > 20.0

    @WITHOUT_VALUES
    def test_of_a_networks_loss_it_has_the_same_direction(
        self, small_space: Space, enliven, enumerated: Enumerated
    ) -> None:
        """A network's loss bends between 0 and 1, which straight-through does not see, so that the estimate is biased
        for any number of samples and at any temperature: lengths of 0.5 to 1.6 of the true gradient's, and cosines of
        0.95 to 0.999 on 3,000 samples in four of these spaces. Of random directions in ten logits one in 300 has more
        than 0.8."""
        graph = enliven(MetaGraph(small_space)).requires_grad_(False)
        x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

        def answered(route: Any, count: int) -> Tensor:
            output = graph(x.expand(count, -1, -1, -1), route)
            return F.cross_entropy(output, torch.ones(count, dtype=torch.long), reduction="none")

        def of_codes(codes: Tensor) -> Tensor:
            every, which = codes.unique(dim=0, return_inverse=True)
            return answered(PerInstance(every), len(every))[which]

        def of_bits(bits: Tensor) -> Tensor:
            return answered(Staged(lambda name, _: bits[:, small_space.slices[name]]), len(bits))

        z, exact = self.exact(small_space, enumerated, of_codes)
        found = self.each(small_space, z, 400, 1.0, of_bits).mean(0)
        assert float(F.cosine_similarity(found, exact, dim=0)) > 0.8
        large = exact.abs() > 0.4 * exact.abs().max()
        assert found.sign()[large].equal(exact.sign()[large])


def training_of(
    function: Callable[..., nn.Module],
    task: Classification,
    table: Callable[..., Any],
    *,
    targets: Targets | None = None,
    ms: float = 1.0,
    seed: int = 0,
    **changes: Any,
) -> ControllerTraining:
    space = Space(function)
    torch.manual_seed(seed)
    cost = CodeCost(space, table(space, ms={(c.name, o): ms for c in space.choices for o in c.options}))
    controller: nn.Module = make_controller("light", space.width, channels=1, size=8, seed=seed)
    if targets is not None:
        controller = ConditionedController(controller, targets)
    options = SearchOptions(**{**vars(OPTIONS), **changes})
    return ControllerTraining(MetaGraph(space), controller, task, cost, options, targets=targets)


def train(training: ControllerTraining, schedule: WindowSchedule, epochs: int) -> list[dict[str, float]]:
    with SILENT.bar("", 1) as bar:
        return [
            training.epoch(i, schedule.at(i / (epochs - 1)), i / (epochs - 1), seed=i, bar=bar) for i in range(epochs)
        ]


def asked(training: ControllerTraining, target: float | None = None) -> tuple[float, float]:
    """Mean latency and accuracy of the picks for the test images."""
    (batch,) = training.task.loader("test", 1000)
    targets = None if target is None else torch.full((len(batch.targets),), target)
    codes = mode_codes(training.controller, training.policy, batch.inputs, targets)
    training.graph.eval()
    with torch.no_grad():
        right = training.graph(batch.inputs, PerInstance(codes)).argmax(1) == batch.targets
    return float(training.cost(codes).mean()), float(right.double().mean())


class Bright(nn.Module):
    """The answer where there is one type of image, whatever the path before it was."""

    def forward(self, x: Tensor) -> Tensor:
        left = x[..., :4].mean((1, 2, 3))
        return torch.stack([-left, left], 1)


def any_path_is_right(choose) -> nn.Module:
    layers = [choose.subset(f"l{i}", dict.fromkeys("abc", nn.Identity), empty=nn.Identity, mean=True) for i in range(4)]
    return nn.Sequential(*layers, Bright())


OPEN = WindowSchedule(1.0, 3.6, 3.6)
"""One reader takes 2 ms, which costs nothing; two take 3."""


class TestLearning:
    @pytest.mark.parametrize("kind", ["op", "subset"])
    def test_two_types_of_image_get_the_option_that_is_right_for_each(
        self, planted, arithmetic_table, kind: str
    ) -> None:
        training = training_of(getattr(planted, kind), planted.task(), arithmetic_table)
        rows = train(training, OPEN, 6)
        ms, accuracy = asked(training)
        assert accuracy >= 0.95
        assert ms <= 2.05
        assert rows[-1]["reward"] > rows[0]["reward"]

    def test_latency_falls_with_the_window(self, planted, arithmetic_table) -> None:
        """From what a fresh controller samples, 4 ms, to the middle of the last window, 1.36; every path is right."""
        schedule = WindowSchedule.ours(cheapest=1.0, start=4.0)
        training = training_of(any_path_is_right, planted.task(types=1), arithmetic_table, ms=0.5)
        rows = train(training, schedule, 6)
        assert rows[0]["sampled_ms"] > 3.0
        assert asked(training)[0] < 1.4

    def test_constrained_it_is_as_right_as_each_target_allows(self, planted, arithmetic_table) -> None:
        """No reader takes 1 ms and is right for half of the images, one of the two takes 2 and can be right; both take
        3 and cancel out."""
        training = training_of(
            planted.subset, planted.task(), arithmetic_table, targets=Targets(1.0, 3.0), reward="constrained",
            controller_passes=2,
        )  # fmt: skip
        rows = train(training, OPEN, 12)
        for target in (2.2, 3.0):
            ms, accuracy = asked(training, target)
            assert accuracy >= 0.95
            assert ms <= 2.1
        assert asked(training, 1.0)[0] < asked(training, 3.0)[0] - 0.4
        assert rows[0]["multiplier"] > 30.0


class TestStep:
    def test_it_moves_the_controller_only(self, planted, arithmetic_table) -> None:
        def normed(choose) -> nn.Module:
            return nn.Sequential(nn.BatchNorm2d(1), planted.op(choose))

        training = training_of(normed, planted.task(n=128), arithmetic_table)
        training.graph.train()
        weights = {name: t.clone() for name, t in training.graph.state_dict().items()}
        before = training.controller.head.weight.detach().clone()
        row = train(training, OPEN, 2)[0]
        assert all(t.equal(weights[name]) for name, t in training.graph.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in training.graph.parameters())
        assert not training.controller.head.weight.equal(before)
        assert row["sampled_ms"] == pytest.approx(2.0)

    @pytest.mark.parametrize("form", ["window", "constrained"])
    def test_the_loss_is_that_of_the_sampled_children(self, planted, arithmetic_table, form: str) -> None:
        """Each alone: 30 times its cross-entropy, and the price of its latency; and it earns what it would earn."""
        training = training_of(planted.subset, planted.task(n=64), arithmetic_table, reward=form, samples=2)
        (batch,) = training.task.loader("arch", 1000)
        q, window = torch.full((len(batch.targets), 2), 0.4), Window(1.0, 2.5)
        chances = [torch.Generator().manual_seed(0) for _ in range(2)]
        loss, earned, latency = training._straight_through(batch, q, window, None, 1.0, chances[0])
        bits = torch.cat([training.policy.relax(q, 1.0, chances[1]) for _ in range(2)])
        codes, labels = training.policy.complete(bits) != 0, batch.targets.repeat(2)
        with torch.no_grad():
            output = training.graph(batch.inputs.repeat(2, 1, 1, 1), PerInstance(codes))
        ms = training.cost(codes)
        right = output.argmax(1) == labels
        if form == "window":
            price = 30.0 * torch.where(
                ms < 2.5, ((ms - 1.75) / 0.75).clamp_min(0.0) ** 2, 2.0 * (ms - 1.75) / 0.75 - 1.0
            )
            expected = reward(right, ms, window)
        else:
            price = training.multiplier * (ms / 1.75 - 1.0).clamp_min(0.0)
            expected = constrained_reward(right, ms, 1.75, multiplier=training.multiplier)
        assert float(loss.detach()) == pytest.approx(float(30.0 * F.cross_entropy(output, labels) + price.mean()))
        torch.testing.assert_close(latency.flatten(), ms)
        torch.testing.assert_close(earned.flatten(), expected)
        assert set(ms.tolist()) == {1.0, 2.0, 3.0}


def test_values_are_refused(planted, arithmetic_table) -> None:
    def wide(choose) -> nn.Module:
        return conv2d(1, choose.value("width", [2, 4]))

    with pytest.raises(
        OptionError, match=r"choice 'width' of space 'wide' is a value; give search\.estimator reinforce"
    ):
        training_of(wide, planted.task(n=64), arithmetic_table)
