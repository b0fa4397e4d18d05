"""The files that AutoSpace's authors published: a space and a network in it, read and written again value for value.

`learned_space/search_space.config` and `learned_net/net_340M.config` of zhoudaquan/AutoSpace. They say no licence and
are not part of this program: whoever has them can load them.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from archipel.errors import SpaceError
from archipel.spaces.cell import Cell, reference
from archipel.spaces.evolved import Backbone, CellSpace, Kept, options_of
from archipel.spaces.proxyless import MACROS

__all__ = ["groups_from", "groups_to", "network_from", "network_to", "space_of_groups"]

_SPACE, _NETWORK = "SuperProxylessNASNets", "ProxylessNASNets"
_CELL, _RESIDUAL, _ZERO = "Motif", "MBInvertedConvLayer", "ZeroLayer"
_EPS = 0.006
_MOMENTUM = 0.1
"""Of batch norm: torch's own."""
_KERNELS = (5, 7, 9)
"""Of edge 0→1 in the published network, where the space has 5."""


def groups_from(config: Any) -> list[list[Cell]]:
    """Cells of a published space, group by group.

    Raises:
        SpaceError: it is no such space.
    """
    if not isinstance(config, dict) or config.get("name") != _SPACE or not isinstance(config.get("blocks"), list):
        raise SpaceError(f"a published space is an object named '{_SPACE}' with blocks; this is none")
    if config.keys() != {"name", "blocks"} or not all(isinstance(group, list) for group in config["blocks"]):
        raise SpaceError("a published space has a name and blocks, lists of matrices, and nothing else")
    return [[Cell.from_matrix(matrix) for matrix in group] for group in config["blocks"]]


def groups_to(groups: Sequence[Sequence[Cell]]) -> dict[str, Any]:
    """Inverse of `groups_from`."""
    return {"name": _SPACE, "blocks": [[cell.to_matrix() for cell in group] for group in groups]}


def space_of_groups(
    groups: Sequence[Sequence[Cell]], backbone: Backbone | None = None, *, expansions: Sequence[int] = (3, 6)
) -> CellSpace:
    """The space that the published network was searched in, as far as the network shows: group g serves blocks 2g + 1
    and 2g + 2; cells with kernels 5, 7 and 9 on edge 0→1 where it is 5; MobileNetV2's block beside them.

    Args:
        backbone: ProxylessNAS' of 21 blocks if not given.

    Raises:
        SpaceError: another number of groups than of pairs of blocks.
    """
    backbone = backbone or Backbone.of(MACROS["imagenet"])
    count = len(backbone.blocks)
    if len(groups) != -(-count // 2):
        raise SpaceError(f"{len(groups)} groups are given for {count} blocks; give one for every two")
    lists = [options_of([Kept(cell) for cell in (*group, reference())], expansions, _KERNELS) for group in groups]
    return CellSpace(backbone, tuple(lists[i // 2] for i in range(count)), evidence={"from": "published groups"})


def network_from(config: Any) -> CellSpace:
    """A published network as a space of one architecture, but that blocks can be `zero`: one option a block.

    Raises:
        SpaceError: it is no such network, or has what none of the published have.
    """
    try:
        stem, (first, *blocks) = config["first_conv"], config["blocks"]
        fixed = first["mobile_inverted_conv"]
        lists: list[tuple[Kept, ...]] = []
        placed: list[tuple[int, int]] = []
        c = fixed["out_channels"]
        for block in blocks:
            body = block["mobile_inverted_conv"]
            c = c if body["name"] == _ZERO else body["out_channels"]
            placed.append((c, body["stride"]))
            lists.append(() if body["name"] == _ZERO else (Kept(_cell(body), body["expand_ratio"]),))
        backbone = Backbone(
            stem["out_channels"], stem["stride"], fixed["out_channels"], tuple(placed),
            config["feature_mix_layer"]["out_channels"], config["bn"]["eps"],
        )  # fmt: skip
        space = CellSpace(backbone, tuple(lists), evidence={"from": "published network"})
        written = network_to(space, classes=config["classifier"]["out_features"])
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        said = str(error) if isinstance(error, SpaceError) else f"{type(error).__name__}: {error}"
        raise SpaceError(f"this is no published network ({said.splitlines()[0]})") from error
    for key in sorted(written.keys() | config.keys()):
        if written.get(key) != config.get(key):
            raise SpaceError(f"'{key}' of the network is none that its cells, channels and strides give")
    return space


def network_to(space: CellSpace, *, classes: int = 1000) -> dict[str, Any]:
    """Inverse of `network_from`.

    Raises:
        SpaceError: a block has several cells.
    """
    backbone = space.backbone
    blocks = [_block(_residual(backbone.stem, backbone.fixed, 1, 1), None)]
    c = backbone.fixed
    for place, ((c_out, stride), options) in enumerate(zip(backbone.blocks, space.blocks), 1):
        if len(options) > 1:
            raise SpaceError(f"block b{place} has {len(options)} cells; a network has one or none")
        shortcut = _identity(c) if stride == 1 and c == c_out else None
        if not options:
            body: dict[str, Any] = {"name": _ZERO, "stride": stride}
        elif options[0].cell == reference():
            body = _residual(c, c_out, stride, options[0].expand)
        else:
            body = _motif(options[0], c, c_out, stride)
        blocks.append(_block(body, shortcut))
        c = c_out
    return {
        "name": _NETWORK,
        "bn": {"momentum": _MOMENTUM, "eps": backbone.eps},
        "first_conv": _convolution(3, backbone.stem, 3, backbone.stem_stride),
        "blocks": blocks,
        "feature_mix_layer": _convolution(c, backbone.tail, 1, 1),
        "classifier": {"name": "LinearLayer", "in_features": backbone.tail, "out_features": classes, "bias": True}
        | _plain(None, use_bn=False),
    }


def _cell(body: dict[str, Any]) -> Cell:
    if body["name"] == _RESIDUAL:
        return reference(body["kernel_size"])
    if body["name"] != _CELL:
        raise SpaceError(f"a block is a {body['name']}; known are {_CELL}, {_RESIDUAL} and {_ZERO}")
    return Cell.from_matrix(ast.literal_eval(body["build_graph"]))


def _motif(kept: Kept, c_in: int, c_out: int, stride: int) -> dict[str, Any]:
    return {
        "name": _CELL, "in_channels": c_in, "out_channels": c_out, "kernel_size": 3, "stride": stride,
        "expand_ratio": kept.expand, "num_nodes": 4, "build_graph": str(kept.cell.to_matrix()),
        "dim_conv_idx": kept.cell.dim, "atten_mode": "channel", "feature_mix_mode_idx": list(kept.cell.mix),
        "has_se": False,
    }  # fmt: skip


def _residual(c_in: int, c_out: int, stride: int, expand: int) -> dict[str, Any]:
    return {
        "name": _RESIDUAL, "in_channels": c_in, "out_channels": c_out, "kernel_size": 3, "stride": stride,
        "expand_ratio": expand, "mid_channels": None, "has_se": False,
    }  # fmt: skip


def _block(body: dict[str, Any], shortcut: dict[str, Any] | None) -> dict[str, Any]:
    return {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": body, "shortcut": shortcut}


def _identity(c: int) -> dict[str, Any]:
    return {"name": "IdentityLayer", "in_channels": c, "out_channels": c} | _plain(None, use_bn=False)


def _convolution(c_in: int, c_out: int, kernel: int, stride: int) -> dict[str, Any]:
    return {
        "name": "ConvLayer", "kernel_size": kernel, "stride": stride, "dilation": 1, "groups": 1, "bias": False,
        "has_shuffle": False, "in_channels": c_in, "out_channels": c_out,
    } | _plain("relu6", use_bn=True)  # fmt: skip


def _plain(act: str | None, *, use_bn: bool) -> dict[str, Any]:
    return {"use_bn": use_bn, "act_func": act, "dropout_rate": 0, "ops_order": "weight_bn_act"}
