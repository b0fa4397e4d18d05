"""One paper a file (or folder): what it composes, and under which name users ask for it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True)
class Method:
    """One line of `archipel methods`."""

    name: str
    paper: str
    tags: tuple[str, ...]
    status: str
    """What works today, in words."""


METHODS: dict[str, Method] = {
    "instanas": Method(
        "instanas",
        "Cheng et al., InstaNAS: Instance-aware Neural Architecture Search, AAAI 2020 (arXiv 1811.10201)",
        ("instance-aware", "one-shot", "policy gradient", "latency"),
        "complete: `archipel run`",
    ),
    "proxylessnas": Method(
        "proxylessnas",
        "Cai et al., ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019 "
        "(arXiv 1812.00332)",
        ("one-shot", "binarised paths", "policy gradient", "latency"),
        "complete: `archipel search proxylessnas`; its networks: `archipel train proxyless_cpu`",
    ),
    "blockdrop": Method(
        "blockdrop",
        "Wu et al., BlockDrop: Dynamic Inference Paths in Residual Networks, CVPR 2018 (arXiv 1711.08393)",
        ("instance-aware", "layer skipping", "policy gradient", "latency"),
        "complete: `archipel search blockdrop`",
    ),
    "convnet_aig": Method(
        "convnet_aig",
        "Veit and Belongie, Convolutional Networks with Adaptive Inference Graphs, ECCV 2018 (arXiv 1711.11503)",
        ("instance-aware", "layer skipping", "straight-through Gumbel", "latency"),
        "complete: `archipel search convnet_aig`",
    ),
    "autospace": Method(
        "autospace",
        "Zhou et al., AutoSpace: Neural Architecture Search with Less Human Interference, ICCV 2021 (arXiv 2103.11833)",
        ("evolved search space", "cells", "gradient fitness"),
        "complete: `archipel evolve`, and its spaces in `--space FILE.json`",
    ),
    "mobilenet_v2": Method(
        "mobilenet_v2",
        "Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018 (arXiv 1801.04381)",
        ("static reference",),
        "complete: `archipel train mobilenet_v2`, and a width sweep in every run",
    ),
}
