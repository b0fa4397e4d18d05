"""The parts of a child network that a latency table has entries for, and a probe that times them in place.

Three schemes. `columns`: an entry for every option of every `op`, `subset` and `inputs` choice, that is for every
column of a space's code; it holds the time of the option's module less that of choices nested in it, and its
share of what the choice itself does (adding up the chosen, a shortcut around them). `layers`, for spaces with `value`
choices, where one option shapes many layers: an entry for every layer, keyed by its configuration and
the shape of its input, so that equal layers share one. `blocks` is the same for devices where parts are timed alone
(`archipel.cost.isolated`): a block is compiled or fused as one. What no entry covers is the base.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from archipel.architecture import Architecture
from archipel.choose import Select, Sum
from archipel.cost.attribution import ghost
from archipel.cost.device import Device
from archipel.cost.isolated import blocks_of
from archipel.cost.measure import Clock
from archipel.cost.places import column, placed, several, vanished, wrappers
from archipel.nn.fold import fold_for_inference
from archipel.space import Space

__all__ = [
    "BASE",
    "Probe",
    "Scheme",
    "columns_of",
    "layers_of",
    "parts_of",
    "probe",
    "scheme_of",
]

Scheme: TypeAlias = Literal["columns", "layers", "blocks"]

BASE = ""
"""The key of everything outside the units: stem, tail, joins."""

Owners: TypeAlias = tuple[str, ...]
"""The keys that share a module's own time in equal parts."""


def scheme_of(space: Space, device: Device) -> Scheme:
    if not any(choice.kind == "value" for choice in space.choices):
        return "columns"
    return "layers" if device.backend.hooks else "blocks"


def columns_of(space: Space) -> list[str]:
    """The entry of each code column, in column order."""
    return [column(choice.name, option) for choice in space.choices for option in choice.options]


def parts_of(
    space: Space, architecture: Architecture, input_shape: tuple[int, ...], scheme: Scheme
) -> list[tuple[str, str]]:
    """(where it stands, entry) of everything that an architecture is the sum of, with repetitions; found without
    building it where columns are entries.

    Args:
        input_shape: `[B, C, H, W]`; shapes the keys of layers and blocks.
    """
    if scheme == "columns":
        canonical = space.canonical(architecture)
        keys = [column(name, option) for name, value in canonical.items() for option in several(value)]
        return [(key, key) for key in keys]
    child = fold_for_inference(ghost(space, space.canonical(architecture)).to("meta"))
    example = torch.empty(input_shape, device="meta")
    if scheme == "blocks":
        return [(part.path, part.key) for part in blocks_of(child, example)]
    return [(path, key) for path, (key,) in layers_of(child, example)]


class Probe:
    """Hooks on a child network that stamp when each unit begins and ends."""

    def __init__(
        self, module: nn.Module, places: Iterable[tuple[str, Owners]], clock: Clock, *, absent: Iterable[str] = ()
    ) -> None:
        self.clock = clock
        self._nothing = dict.fromkeys(absent, 0.0)
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
                    spent = defaultdict(float, self._nothing)
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
    if any(choice.kind == "value" for choice in space.choices):
        return Probe(child, layers_of(child, example), clock)
    modules = dict(child.named_modules())
    return Probe(child, _places_of(modules, space, architecture), clock, absent=vanished(modules, space, architecture))


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


def _places_of(modules: Mapping[str, nn.Module], space: Space, architecture: Architecture) -> list[tuple[str, Owners]]:
    places: list[tuple[str, Owners]] = []
    for path, name in placed(modules, space, architecture):
        chosen = several(architecture[name])
        owners = tuple(column(name, option) for option in chosen)
        places += [*((around, owners) for around in wrappers(modules, path)), (path, owners)]
        if isinstance(modules[path], Sum | Select):
            # After the sum's own work, each option inside it.
            places += [(f"{path}.{option}".lstrip("."), (owner,)) for option, owner in zip(chosen, owners)]
    return places
