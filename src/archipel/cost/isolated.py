"""The parts of a child network as modules of their own, for devices that cannot be timed in the middle of a pass.

Equal parts are measured once: a part's key is the digest of its structure, with the shape that reaches it. An entry of
the table is a sum of parts. With columns (see `archipel.cost.units`) it is the option's module, shortcut and all that
stands around its choice included, less the choices nested in it. A member of a subset is taken as if it were the only
one; what adding several up costs beyond their shortcuts is left to the calibration, and so are the sums of `inputs`
choices, which are the same for all options. Spaces with `value` choices have an entry for every block: a module of a
class of its own that holds no more than a few layers.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choose import Select, Sum
from archipel.cost.places import column, placed, several, vanished, wrappers
from archipel.cost.structure import structure_of
from archipel.errors import DeviceError
from archipel.space import Space

__all__ = ["Part", "Terms", "blocks_of", "terms_of"]

_BLOCK = 16
"""Most layers of a block: a bottleneck with squeeze-and-excitation has 14 before batch norm is folded."""


@dataclass(frozen=True)
class Part:
    """A module that is timed alone on random inputs."""

    module: nn.Module
    shape: tuple[int, ...]
    """Of what reaches it, batch included."""
    path: str = ""
    """Where it stands, of a block."""

    @cached_property
    def key(self) -> str:
        return f"{type(self.module).__name__}-{structure_of(self.module)}@{'x'.join(map(str, self.shape))}"


Terms: TypeAlias = list[tuple[int, Part]]
"""An entry is Σ sign · milliseconds of the part."""


def terms_of(child: nn.Module, space: Space, architecture: Architecture, example: Tensor) -> dict[str, Terms]:
    """Entry → what it is a sum of, for every entry of `architecture`, whose prepared network `child` is.

    Raises:
        DeviceError: a part is not called with one tensor.
    """
    if any(choice.kind == "value" for choice in space.choices):
        blocks: dict[str, Terms] = defaultdict(list)
        for part in blocks_of(child, example):
            blocks[part.key].append((1, part))
        return blocks
    modules = dict(child.named_modules())
    places = list(placed(modules, space, architecture))
    outer = [_outermost(modules, path, name, architecture) for path, name in places]
    shapes = _shapes(child, {path for paths in outer for path in paths.values()}, example)

    def alone(path: str, module: nn.Module, sign: int = 1) -> Terms:
        return [(sign, Part(module, shapes[path]))] if path in shapes else []  # what is never called costs nothing

    # Each place is inside at most one option of the nearest place around it.
    nested: dict[tuple[int, Any], list[int]] = defaultdict(list)
    for i, (path, _) in enumerate(places):
        for j in reversed(range(i)):
            inside = _option_around(path, *places[j], modules, architecture)
            if inside is not None:
                nested[j, inside].append(i)
                break
    terms: dict[str, Terms] = {entry: [] for entry in vanished(modules, space, architecture)}
    for i, (path, name) in enumerate(places):
        for option, around in outer[i].items():
            own = terms.setdefault(column(name, option), [])
            only = isinstance(modules[path], Sum)
            own += alone(around, _with_only(modules, around, path, str(option)) if only else modules[around])
            for inner in {inner for j in nested[i, option] for inner in outer[j].values()}:
                own += alone(inner, modules[inner], -1)
    return terms


def blocks_of(child: nn.Module, example: Tensor) -> list[Part]:
    """The blocks of a network, with repetitions, in order.

    The network's own plain sequences are opened, and every module that holds more than a few layers.
    """
    paths = [path for name, module in child.named_children() for path in _blocks(name, module)]
    shapes = _shapes(child, paths, example)
    return [Part(child.get_submodule(path), shapes[path], path) for path in paths if path in shapes]


def _blocks(path: str, module: nn.Module) -> list[str]:
    layers = sum(1 for part in module.modules() if not part._modules)
    if type(module) in (nn.Sequential, nn.ModuleList) or layers > _BLOCK:
        return [inner for name, child in module.named_children() for inner in _blocks(f"{path}.{name}", child)]
    return [path]


def _outermost(modules: dict[str, nn.Module], path: str, name: str, architecture: Architecture) -> dict[Any, str]:
    """Option → path of the largest module that is only there for it (and for others of a subset)."""
    chosen = several(architecture[name])
    if isinstance(modules[path], Select):
        return {option: f"{path}.{option}".lstrip(".") for option in chosen}
    around = wrappers(modules, path)
    return dict.fromkeys(chosen, around[0] if around else path)


def _option_around(path: str, outer: str, name: str, modules: dict[str, nn.Module], architecture: Architecture) -> Any:
    """The option of the choice at `outer` that a place at `path` stands in, or None."""
    for option in several(architecture[name]):
        region = f"{outer}.{option}".lstrip(".") if isinstance(modules[outer], Sum | Select) else outer
        if path == region or not region or path.startswith(f"{region}."):
            return option
    return None


def _with_only(modules: dict[str, nn.Module], around: str, path: str, option: str) -> nn.Module:
    """The module at `around` with no other option than this in its subset at `path`; shares all weights."""
    combined = modules[path]
    assert isinstance(combined, Sum)
    module: nn.Module = type(combined)({option: combined[option]}).eval()
    while path != around:
        path, _, name = path.rpartition(".")
        outer = copy.copy(modules[path])
        outer._modules = {**outer._modules, name: module}
        module = outer
    return module


def _shapes(child: nn.Module, paths: Iterable[str], example: Tensor) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def noter(path: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            if len(inputs) != 1 or not isinstance(inputs[0], Tensor):
                raise DeviceError(
                    f"module '{path}' ({type(module).__name__}) is not called with one tensor, so it cannot be timed "
                    "alone; device 'cpu' times it in place"
                )
            shapes[path] = tuple(inputs[0].shape)

        return note

    handles = [child.get_submodule(path).register_forward_pre_hook(noter(path)) for path in paths]
    try:
        with torch.inference_mode():
            child(example)
    finally:
        for handle in handles:
            handle.remove()
    return shapes
