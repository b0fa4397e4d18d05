"""The published search spaces, one file each, and how a user's own is found."""

from __future__ import annotations

from archipel.errors import SpaceError, did_you_mean
from archipel.space import SpaceFunction
from archipel.spaces.instanas import instanas
from archipel.spaces.mobilenet_v2 import mobilenet_v2
from archipel.userfile import function_in

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
    if ":" not in name and not name.endswith(".py"):
        raise SpaceError(
            f"there is no space '{name}' ({', '.join(SPACES)}, or your own: file.py:function)"
            f"{did_you_mean(name, SPACES)}"
        )
    return function_in(name, kind="space", error=SpaceError, example="my_space")
