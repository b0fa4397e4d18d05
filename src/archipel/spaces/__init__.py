"""The published search spaces, one file each, and how a user's own is found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from archipel.errors import SpaceError, did_you_mean
from archipel.space import SpaceFunction
from archipel.spaces.instanas import instanas
from archipel.spaces.mobilenet_v2 import mobilenet_v2

__all__ = ["SPACES", "instanas", "mobilenet_v2", "resolve"]

SPACES: dict[str, SpaceFunction] = {
    "instanas": instanas,
    "mobilenet_v2": mobilenet_v2,
}


def resolve(name: str) -> SpaceFunction:
    """The space function of a listed name, or of `path/to/file.py:function`.

    Raises:
        SpaceError: no such name, file or function, or the file raised while it was read.
    """
    if name in SPACES:
        return SPACES[name]
    path, colon, function = name.rpartition(":")
    if not colon:
        if name.endswith(".py"):
            raise SpaceError(f"space '{name}' names no function; write '{name}:my_space'")
        raise SpaceError(
            f"there is no space '{name}' ({', '.join(SPACES)}, or your own: file.py:function)"
            f"{did_you_mean(name, SPACES)}"
        )
    if not Path(path).is_file():
        raise SpaceError(f"space '{name}' names the file '{path}', which does not exist")
    # A name of its own: `math.py:my_space` must not hide the module `math`.
    spec = importlib.util.spec_from_file_location(f"archipel_space_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise SpaceError(f"space '{name}' names the file '{path}', which is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        said = (str(error).splitlines() or [""])[0]
        raise SpaceError(f"space file '{path}' raised {type(error).__name__}: {said}") from error
    found = getattr(module, function, None)
    if not callable(found):
        names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise SpaceError(
            f"space file '{path}' has no function '{function}' ({', '.join(names)}){did_you_mean(function, names)}"
        )
    return found
