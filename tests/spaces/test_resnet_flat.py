"""The flat residual network: published totals, what a block computes kept and left out, and that leaving out saves."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.cost import complexity_cost, madds, parameters
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph, PerInstance
from archipel.nn import ConvBN
from archipel.space import Space
from archipel.spaces import resnet_flat

# blocks a stage → (parameters, millions of multiply-adds) of the ResNet-(6n+2) for CIFAR-10 with parameter-free
# shortcuts; He et al., table 6, round the parameters to 0.46 M and 1.7 M.
TOTALS = {5: (464_154, 68.86), 18: (1_727_962, 252.89)}


def whole(space: Space) -> Architecture:
    return space.unrank(space.size - 1)


def bare(space: Space) -> Architecture:
    return space.unrank(0)


@pytest.mark.parametrize("blocks", TOTALS)
class TestPublished:
    def test_totals(self, blocks: int) -> None:
        space = Space(resnet_flat, blocks=blocks)
        with torch.device("meta"):
            network = space.build(whole(space))
        assert parameters(network) == TOTALS[blocks][0]
        assert madds(network, (3, 32, 32)) / 1e6 == pytest.approx(TOTALS[blocks][1], abs=0.01)

    def test_size(self, blocks: int) -> None:
        space = Space(resnet_flat, blocks=blocks)
        assert space.size == 2 ** (3 * blocks)
        assert space.width == len(space.choices) == 3 * blocks
        assert [c.name for c in space.choices] == [f"s{s}.b{i}" for s in range(3) for i in range(blocks)]
        assert all(choice.allows_empty for choice in space.choices)

    def test_every_block_of_a_shape_costs_the_same(self, blocks: int) -> None:
        """Channels double where pixels are quartered: so |u| counts multiply-adds, but for two blocks."""
        space = Space(resnet_flat, blocks=blocks)
        cost = complexity_cost(space, "madds", (3, 32, 32))
        heads = [blocks, 2 * blocks]
        per_block = 2 * 9 * 16 * 16 * 32 * 32
        assert [round(c) for c in cost.columns.tolist()] == [
            per_block * 3 // 4 if i in heads else per_block for i in range(3 * blocks)
        ]
        assert cost.base == 3 * 16 * 9 * 32 * 32 + 640


def test_counting_by_enumeration() -> None:
    space = Space(resnet_flat, blocks=1)
    by_hand = {
        Architecture({f"s{i}.b0": ("block",) if kept else () for i, kept in enumerate(bits)})
        for bits in itertools.product((False, True), repeat=3)
    }
    assert set(space) == by_hand


class Plain(nn.Module):
    """ResNet-(6n+2) written without `choose`."""

    def __init__(self, n: int, downsample: str) -> None:
        super().__init__()
        self.stem = ConvBN(3, 16, 3)
        self.branches, self.shortcuts = nn.ModuleList(), nn.ModuleList()
        c = 16
        for stage, c_out in enumerate((16, 32, 64)):
            for i in range(n):
                stride = 2 if stage and not i else 1
                self.branches.append(
                    nn.Sequential(ConvBN(c, c_out, 3, stride=stride), ConvBN(c_out, c_out, 3, act=None))
                )
                projected = downsample == "projection" and c != c_out
                self.shortcuts.append(ConvBN(c, c_out, stride=2, act=None) if projected else nn.Identity())
                c = c_out
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor, kept: list[bool]) -> Tensor:
        h = self.stem(x)
        for branch, shortcut, keep in zip(self.branches, self.shortcuts, kept):
            s, c_out = shortcut(h), branch[1][0].out_channels
            if s.shape[1] < c_out:
                s = torch.cat([F.avg_pool2d(s, 2), torch.zeros_like(F.avg_pool2d(s, 2))], 1)
            h = F.relu(s + branch(h)) if keep else F.relu(s) if isinstance(shortcut, ConvBN) else s
        return self.head(h.mean((2, 3)))


@pytest.mark.parametrize("downsample", ["pool", "projection"])
class TestBlocks:
    @pytest.fixture
    def graph(self, downsample: str, enliven) -> MetaGraph:
        return enliven(MetaGraph(Space(resnet_flat, blocks=2, downsample=downsample)))

    @pytest.fixture
    def plain(self, downsample: str, graph: MetaGraph) -> Plain:
        """With the meta-graph's weights."""
        plain = Plain(2, downsample).double().eval()
        _, *blocks = graph.net[:7]
        plain.stem.load_state_dict(graph.net[0].state_dict())
        for i, block in enumerate(blocks):
            plain.branches[i].load_state_dict(block.body.options["block"].state_dict())
            if isinstance(plain.shortcuts[i], ConvBN):
                plain.shortcuts[i].load_state_dict(block.shortcut.state_dict())
        plain.head.load_state_dict(graph.net[-1].state_dict())
        return plain

    def test_against_a_network_written_by_hand(self, graph: MetaGraph, plain: Plain) -> None:
        rng = torch.Generator().manual_seed(0)
        x = torch.randn(4, 3, 16, 16, generator=rng, dtype=torch.float64)
        codes = torch.stack([torch.ones(6).bool(), torch.zeros(6).bool(), *(torch.rand(2, 6, generator=rng) < 0.5)])
        by_hand = [plain(x, code.tolist()) for code in codes]
        for code, wanted in zip(codes, by_hand):
            torch.testing.assert_close(graph(x, graph.space.decode(code)), wanted, rtol=1e-9, atol=1e-9)
        mixed = torch.stack([wanted[i] for i, wanted in enumerate(by_hand)])
        torch.testing.assert_close(graph(x, PerInstance(codes)), mixed, rtol=1e-9, atol=1e-9)
        assert (by_hand[0] - by_hand[1]).abs().max() > 1e-3

    def test_with_nothing_kept_images_are_still_told_apart(self, graph: MetaGraph) -> None:
        x = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        y = graph(x, bare(graph.space))
        assert y.std(0).min() > 1e-3

    def test_the_child_without_blocks_has_no_convolution_but_stem_and_shortcuts(
        self, graph: MetaGraph, downsample: str
    ) -> None:
        child = graph.extract(bare(graph.space))
        found = sum(isinstance(m, nn.Conv2d) for m in child.modules())
        assert found == (1 if downsample == "pool" else 3)


def test_blocks_that_no_image_keeps_do_not_run() -> None:
    """Also in a batch whose images differ elsewhere; then nothing is added around them either."""
    graph = MetaGraph(Space(resnet_flat, blocks=2)).eval()
    codes = torch.zeros(3, 6, dtype=torch.bool)
    codes[0, 1] = codes[1, 5] = True
    ran: dict[int, int] = {}
    for i, block in enumerate(graph.net[1:7]):
        block.body.register_forward_hook(lambda _m, _x, y, i=i: ran.__setitem__(i, len(y)))
    graph(torch.randn(3, 3, 16, 16), PerInstance(codes))
    assert ran == {1: 3, 5: 3}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blocks": 0}, "a stage would have 0 blocks; give 1 or more"),
        ({"downsample": "none"}, "downsample is 'none'; give 'pool' or 'projection'"),
        ({"width": 0}, "a layer would have 0 channels; give a width above 0"),
    ],
)
def test_mistakes(options: dict, said: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Space(resnet_flat, **options)
    assert said in str(caught.value)
