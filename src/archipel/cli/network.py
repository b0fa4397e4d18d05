"""Which space and network a command is about, from the words on the command line."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from archipel.architecture import Architecture
from archipel.errors import ArchitectureError, OptionError
from archipel.space import Space
from archipel.spaces import NETS, resolve
from archipel.tasks import Classification

__all__ = ["architecture_for", "input_shape", "open_space", "space_options", "title_of"]


def space_options(options: Mapping[str, str] | None, *, width: float | None = None) -> dict[str, Any]:
    """`--option.NAME VALUE` with values read as YAML (`0.5`, `true`, `[1, 2]`), and `--width`."""
    found: dict[str, Any] = {} if width is None else {"width": width}
    for name, text in (options or {}).items():
        try:
            found[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise OptionError(f"--option.{name} '{text}' is no value") from error
    return found


def open_space(
    name: str, options: Mapping[str, Any], *, task: Classification | None = None, size: int | None = None
) -> Space:
    """The space of that name or that a published network of that name is in, as the task (classes, channels, image
    size) or `size` shapes it.

    Raises:
        OptionError: images have no such size.
        SpaceError: there is no such space or network, its function raised, or it takes no such option.
    """
    if size is not None and size < 1:
        raise OptionError(f"--size is {size}; give at least 1")
    net = NETS.get(name)
    function = net.function if net is not None else resolve(name, also=NETS)
    chosen = dict(options)
    if net is not None:
        shaped = ("classes", "size") if task is not None else ()  # by the task's own
        chosen = {option: value for option, value in net.options.items() if option not in shaped} | chosen
    if task is not None:
        return task.space(function, **chosen)
    if size is not None and "size" not in options:
        chosen["size"] = size
    return Space(function, **chosen)


def architecture_for(name: str, space: Space, file: Path | None, seed: int | None) -> Architecture | None:
    """The architecture in a JSON file, a random one, the published network's of that `name`, or the only one there
    is; None when nothing says which.

    Raises:
        OptionError: both were asked for, or the file cannot be read.
        ArchitectureError: it does not fit the space.
    """
    if file is not None and seed is not None:
        raise OptionError("--architecture and --random both choose the network; give one of them")
    if seed is not None:
        return space.sample(random.Random(seed))
    if file is None:
        if name in NETS:
            return space.canonical(NETS[name].architecture)
        return space.unrank(0) if space.size == 1 else None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read the architecture {file}: {error.strerror}") from error
    except ValueError as error:
        raise OptionError(f"{file} holds no JSON ({error})") from error
    if not isinstance(content, dict):
        raise ArchitectureError(f"{file} holds no architecture: expected one JSON object, choice name to value")
    return space.canonical(Architecture.from_json(content))


def input_shape(space: Space) -> tuple[int, int, int]:
    """`[C, H, W]` of the images the space was made for, by its options or its function's defaults `channels` and
    `size`; 3×32×32 where these do not say."""
    parameters = inspect.signature(space.function).parameters.values()
    said = {p.name: p.default for p in parameters if isinstance(p.default, int)} | space.options
    side = said.get("size", 32)
    return said.get("channels", 3), side, side


def title_of(name: str, space: Space) -> str:
    """What a network named on the command line is called: a published one by its own name, else by its space's."""
    return name if name in NETS else space.name
