"""Gates in a network: all open it is the plain network, closed blocks do not run, one network for training and use."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archipel.errors import OptionError
from archipel.instance.block_gates import BlockGates, GatedNetwork, require_bits
from archipel.metagraph import MetaGraph, PerInstance
from archipel.nn import ConvBN
from archipel.space import Space
from archipel.spaces import fbnet, instanas, mobilenet_v2_drop, resnet_flat


def images(n: int = 16) -> Tensor:
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def made(
    function=resnet_flat, *, wild: bool = True, forced: tuple[str, ...] = (), **options
) -> tuple[MetaGraph, BlockGates]:
    """A network and gates with statistics of their own; `wild` gates differ between images."""
    torch.manual_seed(0)
    graph = MetaGraph(Space(function, **options))
    gates = BlockGates(graph, input_shape=(3, 8, 8), forced=forced)
    for norm in [m for m in (*graph.modules(), *gates.modules()) if isinstance(m, nn.BatchNorm2d)]:
        norm.momentum = None
    graph(images(64), gates.decisions().route)
    if wild:
        with torch.no_grad():
            for gate in gates.gates:
                gate.layers[-1].weight.normal_(0, 3)
                gate.layers[-1].bias.zero_()
    return graph.eval(), gates.eval()


def test_all_open_it_is_the_plain_network() -> None:
    graph, gates = made(blocks=2, wild=False)
    everything = graph.space.unrank(graph.space.size - 1)
    decisions = gates.decisions()
    torch.testing.assert_close(graph(images(), decisions.route), graph(images(), everything), rtol=0, atol=0)
    assert decisions.codes().all()


def test_a_gate_sees_what_reaches_its_own_block() -> None:
    """By hand: the decision of block i is gate i's on the output of the blocks before it, as they were decided."""
    graph, gates = made(blocks=2)
    decisions = gates.decisions()
    y = graph(images(), decisions.route)
    stem, *blocks = graph.net[:7]
    h, taken = stem(images()), []
    for i, block in enumerate(blocks):
        z = gates.gates[i](h)[..., 1] > gates.gates[i](h)[..., 0]
        taken.append(z)
        s = h if block.shortcut is None else block.shortcut(h)
        h = torch.relu(s + z[:, :, None, None].float() * block.body.options["block"](h))
    assert torch.equal(decisions.codes(), torch.cat(taken, 1))
    torch.testing.assert_close(y, graph.net[7:](h))
    assert 0.1 < decisions.codes().float().mean() < 0.9


def test_closed_blocks_do_not_run() -> None:
    graph, gates = made(blocks=2)
    ran: list[int] = []
    for block in graph.net[1:7]:
        block.body.options["block"].register_forward_pre_hook(lambda _m, x: ran.append(len(x[0])))
    decisions = gates.decisions()
    with torch.no_grad():
        graph(images(), decisions.route)
    assert sum(ran) == int(decisions.codes().sum()) < 6 * 16


@pytest.mark.parametrize(
    ("function", "options", "width"),
    [
        (resnet_flat, {"blocks": 1, "downsample": "projection"}, 3),
        (mobilenet_v2_drop, {"macro": "compact", "width": 0.25}, 4),
        (instanas, {"macro": "digits", "width": 0.25}, 30),  # a gate for every candidate
    ],
)
class TestNetwork:
    def test_it_is_the_children_it_decides_for(self, function, options: dict, width: int) -> None:
        graph, gates = made(function, **options)
        network = GatedNetwork(graph, gates)
        scores, decisions = network.decided(images())
        assert decisions.codes().shape == decisions.probabilities().shape == (16, width)
        assert decisions.codes().unique(dim=0).shape[0] > 1
        torch.testing.assert_close(scores, graph(images(), PerInstance(decisions.codes())), rtol=1e-3, atol=1e-4)
        alone = torch.cat([network(image[None]) for image in images()])
        torch.testing.assert_close(alone, scores, rtol=1e-4, atol=1e-5)

    def test_training_and_use_give_the_same(self, function, options: dict, width: int) -> None:
        """Dense with a gradient, routed without one."""
        graph, gates = made(function, **options)
        dense, routed = gates.decisions(), gates.decisions()
        y = graph(images(), dense.route)
        with torch.no_grad():
            z = graph(images(), routed.route)
        torch.testing.assert_close(y, z, rtol=1e-4, atol=1e-5)
        assert torch.equal(dense.codes(), routed.codes())
        (y.sum() + dense.bits().sum()).backward()
        assert all(p.grad is not None for p in gates.parameters())
        assert dense.bits().shape[1] == width


def test_the_same_noise_decides_the_same() -> None:
    graph, gates = made(blocks=1, wild=False)

    def codes(seed: int | None) -> Tensor:
        decisions = gates.decisions(None if seed is None else torch.Generator().manual_seed(seed))
        graph(images(400), decisions.route)
        return decisions.codes()

    assert torch.equal(codes(1), codes(1))
    assert not torch.equal(codes(1), codes(2))
    assert codes(None).all()
    assert 0.83 < codes(1).float().mean() < 0.91


def test_what_always_runs_has_no_gate() -> None:
    graph, gates = made(blocks=1, forced=("s0.b0", "s2.b0"))
    assert len(gates.gates) == 1
    decisions = gates.decisions()
    graph(images(), decisions.route)
    assert decisions.codes()[:, [0, 2]].all()
    assert gates(images()).shape == (16, 1)


def test_mistakes() -> None:
    graph = MetaGraph(Space(resnet_flat, blocks=1))
    with pytest.raises(OptionError, match=r"has no choice 's0.b1'; did you mean 's0.b0'"):
        BlockGates(graph, input_shape=(3, 8, 8), forced=["s0.b1"])
    with pytest.raises(OptionError, match="every choice of space 'resnet_flat' always runs"):
        BlockGates(graph, input_shape=(3, 8, 8), forced=["s0.b0", "s1.b0", "s2.b0"])
    with pytest.raises(OptionError, match=r"blockdrop switches blocks on and off, and choice '.*' .* is an op; use"):
        require_bits(Space(fbnet, size=8), "blockdrop")

    def nested(choose) -> nn.Module:
        return choose.subset("a", {"x": lambda: choose.subset("b", {"y": nn.Identity}, empty=nn.Tanh)}, empty=nn.Tanh)

    with pytest.raises(OptionError, match="choice 'b' of space 'nested' is a subset inside 'a'"):
        require_bits(Space(nested), "blockdrop")

    def closed(choose) -> nn.Module:  # noqa: ARG001
        return ConvBN(3, 3)

    with pytest.raises(OptionError, match="space 'closed' has none that may be; use resnet_flat"):
        require_bits(Space(closed), "blockdrop")


def test_one_decision_for_two_places_is_refused() -> None:
    def twice(choose) -> nn.Module:
        def place() -> nn.Module:
            return choose.subset("same", {"x": lambda: ConvBN(3, 3)}, empty=nn.Identity)

        return nn.Sequential(place(), place())

    graph = MetaGraph(Space(twice)).eval()
    gates = BlockGates(graph, input_shape=(3, 8, 8))
    with pytest.raises(OptionError, match="choice 'same' stands in several places"):
        graph(images(), gates.decisions().route)
