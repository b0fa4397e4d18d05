"""ProxylessNAS' space against the totals of the paper's program: its size, its widths, what its blocks compute."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from archipel.architecture import Architecture
from archipel.choose import ChildReader
from archipel.cost.complexity import layers, madds
from archipel.errors import SpaceError
from archipel.metagraph import MetaGraph
from archipel.nn import InvertedResidual, Residual
from archipel.space import Space
from archipel.spaces import proxyless

BODIES = ["k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6"]
HEADS = [1, 5, 9, 13, 17, 21]
# Multiply-adds at 224 pixels and 1000 classes with every block alike, in the widths of the published search.
ALIKE = {
    "k3e3": 257_422_208,
    "k3e6": 472_620_800,
    "k5e3": 284_216_192,
    "k5e6": 526_208_768,
    "k7e3": 324_407_168,
    "k7e6": 606_590_720,
}


def ghost(space: Space, chosen: dict[str, str] | Architecture) -> nn.Module:
    """A child network without memory."""
    return space.read(ChildReader(space.canonical(chosen)), device="meta").eval()


def width_of(child: nn.Module, block: int) -> int:
    """Channels behind a block."""
    part = child[block + 1]
    return (part.body if isinstance(part, Residual) else part)[-1][0].out_channels


def alike(space: Space, option: str) -> Architecture:
    return Architecture({choice.name: option for choice in space.choices})


@pytest.fixture(scope="module")
def imagenet() -> Space:
    return Space(proxyless, size=224, classes=1000)


class TestThePapersSpace:
    def test_size_and_choices(self, imagenet: Space) -> None:
        assert imagenet.size == 6**6 * 7**15 == 221_502_229_807_900_608
        assert [choice.name for choice in imagenet.choices] == [f"b{i}" for i in range(1, 22)]
        for i, choice in enumerate(imagenet.choices, 1):
            assert choice.kind == "op"
            assert list(choice.options) == (BODIES if i in HEADS else [*BODIES, "zero"])

    @pytest.mark.parametrize("option", BODIES)
    def test_multiply_adds_of_every_block_alike(self, imagenet: Space, option: str) -> None:
        assert madds(ghost(imagenet, alike(imagenet, option)), (3, 224, 224)) == ALIKE[option]

    def test_widths_and_strides(self, imagenet: Space) -> None:
        rows = layers(ghost(imagenet, alike(imagenet, "k3e3")), (3, 224, 224))
        convolutions = [row.output_shape[:2] for row in rows if row.kind == "Conv2d"]
        assert convolutions[:3] == [(32, 112), (32, 112), (16, 112)]
        projected = convolutions[5::3]  # of b1 to b21: expand, depthwise, project
        stages = [(24, 56)] * 4 + [(40, 28)] * 4 + [(80, 14)] * 4 + [(96, 14)] * 4 + [(192, 7)] * 4 + [(320, 7)]
        assert projected == stages
        assert convolutions[-1] == (1280, 7)

    def test_a_block_that_may_vanish_is_the_identity_without_its_body(self, imagenet: Space) -> None:
        shortest = {f"b{i}": "k3e3" if i in HEADS else "zero" for i in range(1, 22)}
        child = ghost(imagenet, shortest)
        assert [i for i in range(1, 22) if type(child[i + 1]) is nn.Identity] == sorted({*range(1, 22)} - {*HEADS})
        assert not any(isinstance(part, Residual) for part in child.modules())
        full = ghost(imagenet, alike(imagenet, "k3e3"))
        assert [i for i in range(22) if not isinstance(full[i + 1], Residual)] == [0, *HEADS]

    def test_normalisation_activation_and_first_weights(self, imagenet: Space) -> None:
        torch.manual_seed(0)
        child = imagenet.build(imagenet.sample(random.Random(0)))
        norms = [part for part in child.modules() if isinstance(part, nn.BatchNorm2d)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}
        assert {type(p) for p in child.modules() if "ReLU" in type(p).__name__} == {nn.ReLU6}
        for part in child.modules():
            if isinstance(part, nn.Conv2d):
                assert part.bias is None
                fan_out = part.out_channels * part.kernel_size[0] ** 2
                assert float(part.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.25)
        assert not child[-1].bias.any()


def test_a_block_is_mbconv_with_a_shortcut(enliven) -> None:
    space = Space(proxyless, macro="digits", size=8, width=0.5)
    graph = enliven(MetaGraph(space))
    block = graph.net[3]  # b2: 16 channels in and out
    body = block.body.options["k5e6"]
    assert isinstance(body, InvertedResidual)
    assert [part[0].kernel_size[0] for part in body] == [1, 5, 1]
    assert [part[0].out_channels for part in body] == [96, 96, 16]
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    graph.net = block
    torch.testing.assert_close(graph(x, alike(space, "k5e6")), x + body(x))
    assert torch.equal(graph(x, Architecture({**alike(space, "k5e6"), "b2": "zero"})), x)


class TestForms:
    @pytest.mark.parametrize(("size", "left"), [(8, 1), (32, 4), (64, 4), (224, 7)])
    def test_the_published_blocks_fit_images_of_any_size(self, size: int, left: int) -> None:
        space = Space(proxyless, size=size)
        assert space.size == 6**6 * 7**15
        rows = layers(ghost(space, alike(space, "k3e3")), (3, size, size))
        assert [row.output_shape for row in rows if row.kind == "Conv2d"][-1] == (1280, left, left)

    @pytest.mark.parametrize(("size", "blocks"), [(8, 5), (32, 11), (64, 10)])
    def test_light(self, size: int, blocks: int) -> None:
        space = Space(proxyless, macro="light", size=size)
        assert len(space.choices) == blocks
        light, published = (
            madds(ghost(s, alike(s, "k5e3")), (3, size, size)) for s in (space, Space(proxyless, size=size))
        )
        assert light < published / 4

    def test_width(self) -> None:
        def widths(width: float) -> list[int]:
            space = Space(proxyless, macro="imagenet", width=width, kernels=[3], expansions=[3])
            child = ghost(space, alike(space, "k3e3"))
            convolutions = [part for part in child.modules() if isinstance(part, nn.Conv2d)]
            blocks = [width_of(child, i) for i in (0, *HEADS)]
            return [convolutions[0].out_channels, *blocks, convolutions[-1].out_channels]

        assert widths(1.0) == [32, 16, 24, 40, 80, 96, 192, 320, 1280]
        assert widths(1.4) == [48, 24, 32, 56, 112, 136, 272, 448, 1792]
        assert widths(0.35) == [16, 8, 8, 16, 32, 32, 64, 112, 1280]

    def test_widths_of_ones_own_and_one_shortcut_more(self) -> None:
        own = [16, 8, 24, 24, 40, 48, 64, 96, 256]
        space = Space(proxyless, macro="tiny", widths=own)
        child = ghost(space, alike(space, "k3e3"))
        assert [width_of(child, i) for i in (0, 1, 5, 9, 13)] == [8, 24, 24, 40, 48]
        assert space.choices[4].options[-1] != "zero", "equal widths, but stride 2"
        same = Space(proxyless, macro="tiny", widths=[16, 8, 24, 24, 48, 48, 64, 96, 256])
        assert same.choices[12].options[-1] == "zero", "equal widths and stride 1"

    def test_candidates_of_ones_own(self) -> None:
        space = Space(proxyless, macro="digits", kernels=[3, 9], expansions=[1, 4])
        assert list(space.choices[0].options) == ["k3e1", "k3e4", "k9e1", "k9e4"]
        assert list(space.choices[1].options) == ["k3e1", "k3e4", "k9e1", "k9e4", "zero"]
        assert len(ghost(space, alike(space, "k9e1"))[2]) == 2, "expansion 1 has no first convolution"

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"macro": "mobile"}, "there is no macro-structure 'mobile' \\(light, digits, compact, "),
            ({"widths": [32, 16]}, "2 widths are given; this macro-structure has 9: stem, 7 stages"),
            ({"width": 0}, "give a width above 0"),
            ({"kernels": [4]}, "a kernel is 4; give odd sizes"),
            ({"expansions": [0.5]}, "an expansion is 0.5; give whole numbers"),
            ({"kernels": []}, "'b1' has no options"),
        ],
    )
    def test_mistakes(self, options: dict, said: str) -> None:
        with pytest.raises(SpaceError, match=said):
            Space(proxyless, **options)
