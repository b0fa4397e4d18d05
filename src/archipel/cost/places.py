"""Where the choices of a space stand in the network of one architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from archipel.architecture import Architecture
from archipel.choose import Select, Sum
from archipel.space import Space

__all__ = ["column", "placed", "several", "vanished", "wrappers"]


def placed(modules: Mapping[str, nn.Module], space: Space, architecture: Architecture) -> Iterator[tuple[str, str]]:
    """(path, choice name) of every choice that stands in a child network, outer ones first.

    None stands where an option around it was not chosen, and where the chosen option made its surroundings vanish (a
    `Zero` inside `archipel.nn.residual`).
    """
    for path, name in space.places:
        if path not in modules or name not in architecture:
            continue
        module, chosen = modules[path], several(architecture[name])
        if isinstance(module, Sum | Select):
            if list(module.keys()) == [str(option) for option in chosen]:
                yield path, name
        elif chosen and not isinstance(architecture[name], tuple):
            yield path, name


def wrappers(modules: Mapping[str, nn.Module], path: str) -> list[str]:
    """Modules around a choice that do something themselves and hold nothing else, such as a shortcut; outer first."""
    around = []
    while "." in path:
        path = path.rpartition(".")[0]
        module = modules[path]
        if len(list(module.children())) != 1 or isinstance(module, Sum | Select):
            break
        around.append(path)
    return around[::-1]


def vanished(modules: Mapping[str, nn.Module], space: Space, architecture: Architecture) -> list[str]:
    """The columns of an architecture that nothing stands for in its network: they cost nothing."""
    standing = {name for path, name in space.places if path in modules}
    return [column(name, o) for name, value in architecture.items() if name not in standing for o in several(value)]


def column(name: str, option: Any) -> str:
    return f"{name}={option}"


def several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
