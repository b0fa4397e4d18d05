"""A function in a user's own Python file, named on a command line as `path/to/file.py:function`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archipel.errors import ArchipelError, did_you_mean

__all__ = ["function_in"]


def function_in(name: str, *, kind: str, error: type[ArchipelError], example: str) -> Callable[..., Any]:
    """The function that `file.py:function` names; its file is run anew at each call.

    Args:
        kind: what it is, in error messages: `space`, `device`.
        error: what is raised.
        example: a function's name, to show the form.

    Raises:
        error: no such file or function, or the file raised while it was read.
    """
    path, colon, function = name.rpartition(":")
    if not colon:
        raise error(f"{kind} '{name}' names no function; write '{name}:{example}'")
    if not Path(path).is_file():
        raise error(f"{kind} '{name}' names the file '{path}', which does not exist")
    # A name of its own: `math.py:my_space` must not hide the module `math`.
    spec = importlib.util.spec_from_file_location(f"archipel_{kind}_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise error(f"{kind} '{name}' names the file '{path}', which is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as raised:
        del sys.modules[spec.name]
        said = (str(raised).splitlines() or [""])[0]
        raise error(f"{kind} file '{path}' raised {type(raised).__name__}: {said}") from raised
    found = getattr(module, function, None)
    if not callable(found):
        names = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        raise error(
            f"{kind} file '{path}' has no function '{function}' ({', '.join(names)}){did_you_mean(function, names)}"
        )
    return found
