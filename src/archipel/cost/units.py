"""The parts of a child network that a latency table has entries for, and a probe that times them in place.

Two schemes. `columns`: an entry for every option of every `op`, `subset` and `inputs` choice, that is for every
column of a space's code; it holds the time of the option's module less that of choices nested in it, and its
share of what the choice itself does (adding up the chosen, a shortcut around them). `layers`, for spaces with `value`
choices, where one option shapes many layers: an entry for every layer, keyed by its configuration and
the shape of its input, so that equal layers share one. What no entry covers is the base.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choose import Select, Sum
from archipel.cost.measure import Clock
from archipel.nn.fold import fold_batch_norm
from archipel.space import Space

__all__ = ["BASE", "Probe", "Scheme", "columns_of", "keys_of", "layers_of", "probe", "scheme_of"]

Scheme: TypeAlias = Literal["columns", "layers"]

BASE = ""
"""The key of everything outside the units: stem, tail, joins."""

Owners: TypeAlias = tuple[str, ...]
"""The keys that share a module's own time in equal parts."""


def scheme_of(space: Space) -> Scheme:
    return "layers" if any(choice.kind == "value" for choice in space.choices) else "columns"


def columns_of(space: Space) -> list[str]:
    """The entry of each code column, in column order."""
    return [_column(choice.name, option) for choice in space.choices for option in choice.options]


def keys_of(space: Space, architecture: Architecture, input_shape: tuple[int, ...]) -> list[str]:
    """The entries of an architecture, with repetitions; found without building it where columns are entries.

    Args:
        input_shape: `[B, C, H, W]`; shapes the keys of layers.
    """
    if scheme_of(space) == "columns":
        canonical = space.canonical(architecture)
        return [_column(name, option) for name, value in canonical.items() for option in _several(value)]
    child = fold_batch_norm(space.build(architecture).to("meta"))
    layers = layers_of(child, torch.empty(input_shape, device="meta"))
    return [key for _, (key,) in layers]


class Probe:
    """Hooks on a child network that stamp when each unit begins and ends."""

    def __init__(self, module: nn.Module, places: Iterable[tuple[str, Owners]], clock: Clock) -> None:
        self.clock = clock
        self._owners: list[Owners] = [(BASE,)]
        self._stamps: list[tuple[int, Any]] = []
        self._hook(module, 0)
        for path, owners in places:
            self._owners.append(owners)
            self._hook(module.get_submodule(path), len(self._owners) - 1)

    def _hook(self, module: nn.Module, number: int) -> None:
        stamps, stamp = self._stamps, self.clock.stamp

        def enter(*_: Any) -> None:
            stamps.append((number, stamp()))

        def leave(*_: Any) -> None:
            stamps.append((-1, stamp()))

        module.register_forward_pre_hook(enter)
        # Several units may stand at one module (an option that is itself a choice): first in, last out.
        module.register_forward_hook(leave, prepend=True)

    def runs(self) -> list[dict[str, float]]:
        """Milliseconds by key, one dictionary a forward pass since the last call. The device must have settled."""
        passes: list[dict[str, float]] = []
        running: list[list[Any]] = []  # number, start, milliseconds of the units inside
        spent: dict[str, float] = {}
        for number, moment in self._stamps:
            if number >= 0:
                if not running:
                    spent = defaultdict(float)
                running.append([number, moment, 0.0])
                continue
            number, start, inside = running.pop()
            whole = self.clock.milliseconds(start, moment)
            owners = self._owners[number]
            for owner in owners:
                spent[owner] += (whole - inside) / len(owners)
            if running:
                running[-1][2] += whole
            else:
                passes.append(dict(spent))
        self._stamps.clear()
        return passes


def probe(child: nn.Module, space: Space, architecture: Architecture, example: Tensor, clock: Clock) -> Probe:
    """Put a probe on `child`, which `space` built for `architecture`."""
    if scheme_of(space) == "layers":
        return Probe(child, layers_of(child, example), clock)
    return Probe(child, _places_of(child, space, architecture), clock)


def layers_of(child: nn.Module, example: Tensor) -> list[tuple[str, tuple[str]]]:
    """(path, (key,)) of every module that is no plain sequence, by one forward pass on `example`."""
    shapes: dict[str, str] = {}
    handles = []
    for path, module in child.named_modules():
        if path and not (isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward):
            handles.append(module.register_forward_pre_hook(_shape_noter(shapes, path)))
    with torch.inference_mode():
        child(example)
    for handle in handles:
        handle.remove()
    return [(path, (f"{_configuration(child.get_submodule(path))}@{shape}",)) for path, shape in shapes.items()]


def _shape_noter(shapes: dict[str, str], path: str) -> Callable[..., None]:
    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = [part for i in inputs for part in (i if isinstance(i, list | tuple) else (i,))]
        tensors = [part for part in given if isinstance(part, Tensor)]
        shapes[path] = "+".join("x".join(map(str, tensor.shape)) for tensor in tensors)

    return note


def _configuration(module: nn.Module) -> str:
    return f"{type(module).__name__}({module.extra_repr()})"


def _places_of(child: nn.Module, space: Space, architecture: Architecture) -> list[tuple[str, Owners]]:
    modules = dict(child.named_modules())
    places: list[tuple[str, Owners]] = []
    for path, name in space.places:
        module = modules.get(path)
        if module is None or name not in architecture:
            continue  # the option around this place was not chosen
        chosen = _several(architecture[name])
        owners = tuple(_column(name, option) for option in chosen)
        if isinstance(module, Sum | Select):
            if list(module.keys()) != [str(option) for option in chosen]:
                continue
            # Before the options: the sum's own work, then each option inside it.
            inner = [(f"{path}.{option}".lstrip("."), (owner,)) for option, owner in zip(chosen, owners)]
            places += [*_wrappers(modules, path, owners), (path, owners), *inner]
        elif owners and not isinstance(architecture[name], tuple):
            places += [*_wrappers(modules, path, owners), (path, owners)]
    return places


def _wrappers(modules: dict[str, nn.Module], path: str, owners: Owners) -> list[tuple[str, Owners]]:
    """Modules around a choice that do something themselves and hold nothing else, such as a shortcut."""
    around = []
    while "." in path:
        path = path.rpartition(".")[0]
        module = modules[path]
        if len(list(module.children())) != 1 or isinstance(module, Sum | Select):
            break
        around.append((path, owners))
    return around[::-1]


def _column(name: str, option: Any) -> str:
    return f"{name}={option}"


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
