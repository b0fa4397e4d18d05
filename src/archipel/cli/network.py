"""Which space and network a command is about, from the words on the command line."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from archipel.architecture import Architecture
from archipel.errors import ArchitectureError, OptionError
from archipel.space import Space
from archipel.spaces import resolve
from archipel.tasks import Classification

__all__ = ["architecture_for", "input_shape", "open_space", "space_options"]


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
    """The space of that name, as the task (classes, channels, image size) or `size` shapes it.

    Raises:
        SpaceError: there is no such space, its function raised, or it takes no such option.
    """
    function = resolve(name)
    chosen = dict(options) if size is None or task is not None else {"size": size, **options}
    return task.space(function, **chosen) if task is not None else Space(function, **chosen)


def architecture_for(space: Space, file: Path | None, seed: int | None) -> Architecture | None:
    """The architecture in a JSON file, a random one, or the only one there is; None when nothing says which.

    Raises:
        OptionError: both were asked for, or the file cannot be read.
        ArchitectureError: it does not fit the space.
    """
    if file is not None and seed is not None:
        raise OptionError("--architecture and --random both choose the network; give one of them")
    if seed is not None:
        return space.sample(random.Random(seed))
    if file is None:
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
    """`[C, H, W]` of the images the space was made for; the published spaces' 3×32×32 where it does not say."""
    side = space.options.get("size", 32)
    return space.options.get("channels", 3), side, side
