"""The published networks, to the last parameter and multiply-add."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from archipel.choose import ChildReader
from archipel.cost.complexity import madds, parameters
from archipel.run.config import merge
from archipel.sharing import Optimisation
from archipel.space import Space
from archipel.spaces import NETS, SPACES
from archipel.spaces.proxyless_tree import EDGES, OPERATIONS, TreeBlock

# name → (parameters, multiply-adds of one image of the published size); both of the released evaluation logs.
PUBLISHED = {
    "proxyless_cpu": (4_361_648, 439_243_864),
    "proxyless_gpu": (7_119_848, 465_260_160),
    "proxyless_mobile": (4_080_512, 320_427_584),
    "proxyless_mobile_14": (6_857_568, 580_883_408),
}
ZEROS = {
    "proxyless_cpu": [10, 11],
    "proxyless_gpu": [2, 3, 4, 6, 7, 10, 11, 14],
    "proxyless_mobile": [3, 4],
    "proxyless_mobile_14": [3, 4],
}
DROPOUT = {"proxyless_cpu": 0.2, "proxyless_gpu": 0.3, "proxyless_mobile": 0.1, "proxyless_mobile_14": 0.3}


def built(name: str, **options: object) -> nn.Module:
    """Without memory."""
    net = NETS[name]
    with torch.device("meta"):
        return net.function(ChildReader(net.architecture), **{**net.options, **options})


@pytest.mark.parametrize("name", PUBLISHED)
class TestImageNet:
    def test_totals(self, name: str) -> None:
        network = built(name)
        assert (parameters(network), madds(network, (3, 224, 224))) == PUBLISHED[name]

    def test_the_architecture_is_one_of_its_space(self, name: str) -> None:
        space = Space(NETS[name].function, **NETS[name].options)
        assert space.canonical(NETS[name].architecture) == NETS[name].architecture
        assert space.size == 6**6 * 7**15

    def test_blocks_left_out(self, name: str) -> None:
        assert [int(b[1:]) for b, option in NETS[name].architecture.items() if option == "zero"] == ZEROS[name]

    def test_dropout(self, name: str) -> None:
        assert [part.p for part in built(name).modules() if isinstance(part, nn.Dropout)] == [DROPOUT[name]]

    def test_other_images(self, name: str) -> None:
        small = built(name, size=32, classes=10)
        assert madds(small, (3, 32, 32)) < PUBLISHED[name][1]
        assert parameters(small) == PUBLISHED[name][0] - 990 * (small[-1].in_features + 1)


class TestCifar:
    def test_parameters(self) -> None:
        assert parameters(built("proxyless_cifar")) == 5_731_530

    def test_multiply_adds_are_the_closed_form(self) -> None:
        network = built("proxyless_cifar")
        assert madds(network, (3, 32, 32)) == closed_form() == CIFAR_MADDS

    def test_operations_of_inner_and_leaf_edges(self) -> None:
        """As counted in the released configuration: identity, sep3, sep3_d2, sep5, sep7, avg3, max3."""
        inner, leaves = Counter(), Counter()
        for name, option in NETS["proxyless_cifar"].architecture.items():
            (inner if len(name.split(".")[1]) == 2 else leaves)[option] += 1
        order = ("identity", "sep3", "sep3_d2", "sep5", "sep7", "avg3", "max3")
        assert [inner[option] for option in order] == [30, 20, 36, 26, 45, 19, 40]
        assert [leaves[option] for option in order] == [66, 63, 54, 59, 71, 70, 49]

    def test_every_edge_is_chosen(self) -> None:
        architecture = NETS["proxyless_cifar"].architecture
        assert list(architecture) == [f"b{i}.{edge}" for i in range(1, 55) for edge in EDGES]
        assert set(architecture.values()) == set(OPERATIONS)
        assert sum(isinstance(part, TreeBlock) for part in built("proxyless_cifar")) == 54


CIFAR_MADDS = 1_213_155_872  # counted here: the authors printed none


def closed_form() -> int:
    """Multiply-adds of the CIFAR network written down by hand: stem, per block 1×1, grouped 3×3, edges, 1×1; linear."""
    of_edge = {
        "sep3_d2": lambda w: 9 * w + w * w,
        "sep3": lambda w: 9 * w + w * w,
        "sep5": lambda w: 25 * w + w * w,
        "sep7": lambda w: 49 * w + w * w,
    }
    total, c, side = 3 * 16 * 9 * 32**2, 16, 32
    for i in range(1, 55):
        w = 2 * (round(16 + 84 * i / 54) // 2)
        total += c * w * side**2
        side //= 2 if i in (19, 37) else 1
        edges = [NETS["proxyless_cifar"].architecture[f"b{i}.{edge}"] for edge in EDGES]
        inside = 9 * w * 2 * w // 2 + sum(of_edge[e](w) for e in edges if e in of_edge) + 4 * w * w
        total += inside * side**2
        c = 4 * w
    return total + 400 * 10


@pytest.mark.parametrize("name", NETS)
def test_the_recipe_is_one(name: str) -> None:
    options = merge(Optimisation(epochs=30), NETS[name].training)
    assert options.epochs == (300 if name.startswith("proxyless") else 600)
    if name in PUBLISHED:
        assert (options.batch, options.lr, options.weight_decay, options.label_smoothing) == (256, 0.05, 4e-5, 0.1)
        assert (options.momentum, options.decay, options.warmup) == (0.9, "cosine", 0.0)


def test_no_name_means_two_things() -> None:
    assert not NETS.keys() & SPACES.keys()
