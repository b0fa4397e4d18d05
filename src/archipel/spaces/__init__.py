"""The published search spaces, one file each, the published networks in them, and how a user's own space is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from archipel.errors import SpaceError, did_you_mean
from archipel.space import SpaceFunction
from archipel.spaces.darts import darts
from archipel.spaces.enas import enas
from archipel.spaces.evolved import CellSpace, load_space
from archipel.spaces.fbnet import fbnet
from archipel.spaces.hierarchical import hierarchical
from archipel.spaces.instanas import instanas
from archipel.spaces.mobilenet_elastic import mobilenet_elastic
from archipel.spaces.mobilenet_exits import mobilenet_exits
from archipel.spaces.mobilenet_v2 import mobilenet_v2
from archipel.spaces.mobilenet_v2_drop import mobilenet_v2_drop
from archipel.spaces.nas_rl import nas_rl
from archipel.spaces.nasbench101 import nasbench101
from archipel.spaces.nasbench201 import nasbench201
from archipel.spaces.nasbench_macro import nasbench_macro
from archipel.spaces.nasnet import nasnet
from archipel.spaces.nets import NETS, Net
from archipel.spaces.pnas import pnas
from archipel.spaces.proxyless import proxyless
from archipel.spaces.proxyless_tree import proxyless_tree
from archipel.spaces.resnet_exits import resnet_exits
from archipel.spaces.resnet_flat import resnet_flat
from archipel.spaces.restricted import WHAT as RESTRICTED
from archipel.spaces.restricted import Restricted, load_restricted
from archipel.userfile import function_in

__all__ = [
    "NETS",
    "SPACES",
    "Net",
    "darts",
    "definition",
    "enas",
    "fbnet",
    "hierarchical",
    "instanas",
    "mobilenet_elastic",
    "mobilenet_exits",
    "mobilenet_v2",
    "mobilenet_v2_drop",
    "nas_rl",
    "nasbench101",
    "nasbench201",
    "nasbench_macro",
    "nasnet",
    "pnas",
    "proxyless",
    "proxyless_tree",
    "resnet_exits",
    "resnet_flat",
    "resolve",
]

SPACES: dict[str, SpaceFunction] = {
    "darts": darts,
    "enas": enas,
    "fbnet": fbnet,
    "hierarchical": hierarchical,
    "instanas": instanas,
    "mobilenet_elastic": mobilenet_elastic,
    "mobilenet_exits": mobilenet_exits,
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v2_drop": mobilenet_v2_drop,
    "nas_rl": nas_rl,
    "nasbench101": nasbench101,
    "nasbench201": nasbench201,
    "nasbench_macro": nasbench_macro,
    "nasnet": nasnet,
    "pnas": pnas,
    "proxyless": proxyless,
    "proxyless_tree": proxyless_tree,
    "resnet_exits": resnet_exits,
    "resnet_flat": resnet_flat,
}


def resolve(name: str, *, also: Iterable[str] = ()) -> SpaceFunction:
    """The space function of a listed name, of an evolved or restricted space's `file.json`, or of
    `path/to/file.py:function`.

    Args:
        also: what else the caller knows by name; said where there is no such space.

    Raises:
        SpaceError: no such name, file or function, or the file raised while it was read.
    """
    if name in SPACES:
        return SPACES[name]
    if name.endswith(".json"):
        return _of_file(name).function
    if ":" not in name and not name.endswith(".py"):
        known = (*SPACES, *also)
        raise SpaceError(
            f"there is no space '{name}' ({', '.join(known)}, or your own: file.py:function){did_you_mean(name, known)}"
        )
    return function_in(name, kind="space", error=SpaceError, example="my_space")


def definition(name: str) -> CellSpace | Restricted:
    """A space as it can be edited and kept as a file: of a `file.json` what it holds, of any other the whole of it.

    Raises:
        SpaceError: as `resolve`.
    """
    return _of_file(name) if name.endswith(".json") else Restricted(name, resolve(name))


def _of_file(name: str) -> CellSpace | Restricted:
    return load_restricted(name, _base) or load_space(name)


def _base(base: Any) -> SpaceFunction:
    """The function of what a restricted space's file names, or holds."""
    if isinstance(base, str):
        return resolve(base)
    restricted = isinstance(base, Mapping) and base.get("what") == RESTRICTED
    return (Restricted.from_json(base, _base) if restricted else CellSpace.from_json(base)).function
