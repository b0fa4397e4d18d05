"""The tree-cell space: its size, its widths, and its modules against their formulas."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import ChildReader, Choose, Factory
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph
from archipel.space import Space
from archipel.spaces import proxyless_tree
from archipel.spaces.proxyless_tree import EDGES, OPERATIONS, SplitNode, TreeBlock

SMALL = {"blocks": 1, "out_channels": 64, "classes": 4}


class Asked(Choose):
    """Notes what is asked and builds none of it."""

    def __init__(self) -> None:
        self.options: dict[str, tuple[str, ...]] = {}

    def op(self, name: str, options: Mapping[str, Factory]) -> nn.Module:
        assert name not in self.options
        self.options[name] = tuple(options)
        return nn.Identity()

    subset = inputs = value = None  # type: ignore[assignment]


def test_the_published_space() -> None:
    asked = Asked()
    with torch.device("meta"):
        network = proxyless_tree(asked)
    assert list(asked.options) == [f"b{i}.{edge}" for i in range(1, 55) for edge in EDGES]
    assert set(asked.options.values()) == {OPERATIONS}
    assert len(asked.options) == 648
    assert len(OPERATIONS) == 7
    blocks = [part for part in network if isinstance(part, TreeBlock)]
    widths = [block.body[1].out_channels for block in blocks]
    assert widths[:5] == [18, 18, 20, 22, 24]
    assert widths[-1] == 100
    assert widths == sorted(widths)
    assert all(w % 2 == 0 for w in widths)
    assert [i for i, block in enumerate(blocks, 1) if block.body[4].stride != (1, 1)] == [19, 37]
    assert [block.body[4].in_channels for block in blocks] == widths
    assert network[-1].in_features == 400


def test_a_small_space() -> None:
    space = Space(proxyless_tree, **SMALL)
    assert space.size == 7**36
    assert Space(proxyless_tree, blocks=2, out_channels=72).size == 7**72
    sides = [space.build(space.unrank(0))[:n](torch.zeros(1, 3, 9, 9)).shape[-1] for n in (3, 4, 5)]
    assert sides == [9, 5, 3], "odd sides: shortcut and body agree"


def child_of(space: Space, default: str, **edges: str) -> nn.Module:
    chosen = {choice.name: default for choice in space.choices}
    chosen.update({f"b1.{edge}": option for edge, option in edges.items()})
    return space.build(Architecture(chosen))


def test_a_cell_is_two_trees(enliven) -> None:
    """With pooling and identity only, a cell can be written down by hand."""
    space = Space(proxyless_tree, **SMALL)
    network = child_of(space, "identity", a0="max3", a00="avg3", a01="identity", b1="avg3", b11="max3")
    split = next(part for part in enliven(network).modules() if isinstance(part, SplitNode))
    x = torch.randn(2, 32, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = x[:, :16], x[:, 16:]

    def mean(h: torch.Tensor) -> torch.Tensor:  # over what lies inside the image
        return F.avg_pool2d(h, 3, 1, 1, count_include_pad=False)

    def largest(h: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(h, 3, 1, 1)

    tree_a = mean(largest(a)) + largest(a) + 2 * a
    tree_b = 2 * b + mean(b) + largest(mean(b))
    expected = split.norms[0](tree_a) + a + split.norms[1](tree_b) + b
    torch.testing.assert_close(split(x), expected)


@pytest.mark.parametrize(("option", "kernel", "dilation"), [("sep3", 3, 1), ("sep7", 7, 1), ("sep3_d2", 3, 2)])
def test_separable_edges(enliven, option: str, kernel: int, dilation: int) -> None:
    space = Space(proxyless_tree, **SMALL)
    split = next(part for part in enliven(child_of(space, option)).modules() if isinstance(part, SplitNode))
    edge = split.trees[0]["0"][0]
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    norm, _, depthwise, pointwise = edge
    assert depthwise.weight.shape == (16, 1, kernel, kernel)
    h = F.relu(norm(x))
    h = F.conv2d(h, depthwise.weight, padding=dilation * (kernel // 2), dilation=dilation, groups=16)
    before = x.clone()
    torch.testing.assert_close(edge(x), F.conv2d(h, pointwise.weight))
    assert torch.equal(x, before)


def test_a_block(enliven) -> None:
    block = enliven(TreeBlock(ChildReader(Architecture(dict.fromkeys(EDGE_NAMES, "identity"))), "b", 24, 10, 2, 0.0))
    x = torch.randn(2, 24, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    h = block.body[:4](x)
    assert h.shape == (2, 10, 6, 6)
    grouped = block.body[4](h)
    first, second = grouped[:, :10], grouped[:, 10:]  # of the two groups
    shuffled = torch.stack([first, second], 2).flatten(1, 2)
    torch.testing.assert_close(block.body[5](grouped), shuffled)
    short = torch.cat([F.avg_pool2d(x, 2), x.new_zeros(2, 16, 3, 3)], 1)
    torch.testing.assert_close(block(x), short + block.body(x))
    assert block(x).shape == (2, 40, 3, 3)


EDGE_NAMES = [f"b.{edge}" for edge in EDGES]


class TestStochasticDepth:
    def test_rates_grow_with_depth(self) -> None:
        space = Space(proxyless_tree, blocks=2, out_channels=64, stochastic_depth=0.3)
        rates = [part.rate for part in MetaGraph(space).modules() if isinstance(part, TreeBlock)]
        assert rates == pytest.approx([2 * i * 0.3 / 7 for i in range(1, 7)])

    def test_training_leaves_blocks_out_and_use_weighs_them(self, enliven) -> None:
        reader = ChildReader(Architecture(dict.fromkeys(EDGE_NAMES, "sep3")))
        block = enliven(TreeBlock(reader, "b", 16, 16, 1, 0.25))
        x = torch.randn(2, 16, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        short = F.pad(x, (0, 0, 0, 0, 0, 48))
        torch.testing.assert_close(block(x), short + 0.75 * block.body(x))
        block.train()
        torch.manual_seed(0)
        left_out = sum(torch.equal(block(x), short) for _ in range(400))
        assert 70 < left_out < 130  # 100 ± 3.4 standard deviations


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blocks": 0}, "blocks is 0; give 1 or more"),
        ({"out_channels": 100}, "out_channels is 100; give a multiple of 8, 64 or more"),
        ({"out_channels": 56}, "give a multiple of 8, 64 or more"),
        ({"stochastic_depth": 0.5}, "stochastic_depth is 0.5; give a rate from 0 to below 0.5"),
    ],
)
def test_mistakes(options: dict, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        Space(proxyless_tree, **options)
