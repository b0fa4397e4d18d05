"""`archipel spaces`: the search spaces that have a name."""

from __future__ import annotations

import inspect
from typing import Annotated

from cyclopts import Parameter

from archipel.cli.output import listing

__all__ = ["spaces"]


def spaces(*, json: Annotated[bool, Parameter(negative=(), show_default=False)] = False) -> None:
    """List the search spaces; your own is a function in your own file, file.py:function.

    Args:
        json: print the list as JSON.
    """
    from archipel.space import Space, count_text
    from archipel.spaces import SPACES

    rows = []
    for name, function in SPACES.items():
        # A cell stands many times and is decided once: one is enough to count.
        once = {"cells": 1} if "cells" in inspect.signature(function).parameters else {}
        space = Space(function, **once)
        rows.append(
            {
                "name": name,
                "choices": len(space.choices),
                "architectures": str(space.size) if json else count_text(space.size),
                "about": (inspect.getdoc(function) or "").partition("\n")[0],
            }
        )
    listing("Search spaces (options as their functions have them; see 'archipel show NAME')", rows, json)
