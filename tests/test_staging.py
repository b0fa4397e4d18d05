"""Routes that are decided on the way: each sample as alone, nothing run that nobody took, gates that learn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archipel.errors import ArchitectureError
from archipel.metagraph import MetaGraph, PerInstance, Staged
from archipel.nn.blocks import Zero
from archipel.space import Space
from archipel.spaces import resnet_flat

B = 6
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def images(n: int = B) -> Tensor:
    return torch.randn(n, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def by_content(space: Space, learning: bool = False) -> Callable[[str, Tensor], Tensor]:
    """Decisions that depend on what reaches a choice, and on nothing else of the batch."""
    choices = {choice.name: choice for choice in space.choices}

    def decide(name: str, x: Tensor) -> Tensor:
        choice = choices[name]
        first = x if isinstance(x, Tensor) else torch.stack([t.flatten(1).mean(1) for t in x], 1)
        digits = (1e4 * first.flatten(1).mean(1)).round().abs().long()
        if choice.takes_several and choice.kind == "subset":
            bits = torch.stack([(digits >> i) & 1 for i in range(len(choice.options))], 1)
            if choice.empty is None:
                bits[:, 0] |= ~bits.bool().any(1)
        else:
            places = torch.stack([(digits + i) % len(choice.options) for i in range(choice.k)], 1)
            bits = torch.zeros(len(first), len(choice.options), dtype=torch.long).scatter_(1, places, 1)
        return bits.to(first).requires_grad_(learning)

    return decide


def has_no_value(space: Space) -> bool:
    return all(choice.kind != "value" for choice in space.choices)


@pytest.mark.of_spaces(where=has_no_value)
class TestContract:
    def test_a_batch_is_each_sample_alone(self, space: Space, graph: MetaGraph) -> None:
        x, route = images(), Staged(by_content(space))
        alone = torch.cat([graph(row[None], route) for row in x])
        torch.testing.assert_close(graph(x, route), alone, **CLOSE)

    def test_multiplied_decisions_give_the_same(self, space: Space, graph: MetaGraph) -> None:
        x = images()
        multiplied = graph(x, Staged(by_content(space, learning=True)))
        torch.testing.assert_close(multiplied, graph(x, Staged(by_content(space))), **CLOSE)
        with torch.no_grad():
            routed = graph(x, Staged(by_content(space, learning=True)))
        torch.testing.assert_close(routed, multiplied, **CLOSE)

    def test_no_sample_runs_what_it_did_not_take(self, space: Space, graph: MetaGraph) -> None:
        x, route = images(), Staged(by_content(space))

        def flops(rows: Tensor) -> int:
            with FlopCounterMode(display=False) as counter:
                graph(rows, route)
            return counter.get_total_flops()

        assert flops(x) == sum(flops(row[None]) for row in x) > 0


def test_values_are_refused(space: Space, graph: MetaGraph) -> None:
    named = [choice.name for choice in space.choices if choice.kind == "value"]
    if named:
        with pytest.raises(ArchitectureError, match=rf"choice '{named[0]}' is a value.* decides about modules only"):
            graph(images(), Staged(by_content(space)))


class Times(nn.Module):
    """x times a number: enough to tell options apart."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


TIMES = {"a": lambda: Times(2.0), "b": lambda: Times(7.0), "c": lambda: Times(30.0)}


class TestGradient:
    """Of a decision, against what turning it would change, with the others as they are."""

    def both(self, **empty: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Every decision `[8, 3]`, its gradients, and the true differences."""

        def one(choose) -> nn.Module:
            return choose.subset("s", TIMES, **empty)

        graph = MetaGraph(Space(one))
        z = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3).requires_grad_()
        graph(torch.ones(8, 1), Staged(lambda *_: z)).sum().backward()
        assert z.grad is not None
        taken, change = z.detach(), torch.zeros(8, 3)
        for i in range(3):
            on, off = taken.clone(), taken.clone()
            on[:, i], off[:, i] = 1.0, 0.0
            change[:, i] = (graph(torch.ones(8, 1), PerInstance(on)) - graph(torch.ones(8, 1), PerInstance(off)))[:, 0]
        return taken, z.grad, change

    @pytest.mark.parametrize("empty", [nn.Identity, lambda: Times(-5.0), "b", Zero])
    def test_of_a_sum_it_is_that(self, empty: Any) -> None:
        _, gradient, change = self.both(empty=empty)
        torch.testing.assert_close(gradient, change)

    @pytest.mark.parametrize("empty", [nn.Identity, Zero])
    def test_of_a_mean_it_has_its_sign(self, empty: Any) -> None:
        """A mean is no sum over decisions: (f_o − mean) / n for n options, the first of them exactly."""
        taken, gradient, change = self.both(empty=empty, mean=True)
        assert gradient.sign().equal(change.sign())
        assert float(gradient.abs().min()) > 0.1
        nothing = ~taken.bool().any(1)
        torch.testing.assert_close(gradient[nothing], change[nothing])


class TestResNet:
    """Decisions that are given, in a space of one bit a block."""

    @pytest.fixture
    def graph(self, enliven) -> MetaGraph:
        return enliven(MetaGraph(Space(resnet_flat, blocks=1)))

    def given(self, graph: MetaGraph, codes: Tensor) -> Staged:
        return Staged(lambda name, _: codes[:, graph.space.slices[name]])

    def test_given_beforehand_it_is_per_instance(self, graph: MetaGraph) -> None:
        codes = torch.rand(B, 3, generator=torch.Generator().manual_seed(2)) < 0.5
        torch.testing.assert_close(graph(images(), self.given(graph, codes)), graph(images(), PerInstance(codes)))

    def test_the_gradient_of_a_decision_is_what_its_block_would_have_done(self, graph: MetaGraph) -> None:
        """Also of blocks that are left out: as in a network written by hand, in which z multiplies."""
        z = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
        x = images(2)
        pull = torch.randn(2, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        (own,) = torch.autograd.grad((graph(x, self.given(graph, z)) * pull).sum(), z)
        stem, *blocks = graph.net[:4]
        h = stem(x)
        for i, block in enumerate(blocks):
            s = h if block.shortcut is None else block.shortcut(h)
            h = torch.relu(s + z[:, i, None, None, None] * block.body.options["block"](h))
        (by_hand,) = torch.autograd.grad((graph.net[4:](h) * pull).sum(), z)
        torch.testing.assert_close(own, by_hand)
        assert own.abs().min() > 1e-6

    def test_a_block_that_nobody_takes_gets_no_gradient_where_decisions_have_none(self, graph: MetaGraph) -> None:
        graph = copy.deepcopy(graph).train()
        codes = torch.tensor([[True, False, True]] * B)
        graph(images(), self.given(graph, codes)).sum().backward()
        grads = [[p.grad is not None for p in block.body.parameters()] for block in graph.net[1:4]]
        assert [any(found) for found in grads] == [True, False, True]

    def test_mistakes(self, graph: MetaGraph) -> None:
        assert graph(images(), self.given(graph, torch.zeros(B, 3))).shape == (B, 10)

        def one(choose) -> nn.Module:
            return choose.op("o", {"a": nn.Identity, "b": nn.Tanh})

        def some(choose) -> nn.Module:
            return choose.subset("s", {"a": nn.Identity, "b": nn.Tanh})

        two = torch.ones(2, 2)
        with pytest.raises(ArchitectureError, match="sample 0 is decided to take 2 options of op choice 'o'; take 1"):
            MetaGraph(Space(one))(two, Staged(lambda *_: torch.ones(2, 2)))
        bits = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
        with pytest.raises(ArchitectureError, match=r"sample 1 .* 0 options of subset choice 's'; take at least one"):
            MetaGraph(Space(some))(two, Staged(lambda *_: bits))
