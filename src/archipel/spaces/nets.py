"""Published networks: the space each was found in, with its options, and its architecture there. Facts, no weights.

Block configurations as released by the authors of ProxylessNAS (Cai et al., ICLR 2019, arXiv 1812.00332), whose
retraining recipe is beside them (their single-node script); cells as the authors of DARTS (Liu et al., ICLR 2019) and
of PNASNet-5's port to PyTorch list them, all in DARTS' network for CIFAR-10 and with its recipe, but without its
auxiliary head and Cutout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archipel.architecture import Architecture
from archipel.space import SpaceFunction
from archipel.spaces.darts import darts
from archipel.spaces.nasnet import nasnet
from archipel.spaces.pnas import pnas
from archipel.spaces.proxyless import proxyless
from archipel.spaces.proxyless_tree import EDGES, OPERATIONS, proxyless_tree

__all__ = ["NETS", "Net"]


@dataclass(frozen=True)
class Net:
    """One published network."""

    about: str
    """What it is, in a line."""
    function: SpaceFunction
    options: Mapping[str, Any]
    """Of `function`; `classes` and `size` as published, which a data set replaces by its own."""
    architecture: Architecture
    training: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained from scratch, where known: settings of `archipel.sharing.Optimisation`."""


_RECIPE = {"epochs": 300, "batch": 256, "lr": 0.05, "weight_decay": 4e-5, "label_smoothing": 0.1}


def _imagenet(about: str, widths: Sequence[int], dropout: float, blocks: str) -> Net:
    """`widths`: stem, fixed block, six stages, tail; `blocks`: what b1 to b21 are."""
    options = {"widths": list(widths), "classes": 1000, "size": 224, "dropout": dropout}
    chosen = {f"b{i}": option for i, option in enumerate(blocks.split(), 1)}
    return Net(about, proxyless, options, Architecture(chosen), _RECIPE)


def _cifar(about: str, blocks: str) -> Net:
    """`blocks`: for each block a digit an edge, the position in `OPERATIONS`, edges in the order of `EDGES`."""
    chosen = {
        f"b{i}.{edge}": OPERATIONS[int(digit)]
        for i, digits in enumerate(blocks.split(), 1)
        for edge, digit in zip(EDGES, digits, strict=True)
    }
    return Net(about, proxyless_tree, {"classes": 10, "size": 32}, Architecture(chosen), {"epochs": 300})


def _cells(about: str, function: SpaceFunction, cells: Mapping[str, str], **chosen: Any) -> Net:
    """`cells`: of each cell its blocks, two operations with the state that each reads, `sep_conv_3x3:0`."""
    values: dict[str, Any] = dict(chosen)
    for cell, text in cells.items():
        edges = [word.split(":") for word in text.split()]
        for j, pair in enumerate(zip(edges[::2], edges[1::2], strict=True), 2):
            name = f"{cell}.b{j}"
            if function is darts:
                values[f"{name}.in"] = sorted(int(state) for _, state in pair)
                values |= {f"{name}.e{state}": operation for operation, state in pair}
                continue
            for s, (operation, state) in enumerate(pair, 1):
                values |= {f"{name}.in{s}": [int(state)], f"{name}.op{s}": operation}
            if function is nasnet:
                values[f"{name}.combine"] = "add"
    options = {"cells": 6, "filters": 36, "classes": 10, "size": 32, "drop_path": 0.2}
    training = {"epochs": 600, "batch": 96, "lr": 0.025, "weight_decay": 3e-4, "clip": 5.0}
    return Net(about, function, options, Architecture(values), training)


_MOBILE = """
    k5e3 k3e3 zero zero  k7e3 k3e3 k5e3 k5e3  k7e6 k5e3 k5e3 k5e3
    k5e6 k5e3 k5e3 k5e3  k7e6 k7e6 k7e3 k7e3  k7e6
"""

NETS: dict[str, Net] = {
    "proxyless_cpu": _imagenet(
        "ProxylessNAS for a server CPU (Xeon E5-2640 v4); 75.3 % top-1 on ImageNet",
        (40, 24, 32, 48, 88, 104, 216, 360, 1432),
        0.2,
        """
        k3e6 k3e3 k3e3 k3e3  k3e6 k3e3 k3e3 k5e3  k3e6 zero zero k3e3
        k5e6 k3e3 k3e3 k3e3  k5e6 k5e3 k5e3 k3e3  k5e6
        """,
    ),
    "proxyless_gpu": _imagenet(
        "ProxylessNAS for a GPU (V100, batch 8); 75.1 % top-1 on ImageNet",
        (40, 24, 32, 56, 112, 128, 256, 432, 1728),
        0.3,
        """
        k5e3 zero zero zero  k7e3 zero zero k3e3  k7e6 zero zero k5e3
        k5e6 zero k3e3 k5e3  k7e6 k7e6 k7e6 k5e6  k7e6
        """,
    ),
    "proxyless_mobile": _imagenet(
        "ProxylessNAS for a phone (Pixel 1); 74.6 % top-1 on ImageNet",
        (32, 16, 32, 40, 80, 96, 192, 320, 1280),
        0.1,
        _MOBILE,
    ),
    "proxyless_mobile_14": _imagenet(
        "The same blocks at width 1.4; 76.7 % top-1 on ImageNet",
        (48, 24, 40, 56, 112, 136, 256, 448, 1792),
        0.3,
        _MOBILE,
    ),
    "proxyless_cifar": _cifar(
        "ProxylessNAS on CIFAR-10, tree cells in a PyramidNet; 2.08 % error with Cutout",
        """
        401646333044 555121601400 425135225003 530320042414 530103445616 446623502411 016644432411 034034655324
        436011625650 321124234134 443523050102 353022544302 642640253641 260440312042 062500531131 303155033342
        433302164024 611021434610 035654342556 414014024663 652010663615 042552241500 065641401056 464361650164
        153363045006 250100055252 064416633630 242451624466 444352210252 351153525456 150214146510 431640606444
        262412312231 002404220161 613135251450 443605443233 555505431115 615431151141 046213521165 453452652166
        154114153654 031163404310 615656013521 434445026445 006502410063 556026040151 654622351012 340016623461
        426405666336 615302342244 153244144425 332651356331 202665160422 426431362624
        """,
    ),
    "darts_v1": _cells(
        "DARTS, first order; 3.00 % error on CIFAR-10",
        darts,
        {
            "normal": """
                sep_conv_3x3:1 sep_conv_3x3:0  skip_connect:0 sep_conv_3x3:1
                skip_connect:0 sep_conv_3x3:1  sep_conv_3x3:0 skip_connect:2
            """,
            "reduction": """
                max_pool_3x3:0 max_pool_3x3:1  skip_connect:2 max_pool_3x3:0
                max_pool_3x3:0 skip_connect:2  skip_connect:2 avg_pool_3x3:0
            """,
        },
    ),
    "darts_v2": _cells(
        "DARTS, second order; 2.76 % error on CIFAR-10",
        darts,
        {
            "normal": """
                sep_conv_3x3:0 sep_conv_3x3:1  sep_conv_3x3:0 sep_conv_3x3:1
                sep_conv_3x3:1 skip_connect:0  skip_connect:0 dil_conv_3x3:2
            """,
            "reduction": """
                max_pool_3x3:0 max_pool_3x3:1  skip_connect:2 max_pool_3x3:1
                max_pool_3x3:0 skip_connect:2  skip_connect:2 max_pool_3x3:1
            """,
        },
    ),
    "nasnet_a": _cells(
        "NASNet-A's cells (Zoph et al., CVPR 2018) in DARTS' network for CIFAR-10",
        nasnet,
        {
            "normal": """
                sep_conv_5x5:1 sep_conv_3x3:0  sep_conv_5x5:0 sep_conv_3x3:0  avg_pool_3x3:1 skip_connect:0
                avg_pool_3x3:0 avg_pool_3x3:0  sep_conv_3x3:1 skip_connect:1
            """,
            "reduction": """
                sep_conv_5x5:1 sep_conv_7x7:0  max_pool_3x3:1 sep_conv_7x7:0  avg_pool_3x3:1 sep_conv_5x5:0
                skip_connect:3 avg_pool_3x3:2  sep_conv_3x3:2 max_pool_3x3:1
            """,
        },
    ),
    "amoebanet_a": _cells(
        "AmoebaNet-A's cells (Real et al., AAAI 2019) in DARTS' network for CIFAR-10",
        nasnet,
        {
            "normal": """
                avg_pool_3x3:0 max_pool_3x3:1  sep_conv_3x3:0 sep_conv_5x5:2  sep_conv_3x3:0 avg_pool_3x3:3
                sep_conv_3x3:1 skip_connect:1  skip_connect:0 avg_pool_3x3:1
            """,
            "reduction": """
                avg_pool_3x3:0 sep_conv_3x3:1  max_pool_3x3:0 sep_conv_7x7:2  sep_conv_7x7:0 avg_pool_3x3:1
                max_pool_3x3:0 max_pool_3x3:1  conv_1x7_7x1:0 sep_conv_3x3:5
            """,
        },
    ),
    "pnasnet_5": _cells(
        "PNASNet-5's cell (Liu et al., ECCV 2018) in DARTS' network for CIFAR-10",
        pnas,
        {
            "cell": """
                sep_conv_5x5:0 max_pool_3x3:0  sep_conv_7x7:1 max_pool_3x3:1  sep_conv_5x5:1 sep_conv_3x3:1
                sep_conv_3x3:4 max_pool_3x3:1  sep_conv_3x3:0 skip_connect:1
            """,
        },
        **{"cell.blocks": 5},
    ),
}
